/* policy.c - see policy.h. */
#include "policy.h"

#include <string.h>

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

int policy_compare(const struct question *q, const struct verdict *a, const struct verdict *b)
{
    bool ok_a = a->c.reason == PLACE_OK, ok_b = b->c.reason == PLACE_OK;
    int c = descending(ok_a, ok_b);
    if (!c && ok_a)
        c = policies[q->r->policy](q->m, a, b);
    return c ? c : strcmp(model_node(q->m, a->c.node)->name, model_node(q->m, b->c.node)->name);
}

enum donor_order policy_order(enum place_policy policy)
{
    return policy == PLACE_BALANCED ? ORDER_BALANCED : policy == PLACE_PACKED ? ORDER_PACKED : ORDER_NONE;
}
