/* placement_json.c - see placement_json.h. */
#include "placement_json.h"

#include "json.h"

#include <stdio.h>
#include <string.h>

#define GBPS_MAX 1000000u

/* ---- request --------------------------------------------------------------------------------------------------------
 */

static int find_node(const struct model *m, const char *name, const char *field, uint32_t *out, struct err *e)
{
    *out = model_find_node(m, name);
    return *out != NONE ? 0 : err_field(e, ERR_BODY_NODE_UNKNOWN, field, "%s: there is no node '%s'", field, name);
}

static int decode_avoid(const struct model *m, const json_t *list, struct place_request *r, struct err *e)
{
    char field[32];
    size_t i;
    const json_t *name;
    json_array_foreach((json_t *)list, i, name)
    {
        snprintf(field, sizeof field, "avoid[%zu]", i);
        if (!json_is_string(name))
            return err_field(e, ERR_FIELD_INVALID, field, "%s has to be the name of a node", field);
        if (json_string_length(name) >= NAME_SIZE)
            return err_field(e, ERR_BODY_NODE_UNKNOWN, field, "%s: there is no such node", field);
        if (find_node(m, json_string_value(name), field, &r->avoid[r->n_avoid], e) < 0)
            return -1;
        r->n_avoid++;
    }
    return 0;
}

int placement_request_decode(const struct model *m, const json_t *body, struct place_request *out, bool *commit,
                             struct err *e)
{
    struct place_request r = { .donor = NONE, .channels = 1 };
    char compute[NAME_SIZE] = "", donor[NAME_SIZE] = "";
    const json_t *avoid = NULL;
    bool has_donor, has_affinity, do_commit = false;
    int policy = PLACE_NEAREST;
    const struct json_field fields[] = {
        { .name = "compute_node", .kind = JSON_KIND_STRING, .required = true, .out = compute, .size = sizeof compute },
        { .name = "size_bytes",
          .kind = JSON_KIND_U64,
          .required = true,
          .out = &r.requested_bytes,
          .min = 1,
          .max = SECTION_BYTES,
          .code = ERR_SIZE_INVALID },
        { .name = "donor", .kind = JSON_KIND_STRING, .out = donor, .size = sizeof donor, .present = &has_donor },
        { .name = "avoid", .kind = JSON_KIND_ARRAY, .out = &avoid, .max = PLACE_AVOID_MAX },
        { .name = "channels", .kind = JSON_KIND_U32, .out = &r.channels, .min = 1, .max = 2 },
        { .name = "max_cost_ns", .kind = JSON_KIND_U64, .out = &r.max_cost_ns, .present = &r.has_max_cost },
        { .name = "bandwidth_gbps", .kind = JSON_KIND_U32, .out = &r.bandwidth_gbps, .max = GBPS_MAX },
        { .name = "policy", .kind = JSON_KIND_ENUM, .out = &policy, .names = place_policy_names },
        { .name = "anti_affinity",
          .kind = JSON_KIND_STRING,
          .out = r.anti_affinity,
          .size = sizeof r.anti_affinity,
          .present = &has_affinity },
        { .name = "commit", .kind = JSON_KIND_BOOL, .out = &do_commit },
    };
    if (json_decode(body, fields, ARRAY_LEN(fields) - (commit ? 0 : 1), "", e) < 0)
        return -1;
    r.policy = (enum place_policy)policy;
    if (has_affinity && !label_valid(r.anti_affinity))
        return err_field(e, ERR_FIELD_INVALID, "anti_affinity", "anti_affinity has to be the name of a label");
    if (find_node(m, compute, "compute_node", &r.compute_node, e) < 0 ||
        (has_donor && find_node(m, donor, "donor", &r.donor, e) < 0) || (avoid && decode_avoid(m, avoid, &r, e) < 0))
        return -1;
    *out = r;
    if (commit)
        *commit = do_commit;
    return 0;
}

/* ---- answer ---------------------------------------------------------------------------------------------------------
 */

