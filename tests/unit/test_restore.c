/* links: memlane-core memlane-sim */
/* An old database meets a newer rack: what it does not know is not touched, and what is over there ends here. */
#include "core/adopt.h"
#include "sim_story.h"
#include "unit_main.h"

/* The orders for n2 that put a port of it in reset. */
static unsigned resets_of_n2(void)
{
    struct wire_desired d;
    unsigned n = 0;
    ck_assert_int_eq(desired_build(s.m, row("n2"), &d, &e), 0);
    for (size_t i = 0; i < d.n_channels; i++)
        n += !d.channels[i].up;
    wire_desired_done(&d);
    return n;
}

/* What a start of the orchestrator forgets of switches and circuits. */
static void restart(void)
{
    sim_begin(&s);
    lifecycle_start(s.m);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_SWITCH); i++)
        model_touch_switch(s.m, i)->seen = false;
    for (uint32_t i = 0; i < model_count(s.m, MODEL_CIRCUIT); i++)
        if (model_circuit(s.m, i))
            model_touch_circuit(s.m, i)->memory_end_known = false;
    for (uint32_t i = 0; i < model_count(s.m, MODEL_NODE); i++) {
        struct node *n = model_touch_node(s.m, i);
        n->session[0] = '\0';
        n->reported = n->fenced_since_start = false;
    }
    sim_commit(&s);
    for (size_t i = 0; i < s.n_nodes; i++)
        s.nodes[i].alive = false;
}

static void come_back(size_t node)
{
    s.nodes[node].alive = true;
    sim_register(&s, node);
}

START_TEST(a_donors_port_is_not_reset_before_its_joins_are_read)
{
    attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(resets_of_n2(), 1);
    struct sim_buffer newer = { .id = "x", .peer = "n3", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = newer;
    restart();
    ck_assert_uint_eq(resets_of_n2(), 0);
    come_back(1);
    sim_agent(&s, 1, true);
    ck_assert_uint_eq(resets_of_n2(), 0); /* over which of its ports "x" is reached is not known */
    come_back(3);
    uint64_t before = model_node(s.m, row("n2"))->desired_revision;
    sim_agent(&s, 3, true);
    ck_assert_uint_eq(resets_of_n2(), 1);
    ck_assert_uint_gt(model_node(s.m, row("n2"))->desired_revision, before);
}
END_TEST

START_TEST(a_circuit_over_which_newer_memory_is_used_is_not_cut)
{
    uint32_t a = attached(0, "n2");
    s.nodes[1].n_buffers = 0; /* it ended, and another one came */
    struct sim_buffer newer = {
        .id = "x", .peer = "n1", .section = 1, .size_bytes = GIB4, .base = UINT64_C(0x700000000000)
    };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = newer;
    unsigned channels = s.nodes[1].channels[1];
    s.nodes[0].alive = false;
    sim_agent(&s, 1, true);
    sim_agent(&s, 1, true);
    ck_assert(at(a)->quarantined);
    ck_assert(!model_circuit(s.m, at(a)->circuit)->severed);
    ck_assert_uint_eq(s.nodes[1].channels[1], channels);
}
END_TEST

/* The backup knows the donor as fenced; it has booted since, and lends again over the same ports. */
START_TEST(a_donor_that_was_fenced_comes_back_with_newer_memory_in_use)
{
    uint32_t a = attached(0, "n2");
    sim_power_off(&s, 1);
    s.nodes[0].alive = false;
    sim_pass(&s, 20000);
    ck_assert_int_eq(sim_fence(&s, 1, "boot-1", &e), 0);
    ck_assert(model_circuit(s.m, at(a)->circuit)->severed);
    struct sim_buffer newer = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    sim_reboot(&s, 1);
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = newer;
    s.nodes[1].channels[1] = 1;
    ck_assert_uint_eq(resets_of_n2(), 0);
    sim_agent(&s, 1, true);
    sim_agent(&s, 1, true);
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
}
END_TEST

/* n1 is fenced, as a backup knows it, and reported "x" is lent to it over the circuit that is to close. */
static void restore_with_n1_fenced(void)
{
    sim_reboot(&s, 0); /* into a boot with a name of its own */
    sim_settle(&s);
    attached(0, "n2");
    s.nodes[0].alive = false;
    sim_pass(&s, 20000);
    memcpy(s.nodes[1].buffers[0].id, "x", sizeof "x");
    sim_agent(&s, 1, true);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_fence(s.m, row("n1"), "boot-2", &e), 0);
    model_touch_node(s.m, row("n1"))->fenced_since_start = false;
    sim_commit(&s);
}

