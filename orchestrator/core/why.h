/* why.h - one donor, rule by rule (DESIGN section 5): what each rule looked at, and where the donor fell.
 *
 * The verdict is verdict.c's; here are only words around it.  As placement.h: pure, on the topology's thread. */
#ifndef MEMLANE_WHY_H
#define MEMLANE_WHY_H

#include "placement.h"

enum why_outcome { WHY_PASSED, WHY_FAILED, WHY_NOT_REACHED };
extern const char *const why_outcome_names[];

#define WHY_NODE_RULES (PLACE_INSUFFICIENT_MEMORY - PLACE_NOT_READY + 1)
#define WHY_PAIR_RULES (PLACE_NO_SECTION - PLACE_NO_PATH + 1)

struct why_rule {
    enum place_reason rule;
    enum why_outcome outcome;
    char detail[WIRE_TEXT]; /* numbers, for people; empty when it was not reached */
};

struct why_pair { /* a compute adapter and a memory adapter */
    uint32_t compute, memory;
    struct why_rule rules[WHY_PAIR_RULES];
};

struct why {
    uint32_t donor;
    struct why_rule rules[WHY_NODE_RULES];
    size_t n_pairs; /* none when the donor's node fell at a rule, or the compute node refuses the request */
    struct why_pair *pairs;
};

/* 'donor' is another node than the compute node. */
MUST_CHECK int placement_why(struct why *out, const struct model *m, struct topology *t, const struct place_request *r,
                             uint32_t donor, struct err *e);
void placement_why_done(struct why *w); /* for CLEANUP too */

/* Why this donor: the keys that the policy compared, its own and those of the donor that comes next, in one sentence.
 * 'chosen' is what placement_best() answered for 'r', and nothing was reserved since. */
MUST_CHECK int placement_why_chosen(char text[WIRE_TEXT], const struct model *m, struct topology *t,
                                    const struct place_request *r, uint32_t chosen, struct err *e);

#endif
