#include "verdict.h"

#include <string.h>

#define N_SECTION_REGISTERS 8

/* ---- sections */

static uint64_t section_bytes(const struct rack *r, int compute, int section)
{
    uint64_t start = (uint64_t)section * TIB, window = r->adapters[compute].window_bytes;
    if (section >= N_SECTION_REGISTERS || start >= window)
        return 0;
    return window - start < TIB ? window - start : TIB;
}

static const struct attachment *any_in_section(const struct rack *r, int compute, int section)
{
    for (int i = 0; i < r->n_attachments; i++) {
        const struct attachment *a = &r->attachments[i];
        if (a->live && r->circuits[a->circuit].compute == compute && a->section == section)
            return a;
    }
    return NULL;
}

static const struct attachment *overlapping(const struct rack *r, int compute, int section, uint64_t offset,
                                            uint64_t size)
{
    for (int i = 0; i < r->n_attachments; i++) {
        const struct attachment *a = &r->attachments[i];
        if (a->live && r->circuits[a->circuit].compute == compute && a->section == section &&
            a->offset_bytes < offset + size && offset < a->offset_bytes + a->size_bytes)
            return a;
    }
    return NULL;
}

/* The lowest offset of a gap; false when there is none.  Steps over what is in the way: all sizes are whole blocks. */
static bool gap(const struct rack *r, int compute, int section, uint64_t size, uint64_t *offset)
{
    uint64_t at = 0, room = section_bytes(r, compute, section);
    const struct attachment *in_the_way;
    while ((in_the_way = overlapping(r, compute, section, at, size)))
        at = in_the_way->offset_bytes + in_the_way->size_bytes;
    if (size > room || at > room - size)
        return false;
    *offset = at;
    return true;
}

static bool first_fit(const struct rack *r, const struct request *q, struct candidate *c)
{
    for (c->section = 0; c->section < N_SECTION_REGISTERS; c->section++) {
        const struct attachment *a = any_in_section(r, c->compute, c->section);
        if (a && c->circuit != NONE && a->circuit == c->circuit &&
            gap(r, c->compute, c->section, q->size_bytes, &c->offset_bytes))
            return true;
    }
    c->offset_bytes = 0;
    for (c->section = 0; c->section < N_SECTION_REGISTERS; c->section++)
        if (!any_in_section(r, c->compute, c->section))
            return q->size_bytes <= section_bytes(r, c->compute, c->section);
    return false;
}

/* ---- the rules that look at a candidate */

/* Reading: a port of an adapter carries 100 Gbit/s (the design's section 1), one of a switch what its cable carries.
 * Every path begins and ends at an adapter, so that it makes no difference whether a switch's port has 100 as well. */
static bool carries(const struct rack *r, const struct path *leg, uint64_t gbps)
{
    for (int i = 0; i < leg->n_ports; i++) {
        const struct port *p = &r->ports[leg->ports[i]];
        if (gbps > r->links[p->link].gbps || (p->adapter != NONE && gbps > ADAPTER_PORT_GBPS))
            return false;
    }
    return true;
}

static enum rule rules_of_load(const struct rack *r, const struct request *q, struct candidate *c)
{
    uint64_t gbps = q->leg_gbps + (c->circuit == NONE ? 0 : circuit_leg_gbps(r, c->circuit));
    for (int leg = 0; leg < c->n_legs; leg++)
        if (!carries(r, &c->legs[leg], gbps))
            return BANDWIDTH;
    if (q->has_max_cost && c->cost_ns > q->max_cost_ns)
        return TOO_FAR;
    return first_fit(r, q, c) ? N_RULES : NO_SECTION;
}

static bool any_busy(const struct candidate *c, const bool *busy)
{
    for (int leg = 0; leg < c->n_legs; leg++)
        for (int i = 0; i < c->legs[leg].n_ports; i++)
            if (busy[c->legs[leg].ports[i]])
                return true;
    return false;
}

static struct candidate candidate_of(const struct rack *r, const struct path *leg0, const struct path *leg1,
                                     int circuit)
{
    const struct port *first = &r->ports[leg0->ports[0]], *last = &r->ports[leg0->ports[leg0->n_ports - 1]];
    struct candidate c = { .compute = first->adapter, .memory = last->adapter, .circuit = circuit, .n_legs = 1 };
    c.legs[0] = *leg0;
    c.cost_ns = c.sum_ns = leg0->cost_ns;
    c.n_links = path_links(leg0);
    if (leg1) {
        c.n_legs = 2;
        c.legs[1] = *leg1;
        c.cost_ns = leg0->cost_ns > leg1->cost_ns ? leg0->cost_ns : leg1->cost_ns;
        c.sum_ns += leg1->cost_ns;
        c.n_links += path_links(leg1);
    }
    return c;
}

