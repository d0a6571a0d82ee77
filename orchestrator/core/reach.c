/* reach.c - see reach.h.
 *
 * The queue holds two kinds of items: a switch that was found at a cost, and the rest of a switch's hops, which stands
 * for its cheapest one.  Both are ordered by a lower bound of what an exit behind them costs; the bounds are consistent
 * (bound of a switch <= hop to its neighbour + bound there), so that the first item of a switch is its best. */
#include "reach.h"

#include <stdlib.h>
#include <string.h>

struct item {
    uint64_t key;     /* cost and bound */
    uint64_t cost_ns; /* up to 'sw', with it */
    uint32_t sw;
    uint32_t hop;   /* NONE: the switch itself; else its hops from this one on */
    unsigned layer; /* how many switches came before 'sw' */
};

struct seen {
    uint32_t stamp; /* of the search that it is about */
    uint32_t layer; /* the fewest switches before this one so far */
};

struct reach {
    const struct fabric *f;
    const struct donors *d;
    unsigned min_gbps;
    uint32_t stamp, n_left; /* switches with exits that have not come yet */
    struct seen *seen;      /* by switch */
    struct item *heap;
    size_t n, cap;
};

int reach_new(struct reach **out, const struct fabric *f, const struct donors *d, struct err *e)
{
    struct reach *r = calloc(1, sizeof *r);
    struct seen *seen = calloc(f->n_switches + 1, sizeof *seen);
    if (!r || !seen) {
        free(r);
        free(seen);
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    *r = (struct reach){ .f = f, .d = d, .seen = seen };
    *out = r;
    return 0;
}

void reach_free(struct reach *r)
{
    if (!r)
        return;
    free(r->seen);
    free(r->heap);
    free(r);
}

/* ---- the queue ------------------------------------------------------------------------------------------------------
 */

static int push(struct reach *r, struct item x, struct err *e)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 256;
        struct item *heap = reallocarray(r->heap, cap, sizeof *heap);
        if (!heap)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        r->heap = heap;
        r->cap = cap;
    }
    size_t i = r->n++;
    for (; i && r->heap[(i - 1) / 2].key > x.key; i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = x;
    return 0;
}

/* Puts 'x' in the place of the first item. */
static void replace_first(struct reach *r, struct item x)
{
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= r->n)
            break;
        k += k + 1 < r->n && r->heap[k + 1].key < r->heap[k].key;
        if (r->heap[k].key >= x.key)
            break;
        r->heap[i] = r->heap[k];
        i = k;
    }
    r->heap[i] = x;
}

static void drop_first(struct reach *r)
{
    struct item last = r->heap[--r->n];
    if (r->n)
        replace_first(r, last);
}

/* ---- the search -----------------------------------------------------------------------------------------------------
 */

void reach_begin(struct reach *r, unsigned min_gbps)
{
    if (++r->stamp == 0) {
        memset(r->seen, 0, r->f->n_switches * sizeof *r->seen);
        r->stamp = 1;
    }
    r->n = 0;
    r->n_left = r->d->n_exit_switches;
    r->min_gbps = min_gbps;
}

/* Whether the switch came already with no more switches before it: then also at no higher cost. */
static bool came(const struct reach *r, uint32_t sw, unsigned layer)
{
    return r->seen[sw].stamp == r->stamp && r->seen[sw].layer <= layer;
}

static int push_switch(struct reach *r, uint32_t sw, unsigned layer, uint64_t cost_ns, struct err *e)
{
    if (r->f->bound_ns[sw] == UINT64_MAX) /* no memory behind it */
        return 0;
    struct item x = { cost_ns + r->f->bound_ns[sw], cost_ns, sw, NONE, layer };
    return push(r, x, e);
}

int reach_from(struct reach *r, const struct model *m, uint32_t port, struct err *e)
{
    const struct fabric *f = r->f;
    uint32_t peer = f->peer[port], sw = peer == NONE ? NONE : f->port_sw[peer];
    if (sw == NONE || f->link_gbps[port] < r->min_gbps || !model_port_free(model_port(m, port)) ||
        !model_port_free(model_port(m, peer)))
        return 0;
    return push_switch(r, sw, 0, f->link_ns[port] + f->switch_ns[sw], e);
}

/* The first hop from 'from' on that leads on; false when there is none. */
static bool next_hop(const struct reach *r, struct item *x, uint32_t from)
{
    const struct fabric *f = r->f;
    uint32_t end = f->beyond_ns[x->sw] == UINT64_MAX ? from : f->first_trunk[x->sw + 1];
    for (uint32_t i = fabric_next_open(f, from, end); i < end; i = fabric_next_open(f, i + 1, end)) {
        if (f->hops[i].gbps < r->min_gbps || came(r, f->hops[i].to, x->layer + 1))
            continue;
        x->hop = i;
        x->key = x->cost_ns + f->hops[i].cost_ns + f->beyond_ns[x->sw];
        return true;
    }
    return false;
}

/* The switch at the head of the queue: its hops take its place.  True when it has exits and comes for the first time.
 */
static bool take_switch(struct reach *r)
{
    struct item x = r->heap[0];
    struct seen *s = &r->seen[x.sw];
    bool first = s->stamp != r->stamp, exits = r->d->first_exit[x.sw] < r->d->first_exit[x.sw + 1];
    if (came(r, x.sw, x.layer)) {
        drop_first(r);
        return false;
    }
    *s = (struct seen){ r->stamp, x.layer };
    if (x.layer + 1 < PATH_SWITCHES_MAX && next_hop(r, &x, r->f->first_trunk[x.sw]))
        replace_first(r, x);
    else
        drop_first(r);
    return first && exits;
}

/* The hops at the head of the queue: one of them becomes a switch. */
static int take_hop(struct reach *r, struct err *e)
{
    struct item x = r->heap[0];
    const struct hop *s = &r->f->hops[x.hop];
    uint64_t cost_ns = x.cost_ns + s->cost_ns;
    if (next_hop(r, &x, x.hop + 1))
        replace_first(r, x);
    else
        drop_first(r);
    return came(r, s->to, x.layer + 1) ? 0 : push_switch(r, s->to, x.layer + 1, cost_ns, e);
}

int reach_next(struct reach *r, uint64_t limit_ns, uint32_t *sw, uint64_t *cost_ns, struct err *e)
{
    *sw = NONE;
    while (r->n_left && r->n && r->heap[0].key <= limit_ns) {
        struct item first = r->heap[0];
        if (first.hop != NONE) {
            if (take_hop(r, e) < 0)
                return -1;
        } else if (take_switch(r)) {
            r->n_left--;
            *sw = first.sw;
            *cost_ns = first.cost_ns;
            return 0;
        }
    }
    return 0;
}
