#include "attachment_json.h"

#include "core/lifecycle.h"
#include "json.h"
#include "placement_json.h"

#include <stdio.h>

/* json_object_set_new() that remembers a failure in '*ok'; takes 'value' in any case. */
static void put(json_t *j, const char *key, json_t *value, bool *ok)
{
    if (json_object_set_new(j, key, value) < 0)
        *ok = false;
}

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? json_string(text) : json_null();
}

static json_t *addr_or_null(uint64_t addr)
{
    return addr ? json_addr(addr) : json_null();
}

static const char *node_name(const struct model *m, uint32_t i)
{
    const struct node *n = model_node(m, i);
    return n ? n->name : "";
}

static const char *adapter_name(const struct model *m, uint32_t i)
{
    const struct adapter *a = model_adapter(m, i);
    return a ? a->name : "";
}

/* The circuit of an attachment that ended in this transaction may have gone with it; what it held is still in its slot.
 */
static const struct circuit *circuit_of(const struct model *m, const struct attachment *a)
{
    const struct table *t = &m->tables[MODEL_CIRCUIT];
    const struct circuit *c = a->circuit < t->n ? (const struct circuit *)t->rows + a->circuit : NULL;
    return c && c->compute == a->compute_adapter && c->memory == a->memory_adapter ? c : NULL;
}

static json_t *holds(const struct model *m, const struct attachment *a)
{
    json_t *list = json_array();
    unsigned bits = a->row.live ? lifecycle_holds(m, a) : 0;
    if (list && (((bits & 1) && json_array_append_new(list, json_string(node_name(m, a->compute_node))) < 0) ||
                 ((bits & 2) && json_array_append_new(list, json_string(node_name(m, a->donor))) < 0))) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *undoing(const struct attachment *a)
{
    if (!a->row.live || a->goal == GOAL_PRESENT || a->undoing > STEP_ONLINE)
        return json_null();
    return json_string(step_names[a->undoing]);
}

/* Why it is where it is; while something goes on, also whose report it waits for. */
static json_t *reason(const struct model *m, const struct attachment *a)
{
    char text[2 * NAME_SIZE + 64];
    bool under_way = a->row.live && (a->state == ATT_PENDING || a->state == ATT_DETACHING);
    const struct node *c = model_node(m, a->compute_node), *d = model_node(m, a->donor);
    const struct node *silent = c && c->state == NODE_UNREACHABLE ? c : d && d->state == NODE_UNREACHABLE ? d : NULL;
    if (a->reason[0] || !under_way || !silent)
        return text_or_null(a->reason);
    snprintf(text, sizeof text, "waits for %s, which does not report", silent->name);
    return json_string(text);
}

json_t *attachment_json(const struct model *m, const struct attachment *a)
{
    json_t *j = json_object();
    if (!j)
        return NULL;
    const struct circuit *c = circuit_of(m, a);
    bool ok = true;
    put(j, "id", json_string(a->id), &ok);
    put(j, "state", json_string(attachment_state_names[a->state]), &ok);
    put(j, "goal", json_string(a->goal == GOAL_PRESENT ? "present" : "absent"), &ok);
    put(j, "step", json_string(step_names[a->step]), &ok);
    put(j, "undoing", undoing(a), &ok);
    put(j, "holds", holds(m, a), &ok);
    put(j, "reason", reason(m, a), &ok);
    put(j, "compute_node", json_string(node_name(m, a->compute_node)), &ok);
    put(j, "compute_adapter", json_string(adapter_name(m, a->compute_adapter)), &ok);
    put(j, "donor", json_string(node_name(m, a->donor)), &ok);
    put(j, "memory_adapter", json_string(adapter_name(m, a->memory_adapter)), &ok);
    put(j, "size_bytes", json_u64(a->size_bytes), &ok);
    put(j, "requested_bytes", json_u64(a->requested_bytes), &ok);
    put(j, "channels", json_integer(a->channels), &ok);
    put(j, "bandwidth_gbps", json_integer(a->bandwidth_gbps), &ok);
    put(j, "path", c ? placement_path_json(m, c->legs, c->channels) : json_array(), &ok);
    put(j, "cost_ns", json_u64(a->cost_ns), &ok);
    put(j, "circuit", a->row.live && c ? json_string(c->id) : json_null(), &ok);
    put(j, "section", json_integer(a->section), &ok);
    put(j, "offset_bytes", json_u64(a->offset_bytes), &ok);
    put(j, "effective_addr", addr_or_null(a->row.live ? a->effective_addr : 0), &ok);
    put(j, "physical_addr", addr_or_null(a->row.live ? a->physical_addr : 0), &ok);
    put(j, "numa_node", a->numa_node >= 0 ? json_integer(a->numa_node) : json_null(), &ok);
    put(j, "blocks_online", json_integer(a->blocks_online), &ok);
    put(j, "blocks_total", json_integer(a->blocks_total), &ok);
    put(j, "created_at", json_time(a->created_ms), &ok);
    put(j, "updated_at", json_time(a->updated_ms), &ok);
    if (ok)
        return j;
    json_decref(j);
    return NULL;
}
