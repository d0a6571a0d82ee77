/* choice.c - see choice.h. */
#include "choice.h"

#include "log.h"
#include "policy.h"
#include "reach.h"
#include "topology.h"

#include <stdlib.h>
#include <string.h>

struct choice {
    const struct question *q;
    const struct donors *d;
    struct reach *reach;
    const uint32_t *apart;
    unsigned n_apart;
    enum donor_order order;
    uint64_t limit_ns; /* the request's */
    bool bonded;       /* exits of adapters with both ports open, at port 'k' only */
    unsigned k;
    uint64_t best_ns; /* what may still be better costs at most this */
    bool misled;      /* the index and the rules differ: a bug of ours */
    uint32_t best;    /* exit; NONE */
};

/* ---- exits of a switch ----------------------------------------------------------------------------------------------
 */

/* The other port of the exit's adapter is an open exit too. */
static bool pair_open(const struct choice *c, const struct exit *x, uint32_t *other)
{
    const struct port *p = model_port(c->q->m, x->port);
    const struct adapter *a = model_adapter(c->q->m, p->adapter);
    if (p->number != c->k || a->n_ports < 2)
        return false;
    *other = c->d->port_exit[a->ports[1 - c->k]];
    return *other != NONE && donors_keys(c->d, *other)->lendable_bytes > 0;
}

static bool suits(const struct choice *c, uint32_t exit)
{
    const struct exit *x = &c->d->exits[exit];
    uint32_t other;
    if (x->node == c->q->r->compute_node || x->gbps < c->q->leg_gbps)
        return false;
    for (unsigned i = 0; i < c->n_apart; i++)
        if (c->apart[i] == x->node)
            return false;
    return verdict_allows(c->q, x->node) && (!c->bonded || pair_open(c, x, &other));
}

static uint32_t next_exit(const struct choice *c, uint32_t from, uint32_t end, const struct donor_want *want)
{
    while ((from = donors_next(c->d, from, end, want)) < end && !suits(c, from))
        from++;
    return from;
}

