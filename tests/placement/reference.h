/* reference.h - placement by brute force, from the words of the design (sections 1, 5 and 12) and from nothing else.
 *
 * One call answers one line of `memlaned --place-only` and keeps the load that committed requests leave behind.  Every
 * candidate is looked at: each pair of adapters, each simple path or pair of legs, each rule.  Written without
 * knowledge of the engine; what the words leave open is said beside the code that decides it ("Reading:"). */
#ifndef REFERENCE_REFERENCE_H
#define REFERENCE_REFERENCE_H

#include "rack.h"

/* In the order of the rules. */
enum rule {
    NOT_READY,
    CORDONED,
    NOT_PINNED,
    AVOIDED,
    ANTI_AFFINITY,
    NO_MEMORY_ADAPTER,
    INSUFFICIENT_MEMORY,
    NO_PATH,
    PORTS_BUSY,
    BANDWIDTH,
    TOO_FAR,
    NO_SECTION,
    N_RULES, /* passes all */
};
extern const char *const rule_names[N_RULES];

enum policy { NEAREST, BALANCED, PACKED, LEAST_LOADED, N_POLICIES };
extern const char *const policy_names[N_POLICIES];

/* What a case was, for the count of the mix. */
struct facts {
    bool is_case; /* a placement request that is not an error */
    bool chosen, bonded, commit;
    bool shares;        /* the chosen donor is reached over a circuit that is there already */
    bool cheapest_busy; /* the cheapest path with all ports free, over all donors that could lend, is taken */
    bool donors_tie;    /* two best donors differ in their names only */
    bool paths_tie;     /* two best paths to the chosen donor differ in their port names only */
    bool no_compute_adapter, compute_not_ready;
    enum policy policy;
    unsigned refusals[N_RULES]; /* donors refused by each rule */
};

/* The answer, without the free text of `detail`; the caller owns it.  'facts' may be NULL. */
json_t *reference_answer(struct rack *r, const json_t *line, struct facts *facts);

#endif
