/* paths.c - see paths.h.
 *
 * Trunks (links between two switches) are sorted per switch by (neighbour, latency, name of the near port).  Of
 * parallel trunks a single path needs the best free one only.  A bonded pair needs the best two free ones: the legs are
 * simple, so that the other leg can take at most one of them, and any third would be exchanged for a better one. */
#include "paths.h"

#include <stdlib.h>
#include <string.h>

struct trunk {
    uint32_t to;      /* the neighbour */
    uint32_t out, in; /* the near and the far port */
    uint64_t ns;      /* of the link */
    unsigned gbps;
};

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

struct fabric {
    uint32_t n_ports, n_switches;
    uint32_t *peer, *port_sw, *port_adapter, *rank; /* by port */
    uint64_t *link_ns;
    unsigned *link_gbps;
    uint64_t *switch_ns;   /* by switch */
    uint32_t *first_trunk; /* by switch, and one more: the end */
    struct trunk *trunks;
    struct search searches[PATHS_SLOTS];
    struct leg_list bonded[2];
};

/* ---- building -------------------------------------------------------------------------------------------------------
 */

struct named_port {
    const char *name;
    uint32_t port;
};

static int named_port_compare(const void *a, const void *b)
{
    return strcmp(((const struct named_port *)a)->name, ((const struct named_port *)b)->name);
}

/* Ranks of all ports by name; the names are packed into one arena for the time of the sort. */
static int build_ranks(struct fabric *f, const struct model *m, struct err *e)
{
    char buf[PORT_NAME_SIZE];
    size_t bytes = 1, at = 0, n = 0;
    for (uint32_t i = 0; i < f->n_ports; i++)
        if (model_port(m, i))
            bytes += strlen(model_port_name(m, i, buf)) + 1;
    CLEANUP(cleanup_free) char *arena = malloc(bytes);
    CLEANUP(cleanup_free) struct named_port *list = calloc(f->n_ports + 1, sizeof *list);
    if (!arena || !list)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (uint32_t i = 0; i < f->n_ports; i++) {
        if (!model_port(m, i))
            continue;
        size_t len = strlen(model_port_name(m, i, buf)) + 1;
        memcpy(arena + at, buf, len);
        list[n++] = (struct named_port){ arena + at, i };
        at += len;
    }
    qsort(list, n, sizeof *list, named_port_compare);
    for (size_t i = 0; i < n; i++)
        f->rank[list[i].port] = (uint32_t)i;
    return 0;
}

static void build_ports(struct fabric *f, const struct model *m)
{
    for (uint32_t i = 0; i < f->n_ports; i++) {
        const struct port *p = model_port(m, i);
        const struct link *l = p ? model_link(m, p->link) : NULL;
        f->peer[i] = NONE;
        f->port_sw[i] = p ? p->sw : NONE;
        f->port_adapter[i] = p ? p->adapter : NONE;
        if (!l || !model_link_usable(m, l))
            continue;
        f->peer[i] = l->a == i ? l->b : l->a;
        f->link_ns[i] = l->latency_ns;
        f->link_gbps[i] = l->gbps;
    }
    for (uint32_t i = 0; i < f->n_switches; i++)
        f->switch_ns[i] = model_switch(m, i) ? model_switch(m, i)->latency_ns : 0;
}

/* Whether a usable link to another switch starts at this port. */
static bool is_trunk(const struct fabric *f, uint32_t port)
{
    uint32_t peer = f->peer[port];
    return f->port_sw[port] != NONE && peer != NONE && f->port_sw[peer] != NONE && f->port_sw[peer] != f->port_sw[port];
}

static int trunk_compare(const void *a, const void *b, void *fabric)
{
    const struct trunk *x = a, *y = b;
    const struct fabric *f = fabric;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    if (x->ns != y->ns)
        return x->ns < y->ns ? -1 : 1;
    return (f->rank[x->out] > f->rank[y->out]) - (f->rank[x->out] < f->rank[y->out]);
}

static int build_trunks(struct fabric *f, struct err *e)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_ports; i++)
        if (is_trunk(f, i)) {
            f->first_trunk[f->port_sw[i] + 1]++;
            n++;
        }
    for (uint32_t s = 0; s < f->n_switches; s++)
        f->first_trunk[s + 1] += f->first_trunk[s];
    f->trunks = calloc(n + 1, sizeof *f->trunks);
    CLEANUP(cleanup_free) uint32_t *next = malloc((f->n_switches + 1) * sizeof *next);
    if (!f->trunks || !next)
        return err_set(e, ERR_INTERNAL, "out of memory");
    memcpy(next, f->first_trunk, (f->n_switches + 1) * sizeof *next);
    for (uint32_t i = 0; i < f->n_ports; i++)
        if (is_trunk(f, i))
            f->trunks[next[f->port_sw[i]]++] =
                (struct trunk){ f->port_sw[f->peer[i]], i, f->peer[i], f->link_ns[i], f->link_gbps[i] };
    for (uint32_t s = 0; s < f->n_switches; s++)
        qsort_r(f->trunks + f->first_trunk[s], f->first_trunk[s + 1] - f->first_trunk[s], sizeof *f->trunks,
                trunk_compare, f);
    return 0;
}

static bool allocate(struct fabric *f)
{
    size_t p = f->n_ports + 1, s = f->n_switches + 2;
    f->peer = calloc(p, sizeof *f->peer);
    f->port_sw = calloc(p, sizeof *f->port_sw);
    f->port_adapter = calloc(p, sizeof *f->port_adapter);
    f->rank = calloc(p, sizeof *f->rank);
    f->link_ns = calloc(p, sizeof *f->link_ns);
    f->link_gbps = calloc(p, sizeof *f->link_gbps);
    f->switch_ns = calloc(s, sizeof *f->switch_ns);
    f->first_trunk = calloc(s, sizeof *f->first_trunk);
    return f->peer && f->port_sw && f->port_adapter && f->rank && f->link_ns && f->link_gbps && f->switch_ns &&
           f->first_trunk;
}

