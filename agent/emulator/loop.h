/* loop.h - the emulator's one thread: epoll, timers, and connections with buffers.
 *
 * Every handler runs to its end without waiting for anything.  A connection that is closed within a round is freed
 * after the round, so that events already fetched for it find it marked closed.  Handlers may close any connection. */
#ifndef MEMLANE_EMULATOR_LOOP_H
#define MEMLANE_EMULATOR_LOOP_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

struct loop_source { /* embedded in what it belongs to */
    int fd;
    void (*ready)(struct loop_source *s, uint32_t events);
};

struct loop_timer { /* embedded; idle while 'armed' is false */
    int64_t due_ms;
    bool armed;
    void (*fire)(struct loop_timer *t);
    struct loop_timer *next;
};

MUST_CHECK int loop_new(struct loop **out, struct err *e);
void loop_free(struct loop *l); /* ignores NULL */
MUST_CHECK int loop_add(struct loop *l, struct loop_source *s, uint32_t events, struct err *e);
void loop_watch(struct loop *l, struct loop_source *s, uint32_t events); /* changes what is waited for */
void loop_remove(struct loop *l, struct loop_source *s);
void loop_after(struct loop *l, struct loop_timer *t, int64_t delay_ms); /* arms, or arms anew */
void loop_cancel(struct loop *l, struct loop_timer *t);
void loop_stop(struct loop *l);
MUST_CHECK int loop_run(struct loop *l, struct err *e); /* until loop_stop(); may be run again */

/* ---- connections ---- */
struct conn;
#define CONN_IN_MAX 4096

struct conn_ops {
    /* Takes whole messages from the front of the input: answers how many bytes it used (0: wait for more), or -1:
     * close. */
    ssize_t (*input)(struct conn *c, const char *data, size_t len);
    void (*closed)(struct conn *c); /* NULL: nothing to do; 'c' is freed afterwards */
};

struct conn {
    struct loop_source source;
    struct loop *loop;
    const struct conn_ops *ops;
    void *owner; /* the listener's */
    void *user;  /* the protocol's own */
    pid_t pid;   /* of the peer; 0: unknown */
    bool remote; /* came over TCP */
    bool closed, paused, resumed;
    struct loop_timer pause;
    size_t n_in, n_out, sent, out_size;
    char in[CONN_IN_MAX];
    char *out;
    struct conn *next; /* graveyard */
};

struct listener {
    struct loop_source source;
    struct loop *loop;
    const struct conn_ops *ops;
    void *owner;
    bool tcp;
    char path[108]; /* empty: TCP */
};

/* Binds a Unix stream socket, mode 0600, in place of an old one. */
MUST_CHECK int listener_open(struct listener *out, struct loop *l, const char *path, const struct conn_ops *ops,
                             void *owner, struct err *e);
/* The same on a TCP port of the loopback address; '*port' 0: any, and which one afterwards. */
MUST_CHECK int listener_open_tcp(struct listener *out, struct loop *l, uint16_t *port, const struct conn_ops *ops,
                                 void *owner, struct err *e);
void listener_close(struct listener *li); /* unlinks; ignores one that was never opened */

void conn_send(struct conn *c, const void *data, size_t len); /* closes a peer that does not read */
void conn_close(struct conn *c);
/* Called by input(): true when the request has waited 'delay_ms' already, else the input stands still until then. */
bool conn_waited(struct conn *c, unsigned delay_ms);

#endif
