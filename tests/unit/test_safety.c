/* links: memlane-core memlane-sim */
/* The rules that keep memory safe (DESIGN section 3), where a story has to be told on purpose: proof that is too old,
 * from another epoch or from what was not read; quarantine; what is not used again; joins; clocks.  Fencing is in
 * test_fencing.c, what nobody owns in test_collection.c.  tests/README.md has the table. */
#include "sim_story.h"
#include "unit_main.h"

/* A report of n1 with nothing on it, as if every order had been carried out. */
static int report_nothing(uint64_t epoch, uint64_t revision, uint64_t sequence, const char *boot)
{
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1", .ok = true } };
    struct wire_observed o = { .epoch = epoch,
                               .revision = revision,
                               .sequence = sequence,
                               .memory_bytes = GIB4 * 16,
                               .free_bytes = GIB4 * 16,
                               .switches_ok = true,
                               .n_adapters = 2,
                               .adapters = adapters };
    snprintf(o.boot_id, sizeof o.boot_id, "%s", boot);
    for (unsigned k = 0; k < WIRE_SECTIONS; k++)
        adapters[0].sections[k] = wire_section_parked(k);
    return sim_report(&s, 0, &o, &e);
}

static const struct wire_want_segment *wanted_segment(struct wire_desired *d)
{
    ck_assert_int_eq(desired_build(s.m, row("n1"), d, &e), 0);
    ck_assert_uint_eq(d->n_segments, 1);
    return d->segments;
}

START_TEST(a_report_of_another_epoch_proves_nothing)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    ck_assert_int_eq(report_nothing(7, s.m->revision, s.nodes[0].sequence + 1, "boot-1"), 0);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE + 1); /* withdrawn, not proven */
    ck_assert_uint_eq(model_node(s.m, row("n1"))->applied_revision, 0);
}
END_TEST

START_TEST(a_revision_that_nobody_published_proves_nothing)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    ck_assert_int_eq(report_nothing(1, s.m->revision + 100, s.nodes[0].sequence + 1, "boot-1"), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->applied_revision, 0);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE + 1); /* withdrawn, not proven */
}
END_TEST

START_TEST(an_older_sequence_or_another_boot_is_refused)
{
    attached(0, "n2");
    ck_assert_int_eq(report_nothing(1, s.m->revision, s.nodes[0].sequence, "boot-1"), -1);
    ck_assert_int_eq(e.code, ERR_SESSION_STALE);
    ck_assert_int_eq(report_nothing(1, s.m->revision, s.nodes[0].sequence + 1, "boot-9"), -1);
    ck_assert_int_eq(e.code, ERR_SESSION_STALE);
}
END_TEST

START_TEST(a_range_that_is_not_named_proves_nothing_in_the_same_boot)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    s.nodes[0].sequence++;
    ck_assert_int_eq(report_nothing(1, s.m->revision, s.nodes[0].sequence, "boot-1"), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->applied_revision, s.m->revision - 1);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE);
    ck_assert(!at(a)->release_published);
}
END_TEST

START_TEST(blocks_under_another_name_are_no_proof_after_a_reboot)
{
    uint32_t a = attached(0, "n2");
    sim_reboot(&s, 0);
    struct sim_node *n = &s.nodes[0];
    n->segments[n->n_segments++] = (struct sim_segment){ .id = "x", .section = 0, .size_bytes = GIB4, .online = 3 };
    struct wire_seen_segment g = {
        .id = "x", .adapter = "afu0", .size_bytes = GIB4, .blocks_total = 16, .blocks_online = 3
    };
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1", .ok = true } };
    struct wire_observed o = { .epoch = 1,
                               .revision = s.m->revision,
                               .switches_ok = true,
                               .n_adapters = 2,
                               .adapters = adapters,
                               .n_segments = 1,
                               .segments = &g };
    adapters[0].sections[0] = wire_section_parked(0);
    ck_assert_int_eq(sim_report(&s, 0, &o, &e), 0);
    sim_agent(&s, 3, true);
    sim_agent(&s, 1, true);
    ck_assert_int_eq(at(a)->state, ATT_LOST);
    ck_assert(!at(a)->release_published);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
}
END_TEST

