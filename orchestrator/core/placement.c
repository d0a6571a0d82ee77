/* placement.c - see placement.h.
 *
 * verdict.c judges one donor; here is the order among donors.  placement_best() and placement_rank() ask the same
 * question of the same verdicts, so that a preview and a request cannot differ; the former keeps the best one only. */
#include "placement.h"

#include "units.h"
#include "verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const place_policy_names[] = { "nearest", "balanced", "packed", "least_loaded", NULL };
const char *const place_reason_names[] = {
    "ok",         "not_ready",          "cordoned",          "not_pinned",
    "avoided",    "anti_affinity",      "no_memory_adapter", "insufficient_memory",
    "no_path",    "ports_busy",         "bandwidth",         "too_far",
    "no_section", "no_compute_adapter", "compute_not_ready", NULL,
};

/* ---- the four policies: keys in turn, the smaller comes first
 * -------------------------------------------------------- */

static int ascending(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int descending(uint64_t a, uint64_t b)
{
    return ascending(b, a);
}

static int by_nearest(const struct model *m UNUSED, const struct verdict *a, const struct verdict *b)
{
    int c = ascending(a->c.cost_ns, b->c.cost_ns);
    return c ? c : descending(a->c.lendable_bytes, b->c.lendable_bytes);
}

/* lendable / capacity as an exact fraction; a donor that can lend has capacity. */
static int by_balanced(const struct model *m, const struct verdict *a, const struct verdict *b)
{
    unsigned __int128 x = (unsigned __int128)a->c.lendable_bytes * model_capacity_bytes(model_node(m, b->c.node));
    unsigned __int128 y = (unsigned __int128)b->c.lendable_bytes * model_capacity_bytes(model_node(m, a->c.node));
    return x != y ? (x > y ? -1 : 1) : ascending(a->c.cost_ns, b->c.cost_ns);
}

static int by_packed(const struct model *m, const struct verdict *a, const struct verdict *b)
{
    const struct node *x = model_node(m, a->c.node), *y = model_node(m, b->c.node);
    int c = descending(a->joined, b->joined);
    c = c ? c : descending(x->n_lends > 0, y->n_lends > 0);
    c = c ? c : descending(model_capacity_bytes(x), model_capacity_bytes(y));
    return c ? c : ascending(a->c.cost_ns, b->c.cost_ns);
}

static int by_least_loaded(const struct model *m UNUSED, const struct verdict *a, const struct verdict *b)
{
    int c = ascending(a->reserved_gbps, b->reserved_gbps);
    c = c ? c : ascending(a->n_attachments, b->n_attachments);
    return c ? c : ascending(a->c.cost_ns, b->c.cost_ns);
}

typedef int policy_fn(const struct model *m, const struct verdict *a, const struct verdict *b);
static policy_fn *const policies[] = {
    [PLACE_NEAREST] = by_nearest,
    [PLACE_BALANCED] = by_balanced,
    [PLACE_PACKED] = by_packed,
    [PLACE_LEAST_LOADED] = by_least_loaded,
};

/* Total: feasible ones by policy, then refused ones; the name decides at last. */
static int compare(const struct question *q, const struct verdict *a, const struct verdict *b)
{
    bool ok_a = a->c.reason == PLACE_OK, ok_b = b->c.reason == PLACE_OK;
    int c = descending(ok_a, ok_b);
    if (!c && ok_a)
        c = policies[q->r->policy](q->m, a, b);
    return c ? c : strcmp(model_node(q->m, a->c.node)->name, model_node(q->m, b->c.node)->name);
}

static int compare_sort(const void *a, const void *b, void *question)
{
    return compare(question, a, b);
}

/* ---- the question ---------------------------------------------------------------------------------------------------
 */

static int check_size(struct question *q, struct err *e)
{
    const struct node *n = model_node(q->m, q->r->compute_node);
    uint64_t block = n->block_bytes ? n->block_bytes : 1;
    if (!q->r->requested_bytes || q->r->requested_bytes > SECTION_BYTES)
        return err_field(e, ERR_SIZE_INVALID, "size_bytes",
                         "size_bytes has to be from 1 to %llu, the size of a section",
                         (unsigned long long)SECTION_BYTES);
    q->size_bytes = units_round_up(q->r->requested_bytes, block);
    return 0;
}

static int ask(struct question *q, const struct model *m, struct topology *t, const struct place_request *r,
               bool explain, enum place_reason *refused, struct err *e)
{
    *q = (struct question){ .m = m, .t = t, .r = r, .explain = explain };
    q->leg_gbps = r->channels == 2 ? r->bandwidth_gbps / 2 + r->bandwidth_gbps % 2 : r->bandwidth_gbps;
    if (!model_node(m, r->compute_node))
        return err_field(e, ERR_BODY_NODE_UNKNOWN, "compute_node", "the compute node is not registered");
    if (check_size(q, e) < 0 || topology_refresh(t, m, e) < 0)
        return -1;
    q->f = topology_fabric(t);
    return verdict_prepare(q, refused, e);
}

/* ---- all donors, or the best ----------------------------------------------------------------------------------------
 */

static int judge(struct verdict *v, const struct question *q, enum place_reason refused, uint32_t donor, struct err *e)
{
    if (refused == PLACE_OK)
        return verdict_of(v, q, donor, e);
    memset(v, 0, sizeof *v);
    v->c.node = donor;
    v->c.reason = refused;
    v->c.lendable_bytes = model_lendable_bytes(model_node(q->m, donor));
    snprintf(v->c.detail, sizeof v->c.detail, "compute node %s %s", model_node(q->m, q->r->compute_node)->name,
             refused == PLACE_NO_COMPUTE_ADAPTER ? "has no compute adapter" : "or its compute adapter is not ready");
    return 0;
}

static int judge_all(struct placement *out, const struct question *q, enum place_reason refused, struct verdict *list,
                     struct err *e)
{
    for (uint32_t i = 0; i < model_count(q->m, MODEL_NODE); i++) {
        if (i == q->r->compute_node || !model_node(q->m, i))
            continue;
        if (judge(&list[out->n], q, refused, i, e) < 0)
            return -1;
        out->n_feasible += list[out->n].c.reason == PLACE_OK;
        out->n++;
    }
    qsort_r(list, out->n, sizeof *list, compare_sort, (void *)q);
    return 0;
}

int placement_rank(struct placement *out, const struct model *m, struct topology *t, const struct place_request *r,
                   struct err *e)
{
    struct question q;
    struct placement p = { 0 };
    if (ask(&q, m, t, r, true, &p.refused, e) < 0)
        return -1;
    size_t n_max = (size_t)model_count(m, MODEL_NODE) + 1;
    CLEANUP(cleanup_free) struct verdict *list = calloc(n_max, sizeof *list);
    if (!list)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (judge_all(&p, &q, p.refused, list, e) < 0)
        return -1;
    p.size_bytes = q.size_bytes;
    p.candidates = calloc(p.n + 1, sizeof *p.candidates);
    if (!p.candidates)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < p.n; i++)
        p.candidates[i] = list[i].c;
    *out = p;
    return 0;
}

