/* two_tier.h - a two-tier rack of any size as a model: leaf switches with nodes, spines that join them.
 *
 * Every node has a compute adapter and a memory adapter of two ports each, cabled to its leaf.  A leaf has half as many
 * cables to the spines as to its nodes (oversubscription 2:1), one to each spine.  Latencies of cables are random.
 * The same seed makes the same rack. */
#ifndef MEMLANE_TWO_TIER_H
#define MEMLANE_TWO_TIER_H

#include "core/model.h"

struct two_tier {
    uint32_t n_nodes, nodes_per_leaf; /* n_nodes is a multiple of nodes_per_leaf */
    uint32_t node_choices_ns;         /* a node's cable takes 25 ns and a random number below this; at least 1 */
    uint32_t trunk_choices_ns;        /* a trunk's 50 ns and a random number below this; at least 1 */
};

struct two_tier_random {
    uint64_t state;
};
uint64_t two_tier_random(struct two_tier_random *g);
uint32_t two_tier_below(struct two_tier_random *g, uint32_t n);

/* Nodes are rows 0 .. n_nodes - 1, ready; leaf l holds the nodes from l * nodes_per_leaf on. */
MUST_CHECK int two_tier_new(struct model **out, const struct two_tier *shape, struct two_tier_random *g, struct err *e);

#endif
