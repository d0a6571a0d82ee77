/* orders.h - the orders that carry an id and an attempt: buffers and segments (converge.h). */
#ifndef MEMLANE_AGENT_ORDERS_H
#define MEMLANE_AGENT_ORDERS_H

#include "node.h"

/* Notes which segments are listed, and forgets failures of what is listed no more.  A hot-plug order that is under way
 * and not wanted any more is ended. */
void orders_begin(struct node *n, const struct wire_desired *d);
void orders_segments_absent(struct node *n, const struct wire_desired *d);
void orders_segments_create(struct node *n, const struct wire_desired *d);
/* The hot-plug order under way, if there is one: hears for at most 'wait_ms' how far it is.  True: it ended, or the
 * child of one that failed is gone at last, and a pass may begin what waited for it. */
bool orders_tend(struct node *n, long wait_ms);
void orders_withdraw(struct node *n, const struct wire_desired *d); /* part of orders_begin() */
/* No segment can be made for an order, so none will be told: unless it was refused, the revision is not claimed. */
void orders_left_out(struct node *n, const struct err *e);
void orders_buffers_absent(struct node *n, const struct wire_desired *d);
void orders_buffers_create(struct node *n, const struct wire_desired *d);

#endif
