/* links: memlane-two-tier */
/* The index of placement (fabric.h, donors.h) is kept change by change; here it is compared with one made from nothing,
 * after any sequence of requests, releases, failures, recoveries, cordons, reboots, reports and new cabling, with
 * roll-backs of any of them in between, looked at or not.  Both have to hold the same, and to decide the same; now and
 * then the full ranking is asked too. */
#include "core/placement.h"
#include "rackfile.h"
#include "two_tier.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_OPS 10000
#define GIB (UINT64_C(1) << 30)

struct rig {
    struct two_tier_random g;
    struct model *m;
    struct topology *t;
    struct rack cabling;    /* of the mixed rack; empty for two tiers */
    uint32_t n_ids, target; /* attachments that it aims at */
    uint32_t blind;         /* blind: operations to come during which nobody looks */
    unsigned n_compared, n_chosen, n_rolled_back, n_ranked;
};

static unsigned roll(struct rig *r, unsigned n)
{
    return two_tier_below(&r->g, n);
}

static bool chance(struct rig *r, unsigned percent)
{
    return roll(r, 100) < percent;
}

static uint32_t any(struct rig *r, enum model_kind kind)
{
    return roll(r, model_count(r->m, kind));
}

/* ---- racks ----------------------------------------------------------------------------------------------------------
 */

#define MIXED_NODES 30
#define MIXED_SWITCHES 6

static void add_mixed_node(struct rig *r, uint32_t i)
{
    struct wire_adapter list[4];
    unsigned n = 1 + roll(r, 4);
    struct err e;
    char name[NAME_SIZE];
    uint32_t at;
    memset(list, 0, sizeof list);
    for (unsigned k = 0; k < n; k++) {
        snprintf(list[k].name, sizeof list[k].name, "afu%u", k);
        list[k].role = chance(r, 50) ? WIRE_COMPUTE : WIRE_MEMORY;
        list[k].ports = chance(r, 85) ? 2 : 1;
        if (list[k].role == WIRE_COMPUTE)
            list[k].window_bytes = (1 + roll(r, 4)) * SECTION_BYTES / 2;
    }
    snprintf(name, sizeof name, i % 3 ? "n%u" : "n-%u", i);
    ck_assert(model_add_node(r->m, name, &at, &e) == 0 && model_set_adapters(r->m, at, list, n, &e) == 0);
    struct node *x = model_edit_node(r->m, at);
    x->block_bytes = GIB / 4;
    x->free_bytes = (1 + roll(r, 12)) * 16 * GIB;
    x->state = NODE_READY;
    for (unsigned k = 0; k < n; k++)
        model_touch_adapter(r->m, model_node(r->m, at)->adapters[k])->seen =
            model_touch_adapter(r->m, model_node(r->m, at)->adapters[k])->ok = true;
}

/* A port of a node that has no cable yet, of the wanted role; false: this try found none. */
static bool free_node_port(struct rig *r, bool *used, int role, struct port_name *out)
{
    uint32_t at = any(r, MODEL_PORT);
    const struct port *p = model_port(r->m, at);
    const struct adapter *a = p ? model_adapter(r->m, p->adapter) : NULL;
    if (!a || used[at] || (role >= 0 && (int)a->role != role))
        return false;
    used[at] = true;
    *out = (struct port_name){ .number = p->number };
    snprintf(out->owner, sizeof out->owner, "%s", model_node(r->m, a->node)->name);
    snprintf(out->adapter, sizeof out->adapter, "%s", a->name);
    return true;
}

static struct port_name next_switch_port(struct rig *r, unsigned sw, unsigned *next)
{
    struct port_name p = { .number = ++next[sw] };
    snprintf(p.owner, sizeof p.owner, "%s", r->cabling.switches[sw].name);
    return p;
}

static void add_link(struct rig *r, struct port_name a, struct port_name b)
{
    r->cabling.links[r->cabling.n_links++] =
        (struct rack_link){ .a = a, .b = b, .latency_ns = 10 + 5 * roll(r, 4), .gbps = chance(r, 80) ? 100 : 40 };
}