/* The end of the switch's exits whose cable takes at most 'ns'. */
static uint32_t exits_within(const struct donors *d, uint32_t sw, uint64_t ns)
{
    uint32_t lo = d->first_exit[sw], hi = d->first_exit[sw + 1];
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (d->exits[mid].ns <= ns)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int name_compare(const struct choice *c, uint32_t a, uint32_t b)
{
    uint32_t x = c->d->node_rank[c->d->exits[a].node], y = c->d->node_rank[c->d->exits[b].node];
    return (x > y) - (x < y);
}

/* ---- one path: by cost ----------------------------------------------------------------------------------------------
 */

/* Of the exits from 'at' on that are as near, the one with most lendable memory; the first of these. */
static uint32_t most_lendable(const struct choice *c, uint32_t at)
{
    uint32_t end = exits_within(c->d, c->d->exits[at].sw, c->d->exits[at].ns), next = at;
    struct donor_want more = { 0 };
    do {
        at = next;
        more.lendable_bytes = donors_keys(c->d, at)->lendable_bytes + 1;
        next = next_exit(c, at + 1, end, &more);
    } while (next < end);
    return at;
}

static bool tie_goes_to(const struct choice *c, uint32_t exit)
{
    uint64_t mine = donors_keys(c->d, exit)->lendable_bytes, best = donors_keys(c->d, c->best)->lendable_bytes;
    if (c->q->r->policy == PLACE_NEAREST && mine != best)
        return mine > best;
    return name_compare(c, exit, c->best) < 0;
}

/* The best exit of a switch against the best so far. */
static void try_switch(struct choice *c, uint32_t sw, uint64_t cost_ns, const struct donor_want *want)
{
    uint32_t end = cost_ns <= c->best_ns ? exits_within(c->d, sw, c->best_ns - cost_ns) : c->d->first_exit[sw];
    uint32_t at = next_exit(c, c->d->first_exit[sw], end, want);
    if (at >= end)
        return;
    if (c->q->r->policy == PLACE_NEAREST)
        at = most_lendable(c, at);
    uint64_t total_ns = cost_ns + c->d->exits[at].ns;
    if (c->best == NONE || total_ns < c->best_ns || tie_goes_to(c, at))
        c->best = at;
    c->best_ns = total_ns;
}

static int by_cost(struct choice *c, const struct donor_want *want, struct err *e)
{
    uint64_t cost_ns;
    uint32_t sw;
    do {
        if (reach_next(c->reach, c->best_ns, &sw, &cost_ns, e) < 0)
            return -1;
        if (sw != NONE)
            try_switch(c, sw, cost_ns, want);
    } while (sw != NONE);
    return 0;
}

/* ---- one path: by the policy's key, then cost -----------------------------------------------------------------------
 */

struct reached {
    uint32_t sw;
    uint64_t cost_ns;
};

struct reached_list {
    struct reached *items;
    size_t n, cap;
};

static int add_reached(struct reached_list *l, struct reached x, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct reached *items = reallocarray(l->items, cap, sizeof *items);
        if (!items)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = x;
    return 0;
}

static void reached_done(struct reached_list *l)
{
    free(l->items);
}

static int reach_all(const struct choice *c, struct reached_list *l, struct err *e)
{
    struct reached x;
    do {
        if (reach_next(c->reach, c->limit_ns, &x.sw, &x.cost_ns, e) < 0 || (x.sw != NONE && add_reached(l, x, e) < 0))
            return -1;
    } while (x.sw != NONE);
    return 0;
}

/* The largest key of all that can be reached: each switch is asked whether it has a larger one. */
static bool largest_key(const struct choice *c, const struct reached_list *l, struct donor_want *want)
{
    bool found = false;
    for (size_t i = 0; i < l->n; i++) {
        const struct reached *x = &l->items[i];
        uint32_t end = x->cost_ns <= c->limit_ns ? exits_within(c->d, x->sw, c->limit_ns - x->cost_ns) : 0;
        uint32_t at = next_exit(c, c->d->first_exit[x->sw], end, want);
        for (; at < end; at = next_exit(c, at + 1, end, want)) {
            found = true;
            want->at_least = donors_order(c->d, at, c->order) + 1;
        }
    }
    want->at_least -= found;
    return found;
}

/* From all free ports of all adapters that have a section for a new circuit. */
static int begin(const struct choice *c, struct err *e)
{
    const struct question *q = c->q;
    reach_begin(c->reach, q->leg_gbps);
    for (unsigned i = 0; i < q->n_adapters; i++) {
        const struct adapter *a = model_adapter(q->m, q->adapters[i]);
        for (unsigned k = 0; k < a->n_ports && verdict_new_section(q, q->adapters[i]); k++)
            if (reach_from(c->reach, q->m, a->ports[k], e) < 0)
                return -1;
    }
    return 0;
}

/* Among all that can be reached, wherever they are. */
static int by_order_everywhere(struct choice *c, struct donor_want want, struct err *e)
{
    CLEANUP(reached_done) struct reached_list l = { 0 };
    if (begin(c, e) < 0 || reach_all(c, &l, e) < 0)
        return -1;
    if (!largest_key(c, &l, &want))
        return 0;
    for (size_t i = 0; i < l.n; i++)
        try_switch(c, l.items[i].sw, l.items[i].cost_ns, &want);
    return 0;
}

/* First whoever has the largest key of the rack, the nearest of them.  Only when none of these can be reached, all that
 * can be are asked for theirs. */
static int by_order(struct choice *c, struct err *e)
{
    struct donor_want all = { .lendable_bytes = c->q->size_bytes, .order = c->order }, want = all;
    uint32_t n = c->d->n_exits, at = next_exit(c, 0, n, &want);
    if (at == n)
        return 0;
    for (; at < n; at = next_exit(c, at + 1, n, &want))
        want.at_least = donors_order(c->d, at, c->order) + 1;
    want.at_least--;
    if (begin(c, e) < 0 || by_cost(c, &want, e) < 0)
        return -1;
    return c->best != NONE ? 0 : by_order_everywhere(c, all, e);
}

static int choose_single(struct choice *c, struct verdict *out, struct err *e)
{
    const struct question *q = c->q;
    struct donor_want want = { .lendable_bytes = q->size_bytes };
    if (c->order != ORDER_NONE ? by_order(c, e) < 0 : begin(c, e) < 0 || by_cost(c, &want, e) < 0)
        return -1;
    if (c->best == NONE)
        return 0;
    uint32_t donor = c->d->exits[c->best].node;
    if (verdict_of(out, q, donor, e) < 0)
        return -1;
    c->misled = out->c.reason != PLACE_OK || out->c.cost_ns != c->best_ns;
    if (c->misled)
        log_error("placement.index",
                  "it offers %s at %llu ns, the rules say %s at %llu ns; every donor is judged instead",
                  model_node(q->m, donor)->name, (unsigned long long)c->best_ns, place_reason_names[out->c.reason],
                  (unsigned long long)out->c.cost_ns);
    return 0;
}

/* ---- bonded ---------------------------------------------------------------------------------------------------------
 */

struct offer { /* a donor that might do */
    order_key key;
    uint64_t at_least_ns; /* the pair costs no less */
    uint32_t node;
};

struct offers { /* a heap: the largest key first, then the nearest */
    struct offer *items;
    size_t n, cap;
};

static void offers_done(struct offers *o)
{
    free(o->items);
}

static bool offer_before(const struct offer *a, const struct offer *b)
{
    return a->key != b->key ? a->key > b->key : a->at_least_ns < b->at_least_ns;
}

static int add_offer(struct offers *o, struct offer x, struct err *e)
{
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 64;
        struct offer *items = reallocarray(o->items, cap, sizeof *items);
        if (!items)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        o->items = items;
        o->cap = cap;
    }
    size_t i = o->n++;
    for (; i && offer_before(&x, &o->items[(i - 1) / 2]); i = (i - 1) / 2)
        o->items[i] = o->items[(i - 1) / 2];
    o->items[i] = x;
    return 0;
}

