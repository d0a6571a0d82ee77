/* links: memlane-core memlane-sim */
/* Who is off, and who is only not known yet: fencing of nodes and switches, what stays refused when a node is
 * forgotten, boots that are over. */
#include "sim_story.h"
#include "unit_main.h"

static void fence(size_t node)
{
    sim_power_off(&s, node);
    sim_pass(&s, 20000);
    ck_assert_msg(sim_fence(&s, node, model_node(s.m, row(s.nodes[node].name))->boot_id, &e) == 0, "%s", e.detail);
}

static void power_off_and_fence(size_t node)
{
    fence(node);
    sim_settle(&s);
}

static int forget(const char *name)
{
    sim_begin(&s);
    int rc = model_forget_node(s.m, row(name), &e);
    if (rc < 0)
        model_rollback(s.m);
    sim_commit(&s);
    return rc;
}

static bool barred(const char *node, unsigned section)
{
    return model_section_barred(s.m, model_find_adapter(s.m, row(node), "afu0"), section);
}

/* Should the operator be wrong, there is no way left to the memory when it is given to others. */
START_TEST(a_fenced_borrower_has_its_circuit_cleared_before_the_buffer_goes)
{
    uint32_t a = attached(0, "n2"), circuit = at(a)->circuit;
    fence(0);
    ck_assert_int_eq(at(a)->undoing, STEP_CONNECT);
    sim_agent(&s, 1, true);
    ck_assert_int_eq(model_circuit(s.m, circuit)->phase, PHASE_CLEAR);
    ck_assert_int_eq(at(a)->undoing, STEP_CONNECT);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    sim_agent(&s, s.n_nodes - 1, true);
    ck_assert_int_eq(at(a)->undoing, STEP_LEND);
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
}
END_TEST

START_TEST(a_range_that_ended_by_fencing_waits_for_both_sides_to_reboot)
{
    uint32_t a = attached(0, "n2");
    power_off_and_fence(0);
    ck_assert_ptr_null(at(a));
    sim_reboot(&s, 0);
    sim_settle(&s);
    a = attached(0, "n2");
    ck_assert_uint_eq(at(a)->section, 1);
    sim_detach(&s, a);
    sim_settle(&s);
    sim_reboot(&s, 1);
    sim_settle(&s);
    a = attached(0, "n2");
    ck_assert_uint_eq(at(a)->section, 0);
}
END_TEST

/* The circuit lives on for what was attached over it meanwhile; another section takes what comes next. */
START_TEST(a_range_that_ended_by_fencing_bars_its_section_of_a_circuit_that_stays)
{
    uint32_t a = attached(0, "n2");
    struct sim_node *manager = &s.nodes[s.n_nodes - 1];
    fence(0);
    manager->alive = false; /* nobody parts the joins */
    sim_reboot(&s, 0);
    sim_settle(&s);
    ck_assert_ptr_nonnull(at(a));
    uint32_t b = sim_attach(&s, 0, UINT64_C(1) << 30, "n2");
    ck_assert_uint_ne(b, NONE);
    ck_assert_uint_eq(at(b)->section, 0);
    manager->alive = true;
    for (int i = 0; i < 10 && at(a); i++)
        sim_settle(&s);
    ck_assert_ptr_null(at(a));
    ck_assert(barred("n1", 0));
    uint32_t c = attached(0, "n2");
    ck_assert_uint_eq(at(c)->section, 1);
}
END_TEST

START_TEST(a_fenced_boot_and_its_ranges_stay_refused_when_the_node_is_forgotten)
{
    attached(0, "n2");
    power_off_and_fence(0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->n_borrows, 0);
    ck_assert_int_eq(forget("n1"), 0);
    ck_assert_int_eq(sim_claim(&s, "n1", "machine-n1", "boot-1", &e), -1);
    ck_assert_int_eq(e.code, ERR_FORBIDDEN);
    ck_assert_int_eq(sim_claim(&s, "n9", "machine-9", "boot-1", &e), -1); /* by whatever name */
    ck_assert_int_eq(e.code, ERR_FORBIDDEN);
    ck_assert_int_eq(sim_claim(&s, "n1", "machine-9", "boot-9", &e), 0); /* the name is free */
    ck_assert(barred("n1", 0) && !barred("n1", 1));
    sim_reboot(&s, 1);
    ck_assert(barred("n1", 0)); /* n2 rebooted, the machine that was n1 did not */
}
END_TEST

