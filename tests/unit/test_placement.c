/* links: memlane-core */
/* Placement rule by rule, on racks small enough to be followed with a pencil. */
#include "core/placement.h"
#include "json.h"
#include "rackfile.h"
#include "unit_main.h"
#include "units.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct model *m;
    struct topology *t;
    unsigned n_reserved;
};

#define C0                                                                                                             \
    "{\"name\":\"c0\",\"role\":\"compute\",\"ports\":2,\"window_addr\":\"0x2000000000000\",\"window_bytes\":"          \
    "4398046511104}"
#define C0_SMALL                                                                                                       \
    "{\"name\":\"c0\",\"role\":\"compute\",\"ports\":2,\"window_addr\":\"0x2000000000000\",\"window_bytes\":"          \
    "4294967296}"
#define M0 "{\"name\":\"m0\",\"role\":\"memory\",\"ports\":2}"
#define NODE(name, adapters)                                                                                           \
    "{\"name\":\"" name                                                                                                \
    "\",\"memory_bytes\":68719476736000,\"free_bytes\":0,\"block_bytes\":268435456,\"labels\":{\"feed\":\"" name       \
    "\"},\"adapters\":[" adapters "]}"
/* Free memory is set by each test. */
#define LINK(a, b, ns, gbps) "{\"a\":\"" a "\",\"b\":\"" b "\",\"latency_ns\":" #ns ",\"gbps\":" #gbps "}"
#define SWITCH(name, ports, ns)                                                                                        \
    "{\"name\":\"" name "\",\"kind\":\"circuit\",\"ports\":" #ports ",\"latency_ns\":" #ns "}"
#define RACK(nodes, switches, links)                                                                                   \
    "{\"name\":\"t\",\"nodes\":[" nodes "],\"switches\":[" switches "],\"links\":[" links "]}"

static void add_node(struct model *m, const struct rack_node *r)
{
    struct err e;
    uint32_t i;
    ck_assert_int_eq(model_add_node(m, r->name, &i, &e), 0);
    ck_assert_int_eq(model_set_adapters(m, i, r->adapters, r->n_adapters, &e), 0);
    ck_assert_int_eq(model_set_labels(m, i, r->labels, r->n_labels, &e), 0);
    struct node *n = model_edit_node(m, i);
    n->memory_bytes = r->memory_bytes;
    n->free_bytes = r->free_bytes;
    n->block_bytes = r->block_bytes;
    n->state = NODE_READY;
    for (unsigned k = 0; k < n->n_adapters; k++) {
        struct adapter *a = model_touch_adapter(m, n->adapters[k]);
        a->seen = a->ok = true;
    }
}

static struct rig rig_new(const char *text)
{
    struct rig g = { 0 };
    struct rack rack;
    json_t *j;
    struct err e = { 0 };
    ck_assert_msg(json_parse(&j, text, strlen(text), &e) == 0, "%s", e.detail);
    ck_assert_msg(rack_decode(&rack, j, &e) == 0, "%s", e.detail);
    json_decref(j);
    ck_assert_int_eq(model_new(&g.m, &e), 0);
    ck_assert_int_eq(topology_new(&g.t, &e), 0);
    g.m->time_scale = 1;
    model_savepoint(g.m);
    for (size_t i = 0; i < rack.n_nodes; i++)
        add_node(g.m, &rack.nodes[i]);
    ck_assert_msg(model_declare(g.m, &rack, &e) == 0, "%s", e.detail);
    model_commit_done(g.m);
    rack_done(&rack);
    return g;
}

static void rig_free(struct rig *g)
{
    topology_free(g->t);
    model_free(g->m);
}

static struct place_request request(const struct rig *g, const char *compute, uint64_t bytes)
{
    return (struct place_request){
        .compute_node = model_find_node(g->m, compute), .requested_bytes = bytes, .donor = NONE, .channels = 1
    };
}