static void fabric_freep(struct fabric **f)
{
    fabric_free(*f);
}

int fabric_new(struct fabric **out, const struct model *m, struct err *e)
{
    CLEANUP(fabric_freep) struct fabric *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_INTERNAL, "out of memory");
    f->n_ports = model_count(m, MODEL_PORT);
    f->n_switches = model_count(m, MODEL_SWITCH);
    if (!allocate(f))
        return err_set(e, ERR_INTERNAL, "out of memory");
    build_ports(f, m);
    if (build_ranks(f, m, e) < 0 || build_trunks(f, e) < 0)
        return -1;
    *out = TAKE(f);
    return 0;
}

void fabric_free(struct fabric *f)
{
    if (!f)
        return;
    free(f->peer);
    free(f->port_sw);
    free(f->port_adapter);
    free(f->rank);
    free(f->link_ns);
    free(f->link_gbps);
    free(f->switch_ns);
    free(f->first_trunk);
    free(f->trunks);
    for (unsigned slot = 0; slot < PATHS_SLOTS; slot++)
        for (int i = 0; i < PATH_SWITCHES_MAX; i++) {
            free(f->searches[slot].labels[i]);
            free(f->searches[slot].reached[i]);
        }
    free(f->bonded[0].legs);
    free(f->bonded[1].legs);
    free(f);
}

uint32_t fabric_peer(const struct fabric *f, uint32_t port)
{
    return port < f->n_ports ? f->peer[port] : NONE;
}

uint64_t fabric_link_ns(const struct fabric *f, uint32_t port)
{
    return port < f->n_ports ? f->link_ns[port] : 0;
}

unsigned fabric_link_gbps(const struct fabric *f, uint32_t port)
{
    return port < f->n_ports ? f->link_gbps[port] : 0;
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
    return r->all_free || model_port(r->m, port)->circuit == NONE;
}

/* The cable at this port can be used, from this port's side. */
static bool cable_fits(const struct fabric *f, const struct path_rules *r, uint32_t port)
{
    return f->peer[port] != NONE && f->link_gbps[port] >= r->min_gbps && port_free(r, port) &&
           port_free(r, f->peer[port]);
}

static bool trunk_fits(const struct path_rules *r, const struct trunk *t)
{
    return t->gbps >= r->min_gbps && port_free(r, t->out) && port_free(r, t->in);
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
        if (t->to == done || t->out == entry || !trunk_fits(&x->rules, t))
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
            return err_set(e, ERR_INTERNAL, "out of memory");
        x->n_reached[i] = 0;
    }
    if (++x->stamp == 0) { /* after 2^32 searches old stamps come around */
        for (int i = 0; i < PATH_SWITCHES_MAX; i++)
            memset(x->labels[i], 0, f->n_switches * sizeof *x->labels[i]);
        x->stamp = 1;
    }
    return 0;
}

int paths_search(struct fabric *f, unsigned slot, const struct path_rules *rules, uint32_t compute_adapter,
                 struct err *e)
{
    struct search *x = &f->searches[slot];
    const struct adapter *a = model_adapter(rules->m, compute_adapter);
    if (search_begin(f, x, e) < 0)
        return -1;
    x->rules = *rules;
    x->source = compute_adapter;
    if (!a || rules->min_gbps > ADAPTER_PORT_GBPS)
        return 0;
    for (unsigned i = 0; i < a->n_ports; i++) {
        uint32_t p = a->ports[i];
        if (cable_fits(f, rules, p) && f->port_sw[f->peer[p]] != NONE)
            relax(f, x, 0, f->port_sw[f->peer[p]], NULL, f->link_ns[p], p, f->peer[p]);
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

bool paths_best(const struct fabric *f, unsigned slot, uint32_t memory_adapter, struct leg *out)
{
    const struct search *x = &f->searches[slot];
    const struct adapter *a = model_adapter(x->rules.m, memory_adapter);
    bool found = false;
    struct leg leg;
    if (x->rules.min_gbps > ADAPTER_PORT_GBPS)
        return false;
    for (unsigned i = 0; a && i < a->n_ports; i++)
        if (best_to_port(f, x, a->ports[i], &leg) && (!found || path_compare(f, &leg, out) < 0)) {
            *out = leg;
            found = true;
        }
    return found;
}

/* ---- bonded ---------------------------------------------------------------------------------------------------------
 */

static int add_leg(struct leg_list *list, const struct leg *leg, struct err *e)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        struct leg *legs = reallocarray(list->legs, cap, sizeof *legs);
        if (!legs)
            return err_set(e, ERR_INTERNAL, "out of memory");
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
        if (trunk_fits(r, &f->trunks[lo]))
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

int paths_bonded(struct fabric *f, const struct path_rules *rules, uint32_t compute_adapter, uint32_t memory_adapter,
                 struct leg out[2], bool *found, struct err *e)
{
    const struct adapter *c = model_adapter(rules->m, compute_adapter), *d = model_adapter(rules->m, memory_adapter);
    *found = false;
    if (!c || !d || c->n_ports < 2 || d->n_ports < 2 || rules->min_gbps > ADAPTER_PORT_GBPS)
        return 0;
    for (int k = 0; k < 2; k++) {
        if (list_legs(f, rules, c->ports[k], d->ports[k], &f->bonded[k], e) < 0)
            return -1;
        if (!f->bonded[k].n)
            return 0;
    }
    *found = best_pair(f, &f->bonded[0], &f->bonded[1], out);
    return 0;
}
