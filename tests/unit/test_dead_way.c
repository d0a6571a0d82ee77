/* links: memlane-core memlane-sim */
/* A detach over a way that does not answer: the kernel would read dead memory, and the server would be down. */
#include "sim_rack.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define BORROWER 0
#define DONOR 1
#define MANAGER 4

static struct sim s;
static unsigned holds; /* events that say so */

static void note(struct model *m)
{
    for (size_t i = 0; i < m->n_events; i++)
        holds += !strcmp(m->events[i].type, "attachment.step") && !strcmp(m->events[i].from, "hold");
}

static void setup(void)
{
    sim_star(&s, 4);
    s.nodes[MANAGER].tells_signals = true;
    sim_settle(&s);
    holds = 0;
    sim_on_commit = note;
}

static void teardown(void)
{
    sim_on_commit = NULL;
    sim_done(&s);
}

static uint32_t attached(void)
{
    uint32_t a = sim_attach(&s, BORROWER, GIB, "n2");
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(model_attachment(s.m, a)->state, ATT_ATTACHED);
    return a;
}

static const struct attachment *look(uint32_t a)
{
    return model_attachment(s.m, a);
}

/* All blocks stay online, whoever reports how often; 'why' is in the reason. */
static void expect_held(uint32_t a, const char *why)
{
    sim_settle(&s);
    ck_assert_int_eq(look(a)->state, ATT_DETACHING);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 4);
    ck_assert_msg(strstr(look(a)->reason, why), "the reason is: %s", look(a)->reason);
    ck_assert_ptr_nonnull(strstr(look(a)->reason, "not taken offline, which would read it"));
    ck_assert_uint_eq(holds, 1);
}

static void expect_detached(uint32_t a)
{
    sim_settle(&s);
    ck_assert_msg(!look(a), "%s step %d undoing %d held %d: %s", attachment_state_names[look(a)->state], look(a)->step,
                  look(a)->undoing, look(a)->held_by != 0, look(a)->reason);
    sim_expect_nothing(&s);
}

/* Detached while the donor's adapter does not answer. */
static uint32_t held(void)
{
    uint32_t a = attached();
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    sim_detach(&s, a);
    expect_held(a, "adapter n2/afu1: no answer");
    return a;
}

