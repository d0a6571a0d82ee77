/* fabric.h - the cabling as flat arrays, in the orders in which searches want it, and which of it is open now.
 *
 * Two parts.  What is cabled to what (ranks of names, trunks between switches, latencies) is built once per
 * cabling_version.  What changes all the time (links that fail and return, ports that circuits take and give back) is
 * kept by fabric_update_port(), a few memory accesses for each port that changed; nothing is searched or built for it.
 *
 * Invariants, of every port p of a live link: peer[p] is its other end while the link is usable, else NONE; the bit of
 * its hop in 'open' is set exactly when the link is usable and neither end is in a circuit.  Everybody may read the
 * arrays; they change in fabric.c only. */
#ifndef MEMLANE_FABRIC_H
#define MEMLANE_FABRIC_H

#include "model.h"

struct trunk {        /* a cable between two switches, seen from one of them */
    uint32_t to;      /* the other switch */
    uint32_t out, in; /* the near and the far port */
    uint64_t ns;      /* of the cable */
    unsigned gbps;
};

struct hop {          /* the same cable, in the order of what it costs to get to the other switch */
    uint64_t cost_ns; /* of the cable and of the other switch */
    uint32_t to, gbps;
};

struct fabric {
    uint32_t n_ports, n_switches, n_trunks;
    uint32_t *peer, *port_sw, *port_adapter, *rank, *port_hop; /* by port; port_hop NONE: no trunk */
    uint64_t *link_ns;
    unsigned *link_gbps;
    uint64_t *switch_ns;   /* by switch */
    uint32_t *first_trunk; /* by switch, and one more: the end; of trunks[] and of hops[] */
    struct trunk *trunks;  /* of a switch in order of (to, ns, name of out) */
    struct hop *hops;      /* of a switch in order of cost_ns */
    uint64_t *open;        /* a bit for each hop */
    /* By switch, for reach.h, from graph_bounds(): no memory port is nearer to it than bound_ns (the switch itself not
     * counted), to its neighbours than beyond_ns; UINT64_MAX: there is none. */
    uint64_t *bound_ns, *beyond_ns;
};

MUST_CHECK int fabric_new(struct fabric **out, const struct model *m, struct err *e);
void fabric_free(struct fabric *f); /* ignores NULL */
/* After the port, or the link at it, changed. */
void fabric_update_port(struct fabric *f, const struct model *m, uint32_t port);
/* The next hop of the switch at or behind 'from' that is open; the end of its range when there is none. */
uint32_t fabric_next_open(const struct fabric *f, uint32_t from, uint32_t end);
bool fabric_same(const struct fabric *a, const struct fabric *b); /* in every bit */
size_t fabric_bytes(const struct fabric *f);                      /* what it occupies */

#endif