START_TEST(a_donor_that_is_forgotten_ends_no_bar_before_the_borrower_rebooted)
{
    end_in_quarantine();
    ck_assert(barred("n1", 0));
    ck_assert_int_eq(forget("n2"), -1); /* that boot may come back */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    power_off_and_fence(1);
    ck_assert_int_eq(forget("n2"), 0);
    ck_assert(!barred("n1", 0)); /* n1 rebooted, and n2's half is refused for good */
    ck_assert_int_eq(sim_claim(&s, "n2", "machine-n2", "boot-1", &e), -1);
}
END_TEST

START_TEST(a_donor_fenced_under_live_memory_can_be_forgotten_when_its_borrower_rebooted)
{
    attached(0, "n2");
    power_off_and_fence(1);
    ck_assert_int_eq(forget("n2"), -1); /* it still lends: the borrower may read it any moment */
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    ck_assert(barred("n1", 0));
    ck_assert_int_eq(forget("n2"), 0);
    ck_assert(!barred("n1", 0));
}
END_TEST

/* ---- switches that nobody drives any more -------------------------------------------------------------------------
 */
static int fence_switch(void)
{
    sim_begin(&s);
    int rc = lifecycle_fence_switch(s.m, model_find_switch(s.m, "ocs1"), &e);
    if (rc < 0)
        model_rollback(s.m);
    sim_commit(&s);
    return rc;
}

START_TEST(a_switch_that_is_off_holds_nothing_up_and_joins_nothing_new)
{
    uint32_t a = attached(0, "n2");
    ck_assert_int_eq(fence_switch(), -1); /* it is read */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    s.nodes[3].alive = false;
    sim_pass(&s, 20000);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLEAR);
    ck_assert_int_eq(fence_switch(), 0);
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
    ck_assert_uint_eq(s.nodes[1].n_buffers, 0);
    ck_assert_uint_eq(sim_attach(&s, 0, GIB4, "n2"), NONE);
    s.nodes[3].alive = true; /* it is not off after all: it is read again, and so is the join that was left */
    sim_settle(&s);
    ck_assert(!model_switch(s.m, model_find_switch(s.m, "ocs1"))->fenced);
    a = sim_attach(&s, 0, GIB4, "n2");
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED); /* the same two ports: the join that is wanted */
}
END_TEST

START_TEST(another_node_takes_over_the_switch_of_a_fenced_manager)
{
    uint32_t a = attached(0, "n2");
    s.nodes[3].alive = false;
    ck_assert_int_eq(sim_cable(&s, "n3", &e), -1); /* it may still act */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    sim_pass(&s, 20000);
    ck_assert_int_eq(sim_fence(&s, 3, "boot-1", &e), 0);
    ck_assert_int_eq(sim_cable(&s, "n3", &e), 0);
    ck_assert_int_eq(forget("mgmt"), 0);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLEAR); /* n3 has not read it */
    ck_assert_int_eq(sim_claim(&s, "mgmt", "machine-mgmt", "boot-1", &e), -1);
}
END_TEST

/* ---- who is off, and who is only not known yet ---------------------------------------------------------------------
 */
/* What a restart of the orchestrator forgets: sessions, reports, clocks. */
static void restart(void)
{
    sim_begin(&s);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_NODE); i++) {
        model_touch_node(s.m, i)->session[0] = '\0';
        model_touch_node(s.m, i)->reported = false;
    }
    for (uint32_t i = 0; i < model_count(s.m, MODEL_SWITCH); i++)
        model_touch_switch(s.m, i)->seen = false;
    lifecycle_start(s.m);
    sim_commit(&s);
}

START_TEST(nobody_is_fenced_before_this_orchestrator_listened_for_ten_seconds)
{
    attached(0, "n2");
    restart();
    ck_assert_int_eq(model_node(s.m, row("n1"))->state, NODE_UNREACHABLE);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), -1); /* it may be as alive as ever */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "can be fenced in 9"));
    ck_assert_int_eq(fence_switch(), -1);
    ck_assert_ptr_nonnull(strstr(e.detail, "can be fenced in 9"));
    sim_pass(&s, 9000);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), -1);
    ck_assert_int_eq(fence_switch(), -1);
    sim_register(&s, 0); /* alive it is, though it has not reported yet */
    sim_pass(&s, 2000);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), -1);
    ck_assert_int_eq(fence_switch(), 0);
    sim_pass(&s, 9000);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), 0);
}
END_TEST

