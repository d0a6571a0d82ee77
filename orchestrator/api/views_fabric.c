/* views_fabric.c - circuits and the topology as the API shows them. */
#include "api/views.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[] = { "compute", "memory" };

static json_t *port_name(const struct model *m, uint32_t port)
{
    char name[PORT_NAME_SIZE];
    return json_string(model_port_name(m, port, name));
}

json_t *view_legs(const struct model *m, const struct leg *legs, unsigned n)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < n; k++) {
        json_t *ports = json_array();
        for (unsigned p = 0; p < legs[k].n_ports; p++)
            json_array_append_new(ports, port_name(m, legs[k].ports[p]));
        json_array_append_new(list, ports);
    }
    return list;
}

/* The ports at one end of the legs. */
static json_t *ends_of(const struct model *m, const struct circuit *c, bool last)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < c->channels; k++)
        if (c->legs[k].n_ports)
            json_array_append_new(list, port_name(m, c->legs[k].ports[last ? c->legs[k].n_ports - 1 : 0]));
    return list;
}

static json_t *attachments_on(const struct model *m, const struct circuit *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (a && model_circuit(m, a->circuit) == c)
            json_array_append_new(list, json_string(a->id));
    }
    return list;
}

json_t *view_circuit(const struct model *m, const struct circuit *c)
{
    return json_pack("{s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "id", c->id, "state", model_circuit_state(c),
                     "channels", (int)c->channels, "compute", ends_of(m, c, false), "memory", ends_of(m, c, true),
                     "path", view_legs(m, c->legs, c->channels), "cost_ns", json_u64(c->cost_ns), "attachments",
                     attachments_on(m, c), "reserved_gbps", (int)c->reserved_gbps, "danger",
                     view_danger(m, model_find_circuit(m, c->id)));
}

/* ---- the declared cabling, in the order of names so that it reads the same whatever slots it lives in
 * ------------------ */

static int by_name(const void *a, const void *b)
{
    json_t *const *x = a, *const *y = b;
    const char *keys[] = { "name", "a" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *s = json_string_value(json_object_get(*x, keys[i]));
        const char *t = json_string_value(json_object_get(*y, keys[i]));
        if (s && t)
            return strcmp(s, t);
    }
    return 0;
}

/* Takes 'list' over and answers it sorted. */
static json_t *sorted(json_t *list)
{
    size_t n = json_array_size(list);
    json_t **rows = calloc(n ? n : 1, sizeof *rows), *out = json_array();
    if (!rows)
        json_starve();
    for (size_t i = 0; rows && i < n; i++)
        rows[i] = json_array_get(list, i);
    if (rows)
        qsort(rows, n, sizeof *rows, by_name);
    for (size_t i = 0; rows && i < n; i++)
        json_array_append(out, rows[i]);
    free(rows);
    json_decref(list);
    return out;
}

static json_t *view_switch(const struct sw *s)
{
    json_t *j = json_pack("{s:s, s:s, s:i, s:o}", "name", s->name, "kind", "circuit", "ports", (int)s->n_ports,
                          "latency_ns", json_u64(s->latency_ns));
    if (j && s->managed_by[0])
        json_object_set_new(j, "managed_by", json_string(s->managed_by));
    return j;
}

static json_t *view_link(const struct model *m, const struct link *l)
{
    return json_pack("{s:o, s:o, s:o, s:i}", "a", port_name(m, l->a), "b", port_name(m, l->b), "latency_ns",
                     json_u64(l->latency_ns), "gbps", (int)l->gbps);
}

static json_t *switches_of(const struct model *m, bool live)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++) {
        json_t *j = model_switch(m, i) ? view_switch(model_switch(m, i)) : NULL;
        if (j && live) {
            json_object_set_new(j, "fenced", json_boolean(model_switch(m, i)->fenced));
            json_object_set_new(j, "blast_radius", view_loss(m, MODEL_SWITCH, i));
        }
        if (j)
            json_array_append_new(list, j);
    }
    return sorted(list);
}

/* A circuit's reservation is on each of its legs. */
static void put_load(json_t *j, const struct model *m, const struct link *l)
{
    const struct port *p = model_port(m, l->a);
    const struct circuit *c = p ? model_circuit(m, p->circuit) : NULL;
    json_object_set_new(j, "state", json_string(link_state_names[model_link_state(m, l)]));
    json_object_set_new(j, "circuit", c ? json_string(c->id) : json_null());
    json_object_set_new(j, "reserved_gbps", json_integer(c ? (json_int_t)c->reserved_gbps : 0));
    json_object_set_new(j, "down", json_boolean(l->down));
    json_object_set_new(j, "in_danger", json_boolean(c && model_circuit_in_danger(m, c)));
    json_object_set_new(j, "blast_radius", c ? view_carried(m, p->circuit) : json_null());
}

static json_t *links_of(const struct model *m, bool live)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < model_count(m, MODEL_LINK); i++) {
        const struct link *l = model_link(m, i);
        json_t *j = l ? view_link(m, l) : NULL;
        if (j && live)
            put_load(j, m, l);
        if (j)
            json_array_append_new(list, j);
    }
    return sorted(list);
}

static json_t *adapter_outline(const struct model *m, const struct adapter *a)
{
    json_t *ports = json_array();
    for (unsigned k = 0; k < a->n_ports; k++)
        json_array_append_new(ports, port_name(m, a->ports[k]));
    return json_pack("{s:s, s:s, s:o}", "name", a->name, "role", role_names[a->role], "ports", ports);
}

static json_t *nodes_of(const struct model *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        json_t *adapters = n ? json_array() : NULL;
        for (unsigned k = 0; n && k < n->n_adapters; k++)
            if (model_adapter(m, n->adapters[k]))
                json_array_append_new(adapters, adapter_outline(m, model_adapter(m, n->adapters[k])));
        if (n)
            json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", n->name, "state",
                                                  node_state_names[n->state], "adapters", adapters));
    }
    return sorted(list);
}

json_t *view_topology(const struct model *m)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "version", json_u64(m->topology_version), "nodes", nodes_of(m), "switches",
                     switches_of(m, true), "links", links_of(m, true));
}

json_t *view_declared(const struct model *m)
{
    return json_pack("{s:o, s:o}", "switches", switches_of(m, false), "links", links_of(m, false));
}

int view_topology_tag(const struct model *m, char *buf, size_t size, struct err *e)
{
    CLEANUP(json_freep) json_t *declared = view_declared(m);
    CLEANUP(cleanup_free) char *text = declared ? json_text(declared) : NULL;
    char hash[HASH_SIZE];
    if (!text)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (secret_hash(text, strlen(text), hash, e) < 0)
        return -1;
    snprintf(buf, size, "topology-%.16s", hash);
    return 0;
}
