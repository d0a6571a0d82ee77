/* topology.h - the fabric as an igraph graph: distances, components, what breaks when.  Owns every igraph call.
 *
 * Debian's igraph is not thread-safe: one thread (or a lock around all of them) calls everything here that takes a
 * 'struct topology'.  Results that depend on the cabling alone are kept for the model's topology_version and made again
 * when it changes; distances from an adapter when they are first asked for. */
#ifndef MEMLANE_TOPOLOGY_H
#define MEMLANE_TOPOLOGY_H

#include "model.h"

struct topology;
struct fabric;

MUST_CHECK int topology_new(struct topology **out, struct err *e);
void topology_free(struct topology *t); /* ignores NULL */
/* Makes the graph anew if the model's topology_version is not the one at hand. */
MUST_CHECK int topology_refresh(struct topology *t, const struct model *m, struct err *e);
/* The same fabric for searches (paths.h); borrowed, good until the next topology_refresh(). */
struct fabric *topology_fabric(struct topology *t);
/* Whether any path of at most PATH_SWITCHES_MAX switches joins the two, all ports taken as free (bonded: channels 2).
 */
bool topology_reaches(struct topology *t, const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter,
                      unsigned channels);
/* The cheapest path by latency, however many switches it takes and whatever is busy: a lower bound for every real path.
 * UINT64_MAX: none. */
uint64_t topology_distance_ns(struct topology *t, uint32_t compute_adapter, uint32_t memory_adapter);
/* Whether losing this switch or link (MODEL_SWITCH, MODEL_LINK) splits a component of the fabric. */
bool topology_splits(const struct topology *t, enum model_kind kind, uint32_t index);

/* Whose memory dies with a node, a link or a switch: the attachments, and the compute nodes that use them (each once,
 * in the order of the attachments).  Needs no igraph and no 'struct topology': any thread, over its own model. */
struct topology_loss {
    size_t n_attachments, n_compute_nodes;
    uint32_t *attachments, *compute_nodes;
};
MUST_CHECK int topology_loss(struct topology_loss *out, const struct model *m, enum model_kind kind, uint32_t index,
                             struct err *e);
void topology_loss_done(struct topology_loss *l); /* for CLEANUP too */

#endif