/* Ranks, and checks that placement_best() says the same. */
static struct placement rank(const struct rig *g, const struct place_request *r)
{
    struct placement p = { 0 };
    struct reservation best;
    struct err e = { 0 };
    ck_assert_msg(placement_rank(&p, g->m, g->t, r, &e) == 0, "%s", e.detail);
    int rc = placement_best(&best, g->m, g->t, r, &e);
    ck_assert_int_eq(rc, p.n_feasible ? 0 : -1);
    if (rc == 0)
        ck_assert_int_eq(memcmp(&best, &p.candidates[0].best, sizeof best), 0);
    else
        ck_assert_int_eq(e.code, ERR_NO_DONOR);
    return p;
}

static const char *reason_of(const struct rig *g, const struct place_request *r, const char *donor)
{
    struct placement p = rank(g, r);
    const char *reason = "absent";
    for (size_t i = 0; i < p.n; i++)
        if (p.candidates[i].node == model_find_node(g->m, donor)) {
            reason = place_reason_names[p.candidates[i].reason];
            ck_assert_int_eq(p.candidates[i].reason == PLACE_OK, p.candidates[i].detail[0] == '\0');
        }
    placement_done(&p);
    return reason;
}

static char *chosen(const struct rig *g, const struct place_request *r)
{
    static char text[NAME_SIZE];
    struct placement p = rank(g, r);
    snprintf(text, sizeof text, "%s", p.n_feasible ? model_node(g->m, p.candidates[0].node)->name : "-");
    placement_done(&p);
    return text;
}

static struct reservation best_of(const struct rig *g, const struct place_request *r)
{
    struct placement p = rank(g, r);
    ck_assert_uint_gt(p.n_feasible, 0);
    struct reservation best = p.candidates[0].best;
    placement_done(&p);
    return best;
}

static uint32_t commit(struct rig *g, const struct place_request *r)
{
    struct reservation best = best_of(g, r);
    struct err e = { 0 };
    char id[ID_SIZE];
    uint32_t at;
    snprintf(id, sizeof id, "r%u", ++g->n_reserved);
    best.id = id;
    model_savepoint(g->m);
    ck_assert_msg(model_reserve(g->m, &best, &at, &e) == 0, "%s", e.detail);
    model_commit_done(g->m);
    ck_assert_msg(model_check(g->m, &e) == 0, "%s", e.detail);
    return at;
}

static void release(struct rig *g, uint32_t at)
{
    struct err e = { 0 };
    model_savepoint(g->m);
    model_release(g->m, at);
    model_commit_done(g->m);
    ck_assert_msg(model_check(g->m, &e) == 0, "%s", e.detail);
}

static const char *path_text(const struct rig *g, const struct leg *leg)
{
    static char text[512];
    char name[PORT_NAME_SIZE];
    text[0] = '\0';
    for (unsigned i = 0; i < leg->n_ports; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                 model_port_name(g->m, leg->ports[i], name));
    return text;
}

static void set_link(struct rig *g, const char *a, const char *b, bool down)
{
    struct port_name x, y;
    struct err e;
    ck_assert_int_eq(port_name_parse(a, &x, &e), 0);
    ck_assert_int_eq(port_name_parse(b, &y, &e), 0);
    uint32_t link = model_find_link(g->m, model_find_port(g->m, &x), model_find_port(g->m, &y));
    ck_assert_uint_ne(link, NONE);
    model_savepoint(g->m);
    model_set_link_down(g->m, link, down);
    model_commit_done(g->m);
}

static struct node *node_of(struct rig *g, const char *name)
{
    return model_edit_node(g->m, model_find_node(g->m, name));
}

/* a borrows; b and d lend; one switch; b is nearer on both of its ports than d. */
static const char star[] =
    RACK(NODE("a", C0) "," NODE("b", C0 "," M0) "," NODE("d", M0) "," NODE("e", ""), SWITCH("s", 16, 30),
         LINK("a/c0/0", "s/1", 10, 100) "," LINK("a/c0/1", "s/10", 10, 100) "," LINK("b/m0/0", "s/3", 10, 100) "," LINK(
             "b/m0/1", "s/4", 10, 100) "," LINK("d/m0/0", "s/5", 20, 100) "," LINK("d/m0/1", "s/6", 20, 40));

static struct rig star_new(void)
{
    struct rig g = rig_new(star);
    node_of(&g, "b")->free_bytes = 64 * GIB;
    node_of(&g, "d")->free_bytes = 96 * GIB;
    return g;
}

