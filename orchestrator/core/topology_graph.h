/* topology_graph.h - the fabric as igraph sees it; a part of topology.c, and with every igraph call.
 *
 * The graph of reasons and previews is a snapshot of one topology_version.  The graph of decisions lives only while its
 * lower bounds are computed.  Not thread-safe: see topology.h. */
#ifndef MEMLANE_TOPOLOGY_GRAPH_H
#define MEMLANE_TOPOLOGY_GRAPH_H

#include "model.h"

struct fabric;
struct donors;

struct graph;
MUST_CHECK int graph_new(struct graph **out, const struct model *m, struct err *e);
void graph_free(struct graph *g); /* ignores NULL */
/* As topology_reaches() with one channel, topology_distance_ns(), topology_splits(). */
bool graph_reaches(struct graph *g, uint32_t compute_adapter, uint32_t memory_adapter);
uint64_t graph_distance_ns(struct graph *g, uint32_t compute_adapter, uint32_t memory_adapter);
bool graph_splits(const struct graph *g, enum model_kind kind, uint32_t index);

/* Fills in bound_ns and beyond_ns of 'f'.  The graph has the switches, and one vertex for all memory ports: its
 * distances to the switches are the lower bounds that guide reach.h.  Every cable counts, also one that is down, so
 * that it is made once a cabling_version, and links may fail and return without any of it. */
MUST_CHECK int graph_bounds(struct fabric *f, const struct donors *d, struct err *e);

#endif
