/* links: memlane-core memlane-sim */
/* What agents have and nobody owns: it keeps its place, and is collected after its grace, with proof. */
#include "core/adopt.h"
#include "sim_story.h"
#include "unit_main.h"

START_TEST(nothing_is_placed_where_something_of_nobody_is)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    sim_settle(&s);
    ck_assert_uint_eq(at(attached(0, "n3"))->section, 1); /* section 0: n2's lender has a buffer for it */
    ck_assert_uint_eq(at(attached(2, "n2"))->section, 0); /* it is n1's only */
}
END_TEST

START_TEST(what_nobody_owns_is_promised_to_nobody)
{
    uint64_t before = model_lendable_bytes(model_node(s.m, row("n2")));
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    sim_settle(&s);
    ck_assert_uint_eq(model_node(s.m, row("n2"))->n_unowned, 1);
    ck_assert_uint_eq(model_lendable_bytes(model_node(s.m, row("n2"))), before - GIB4);
    ck_assert_uint_eq(sim_attach(&s, 0, before, "n2"), NONE);
    struct placement p;
    struct place_request r = {
        .compute_node = row("n1"), .requested_bytes = before, .donor = row("n2"), .channels = 1
    };
    ck_assert_int_eq(placement_rank(&p, s.m, s.t, &r, &e), 0);
    size_t said = 0;
    for (size_t i = 0; i < p.n; i++)
        said += strstr(p.candidates[i].detail, "held for nobody 4 GiB") != NULL;
    ck_assert_uint_eq(said, 1);
    placement_done(&p);
    ck_assert_uint_ne(sim_attach(&s, 0, before - GIB4, "n2"), NONE);
}
END_TEST

static void collect(void)
{
    sim_begin(&s);
    adopt_collect(s.m);
    sim_commit(&s);
    sim_settle(&s);
}

START_TEST(what_nobody_owns_is_collected_after_its_grace_and_with_proof)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    sim_settle(&s);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1); /* too early */
    s.nodes[0].alive = false;
    sim_pass(&s, 700000);
    sim_settle(&s);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1); /* the node that its label names does not report */
    s.nodes[0].alive = true;
    sim_settle(&s);
    collect();
    sim_expect_nothing(&s);
}
END_TEST

/* n1 reports blocks that are online in section 0, from 'offset_bytes' on, under the name 'id'. */
static void report_blocks(const char *id, uint64_t offset_bytes)
{
    struct wire_seen_segment g = { .adapter = "afu0",
                                   .offset_bytes = offset_bytes,
                                   .size_bytes = GIB4,
                                   .blocks_total = 16,
                                   .blocks_online = 16,
                                   .movable = true };
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true, .channels = 1, .settled = 1 },
                                             { .name = "afu1", .ok = true } };
    struct wire_observed o = { .epoch = 1,
                               .revision = s.m->revision,
                               .switches_ok = true,
                               .memory_bytes = GIB4 * 16,
                               .free_bytes = GIB4 * 16,
                               .n_adapters = 2,
                               .adapters = adapters,
                               .n_segments = 1,
                               .segments = &g };
    snprintf(g.id, sizeof g.id, "%s", id);
    memcpy(adapters[0].sections, s.nodes[0].registers, sizeof s.nodes[0].registers);
    ck_assert_int_eq(sim_report(&s, 0, &o, &e), 0);
}

/* n2 lends "x" to n1, whose section leads there; its label on n1 was lost, or another one has its range. */
static void keep_in_use(const char *id, uint64_t offset_bytes)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    s.nodes[1].channels[1] = 1;
    s.nodes[3].joins[1] = 7;
    s.nodes[3].joins[7] = 1;
    s.nodes[0].registers[0] = wire_section_value(b.base, 0, WIRE_NETID_PORT0);
    s.nodes[0].alive = false; /* it reports by hand */
    sim_settle(&s);
    sim_pass(&s, 700000);
    report_blocks(id, offset_bytes);
    sim_settle(&s);
    sim_begin(&s);
    adopt_collect(s.m);
    sim_commit(&s);
    ck_assert_uint_eq(model_find_attachment(s.m, "x"), offset_bytes < GIB4 ? NONE : 0);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
}

START_TEST(what_is_online_without_a_label_is_not_collected_from_under_it)
{
    keep_in_use("", 0);
}
END_TEST