/* The backup knows the borrower as fenced; it has booted since, and borrows again over the same ports. */
START_TEST(a_borrower_that_was_fenced_may_be_back_and_use_newer_memory)
{
    restore_with_n1_fenced();
    sim_settle(&s);
    ck_assert_uint_eq(resets_of_n2(), 0);
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
    s.nodes[1].n_buffers = 0;
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[1].channels[1], 0);
}
END_TEST

/* It is off for good, and what it borrowed last is collected by nobody. */
START_TEST(a_borrower_that_is_fenced_again_holds_nothing_up)
{
    restore_with_n1_fenced();
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
    restart();
    for (size_t i = 1; i < s.n_nodes; i++)
        come_back(i);
    sim_settle(&s);
    ck_assert_int_lt(sim_fence(&s, 0, "boot-2", &e), 0); /* just after a start everybody is silent */
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
    s.clock_ms += 20000;
    ck_assert_int_eq(sim_fence(&s, 0, "boot-2", &e), 0);
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[1].channels[1], 0);
    ck_assert_uint_eq(s.m->tables[MODEL_CIRCUIT].n_live, 0);
}
END_TEST

START_TEST(a_lender_that_does_not_answer_says_nothing_of_what_it_lends)
{
    restore_with_n1_fenced();
    restart();
    s.nodes[1].memory_error = "the lender does not answer";
    struct sim_buffer x = s.nodes[1].buffers[0];
    s.nodes[1].n_buffers = 0; /* so it lists none */
    come_back(3);
    sim_agent(&s, 3, true);
    come_back(1);
    sim_agent(&s, 1, true);
    ck_assert_uint_eq(resets_of_n2(), 0);
    s.nodes[1].memory_error = NULL;
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = x;
    sim_agent(&s, 1, true);
    sim_agent(&s, 1, true);
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
}
END_TEST

START_TEST(quarantine_ends_when_the_borrower_says_that_nothing_is_online)
{
    uint32_t a = attached(0, "n2");
    s.nodes[1].n_buffers = 0;
    sim_agent(&s, 1, true);
    ck_assert(at(a)->quarantined);
    s.nodes[0].n_segments = 0;
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
}
END_TEST

/* Whatever became of it after the backup was made: nothing more is made of it. */
START_TEST(what_was_half_made_in_the_backup_is_taken_back)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    struct adoption done;
    for (size_t i = 0; i < 4; i++)
        sim_agent(&s, i, true);
    ck_assert_int_eq(at(a)->state, ATT_PENDING);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    sim_begin(&s);
    s.m->recovering = true;
    ck_assert_int_eq(adopt_all(s.m, NULL, 0, &done, &e), 0);
    sim_commit(&s);
    ck_assert_int_eq(at(a)->goal, GOAL_ABSENT);
    ck_assert_int_eq(at(a)->step, STEP_ONLINE); /* as if all of it had been published */
    for (size_t i = 0; i < s.n_nodes; i++)
        sim_register(&s, i);
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

