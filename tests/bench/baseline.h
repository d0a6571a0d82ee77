/* baseline.h - what a decision costs without an index: Dijkstra by igraph over one vertex per node and switch, from the
 * compute node, then a scan of all nodes for the nearest one that has the memory.  It knows nothing of busy ports; a
 * node hangs on its leaf by its shortest cable only, which makes the graph smaller than it is. */
#ifndef MEMLANE_BENCH_BASELINE_H
#define MEMLANE_BENCH_BASELINE_H

#include "core/model.h"

struct baseline;

struct baseline *baseline_new(const struct model *m); /* NULL: out of memory */
void baseline_free(struct baseline *b);
/* The nearest node that can lend so much; NONE. */
uint32_t baseline_place(struct baseline *b, const struct model *m, uint32_t compute_node, uint64_t size_bytes);

#endif