/* Nodes of any adapters on six switches that are joined at random, and some cabled to each other. */
static void mixed_rack(struct rig *r)
{
    struct err e = { 0 };
    struct port_name a, b;
    unsigned next[MIXED_SWITCHES] = { 0 };
    static bool used[4096];
    memset(used, 0, sizeof used);
    ck_assert_int_eq(model_new(&r->m, &e), 0);
    r->m->time_scale = 1;
    model_savepoint(r->m);
    for (uint32_t i = 0; i < MIXED_NODES; i++)
        add_mixed_node(r, i);
    r->cabling.switches = calloc(MIXED_SWITCHES, sizeof *r->cabling.switches);
    r->cabling.links = calloc(1000, sizeof *r->cabling.links);
    for (unsigned i = 0; i < MIXED_SWITCHES; i++) {
        struct rack_switch *s = &r->cabling.switches[r->cabling.n_switches++];
        snprintf(s->name, sizeof s->name, "s%u", i);
        s->ports = 200;
        s->latency_ns = 5 * roll(r, 3);
    }
    for (int i = 0; i < 20; i++)
        if (free_node_port(r, used, WIRE_COMPUTE, &a) && free_node_port(r, used, WIRE_MEMORY, &b))
            add_link(r, a, b);
    for (int i = 0; i < 400; i++)
        if (free_node_port(r, used, -1, &a))
            add_link(r, a, next_switch_port(r, roll(r, MIXED_SWITCHES), next));
    for (int i = 0; i < 24; i++) {
        unsigned x = roll(r, MIXED_SWITCHES), y = roll(r, MIXED_SWITCHES);
        a = next_switch_port(r, x, next);
        add_link(r, a, next_switch_port(r, y, next));
    }
    ck_assert_msg(model_declare(r->m, &r->cabling, &e) == 0, "%s", e.detail);
    model_commit_done(r->m);
}

