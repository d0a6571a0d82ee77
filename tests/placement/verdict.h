/* verdict.h - what one donor is worth to one request: its best candidate, or the rule that refuses it. */
#ifndef REFERENCE_VERDICT_H
#define REFERENCE_VERDICT_H

#include "paths.h"
#include "reference.h"

struct request {
    int compute_node, donor; /* donor NONE: any */
    const json_t *avoid;     /* names, or NULL */
    const char *anti_affinity;
    uint64_t requested_bytes, size_bytes;
    int channels;
    bool has_max_cost, commit;
    uint64_t max_cost_ns, leg_gbps; /* what each leg has to carry */
    enum policy policy;
};

struct candidate {
    int compute, memory, circuit; /* circuit NONE: a new one */
    int n_legs;
    struct path legs[2];
    uint64_t cost_ns, sum_ns;
    int n_links;
    int section;
    uint64_t offset_bytes;
};

struct verdict {
    int node;
    enum rule rule; /* N_RULES: feasible, and 'best' is set */
    struct candidate best;
    bool tie; /* another candidate differs from 'best' in its port names only */
    bool has_static;
    struct candidate best_static; /* with all ports free; set when the donor could lend at all */
    bool static_busy;
    uint64_t lendable_bytes, capacity_bytes, lent_bytes;
    bool joined;           /* a circuit joins it to the compute node */
    uint64_t max_leg_gbps; /* reserved on the busiest port of 'best' */
    int max_attachments;   /* on any port of 'best' */
};

/* 'paths[from][to]': the paths from every port of the rack that is a compute port of the compute node; NULL for others.
 */
struct verdict verdict_of(const struct rack *r, const struct request *q, struct path_list *const *paths,
                          const bool *busy, int donor);

#endif
