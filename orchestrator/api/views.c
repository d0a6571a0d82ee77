/* views.c - nodes as the API shows them. */
#include "api/views.h"

#include "api/request.h"
#include "core/lifecycle.h"
#include "json.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[] = { "compute", "memory" };
const char *const severity_names[] = { "info", "warning", "error" };

static void put(json_t *j, const char *key, json_t *value)
{
    json_object_set_new(j, key, value);
}

static void put_u64(json_t *j, const char *key, uint64_t value)
{
    put(j, key, json_u64(value));
}

static json_t *port_or_null(const struct model *m, uint32_t port)
{
    char name[PORT_NAME_SIZE];
    return port == NONE ? json_null() : json_string(model_port_name(m, port, name));
}

static json_t *circuit_or_null(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    return c ? json_string(c->id) : json_null();
}

static json_t *ports_of(const struct model *m, const struct adapter *a)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < a->n_ports; k++) {
        const struct port *p = model_port(m, a->ports[k]);
        if (p)
            json_array_append_new(list, json_pack("{s:o, s:i, s:o, s:o}", "name", port_or_null(m, a->ports[k]),
                                                  "number", (int)p->number, "link_peer",
                                                  port_or_null(m, model_port_peer(m, a->ports[k])), "circuit",
                                                  circuit_or_null(m, p->circuit)));
    }
    return list;
}

static json_t *sections_of(const struct model *m, const struct adapter *a)
{
    json_t *list = json_array();
    for (unsigned s = 0; s < a->n_sections; s++) {
        const struct section *x = &a->sections[s];
        const char *state = x->circuit == NONE && !x->used             ? "free"
                            : wire_section_is_parked(x->seen_value, s) ? "parked"
                                                                       : "mapped";
        json_array_append_new(list, json_pack("{s:i, s:s, s:o, s:o}", "section", (int)s, "state", state, "circuit",
                                              circuit_or_null(m, x->circuit), "register", json_addr(x->seen_value)));
    }
    return list;
}

static json_t *channels_of(const struct adapter *a)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < a->n_ports; k++)
        json_array_append_new(list, json_pack("{s:i, s:b, s:b}", "port", (int)k, "up", (int)(a->seen_channels >> k & 1),
                                              "settled", (int)(a->seen_settled >> k & 1)));
    return list;
}

static json_t *view_adapter(const struct model *m, const struct adapter *a)
{
    json_t *j = json_pack("{s:s, s:s, s:b, s:b, s:o, s:b}", "name", a->name, "role", role_names[a->role], "seen",
                          a->seen, "ok", a->seen && a->ok, "error", json_or_null(a->error), "emulated", a->emulated);
    if (!j)
        return NULL;
    put(j, "ports", ports_of(m, a));
    put(j, "channels", channels_of(a));
    put(j, "error_capture", json_addr(a->error_capture));
    put_u64(j, "flits_sent", a->flits_sent);
    put_u64(j, "flits_received", a->flits_received);
    put_u64(j, "latency_cycles", a->latency_cycles);
    put_u64(j, "latency_samples", a->latency_samples);
    if (a->role == WIRE_COMPUTE) {
        put(j, "window_addr", json_addr(a->window_addr));
        put_u64(j, "window_bytes", a->window_bytes);
        put(j, "sections", sections_of(m, a));
    } else {
        put(j, "lender_id", json_or_null(a->lender_id));
    }
    return j;
}

static json_t *adapters_of(const struct model *m, const struct node *n)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < n->n_adapters; k++)
        if (model_adapter(m, n->adapters[k]))
            json_array_append_new(list, view_adapter(m, model_adapter(m, n->adapters[k])));
    return list;
}

static json_t *labels_of(const struct node *n)
{
    json_t *j = json_object();
    for (unsigned k = 0; k < n->n_labels; k++)
        put(j, n->labels[k].key, json_safe(n->labels[k].value));
    return j;
}

/* ---- findings: the agent's, and what the orchestrator knows of the node ---------------------------------------------
 */

struct lost { /* borrowed memory whose donor's half is gone, while the compute node still has its half */
    uint64_t size_bytes;
    const char *reason;
    char others[160]; /* the nodes at the other ends */
};

static void add_lost(struct lost *l, const struct model *m, const struct attachment *a, uint32_t other)
{
    char name[NAME_SIZE + 2];
    if (a->state != ATT_LOST || !(lifecycle_holds(m, a) & 1))
        return;
    l->size_bytes += a->size_bytes;
    l->reason = a->reason;
    snprintf(name, sizeof name, " %s", model_node(m, other)->name);
    size_t len = strlen(l->others);
    const char *before = strstr(l->others, name);
    bool known = before && (before[strlen(name)] == ' ' || !before[strlen(name)]);
    if (!known && len + strlen(name) < sizeof l->others)
        memcpy(l->others + len, name, strlen(name) + 1);
}

static void add_loss_finding(json_t *list, const struct lost *l, const char *verb, const char *advice)
{
    char detail[WIRE_TEXT + 320], size[UNITS_SIZE_MAX];
    if (!l->size_bytes)
        return;
    snprintf(detail, sizeof detail, "%s that it %s%s is lost: %s", units_format_size(l->size_bytes, size), verb,
             l->others, l->reason);
    json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s}", "code", "memory_lost", "severity", "error", "detail",
                                          json_safe(detail), "advice", advice));
}

