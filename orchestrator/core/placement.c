/* placement.c - see placement.h.
 *
 * verdict.c judges one donor, policy.c orders two of them.  placement_rank() judges all and sorts.  placement_best()
 * judges the few that are joined to the compute node already, and has choice.c look up the best of the others, which
 * is judged like any other: its path, section and cost come from the same lines. */
#include "placement.h"

#include "choice.h"
#include "policy.h"
#include "units.h"

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

static int compare_sort(const void *a, const void *b, void *question)
{
    return policy_compare(question, a, b);
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

int placement_ask(struct question *q, const struct model *m, struct topology *t, const struct place_request *r,
                  bool explain, enum place_reason *refused, struct err *e)
{
    *q = (struct question){ .m = m, .t = t, .r = r, .all = explain, .explain = explain };
    q->leg_gbps = r->channels == 2 ? r->bandwidth_gbps / 2 + r->bandwidth_gbps % 2 : r->bandwidth_gbps;
    if (!model_node(m, r->compute_node))
        return err_field(e, ERR_BODY_NODE_UNKNOWN, "compute_node", "the compute node is not registered");
    if (check_size(q, e) < 0 || topology_refresh(t, m, e) < 0)
        return -1;
    q->f = topology_fabric(t);
    q->paths = topology_paths(t);
    for (uint32_t i = 0; explain && i < model_count(m, MODEL_LINK); i++)
        q->links_down += model_link(m, i) && !model_link_usable(m, model_link(m, i));
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
    const struct node *n = model_node(q->m, q->r->compute_node);
    snprintf(v->c.detail, sizeof v->c.detail, "compute node %s %s", n->name,
             refused != PLACE_NO_COMPUTE_ADAPTER ? "or its compute adapter is not ready"
             : n->block_bytes                    ? "has no compute adapter"
                                                 : "has a kernel without memory hot-plug");
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
    if (placement_ask(&q, m, t, r, true, &p.refused, e) < 0)
        return -1;
    size_t n_max = (size_t)model_count(m, MODEL_NODE) + 1;
    CLEANUP(cleanup_free) struct verdict *list = calloc(n_max, sizeof *list);
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (judge_all(&p, &q, p.refused, list, e) < 0)
        return -1;
    p.size_bytes = q.size_bytes;
    p.candidates = calloc(p.n + 1, sizeof *p.candidates);
    if (!p.candidates)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
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
    if (q->r->donor == q->r->compute_node)
        return err_set(e, ERR_NO_DONOR, "%s cannot lend to itself", name);
    if (refused != PLACE_OK)
        return err_set(e, ERR_NO_DONOR, "%s cannot borrow: %s", name, place_reason_names[refused]);
    return err_set(e, ERR_NO_DONOR, "no donor can lend %s to %s", units_format_size(q->size_bytes, size), name);
}

/* Donors that a circuit or a cable joins to the compute node: at most one for each port of its adapters.  Among the
 * others only the policy's keys, the cost and the name differ, which is what choice.c relies on. */
static unsigned close_donors(const struct question *q, uint32_t list[CHOICE_APART_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < q->n_adapters; i++) {
        const struct adapter *a = model_adapter(q->m, q->adapters[i]);
        for (unsigned k = 0; k < a->n_ports; k++) {
            const struct circuit *c = model_circuit(q->m, model_port(q->m, a->ports[k])->circuit);
            uint32_t peer = model_port_peer(q->m, a->ports[k]);
            const struct adapter *d = model_adapter(q->m, c              ? c->memory
                                                          : peer != NONE ? q->f->port_adapter[peer]
                                                                         : NONE);
            bool listed = !d || d->node == q->r->compute_node;
            for (unsigned j = 0; j < n; j++)
                listed = listed || list[j] == d->node;
            if (!listed)
                list[n++] = d->node;
        }
    }
    return n;
}

static void keep_better(const struct question *q, struct verdict *best, const struct verdict *v)
{
    if (v->c.reason == PLACE_OK && (best->c.reason != PLACE_OK || policy_compare(q, v, best) < 0))
        *best = *v;
}

static int judge_one(struct verdict *best, const struct question *q, uint32_t donor, struct err *e)
{
    struct verdict v;
    if (donor == q->r->compute_node || !model_node(q->m, donor))
        return 0;
    if (verdict_of(&v, q, donor, e) < 0)
        return -1;
    keep_better(q, best, &v);
    return 0;
}

static int decide(struct verdict *best, const struct question *q, struct err *e)
{
    uint32_t apart[CHOICE_APART_MAX];
    struct verdict v;
    bool misled;
    best->c.reason = PLACE_NOT_READY;
    if (q->r->donor != NONE)
        return judge_one(best, q, q->r->donor, e);
    unsigned n = close_donors(q, apart);
    for (unsigned i = 0; i < n; i++)
        if (judge_one(best, q, apart[i], e) < 0)
            return -1;
    if (choice_best(&v, q, apart, n, &misled, e) < 0)
        return -1;
    if (!misled)
        keep_better(q, best, &v);
    else
        topology_note_misled(q->t);
    for (uint32_t i = 0; misled && i < model_count(q->m, MODEL_NODE); i++)
        if (judge_one(best, q, i, e) < 0)
            return -1;
    return 0;
}

int placement_best(struct reservation *out, const struct model *m, struct topology *t, const struct place_request *r,
                   struct err *e)
{
    struct question q;
    struct verdict best;
    enum place_reason refused;
    if (placement_ask(&q, m, t, r, false, &refused, e) < 0)
        return -1;
    if (refused != PLACE_OK)
        return no_donor(&q, refused, e);
    if (decide(&best, &q, e) < 0)
        return -1;
    if (best.c.reason != PLACE_OK)
        return no_donor(&q, refused, e);
    *out = best.c.best;
    return 0;
}
