/* views.h - rows of the model as the API shows them.  Pure; under the read lock or on the writer's thread.  NULL: out
 * of memory. */
#ifndef MEMLANE_VIEWS_H
#define MEMLANE_VIEWS_H

#include "api/secret.h"
#include "core/model.h"

#include <jansson.h>

/* Live nodes behind the name 'after' and in 'state' (NULL: all), by name, '*n' of them; the caller frees the list. */
const struct node **view_nodes_after(const struct model *m, const char *after, const char *state, size_t *n);
json_t *view_node(const struct model *m, uint32_t node, int64_t now_ms, int64_t wall_ms);
/* Its findings, the agent's and ours, as counts by severity (names: severity_names), added to 'counts'. */
void view_count_findings(const struct model *m, const struct node *n, unsigned counts[WIRE_ERROR + 1]);
extern const char *const severity_names[];
json_t *view_circuit(const struct model *m, const struct circuit *c);
json_t *view_topology(const struct model *m);
json_t *view_declared(const struct model *m); /* exactly what PUT /v1/topology takes */
/* What dies with a node, switch or link: {"attachments", "compute_nodes", "size_bytes"}. */
json_t *view_loss(const struct model *m, enum model_kind kind, uint32_t index);
/* The same of a node, with "switches" that it manages and what is "carried" over them: that lives on without it. */
json_t *view_node_loss(const struct model *m, uint32_t node);
/* null, or "links" of the circuit that are down and "adapters" of it that are in error, with what dies with it. */
json_t *view_danger(const struct model *m, uint32_t circuit);
/* What runs over a circuit, in the form of view_loss(); null when nothing does. */
json_t *view_carried(const struct model *m, uint32_t circuit);
json_t *view_legs(const struct model *m, const struct leg *legs, unsigned n);
/* "topology-HASH": changes with the declared cabling only. */
MUST_CHECK int view_topology_tag(const struct model *m, char *buf, size_t size, struct err *e);

#endif