START_TEST(an_adapter_of_the_donor_that_does_not_answer)
{
    uint32_t a = held();
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

START_TEST(a_cable_without_signal)
{
    uint32_t a = attached();
    const struct circuit *c = model_circuit(s.m, look(a)->circuit);
    char why[64];
    s.nodes[MANAGER].dark_port = model_port(s.m, c->legs[0].ports[1])->number;
    snprintf(why, sizeof why, "port ocs1/%u has no signal", s.nodes[MANAGER].dark_port);
    sim_agent(&s, MANAGER, true);
    sim_detach(&s, a);
    expect_held(a, why);
    s.nodes[MANAGER].dark_port = 0;
    expect_detached(a);
}
END_TEST

START_TEST(a_link_that_an_operator_takes_out_of_use_carries_on)
{
    uint32_t a = attached();
    uint32_t link = model_port(s.m, model_circuit(s.m, look(a)->circuit)->legs[0].ports[0])->link;
    sim_begin(&s);
    model_set_link_down(s.m, link, true);
    sim_commit(&s);
    sim_detach(&s, a);
    expect_detached(a);
    ck_assert_uint_eq(holds, 0);
}
END_TEST

START_TEST(a_way_that_dies_under_the_order)
{
    uint32_t a = attached();
    sim_detach(&s, a);
    ck_assert_int_eq(look(a)->undoing, STEP_ONLINE); /* published, not fetched yet */
    unsigned attempt = look(a)->attempt;
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    expect_held(a, "adapter n2/afu1");
    ck_assert_uint_gt(look(a)->attempt, attempt);
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

/* After a restart it is not known what of it is online, and the borrower will read the order when it comes back. */
START_TEST(a_way_that_dies_after_a_restart_while_the_borrower_is_silent)
{
    uint32_t a = attached();
    sim_detach(&s, a);
    ck_assert_int_eq(look(a)->undoing, STEP_ONLINE); /* published, not fetched yet */
    sim_begin(&s);
    lifecycle_start(s.m);
    sim_commit(&s);
    s.nodes[DONOR].memory_error = "no answer";
    for (size_t i = 0; i < s.n_nodes; i++) {
        if (i != BORROWER) {
            sim_register(&s, i);
            sim_agent(&s, i, true);
        }
    }
    ck_assert_int_gt(look(a)->undoing, STEP_ONLINE); /* withdrawn */
    sim_register(&s, BORROWER);
    expect_held(a, "adapter n2/afu1");
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

/* The reason is what is so now; an event comes for each part of the way only. */
START_TEST(an_adapter_that_says_something_else_each_time)
{
    uint32_t a = held();
    s.nodes[DONOR].memory_error = "register 0x8 reads 0xffff";
    sim_agent(&s, DONOR, true);
    expect_held(a, "adapter n2/afu1: register 0x8");
    s.nodes[DONOR].memory_error = "register 0x10 reads 0xffff";
    sim_agent(&s, DONOR, true);
    expect_held(a, "adapter n2/afu1: register 0x10");
    s.nodes[MANAGER].dark_port = model_port(s.m, model_circuit(s.m, look(a)->circuit)->legs[0].ports[1])->number;
    sim_agent(&s, MANAGER, true);
    s.nodes[DONOR].memory_error = NULL;
    sim_settle(&s);
    ck_assert_uint_eq(holds, 2);
    ck_assert_ptr_nonnull(strstr(look(a)->reason, "has no signal"));
    s.nodes[MANAGER].dark_port = 0;
    expect_detached(a);
}
END_TEST

/* Part of it was taken offline, and the rest refused. */
static uint32_t half_detached(void)
{
    uint32_t a = attached();
    s.nodes[BORROWER].refuse_offline = true;
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(look(a)->state, ATT_STUCK);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 3);
    return a;
}

/* Steps until the attach is about to be, or is, brought online. */
static uint32_t attach_until(enum step step)
{
    uint32_t a = sim_attach(&s, BORROWER, GIB, "n2");
    for (int i = 0; i < 100 && look(a)->step < step; i++)
        sim_agent(&s, (size_t)i % s.n_nodes, true);
    ck_assert_int_eq(look(a)->step, step);
    return a;
}

/* It was told to bring them online, and did; it has not said so yet, nor heard that they are to go. */
START_TEST(a_way_that_dies_before_the_borrower_says_that_blocks_came_online)
{
    uint32_t a = attach_until(STEP_ONLINE);
    sim_agent(&s, BORROWER, false);
    sim_detach(&s, a);
    ck_assert_int_eq(look(a)->undoing, STEP_ONLINE); /* published, not fetched yet */
    ck_assert_uint_eq(look(a)->blocks_online, 0);
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    ck_assert_int_gt(look(a)->undoing, STEP_ONLINE); /* withdrawn */
    expect_held(a, "adapter n2/afu1");
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

START_TEST(an_attach_waits_with_bringing_memory_online)
{
    uint32_t a = attach_until(STEP_MAP);
    s.nodes[MANAGER].dark_port = model_port(s.m, model_circuit(s.m, look(a)->circuit)->legs[0].ports[1])->number;
    sim_agent(&s, MANAGER, true);
    sim_settle(&s);
    ck_assert_int_eq(look(a)->step, STEP_MAP);
    s.nodes[MANAGER].dark_port = 0;
    sim_settle(&s);
    ck_assert_int_eq(look(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(an_attach_that_waits_for_long_says_for_what)
{
    uint32_t a = attach_until(STEP_MAP);
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    sim_settle(&s);
    sim_pass(&s, 121000);
    ck_assert_int_eq(look(a)->goal, GOAL_ABSENT);
    ck_assert_msg(strstr(look(a)->reason, "no progress at step map") &&
                      strstr(look(a)->reason, "adapter n2/afu1: no answer"),
                  "%s", look(a)->reason);
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

START_TEST(no_more_blocks_come_online_over_a_way_that_died)
{
    s.nodes[BORROWER].slow_online = true;
    uint32_t a = attach_until(STEP_ONLINE);
    sim_agent(&s, BORROWER, true);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 1);
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    for (int i = 0; i < 5; i++)
        sim_settle(&s);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 1);
    ck_assert_ptr_nonnull(strstr(look(a)->reason, "adapter n2/afu1: no answer"));
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

START_TEST(a_detach_is_not_given_up_when_blocks_would_come_online_over_a_dead_way)
{
    struct err e = { 0 };
    uint32_t a = half_detached();
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_cancel(s.m, a, &e), -1);
    sim_commit(&s);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "adapter n2/afu1: no answer"));
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 3);
    s.nodes[BORROWER].refuse_offline = false;
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

/* An agent that does not know its adapter any more, or cannot read it: the blocks are online all the same. */
START_TEST(memory_that_its_agent_does_not_name_is_not_lost)
{
    uint32_t a = attached();
    s.nodes[BORROWER].names_nothing = true;
    for (int i = 0; i < 3; i++)
        sim_agent(&s, BORROWER, true);
    ck_assert_int_eq(look(a)->state, ATT_ATTACHED);
    sim_detach(&s, a);
    sim_agent(&s, BORROWER, false);
    s.nodes[BORROWER].names_nothing = false;
    expect_detached(a);
}
END_TEST

/* Half of it was taken offline, and the rest refused, when the way died. */
START_TEST(a_way_that_dies_under_a_stuck_one)
{
    uint32_t a = half_detached();
    s.nodes[DONOR].memory_error = "no answer";
    s.nodes[BORROWER].refuse_offline = false;
    sim_agent(&s, DONOR, true);
    for (int i = 0; i < 20; i++) { /* it is not retried by the clock either */
        sim_pass(&s, 60000);
        sim_settle(&s);
    }
    ck_assert_int_eq(look(a)->state, ATT_STUCK);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 3);
    ck_assert_ptr_nonnull(strstr(look(a)->reason, "adapter n2/afu1"));
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

START_TEST(an_operator_cannot_insist_on_a_way_that_is_dead)
{
    struct err e = { 0 };
    uint32_t a = held();
    sim_pass(&s, 119000);
    sim_settle(&s);
    ck_assert_int_eq(look(a)->state, ATT_DETACHING);
    sim_pass(&s, 2000);
    ck_assert_int_eq(look(a)->state, ATT_STUCK);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_retry(s.m, a, &e), -1);
    sim_commit(&s);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "adapter n2/afu1: no answer"));
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 4);
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

