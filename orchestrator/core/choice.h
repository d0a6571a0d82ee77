/* choice.h - the best donor among those that only a new circuit over switches could join, by looking it up.
 *
 * reach.h brings the switches with memory ports in order of cost, donors.h answers at each of them what the policy
 * asks.  For `nearest` and `least_loaded` the first few switches decide; `balanced` and `packed`, where cost is not the
 * first key, ask every switch that can be reached, but no donor.  Bonded requests judge donors one by one, in the order
 * of a lower bound of their cost, until none can be better. */
#ifndef MEMLANE_CHOICE_H
#define MEMLANE_CHOICE_H

#include "verdict.h"

#define CHOICE_APART_MAX (WIRE_MAX_ADAPTERS * WIRE_PORTS)

/* 'apart': donors that have been judged already, among them all that a circuit or a cable joins to the compute node.
 * out->c.reason is PLACE_OK, and the rest as verdict_of() says; or something else when nobody can lend.  The rules have
 * the last word: '*misled' when they do not confirm what was looked up; then all donors have to be judged. */
MUST_CHECK int choice_best(struct verdict *out, const struct question *q, const uint32_t *apart, unsigned n_apart,
                           bool *misled, struct err *e);

#endif
