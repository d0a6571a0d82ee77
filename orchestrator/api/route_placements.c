/* route_placements.c - POST /v1/placements: what a request would get, and why not the others.  Reserves nothing. */
#include "api/context.h"
#include "api/routes.h"
#include "core/placement.h"
#include "placement_json.h"

/* ?why=NODE: this donor rule by rule, as "why" of the answer. */
static int add_why(struct request *rq, struct change *ch, const struct place_request *r, const char *name,
                   struct err *e)
{
    CLEANUP(placement_why_done) struct why w = { 0 };
    uint32_t donor = model_find_node(ch->model, name);
    if (donor == NONE)
        return err_field(e, ERR_BODY_NODE_UNKNOWN, "why", "why: there is no node '%.63s'", name);
    if (donor == r->compute_node)
        return err_field(e, ERR_FIELD_INVALID, "why", "why: %.63s is the compute node, which never lends to itself",
                         name);
    if (placement_why(&w, ch->model, ch->topology, r, donor, e) < 0)
        return -1;
    json_t *why = placement_why_json(ch->model, &w);
    return why && json_object_set_new(rq->answer, "why", why) == 0 ? 0 : err_set(e, ERR_UNAVAILABLE, "out of memory");
}

/* On the writer's thread because the topology is its own. */
static int apply_rank(struct request *rq, struct change *ch, struct err *e)
{
    struct place_request r;
    struct placement p;
    const char *why = request_query(rq, "why");
    if (placement_request_decode(ch->model, rq->body, &r, NULL, e) < 0 ||
        placement_rank(&p, ch->model, ch->topology, &r, e) < 0)
        return -1;
    rq->answer = placement_json(ch->model, &p);
    placement_done(&p);
    if (!rq->answer)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    return why ? add_why(rq, ch, &r, why, e) : 0;
}

static void ranked(struct request *rq)
{
    reply_json(rq, 200, TAKE(rq->answer));
}

void route_place(struct request *rq)
{
    struct err e;
    if (!rq->body) {
        (void)!err_set(&e, ERR_BODY_INVALID, "an object with compute_node and size_bytes is needed");
        reply_err(rq, &e);
        return;
    }
    request_change(rq, NULL, NULL, apply_rank, ranked);
}
