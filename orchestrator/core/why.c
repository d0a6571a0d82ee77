#include "why.h"

#include "units.h"
#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const why_outcome_names[] = { "passed", "failed", "not_reached", NULL };

static const char *label_of(const struct node *n, const char *key)
{
    for (unsigned i = 0; i < n->n_labels; i++)
        if (!strcmp(n->labels[i].key, key))
            return n->labels[i].value;
    return "-";
}

static unsigned count_memory(const struct question *q, const struct node *d, bool usable)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->n_adapters; i++) {
        const struct adapter *a = model_adapter(q->m, d->adapters[i]);
        n += a && a->role == WIRE_MEMORY && (!usable || (a->seen && a->ok));
    }
    return n;
}

/* What a rule saw that the donor's node passed. */
static void node_words(const struct question *q, const struct node *d, enum place_reason rule, char text[WIRE_TEXT])
{
    const struct node *n = model_node(q->m, q->r->compute_node);
    const char *key = q->r->anti_affinity;
    switch (rule) {
    case PLACE_NOT_READY:
        snprintf(text, WIRE_TEXT, "the node is ready, %u of its %u memory adapters work", count_memory(q, d, true),
                 count_memory(q, d, false));
        break;
    case PLACE_CORDONED:
        snprintf(text, WIRE_TEXT, "not cordoned");
        break;
    case PLACE_NOT_PINNED:
        snprintf(text, WIRE_TEXT, "%s", q->r->donor == NONE ? "no donor is asked for" : "it is the donor asked for");
        break;
    case PLACE_AVOIDED:
        snprintf(text, WIRE_TEXT, "not among the %u to avoid", q->r->n_avoid);
        break;
    case PLACE_ANTI_AFFINITY:
        if (*key)
            snprintf(text, WIRE_TEXT, "label %.40s: %.60s here, %.60s on the compute node", key, label_of(d, key),
                     label_of(n, key));
        else
            snprintf(text, WIRE_TEXT, "no label has to differ");
        break;
    case PLACE_NO_MEMORY_ADAPTER:
        snprintf(text, WIRE_TEXT, "%u of its %u adapters have the role memory", count_memory(q, d, false),
                 d->n_adapters);
        break;
    default:
        verdict_memory(q, d, text);
    }
}

static void path_words(const struct question *q, const struct verdict_pair *p, char text[WIRE_TEXT])
{
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
    const struct circuit *c = model_circuit(q->m, p->circuit);
    const struct leg *l = &p->legs[0];
    if (c)
        snprintf(text, WIRE_TEXT, "circuit %s joins them already, with %u attachment%s", c->id, c->n_attachments,
                 c->n_attachments == 1 ? "" : "s");
    else if (p->has_cost)
        snprintf(text, WIRE_TEXT, "free from %.60s to %.60s, %u links%s", model_port_name(q->m, l->ports[0], a),
                 model_port_name(q->m, l->ports[l->n_ports - 1], b), l->n_ports / 2,
                 q->r->channels == 2 ? " on the first leg of two" : "");
    else
        snprintf(text, WIRE_TEXT, "a path over free ports exists");
}

static void pair_words(const struct question *q, const struct verdict_pair *p, enum place_reason rule,
                       char text[WIRE_TEXT])
{
    uint64_t ns = topology_distance_ns(q->t, p->compute, p->memory);
    const struct circuit *c = model_circuit(q->m, p->circuit);
    switch (rule) {
    case PLACE_NO_PATH:
        snprintf(text, WIRE_TEXT, "cabled, at least %" PRIu64 " ns whatever is in use", ns);
        break;
    case PLACE_PORTS_BUSY:
        path_words(q, p, text);
        break;
    case PLACE_BANDWIDTH:
        if (!q->leg_gbps)
            snprintf(text, WIRE_TEXT, "no bandwidth to reserve");
        else
            snprintf(text, WIRE_TEXT, "%u Gbit/s%s fit beside the %u reserved", q->leg_gbps,
                     q->r->channels == 2 ? " on each leg" : "", c ? c->reserved_gbps : 0);
        break;
    case PLACE_TOO_FAR:
        if (q->r->has_max_cost)
            snprintf(text, WIRE_TEXT, "costs %" PRIu64 " ns, %" PRIu64 " ns are allowed", p->cost_ns,
                     q->r->max_cost_ns);
        else
            snprintf(text, WIRE_TEXT, "costs %" PRIu64 " ns, no limit is set", p->cost_ns);
        break;
    default:
        snprintf(text, WIRE_TEXT, "section %u, offset 0x%" PRIx64, p->section, p->offset_bytes);
    }
}

/* PLACE_OK as 'fell': at none. */
static enum why_outcome outcome(enum place_reason rule, enum place_reason fell)
{
    return fell == PLACE_OK || rule < fell ? WHY_PASSED : rule == fell ? WHY_FAILED : WHY_NOT_REACHED;
}

static void node_rules(struct why *w, const struct question *q, enum place_reason fell, const char *detail)
{
    const struct node *d = model_node(q->m, w->donor);
    for (unsigned i = 0; i < WHY_NODE_RULES; i++) {
        struct why_rule *r = &w->rules[i];
        r->rule = (enum place_reason)(PLACE_NOT_READY + i);
        r->outcome = outcome(r->rule, fell);
        if (r->outcome == WHY_PASSED)
            node_words(q, d, r->rule, r->detail);
        else if (r->outcome == WHY_FAILED)
            snprintf(r->detail, sizeof r->detail, "%s", detail);
    }
}

