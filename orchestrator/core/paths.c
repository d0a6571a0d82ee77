/* paths.c - see paths.h.
 *
 * Trunks (links between two switches) are sorted per switch by (neighbour, latency, name of the near port).  Of
 * parallel trunks a single path needs the best free one only.  A bonded pair needs the best two free ones: the legs are
 * simple, so that the other leg can take at most one of them, and any third would be exchanged for a better one. */
#include "paths.h"

#include <stdlib.h>
#include <string.h>

struct label { /* the best way to a switch after a number of switches */
    uint32_t stamp;
    uint64_t cost_ns; /* this switch included */
    uint32_t ports[PATH_PORTS_MAX - 2];
};

struct leg_list {
    struct leg *legs;
    size_t n, cap;
};

struct search {
    struct path_rules rules;
    uint32_t source;                         /* the adapter */
    uint32_t stamp;                          /* labels with another one are of an older search */
    struct label *labels[PATH_SWITCHES_MAX]; /* by switch; NULL until the first search in this slot */
    uint32_t *reached[PATH_SWITCHES_MAX];
    uint32_t n_reached[PATH_SWITCHES_MAX];
};

struct paths {
    const struct fabric *f;
    struct search searches[PATHS_SLOTS];
    struct leg_list bonded[2];
};

int paths_new(struct paths **out, const struct fabric *f, struct err *e)
{
    struct paths *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    p->f = f;
    *out = p;
    return 0;
}

void paths_free(struct paths *p)
{
    if (!p)
        return;
    for (unsigned slot = 0; slot < PATHS_SLOTS; slot++)
        for (int i = 0; i < PATH_SWITCHES_MAX; i++) {
            free(p->searches[slot].labels[i]);
            free(p->searches[slot].reached[i]);
        }
    free(p->bonded[0].legs);
    free(p->bonded[1].legs);
    free(p);
}

/* ---- order ----------------------------------------------------------------------------------------------------------
 */

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_ranks(const struct fabric *f, const uint32_t *a, const uint32_t *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (a[i] != b[i])
            return f->rank[a[i]] < f->rank[b[i]] ? -1 : 1;
    return 0;
}

int path_compare_names(const struct fabric *f, const struct leg *a, const struct leg *b)
{
    int c = compare_ranks(f, a->ports, b->ports, a->n_ports < b->n_ports ? a->n_ports : b->n_ports);
    return c ? c : compare_u64(a->n_ports, b->n_ports);
}

int path_compare(const struct fabric *f, const struct leg *a, const struct leg *b)
{
    int c = compare_u64(a->cost_ns, b->cost_ns);
    c = c ? c : compare_u64(a->n_ports, b->n_ports);
    return c ? c : path_compare_names(f, a, b);
}

/* ---- one to all -----------------------------------------------------------------------------------------------------
 */

static bool port_free(const struct path_rules *r, uint32_t port)
{
    return r->all_free || model_port_free(model_port(r->m, port));
}

/* The cable at this port can be used, from this port's side. */
static bool cable_fits(const struct fabric *f, const struct path_rules *r, uint32_t port)
{
    return f->peer[port] != NONE && f->link_gbps[port] >= r->min_gbps && port_free(r, port) &&
           port_free(r, f->peer[port]);
}

static bool trunk_fits(const struct fabric *f, const struct path_rules *r, const struct trunk *t)
{
    return f->peer[t->out] != NONE && t->gbps >= r->min_gbps && port_free(r, t->out) && port_free(r, t->in);
}

/* Offers the way 'from' (NULL: none yet) + out + in to switch 'to' as its 'layer'-th. */
static void relax(const struct fabric *f, struct search *x, unsigned layer, uint32_t to, const struct label *from,
                  uint64_t link_ns, uint32_t out, uint32_t in)
{
    struct label new = { .stamp = x->stamp }, *old = &x->labels[layer][to];
    unsigned n = 2 * layer;
    new.cost_ns = link_ns + f->switch_ns[to];
    if (from) {
        memcpy(new.ports, from->ports, n * sizeof *new.ports);
        new.cost_ns += from->cost_ns;
    }
    new.ports[n] = out;
    new.ports[n + 1] = in;
    if (old->stamp != x->stamp)
        x->reached[layer][x->n_reached[layer]++] = to;
    else if (new.cost_ns > old->cost_ns ||
             (new.cost_ns == old->cost_ns &&compare_ranks(f, new.ports, old->ports, n + 2) >= 0))
        return;
    *old = new;
}

