#include "simulate_state.h"

#include "json.h"
#include "placement_json.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *adapter_json(const struct model *m, uint32_t at)
{
    const struct adapter *a = model_adapter(m, at);
    return json_sprintf("%s/%s", model_node(m, a->node)->name, a->name);
}

/* 'numbers': of each circuit's row, its place in the list. */
static json_t *circuits_json(const struct model *m, json_int_t *numbers)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < model_count(m, MODEL_CIRCUIT); i++) {
        const struct circuit *c = model_circuit(m, i);
        if (!c)
            continue;
        numbers[i] = (json_int_t)json_array_size(list);
        if (json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "compute", adapter_json(m, c->compute), "memory",
                                                  adapter_json(m, c->memory), "path",
                                                  placement_path_json(m, c->legs, c->channels))) < 0)
            json_freep(&list);
    }
    return list;
}

static json_t *attachments_json(const struct model *m, const json_int_t *numbers)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (a && json_array_append_new(list, json_pack("{s:I, s:o, s:i, s:o}", "circuit", numbers[a->circuit],
                                                       "size_bytes", json_u64(a->size_bytes), "section",
                                                       (int)a->section, "offset_bytes", json_u64(a->offset_bytes))) < 0)
            json_freep(&list);
    }
    return list;
}

static json_t *reasons_json(const struct model *m, const struct placement *p)
{
    json_t *j = json_object();
    for (size_t i = 0; j && i < p->n; i++)
        if (json_object_set_new(j, model_node(m, p->candidates[i].node)->name,
                                json_string(place_reason_names[p->candidates[i].reason])) < 0)
            json_freep(&j);
    return j;
}

json_t *sim_state_json(const struct model *m, const struct place_request *r, const struct placement *refusal)
{
    CLEANUP(cleanup_free) json_int_t *numbers = calloc((size_t)model_count(m, MODEL_CIRCUIT) + 1, sizeof *numbers);
    if (!numbers)
        return NULL;
    json_t *circuits = circuits_json(m, numbers);
    return json_pack("{s:{s:s, s:o, s:s}, s:o, s:o, s:o}", "request", "compute_node",
                     model_node(m, r->compute_node)->name, "size_bytes", json_u64(r->requested_bytes), "policy",
                     place_policy_names[r->policy], "reasons", reasons_json(m, refusal), "circuits", circuits,
                     "attachments", attachments_json(m, numbers));
}
