/* views_loss.c - whose memory dies with what, and what is in danger already. */
#include "api/request.h"
#include "api/views.h"
#include "core/topology.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

struct loss { /* as JSON in the making */
    json_t *attachments, *compute_nodes;
    uint64_t size_bytes;
    bool *seen; /* by node; NULL: there is only one compute node */
};

static void loss_add(struct loss *l, const struct model *m, const struct attachment *a)
{
    json_array_append_new(l->attachments, json_string(a->id));
    l->size_bytes += a->size_bytes;
    if (l->seen ? !l->seen[a->compute_node] : !json_array_size(l->compute_nodes))
        json_array_append_new(l->compute_nodes, json_string(model_node(m, a->compute_node)->name));
    if (l->seen)
        l->seen[a->compute_node] = true;
}

static json_t *loss_json(const struct loss *l)
{
    return json_pack("{s:o, s:o, s:o}", "attachments", l->attachments, "compute_nodes", l->compute_nodes, "size_bytes",
                     json_u64(l->size_bytes));
}

json_t *view_loss(const struct model *m, enum model_kind kind, uint32_t index)
{
    CLEANUP(topology_loss_done) struct topology_loss dead = { 0 };
    struct err e;
    if (topology_loss(&dead, m, kind, index, &e) < 0) {
        json_starve();
        return NULL;
    }
    struct loss l = { .attachments = json_array(), .compute_nodes = json_array() };
    for (size_t i = 0; i < dead.n_attachments; i++) {
        const struct attachment *a = model_attachment(m, dead.attachments[i]);
        json_array_append_new(l.attachments, json_string(a->id));
        l.size_bytes += a->size_bytes;
    }
    for (size_t i = 0; i < dead.n_compute_nodes; i++)
        json_array_append_new(l.compute_nodes, json_string(model_node(m, dead.compute_nodes[i])->name));
    return loss_json(&l);
}

static bool manages(const struct model *m, const struct node *n, uint32_t sw)
{
    const struct sw *s = model_switch(m, sw);
    return s && !strcmp(s->managed_by, n->name);
}

static bool runs_over_managed(const struct model *m, const struct circuit *c, const struct node *n)
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 1; i + 1 < c->legs[k].n_ports; i += 2)
            if (manages(m, n, model_port(m, c->legs[k].ports[i])->sw))
                return true;
    return false;
}

json_t *view_node_loss(const struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    json_t *j = view_loss(m, MODEL_NODE, node), *switches = json_array();
    CLEANUP(cleanup_free) bool *seen = calloc(model_count(m, MODEL_NODE) + 1, sizeof *seen);
    if (!seen)
        json_starve();
    struct loss carried = { .attachments = json_array(), .compute_nodes = json_array(), .seen = seen };
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++)
        if (manages(m, n, i))
            json_array_append_new(switches, json_string(model_switch(m, i)->name));
    for (uint32_t i = 0; json_array_size(switches) && i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        const struct circuit *c = a && !a->compute_gone ? model_circuit(m, a->circuit) : NULL;
        if (c && runs_over_managed(m, c, n))
            loss_add(&carried, m, a);
    }
    json_object_set_new(j, "switches", switches);
    json_object_set_new(j, "carried", loss_json(&carried));
    return j;
}

json_t *view_carried(const struct model *m, uint32_t circuit)
{
    struct loss l = { .attachments = json_array(), .compute_nodes = json_array() };
    for (uint32_t i = NONE; (i = model_circuit_next(m, circuit, i)) != NONE;)
        if (!model_attachment(m, i)->compute_gone)
            loss_add(&l, m, model_attachment(m, i));
    json_t *j = loss_json(&l);
    if (j && !json_array_size(l.attachments)) {
        json_decref(j);
        return json_null();
    }
    return j;
}

static void add_failed(json_t *list, const struct model *m, uint32_t adapter)
{
    const struct adapter *a = model_adapter(m, adapter);
    if (a && a->failed)
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "node", model_node(m, a->node)->name, "adapter",
                                              a->name, "error", json_safe(a->error)));
}

json_t *view_danger(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
    if (!model_circuit_in_danger(m, c))
        return json_null();
    json_t *links = json_array(), *adapters = json_array(), *j = view_carried(m, circuit);
    for (uint32_t i = NONE; (i = model_circuit_broken(m, c, i)) != NONE;) {
        const struct link *l = model_link(m, i);
        json_array_append_new(
            links, json_pack("{s:s, s:s}", "a", model_port_name(m, l->a, a), "b", model_port_name(m, l->b, b)));
    }
    add_failed(adapters, m, c->compute);
    add_failed(adapters, m, c->memory);
    if (!json_is_object(j)) {
        struct loss nothing = { .attachments = json_array(), .compute_nodes = json_array() };
        json_decref(j);
        j = loss_json(&nothing);
    }
    json_object_set_new(j, "links", links);
    json_object_set_new(j, "adapters", adapters);
    return j;
}
