/* leavers.h - notices clients that went away in the middle of a request.
 *
 * The library waits for the edge of an event: the end of a stream that comes together with its last data is missed, and
 * half a request keeps its descriptor until a time-out.  So a thread of its own looks at all connections every second:
 * one whose other end is closed at two looks, while no whole request of it is being answered, is shut down; then the
 * library sees the end and closes it.  A client that closes its half only, and waits for its answer, gets it. */
#ifndef MEMLANE_LEAVERS_H
#define MEMLANE_LEAVERS_H

#include "err.h"

struct leavers;

struct leaver { /* embedded; a connection */
    int fd;     /* the library's; only ever shut down here */
    bool busy;  /* a whole request is being answered */
    bool closed_before;
    struct leaver *next, **link;
};

MUST_CHECK int leavers_start(struct leavers **out, struct err *e);
void leavers_free(struct leavers *l); /* when no connection is left; ends the thread; ignores NULL */
void leavers_add(struct leavers *l, struct leaver *x);
void leavers_remove(struct leavers *l, struct leaver *x); /* before its descriptor is closed */
void leavers_busy(struct leavers *l, struct leaver *x, bool busy);
bool leavers_gone(int fd); /* the other end has closed, or the connection is broken; never blocks */

#endif