/* ---- which candidate is the best */

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_names(const struct rack *r, const struct candidate *a, const struct candidate *b)
{
    int c = path_compare_names(r, &a->legs[0], &b->legs[0]);
    return c || a->n_legs == 1 ? c : path_compare_names(r, &a->legs[1], &b->legs[1]);
}

/* Between the same two adapters; for single paths the sum is the cost. */
static int compare_in_pair(const struct candidate *a, const struct candidate *b)
{
    int c = compare_u64(a->cost_ns, b->cost_ns);
    c = c ? c : compare_u64(a->sum_ns, b->sum_ns);
    return c ? c : a->n_links - b->n_links;
}

/* Among a donor's pairs of adapters.  Reading: the sum of two legs counts only where the design names it, within a
 * pair. */
static int compare_pairs(const struct candidate *a, const struct candidate *b)
{
    int c = compare_u64(a->cost_ns, b->cost_ns);
    return c ? c : a->n_links - b->n_links;
}

struct best {
    bool found, tie;
    struct candidate c;
};

static void take(const struct rack *r, struct best *best, const struct candidate *c,
                 int (*compare)(const struct candidate *, const struct candidate *), bool c_tie)
{
    int order = best->found ? compare(c, &best->c) : -1;
    bool tie = best->found && order == 0;
    if (order < 0 || (tie && compare_names(r, c, &best->c) < 0)) {
        best->c = *c;
        best->tie = tie || c_tie;
        best->found = true;
    } else if (tie) {
        best->tie = true;
    }
}

/* ---- one pair of adapters */

struct pair {
    enum rule furthest; /* the rule at which the candidate that comes furthest stops */
    struct best best, best_static;
    bool static_busy;
};

static void weigh(const struct rack *r, const struct request *q, const bool *busy, struct pair *p, struct candidate *c,
                  bool only_circuit)
{
    bool taken = only_circuit || any_busy(c, busy);
    enum rule rule = taken ? PORTS_BUSY : rules_of_load(r, q, c);
    take(r, &p->best_static, c, compare_in_pair, false);
    if (rule > p->furthest)
        p->furthest = rule;
    if (rule == N_RULES)
        take(r, &p->best, c, compare_in_pair, false);
}

static void each_path(const struct rack *r, const struct request *q, struct path_list *const *paths, const bool *busy,
                      struct pair *p, int compute, int memory, bool joined)
{
    const struct adapter *a = &r->adapters[compute], *b = &r->adapters[memory];
    for (int k = 0; k < a->n_ports; k++)
        for (int m = 0; m < b->n_ports; m++) {
            const struct path_list *list = &paths[a->ports[k]][b->ports[m]];
            for (int i = 0; i < list->n; i++) {
                struct candidate c = candidate_of(r, &list->items[i], NULL, NONE);
                weigh(r, q, busy, p, &c, joined);
            }
        }
}

static void each_two_legs(const struct rack *r, const struct request *q, struct path_list *const *paths,
                          const bool *busy, struct pair *p, int compute, int memory, bool joined)
{
    const struct adapter *a = &r->adapters[compute], *b = &r->adapters[memory];
    if (a->n_ports < 2 || b->n_ports < 2)
        return;
    const struct path_list *first = &paths[a->ports[0]][b->ports[0]], *second = &paths[a->ports[1]][b->ports[1]];
    for (int i = 0; i < first->n; i++)
        for (int k = 0; k < second->n; k++) {
            if (!paths_disjoint(&first->items[i], &second->items[k]))
                continue;
            struct candidate c = candidate_of(r, &first->items[i], &second->items[k], NONE);
            weigh(r, q, busy, p, &c, joined);
        }
}

static bool circuit_usable(const struct rack *r, const struct circuit *c)
{
    return path_usable(r, &c->legs[0]) && (c->channels == 1 || path_usable(r, &c->legs[1]));
}

static bool same_legs(const struct candidate *a, const struct candidate *b)
{
    for (int leg = 0; leg < a->n_legs; leg++)
        if (a->n_legs != b->n_legs || a->legs[leg].n_ports != b->legs[leg].n_ports ||
            memcmp(a->legs[leg].ports, b->legs[leg].ports, (size_t)a->legs[leg].n_ports * sizeof(int)))
            return false;
    return true;
}

/* With all ports free each path counts; as things are, the circuit that joins the pair if there is one, else each path
 * over free ports.  Reading: a pair that is joined by a circuit of other channels, or by one over a failed link, while
 * other ways exist with all ports free, is `ports_busy`: "no_path (not even with all ports free)". */
