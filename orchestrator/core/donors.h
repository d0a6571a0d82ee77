/* donors.h - which memory can be reached at which switch, indexed by what placement asks.
 *
 * An exit is a port of a memory adapter that is cabled to a switch.  Exits are in the order (switch, latency of the
 * cable, name of the donor), so that a switch's exits are a range, the nearest first.  Above them stands a binary tree
 * of maxima: the most lendable memory and the largest key of each policy below a node.  It answers "the first exit of
 * this range with at least so much" in the logarithm of their number, and what changes at a donor costs as much.
 *
 * An exit whose donor could not lend over a new circuit now (not ready, cordoned, adapter not usable, port or cable
 * taken or down) has keys of 0.  Invariant: the keys are a function of the rows of the model as they were when
 * donors_update_*() was last called for the node, the adapter's node, or the port; topology.c calls them. */
#ifndef MEMLANE_DONORS_H
#define MEMLANE_DONORS_H

#include "fabric.h"

enum donor_order { ORDER_NONE, ORDER_BALANCED, ORDER_PACKED };
typedef unsigned __int128 order_key; /* the larger comes first; exact */

struct exit {
    uint32_t port, node, sw;
    unsigned gbps;
    uint64_t ns; /* of the cable */
};

struct donor_keys {
    order_key balanced, packed; /* see order_of() in donors.c */
    uint64_t lendable_bytes;
};

struct donors {
    uint32_t n_exits, n_leaves; /* leaves of the tree: a power of two */
    struct exit *exits;
    uint32_t *first_exit; /* by switch, and one more: the end */
    uint32_t *port_exit;  /* by port; NONE: it is none */
    uint32_t *node_rank;  /* by node: place in the order of names */
    uint32_t n_nodes, n_switches, n_ports, n_exit_switches;
    struct donor_keys *tree; /* node i has the children 2 i and 2 i + 1; the leaves are the last n_leaves */
};

struct donor_want {
    uint64_t lendable_bytes; /* at least */
    enum donor_order order;
    order_key at_least;
};

MUST_CHECK int donors_new(struct donors **out, const struct fabric *f, const struct model *m, struct err *e);
void donors_free(struct donors *d); /* ignores NULL */
/* After the node, one of its adapters, or one of their ports or the cable there changed ('f' already has it). */
void donors_update_node(struct donors *d, const struct fabric *f, const struct model *m, uint32_t node);
/* The first exit in [from, end) that has what is wanted; 'end' when there is none. */
uint32_t donors_next(const struct donors *d, uint32_t from, uint32_t end, const struct donor_want *want);
const struct donor_keys *donors_keys(const struct donors *d, uint32_t exit);
order_key donors_order(const struct donors *d, uint32_t exit, enum donor_order order);
bool donors_same(const struct donors *a, const struct donors *b); /* in every key */
size_t donors_bytes(const struct donors *d);

#endif
