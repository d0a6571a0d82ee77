/* links: memlane-core memlane-sim */
/* The life cycle against simulated agents: what an attach and a detach do, and that no order of events, no loss of a
 * report, no reboot makes it release memory that can still be reached. */
#include "sim_rack.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB4 (UINT64_C(4) << 30)

static const struct attachment *at(struct sim *s, uint32_t i)
{
    return model_attachment(s->m, i);
}

START_TEST(attach_goes_through_all_steps_and_detach_leaves_nothing)
{
    struct sim s;
    sim_star(&s, 3);
    uint32_t a = sim_attach(&s, 0, GIB4, NULL);
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_ATTACHED);
    ck_assert_uint_eq(at(&s, a)->blocks_online, 16);
    ck_assert_int_eq(model_circuit(s.m, at(&s, a)->circuit)->state, CIRCUIT_UP);
    sim_detach(&s, a);
    ck_assert_int_eq(at(&s, a)->state, ATT_DETACHING);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

/* Each report that an undo waits for is a commit and a way to an agent and back: four of them, and no more. */
START_TEST(a_detach_waits_for_four_reports)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    sim_detach(&s, a);
    uint32_t circuit = at(&s, a)->circuit;
    sim_agent(&s, 0, true); /* blocks offline */
    ck_assert_int_eq(at(&s, a)->undoing, STEP_MAP);
    ck_assert_int_eq(model_circuit(s.m, circuit)->phase, PHASE_LEAVE_COMPUTE);
    sim_agent(&s, 0, true); /* section parked, channel in reset */
    ck_assert_int_eq(at(&s, a)->undoing, STEP_LEND);
    ck_assert_int_eq(model_circuit(s.m, circuit)->phase, PHASE_LEAVE_MEMORY);
    sim_agent(&s, 1, true); /* channel in reset, buffer released */
    ck_assert_int_eq(at(&s, a)->state, ATT_DETACHING);
    ck_assert_int_eq(model_circuit(s.m, circuit)->phase, PHASE_CLEAR);
    sim_agent(&s, 2, true); /* cross-connects cleared */
    ck_assert_ptr_null(at(&s, a));
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(a_restart_before_the_circuit_is_open_does_not_make_it_so)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_agent(&s, 1, true); /* the buffer is there: the section is published, the cross-connects are not yet observed */
    ck_assert_int_eq(at(&s, a)->step, STEP_MAP);
    sim_begin(&s);
    lifecycle_start(s.m);
    sim_commit(&s);
    ck_assert_int_eq(model_circuit(s.m, at(&s, a)->circuit)->state, CIRCUIT_CONNECTING);
    for (size_t i = 0; i < s.n_nodes; i++)
        sim_register(&s, i);
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_ATTACHED);
    sim_done(&s);
}
END_TEST