START_TEST(nearest_takes_the_cheapest_and_names_decide_ports)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB + 1);
    struct reservation best = best_of(&g, &r);
    ck_assert_str_eq(chosen(&g, &r), "b");
    ck_assert_uint_eq(best.size_bytes, GIB + 256 * MIB);
    ck_assert_uint_eq(best.requested_bytes, GIB + 1);
    ck_assert_uint_eq(best.cost_ns, 50);
    ck_assert_str_eq(path_text(&g, &best.legs[0]), "a/c0/0 s/1 s/3 b/m0/0");
    rig_free(&g);
}
END_TEST

START_TEST(each_rule_refuses_in_its_order)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    snprintf(r.anti_affinity, sizeof r.anti_affinity, "feed");
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    ck_assert_str_eq(reason_of(&g, &r, "e"), "no_memory_adapter");
    r.requested_bytes = 65 * GIB;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "insufficient_memory");
    r.requested_bytes = 64 * GIB;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    node_of(&g, "b")->headroom_bytes = 1;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "insufficient_memory");
    struct wire_label same = { "feed", "a" };
    struct err e;
    ck_assert_int_eq(model_set_labels(g.m, model_find_node(g.m, "b"), &same, 1, &e), 0);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "anti_affinity");
    ck_assert_int_eq(model_set_labels(g.m, model_find_node(g.m, "b"), NULL, 0, &e), 0);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "anti_affinity");
    r.avoid[r.n_avoid++] = model_find_node(g.m, "b");
    ck_assert_str_eq(reason_of(&g, &r, "b"), "avoided");
    r.donor = model_find_node(g.m, "d");
    ck_assert_str_eq(reason_of(&g, &r, "b"), "not_pinned");
    ck_assert_str_eq(reason_of(&g, &r, "d"), "ok");
    node_of(&g, "b")->cordoned = true;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "cordoned");
    node_of(&g, "b")->state = NODE_UNREACHABLE;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "not_ready");
    rig_free(&g);
}
END_TEST

START_TEST(a_broken_adapter_is_not_ready)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    uint32_t at = model_find_adapter(g.m, model_find_node(g.m, "b"), "m0");
    model_touch_adapter(g.m, at)->ok = false;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "not_ready");
    at = model_find_adapter(g.m, model_find_node(g.m, "a"), "c0");
    model_touch_adapter(g.m, at)->ok = false;
    ck_assert_str_eq(reason_of(&g, &r, "d"), "compute_not_ready");
    rig_free(&g);
}
END_TEST

START_TEST(faults_of_the_compute_node_refuse_the_request)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "d", GIB);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_compute_adapter");
    r = request(&g, "a", GIB);
    node_of(&g, "a")->cordoned = true; /* stops lending only */
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    node_of(&g, "a")->state = NODE_FENCED;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "compute_not_ready");
    rig_free(&g);
}
END_TEST

START_TEST(a_circuit_that_joins_the_pair_is_shared_or_refuses)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB), bonded;
    r.donor = model_find_node(g.m, "b");
    commit(&g, &r);
    struct reservation second = best_of(&g, &r);
    ck_assert_uint_eq(second.section, 0);
    ck_assert_uint_eq(second.offset_bytes, GIB);
    ck_assert_str_eq(path_text(&g, &second.legs[0]), "a/c0/0 s/1 s/3 b/m0/0");
    bonded = r;
    bonded.channels = 2;
    ck_assert_str_eq(reason_of(&g, &bonded, "b"), "ports_busy");
    bonded.donor = NONE;
    ck_assert_str_eq(reason_of(&g, &bonded, "d"), "ports_busy"); /* bonded and single never share an adapter */
    set_link(&g, "a/c0/0", "s/1", true);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ports_busy"); /* over the other port there is a path */
    set_link(&g, "a/c0/1", "s/10", true);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_path");
    set_link(&g, "a/c0/0", "s/1", false);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    rig_free(&g);
}
END_TEST

START_TEST(a_circuit_in_quarantine_takes_nobody_in)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    uint32_t at = commit(&g, &r);
    model_edit_attachment(g.m, at)->quarantined = true;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ports_busy");
    ck_assert_str_eq(chosen(&g, &r), "d");
    rig_free(&g);
}
END_TEST

