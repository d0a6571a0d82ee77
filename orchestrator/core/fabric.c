/* fabric.c - see fabric.h. */
#include "fabric.h"

#include <stdlib.h>
#include <string.h>

/* ---- ranks of names -------------------------------------------------------------------------------------------------
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
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
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

/* ---- trunks ---------------------------------------------------------------------------------------------------------
 */

static void build_ports(struct fabric *f, const struct model *m)
{
    for (uint32_t i = 0; i < f->n_ports; i++) {
        const struct port *p = model_port(m, i);
        const struct link *l = p ? model_link(m, p->link) : NULL;
        f->peer[i] = f->port_hop[i] = NONE;
        f->port_sw[i] = p ? p->sw : NONE;
        f->port_adapter[i] = p ? p->adapter : NONE;
        if (l) {
            f->link_ns[i] = l->latency_ns;
            f->link_gbps[i] = l->gbps;
        }
    }
    for (uint32_t i = 0; i < f->n_switches; i++)
        f->switch_ns[i] = model_switch(m, i) ? model_switch(m, i)->latency_ns : 0;
}

/* The port at the other end, when a cable from this port leads to another switch, whatever its state. */
static uint32_t trunk_end(const struct fabric *f, const struct model *m, uint32_t port)
{
    uint32_t peer = f->port_sw[port] == NONE ? NONE : model_port_peer(m, port);
    return peer != NONE && f->port_sw[peer] != NONE && f->port_sw[peer] != f->port_sw[port] ? peer : NONE;
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

static uint64_t trunk_cost(const struct fabric *f, const struct trunk *t)
{
    return t->ns + f->switch_ns[t->to];
}

static int cost_compare(const void *a, const void *b, void *fabric)
{
    uint64_t x = trunk_cost(fabric, *(const struct trunk *const *)a);
    uint64_t y = trunk_cost(fabric, *(const struct trunk *const *)b);
    return (x > y) - (x < y);
}

/* The hops of one switch: its trunks in order of cost. */
static void build_hops(struct fabric *f, uint32_t sw, const struct trunk **order)
{
    uint32_t first = f->first_trunk[sw], n = f->first_trunk[sw + 1] - first;
    for (uint32_t i = 0; i < n; i++)
        order[i] = &f->trunks[first + i];
    qsort_r(order, n, sizeof *order, cost_compare, f);
    for (uint32_t i = 0; i < n; i++) {
        f->hops[first + i] =
            (struct hop){ .cost_ns = trunk_cost(f, order[i]), .to = order[i]->to, .gbps = order[i]->gbps };
        f->port_hop[order[i]->out] = first + i;
    }
}

static int sort_trunks(struct fabric *f, struct err *e)
{
    CLEANUP(cleanup_free) const struct trunk **order = calloc(f->n_trunks + 1, sizeof *order);
    if (!order)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (uint32_t s = 0; s < f->n_switches; s++) {
        qsort_r(f->trunks + f->first_trunk[s], f->first_trunk[s + 1] - f->first_trunk[s], sizeof *f->trunks,
                trunk_compare, f);
        build_hops(f, s, order);
    }
    return 0;
}

static int build_trunks(struct fabric *f, const struct model *m, struct err *e)
{
    for (uint32_t i = 0; i < f->n_ports; i++)
        if (trunk_end(f, m, i) != NONE) {
            f->first_trunk[f->port_sw[i] + 1]++;
            f->n_trunks++;
        }
    for (uint32_t s = 0; s < f->n_switches; s++)
        f->first_trunk[s + 1] += f->first_trunk[s];
    f->trunks = calloc(f->n_trunks + 1, sizeof *f->trunks);
    f->hops = calloc(f->n_trunks + 1, sizeof *f->hops);
    f->open = calloc(f->n_trunks / 64 + 1, sizeof *f->open);
    CLEANUP(cleanup_free) uint32_t *next = malloc((f->n_switches + 1) * sizeof *next);
    if (!f->trunks || !f->hops || !f->open || !next)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    memcpy(next, f->first_trunk, (f->n_switches + 1) * sizeof *next);
    for (uint32_t i = 0; i < f->n_ports; i++) {
        uint32_t end = trunk_end(f, m, i);
        if (end != NONE)
            f->trunks[next[f->port_sw[i]]++] =
                (struct trunk){ f->port_sw[end], i, end, f->link_ns[i], f->link_gbps[i] };
    }
    return sort_trunks(f, e);
}

/* ---- life -----------------------------------------------------------------------------------------------------------
 */

static bool allocate(struct fabric *f)
{
    size_t p = f->n_ports + 1, s = f->n_switches + 2;
    f->peer = calloc(p, sizeof *f->peer);
    f->port_sw = calloc(p, sizeof *f->port_sw);
    f->port_adapter = calloc(p, sizeof *f->port_adapter);
    f->rank = calloc(p, sizeof *f->rank);
    f->port_hop = calloc(p, sizeof *f->port_hop);
    f->link_ns = calloc(p, sizeof *f->link_ns);
    f->link_gbps = calloc(p, sizeof *f->link_gbps);
    f->switch_ns = calloc(s, sizeof *f->switch_ns);
    f->bound_ns = calloc(s, sizeof *f->bound_ns);
    f->beyond_ns = calloc(s, sizeof *f->beyond_ns);
    f->first_trunk = calloc(s, sizeof *f->first_trunk);
    return f->peer && f->port_sw && f->port_adapter && f->rank && f->port_hop && f->link_ns && f->link_gbps &&
           f->switch_ns && f->bound_ns && f->beyond_ns && f->first_trunk;
}

static void fabric_freep(struct fabric **f)
{
    fabric_free(*f);
}

int fabric_new(struct fabric **out, const struct model *m, struct err *e)
{
    CLEANUP(fabric_freep) struct fabric *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    f->n_ports = model_count(m, MODEL_PORT);
    f->n_switches = model_count(m, MODEL_SWITCH);
    if (!allocate(f))
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    build_ports(f, m);
    if (build_ranks(f, m, e) < 0 || build_trunks(f, m, e) < 0)
        return -1;
    for (uint32_t i = 0; i < f->n_ports; i++)
        fabric_update_port(f, m, i);
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
    free(f->port_hop);
    free(f->link_ns);
    free(f->link_gbps);
    free(f->switch_ns);
    free(f->bound_ns);
    free(f->beyond_ns);
    free(f->first_trunk);
    free(f->trunks);
    free(f->hops);
    free(f->open);
    free(f);
}

static bool array_same(const void *a, const void *b, size_t n, size_t size)
{
    return memcmp(a, b, n * size) == 0;
}

/* What is static has been built by the same lines from the same cabling, but is compared as well. */
bool fabric_same(const struct fabric *a, const struct fabric *b)
{
    uint32_t p = a->n_ports, s = a->n_switches, t = a->n_trunks;
    return p == b->n_ports && s == b->n_switches && t == b->n_trunks && array_same(a->peer, b->peer, p, 4) &&
           array_same(a->rank, b->rank, p, 4) && array_same(a->port_hop, b->port_hop, p, 4) &&
           array_same(a->link_ns, b->link_ns, p, 8) && array_same(a->bound_ns, b->bound_ns, s, 8) &&
           array_same(a->beyond_ns, b->beyond_ns, s, 8) && array_same(a->open, b->open, t / 64 + 1, 8);
}

size_t fabric_bytes(const struct fabric *f)
{
    size_t port = 5 * sizeof *f->peer + sizeof *f->link_ns + sizeof *f->link_gbps;
    return sizeof *f + f->n_ports * port + f->n_switches * (3 * sizeof *f->switch_ns + sizeof *f->first_trunk) +
           f->n_trunks * (sizeof *f->trunks + sizeof *f->hops) + f->n_trunks / 8;
}

/* ---- what changes ---------------------------------------------------------------------------------------------------
 */

static void set_open(struct fabric *f, uint32_t hop, bool open)
{
    uint64_t bit = UINT64_C(1) << (hop % 64);
    if (hop == NONE)
        return;
    if (open)
        f->open[hop / 64] |= bit;
    else
        f->open[hop / 64] &= ~bit;
}

void fabric_update_port(struct fabric *f, const struct model *m, uint32_t port)
{
    const struct port *p = model_port(m, port);
    const struct link *l = p ? model_link(m, p->link) : NULL;
    if (!l)
        return;
    bool up = model_link_usable(m, l);
    bool open = up && model_port_free(model_port(m, l->a)) && model_port_free(model_port(m, l->b));
    f->peer[l->a] = up ? l->b : NONE;
    f->peer[l->b] = up ? l->a : NONE;
    set_open(f, f->port_hop[l->a], open);
    set_open(f, f->port_hop[l->b], open);
}

uint32_t fabric_next_open(const struct fabric *f, uint32_t from, uint32_t end)
{
    while (from < end) {
        uint64_t bits = f->open[from / 64] >> (from % 64);
        if (bits) {
            from += (uint32_t)__builtin_ctzll(bits);
            return from < end ? from : end;
        }
        from = (from / 64 + 1) * 64;
    }
    return end;
}
