/* reach.h - the switches with memory ports, nearest first, from where a circuit may begin.
 *
 * A best-first search over open trunks: a switch comes when nothing nearer can come any more, so that whoever asks may
 * stop early, and mostly does so at the first or second one.  A switch's trunks are looked at one after the other, the
 * cheapest first, and only as far as the answer needs.  What guides it is fabric.bound_ns, igraph's distance to the
 * nearest memory port with every cable in place: a lower bound, whatever is busy.
 *
 * Every switch with exits comes once, at its least cost, and in the order of cost + bound: a lower bound of all that is
 * behind it.  At worst all open trunks within PATH_SWITCHES_MAX switches are looked at once. */
#ifndef MEMLANE_REACH_H
#define MEMLANE_REACH_H

#include "donors.h"

struct reach;

MUST_CHECK int reach_new(struct reach **out, const struct fabric *f, const struct donors *d,
                         struct err *e); /* borrows */
void reach_free(struct reach *r);        /* ignores NULL */

void reach_begin(struct reach *r, unsigned min_gbps);
/* One more beginning: a port that is free, its cable too.  Nothing happens when it leads to no switch, or is too thin.
 * All of them before the first reach_next(). */
MUST_CHECK int reach_from(struct reach *r, const struct model *m, uint32_t port, struct err *e);
/* The next switch, with the cost up to and with it; *sw is NONE when none is left whose exits may cost 'limit_ns' or
 * less. */
MUST_CHECK int reach_next(struct reach *r, uint64_t limit_ns, uint32_t *sw, uint64_t *cost_ns, struct err *e);

#endif
