/* donors.c - see donors.h. */
#include "donors.h"

#include <stdlib.h>
#include <string.h>

/* ---- keys -----------------------------------------------------------------------------------------------------------
 */

/* lendable / capacity in units of 2^-127: two different fractions of numbers below 2^63 differ by more than that, so
 * that the order is exact, and equal fractions are equal. */
static order_key fraction(uint64_t lendable, uint64_t capacity)
{
    order_key high = ((order_key)lendable << 64) / capacity, rest = ((order_key)lendable << 64) % capacity;
    return (high << 63) + (rest << 63) / capacity;
}

/* Of a donor that can lend: the keys of the policies but for cost and name, as policy.c compares them. */
static struct donor_keys keys_of(const struct node *n)
{
    uint64_t capacity = model_capacity_bytes(n), lendable = model_lendable_bytes(n);
    struct donor_keys k = { .lendable_bytes = lendable };
    if (!lendable)
        return k;
    k.balanced = fraction(lendable, capacity);
    k.packed = (order_key)(n->n_lends > 0) << 64 | capacity;
    return k;
}

static bool exit_open(const struct fabric *f, const struct model *m, uint32_t port)
{
    uint32_t peer = f->peer[port];
    return peer != NONE && model_port_free(model_port(m, port)) && model_port_free(model_port(m, peer));
}

static order_key order_of(const struct donor_keys *k, enum donor_order order)
{
    return order == ORDER_BALANCED ? k->balanced : order == ORDER_PACKED ? k->packed : 0;
}

/* ---- the tree -------------------------------------------------------------------------------------------------------
 */

static bool keys_same(const struct donor_keys *a, const struct donor_keys *b)
{
    return a->lendable_bytes == b->lendable_bytes && a->balanced == b->balanced && a->packed == b->packed;
}

static struct donor_keys larger(const struct donor_keys *a, const struct donor_keys *b)
{
    return (struct donor_keys){
        .lendable_bytes = a->lendable_bytes > b->lendable_bytes ? a->lendable_bytes : b->lendable_bytes,
        .balanced = a->balanced > b->balanced ? a->balanced : b->balanced,
        .packed = a->packed > b->packed ? a->packed : b->packed,
    };
}

static void set_keys(struct donors *d, uint32_t exit, struct donor_keys keys)
{
    uint32_t i = d->n_leaves + exit;
    while (!keys_same(&d->tree[i], &keys)) {
        d->tree[i] = keys;
        if (i == 1)
            return;
        i /= 2;
        keys = larger(&d->tree[2 * i], &d->tree[2 * i + 1]);
    }
}

/* Below a node the maxima may come from different exits: at a leaf this is exact, above it only necessary. */
static bool has(const struct donors *d, uint32_t i, const struct donor_want *w)
{
    const struct donor_keys *k = &d->tree[i];
    return k->lendable_bytes >= w->lendable_bytes && order_of(k, w->order) >= w->at_least;
}

/* The subtree right of this one; 0: there is none. */
static uint32_t right_of(uint32_t i)
{
    while (i & 1)
        i /= 2;
    return i ? i + 1 : 0;
}

static uint32_t leftmost_leaf(const struct donors *d, uint32_t i)
{
    return i << (__builtin_clz(i) - __builtin_clz(d->n_leaves));
}

uint32_t donors_next(const struct donors *d, uint32_t from, uint32_t end, const struct donor_want *w)
{
    if (from >= end) /* also behind the last leaf */
        return end;
    for (uint32_t i = d->n_leaves + from; i && leftmost_leaf(d, i) < d->n_leaves + end;) {
        if (!has(d, i, w))
            i = right_of(i);
        else if (i < d->n_leaves)
            i = 2 * i;
        else
            return i - d->n_leaves;
    }
    return end;
}

const struct donor_keys *donors_keys(const struct donors *d, uint32_t exit)
{
    return &d->tree[d->n_leaves + exit];
}

order_key donors_order(const struct donors *d, uint32_t exit, enum donor_order order)
{
    return order_of(donors_keys(d, exit), order);
}

/* ---- what changes ---------------------------------------------------------------------------------------------------
 */

void donors_update_node(struct donors *d, const struct fabric *f, const struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    struct donor_keys keys = { 0 };
    if (!n)
        return;
    if (n->state == NODE_READY && !n->cordoned)
        keys = keys_of(n);
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(m, n->adapters[i]);
        for (unsigned k = 0; a && k < a->n_ports; k++) {
            uint32_t exit = d->port_exit[a->ports[k]];
            if (exit != NONE)
                set_keys(d, exit, a->seen && a->ok && exit_open(f, m, a->ports[k]) ? keys : (struct donor_keys){ 0 });
        }
    }
}

/* ---- building -------------------------------------------------------------------------------------------------------
 */

struct named_node {
    const char *name;
    uint32_t node;
};

static int named_node_compare(const void *a, const void *b)
{
    return strcmp(((const struct named_node *)a)->name, ((const struct named_node *)b)->name);
}

