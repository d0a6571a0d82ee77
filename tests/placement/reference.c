#include "reference.h"

#include "verdict.h"

#include <stdlib.h>
#include <string.h>

const char *const rule_names[N_RULES] = {
    "not_ready",           "cordoned", "not_pinned", "avoided",   "anti_affinity", "no_memory_adapter",
    "insufficient_memory", "no_path",  "ports_busy", "bandwidth", "too_far",       "no_section"
};
const char *const policy_names[N_POLICIES] = { "nearest", "balanced", "packed", "least_loaded" };

static json_t *error(void)
{
    return json_pack("{s:{}}", "error");
}

/* ---- the order among feasible donors */

static int more_first(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

static int less_first(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* lendable / capacity, exactly; both capacities are above 0 because both donors are feasible */
static int emptier_first(const struct verdict *a, const struct verdict *b)
{
    unsigned __int128 x = (unsigned __int128)a->lendable_bytes * b->capacity_bytes;
    unsigned __int128 y = (unsigned __int128)b->lendable_bytes * a->capacity_bytes;
    return (x < y) - (x > y);
}

/* Everything but the name. */
static int compare_keys(const struct verdict *a, const struct verdict *b, enum policy policy)
{
    int c = 0;
    switch (policy) {
    case NEAREST:
        c = less_first(a->best.cost_ns, b->best.cost_ns);
        return c ? c : more_first(a->lendable_bytes, b->lendable_bytes);
    case BALANCED:
        c = emptier_first(a, b);
        break;
    case PACKED:
        c = more_first(a->joined, b->joined);
        c = c ? c : more_first(a->lent_bytes > 0, b->lent_bytes > 0);
        c = c ? c : more_first(a->capacity_bytes, b->capacity_bytes);
        break;
    case LEAST_LOADED:
        c = less_first(a->max_leg_gbps, b->max_leg_gbps);
        c = c ? c : less_first((uint64_t)a->max_attachments, (uint64_t)b->max_attachments);
        break;
    case N_POLICIES:
        break;
    }
    return c ? c : less_first(a->best.cost_ns, b->best.cost_ns);
}

struct ranking {
    struct verdict *donors; /* one for every other node; feasible ones first, in order */
    int n, n_feasible;
};

static bool before(const struct rack *r, const struct verdict *a, const struct verdict *b, enum policy policy)
{
    if ((a->rule == N_RULES) != (b->rule == N_RULES))
        return a->rule == N_RULES;
    int c = a->rule == N_RULES ? compare_keys(a, b, policy) : 0;
    return c ? c < 0 : strcmp(r->nodes[a->node].name, r->nodes[b->node].name) < 0;
}

static void insert(const struct rack *r, struct ranking *all, const struct verdict *v, enum policy policy)
{
    int at = all->n++;
    for (; at > 0 && before(r, v, &all->donors[at - 1], policy); at--)
        all->donors[at] = all->donors[at - 1];
    all->donors[at] = *v;
    all->n_feasible += v->rule == N_RULES;
}

static struct ranking rank(const struct rack *r, const struct request *q)
{
    struct ranking all = { .donors = calloc((size_t)r->n_nodes, sizeof *all.donors) };
    struct path_list **paths = calloc((size_t)r->n_ports + 1, sizeof *paths);
    bool *busy = calloc((size_t)r->n_ports + 1, sizeof *busy);
    rack_busy_ports(r, busy);
    for (int a = 0; a < r->n_adapters; a++)
        for (int k = 0; r->adapters[a].node == q->compute_node && r->adapters[a].compute && k < r->adapters[a].n_ports;
             k++)
            paths[r->adapters[a].ports[k]] = paths_from(r, r->adapters[a].ports[k]);
    for (int node = 0; node < r->n_nodes; node++)
        if (node != q->compute_node) {
            struct verdict v = verdict_of(r, q, paths, busy, node);
            insert(r, &all, &v, q->policy);
        }
    for (int i = 0; i < r->n_ports; i++)
        paths_done(r, paths[i]);
    free(paths);
    free(busy);
    return all;
}

/* ---- the request */

/* An absent field leaves '*out' and is fine; else a whole number from 'min' to 'max'. */
static bool whole(const json_t *line, const char *key, int64_t min, int64_t max, uint64_t *out)
{
    const json_t *j = json_object_get(line, key);
    if (!j)
        return true;
    if (!json_is_integer(j) || json_integer_value(j) < min || json_integer_value(j) > max)
        return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

static bool decode_policy(const json_t *line, enum policy *out)
{
    const char *name = json_string_value(json_object_get(line, "policy"));
    *out = NEAREST;
    if (!name)
        return !json_object_get(line, "policy");
    while (*out < N_POLICIES && strcmp(policy_names[*out], name))
        (*out)++;
    return *out < N_POLICIES;
}

static bool decode_nodes(const struct rack *r, const json_t *line, struct request *q)
{
    const char *donor = json_string_value(json_object_get(line, "donor"));
    size_t i;
    json_t *j;
    q->compute_node = rack_node(r, json_string_value(json_object_get(line, "compute_node")));
    q->donor = rack_node(r, donor);
    q->avoid = json_object_get(line, "avoid");
    json_array_foreach((json_t *)q->avoid, i, j) if (rack_node(r, json_string_value(j)) == NONE) return false;
    return q->compute_node != NONE && (!donor || q->donor != NONE);
}

static bool decode(const struct rack *r, const json_t *line, struct request *q)
{
    uint64_t channels = 1, gbps = 0, max = INT64_MAX;
    if (!decode_nodes(r, line, q) || !whole(line, "size_bytes", 1, INT64_MAX, &q->requested_bytes) ||
        !whole(line, "channels", 1, 2, &channels) || !whole(line, "bandwidth_gbps", 0, INT64_MAX, &gbps) ||
        !whole(line, "max_cost_ns", 0, INT64_MAX, &max) || !decode_policy(line, &q->policy) || !q->requested_bytes)
        return false;
    uint64_t block = r->nodes[q->compute_node].block_bytes;
    q->size_bytes = (q->requested_bytes + block - 1) / block * block;
    q->anti_affinity = json_string_value(json_object_get(line, "anti_affinity"));
    q->channels = (int)channels;
    q->leg_gbps = channels == 2 ? gbps / 2 + gbps % 2 : gbps;
    q->has_max_cost = json_object_get(line, "max_cost_ns") != NULL;
    q->max_cost_ns = max;
    q->commit = json_is_true(json_object_get(line, "commit"));
    return true;
}

/* ---- the answer */

static json_t *path_json(const struct rack *r, const struct candidate *c)
{
    json_t *legs = json_array();
    for (int leg = 0; leg < c->n_legs; leg++) {
        json_t *names = json_array();
        for (int i = 0; i < c->legs[leg].n_ports; i++)
            json_array_append_new(names, json_string(r->ports[c->legs[leg].ports[i]].name));
        json_array_append_new(legs, names);
    }
    return legs;
}

static json_t *candidate_json(const struct rack *r, const struct verdict *v, const char *fault)
{
    bool feasible = !fault && v->rule == N_RULES;
    const char *reason = fault ? fault : feasible ? NULL : rule_names[v->rule];
    return json_pack("{s:s,s:b,s:s?,s:o,s:o,s:I}", "node", r->nodes[v->node].name, "feasible", feasible, "reason",
                     reason, "cost_ns", feasible ? json_integer((json_int_t)v->best.cost_ns) : json_null(), "path",
                     feasible ? path_json(r, &v->best) : json_null(), "lendable_bytes", (json_int_t)v->lendable_bytes);
}

static const char *compute_fault(const struct rack *r, const struct request *q)
{
    bool has_adapter = false;
    for (int a = 0; a < r->n_adapters; a++)
        has_adapter |= r->adapters[a].node == q->compute_node && r->adapters[a].compute;
    if (!has_adapter)
        return "no_compute_adapter";
    return r->nodes[q->compute_node].ready ? NULL : "compute_not_ready";
}

static json_t *answer_json(const struct rack *r, const struct request *q, const struct ranking *all, const char *fault)
{
    json_t *candidates = json_array();
    const char *chosen = !fault && all->n_feasible ? r->nodes[all->donors[0].node].name : NULL;
    for (int i = 0; i < all->n; i++)
        json_array_append_new(candidates, candidate_json(r, &all->donors[i], fault));
    return json_pack("{s:s?,s:I,s:s?,s:o}", "chosen", chosen, "size_bytes", (json_int_t)q->size_bytes, "reason", fault,
                     "candidates", candidates);
}

static void gather(const struct request *q, const struct ranking *all, const char *fault, struct facts *f)
{
    const struct verdict *cheapest = NULL;
    *f = (struct facts){ .is_case = true, .policy = q->policy, .bonded = q->channels == 2, .commit = q->commit };
    f->no_compute_adapter = fault && !strcmp(fault, "no_compute_adapter");
    f->compute_not_ready = fault && !f->no_compute_adapter;
    if (fault)
        return;
    for (int i = 0; i < all->n; i++) {
        const struct verdict *v = &all->donors[i];
        if (v->rule < N_RULES)
            f->refusals[v->rule]++;
        if (v->has_static && (!cheapest || v->best_static.cost_ns < cheapest->best_static.cost_ns))
            cheapest = v;
    }
    f->cheapest_busy = cheapest && cheapest->static_busy;
    f->chosen = all->n_feasible > 0;
    f->shares = f->chosen && all->donors[0].best.circuit != NONE;
    f->paths_tie = f->chosen && all->donors[0].tie;
    f->donors_tie = all->n_feasible > 1 && compare_keys(&all->donors[0], &all->donors[1], q->policy) == 0;
}

/* ---- what lines do */

static void reserve(struct rack *r, const struct request *q, const struct verdict *v, struct attachment *a)
{
    const struct candidate *c = &v->best;
    int circuit = c->circuit;
    if (circuit == NONE) {
        r->circuits = grown(r->circuits, r->n_circuits, sizeof *r->circuits);
        circuit = r->n_circuits++;
        r->circuits[circuit] = (struct circuit){ .compute = c->compute, .memory = c->memory, .channels = c->n_legs };
        memcpy(r->circuits[circuit].legs, c->legs, sizeof c->legs);
    }
    *a = (struct attachment){ .live = true,
                              .compute_node = q->compute_node,
                              .donor = v->node,
                              .circuit = circuit,
                              .section = c->section,
                              .offset_bytes = c->offset_bytes,
                              .size_bytes = q->size_bytes,
                              .leg_gbps = q->leg_gbps };
}

static json_t *answer_request(struct rack *r, const json_t *line, struct facts *facts)
{
    struct request q = { 0 };
    r->attachments = grown(r->attachments, r->n_attachments, sizeof *r->attachments);
    struct attachment *mine = &r->attachments[r->n_attachments++];
    if (!decode(r, line, &q))
        return error();
    const char *fault = compute_fault(r, &q);
    struct ranking all = rank(r, &q);
    json_t *answer = answer_json(r, &q, &all, fault);
    if (facts)
        gather(&q, &all, fault, facts);
    if (q.commit && !fault && all.n_feasible) {
        reserve(r, &q, &all.donors[0], mine);
        json_object_set_new(answer, "reserved", json_integer(r->n_attachments));
        json_object_set_new(answer, "section", json_integer(mine->section));
        json_object_set_new(answer, "offset_bytes", json_integer((json_int_t)mine->offset_bytes));
    }
    free(all.donors);
    return answer;
}

static json_t *answer_release(struct rack *r, const json_t *n)
{
    json_int_t i = json_integer_value(n);
    if (i < 1 || i > r->n_attachments || !r->attachments[i - 1].live)
        return error();
    r->attachments[i - 1].live = false;
    return json_pack("{s:I}", "released", i);
}

static json_t *answer_link(struct rack *r, const json_t *line)
{
    const json_t *ends = json_object_get(line, "link");
    int link = rack_link(r, json_string_value(json_array_get(ends, 0)), json_string_value(json_array_get(ends, 1)));
    if (link == NONE)
        return error();
    r->links[link].down = json_is_true(json_object_get(line, "down"));
    return json_deep_copy(line);
}

/* {"node": N, "cordoned": true|false}, {"node": N, "state": "ready"|"unreachable"} */
static json_t *answer_node(struct rack *r, const json_t *line)
{
    int node = rack_node(r, json_string_value(json_object_get(line, "node")));
    const char *state = json_string_value(json_object_get(line, "state"));
    if (node == NONE)
        return error();
    if (state)
        r->nodes[node].ready = !strcmp(state, "ready");
    else
        r->nodes[node].cordoned = json_is_true(json_object_get(line, "cordoned"));
    return json_deep_copy(line);
}

json_t *reference_answer(struct rack *r, const json_t *line, struct facts *facts)
{
    if (facts)
        *facts = (struct facts){ 0 };
    if (json_object_get(line, "release"))
        return answer_release(r, json_object_get(line, "release"));
    if (json_object_get(line, "link"))
        return answer_link(r, line);
    if (json_object_get(line, "node"))
        return answer_node(r, line);
    return answer_request(r, line, facts);
}
