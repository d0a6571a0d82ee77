/* topology.h - the fabric as an igraph graph: distances, components, what breaks when.  Owns every igraph call.
 *
 * Debian's igraph is not thread-safe: one thread (or a lock around all of them) calls everything here.  Results that
 * depend on the cabling alone are kept for the model's topology_version and made again when it changes. */
#ifndef MEMLANE_TOPOLOGY_H
#define MEMLANE_TOPOLOGY_H

#include "model.h"

struct topology;

MUST_CHECK int topology_new(struct topology **out, struct err *e);
void topology_free(struct topology *t); /* ignores NULL */
/* Makes the graph anew if the model's topology_version is not the one at hand. */
MUST_CHECK int topology_refresh(struct topology *t, const struct model *m, struct err *e);
/* Whether any path of at most PATH_SWITCHES_MAX switches joins the two, all ports taken as free (bonded: channels 2).
 */
bool topology_reaches(struct topology *t, const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter,
                      unsigned channels);

#endif