/* What is only feared: held, stuck in the end, and taken offline when an operator says so. */
static void insist(uint32_t a, const char *why)
{
    struct err e = { 0 };
    expect_held(a, why);
    for (int i = 0; i < 13; i++) {
        sim_pass(&s, 10000);
        sim_settle(&s);
    }
    ck_assert_int_eq(look(a)->state, ATT_STUCK);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 4);
    sim_begin(&s);
    ck_assert_msg(lifecycle_retry(s.m, a, &e) == 0, "%s", e.detail);
    sim_commit(&s);
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[BORROWER].n_segments ? s.nodes[BORROWER].segments[0].online : 0, 0);
}

START_TEST(a_donor_that_is_silent)
{
    uint32_t a = attached();
    s.nodes[DONOR].alive = false;
    sim_pass(&s, 11000);
    sim_detach(&s, a);
    insist(a, "node n2 does not report");
    ck_assert_int_eq(look(a)->state, ATT_DETACHING);
    s.nodes[DONOR].alive = true;
    expect_detached(a);
}
END_TEST

START_TEST(a_donor_that_comes_back)
{
    uint32_t a = attached();
    s.nodes[DONOR].alive = false;
    sim_pass(&s, 11000);
    sim_detach(&s, a);
    expect_held(a, "node n2 does not report");
    s.nodes[DONOR].alive = true;
    expect_detached(a);
}
END_TEST

START_TEST(an_error_that_was_captured)
{
    for (size_t k = 0; k < 2; k++) {
        uint32_t a = attached();
        holds = 0;
        s.nodes[k].captured[k] = 0x40;
        sim_agent(&s, k, true);
        sim_detach(&s, a);
        insist(a, k ? "adapter n2/afu1 captured error 0x40" : "adapter n1/afu0 captured error 0x40");
        s.nodes[k].captured[k] = 0;
        expect_detached(a);
    }
}
END_TEST

static uint32_t given_up(void)
{
    struct err e = { 0 };
    uint32_t a = held();
    sim_begin(&s);
    ck_assert_msg(lifecycle_cancel(s.m, a, &e) == 0, "%s", e.detail);
    sim_commit(&s);
    return a;
}

START_TEST(a_detach_that_is_held_can_be_given_up)
{
    uint32_t a = given_up();
    s.nodes[DONOR].memory_error = NULL;
    sim_settle(&s);
    ck_assert_int_eq(look(a)->state, ATT_ATTACHED);
    ck_assert_str_eq(look(a)->reason, "");
    sim_detach(&s, a);
    expect_detached(a);
}
END_TEST

static void expect_kept(uint32_t a)
{
    ck_assert_int_eq(look(a)->state, ATT_PENDING);
    ck_assert_int_eq(look(a)->goal, GOAL_PRESENT);
    s.nodes[DONOR].memory_error = NULL;
    sim_settle(&s);
    ck_assert_int_eq(look(a)->state, ATT_ATTACHED);
    sim_detach(&s, a);
    expect_detached(a);
}