START_TEST(a_circuit_and_section_stay_while_another_uses_them)
{
    struct sim s;
    sim_star(&s, 3);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2"), b = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    ck_assert_uint_eq(at(&s, a)->circuit, at(&s, b)->circuit);
    ck_assert_uint_eq(at(&s, b)->offset_bytes, GIB4);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_ptr_null(at(&s, a));
    ck_assert_int_eq(at(&s, b)->state, ATT_ATTACHED);
    ck_assert(!wire_section_is_parked(s.nodes[0].registers[0], 0));
    sim_detach(&s, b);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(failed_lend_ends_failed_and_holds_nothing)
{
    struct sim s;
    sim_star(&s, 2);
    s.nodes[1].fail_lend = true;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    ck_assert_ptr_null(at(&s, a));
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(failed_online_undoes_from_the_failing_step)
{
    struct sim s;
    sim_star(&s, 2);
    s.nodes[0].fail_online = true;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    for (int i = 0; i < 100 && at(&s, a)->goal == GOAL_PRESENT; i++)
        sim_agent(&s, (size_t)i % s.n_nodes, true);
    ck_assert_int_eq(at(&s, a)->ending, ATT_FAILED);
    ck_assert(!at(&s, a)->segment_seen); /* it never was all there */
    ck_assert_uint_eq(at(&s, a)->blocks_online, 8);
    ck_assert_int_eq(at(&s, a)->undoing, STEP_ONLINE);
    ck_assert(!wire_section_is_parked(s.nodes[0].registers[0], 0));
    sim_settle(&s); /* what an agent must not be told over blocks that are online fails here */
    ck_assert_ptr_null(at(&s, a));
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

/* ---- a circuit is up when a touch got through it ------------------------------------------------------------------
 */
static char circuit_told[256]; /* where the circuit's state went, in order */

static void note_circuit_events(struct model *m)
{
    size_t used = strlen(circuit_told);
    for (size_t i = 0; i < m->n_events; i++)
        if (!strcmp(m->events[i].type, "circuit.state"))
            used += (size_t)snprintf(circuit_told + used, sizeof circuit_told - used, "%s>%s ", m->events[i].from,
                                     m->events[i].to);
    ck_assert_uint_lt(used, sizeof circuit_told);
}

static void expect_circuit(struct sim *s, uint32_t a, enum circuit_state state, const char *told)
{
    ck_assert_int_eq(at(s, a)->state, ATT_ATTACHED);
    ck_assert_str_eq(circuit_state_names[model_circuit(s->m, at(s, a)->circuit)->state], circuit_state_names[state]);
    ck_assert_str_eq(circuit_told, told);
    circuit_told[0] = '\0';
}

START_TEST(a_circuit_is_unverified_until_a_touch_gets_through_it)
{
    struct sim s;
    sim_star(&s, 2);
    sim_on_commit = note_circuit_events;
    s.nodes[0].touches_not = true;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2"), b, c;
    sim_settle(&s);
    expect_circuit(&s, a, CIRCUIT_UNVERIFIED, "planned>connecting connecting>unverified ");
    b = sim_attach(&s, 0, GIB4, "n2"); /* nor does this one's touch */
    sim_settle(&s);
    expect_circuit(&s, b, CIRCUIT_UNVERIFIED, "");
    sim_begin(&s);
    lifecycle_start(s.m); /* nor does a restart make it so */
    sim_commit(&s);
    expect_circuit(&s, b, CIRCUIT_UNVERIFIED, "");
    for (size_t i = 0; i < s.n_nodes; i++)
        sim_register(&s, i);
    sim_settle(&s);
    expect_circuit(&s, b, CIRCUIT_UNVERIFIED, "");
    s.nodes[0].touches_not = false;
    c = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    ck_assert_uint_eq(at(&s, c)->circuit, at(&s, a)->circuit);
    expect_circuit(&s, c, CIRCUIT_UP, "unverified>up ");
    sim_detach(&s, a);
    sim_detach(&s, b);
    sim_detach(&s, c);
    sim_settle(&s);
    circuit_told[0] = '\0';
    s.nodes[0].touches_not = true; /* one that was closed has to be seen again */
    a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    expect_circuit(&s, a, CIRCUIT_UNVERIFIED, "planned>connecting connecting>unverified ");
    sim_on_commit = NULL;
    sim_done(&s);
}
END_TEST

START_TEST(blocks_that_refuse_make_it_stuck_and_the_donor_keeps_the_buffer)
{
    struct sim s;
    struct err e;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    s.nodes[0].refuse_offline = true;
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_STUCK);
    ck_assert_str_eq(at(&s, a)->reason, "block refuses");
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    s.nodes[0].refuse_offline = false;
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_STUCK); /* once per attempt */
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_retry(s.m, a, &e), 0);
    sim_commit(&s);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(stuck_is_retried_by_itself_after_a_while)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    s.nodes[0].refuse_offline = true;
    sim_detach(&s, a);
    sim_settle(&s);
    s.nodes[0].refuse_offline = false;
    sim_pass(&s, 6000);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(cancel_of_a_stuck_detach_brings_every_block_back)
{
    struct sim s;
    struct err e;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    s.nodes[0].refuse_offline = true;
    sim_detach(&s, a);
    sim_settle(&s);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_cancel(s.m, a, &e), 0);
    sim_commit(&s);
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_ATTACHED);
    ck_assert_uint_eq(s.nodes[0].segments[0].online, 16);
    sim_done(&s);
}
END_TEST

START_TEST(cancel_is_too_late_once_the_parking_is_published)
{
    struct sim s;
    struct err e;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    sim_detach(&s, a);
    sim_agent(&s, 0, true);
    ck_assert_int_eq(at(&s, a)->undoing, STEP_MAP);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_cancel(s.m, a, &e), -1);
    ck_assert_int_eq(e.code, ERR_TOO_LATE);
    sim_commit(&s);
    sim_done(&s);
}
END_TEST