/* It may have been attached since: nothing is made, and nothing taken away, before its node says what there is. */
START_TEST(what_a_silent_borrower_may_use_is_kept)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    struct adoption done;
    const char *without[] = { "n1" };
    for (size_t i = 0; i < 4; i++)
        sim_agent(&s, i, true);
    sim_begin(&s);
    s.m->recovering = true;
    model_touch_node(s.m, row("n1"))->session[0] = '\0';
    ck_assert_int_eq(adopt_all(s.m, without, 1, &done, &e), 0);
    sim_commit(&s);
    ck_assert_int_eq(at(a)->goal, GOAL_PRESENT);
    struct wire_desired d;
    ck_assert_int_eq(desired_build(s.m, row("n1"), &d, &e), 0);
    ck_assert_uint_eq(d.n_segments, 1);
    ck_assert_int_eq(d.segments[0].want, WIRE_KEEP);
    wire_desired_done(&d);
}
END_TEST

/* The backup knows it half made; it is in use since, lent by a boot that the backup does not know either. */
static uint32_t restore_with_n2_silent(void)
{
    uint32_t i = attached(0, "n2");
    struct adoption done;
    const char *without[] = { "n2" };
    s.nodes[0].acts_not = true;
    sim_begin(&s);
    s.m->recovering = true;
    struct attachment *a = model_edit_attachment(s.m, i);
    a->state = ATT_PENDING;
    a->step = STEP_CONNECT;
    a->buffer_seen = a->now_buffer = a->segment_seen = false;
    a->lender_id[0] = a->donor_boot[0] = a->compute_boot[0] = '\0';
    a->effective_addr = 0;
    model_edit_adapter(s.m, a->compute_adapter)->sections[a->section].base = 0;
    model_touch_node(s.m, row("n2"))->session[0] = '\0';
    ck_assert_int_eq(adopt_all(s.m, without, 1, &done, &e), 0);
    sim_commit(&s);
    s.nodes[0].acts_not = false;
    sim_register(&s, 0);
    sim_register(&s, 2);
    sim_register(&s, 3);
    return i;
}

START_TEST(memory_in_use_is_not_lost_with_a_boot_of_its_donor_that_never_lent_it)
{
    uint32_t i = restore_with_n2_silent();
    s.nodes[1].boot = 2;
    s.clock_ms += 4000;
    sim_register(&s, 1);
    sim_settle(&s);
    ck_assert_int_eq(at(i)->state, ATT_ATTACHED);
    ck_assert_str_eq(at(i)->donor_boot, "boot-2");
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
    sim_reboot(&s, 1); /* and now it is lost */
    sim_settle(&s);
    ck_assert_int_eq(at(i)->state, ATT_LOST);
    ck_assert(at(i)->quarantined);
}
END_TEST

/* It booted since the memory was lent, and its lender takes a while to answer. */
START_TEST(a_donors_port_stays_in_reset_until_its_lender_says_what_it_holds)
{
    uint32_t i = restore_with_n2_silent();
    sim_reboot(&s, 1);
    s.nodes[1].memory_error = "the lender does not answer";
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[1].channels[1], 0);
    ck_assert(!at(i)->quarantined);
    s.nodes[1].memory_error = NULL;
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[1].channels[1], 0);
    ck_assert(at(i)->quarantined);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("restore");
    TCase *t = tcase_create("old database");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_donors_port_is_not_reset_before_its_joins_are_read);
    tcase_add_test(t, a_circuit_over_which_newer_memory_is_used_is_not_cut);
    tcase_add_test(t, a_donor_that_was_fenced_comes_back_with_newer_memory_in_use);
    tcase_add_test(t, a_borrower_that_was_fenced_may_be_back_and_use_newer_memory);
    tcase_add_test(t, a_borrower_that_is_fenced_again_holds_nothing_up);
    tcase_add_test(t, a_lender_that_does_not_answer_says_nothing_of_what_it_lends);
    tcase_add_test(t, quarantine_ends_when_the_borrower_says_that_nothing_is_online);
    tcase_add_test(t, what_was_half_made_in_the_backup_is_taken_back);
    tcase_add_test(t, what_a_silent_borrower_may_use_is_kept);
    tcase_add_test(t, a_donors_port_stays_in_reset_until_its_lender_says_what_it_holds);
    tcase_add_test(t, memory_in_use_is_not_lost_with_a_boot_of_its_donor_that_never_lent_it);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