static void expand(const struct fabric *f, struct search *x, unsigned layer, uint32_t sw)
{
    const struct label *l = &x->labels[layer][sw];
    uint32_t entry = l->ports[2 * layer + 1], done = NONE;
    for (uint32_t i = f->first_trunk[sw]; i < f->first_trunk[sw + 1]; i++) {
        const struct trunk *t = &f->trunks[i];
        if (t->to == done || t->out == entry || !trunk_fits(f, &x->rules, t))
            continue;
        done = t->to; /* its parallels are worse */
        relax(f, x, layer + 1, t->to, l, t->ns, t->out, t->in);
    }
}

static int search_begin(const struct fabric *f, struct search *x, struct err *e)
{
    for (int i = 0; i < PATH_SWITCHES_MAX; i++) {
        if (!x->labels[i])
            x->labels[i] = calloc(f->n_switches + 1, sizeof *x->labels[i]);
        if (!x->reached[i])
            x->reached[i] = calloc(f->n_switches + 1, sizeof *x->reached[i]);
        if (!x->labels[i] || !x->reached[i])
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        x->n_reached[i] = 0;
    }
    if (++x->stamp == 0) { /* after 2^32 searches old stamps come around */
        for (int i = 0; i < PATH_SWITCHES_MAX; i++)
            memset(x->labels[i], 0, f->n_switches * sizeof *x->labels[i]);
        x->stamp = 1;
    }
    return 0;
}

int paths_search(struct paths *p, unsigned slot, const struct path_rules *rules, uint32_t compute_adapter,
                 struct err *e)
{
    const struct fabric *f = p->f;
    struct search *x = &p->searches[slot];
    const struct adapter *a = model_adapter(rules->m, compute_adapter);
    if (search_begin(f, x, e) < 0)
        return -1;
    x->rules = *rules;
    x->source = compute_adapter;
    if (!a || rules->min_gbps > ADAPTER_PORT_GBPS)
        return 0;
    for (unsigned i = 0; i < a->n_ports; i++) {
        uint32_t from = a->ports[i];
        if (cable_fits(f, rules, from) && f->port_sw[f->peer[from]] != NONE)
            relax(f, x, 0, f->port_sw[f->peer[from]], NULL, f->link_ns[from], from, f->peer[from]);
    }
    for (unsigned layer = 0; layer + 1 < PATH_SWITCHES_MAX; layer++)
        for (uint32_t i = 0; i < x->n_reached[layer]; i++)
            expand(f, x, layer, x->reached[layer][i]);
    return 0;
}

static bool best_to_port(const struct fabric *f, const struct search *x, uint32_t port, struct leg *out)
{
    uint32_t peer = f->peer[port], sw;
    const struct label *best = NULL;
    unsigned layer = 0;
    if (!cable_fits(f, &x->rules, port))
        return false;
    sw = f->port_sw[peer];
    if (sw == NONE) {
        *out = (struct leg){ .n_ports = 2, .ports = { peer, port }, .cost_ns = f->link_ns[port] };
        return f->port_adapter[peer] == x->source;
    }
    for (unsigned i = 0; i < PATH_SWITCHES_MAX; i++) {
        const struct label *l = &x->labels[i][sw];
        if (l->stamp == x->stamp && (!best || l->cost_ns < best->cost_ns)) {
            best = l;
            layer = i;
        }
    }
    if (!best)
        return false;
    unsigned n = 2 * layer + 2;
    *out = (struct leg){ .n_ports = n + 2, .cost_ns = best->cost_ns + f->link_ns[port] };
    memcpy(out->ports, best->ports, n * sizeof *out->ports);
    out->ports[n] = peer;
    out->ports[n + 1] = port;
    return true;
}