START_TEST(nothing_is_released_while_the_compute_node_is_silent)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    s.nodes[0].alive = false;
    sim_detach(&s, a);
    for (int i = 0; i < 20; i++) {
        sim_pass(&s, 60000);
        sim_settle(&s);
    }
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    ck_assert_int_eq(at(&s, a)->state, ATT_STUCK);
    s.nodes[0].alive = true;
    sim_settle(&s);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(reboot_of_the_compute_node_loses_the_attachment_and_frees_the_donor)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    sim_reboot(&s, 0);
    ck_assert_int_eq(at(&s, a)->state, ATT_LOST);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    sim_agent(&s, 0, true);
    ck_assert(wire_section_is_parked(s.nodes[0].registers[0], 0)); /* never mapped again in the new boot */
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(loss_of_the_donor_quarantines_until_the_borrower_rebooted)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    sim_reboot(&s, 1);
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_LOST);
    ck_assert(at(&s, a)->quarantined);
    ck_assert_uint_eq(s.nodes[0].segments[0].online, 16); /* not touched */
    ck_assert_uint_eq(s.nodes[1].channels[1], 0);         /* the donor's port stays in reset */
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[0].segments[0].online, 16);
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(death_of_the_lender_is_noticed)
{
    struct sim s;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_LOST);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 0); /* never made again */
    sim_done(&s);
}
END_TEST