START_TEST(nothing_is_proved_by_what_a_restart_forgot)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    sim_begin(&s);
    lifecycle_start(s.m);
    sim_commit(&s);
    ck_assert_int_eq(model_node(s.m, row("n1"))->state, NODE_UNREACHABLE);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
}
END_TEST

START_TEST(a_switch_that_was_not_read_proves_no_join_and_no_parting)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    sim_agent(&s, 0, true);
    for (int i = 0; i < 4; i++) {
        sim_agent(&s, 0, true);
        sim_agent(&s, 1, true);
    }
    const struct circuit *c = model_circuit(s.m, at(a)->circuit);
    ck_assert_int_eq(c->phase, PHASE_CLEAR);
    sim_register(&s, 3);
    sim_begin(&s);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_PORT); i++)
        model_touch_port(s.m, i)->seen_peer = NONE; /* what a restart forgets */
    sim_commit(&s);
    struct wire_observed o = { .epoch = 1, .revision = s.m->revision };
    ck_assert_int_eq(sim_report(&s, 3, &o, &e), 0); /* switches_ok is false */
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLEAR);
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

/* The two names have one hash (FNV-1a, 32 bits): a comparison of hashes took the one switch for the other. */
START_TEST(a_switch_that_its_manager_cannot_drive_is_not_read_whatever_it_drives_instead)
{
    uint32_t sw = model_find_switch(s.m, "ocs1");
    struct wire_registration r = { .name = "mgmt",
                                   .machine_id = "machine-mgmt",
                                   .boot_id = "boot-1",
                                   .protocol_min = 1,
                                   .protocol_max = 1,
                                   .block_bytes = SIM_BLOCK,
                                   .n_switches = 1,
                                   .switches = { "row-7npyt1" } };
    struct wire_observed o = { .epoch = 1, .revision = s.m->revision, .switches_ok = true };
    char session[ID_SIZE];
    uint32_t out;
    ck_assert(model_switch(s.m, sw)->seen);
    snprintf(session, sizeof session, "s-mgmt-%u", ++s.nodes[3].session);
    s.nodes[3].sequence = 0;
    sim_begin(&s);
    ck_assert_int_eq(observed_register(s.m, &r, session, &out, &e), 0);
    sim_commit(&s);
    ck_assert_int_eq(sim_report(&s, 3, &o, &e), 0);
    ck_assert(!model_switch(s.m, sw)->seen);
    sim_register(&s, 3); /* as what it is */
    sim_agent(&s, 3, true);
    ck_assert(model_switch(s.m, sw)->seen);
}
END_TEST

START_TEST(joins_are_named_only_while_they_are_made_or_cleared)
{
    struct wire_desired d;
    uint32_t a = attached(0, "n2");
    ck_assert_int_eq(desired_build(s.m, row("mgmt"), &d, &e), 0);
    ck_assert_uint_eq(d.n_crossconnects, 0);
    wire_desired_done(&d);
    sim_reboot(&s, 3); /* its manager */
    memset(s.nodes[3].joins, 0, sizeof s.nodes[3].joins);
    sim_settle(&s);
    for (unsigned p = 0; p < 64; p++)
        ck_assert_uint_eq(s.nodes[3].joins[p], 0); /* never made again under live memory */
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(a_foreign_join_is_not_rewritten)
{
    uint32_t a = attached(0, "n2");
    unsigned port = 0;
    for (unsigned p = 1; p < 64 && !port; p++)
        port = s.nodes[3].joins[p] ? p : 0;
    sim_detach(&s, a);
    sim_settle(&s);
    s.nodes[3].joins[port] = 47;
    s.nodes[3].joins[47] = port;
    sim_settle(&s);
    a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[3].joins[port], 47);
    ck_assert_int_eq(at(a)->state, ATT_PENDING);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLOSED);
}
END_TEST

