/* route_recovery.c - after an old database was restored: what agents hold that nobody owns, and the operator's word
 * that this database is the one to go on with. */
#include "api/context.h"
#include "api/routes.h"
#include "api/views.h"
#include "core/adopt.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITHOUT_MAX 64

/* ---- unowned ------------------------------------------------------------------------------------------------------
 */
static json_t *unowned_json(const struct node *n, const struct unowned *u, int64_t now_ms, int64_t wall_ms)
{
    json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:o, s:o}", "node", n->name, "kind", u->kind, "id",
                          json_or_null(u->id), "detail", json_safe(u->detail), "size_bytes", json_u64(u->size_bytes),
                          "adapter", json_or_null(u->adapter), "section", (int)u->section, "offset_bytes",
                          json_u64(u->offset_bytes), "since", json_time(wall_ms - (now_ms - u->since_ms)));
    if (j && u->compute_node[0]) {
        json_object_set_new(j, "compute_node", json_string(u->compute_node));
        json_object_set_new(j, "compute_adapter", json_string(u->compute_adapter));
    }
    return j;
}

static json_t *list_unowned(const struct model *m)
{
    json_t *items = json_array();
    int64_t now_ms = time_monotonic_ms(), wall_ms = time_wall_ms();
    size_t n = 0;
    CLEANUP(cleanup_free) const struct node **nodes = view_nodes_after(m, NULL, NULL, &n);
    for (size_t i = 0; nodes && i < n; i++)
        for (unsigned k = 0; k < nodes[i]->n_unowned; k++)
            json_array_append_new(items, unowned_json(nodes[i], &nodes[i]->unowned[k], now_ms, wall_ms));
    return items;
}

void route_unowned(struct request *rq)
{
    uint64_t as_of = writer_published_event(rq->api->writer);
    json_t *items = list_unowned(writer_read_lock(rq->api->writer));
    writer_read_unlock(rq->api->writer);
    reply_page(rq, items, as_of);
}

/* ---- where recovering stands --------------------------------------------------------------------------------------
 */
static json_t *nodes_json(const struct model *m, unsigned *n_unowned)
{
    json_t *list = json_array();
    size_t count = 0;
    CLEANUP(cleanup_free) const struct node **nodes = view_nodes_after(m, NULL, NULL, &count);
    for (size_t i = 0; nodes && i < count; i++) {
        const struct node *n = nodes[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:i}", "name", n->name, "state", node_state_names[n->state],
                                        "reported", n->session[0] && n->reported, "unowned", (int)n->n_unowned));
        *n_unowned += n->n_unowned;
    }
    return list;
}

static json_t *recovery_json(struct writer *w)
{
    uint64_t known = 0;
    unsigned n_unowned = 0;
    bool recovering = writer_recovering(w, &known);
    json_t *nodes = nodes_json(writer_read_lock(w), &n_unowned);
    writer_read_unlock(w);
    return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:i}", "recovering", recovering, "epoch",
                     json_u64(writer_epoch(w)), "known_epoch", known ? json_u64(known) : json_null(), "revision",
                     json_u64(writer_published_revision(w)), "known_revision",
                     recovering && writer_known_revision(w) ? json_u64(writer_known_revision(w)) : json_null(), "nodes",
                     nodes, "unowned", (int)n_unowned);
}

void route_recovery(struct request *rq)
{
    reply_json(rq, 200, recovery_json(rq->api->writer));
}

/* ---- adopt --------------------------------------------------------------------------------------------------------
 */
struct adopt { /* rq->data */
    const char *without[WITHOUT_MAX];
    size_t n_without;
    struct adoption done;
};

static int take_adopt(struct request *rq, struct adopt *x, struct err *e)
{
    const json_t *without = NULL, *name;
    size_t i;
    const struct json_field fields[] = {
        { "without", JSON_KIND_ARRAY, .out = &without, .max = WITHOUT_MAX },
    };
    if (!rq->body)
        return 0;
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    json_array_foreach(without, i, name)
    {
        if (!json_is_string(name))
            return err_field(e, ERR_FIELD_INVALID, "without", "without[%zu] is not the name of a node", i);
        x->without[x->n_without++] = json_string_value(name);
    }
    return 0;
}

static bool holds_unowned(const struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i) && model_node(m, i)->n_unowned)
            return true;
    return false;
}

static int apply_adopt(struct request *rq, struct change *ch, struct err *e)
{
    struct adopt *x = rq->data;
    uint64_t known = 0, known_revision = writer_known_revision(ch->writer);
    bool recovering = writer_recovering(ch->writer, &known);
    if (!recovering && !holds_unowned(ch->model))
        return err_set(e, ERR_CONFLICT, "the orchestrator is not recovering, and nothing is without an owner");
    if (known_revision >= WIRE_NUMBER_MAX) /* not by way of a registration */
        return err_set(e, ERR_CONFLICT, "no revision is left above %llu, which an agent claims to know",
                       (unsigned long long)known_revision);
    if (known_revision >= ch->model->revision)
        ch->model->revision = known_revision + 1; /* what agents saw of the lost time is not to be met again */
    if (adopt_all(ch->model, x->without, x->n_without, &x->done, e) < 0)
        return -1;
    char to[32], reason[WIRE_TEXT];
    snprintf(to, sizeof to, "%u adopted", x->done.n_adopted);
    snprintf(reason, sizeof reason, "%u ended, %u objects stay unowned", x->done.n_ended, x->done.n_kept);
    model_emit(ch->model, "recovery.adopted", "orchestrator", recovering ? "recovering" : "ok", to, reason);
    return recovering ? store_raise_epoch(ch->store, known, e) : 0;
}

static void adopted(struct request *rq)
{
    const struct adopt *x = rq->data;
    json_t *j = recovery_json(rq->api->writer);
    if (j) {
        json_object_set_new(j, "adopted", json_integer(x->done.n_adopted));
        json_object_set_new(j, "ended", json_integer(x->done.n_ended));
        json_object_set_new(j, "kept", json_integer(x->done.n_kept));
    }
    reply_json(rq, 200, j);
}

void route_adopt(struct request *rq)
{
    struct err e;
    struct adopt *x = calloc(1, sizeof *x);
    rq->data = x;
    rq->data_free = free;
    if (!x)
        (void)!err_set(&e, ERR_UNAVAILABLE, "out of memory");
    if (!x || take_adopt(rq, x, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    if (rq->body)
        request_audit_detail(rq, rq->body);
    rq->command.recovery = true;
    request_change(rq, "recovery.adopt", "orchestrator", apply_adopt, adopted);
}