static void pair_rules(struct why_pair *out, const struct question *q, const struct verdict_pair *p)
{
    out->compute = p->compute;
    out->memory = p->memory;
    for (unsigned i = 0; i < WHY_PAIR_RULES; i++) {
        struct why_rule *r = &out->rules[i];
        r->rule = (enum place_reason)(PLACE_NO_PATH + i);
        r->outcome = outcome(r->rule, p->reason);
        if (r->outcome == WHY_PASSED)
            pair_words(q, p, r->rule, r->detail);
        else if (r->outcome == WHY_FAILED)
            snprintf(r->detail, sizeof r->detail, "%s", p->detail);
    }
}

static int all_pairs(struct why *w, const struct question *q, struct err *e)
{
    size_t n = 0;
    CLEANUP(cleanup_free) struct verdict_pair *list = calloc(VERDICT_PAIRS_MAX, sizeof *list);
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (verdict_pairs(list, &n, q, w->donor, e) < 0)
        return -1;
    w->pairs = calloc(n + 1, sizeof *w->pairs);
    if (!w->pairs)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (size_t i = 0; i < n; i++)
        pair_rules(&w->pairs[i], q, &list[i]);
    w->n_pairs = n;
    return 0;
}

int placement_why(struct why *out, const struct model *m, struct topology *t, const struct place_request *r,
                  uint32_t donor, struct err *e)
{
    struct why w = { .donor = donor };
    struct question q;
    enum place_reason refused, fell = PLACE_NOT_READY;
    char detail[WIRE_TEXT] = "";
    if (placement_ask(&q, m, t, r, true, &refused, e) < 0)
        return -1;
    if (refused == PLACE_OK)
        fell = verdict_node(&q, donor, detail);
    node_rules(&w, &q, fell, detail);
    if (refused != PLACE_OK)
        w.rules[0].outcome = WHY_NOT_REACHED;
    else if (fell == PLACE_OK && all_pairs(&w, &q, e) < 0)
        return -1;
    *out = w;
    return 0;
}

void placement_why_done(struct why *w)
{
    free(w->pairs);
    memset(w, 0, sizeof *w);
}

/* ---- why this one -------------------------------------------------------------------------------------------------
 */
#define KEYS_SIZE 128

/* What the policy compares of a donor, first key first. */
static void key_words(const struct question *q, const struct verdict *v, char text[KEYS_SIZE])
{
    const struct node *d = model_node(q->m, v->c.node);
    uint64_t capacity = model_capacity_bytes(d), ns = v->c.cost_ns;
    char amount[UNITS_SIZE_MAX];
    switch (q->r->policy) {
    case PLACE_NEAREST:
        snprintf(text, KEYS_SIZE, "%" PRIu64 " ns, %s to lend", ns, units_format_size(v->c.lendable_bytes, amount));
        break;
    case PLACE_BALANCED:
        snprintf(text, KEYS_SIZE, "%.1f %% of its capacity to lend, %" PRIu64 " ns",
                 capacity ? 100.0 * (double)v->c.lendable_bytes / (double)capacity : 0, ns);
        break;
    case PLACE_PACKED:
        snprintf(text, KEYS_SIZE, "%s, capacity %s, %" PRIu64 " ns",
                 v->joined        ? "joined by a circuit already"
                 : d->n_lends > 0 ? "lends already"
                                  : "lends nothing yet",
                 units_format_size(capacity, amount), ns);
        break;
    case PLACE_LEAST_LOADED:
        snprintf(text, KEYS_SIZE, "%u Gbit/s and %u attachments on its path, %" PRIu64 " ns", v->reserved_gbps,
                 v->n_attachments, ns);
    }
}

/* The donor that comes next, or NONE: what the same request would get without the chosen one. */
static uint32_t runner_up(const struct model *m, struct topology *t, const struct place_request *r, uint32_t chosen)
{
    struct place_request others = *r;
    struct reservation next;
    struct err nobody;
    if (r->donor != NONE || r->n_avoid == PLACE_AVOID_MAX)
        return NONE;
    others.avoid[others.n_avoid++] = chosen;
    return placement_best(&next, m, t, &others, &nobody) == 0 ? next.donor : NONE;
}

int placement_why_chosen(char text[WIRE_TEXT], const struct model *m, struct topology *t, const struct place_request *r,
                         uint32_t chosen, struct err *e)
{
    struct question q;
    enum place_reason refused;
    struct verdict v;
    char first[KEYS_SIZE], second[KEYS_SIZE], whole[2 * KEYS_SIZE + 2 * NAME_SIZE + 64];
    uint32_t next = runner_up(m, t, r, chosen);
    if (placement_ask(&q, m, t, r, false, &refused, e) < 0 || verdict_of(&v, &q, chosen, e) < 0)
        return -1;
    key_words(&q, &v, first);
    if (next != NONE && verdict_of(&v, &q, next, e) < 0)
        return -1;
    if (r->donor != NONE)
        snprintf(whole, sizeof whole, "%s was asked for: %s", model_node(m, chosen)->name, first);
    else if (next == NONE)
        snprintf(whole, sizeof whole, "%s: only %s fits: %s", place_policy_names[r->policy],
                 model_node(m, chosen)->name, first);
    else {
        key_words(&q, &v, second);
        snprintf(whole, sizeof whole, "%s: %s (%s) before %s (%s)", place_policy_names[r->policy],
                 model_node(m, chosen)->name, first, model_node(m, next)->name, second);
    }
    snprintf(text, WIRE_TEXT, "%.*s", WIRE_TEXT - 1, whole);
    return 0;
}
