/* generate.h - random racks and random request lines, the same for the same seed on every machine. */
#ifndef REFERENCE_GENERATE_H
#define REFERENCE_GENERATE_H

#include "rack.h"

struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *g);
unsigned rng_below(struct rng *g, unsigned n);               /* 0 .. n-1 */
unsigned rng_between(struct rng *g, unsigned a, unsigned b); /* a .. b */
bool rng_percent(struct rng *g, unsigned percent);

enum rack_kind {
    PAIR,
    RING,
    STAR,
    MANY_ADAPTERS,
    TREE,
    DRAGONFLY,
    TORUS,
    BLOCK_DESIGN,
    TWO_TIERS,
    NO_SHAPE,
    N_RACK_KINDS
};
extern const char *const rack_kind_names[N_RACK_KINDS];

json_t *generate_rack(struct rng *g, enum rack_kind kind); /* the caller owns it */

#define N_COSTS_KEPT 16

/* One stream of lines; remembers what answers said, so that limits fall near to what matters. */
struct lines {
    struct rng g;
    unsigned load; /* attachments that it aims at */
    unsigned commit_percent, limited_percent, bonded_percent;
    uint64_t usual_bytes;            /* asked for often, so that donors lend the same; 0: no such size */
    int busy_nodes[3];               /* compute nodes that ask more often than others */
    uint64_t costs_ns[N_COSTS_KEPT]; /* of feasible donors in recent answers */
    unsigned n_costs;
    bool node_lines; /* the engine takes {"node": ...} */
};
void lines_init(struct lines *l, uint64_t seed, const struct rack *r, bool node_lines);
json_t *lines_next(struct lines *l, const struct rack *r); /* 'r': as the lines before left it; the caller owns it */
void lines_saw(struct lines *l, const json_t *answer);

#endif