START_TEST(what_is_online_under_another_name_is_not_collected_from_under_it)
{
    keep_in_use("y", GIB4 - SIM_BLOCK);
}
END_TEST

START_TEST(blocks_beside_it_keep_nothing_from_being_collected)
{
    keep_in_use("", GIB4);
}
END_TEST

/* n2 still lends "x" to n1, which booted since: no section of it leads there, but the way is as it was. */
static void leave_orphan_with_its_way(void)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    s.nodes[1].channels[1] = 1;
    s.nodes[3].joins[1] = 7; /* n1/afu0/0 to n2/afu1/0 */
    s.nodes[3].joins[7] = 1;
    sim_settle(&s);
    sim_pass(&s, 700000);
    sim_settle(&s);
}

START_TEST(what_is_collected_leaves_no_channel_and_no_join)
{
    leave_orphan_with_its_way();
    collect();
    sim_expect_nothing(&s);
    for (unsigned p = 1; p < 64; p++)
        ck_assert_uint_eq(s.nodes[3].joins[p], 0);
}
END_TEST

START_TEST(a_way_that_another_section_uses_is_not_collected_with_the_buffer)
{
    leave_orphan_with_its_way();
    s.nodes[0].channels[0] = 1;
    s.nodes[0].registers[2] = wire_section_value(UINT64_C(0x710000000000), 2, WIRE_NETID_PORT0);
    sim_settle(&s);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 0);
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
    ck_assert_uint_eq(s.nodes[3].joins[1], 7);
}
END_TEST

START_TEST(the_way_of_what_is_collected_is_not_guessed_before_its_switch_is_read)
{
    leave_orphan_with_its_way();
    s.nodes[3].alive = false;
    sim_register(&s, 3);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    s.nodes[3].alive = true;
    sim_settle(&s);
    collect();
    sim_expect_nothing(&s);
}
END_TEST

/* Section 1 of n1 leads to where the arena of a buffer was that this database never knew. */
static void lead_away(void)
{
    s.nodes[0].registers[1] = wire_section_value(UINT64_C(0x700000000000), 1, WIRE_NETID_PORT0);
    sim_settle(&s);
    collect(); /* from here on it is known */
}

static bool still_leads(void)
{
    return !wire_section_is_parked(s.nodes[0].registers[1], 1);
}

START_TEST(a_section_of_nobody_is_parked_after_its_grace)
{
    lead_away();
    sim_pass(&s, 500000);
    sim_settle(&s);
    collect();
    ck_assert(still_leads()); /* too early */
    s.nodes[2].alive = false;
    sim_pass(&s, 200000);
    sim_settle(&s);
    collect();
    ck_assert(still_leads()); /* n3 is silent: it may lend what is behind it */
    s.nodes[2].alive = true;
    sim_settle(&s);
    collect();
    ck_assert(!still_leads());
    sim_expect_nothing(&s);
}
END_TEST

START_TEST(a_section_of_nobody_is_kept_while_its_node_is_silent)
{
    lead_away();
    s.nodes[0].alive = false;
    sim_pass(&s, 700000);
    sim_settle(&s);
    collect();
    s.nodes[0].alive = true;
    sim_register(&s, 0);
    collect();
    ck_assert(!model_adapter(s.m, model_find_adapter(s.m, model_find_node(s.m, "n1"), "afu0"))->sections[1].used);
    sim_settle(&s);
    collect();
    ck_assert(!still_leads());
}
END_TEST

/* As if n1 had reported blocks of nobody that are online in the section. */
START_TEST(a_section_with_memory_of_nobody_is_not_parked)
{
    struct unowned used = {
        .kind = "segment", .adapter = "afu0", .section = 1, .blocks_online = 1, .blocks_total = 16
    };
    lead_away();
    sim_pass(&s, 700000);
    sim_settle(&s);
    sim_begin(&s);
    ck_assert_int_eq(model_set_unowned(s.m, model_find_node(s.m, "n1"), &used, 1, &e), 0);
    adopt_collect(s.m);
    sim_commit(&s);
    sim_settle(&s); /* it is gone */
    collect();
    ck_assert(still_leads()); /* its grace begins here */
    sim_pass(&s, 700000);
    sim_settle(&s);
    collect();
    ck_assert(!still_leads());
}
END_TEST