/* What is given up is wanted again, whoever reports first that the way is still dead. */
START_TEST(a_detach_that_was_given_up_stays_so_until_its_borrower_reports)
{
    uint32_t a = given_up();
    sim_agent(&s, DONOR, true);
    sim_agent(&s, MANAGER, true);
    expect_kept(a);
}
END_TEST

START_TEST(a_detach_that_was_given_up_stays_so_while_its_borrower_is_silent)
{
    uint32_t a = given_up();
    sim_settle(&s);
    for (int i = 0; i < 30; i++) {
        sim_pass(&s, 1000);
        for (size_t k = 0; k < s.n_nodes; k++)
            sim_agent(&s, k, k != BORROWER);
    }
    ck_assert_int_eq(model_node(s.m, model_find_node(s.m, "n1"))->state, NODE_UNREACHABLE);
    expect_kept(a);
}
END_TEST

START_TEST(what_is_not_online_is_undone_over_any_way)
{
    s.nodes[BORROWER].refuse_online = true;
    uint32_t a = sim_attach(&s, BORROWER, GIB, "n2");
    for (int i = 0; i < 100 && look(a)->step < STEP_ONLINE; i++)
        sim_agent(&s, (size_t)i % s.n_nodes, true);
    ck_assert_int_eq(look(a)->step, STEP_ONLINE);
    s.nodes[MANAGER].dark_port = model_port(s.m, model_circuit(s.m, look(a)->circuit)->legs[0].ports[1])->number;
    sim_agent(&s, MANAGER, true);
    expect_detached(a);
}
END_TEST

/* Why it failed stays its reason while its undo waits. */
START_TEST(an_attach_that_fails_over_a_dead_way)
{
    uint32_t a = sim_attach(&s, BORROWER, GIB, "n2");
    for (int i = 0; i < 100 && !s.nodes[BORROWER].n_segments; i++)
        sim_agent(&s, (size_t)i % s.n_nodes, i % 5 != BORROWER || look(a)->step < STEP_ONLINE);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 4);
    s.nodes[DONOR].memory_error = "no answer";
    sim_agent(&s, DONOR, true);
    sim_settle(&s);
    ck_assert_int_eq(look(a)->goal, GOAL_ABSENT);
    ck_assert_uint_eq(s.nodes[BORROWER].segments[0].online, 4);
    ck_assert_msg(strstr(look(a)->reason, "not brought online, which would touch it: adapter n2/afu1"), "%s",
                  look(a)->reason);
    ck_assert_uint_eq(holds, 1);
    s.nodes[DONOR].memory_error = NULL;
    expect_detached(a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dead_way");
    TCase *t = tcase_create("dead_way");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_adapter_of_the_donor_that_does_not_answer);
    tcase_add_test(t, a_cable_without_signal);
    tcase_add_test(t, a_link_that_an_operator_takes_out_of_use_carries_on);
    tcase_add_test(t, a_way_that_dies_under_the_order);
    tcase_add_test(t, a_way_that_dies_after_a_restart_while_the_borrower_is_silent);
    tcase_add_test(t, a_way_that_dies_before_the_borrower_says_that_blocks_came_online);
    tcase_add_test(t, an_adapter_that_says_something_else_each_time);
    tcase_add_test(t, an_attach_waits_with_bringing_memory_online);
    tcase_add_test(t, an_attach_that_waits_for_long_says_for_what);
    tcase_add_test(t, no_more_blocks_come_online_over_a_way_that_died);
    tcase_add_test(t, a_detach_is_not_given_up_when_blocks_would_come_online_over_a_dead_way);
    tcase_add_test(t, memory_that_its_agent_does_not_name_is_not_lost);
    tcase_add_test(t, a_way_that_dies_under_a_stuck_one);
    tcase_add_test(t, an_operator_cannot_insist_on_a_way_that_is_dead);
    tcase_add_test(t, a_donor_that_is_silent);
    tcase_add_test(t, a_donor_that_comes_back);
    tcase_add_test(t, an_error_that_was_captured);
    tcase_add_test(t, a_detach_that_is_held_can_be_given_up);
    tcase_add_test(t, a_detach_that_was_given_up_stays_so_until_its_borrower_reports);
    tcase_add_test(t, a_detach_that_was_given_up_stays_so_while_its_borrower_is_silent);
    tcase_add_test(t, what_is_not_online_is_undone_over_any_way);
    tcase_add_test(t, an_attach_that_fails_over_a_dead_way);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
