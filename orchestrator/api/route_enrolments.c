/* route_enrolments.c - /v1/enrolments: nodes that came with a join token that does not approve, and wait for an
 * operator.
 *
 * Until then a node is listed "new": it reports, but lends and borrows nothing and gets no orders.  A refused one stays
 * refused, also when it comes again, until it is approved or forgotten (DELETE /v1/nodes/NAME). */
#include "api/context.h"
#include "api/routes.h"
#include "api/views.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

static json_t *enrolment_json(const struct node *n)
{
    uint64_t memory = n->memory_bytes;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:b}", "name", n->name, "state",
                     enrolment_names[n->enrolment], "machine_id", n->machine_id, "boot_id", n->boot_id, "version",
                     n->version, "adapters", (int)n->n_adapters, "memory_bytes", json_u64(memory), "reported",
                     n->session[0] && n->reported);
}

void route_enrolments(struct request *rq)
{
    uint64_t as_of = writer_published_event(rq->api->writer);
    json_t *items = json_array();
    const struct model *m = writer_read_lock(rq->api->writer);
    size_t n = 0;
    CLEANUP(cleanup_free) const struct node **nodes = view_nodes_after(m, NULL, NULL, &n);
    for (size_t i = 0; nodes && i < n; i++)
        if (nodes[i]->enrolment != ENROLMENT_APPROVED)
            json_array_append_new(items, enrolment_json(nodes[i]));
    writer_read_unlock(rq->api->writer);
    reply_page(rq, items, as_of);
}

static int decide(struct request *rq, struct change *ch, enum enrolment to, struct err *e)
{
    struct model *m = ch->model;
    uint32_t at = model_find_node(m, rq->match.params[0]);
    char object[NAME_SIZE + 8];
    if (at == NONE)
        return err_set(e, ERR_NODE_UNKNOWN, "no node %.63s", rq->match.params[0]);
    const struct node *n = model_node(m, at);
    enum enrolment from = n->enrolment;
    if (from == to) {
        rq->command.audit.action[0] = '\0';
        return 0;
    }
    if (from == ENROLMENT_APPROVED)
        return err_set(e, ERR_CONFLICT, "node %s was approved before; cordon it, or fence it, or forget it", n->name);
    struct node *x = model_edit_node(m, at);
    x->enrolment = to;
    x->desired_revision = m->revision;
    if (to == ENROLMENT_REFUSED || x->ahead_epoch) {
        x->session[0] = '\0'; /* what it sends is refused from now on; or it registers again, with what it knows */
        x->reported = false;
    }
    snprintf(object, sizeof object, "node/%s", x->name);
    model_emit(m, "node.enrolment", object, enrolment_names[from], enrolment_names[to], "");
    if (to == ENROLMENT_APPROVED && x->reported && x->state == NODE_NEW)
        model_set_node_state(m, at, NODE_READY, "approved");
    return 0;
}

static int apply_approve(struct request *rq, struct change *ch, struct err *e)
{
    return decide(rq, ch, ENROLMENT_APPROVED, e);
}

static int apply_refuse(struct request *rq, struct change *ch, struct err *e)
{
    return decide(rq, ch, ENROLMENT_REFUSED, e);
}

static void decided(struct request *rq)
{
    const struct model *m = writer_read_lock(rq->api->writer);
    const struct node *n = model_node(m, model_find_node(m, rq->match.params[0]));
    json_t *j = n ? enrolment_json(n) : NULL;
    writer_read_unlock(rq->api->writer);
    reply_json(rq, 200, j);
}

static void change(struct request *rq, const char *action,
                   int (*apply)(struct request *, struct change *, struct err *))
{
    char object[NAME_SIZE + 80];
    snprintf(object, sizeof object, "node/%.63s", rq->match.params[0]);
    request_change(rq, action, object, apply, decided);
}

void route_enrolment_approve(struct request *rq)
{
    change(rq, "enrolment.approve", apply_approve);
}

void route_enrolment_refuse(struct request *rq)
{
    change(rq, "enrolment.refuse", apply_refuse);
}