static unsigned events_of(const char *type)
{
    unsigned n = 0;
    for (size_t i = 0; i < s.m->n_events; i++)
        n += !strcmp(s.m->events[i].type, type);
    return n;
}

START_TEST(a_node_that_only_registers_is_unreachable_and_told_of_once)
{
    unsigned told = 0;
    bool mute = false;
    for (int i = 0; i < 6; i++) {
        sim_register(&s, 1);
        for (size_t k = 0; k < s.n_nodes; k++)
            if (k != 1)
                sim_agent(&s, k, true);
        s.clock_ms += 2000;
        sim_begin(&s);
        lifecycle_tick(s.m);
        told += events_of("node.state");
        mute |= told && strstr(s.m->events[0].reason, "registers, but does not report");
        sim_commit(&s);
    }
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_UNREACHABLE);
    ck_assert_uint_eq(told, 1);
    ck_assert(mute);
    ck_assert_uint_eq(sim_attach(&s, 0, GIB4, "n2"), NONE);
    ck_assert_int_eq(sim_fence(&s, 1, "boot-1", &e), -1); /* it is on: it was heard a moment ago */
    sim_pass(&s, 10000);
    ck_assert_int_eq(sim_fence(&s, 1, "boot-1", &e), 0);
}
END_TEST

START_TEST(a_new_node_that_never_reports_is_unreachable_too)
{
    sim_power_off(&s, 1);
    s.nodes[1].boot++;
    s.clock_ms += 4000;
    sim_register(&s, 1);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_NEW);
    sim_pass(&s, 9000);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_NEW);
    sim_pass(&s, 2000);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_UNREACHABLE);
    s.nodes[1].alive = true;
    sim_settle(&s);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_READY);
}
END_TEST

START_TEST(a_boot_that_another_one_followed_is_over)
{
    attached(0, "n2");
    sim_reboot(&s, 0);
    ck_assert_int_eq(sim_claim(&s, "n1", "machine-n1", "boot-1", &e), -1);
    ck_assert_int_eq(e.code, ERR_IDENTITY_CONFLICT);
    ck_assert_str_eq(model_node(s.m, row("n1"))->boot_id, "boot-2");
}
END_TEST

START_TEST(just_after_a_start_the_boot_that_is_known_comes_first)
{
    sim_begin(&s);
    lifecycle_start(s.m);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_NODE); i++)
        model_edit_node(s.m, i)->session[0] = '\0'; /* as after loading */
    sim_commit(&s);
    ck_assert_int_eq(sim_claim(&s, "n1", "machine-n1", "a-clone", &e), -1);
    ck_assert_int_eq(e.code, ERR_IDENTITY_CONFLICT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fencing");
    TCase *t = tcase_create("fencing");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_range_that_ended_by_fencing_waits_for_both_sides_to_reboot);
    tcase_add_test(t, a_boot_that_another_one_followed_is_over);
    tcase_add_test(t, just_after_a_start_the_boot_that_is_known_comes_first);
    tcase_add_test(t, a_fenced_borrower_has_its_circuit_cleared_before_the_buffer_goes);
    tcase_add_test(t, a_range_that_ended_by_fencing_bars_its_section_of_a_circuit_that_stays);
    tcase_add_test(t, a_fenced_boot_and_its_ranges_stay_refused_when_the_node_is_forgotten);
    tcase_add_test(t, a_donor_that_is_forgotten_ends_no_bar_before_the_borrower_rebooted);
    tcase_add_test(t, a_donor_fenced_under_live_memory_can_be_forgotten_when_its_borrower_rebooted);
    tcase_add_test(t, a_switch_that_is_off_holds_nothing_up_and_joins_nothing_new);
    tcase_add_test(t, another_node_takes_over_the_switch_of_a_fenced_manager);
    tcase_add_test(t, nobody_is_fenced_before_this_orchestrator_listened_for_ten_seconds);
    tcase_add_test(t, a_node_that_only_registers_is_unreachable_and_told_of_once);
    tcase_add_test(t, a_new_node_that_never_reports_is_unreachable_too);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
