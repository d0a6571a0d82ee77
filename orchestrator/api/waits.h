/* waits.h - the waiting room: requests that wait for something to be published, or for their deadline.
 *
 * Whoever publishes asks every waiter, under the published model's read lock, whether it is ready, and wakes those that
 * are: no thread stands between a commit and who waits for it.  A thread of the room's own only keeps the deadlines.  A
 * waiter that is ready, late, left alone, or found when the room closes is taken out and woken, once. */
#ifndef MEMLANE_WAITS_H
#define MEMLANE_WAITS_H

#include "writer.h"

struct waits;

struct waiter { /* embedded; the room's while it waits */
    /* Under the read lock and the room's own: must not block. */
    bool (*ready)(struct waiter *w, const struct model *m);
    bool (*gone)(struct waiter *w); /* nobody waits for it any more: asked every second; or NULL.  Must not block */
    void (*wake)(struct waiter *w); /* on any thread, without a lock; the waiter is the callee's again */
    int64_t deadline_ms;            /* monotonic */
    struct waiter *next, **link;
};

MUST_CHECK int waits_start(struct waits **out, struct writer *w, struct err *e);
void waits_close(struct waits *w); /* wakes all; from now on waits_add() refuses */
void waits_free(struct waits *w);  /* closes, ends the thread; ignores NULL */
/* False when the room is closed: the waiter stays the caller's.  What was published since the caller looked is seen:
 * the waiter may be woken before this returns. */
bool waits_add(struct waits *w, struct waiter *waiter);
void waits_poke(void *waits); /* something was published; any thread without a lock, never blocks for long */

#endif