static void find_lost(json_t *list, const struct model *m, const struct node *n)
{
    struct lost lent = { 0 }, borrowed = { 0 };
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next)
        add_lost(&lent, m, model_attachment(m, i), model_attachment(m, i)->compute_node);
    for (uint32_t i = n->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next)
        add_lost(&borrowed, m, model_attachment(m, i), model_attachment(m, i)->donor);
    add_loss_finding(list, &lent, "lent to",
                     "it is free again when each of its borrowers has rebooted, or was declared off (memlane node "
                     "fence NODE)");
    add_loss_finding(list, &borrowed, "borrowed from",
                     "whoever reads it may crash this node: reboot it, or switch it off and declare it off (memlane "
                     "node fence NODE)");
}

static json_t *findings_of(const struct model *m, const struct node *n)
{
    json_t *list = json_array();
    find_lost(list, m, n);
    for (unsigned k = 0; k < n->n_findings; k++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:o}", "code", n->findings[k].code, "severity",
                                        severity_names[n->findings[k].severity], "detail",
                                        json_safe(n->findings[k].detail), "advice", json_safe(n->findings[k].advice)));
    if (n->conflict[0])
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s}", "code", "identity_conflict", "severity", "error",
                                              "detail", json_safe(n->conflict), "advice",
                                              n->conflict_adapters
                                                  ? "put back the adapters that it had, or their lines in its agent's "
                                                    "configuration; or forget the node when it holds nothing (memlane "
                                                    "node forget), and enrol it anew"
                                                  : "find the machine that claims to be this node, and give it a "
                                                    "machine id and a name of its own"));
    if (n->state == NODE_UNREACHABLE && n->session[0] && !n->reported)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "code", "no_reports", "severity", "error",
                                              "detail", "its agent registered, but sent no report since", "advice",
                                              "see the agent's log: its state directory may be full or read-only"));
    if (n->ahead_epoch && n->enrolment != ENROLMENT_APPROVED)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "code", "epoch_ahead", "severity", "warning",
                                              "detail", "it obeyed a later epoch than this orchestrator's", "advice",
                                              "approve it only when an old database was restored here: all changes "
                                              "stop then, until adoption; if it comes from another rack, empty its "
                                              "state directory"));
    if (n->enrolment != ENROLMENT_APPROVED)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s}", "code", "enrolment", "severity", "warning", "detail",
                                        n->enrolment == ENROLMENT_WAITING ? "waits for an operator's approval"
                                                                          : "an operator refused this node",
                                        "advice", "memlane enrolment approve NODE, or refuse NODE"));
    return list;
}

void view_count_findings(const struct model *m, const struct node *n, unsigned counts[WIRE_ERROR + 1])
{
    CLEANUP(json_freep) json_t *list = findings_of(m, n);
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        const char *severity = json_string_value(json_object_get(one, "severity"));
        for (unsigned s = 0; severity && s <= WIRE_ERROR; s++)
            counts[s] += !strcmp(severity, severity_names[s]);
    }
}

static void put_attachments(json_t *j, const struct model *m, uint32_t node)
{
    json_t *lends = json_array(), *borrows = json_array();
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (a && a->compute_node == node)
            json_array_append_new(borrows, json_string(a->id));
        if (a && a->donor == node)
            json_array_append_new(lends, json_string(a->id));
    }
    put(j, "lends", lends);
    put(j, "borrows", borrows);
    put(j, "blast_radius", view_node_loss(m, node));
}

static void put_memory(json_t *j, const struct node *n)
{
    put_u64(j, "memory_bytes", n->memory_bytes);
    put_u64(j, "free_bytes", n->free_bytes);
    put_u64(j, "locked_bytes", n->locked_bytes);
    put_u64(j, "headroom_bytes", n->headroom_bytes);
    put_u64(j, "capacity_bytes", model_capacity_bytes(n));
    put_u64(j, "lendable_bytes", model_lendable_bytes(n));
    put_u64(j, "lent_bytes", n->lent_bytes);
    put_u64(j, "borrowed_bytes", n->borrowed_bytes);
    put_u64(j, "block_bytes", n->block_bytes);
}

json_t *view_node(const struct model *m, uint32_t node, int64_t now_ms, int64_t wall_ms)
{
    const struct node *n = model_node(m, node);
    json_t *j =
        json_pack("{s:s, s:s, s:b, s:s, s:s, s:s}", "name", n->name, "state", node_state_names[n->state], "cordoned",
                  n->cordoned, "boot_id", n->boot_id, "machine_id", n->machine_id, "version", n->version);
    if (!j)
        return NULL;
    put_memory(j, n);
    put(j, "last_seen_at",
        n->session[0] && n->last_seen_ms ? json_time(wall_ms - (now_ms - n->last_seen_ms)) : json_null());
    put(j, "labels", labels_of(n));
    put(j, "adapters", adapters_of(m, n));
    put(j, "findings", findings_of(m, n));
    put_attachments(j, m, node);
    return j;
}

static int compare_names(const void *a, const void *b)
{
    const struct node *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

const struct node **view_nodes_after(const struct model *m, const char *after, const char *state, size_t *n)
{
    uint32_t count = model_count(m, MODEL_NODE);
    const struct node **list = calloc(count ? count : 1, sizeof(struct node *));
    *n = 0;
    for (uint32_t i = 0; list && i < count; i++) {
        const struct node *x = model_node(m, i);
        if (x && (!after || strcmp(x->name, after) > 0) && (!state || strcmp(node_state_names[x->state], state) == 0))
            list[(*n)++] = x;
    }
    if (list)
        qsort(list, *n, sizeof *list, compare_names);
    return list;
}