/* As after a restore: others may use what the circuit's ports are joined to now. */
START_TEST(a_leg_that_is_joined_elsewhere_is_left_alone)
{
    uint32_t a = attached(0, "n2"), circuit = at(a)->circuit;
    const struct leg *l = &model_circuit(s.m, circuit)->legs[0];
    unsigned port = model_port(s.m, l->ports[l->n_ports - 2])->number, was = s.nodes[3].joins[port];
    unsigned donor_channels = s.nodes[1].channels[1];
    s.nodes[3].joins[was] = 0;
    s.nodes[3].joins[port] = 47;
    s.nodes[3].joins[47] = port;
    sim_settle(&s);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
    ck_assert_uint_eq(s.nodes[1].channels[1], donor_channels);
    ck_assert_uint_eq(s.nodes[3].joins[port], 47);
}
END_TEST

START_TEST(the_loss_of_the_donor_withdraws_the_order_to_take_memory_offline)
{
    struct wire_desired d;
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    ck_assert_int_eq(wanted_segment(&d)->want, WIRE_ABSENT);
    wire_desired_done(&d);
    sim_reboot(&s, 1);
    ck_assert_int_eq(at(a)->state, ATT_LOST);
    ck_assert(at(a)->quarantined);
    ck_assert_int_eq(wanted_segment(&d)->want, WIRE_KEEP);
    wire_desired_done(&d);
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[0].segments[0].online, 16);
}
END_TEST

START_TEST(memory_of_a_dead_donor_is_never_brought_online)
{
    struct wire_desired d;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    while (at(a)->step < STEP_ONLINE)
        for (size_t i = 0; i < s.n_nodes; i++)
            if (at(a)->step < STEP_ONLINE)
                sim_agent(&s, i, true);
    sim_reboot(&s, 1);
    ck_assert(at(a)->quarantined); /* who knows how far it came */
    ck_assert_int_eq(wanted_segment(&d)->want, WIRE_KEEP);
    wire_desired_done(&d);
}
END_TEST

START_TEST(quarantine_keeps_the_donors_port_in_reset_though_others_are_pending_on_it)
{
    uint32_t a = attached(0, "n2"), b = sim_attach(&s, 0, GIB4, "n2");
    ck_assert_uint_eq(at(a)->circuit, at(b)->circuit);
    sim_reboot(&s, 1);
    for (int i = 0; i < 6; i++) {
        sim_agent(&s, 1, true);
        ck_assert_uint_eq(s.nodes[1].channels[1], 0);
        sim_agent(&s, 0, true);
        sim_agent(&s, 3, true);
    }
    ck_assert(at(a)->quarantined);
    ck_assert_uint_eq(sim_attach(&s, 0, GIB4, "n2"), NONE); /* nothing new over it */
}
END_TEST