START_TEST(sections_fill_first_fit)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    uint32_t at[3];
    struct reservation x;
    node_of(&g, "b")->free_bytes = 8192 * GIB;
    r.donor = model_find_node(g.m, "b");
    for (int i = 0; i < 3; i++)
        at[i] = commit(&g, &r);
    release(&g, at[1]);
    r.requested_bytes = 2 * GIB;
    x = best_of(&g, &r);
    ck_assert_uint_eq(x.offset_bytes, 3 * GIB); /* the gap of 1 GiB is too small */
    r.requested_bytes = GIB;
    x = best_of(&g, &r);
    ck_assert_uint_eq(x.offset_bytes, GIB);
    r.requested_bytes = 1024 * GIB;
    x = best_of(&g, &r);
    ck_assert_uint_eq(x.section, 1);
    ck_assert_uint_eq(x.offset_bytes, 0);
    for (int i = 0; i < 3; i++)
        commit(&g, &r);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_section");
    r.requested_bytes = 1021 * GIB;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok"); /* the rest of section 0 */
    r.requested_bytes = 1021 * GIB + 1;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_section");
    r.donor = NONE;
    node_of(&g, "d")->free_bytes = 8192 * GIB;
    ck_assert_str_eq(reason_of(&g, &r, "d"), "no_section"); /* every section maps b */
    rig_free(&g);
}
END_TEST

START_TEST(a_window_smaller_than_a_section_bounds_it)
{
    struct rig g = rig_new(RACK(NODE("a", C0_SMALL) "," NODE("b", M0), "", LINK("a/c0/1", "b/m0/0", 7, 100)));
    struct place_request r = request(&g, "a", 4 * GIB);
    node_of(&g, "b")->free_bytes = 64 * GIB;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    r.requested_bytes++;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_section");
    r.channels = 2;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_path");
    rig_free(&g);
}
END_TEST

START_TEST(sizes_beyond_a_section_are_invalid)
{
    struct rig g = star_new();
    const uint64_t bad[] = { 0, SECTION_BYTES + 1, UINT64_MAX, UINT64_C(1) << 63 };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct place_request r = request(&g, "a", bad[i]);
        struct placement p;
        struct reservation best;
        struct err e;
        ck_assert_int_eq(placement_rank(&p, g.m, g.t, &r, &e), -1);
        ck_assert_int_eq(e.code, ERR_SIZE_INVALID);
        ck_assert_int_eq(placement_best(&best, g.m, g.t, &r, &e), -1);
        ck_assert_int_eq(e.code, ERR_SIZE_INVALID);
    }
    rig_free(&g);
}
END_TEST

START_TEST(bandwidth_is_reserved_on_the_circuit_and_halved_when_bonded)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    r.bandwidth_gbps = 101;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "bandwidth");
    r.bandwidth_gbps = 60;
    commit(&g, &r);
    r.bandwidth_gbps = 40;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    r.bandwidth_gbps = 41;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "bandwidth");
    ck_assert_str_eq(chosen(&g, &r), "d"); /* over d's port 0: port 1 has 40 */
    rig_free(&g);
    g = star_new();
    r.channels = 2;
    r.bandwidth_gbps = 80;
    ck_assert_str_eq(reason_of(&g, &r, "d"), "ok");
    r.bandwidth_gbps = 81; /* 41 on each leg */
    ck_assert_str_eq(reason_of(&g, &r, "d"), "bandwidth");
    r.bandwidth_gbps = 151; /* 76 */
    ck_assert_str_eq(chosen(&g, &r), "b");
    uint32_t at = commit(&g, &r);
    ck_assert_uint_eq(model_circuit(g.m, model_attachment(g.m, at)->circuit)->reserved_gbps, 76);
    r.bandwidth_gbps = 48;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    r.bandwidth_gbps = 49;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "bandwidth");
    rig_free(&g);
}
END_TEST

START_TEST(too_far_counts_links_and_switches)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    r.has_max_cost = true;
    r.max_cost_ns = 50;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    ck_assert_str_eq(reason_of(&g, &r, "d"), "too_far");
    r.max_cost_ns = 0;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "too_far");
    rig_free(&g);
}
END_TEST