START_TEST(fencing_frees_what_a_dead_borrower_held_and_refuses_that_boot)
{
    struct sim s;
    struct err e;
    sim_star(&s, 2);
    uint32_t a = sim_attach(&s, 0, GIB4, "n2"), node = model_find_node(s.m, "n1");
    sim_settle(&s);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_fence(s.m, node, "boot-1", &e), -1); /* it still reports */
    sim_commit(&s);
    s.nodes[0].alive = false;
    s.nodes[0].n_segments = 0; /* it really is off */
    sim_pass(&s, 20000);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_fence(s.m, node, "boot-7", &e), -1);
    ck_assert_int_eq(lifecycle_fence(s.m, node, "boot-1", &e), 0);
    sim_commit(&s);
    ck_assert_int_eq(at(&s, a)->state, ATT_LOST);
    memset(s.nodes[0].registers, 0, sizeof s.nodes[0].registers);
    sim_settle(&s);
    ck_assert_ptr_null(at(&s, a));
    ck_assert_uint_eq(s.nodes[1].n_buffers, 0);
    struct wire_registration r = { .name = "n1",
                                   .machine_id = "machine-n1",
                                   .boot_id = "boot-1",
                                   .protocol_min = 1,
                                   .protocol_max = 1,
                                   .block_bytes = SIM_BLOCK };
    uint32_t out;
    sim_begin(&s);
    ck_assert_int_eq(observed_register(s.m, &r, "again", &out, &e), -1);
    ck_assert_int_eq(e.code, ERR_FORBIDDEN);
    model_rollback(s.m);
    sim_commit(&s);
    s.nodes[0].alive = true;
    sim_reboot(&s, 0);
    sim_settle(&s);
    ck_assert_int_eq(model_node(s.m, node)->state, NODE_READY);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(a_lend_takes_as_long_as_the_donor_commits_memory)
{
    struct sim s;
    sim_star(&s, 2);
    sim_settle(&s);
    s.nodes[1].commits = true;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    for (int i = 0; i < 60; i++) { /* 300 s */
        s.nodes[1].committing_bytes += 1 << 20;
        sim_settle(&s);
        sim_pass(&s, 5000);
    }
    ck_assert_ptr_nonnull(at(&s, a));
    ck_assert_int_eq(at(&s, a)->goal, GOAL_PRESENT);
    for (int i = 0; i < 26; i++) { /* then nothing moves any more */
        sim_settle(&s);
        sim_pass(&s, 5000);
    }
    ck_assert_ptr_null(at(&s, a)); /* failed, and undone */
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

START_TEST(an_attach_without_progress_ends_failed)
{
    struct sim s;
    sim_star(&s, 2);
    s.nodes[1].alive = false;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_pass(&s, 1000);
    ck_assert_int_eq(at(&s, a)->goal, GOAL_PRESENT);
    for (int i = 0; i < 13; i++) {
        sim_settle(&s);
        sim_pass(&s, 10000);
    }
    ck_assert_int_eq(at(&s, a)->goal, GOAL_ABSENT);
    s.nodes[1].alive = true;
    sim_settle(&s);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}
END_TEST

/* A few short ones; tests/model/run is the place for many.  Random requests, agents in random order, lost reports,
 * reboots, refusing blocks; then peace: everything comes to its end. */
static void random_story(unsigned seed, int steps, bool faults)
{
    struct sim s;
    srand(seed);
    sim_star(&s, 6);
    for (int i = 0; i < steps; i++) {
        size_t node = (size_t)rand() % s.n_nodes;
        uint32_t n = model_count(s.m, MODEL_ATTACHMENT);
        switch (rand() % 16) {
        case 0:
        case 1:
            if (node < 6)
                sim_attach(&s, node, (uint64_t)(1 + rand() % 16) << 28, NULL);
            break;
        case 2:
        case 3: {
            uint32_t a = n ? (uint32_t)rand() % n : NONE;
            if (at(&s, a))
                sim_detach(&s, a);
            break;
        }
        case 4:
            if (faults)
                s.nodes[node].refuse_offline = rand() % 2;
            break;
        case 5:
            if (faults && rand() % 8 == 0)
                sim_reboot(&s, node);
            break;
        case 6:
            if (faults)
                s.nodes[node].alive = rand() % 4 != 0;
            break;
        case 7:
            if (faults)
                s.nodes[node].fail_online = rand() % 3 == 0;
            break;
        case 8:
            if (faults)
                s.nodes[node].fail_lend = rand() % 3 == 0;
            break;
        case 9:
            sim_pass(&s, rand() % 8000);
            break;
        default:
            sim_agent(&s, node, !faults || rand() % 8 != 0);
        }
    }
    for (size_t i = 0; i < s.n_nodes; i++) {
        struct sim_node *n = &s.nodes[i];
        n->alive = true;
        n->refuse_offline = n->fail_online = n->fail_lend = false;
    }
    for (int round = 0; round < 30; round++) {
        sim_settle(&s);
        sim_pass(&s, 1000);
        for (uint32_t i = 0; i < model_count(s.m, MODEL_ATTACHMENT); i++)
            if (at(&s, i))
                sim_detach(&s, i);
        if (round % 10 == 9)
            sim_pass(&s, 400000);
    }
    for (size_t i = 0; faults && i < s.n_nodes; i++)
        sim_reboot(&s, i); /* ends quarantines */
    sim_settle(&s);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_expect_nothing(&s);
    sim_done(&s);
}

START_TEST(random_stories_without_faults_end_with_nothing_left)
{
    random_story((unsigned)_i + 1, 1500, false);
}
END_TEST

START_TEST(random_stories_with_faults_never_release_reachable_memory)
{
    random_story((unsigned)_i + 100, 1500, true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lifecycle");
    TCase *one = tcase_create("stories"), *many = tcase_create("random");
    tcase_set_timeout(one, 60);
    tcase_set_timeout(many, 120);
    tcase_add_test(one, attach_goes_through_all_steps_and_detach_leaves_nothing);
    tcase_add_test(one, a_detach_waits_for_four_reports);
    tcase_add_test(one, a_restart_before_the_circuit_is_open_does_not_make_it_so);
    tcase_add_test(one, a_circuit_and_section_stay_while_another_uses_them);
    tcase_add_test(one, failed_lend_ends_failed_and_holds_nothing);
    tcase_add_test(one, failed_online_undoes_from_the_failing_step);
    tcase_add_test(one, a_circuit_is_unverified_until_a_touch_gets_through_it);
    tcase_add_test(one, blocks_that_refuse_make_it_stuck_and_the_donor_keeps_the_buffer);
    tcase_add_test(one, stuck_is_retried_by_itself_after_a_while);
    tcase_add_test(one, cancel_of_a_stuck_detach_brings_every_block_back);
    tcase_add_test(one, cancel_is_too_late_once_the_parking_is_published);
    tcase_add_test(one, nothing_is_released_while_the_compute_node_is_silent);
    tcase_add_test(one, reboot_of_the_compute_node_loses_the_attachment_and_frees_the_donor);
    tcase_add_test(one, loss_of_the_donor_quarantines_until_the_borrower_rebooted);
    tcase_add_test(one, death_of_the_lender_is_noticed);
    tcase_add_test(one, fencing_frees_what_a_dead_borrower_held_and_refuses_that_boot);
    tcase_add_test(one, an_attach_without_progress_ends_failed);
    tcase_add_test(one, a_lend_takes_as_long_as_the_donor_commits_memory);
    tcase_add_loop_test(many, random_stories_without_faults_end_with_nothing_left, 0, 2);
    tcase_add_loop_test(many, random_stories_with_faults_never_release_reachable_memory, 0, 4);
    suite_add_tcase(suite, one);
    suite_add_tcase(suite, many);
    return unit_main(suite);
}