bool paths_best(const struct paths *p, unsigned slot, uint32_t memory_adapter, struct leg *out)
{
    const struct search *x = &p->searches[slot];
    const struct adapter *a = model_adapter(x->rules.m, memory_adapter);
    bool found = false;
    struct leg leg;
    if (x->rules.min_gbps > ADAPTER_PORT_GBPS)
        return false;
    for (unsigned i = 0; a && i < a->n_ports; i++)
        if (best_to_port(p->f, x, a->ports[i], &leg) && (!found || path_compare(p->f, &leg, out) < 0)) {
            *out = leg;
            found = true;
        }
    return found;
}

/* ---- one to one -----------------------------------------------------------------------------------------------------
 */

struct hunt { /* the best path between two ports, or two adapters, so far */
    const struct fabric *f;
    const struct path_rules *r;
    struct leg *best;
    bool found;
};

/* Takes the path from port to port over 'n' trunks, when it is better; 'back' is the second one, seen from its end. */
static void offer(struct hunt *h, uint32_t from, uint32_t to, const struct trunk *first, const struct trunk *back)
{
    const struct fabric *f = h->f;
    struct leg leg = { .n_ports = 2, .ports = { from, f->peer[from] }, .cost_ns = f->link_ns[from] };
    if (f->peer[from] != to)
        leg.cost_ns += f->switch_ns[f->port_sw[f->peer[from]]] + f->link_ns[to];
    if (first)
        leg.cost_ns += first->ns + f->switch_ns[first->to];
    if (back)
        leg.cost_ns += back->ns + f->switch_ns[f->port_sw[back->out]];
    if (h->found && leg.cost_ns > h->best->cost_ns)
        return;
    if (first) {
        leg.ports[leg.n_ports++] = first->out;
        leg.ports[leg.n_ports++] = first->in;
    }
    if (back) {
        leg.ports[leg.n_ports++] = back->in;
        leg.ports[leg.n_ports++] = back->out;
    }
    if (f->peer[from] != to) {
        leg.ports[leg.n_ports++] = f->peer[to];
        leg.ports[leg.n_ports++] = to;
    }
    if (!h->found || path_compare(f, &leg, h->best) < 0)
        *h->best = leg;
    h->found = true;
}

/* The best free one of the parallel trunks from *i on, which moves behind them; 'back': as they are from the far end.
 */
static const struct trunk *best_parallel(const struct hunt *h, uint32_t *i, uint32_t end, bool back)
{
    const struct trunk *all = h->f->trunks, *best = NULL;
    for (uint32_t to = all[*i].to; *i < end && all[*i].to == to; ++*i) {
        const struct trunk *t = &all[*i];
        bool better = !best || (back && t->ns == best->ns && h->f->rank[t->in] < h->f->rank[best->in]);
        if (better && trunk_fits(h->f, h->r, t))
            best = t;
    }
    return best;
}

/* Both switches list their trunks by neighbour: a common one is a way of three switches. */
static void hunt_trunks(struct hunt *h, uint32_t from, uint32_t to, uint32_t first, uint32_t last)
{
    const struct fabric *f = h->f;
    uint32_t i = f->first_trunk[first], end = f->first_trunk[first + 1];
    uint32_t k = f->first_trunk[last], k_end = f->first_trunk[last + 1];
    while (i < end) {
        uint32_t via = f->trunks[i].to;
        const struct trunk *there = best_parallel(h, &i, end, false);
        while (k < k_end && f->trunks[k].to < via)
            k++;
        if (there && via == last)
            offer(h, from, to, there, NULL);
        else if (there && k < k_end && f->trunks[k].to == via) {
            const struct trunk *back = best_parallel(h, &k, k_end, true);
            if (back)
                offer(h, from, to, there, back);
        }
    }
}

