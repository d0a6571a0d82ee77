/* policy.h - the order among donors (DESIGN section 5): the keys of the four policies in turn, the donor's name last.
 */
#ifndef MEMLANE_POLICY_H
#define MEMLANE_POLICY_H

#include "donors.h"
#include "verdict.h"

/* Total: feasible ones by policy, then refused ones; like strcmp(). */
int policy_compare(const struct question *q, const struct verdict *a, const struct verdict *b);
/* What comes before the cost, of donors that no circuit joins to the compute node. */
enum donor_order policy_order(enum place_policy policy);

#endif