START_TEST(names_are_compared_as_bytes_not_as_numbers)
{
    struct rig g = rig_new(
        RACK(NODE("a", C0) "," NODE("b", M0), SWITCH("s", 16, 30),
             LINK("a/c0/0", "s/1", 10, 100) "," LINK("b/m0/1", "s/10", 10, 100) "," LINK("b/m0/0", "s/2", 10, 100)));
    struct place_request r = request(&g, "a", GIB);
    node_of(&g, "b")->free_bytes = GIB;
    struct reservation best = best_of(&g, &r);
    ck_assert_str_eq(path_text(&g, &best.legs[0]), "a/c0/0 s/1 s/10 b/m0/1");
    rig_free(&g);
}
END_TEST

START_TEST(at_most_three_switches)
{
#define CHAIN_NODES NODE("a", C0) "," NODE("b", M0)
#define CHAIN_LINKS LINK("a/c0/0", "s1/1", 1, 100) "," LINK("s1/2", "s2/1", 1, 100) "," LINK("s2/2", "s3/1", 1, 100)
    struct rig g = rig_new(RACK(CHAIN_NODES, SWITCH("s1", 2, 5) "," SWITCH("s2", 2, 5) "," SWITCH("s3", 2, 5),
                                CHAIN_LINKS "," LINK("s3/2", "b/m0/0", 1, 100)));
    struct place_request r = request(&g, "a", GIB);
    node_of(&g, "b")->free_bytes = GIB;
    struct reservation best = best_of(&g, &r);
    ck_assert_uint_eq(best.cost_ns, 19);
    ck_assert_uint_eq(best.legs[0].n_ports, PATH_PORTS_MAX);
    ck_assert_uint_eq(topology_distance_ns(g.t, best.compute_adapter, best.memory_adapter), 19);
    rig_free(&g);
    g = rig_new(RACK(CHAIN_NODES,
                     SWITCH("s1", 2, 5) "," SWITCH("s2", 2, 5) "," SWITCH("s3", 2, 5) "," SWITCH("s4", 2, 5),
                     CHAIN_LINKS "," LINK("s3/2", "s4/1", 1, 100) "," LINK("s4/2", "b/m0/0", 1, 100)));
    r = request(&g, "a", GIB);
    node_of(&g, "b")->free_bytes = GIB;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_path");
    rig_free(&g);
}
END_TEST

START_TEST(no_path_runs_through_another_node)
{
    struct rig g = rig_new(RACK(NODE("a", C0) "," NODE("b", C0 "," M0) "," NODE("d", M0), "",
                                LINK("a/c0/0", "b/m0/0", 1, 100) "," LINK("b/m0/1", "d/m0/0", 1, 100)));
    struct place_request r = request(&g, "a", GIB);
    node_of(&g, "b")->free_bytes = node_of(&g, "d")->free_bytes = GIB;
    ck_assert_str_eq(reason_of(&g, &r, "b"), "ok");
    ck_assert_str_eq(reason_of(&g, &r, "d"), "no_path");
    rig_free(&g);
}
END_TEST

/* Leg 0 would like the cheap middle switch, but it is leg 1's only way. */
START_TEST(bonded_legs_make_room_for_each_other)
{
    struct rig g = rig_new(
        RACK(CHAIN_NODES, SWITCH("s", 8, 0) "," SWITCH("t", 8, 0) "," SWITCH("u", 8, 0),
             LINK("a/c0/0", "s/1", 1, 100) "," LINK("a/c0/1", "s/2", 1, 100) "," LINK("s/3", "t/3", 1, 100) "," LINK(
                 "s/4", "u/4", 4, 100) "," LINK("u/5", "t/5", 4, 100) "," LINK("t/1", "b/m0/0", 1,
                                                                               100) "," LINK("t/2", "b/m0/1", 3, 100)));
    struct place_request r = request(&g, "a", GIB);
    node_of(&g, "b")->free_bytes = GIB;
    r.channels = 2;
    struct reservation best = best_of(&g, &r);
    ck_assert_uint_eq(best.cost_ns, 10);
    ck_assert_str_eq(path_text(&g, &best.legs[0]), "a/c0/0 s/1 s/4 u/4 u/5 t/5 t/1 b/m0/0");
    ck_assert_str_eq(path_text(&g, &best.legs[1]), "a/c0/1 s/2 s/3 t/3 t/2 b/m0/1");
    set_link(&g, "s/4", "u/4", true);
    ck_assert_str_eq(reason_of(&g, &r, "b"), "no_path");
    rig_free(&g);
}
END_TEST