static struct offer take_offer(struct offers *o)
{
    struct offer first = o->items[0], last = o->items[--o->n];
    size_t i = 0;
    for (size_t k = 1; k < o->n; k = 2 * i + 1) {
        k += k + 1 < o->n && offer_before(&o->items[k + 1], &o->items[k]);
        if (!offer_before(&o->items[k], &last))
            break;
        o->items[i] = o->items[k];
        i = k;
    }
    if (o->n)
        o->items[i] = last;
    return first;
}

/* What the leg from the other port costs at least. */
static uint64_t other_leg_ns(const struct choice *c, uint32_t compute_port, uint32_t exit)
{
    const struct fabric *f = c->q->f;
    uint32_t sw = f->port_sw[f->peer[compute_port]];
    uint64_t ns = f->link_ns[compute_port] + f->switch_ns[sw] + c->d->exits[exit].ns;
    if (c->d->exits[exit].sw != sw && f->first_trunk[sw] < f->first_trunk[sw + 1])
        ns += f->hops[f->first_trunk[sw]].cost_ns;
    return ns;
}

static int judge(struct choice *c, uint32_t donor, struct verdict *best, struct err *e)
{
    struct verdict v;
    if (verdict_of(&v, c->q, donor, e) < 0)
        return -1;
    if (v.c.reason != PLACE_OK || (best->c.reason == PLACE_OK && policy_compare(c->q, &v, best) >= 0))
        return 0;
    *best = v;
    c->best_ns = v.c.cost_ns;
    return 0;
}

