/* placement.h - who lends, over which path, and why not the others (DESIGN section 5).
 *
 * Pure decision over a model: changes nothing.  A request and a preview run the same code.  Not thread-safe: it uses
 * the topology's caches, on the thread that owns both. */
#ifndef MEMLANE_PLACEMENT_H
#define MEMLANE_PLACEMENT_H

#include "model.h"
#include "topology.h"

enum place_policy { PLACE_NEAREST, PLACE_BALANCED, PLACE_PACKED, PLACE_LEAST_LOADED };
extern const char *const place_policy_names[]; /* NULL-terminated */

/* In the order of the rules; the reason of a refusal is the first that no candidate passes. */
enum place_reason {
    PLACE_OK,
    PLACE_NOT_READY,
    PLACE_CORDONED,
    PLACE_NOT_PINNED,
    PLACE_AVOIDED,
    PLACE_ANTI_AFFINITY,
    PLACE_NO_MEMORY_ADAPTER,
    PLACE_INSUFFICIENT_MEMORY,
    PLACE_NO_PATH,
    PLACE_PORTS_BUSY,
    PLACE_BANDWIDTH,
    PLACE_TOO_FAR,
    PLACE_NO_SECTION,
    /* of the compute node: they refuse the request */
    PLACE_NO_COMPUTE_ADAPTER,
    PLACE_COMPUTE_NOT_READY,
};
extern const char *const place_reason_names[]; /* "ok", "not_ready", ... */

#define PLACE_AVOID_MAX 64
struct place_request {
    uint32_t compute_node;
    uint64_t requested_bytes; /* size_bytes as asked, > 0 */
    uint32_t donor;           /* pinned, or NONE */
    uint32_t avoid[PLACE_AVOID_MAX];
    unsigned n_avoid;
    unsigned channels; /* 1 or 2 */
    bool has_max_cost;
    uint64_t max_cost_ns;
    unsigned bandwidth_gbps;
    enum place_policy policy;
    char anti_affinity[NAME_SIZE]; /* a label's name; empty: none */
};

struct place_candidate { /* one for every other node */
    uint32_t node;
    enum place_reason reason;
    char detail[WIRE_TEXT]; /* numbers: "free 12 GiB, needs 16 GiB"; for people */
    uint64_t lendable_bytes;
    uint64_t cost_ns;        /* feasible, or refused after a path was found */
    struct reservation best; /* feasible ones: all but 'id' */
};

struct placement {
    enum place_reason refused; /* PLACE_OK, or the compute node's fault */
    uint64_t size_bytes;       /* rounded up to the compute node's block */
    size_t n;                  /* feasible first, in order; then refused ones by name */
    size_t n_feasible;
    struct place_candidate *candidates;
};

/* The whole ranking with reasons, for previews and refusals.  ERR_SIZE_INVALID for a size that no section can hold. */
MUST_CHECK int placement_rank(struct placement *out, const struct model *m, struct topology *t,
                              const struct place_request *r, struct err *e);
void placement_done(struct placement *p);
/* The best donor alone: what placement_rank() would put first.  ERR_NO_DONOR when there is none. */
MUST_CHECK int placement_best(struct reservation *out, const struct model *m, struct topology *t,
                              const struct place_request *r, struct err *e);

#endif