/* Its section still leads to the donor, but the join is gone. */
START_TEST(a_buffer_of_nobody_behind_a_parted_join_is_collected)
{
    struct sim_buffer b = {
        .id = "x", .peer = "n1", .section = 1, .size_bytes = GIB4, .base = UINT64_C(0x700000000000)
    };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    lead_away();
    sim_pass(&s, 700000);
    sim_settle(&s);
    collect();
    ck_assert(!still_leads());
    sim_expect_nothing(&s);
}
END_TEST

/* As before, but over both ports: each of its legs ends at a port of its own. */
START_TEST(a_bonded_buffer_of_nobody_behind_parted_joins_is_collected)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    s.nodes[0].registers[0] = wire_section_value(b.base, 0, WIRE_NETID_BOTH);
    sim_settle(&s);
    sim_pass(&s, 700000);
    sim_settle(&s);
    collect();
    sim_expect_nothing(&s);
}
END_TEST

START_TEST(nothing_is_placed_in_a_section_that_leads_where_nobody_knows)
{
    s.nodes[0].registers[0] = wire_section_value(UINT64_C(0x700000000000), 0, WIRE_NETID_PORT0);
    sim_settle(&s);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    ck_assert_uint_ne(a, NONE);
    ck_assert_uint_eq(at(a)->section, 1);
}
END_TEST

/* It was used before, so it is to be parked: that may take the agent a while. */
START_TEST(nothing_is_placed_in_a_section_that_is_not_parked_yet)
{
    sim_detach(&s, attached(0, "n2"));
    sim_settle(&s);
    sim_expect_nothing(&s);
    s.nodes[0].registers[0] = wire_section_value(UINT64_C(0x700000000000), 0, WIRE_NETID_PORT0);
    s.nodes[0].acts_not = true;
    sim_agent(&s, 0, true);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    ck_assert_uint_ne(a, NONE);
    ck_assert_uint_eq(at(a)->section, 1);
}
END_TEST

/* A restore left it so: what keeps its port from being used is parked, though something of ours waits in it. */
START_TEST(a_section_that_leads_away_is_parked_for_what_waits_in_it)
{
    s.nodes[0].acts_not = true;
    lead_away(); /* section 1, over the port that is needed */
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    s.nodes[0].registers[0] = wire_section_value(UINT64_C(0x700000000000), 0, WIRE_NETID_PORT0);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->step, STEP_CONNECT);
    collect(); /* from here on it is known */
    s.clock_ms += 700000;
    collect();
    s.nodes[0].acts_not = false;
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
    ck_assert_uint_eq(at(a)->section, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("collection");
    TCase *t = tcase_create("of nobody");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_nobody_owns_is_collected_after_its_grace_and_with_proof);
    tcase_add_test(t, what_is_online_without_a_label_is_not_collected_from_under_it);
    tcase_add_test(t, what_is_online_under_another_name_is_not_collected_from_under_it);
    tcase_add_test(t, blocks_beside_it_keep_nothing_from_being_collected);
    tcase_add_test(t, what_is_collected_leaves_no_channel_and_no_join);
    tcase_add_test(t, a_way_that_another_section_uses_is_not_collected_with_the_buffer);
    tcase_add_test(t, the_way_of_what_is_collected_is_not_guessed_before_its_switch_is_read);
    tcase_add_test(t, what_nobody_owns_is_promised_to_nobody);
    tcase_add_test(t, nothing_is_placed_where_something_of_nobody_is);
    tcase_add_test(t, a_section_of_nobody_is_parked_after_its_grace);
    tcase_add_test(t, a_section_of_nobody_is_kept_while_its_node_is_silent);
    tcase_add_test(t, a_section_with_memory_of_nobody_is_not_parked);
    tcase_add_test(t, a_buffer_of_nobody_behind_a_parted_join_is_collected);
    tcase_add_test(t, a_bonded_buffer_of_nobody_behind_parted_joins_is_collected);
    tcase_add_test(t, nothing_is_placed_in_a_section_that_leads_where_nobody_knows);
    tcase_add_test(t, nothing_is_placed_in_a_section_that_is_not_parked_yet);
    tcase_add_test(t, a_section_that_leads_away_is_parked_for_what_waits_in_it);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