START_TEST(a_circuit_out_of_quarantine_only_closes)
{
    uint32_t a = attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert(at(a)->quarantined);
    sim_reboot(&s, 0);
    ck_assert(!at(a)->quarantined);
    for (int i = 0; i < 8; i++) {
        sim_agent(&s, 1, true);
        ck_assert_uint_eq(s.nodes[1].channels[1], 0);
        sim_agent(&s, 0, true);
        sim_agent(&s, 3, true);
    }
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

static unsigned suspects(const char *node)
{
    const struct adapter *a = model_adapter(s.m, model_find_adapter(s.m, row(node), "afu1"));
    return (unsigned)model_port(s.m, a->ports[0])->suspect + (unsigned)model_port(s.m, a->ports[1])->suspect;
}

START_TEST(a_port_reset_with_traffic_in_flight_is_suspect_until_its_adapter_is_reset)
{
    attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(suspects("n2"), 1);
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    ck_assert_uint_eq(suspects("n2"), 1);
    uint32_t a = attached(0, "n2"); /* over the other port */
    ck_assert_uint_eq(sim_attach(&s, 2, GIB4, "n2"), NONE);
    sim_detach(&s, a);
    sim_settle(&s);
    sim_reboot(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(suspects("n2"), 0);
    attached(2, "n2");
}
END_TEST

START_TEST(a_range_that_ended_in_quarantine_waits_for_both_sides_to_reboot)
{
    end_in_quarantine();
    uint32_t a = attached(0, "n3");
    ck_assert_uint_eq(at(a)->section, 1); /* section 0: the donor is still in that boot */
    sim_reboot(&s, 1);
    sim_settle(&s);
    a = attached(0, "n2");
    ck_assert_uint_eq(at(a)->section, 0);
}
END_TEST

/* n2 reports that an order for "id" failed, and whether it holds it: listed without a lender to answer for it. */
static void report_buffer(const char *id, unsigned attempt, bool held)
{
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1", .ok = true } };
    struct wire_seen_buffer b = {
        .attempt = attempt, .error = "the range is not empty", .present = held, .size_bytes = held ? GIB4 : 0
    };
    struct wire_observed o = { .epoch = 1,
                               .revision = s.m->revision,
                               .memory_bytes = GIB4 * 16,
                               .free_bytes = GIB4 * 16,
                               .switches_ok = true,
                               .n_adapters = 2,
                               .adapters = adapters,
                               .n_buffers = 1,
                               .buffers = &b };
    snprintf(b.id, sizeof b.id, "%s", id);
    snprintf(b.adapter, sizeof b.adapter, "afu1");
    snprintf(adapters[1].lender_id, sizeof adapters[1].lender_id, "l-n2-%u", s.nodes[1].lender);
    ck_assert_int_eq(sim_report(&s, 1, &o, &e), 0);
}

START_TEST(a_release_that_failed_is_not_done_though_nothing_is_listed)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_detach(&s, a); /* n2 is committing it */
    for (int i = 0; i < 20 && at(a)->undoing != STEP_LEND; i++)
        for (size_t k = 0; k < s.n_nodes; k++)
            if (k != 1)
                sim_agent(&s, k, true);
    for (int i = 0; i < 4; i++) {
        report_buffer(at(a)->id, at(a)->attempt, i & 1);
        sim_agent(&s, 0, true);
        sim_agent(&s, 3, true);
        ck_assert_ptr_nonnull(at(a));
    }
    ck_assert_int_eq(at(a)->state, ATT_STUCK);
    ck_assert_str_eq(at(a)->reason, "the range is not empty");
    ck_assert_uint_eq(lifecycle_holds(s.m, at(a)), 2);
    sim_pass(&s, 6000); /* tried again, and done */
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

/* n2's lender could neither commit it nor give all of it back. */
START_TEST(memory_that_failed_is_not_taken_for_lent)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_agent(&s, 0, true);
    sim_agent(&s, 3, true);
    ck_assert_int_eq(at(a)->step, STEP_CONNECT);
    report_buffer(at(a)->id, at(a)->attempt + 1, true); /* not of this attempt */
    ck_assert(at(a)->now_id_held);
    ck_assert(!at(a)->buffer_seen && !at(a)->now_buffer);
    ck_assert_int_eq(at(a)->step, STEP_CONNECT);
}
END_TEST

START_TEST(everything_is_compared_with_what_was_reported_every_minute)
{
    uint32_t a = attached(0, "n2");
    sim_pass(&s, 1);
    sim_begin(&s);
    model_touch_attachment(s.m, a)->now_buffer = false; /* reported, and nobody looked */
    sim_commit(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
    for (int i = 0; i < 13; i++) {
        for (uint32_t n = 0; n < model_count(s.m, MODEL_NODE); n++)
            model_touch_node(s.m, n)->last_seen_ms = s.clock_ms;
        sim_pass(&s, 5000);
    }
    ck_assert_int_eq(at(a)->state, ATT_LOST);
}
END_TEST

START_TEST(a_buffer_behind_an_adapter_in_error_is_not_taken_up)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    s.nodes[1].memory_error = "no answer";
    sim_settle(&s);
    ck_assert(!at(a)->buffer_seen);
    ck_assert_int_ne(at(a)->state, ATT_ATTACHED);
    s.nodes[1].memory_error = NULL;
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(a_detach_that_was_given_up_is_not_taken_back_by_the_clock)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_cancel(s.m, a, &e), 0);
    sim_commit(&s);
    s.nodes[0].alive = false;
    for (int i = 0; i < 30; i++)
        sim_pass(&s, 10000);
    ck_assert_int_eq(at(a)->goal, GOAL_PRESENT);
    s.nodes[0].alive = true;
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(a_stuck_undo_is_retried_after_a_restart_too)
{
    uint32_t a = attached(0, "n2");
    s.nodes[0].refuse_offline = true;
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_STUCK);
    sim_begin(&s);
    model_edit_attachment(s.m, a)->retry_at_ms = 0; /* what a restart forgets */
    lifecycle_start(s.m);
    sim_commit(&s);
    s.nodes[0].refuse_offline = false;
    for (size_t i = 0; i < s.n_nodes; i++)
        sim_register(&s, i);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

START_TEST(the_states_that_events_told_go_on_after_a_start)
{
    attached(0, "n2");
    sim_begin(&s);
    lifecycle_start(s.m);
    size_t told = 0;
    for (size_t i = 0; i < s.m->n_events; i++)
        told += !strcmp(s.m->events[i].type, "node.state") && !strcmp(s.m->events[i].from, "ready") &&
                !strcmp(s.m->events[i].to, "unreachable");
    ck_assert_uint_eq(told, s.n_nodes);
    sim_commit(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safety");
    TCase *t = tcase_create("rules");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_report_of_another_epoch_proves_nothing);
    tcase_add_test(t, a_revision_that_nobody_published_proves_nothing);
    tcase_add_test(t, an_older_sequence_or_another_boot_is_refused);
    tcase_add_test(t, a_range_that_is_not_named_proves_nothing_in_the_same_boot);
    tcase_add_test(t, blocks_under_another_name_are_no_proof_after_a_reboot);
    tcase_add_test(t, nothing_is_proved_by_what_a_restart_forgot);
    tcase_add_test(t, a_switch_that_was_not_read_proves_no_join_and_no_parting);
    tcase_add_test(t, a_switch_that_its_manager_cannot_drive_is_not_read_whatever_it_drives_instead);
    tcase_add_test(t, joins_are_named_only_while_they_are_made_or_cleared);
    tcase_add_test(t, a_foreign_join_is_not_rewritten);
    tcase_add_test(t, a_leg_that_is_joined_elsewhere_is_left_alone);
    tcase_add_test(t, the_loss_of_the_donor_withdraws_the_order_to_take_memory_offline);
    tcase_add_test(t, memory_of_a_dead_donor_is_never_brought_online);
    tcase_add_test(t, quarantine_keeps_the_donors_port_in_reset_though_others_are_pending_on_it);
    tcase_add_test(t, a_circuit_out_of_quarantine_only_closes);
    tcase_add_test(t, a_port_reset_with_traffic_in_flight_is_suspect_until_its_adapter_is_reset);
    tcase_add_test(t, a_range_that_ended_in_quarantine_waits_for_both_sides_to_reboot);
    tcase_add_test(t, a_detach_that_was_given_up_is_not_taken_back_by_the_clock);
    tcase_add_test(t, a_stuck_undo_is_retried_after_a_restart_too);
    tcase_add_test(t, the_states_that_events_told_go_on_after_a_start);
    tcase_add_test(t, everything_is_compared_with_what_was_reported_every_minute);
    tcase_add_test(t, a_release_that_failed_is_not_done_though_nothing_is_listed);
    tcase_add_test(t, memory_that_failed_is_not_taken_for_lent);
    tcase_add_test(t, a_buffer_behind_an_adapter_in_error_is_not_taken_up);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
