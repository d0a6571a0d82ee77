/* converge.h - desired - observed -> orders, carried out on the node.
 *
 * Each pass compares a whole desired state with what is there, and does only what is missing; a pass may be repeated,
 * and may be cut off at any point by a kill: the next one goes on.  A failed buffer or segment is not tried again
 * before its order's 'attempt' grows.  Absence from the desired state is never an order. Safe by itself, whatever is
 * ordered: no section register is changed while a block of its section is online; no channel is reset while a section
 * that uses it is not parked; no block comes online behind a section that is parked, zero, or whose channel is in
 * reset.  The job thread calls it. */
#ifndef MEMLANE_AGENT_CONVERGE_H
#define MEMLANE_AGENT_CONVERGE_H

#include "node.h"

/* Acts on 'd'; afterwards node.epoch and instance are those of 'd'.  What fails is remembered in the node and logged.
 * The revision is too, unless something may be online that the node's segments leave out: then none is claimed, as
 * what is not told would be taken for gone. */
void converge_apply(struct node *n, const struct wire_desired *d);

/* Which ports a section register sends to, as bits (hardware.md). */
unsigned converge_ports_of(uint64_t section_value);

#endif