static void hunt_ports(struct hunt *h, uint32_t from, uint32_t to)
{
    const struct fabric *f = h->f;
    if (!cable_fits(f, h->r, from) || !cable_fits(f, h->r, to))
        return;
    if (f->peer[from] == to) {
        offer(h, from, to, NULL, NULL);
        return;
    }
    uint32_t first = f->port_sw[f->peer[from]], last = f->port_sw[f->peer[to]];
    if (first == NONE || last == NONE)
        return;
    if (first == last)
        offer(h, from, to, NULL, NULL);
    else
        hunt_trunks(h, from, to, first, last);
}

bool paths_between(const struct fabric *f, const struct path_rules *rules, uint32_t compute_adapter,
                   uint32_t memory_adapter, struct leg *out)
{
    const struct adapter *c = model_adapter(rules->m, compute_adapter), *d = model_adapter(rules->m, memory_adapter);
    struct hunt h = { .f = f, .r = rules, .best = out };
    if (!c || !d || rules->min_gbps > ADAPTER_PORT_GBPS)
        return false;
    for (unsigned i = 0; i < c->n_ports; i++)
        for (unsigned k = 0; k < d->n_ports; k++)
            hunt_ports(&h, c->ports[i], d->ports[k]);
    return h.found;
}

/* ---- bonded ---------------------------------------------------------------------------------------------------------
 */

static int add_leg(struct leg_list *list, const struct leg *leg, struct err *e)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        struct leg *legs = reallocarray(list->legs, cap, sizeof *legs);
        if (!legs)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        list->legs = legs;
        list->cap = cap;
    }
    list->legs[list->n++] = *leg;
    return 0;
}

/* The best two free trunks from one switch to another. */
static unsigned best_trunks(const struct fabric *f, const struct path_rules *r, uint32_t from, uint32_t to,
                            const struct trunk *out[2])
{
    uint32_t lo = f->first_trunk[from], end = f->first_trunk[from + 1];
    unsigned n = 0;
    for (uint32_t hi = end; lo < hi;) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (f->trunks[mid].to < to)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < end && f->trunks[lo].to == to && n < 2; lo++)
        if (trunk_fits(f, r, &f->trunks[lo]))
            out[n++] = &f->trunks[lo];
    return n;
}

static void append_trunk(const struct fabric *f, struct leg *leg, const struct trunk *t)
{
    leg->ports[leg->n_ports++] = t->out;
    leg->ports[leg->n_ports++] = t->in;
    leg->cost_ns += t->ns + f->switch_ns[t->to];
}

/* Ends the leg at port 'to' and keeps it. */
static int finish_leg(const struct fabric *f, struct leg_list *list, struct leg leg, uint32_t to, struct err *e)
{
    leg.ports[leg.n_ports++] = f->peer[to];
    leg.ports[leg.n_ports++] = to;
    leg.cost_ns += f->link_ns[to];
    return add_leg(list, &leg, e);
}

/* 'start' ends at a switch; goes on over one trunk (to the last switch), or over two. */
static int legs_over_trunks(const struct fabric *f, const struct path_rules *r, const struct leg *start, uint32_t first,
                            uint32_t last, uint32_t to, struct leg_list *list, struct err *e)
{
    const struct trunk *one[2], *two[2];
    for (uint32_t i = f->first_trunk[first]; i < f->first_trunk[first + 1];) {
        uint32_t via = f->trunks[i].to;
        for (; i < f->first_trunk[first + 1] && f->trunks[i].to == via; i++)
            continue;
        unsigned n_one = best_trunks(f, r, first, via, one);
        unsigned n_two = via == last || !n_one ? 0 : best_trunks(f, r, via, last, two);
        for (unsigned a = 0; a < n_one; a++) {
            struct leg leg = *start;
            append_trunk(f, &leg, one[a]);
            if (via == last && finish_leg(f, list, leg, to, e) < 0)
                return -1;
            for (unsigned b = 0; b < n_two; b++) {
                struct leg longer = leg;
                append_trunk(f, &longer, two[b]);
                if (finish_leg(f, list, longer, to, e) < 0)
                    return -1;
            }
        }
    }
    return 0;
}

static int leg_sort(const void *a, const void *b, void *fabric)
{
    return path_compare(fabric, a, b);
}

