/* simulate_state.h - a refused request with the state before it, as JSON that another program can judge.
 *
 * {"request": {compute_node, size_bytes, policy}, "reasons": {"n1": "ports_busy", ...},
 *  "circuits": [{"compute": "n1/afu0", "memory": "n2/afu1", "path": [[port, ...]]}],
 *  "attachments": [{"circuit": index into circuits, "size_bytes", "section", "offset_bytes"}]}
 * Together with the rack file that is everything the decision depends on. */
#ifndef MEMLANE_SIMULATE_STATE_H
#define MEMLANE_SIMULATE_STATE_H

#include "core/placement.h"

#include <jansson.h>

/* A new reference; NULL when memory ran out. */
json_t *sim_state_json(const struct model *m, const struct place_request *r, const struct placement *refusal);

#endif