/* The exits of a switch: judged at once where cost is the first key, else put on the heap. */
static int offer_switch(struct choice *c, uint32_t sw, uint64_t cost_ns, uint32_t other_port, struct offers *later,
                        struct verdict *best, struct err *e)
{
    struct donor_want want = { .lendable_bytes = c->q->size_bytes };
    uint32_t end = c->d->first_exit[sw + 1], other = NONE;
    for (uint32_t at = next_exit(c, c->d->first_exit[sw], end, &want); at < end;
         at = next_exit(c, at + 1, end, &want)) {
        struct offer x = { donors_order(c->d, at, c->order), cost_ns + c->d->exits[at].ns, c->d->exits[at].node };
        if (x.at_least_ns > c->best_ns)
            break;
        if (!pair_open(c, &c->d->exits[at], &other))
            continue;
        uint64_t other_ns = other_leg_ns(c, other_port, other);
        x.at_least_ns = other_ns > x.at_least_ns ? other_ns : x.at_least_ns;
        if (x.at_least_ns > c->best_ns)
            continue;
        if ((c->order == ORDER_NONE ? judge(c, x.node, best, e) : add_offer(later, x, e)) < 0)
            return -1;
    }
    return 0;
}

/* From the port with the longer cable: its leg is the better bound of the pair. */
static int offer_adapter(struct choice *c, const struct adapter *a, struct offers *later, struct verdict *best,
                         struct err *e)
{
    const struct fabric *f = c->q->f;
    uint64_t cost_ns;
    uint32_t sw;
    for (unsigned k = 0; k < 2; k++)
        if (a->n_ports < 2 || f->peer[a->ports[k]] == NONE || f->port_sw[f->peer[a->ports[k]]] == NONE ||
            !model_port_free(model_port(c->q->m, a->ports[k])))
            return 0;
    c->k = f->link_ns[a->ports[1]] > f->link_ns[a->ports[0]];
    reach_begin(c->reach, c->q->leg_gbps);
    if (reach_from(c->reach, c->q->m, a->ports[c->k], e) < 0)
        return -1;
    do {
        if (reach_next(c->reach, c->best_ns, &sw, &cost_ns, e) < 0)
            return -1;
        if (sw != NONE && offer_switch(c, sw, cost_ns, a->ports[1 - c->k], later, best, e) < 0)
            return -1;
    } while (sw != NONE);
    return 0;
}

static int choose_bonded(struct choice *c, struct verdict *best, struct err *e)
{
    const struct question *q = c->q;
    CLEANUP(offers_done) struct offers later = { 0 };
    order_key key = 0;
    for (unsigned i = 0; i < q->n_adapters; i++)
        if (verdict_new_section(q, q->adapters[i]) &&
            offer_adapter(c, model_adapter(q->m, q->adapters[i]), &later, best, e) < 0)
            return -1;
    while (later.n) {
        struct offer x = take_offer(&later);
        if (best->c.reason == PLACE_OK && (x.key < key || x.at_least_ns > best->c.cost_ns))
            break;
        key = x.key;
        if (judge(c, x.node, best, e) < 0)
            return -1;
    }
    return 0;
}

int choice_best(struct verdict *out, const struct question *q, const uint32_t *apart, unsigned n_apart, bool *misled,
                struct err *e)
{
    struct choice c = {
        .q = q,
        .d = topology_donors(q->t),
        .reach = topology_reach(q->t),
        .apart = apart,
        .n_apart = n_apart,
        .order = policy_order(q->r->policy),
        .limit_ns = q->r->has_max_cost ? q->r->max_cost_ns : UINT64_MAX - 1,
        .bonded = q->r->channels == 2,
        .best = NONE,
    };
    memset(out, 0, sizeof *out);
    out->c.reason = PLACE_NOT_READY;
    c.best_ns = c.limit_ns;
    *misled = false;
    const struct donor_want any = { .lendable_bytes = q->size_bytes };
    if (q->leg_gbps > ADAPTER_PORT_GBPS || donors_next(c.d, 0, c.d->n_exits, &any) == c.d->n_exits)
        return 0;
    int rc = c.bonded ? choose_bonded(&c, out, e) : choose_single(&c, out, e);
    *misled = c.misled;
    return rc;
}