static int build_node_ranks(struct donors *d, const struct model *m, struct err *e)
{
    CLEANUP(cleanup_free) struct named_node *list = calloc(d->n_nodes + 1, sizeof *list);
    uint32_t n = 0;
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (uint32_t i = 0; i < d->n_nodes; i++)
        if (model_node(m, i))
            list[n++] = (struct named_node){ model_node(m, i)->name, i };
    qsort(list, n, sizeof *list, named_node_compare);
    for (uint32_t i = 0; i < n; i++)
        d->node_rank[list[i].node] = i;
    return 0;
}

static bool exit_of(struct exit *out, const struct fabric *f, const struct model *m, uint32_t port)
{
    const struct adapter *a = model_adapter(m, f->port_adapter[port]);
    uint32_t peer = a && a->role == WIRE_MEMORY ? model_port_peer(m, port) : NONE;
    if (peer == NONE || f->port_sw[peer] == NONE)
        return false;
    *out = (struct exit){
        .port = port, .node = a->node, .sw = f->port_sw[peer], .gbps = f->link_gbps[port], .ns = f->link_ns[port]
    };
    return true;
}

static int exit_compare(const void *a, const void *b, void *donors)
{
    const struct exit *x = a, *y = b;
    const struct donors *d = donors;
    if (x->sw != y->sw)
        return x->sw < y->sw ? -1 : 1;
    if (x->ns != y->ns)
        return x->ns < y->ns ? -1 : 1;
    uint32_t rx = d->node_rank[x->node], ry = d->node_rank[y->node];
    return rx != ry ? (rx < ry ? -1 : 1) : (x->port > y->port) - (x->port < y->port);
}

static int build_exits(struct donors *d, const struct fabric *f, const struct model *m, struct err *e)
{
    struct exit x;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n_ports; i++)
        d->n_exits += exit_of(&x, f, m, i);
    d->exits = calloc(d->n_exits + 1, sizeof *d->exits);
    if (!d->exits)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (uint32_t i = 0; i < d->n_ports; i++) {
        d->port_exit[i] = NONE;
        n += exit_of(&d->exits[n], f, m, i);
    }
    qsort_r(d->exits, n, sizeof *d->exits, exit_compare, d);
    for (uint32_t i = 0; i < n; i++) {
        d->first_exit[d->exits[i].sw + 1]++;
        d->port_exit[d->exits[i].port] = i;
    }
    for (uint32_t s = 0; s < d->n_switches; s++) {
        d->n_exit_switches += d->first_exit[s + 1] > 0;
        d->first_exit[s + 1] += d->first_exit[s];
    }
    return 0;
}

static int build_tree(struct donors *d, struct err *e)
{
    d->n_leaves = 1;
    while (d->n_leaves < d->n_exits)
        d->n_leaves *= 2;
    d->tree = calloc(2 * (size_t)d->n_leaves, sizeof *d->tree);
    return d->tree ? 0 : err_set(e, ERR_UNAVAILABLE, "out of memory");
}

static void donors_freep(struct donors **d)
{
    donors_free(*d);
}

int donors_new(struct donors **out, const struct fabric *f, const struct model *m, struct err *e)
{
    CLEANUP(donors_freep) struct donors *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    d->n_nodes = model_count(m, MODEL_NODE);
    d->n_switches = f->n_switches;
    d->n_ports = f->n_ports;
    d->first_exit = calloc(d->n_switches + 2, sizeof *d->first_exit);
    d->port_exit = calloc(d->n_ports + 1, sizeof *d->port_exit);
    d->node_rank = calloc(d->n_nodes + 1, sizeof *d->node_rank);
    if (!d->first_exit || !d->port_exit || !d->node_rank)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (build_node_ranks(d, m, e) < 0 || build_exits(d, f, m, e) < 0 || build_tree(d, e) < 0)
        return -1;
    for (uint32_t i = 0; i < d->n_nodes; i++)
        donors_update_node(d, f, m, i);
    *out = TAKE(d);
    return 0;
}

void donors_free(struct donors *d)
{
    if (!d)
        return;
    free(d->exits);
    free(d->first_exit);
    free(d->port_exit);
    free(d->node_rank);
    free(d->tree);
    free(d);
}

bool donors_same(const struct donors *a, const struct donors *b)
{
    bool same = a->n_exits == b->n_exits && a->n_leaves == b->n_leaves && a->n_ports == b->n_ports &&
                memcmp(a->port_exit, b->port_exit, a->n_ports * sizeof *a->port_exit) == 0;
    for (uint32_t i = 1; same && i < 2 * a->n_leaves; i++)
        same = keys_same(&a->tree[i], &b->tree[i]);
    return same;
}

size_t donors_bytes(const struct donors *d)
{
    return sizeof *d + d->n_exits * sizeof *d->exits + (size_t)2 * d->n_leaves * sizeof *d->tree +
           (d->n_switches + d->n_ports + d->n_nodes) * sizeof *d->node_rank;
}