void placement_done(struct placement *p)
{
    free(p->candidates);
    memset(p, 0, sizeof *p);
}

static int no_donor(const struct question *q, enum place_reason refused, struct err *e)
{
    char size[UNITS_SIZE_MAX];
    const char *name = model_node(q->m, q->r->compute_node)->name;
    if (refused != PLACE_OK)
        return err_set(e, ERR_NO_DONOR, "%s cannot borrow: %s", name, place_reason_names[refused]);
    return err_set(e, ERR_NO_DONOR, "no donor can lend %s to %s", units_format_size(q->size_bytes, size), name);
}

int placement_best(struct reservation *out, const struct model *m, struct topology *t, const struct place_request *r,
                   struct err *e)
{
    struct question q;
    struct verdict best = { .c.reason = PLACE_NOT_READY }, v;
    enum place_reason refused;
    if (ask(&q, m, t, r, false, &refused, e) < 0)
        return -1;
    for (uint32_t i = 0; refused == PLACE_OK && i < model_count(m, MODEL_NODE); i++) {
        if (i == r->compute_node || !model_node(m, i))
            continue;
        if (verdict_of(&v, &q, i, e) < 0)
            return -1;
        if (v.c.reason == PLACE_OK && (best.c.reason != PLACE_OK || compare(&q, &v, &best) < 0))
            best = v;
    }
    if (best.c.reason != PLACE_OK)
        return no_donor(&q, refused, e);
    *out = best.c.best;
    return 0;
}