START_TEST(policies_order_the_same_donors_differently)
{
    struct rig g = star_new(); /* b: 64 GiB at 50 ns, d: 96 GiB at 60 ns */
    struct place_request r = request(&g, "a", GIB);
    ck_assert_str_eq(chosen(&g, &r), "b");
    r.policy = PLACE_PACKED;
    ck_assert_str_eq(chosen(&g, &r), "d"); /* the larger */
    r.policy = PLACE_BALANCED;
    ck_assert_str_eq(chosen(&g, &r), "b"); /* both wholly free: cost */
    r.policy = PLACE_LEAST_LOADED;
    ck_assert_str_eq(chosen(&g, &r), "b");
    commit(&g, &r);
    ck_assert_str_eq(chosen(&g, &r), "d"); /* nothing on its ports yet */
    r.policy = PLACE_BALANCED;
    ck_assert_str_eq(chosen(&g, &r), "d"); /* 63/64 < 1 */
    r.policy = PLACE_PACKED;
    ck_assert_str_eq(chosen(&g, &r), "b"); /* joined already */
    r.policy = PLACE_NEAREST;
    ck_assert_str_eq(chosen(&g, &r), "b");
    rig_free(&g);
}
END_TEST

START_TEST(a_loss_names_the_attachments_and_who_uses_them)
{
    struct rig g = star_new();
    struct place_request r = request(&g, "a", GIB);
    uint32_t at = commit(&g, &r);
    struct topology_loss l;
    struct err e;
    ck_assert_int_eq(topology_loss(&l, g.m, MODEL_NODE, model_find_node(g.m, "b"), &e), 0);
    ck_assert_uint_eq(l.n_attachments, 1);
    ck_assert_uint_eq(l.attachments[0], at);
    ck_assert_uint_eq(l.compute_nodes[0], model_find_node(g.m, "a"));
    topology_loss_done(&l);
    ck_assert_int_eq(topology_loss(&l, g.m, MODEL_SWITCH, model_find_switch(g.m, "s"), &e), 0);
    ck_assert_uint_eq(l.n_attachments, 1);
    topology_loss_done(&l);
    ck_assert_int_eq(topology_loss(&l, g.m, MODEL_NODE, model_find_node(g.m, "d"), &e), 0);
    ck_assert_uint_eq(l.n_attachments, 0);
    topology_loss_done(&l);
    ck_assert(topology_splits(g.t, MODEL_SWITCH, model_find_switch(g.m, "s")));
    rig_free(&g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("placement");
    TCase *c = tcase_create("rules");
    tcase_add_test(c, nearest_takes_the_cheapest_and_names_decide_ports);
    tcase_add_test(c, each_rule_refuses_in_its_order);
    tcase_add_test(c, a_broken_adapter_is_not_ready);
    tcase_add_test(c, faults_of_the_compute_node_refuse_the_request);
    tcase_add_test(c, a_circuit_that_joins_the_pair_is_shared_or_refuses);
    tcase_add_test(c, a_circuit_in_quarantine_takes_nobody_in);
    tcase_add_test(c, sections_fill_first_fit);
    tcase_add_test(c, a_window_smaller_than_a_section_bounds_it);
    tcase_add_test(c, sizes_beyond_a_section_are_invalid);
    tcase_add_test(c, bandwidth_is_reserved_on_the_circuit_and_halved_when_bonded);
    tcase_add_test(c, too_far_counts_links_and_switches);
    tcase_add_test(c, names_are_compared_as_bytes_not_as_numbers);
    tcase_add_test(c, at_most_three_switches);
    tcase_add_test(c, no_path_runs_through_another_node);
    tcase_add_test(c, bonded_legs_make_room_for_each_other);
    tcase_add_test(c, policies_order_the_same_donors_differently);
    tcase_add_test(c, a_loss_names_the_attachments_and_who_uses_them);
    suite_add_tcase(s, c);
    return unit_main(s);
}