static void make(struct rig *r, unsigned seed, bool mixed)
{
    const struct two_tier shape = {
        .n_nodes = 64, .nodes_per_leaf = 8, .node_choices_ns = seed % 2 ? 4 : 60, .trunk_choices_ns = seed % 2 ? 3 : 90
    };
    struct err e = { 0 };
    memset(r, 0, sizeof *r);
    r->g.state = seed * 7919 + mixed;
    if (mixed)
        mixed_rack(r);
    else
        ck_assert_msg(two_tier_new(&r->m, &shape, &r->g, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(topology_new(&r->t, &e), 0);
}

static void done(struct rig *r)
{
    topology_free(r->t);
    model_free(r->m);
    rack_done(&r->cabling);
}

/* ---- operations -----------------------------------------------------------------------------------------------------
 */

static struct place_request a_request(struct rig *r)
{
    struct place_request q = { .compute_node = any(r, MODEL_NODE), .donor = NONE };
    q.requested_bytes = (1 + roll(r, chance(r, 70) ? 24 : 200)) * GIB / 2;
    q.channels = chance(r, 15) ? 2 : 1;
    q.policy = (enum place_policy)roll(r, 4);
    if (chance(r, 20))
        q.bandwidth_gbps = 1 + roll(r, 110);
    if (chance(r, 10)) {
        q.has_max_cost = true;
        q.max_cost_ns = roll(r, 250);
    }
    if (chance(r, 10))
        q.avoid[q.n_avoid++] = any(r, MODEL_NODE);
    if (chance(r, 5))
        q.donor = any(r, MODEL_NODE);
    if (chance(r, 5))
        snprintf(q.anti_affinity, sizeof q.anti_affinity, "feed");
    return q;
}

static void request(struct rig *r)
{
    struct place_request q = a_request(r);
    struct reservation best;
    struct topology *t = r->t;
    struct err e = { 0 };
    char id[ID_SIZE];
    uint32_t at;
    if (!model_node(r->m, q.compute_node) || (q.donor != NONE && !model_node(r->m, q.donor)))
        return;
    if (r->blind)
        ck_assert_int_eq(topology_new(&t, &e), 0);
    int rc = placement_best(&best, r->m, t, &q, &e);
    if (r->blind)
        topology_free(t);
    ck_assert_msg(rc == 0 || e.code == ERR_NO_DONOR, "%s", e.detail);
    if (rc < 0)
        return;
    snprintf(id, sizeof id, "a%u", r->n_ids++);
    best.id = id;
    ck_assert_msg(model_reserve(r->m, &best, &at, &e) == 0, "%s", e.detail);
}

static void release(struct rig *r)
{
    uint32_t n = model_count(r->m, MODEL_ATTACHMENT), from = n ? roll(r, n) : 0;
    for (uint32_t i = 0; i < n; i++)
        if (model_attachment(r->m, (from + i) % n)) {
            model_release(r->m, (from + i) % n);
            return;
        }
}

static void change_link(struct rig *r)
{
    uint32_t i = any(r, MODEL_LINK);
    if (model_link(r->m, i))
        model_set_link_down(r->m, i, chance(r, 30));
}

static void change_signal(struct rig *r)
{
    uint32_t i = any(r, MODEL_PORT);
    const struct port *p = model_port(r->m, i);
    if (!p || p->sw == NONE || !model_link(r->m, p->link))
        return;
    enum link_state before = model_link_state(r->m, model_link(r->m, p->link));
    model_touch_port(r->m, i)->signal = chance(r, 30)   ? WIRE_SIGNAL_DOWN
                                        : chance(r, 50) ? WIRE_SIGNAL_UP
                                                        : WIRE_SIGNAL_UNKNOWN;
    model_link_changed(r->m, p->link, before);
}

static void change_port(struct rig *r)
{
    uint32_t i = any(r, MODEL_PORT);
    if (model_port(r->m, i) && model_port(r->m, i)->adapter != NONE)
        model_edit_port(r->m, i)->suspect = chance(r, 20);
}

static void change_node(struct rig *r)
{
    uint32_t i = any(r, MODEL_NODE);
    struct wire_label label = { .key = "feed" };
    struct err e;
    if (!model_node(r->m, i))
        return;
    switch (roll(r, 6)) {
    case 0:
        model_edit_node(r->m, i)->cordoned = chance(r, 20);
        break;
    case 1:
        model_edit_node(r->m, i)->headroom_bytes = roll(r, 4) * 8 * GIB;
        break;
    case 2:
        model_set_node_state(r->m, i, chance(r, 20) ? NODE_UNREACHABLE : NODE_READY, "test");
        break;
    case 3: { /* a reboot: everything of it is gone until it reports again */
        model_set_node_state(r->m, i, NODE_READY, "test");
        const struct node *n = model_node(r->m, i);
        for (unsigned k = 0; k < n->n_adapters; k++) {
            struct adapter *a = model_touch_adapter(r->m, n->adapters[k]);
            a->seen = chance(r, 95);
            a->ok = chance(r, 95);
        }
        break;
    }
    case 4: {
        struct node *n = model_touch_node(r->m, i);
        n->free_bytes = (n->free_bytes / GIB / 2 + roll(r, 40)) * GIB;
        n->locked_bytes = roll(r, 8) * GIB;
        break;
    }
    default:
        snprintf(label.value, sizeof label.value, "%u", roll(r, 2));
        ck_assert_int_eq(model_set_labels(r->m, i, &label, roll(r, 2), &e), 0);
    }
}

/* Another cabling, or other adapters; what circuits use is refused half way through, as in the orchestrator. */
static int change_cabling(struct rig *r)
{
    struct err e;
    uint32_t i = any(r, MODEL_NODE);
    if (r->cabling.n_links && chance(r, 50)) {
        struct rack k = r->cabling;
        k.links[roll(r, (unsigned)k.n_links)].latency_ns = 10 + 5 * roll(r, 6);
        k.n_links -= roll(r, 2);
        return model_declare(r->m, &k, &e);
    }
    const struct node *n = model_node(r->m, i);
    if (n && !n->n_lends && !n->n_borrows && chance(r, 30))
        return model_forget_node(r->m, i, &e) < 0 || chance(r, 90) ? -1 : 0;
    struct wire_adapter list[WIRE_MAX_ADAPTERS + 1] = {
        { .name = "late", .role = WIRE_MEMORY, .ports = 1 + roll(r, 2) }
    };
    unsigned n_list = roll(r, 2);
    for (unsigned k = 0; n && k < n->n_adapters; k++) {
        const struct adapter *a = model_adapter(r->m, n->adapters[k]);
        if (!strcmp(a->name, "late"))
            continue;
        list[n_list] = (struct wire_adapter){ .role = a->role, .ports = a->n_ports, .window_bytes = a->window_bytes };
        memcpy(list[n_list].name, a->name, sizeof a->name);
        list[n_list++].window_addr = a->window_addr;
    }
    return n ? model_set_adapters(r->m, i, list, n_list, &e) : 0;
}

static int operate(struct rig *r)
{
    unsigned dice = roll(r, 1000);
    if (roll(r, 300) == 0)
        r->target = roll(r, 90);
    if (dice < 640 && (r->m->tables[MODEL_ATTACHMENT].n_live < r->target ? dice < 500 : dice < 140))
        request(r);
    else if (dice < 640)
        release(r);
    else if (dice < 740)
        change_link(r);
    else if (dice < 780)
        change_signal(r);
    else if (dice < 820)
        change_port(r);
    else if (dice < 995)
        change_node(r);
    else
        return change_cabling(r);
    return 0;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------
 */

static void compare_decisions(struct rig *r, struct topology *fresh)
{
    struct place_request q = a_request(r);
    struct reservation a, b;
    struct placement p;
    struct err e = { 0 }, f = { 0 };
    if (!model_node(r->m, q.compute_node) || (q.donor != NONE && !model_node(r->m, q.donor)))
        return;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    int rc = placement_best(&a, r->m, r->t, &q, &e);
    ck_assert_int_eq(placement_best(&b, r->m, fresh, &q, &f), rc);
    ck_assert_msg(rc == 0 || e.code == ERR_NO_DONOR, "%s", e.detail);
    ck_assert_msg(memcmp(&a, &b, sizeof a) == 0, "kept and fresh index decide differently");
    r->n_chosen += rc == 0;
    if (!chance(r, 10))
        return;
    ck_assert_int_eq(placement_rank(&p, r->m, r->t, &q, &e), 0);
    ck_assert_msg((p.n_feasible > 0) == (rc == 0) && (rc < 0 || memcmp(&a, &p.candidates[0].best, sizeof a) == 0),
                  "decision and ranking differ");
    placement_done(&p);
    r->n_ranked++;
}

static void compare(struct rig *r)
{
    struct topology *fresh;
    struct err e = { 0 };
    ck_assert(topology_new(&fresh, &e) == 0 && topology_refresh(fresh, r->m, &e) == 0);
    ck_assert_int_eq(topology_refresh(r->t, r->m, &e), 0);
    ck_assert_msg(topology_same(r->t, fresh), "the kept index is not what one made from nothing is");
    compare_decisions(r, fresh);
    topology_free(fresh);
    r->n_compared++;
}

/* Takes the changes in, and now and then compares. */
static void look(struct rig *r)
{
    struct err e = { 0 };
    if (r->blind || chance(r, 50))
        return;
    ck_assert_int_eq(topology_refresh(r->t, r->m, &e), 0);
    if (chance(r, 8))
        compare(r);
}

static void step(struct rig *r)
{
    struct err e = { 0 };
    model_savepoint(r->m);
    int rc = operate(r);
    look(r); /* it may see what a roll-back takes away */
    if (rc < 0 || chance(r, 20)) {
        model_rollback(r->m);
        r->n_rolled_back++;
    }
    if (chance(r, 3))
        model_rollback_batch(r->m);
    else if (chance(r, 40))
        model_commit_done(r->m);
    look(r);
    r->blind -= r->blind > 0;
    if (roll(r, 2500) == 0) /* long enough for the ring of changes to run over */
        r->blind = 300;
    if (roll(r, 200) == 0)
        ck_assert_msg(model_check(r->m, &e) == 0, "%s", e.detail);
}

START_TEST(kept_index_equals_one_from_nothing)
{
    static struct rig r;
    make(&r, (unsigned)_i / 2 + 1, _i % 2);
    for (int i = 0; i < N_OPS; i++)
        step(&r);
    printf("%s, seed %d: %u requests reserved, %u comparisons (%u with the ranking), %u with a donor, %u roll-backs, "
           "index made "
           "%llu times\n",
           _i % 2 ? "mixed" : "two tiers", _i / 2 + 1, r.n_ids, r.n_compared, r.n_ranked, r.n_chosen, r.n_rolled_back,
           (unsigned long long)topology_index_made(r.t));
    ck_assert_uint_eq(topology_misled(r.t), 0);
    ck_assert_uint_gt(r.n_chosen, N_OPS / 100);
    ck_assert_uint_lt(topology_index_made(r.t), N_OPS / 20);
    done(&r);
}
END_TEST

/* More changes than the ring of the model holds, all but the first about another node. */
START_TEST(nothing_is_lost_when_nobody_looked_for_long)
{
    static struct rig r;
    struct err e = { 0 };
    make(&r, 1, false);
    ck_assert_int_eq(topology_refresh(r.t, r.m, &e), 0);
    model_edit_node(r.m, 5)->cordoned = true;
    for (int i = 0; i < 20000; i++)
        model_touch_node(r.m, 0)->free_bytes++;
    compare(&r);
    ck_assert_uint_eq(topology_index_made(r.t), 1);
    done(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("index_random");
    TCase *c = tcase_create("random");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, kept_index_equals_one_from_nothing, 0, 4);
    tcase_add_test(c, nothing_is_lost_when_nobody_looked_for_long);
    suite_add_tcase(s, c);
    return unit_main(s);
}
