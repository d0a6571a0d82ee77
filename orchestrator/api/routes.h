/* routes.h - the table of routes, and their handlers: one file a resource.  All run on the HTTP thread. */
#ifndef MEMLANE_ROUTES_H
#define MEMLANE_ROUTES_H

#include "api/request.h"

extern const struct route routes[];
extern const size_t n_routes;

/* route_status.c */
void route_index(struct request *rq);
void route_status(struct request *rq);
void route_healthz(struct request *rq);
void route_readyz(struct request *rq);
void route_openapi(struct request *rq);
void route_problem(struct request *rq);
/* route_metrics.c */
void route_metrics(struct request *rq);
/* route_nodes.c */
void route_nodes(struct request *rq);
void route_node(struct request *rq);
void route_node_patch(struct request *rq);
void route_node_fence(struct request *rq);
void route_node_forget(struct request *rq);
/* route_topology.c */
void route_topology(struct request *rq);
void route_topology_put(struct request *rq);
void route_switch_fence(struct request *rq);
void route_link_patch(struct request *rq);
void route_circuits(struct request *rq);
void route_circuit(struct request *rq);
/* route_placements.c */
void route_place(struct request *rq);
/* route_attachments.c */
void route_attachments(struct request *rq);
void route_attachment(struct request *rq);
void route_attach(struct request *rq);
void route_detach(struct request *rq);
void route_retry(struct request *rq);
void route_cancel(struct request *rq);
/* route_events.c */
void route_events(struct request *rq);
/* route_agents.c */
void route_register(struct request *rq);
void route_desired(struct request *rq);
void route_observed(struct request *rq);
/* route_tokens.c */
void route_tokens(struct request *rq);
void route_token_add(struct request *rq);
void route_token_revoke(struct request *rq);
void route_sign_in(struct request *rq);
void route_whoami(struct request *rq);
void route_sign_out(struct request *rq);
void route_code(struct request *rq);
/* route_admin.c */
void route_audit(struct request *rq);
void route_backup(struct request *rq);
/* route_check.c */
void route_check(struct request *rq);
json_t *check_everything(struct api *a, struct store_reader *r, struct err *e); /* a check_look (checks.h) */
/* route_recovery.c */
void route_unowned(struct request *rq);
void route_recovery(struct request *rq);
void route_adopt(struct request *rq);
/* route_enrolments.c */
void route_enrolments(struct request *rq);
void route_enrolment_approve(struct request *rq);
void route_enrolment_refuse(struct request *rq);
/* route_web.c */
void route_web(struct request *rq);

#endif
