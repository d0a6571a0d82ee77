/* placement_json.h - placement requests and answers as JSON, the same for the API and for --place-only.
 *
 * Pure; the request is decoded against a model, because it names nodes.  Thread-safe as long as the model stays. */
#ifndef MEMLANE_PLACEMENT_JSON_H
#define MEMLANE_PLACEMENT_JSON_H

#include "core/placement.h"
#include "core/why.h"

#include <jansson.h>

/* The body of POST /v1/attachments and POST /v1/placements.  Errors name the field: field_unknown, field_missing,
 * field_invalid; size_invalid for a size_bytes that is no number, zero, negative or beyond a section; node_unknown
 * (422) for a compute_node, donor or avoid[i] that nobody registered.  'commit': NULL, or (--place-only) whether
 * "commit" was true. */
MUST_CHECK int placement_request_decode(const struct model *m, const json_t *body, struct place_request *out,
                                        bool *commit, struct err *e);

/* New references; NULL when memory ran out.
 * {"chosen": name|null, "size_bytes", "reason": null | of the compute node, "candidates": [...]} */
json_t *placement_json(const struct model *m, const struct placement *p);
/* The list alone, for the problem of a refused request: node, feasible, reason (null when feasible), detail, cost_ns,
 * path, lendable_bytes. */
json_t *placement_candidates_json(const struct model *m, const struct placement *p);
/* {"node", "rules": [{"rule", "outcome", "detail"}], "pairs": [{"compute", "memory", "rules"}]} */
json_t *placement_why_json(const struct model *m, const struct why *w);
/* A list of legs, each a list of port names. */
json_t *placement_path_json(const struct model *m, const struct leg *legs, unsigned channels);

#endif
