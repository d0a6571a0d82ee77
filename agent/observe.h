/* observe.h - the node as it is -> a report (wire_observed), read from kernel, adapters, lenders and switches.
 *
 * A report is a full snapshot.  Session and sequence are the sender's.  The job thread calls this, after it has acted.
 */
#ifndef MEMLANE_AGENT_OBSERVE_H
#define MEMLANE_AGENT_OBSERVE_H

#include "node.h"

enum observe_what {
    OBSERVE_ORDERS, /* after a pass: what its orders may have changed */
    OBSERVE_BEAT,   /* a heartbeat: besides, counters, errors, lenders, local memory */
    OBSERVE_ALL,    /* now and then: besides, what only somebody else can have changed, and the findings */
};
/* Reads everything but the memory blocks, which segments.c keeps; what is left out is told as it was. */
MUST_CHECK int observe(struct node *n, enum observe_what what, struct wire_observed *out, struct err *e);
/* A copy of 'last' with the segments as they are now: how far a long order is.  Its revision stays that of 'last'. */
MUST_CHECK int observe_progress(struct node *n, const struct wire_observed *last, struct wire_observed *out,
                                struct err *e);
/* Fills what registration tells; session, epoch and credential are not part of it. */
void observe_registration(struct node *n, struct wire_registration *out);
/* Tells of the channels whose settle time is over by now, in a report of before. */
void observe_settled(struct node *n, struct wire_observed *o);
/* When the next of the settle times under way ends; monotonic ns; INT64_MAX: none is under way. */
int64_t observe_settles_ns(const struct node *n);
/* When the node should be looked at again because a settle time ends; monotonic ms; INT64_MAX: never. */
int64_t observe_next_ms(const struct node *n);

#endif
