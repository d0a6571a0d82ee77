/* topology.h - the fabric as graphs: distances, components, what breaks when; and the index that decisions look up.
 * Owns every igraph call.
 *
 * Debian's igraph is not thread-safe: one thread (or a lock around all of them) calls everything here that takes a
 * 'struct topology'; in memlaned that is the writer, whose model it goes with.
 *
 * topology_refresh() brings the index (fabric.h, donors.h) up to date with the model: the rows that changed since the
 * last one, also when a roll-back changed them back, each at the cost of a few look-ups.  Only another cabling, or a
 * model that it has not seen, makes everything anew; one model is to be freed after all that have seen it.  Decisions
 * need nothing else.  Reasons and previews also ask the whole graph (topology_reaches() and below), which is made when
 * it is first asked for in a topology_version. */
#ifndef MEMLANE_TOPOLOGY_H
#define MEMLANE_TOPOLOGY_H

#include "model.h"

struct topology;
struct fabric;
struct donors;
struct paths;
struct reach;

MUST_CHECK int topology_new(struct topology **out, struct err *e);
void topology_free(struct topology *t); /* ignores NULL */
MUST_CHECK int topology_refresh(struct topology *t, const struct model *m, struct err *e);

/* Of the model as topology_refresh() last saw it; borrowed, good until the next topology_refresh(). */
const struct fabric *topology_fabric(const struct topology *t);
const struct donors *topology_donors(const struct topology *t);
struct paths *topology_paths(struct topology *t);
struct reach *topology_reach(struct topology *t);

/* Whether any path of at most PATH_SWITCHES_MAX switches joins the two, all ports taken as free (bonded: channels 2).
 */
bool topology_reaches(struct topology *t, const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter,
                      unsigned channels);
/* The cheapest path by latency, however many switches it takes and whatever is busy: a lower bound for every real path.
 * UINT64_MAX: none. */
uint64_t topology_distance_ns(struct topology *t, uint32_t compute_adapter, uint32_t memory_adapter);
/* Whether losing this switch or link (MODEL_SWITCH, MODEL_LINK) splits a component of the fabric. */
bool topology_splits(struct topology *t, enum model_kind kind, uint32_t index);

/* Counts decisions that found the index at odds with the rules: 0, or a bug (see choice.h). */
void topology_note_misled(struct topology *t);
uint64_t topology_misled(const struct topology *t);

/* For tests and figures: whether two hold the same index; how often it was made anew; what it occupies. */
bool topology_same(const struct topology *a, const struct topology *b);
uint64_t topology_index_made(const struct topology *t);
size_t topology_index_bytes(const struct topology *t);

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