/* Every path between two ports that can be part of the best pair, best first. */
static int list_legs(const struct fabric *f, const struct path_rules *r, uint32_t from, uint32_t to,
                     struct leg_list *list, struct err *e)
{
    list->n = 0;
    if (!cable_fits(f, r, from) || !cable_fits(f, r, to))
        return 0;
    struct leg leg = { .n_ports = 2, .ports = { from, f->peer[from] }, .cost_ns = f->link_ns[from] };
    if (f->peer[from] == to)
        return add_leg(list, &leg, e);
    uint32_t first = f->port_sw[f->peer[from]], last = f->port_sw[f->peer[to]];
    if (first == NONE || last == NONE)
        return 0;
    leg.cost_ns += f->switch_ns[first];
    if (first == last)
        return finish_leg(f, list, leg, to, e);
    if (legs_over_trunks(f, r, &leg, first, last, to, list, e) < 0)
        return -1;
    if (list->n)
        qsort_r(list->legs, list->n, sizeof *list->legs, leg_sort, (void *)f);
    return 0;
}

static bool disjoint(const struct leg *a, const struct leg *b)
{
    for (unsigned i = 0; i < a->n_ports; i++)
        for (unsigned k = 0; k < b->n_ports; k++)
            if (a->ports[i] == b->ports[k])
                return false;
    return true;
}

static uint64_t larger(const struct leg *a, const struct leg *b)
{
    return a->cost_ns > b->cost_ns ? a->cost_ns : b->cost_ns;
}

/* Cost of the slower leg, sum, links. */
static int compare_pairs(const struct leg *a0, const struct leg *a1, const struct leg *b0, const struct leg *b1)
{
    int c = compare_u64(larger(a0, a1), larger(b0, b1));
    c = c ? c : compare_u64(a0->cost_ns + a1->cost_ns, b0->cost_ns + b1->cost_ns);
    return c ? c : compare_u64(a0->n_ports + a1->n_ports, b0->n_ports + b1->n_ports);
}

/* Leg 0 in order, for each the best leg 1 that is disjoint.  The best leg 1 of all bounds what a leg 0 can reach; once
 * that is worse than the best pair, so is everything behind. */
static bool best_pair(const struct fabric *f, const struct leg_list *l0, const struct leg_list *l1, struct leg out[2])
{
    const struct leg *best0 = NULL, *best1 = NULL;
    for (size_t i = 0; i < l0->n && l1->n; i++) {
        const struct leg *a = &l0->legs[i], *b = NULL;
        if (best0) {
            int c = compare_pairs(a, &l1->legs[0], best0, best1);
            if (c > 0)
                break;
            if (c == 0 && path_compare_names(f, a, best0) > 0)
                continue;
        }
        for (size_t k = 0; k < l1->n && !b; k++)
            if (disjoint(a, &l1->legs[k]))
                b = &l1->legs[k];
        if (!b)
            continue;
        int c = best0 ? compare_pairs(a, b, best0, best1) : -1;
        c = c ? c : path_compare_names(f, a, best0); /* the same leg 0 does not come twice */
        if (c < 0) {
            best0 = a;
            best1 = b;
        }
    }
    if (!best0)
        return false;
    out[0] = *best0;
    out[1] = *best1;
    return true;
}

int paths_bonded(struct paths *p, const struct path_rules *rules, uint32_t compute_adapter, uint32_t memory_adapter,
                 struct leg out[2], bool *found, struct err *e)
{
    const struct adapter *c = model_adapter(rules->m, compute_adapter), *d = model_adapter(rules->m, memory_adapter);
    *found = false;
    if (!c || !d || c->n_ports < 2 || d->n_ports < 2 || rules->min_gbps > ADAPTER_PORT_GBPS)
        return 0;
    for (int k = 0; k < 2; k++) {
        if (list_legs(p->f, rules, c->ports[k], d->ports[k], &p->bonded[k], e) < 0)
            return -1;
        if (!p->bonded[k].n)
            return 0;
    }
    *found = best_pair(p->f, &p->bonded[0], &p->bonded[1], out);
    return 0;
}
