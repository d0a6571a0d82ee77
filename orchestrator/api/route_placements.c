/* route_placements.c - POST /v1/placements: what a request would get, and why not the others.  Reserves nothing. */
#include "api/context.h"
#include "api/routes.h"
#include "core/placement.h"
#include "placement_json.h"

/* On the writer's thread because the topology is its own. */
static int apply_rank(struct request *rq, struct change *ch, struct err *e)
{
    struct place_request r;
    struct placement p;
    if (placement_request_decode(ch->model, rq->body, &r, NULL, e) < 0 ||
        placement_rank(&p, ch->model, ch->topology, &r, e) < 0)
        return -1;
    rq->answer = placement_json(ch->model, &p);
    placement_done(&p);
    return rq->answer ? 0 : err_set(e, ERR_INTERNAL, "out of memory");
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
