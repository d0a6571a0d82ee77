/* strangers.h - connections that have shown no credential yet, oldest first: under pressure they make room.
 *
 * Idle sockets cost an attacker nothing, and on loopback no limit per address applies.  So when three quarters of all
 * connections are taken, or nearly all descriptors, every new one costs the oldest stranger its own.  HTTP thread only.
 */
#ifndef MEMLANE_STRANGERS_H
#define MEMLANE_STRANGERS_H

struct stranger {
    int fd; /* the library's; only ever shut down here */
    struct stranger *next, **link;
};

struct strangers {
    struct stranger *first, **last;
};

void strangers_init(struct strangers *s);
void strangers_add(struct strangers *s, struct stranger *x);
void strangers_remove(struct strangers *s, struct stranger *x); /* it may be out already */
void strangers_evict(struct strangers *s);                      /* the oldest one, if there is any */

#endif
