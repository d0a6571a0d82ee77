/* route_status.c - what there is and whether it is well: index, status, health, the API's description, error codes. */
#include "api/context.h"
#include "api/embedded.h"
#include "api/health.h"
#include "api/problem.h"
#include "api/routes.h"
#include "api/views.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

void route_index(struct request *rq)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n_routes; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "method", routes[i].method, "path", routes[i].pattern,
                                              "access", access_names[routes[i].access]));
    reply_json(rq, 200,
               json_pack("{s:s, s:s, s:o}", "version", MEMLANE_VERSION, "openapi", "/openapi.yaml", "routes", list));
}

static void count(json_t *counts, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(counts, name));
    json_object_set_new(counts, name, json_integer(n + 1));
}

struct totals {
    json_t *nodes, *attachments;
    uint64_t memory_bytes, lendable_bytes, lent_bytes;
    uint32_t n_circuits;
    struct health health;
};

static void add_up(struct totals *t, const struct model *m)
{
    t->nodes = json_object();
    t->attachments = json_object();
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        if (!n)
            continue;
        count(t->nodes, node_state_names[n->state]);
        t->memory_bytes += n->memory_bytes;
        t->lent_bytes += n->lent_bytes;
        if (n->state == NODE_READY && !n->cordoned)
            t->lendable_bytes += model_lendable_bytes(n);
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        if (model_attachment(m, i))
            count(t->attachments, attachment_state_names[model_attachment(m, i)->state]);
    t->n_circuits = m->tables[MODEL_CIRCUIT].n_live;
    health_count(&t->health, m);
}

static json_t *counts_json(const char *const *names, const unsigned *counts, unsigned n)
{
    json_t *j = json_object();
    for (unsigned i = 0; i < n; i++)
        json_object_set_new(j, names[i], json_integer(counts[i]));
    return j;
}

static void put_health(json_t *j, const struct health *h)
{
    json_object_set_new(j, "circuits_in_danger", json_integer(h->circuits_in_danger));
    json_object_set_new(j, "attachments_in_danger", json_integer(h->attachments_in_danger));
    json_object_set_new(j, "quarantined_attachments", json_integer(h->quarantined_attachments));
    json_object_set_new(j, "unowned_objects", json_integer(h->unowned_objects));
    json_object_set_new(j, "adapters", counts_json(adapter_state_names, h->adapters, ADAPTER_ERROR + 1));
    json_object_set_new(j, "links", counts_json(link_state_names, h->links, LINK_DOWN + 1));
    json_object_set_new(j, "findings", counts_json(severity_names, h->findings, WIRE_ERROR + 1));
    json_object_set_new(j, "lenders_lost", json_u64(h->lenders_lost));
}

void route_status(struct request *rq)
{
    struct writer *w = rq->api->writer;
    struct totals t = { 0 };
    uint64_t known = 0;
    bool recovering = writer_recovering(w, &known), read_only = writer_read_only(w);
    uint64_t as_of = writer_published_event(w), revision = writer_published_revision(w);
    add_up(&t, writer_read_lock(w));
    writer_read_unlock(w);
    json_t *j =
        json_pack("{s:s, s:I, s:o, s:s, s:o, s:s, s:o, s:o, s:I}", "version", MEMLANE_VERSION, "uptime_s",
                  (json_int_t)((time_monotonic_ms() - rq->api->started_ms) / 1000), "epoch", json_u64(writer_epoch(w)),
                  "instance", writer_instance(w), "revision", json_u64(revision), "state",
                  recovering  ? "recovering"
                  : read_only ? "read_only"
                              : "ok",
                  "nodes", t.nodes, "attachments", t.attachments, "circuits", (json_int_t)t.n_circuits);
    if (j) {
        json_object_set_new(j, "memory_bytes", json_u64(t.memory_bytes));
        json_object_set_new(j, "lendable_bytes", json_u64(t.lendable_bytes));
        json_object_set_new(j, "lent_bytes", json_u64(t.lent_bytes));
        put_health(j, &t.health);
        json_object_set_new(j, "as_of", json_u64(as_of));
    }
    reply_json(rq, 200, j);
}

void route_healthz(struct request *rq)
{
    reply_json(rq, 200, json_pack("{s:s}", "status", "ok"));
}

void route_readyz(struct request *rq)
{
    uint64_t known = 0;
    const char *state = writer_recovering(rq->api->writer, &known) ? "recovering"
                        : writer_read_only(rq->api->writer)        ? "read_only"
                                                                   : "ok";
    reply_json(rq, strcmp(state, "ok") == 0 ? 200 : 503, json_pack("{s:s}", "status", state));
}

void route_openapi(struct request *rq)
{
    reply_static(rq, 200, "application/yaml", api_openapi_yaml, api_openapi_yaml_size);
}

void route_problem(struct request *rq)
{
    struct err e;
    json_t *j = problem_describe(rq->match.params[0]);
    if (j) {
        reply_json(rq, 200, j);
        return;
    }
    (void)!err_set(&e, ERR_NOT_FOUND, "no such code");
    reply_err(rq, &e);
}