static struct pair pair_of(const struct rack *r, const struct request *q, struct path_list *const *paths,
                           const bool *busy, int compute, int memory)
{
    struct pair p = { .furthest = NO_PATH };
    int circuit = rack_circuit(r, compute, memory);
    (q->channels == 1 ? each_path : each_two_legs)(r, q, paths, busy, &p, compute, memory, circuit != NONE);
    p.static_busy = p.best_static.found && any_busy(&p.best_static.c, busy);
    if (circuit == NONE)
        return p;
    const struct circuit *made = &r->circuits[circuit];
    if (made->channels == q->channels && circuit_usable(r, made)) {
        struct candidate c = candidate_of(r, &made->legs[0], made->channels == 2 ? &made->legs[1] : NULL, circuit);
        p.static_busy = !same_legs(&c, &p.best_static.c);
        p.furthest = rules_of_load(r, q, &c);
        if (p.furthest == N_RULES)
            take(r, &p.best, &c, compare_in_pair, false);
    } else {
        p.static_busy = true;
    }
    return p;
}

/* ---- one donor */

static bool listed(const json_t *names, const char *name)
{
    size_t i;
    json_t *j;
    json_array_foreach((json_t *)names, i, j) if (!strcmp(json_string_value(j), name)) return true;
    return false;
}

static const char *label(const struct rack *r, int node, const char *name)
{
    return json_string_value(json_object_get(r->nodes[node].labels, name));
}

static bool anti_affine(const struct rack *r, const struct request *q, int donor)
{
    const char *here, *there;
    if (!q->anti_affinity)
        return true;
    here = label(r, q->compute_node, q->anti_affinity);
    there = label(r, donor, q->anti_affinity);
    return here && there && strcmp(here, there) != 0;
}

static bool has_memory_adapter(const struct rack *r, int node)
{
    for (int i = 0; i < r->n_adapters; i++)
        if (r->adapters[i].node == node && !r->adapters[i].compute)
            return true;
    return false;
}

static void numbers(const struct rack *r, struct verdict *v)
{
    const struct node *n = &r->nodes[v->node];
    v->capacity_bytes = n->free_bytes > n->headroom_bytes ? n->free_bytes - n->headroom_bytes : 0;
    v->lent_bytes = node_lent_bytes(r, v->node);
    v->lendable_bytes = v->capacity_bytes > v->lent_bytes ? v->capacity_bytes - v->lent_bytes : 0;
}

static enum rule rules_of_node(const struct rack *r, const struct request *q, const struct verdict *v)
{
    const struct node *n = &r->nodes[v->node];
    if (!n->ready)
        return NOT_READY;
    if (n->cordoned)
        return CORDONED;
    if (q->donor != NONE && q->donor != v->node)
        return NOT_PINNED;
    if (listed(q->avoid, n->name))
        return AVOIDED;
    if (!anti_affine(r, q, v->node))
        return ANTI_AFFINITY;
    if (!has_memory_adapter(r, v->node))
        return NO_MEMORY_ADAPTER;
    return v->lendable_bytes < q->size_bytes ? INSUFFICIENT_MEMORY : N_RULES;
}

static void each_pair(const struct rack *r, const struct request *q, struct path_list *const *paths, const bool *busy,
                      struct verdict *v)
{
    struct best best = { 0 }, best_static = { 0 };
    v->rule = NO_PATH;
    for (int a = 0; a < r->n_adapters; a++)
        for (int b = 0; r->adapters[a].node == q->compute_node && r->adapters[a].compute && b < r->n_adapters; b++) {
            if (r->adapters[b].node != v->node || r->adapters[b].compute)
                continue;
            struct pair p = pair_of(r, q, paths, busy, a, b);
            if (p.furthest > v->rule)
                v->rule = p.furthest;
            if (p.best.found)
                take(r, &best, &p.best.c, compare_pairs, p.best.tie);
            if (p.best_static.found) {
                take(r, &best_static, &p.best_static.c, compare_pairs, false);
                if (same_legs(&best_static.c, &p.best_static.c))
                    v->static_busy = p.static_busy;
            }
        }
    v->best = best.c;
    v->tie = best.tie;
    v->has_static = best_static.found;
    v->best_static = best_static.c;
}

struct verdict verdict_of(const struct rack *r, const struct request *q, struct path_list *const *paths,
                          const bool *busy, int donor)
{
    struct verdict v = { .node = donor };
    numbers(r, &v);
    v.rule = rules_of_node(r, q, &v);
    if (v.rule == N_RULES)
        each_pair(r, q, paths, busy, &v);
    /* Reading: a circuit by which the compute node lends to this donor does not join "a donor to the compute node". */
    for (int i = 0; i < r->n_attachments; i++)
        if (r->attachments[i].live && r->attachments[i].compute_node == q->compute_node &&
            r->attachments[i].donor == donor)
            v.joined = true;
    if (v.rule == N_RULES && v.best.circuit != NONE) {
        v.max_leg_gbps = circuit_leg_gbps(r, v.best.circuit);
        v.max_attachments = circuit_attachments(r, v.best.circuit);
    }
    return v;
}