/* Puts 'value' (a new reference) into the object; false when memory ran out. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *leg_json(const struct model *m, const struct leg *leg)
{
    char name[PORT_NAME_SIZE];
    json_t *list = json_array();
    for (unsigned i = 0; list && i < leg->n_ports; i++)
        if (json_array_append_new(list, json_string(model_port_name(m, leg->ports[i], name))) < 0)
            json_freep(&list);
    return list;
}

json_t *placement_path_json(const struct model *m, const struct leg *legs, unsigned channels)
{
    json_t *list = json_array();
    for (unsigned i = 0; list && i < channels; i++)
        if (json_array_append_new(list, leg_json(m, &legs[i])) < 0)
            json_freep(&list);
    return list;
}

static bool cost_known(const struct place_candidate *c)
{
    return c->reason == PLACE_OK || c->reason == PLACE_TOO_FAR || c->reason == PLACE_NO_SECTION;
}

static json_t *candidate_json(const struct model *m, const struct place_candidate *c)
{
    bool ok = c->reason == PLACE_OK;
    json_t *j = json_object();
    if (!j || !put(j, "node", json_string(model_node(m, c->node)->name)) || !put(j, "feasible", json_boolean(ok)) ||
        !put(j, "reason", ok ? json_null() : json_string(place_reason_names[c->reason])) ||
        !put(j, "detail", c->detail[0] ? json_string(c->detail) : json_null()) ||
        !put(j, "cost_ns", cost_known(c) ? json_u64(c->cost_ns) : json_null()) ||
        !put(j, "path", ok ? placement_path_json(m, c->best.legs, c->best.channels) : json_null()) ||
        !put(j, "lendable_bytes", json_u64(c->lendable_bytes)))
        json_freep(&j);
    return j;
}

json_t *placement_candidates_json(const struct model *m, const struct placement *p)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < p->n; i++)
        if (json_array_append_new(list, candidate_json(m, &p->candidates[i])) < 0)
            json_freep(&list);
    return list;
}

json_t *placement_json(const struct model *m, const struct placement *p)
{
    json_t *j = json_object();
    const char *chosen = p->n_feasible ? model_node(m, p->candidates[0].node)->name : NULL;
    if (!j || !put(j, "chosen", chosen ? json_string(chosen) : json_null()) ||
        !put(j, "size_bytes", json_u64(p->size_bytes)) ||
        !put(j, "reason", p->refused != PLACE_OK ? json_string(place_reason_names[p->refused]) : json_null()) ||
        !put(j, "candidates", placement_candidates_json(m, p)))
        json_freep(&j);
    return j;
}

/* ---- one donor, rule by rule ----------------------------------------------------------------------------------------
 */

static json_t *rules_json(const struct why_rule *rules, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_pack("{s:s, s:s, s:s?}", "rule", place_reason_names[rules[i].rule],
                                                  "outcome", why_outcome_names[rules[i].outcome], "detail",
                                                  rules[i].detail[0] ? rules[i].detail : NULL)) < 0)
            json_freep(&list);
    return list;
}

static json_t *adapter_json(const struct model *m, uint32_t at)
{
    const struct adapter *a = model_adapter(m, at);
    return json_sprintf("%s/%s", model_node(m, a->node)->name, a->name);
}

json_t *placement_why_json(const struct model *m, const struct why *w)
{
    json_t *pairs = json_array();
    for (size_t i = 0; pairs && i < w->n_pairs; i++)
        if (json_array_append_new(pairs, json_pack("{s:o, s:o, s:o}", "compute", adapter_json(m, w->pairs[i].compute),
                                                   "memory", adapter_json(m, w->pairs[i].memory), "rules",
                                                   rules_json(w->pairs[i].rules, WHY_PAIR_RULES))) < 0)
            json_freep(&pairs);
    return json_pack("{s:s, s:o, s:o}", "node", model_node(m, w->donor)->name, "rules",
                     rules_json(w->rules, WHY_NODE_RULES), "pairs", pairs);
}
