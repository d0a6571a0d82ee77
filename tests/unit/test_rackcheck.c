/* links: memlane-core memlane-sim */
/* What `memlane check` answers of a rack: each thing that must not be is planted, and found with its place; what a
 * silent node would have to say is unknown; and a rack that is in order is told so. */
#include "core/rackcheck.h"
#include "sim_story.h"
#include "unit_main.h"

enum { BORROWER, DONOR, OTHER, MANAGER };
enum { GIVEN_ONCE, LENT, RELEASED, ATTACHED, OWNED };

static void expect(unsigned which, enum check_result result, const char *why)
{
    struct check all[RACKCHECK_N];
    rackcheck(s.m, all);
    const struct check *c = &all[which];
    ck_assert_msg(c->result == result, "%s is %s: %s", c->name, check_result_names[c->result], c->detail);
    ck_assert_msg(strstr(c->detail, why) != NULL, "%s says: %s", c->name, c->detail);
    ck_assert_uint_eq(c->n_objects > 0, result != CHECK_OK);
}

static void expect_all_ok(void)
{
    for (unsigned i = 0; i < RACKCHECK_N; i++)
        expect(i, CHECK_OK, "");
}

static void begin(void)
{
    setup();
    s.nodes[MANAGER].tells_signals = true;
    sim_settle(&s);
}

static unsigned switch_port(uint32_t a, bool donor_end)
{
    const struct leg *l = &model_circuit(s.m, at(a)->circuit)->legs[0];
    return model_port(s.m, l->ports[donor_end ? l->n_ports - 2 : 1])->number;
}

/* ---- 4: attached means that bytes travel --------------------------------------------------------------------------
 */
START_TEST(a_rack_is_in_order_while_it_lends_and_after)
{
    expect_all_ok();
    uint32_t a = attached(BORROWER, "n2"), b = attached(BORROWER, "n2");
    expect_all_ok();
    sim_detach(&s, a);
    sim_settle(&s);
    expect_all_ok();
    sim_detach(&s, b);
    sim_settle(&s);
    expect_all_ok();
}
END_TEST

START_TEST(a_cable_without_signal_under_live_memory)
{
    uint32_t a = attached(BORROWER, "n2");
    for (int end = 0; end < 2; end++) {
        char why[ID_SIZE + 64];
        s.nodes[MANAGER].dark_port = switch_port(a, end);
        sim_settle(&s);
        snprintf(why, sizeof why, "%s: port ocs1/%u has no signal", at(a)->id, s.nodes[MANAGER].dark_port);
        expect(ATTACHED, CHECK_VIOLATED, why);
    }
    s.nodes[MANAGER].dark_port = 0;
    sim_settle(&s);
    expect_all_ok();
    s.nodes[MANAGER].dark_port = 12; /* of nobody's circuit */
    sim_settle(&s);
    expect_all_ok();
}
END_TEST

START_TEST(an_error_that_was_captured_at_either_end)
{
    attached(BORROWER, "n2");
    for (int k = 0; k < 2; k++) {
        s.nodes[k].captured[k] = 0x40;
        sim_settle(&s);
        expect(ATTACHED, CHECK_UNKNOWN,
               k ? "adapter n2/afu1 captured error 0x40" : "adapter n1/afu0 captured error 0x40");
        s.nodes[k].captured[k] = 0;
        sim_settle(&s);
        expect_all_ok();
    }
}
END_TEST

START_TEST(an_adapter_of_the_donor_that_does_not_answer)
{
    attached(BORROWER, "n2");
    s.nodes[DONOR].memory_error = "the lender does not answer";
    sim_settle(&s);
    expect(ATTACHED, CHECK_VIOLATED, "adapter n2/afu1: the lender does not answer");
    expect(OWNED, CHECK_UNKNOWN, "the registers of n2/afu1 are not reported");
    s.nodes[DONOR].memory_error = NULL;
    sim_settle(&s);
    expect_all_ok();
}
END_TEST

START_TEST(a_donor_that_is_lost_under_live_memory_is_no_longer_attached)
{
    uint32_t a = attached(BORROWER, "n2");
    sim_kill_lender(&s, DONOR);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_LOST);
    ck_assert(at(a)->quarantined);
    expect_all_ok(); /* it is known, and said by its state */
}
END_TEST

START_TEST(what_a_silent_node_would_have_to_say_is_unknown)
{
    attached(BORROWER, "n2");
    static const char *const silent[] = { "node n1 does not report", "node n2 does not report", NULL,
                                          "the joins of switch ocs1 are not reported" };
    for (size_t k = 0; k <= MANAGER; k++) {
        if (!silent[k])
            continue;
        s.nodes[k].alive = false;
        sim_pass(&s, 11000);
        for (size_t i = 0; i <= MANAGER; i++)
            sim_agent(&s, i, true);
        expect(ATTACHED, CHECK_UNKNOWN, silent[k]);
        expect(OWNED, CHECK_UNKNOWN, k == MANAGER ? silent[k] : k ? "registers of n2/afu0" : "registers of n1/afu0");
        s.nodes[k].alive = true;
        sim_settle(&s);
        expect_all_ok();
    }
    s.nodes[OTHER].alive = false; /* has nothing to do with it */
    sim_pass(&s, 11000);
    for (size_t i = 0; i <= MANAGER; i++)
        sim_agent(&s, i, true);
    expect(ATTACHED, CHECK_OK, "");
    expect(OWNED, CHECK_UNKNOWN, "the registers of n3/afu0 are not reported");
}
END_TEST

/* ---- 3: nothing is released that can be reached -------------------------------------------------------------------
 */
/* Its release is published and the donor, which is silent, did not report it. */
static void release(uint32_t a)
{
    if (at(a)->goal == GOAL_PRESENT)
        sim_detach(&s, a);
    for (int i = 0; i < 16; i++)
        sim_agent(&s, (size_t)i % 2 * MANAGER, true); /* the borrower and the manager */
    ck_assert(at(a)->release_published && !at(a)->released);
}

static void report_register(uint64_t value)
{
    s.nodes[BORROWER].acts_not = true;
    s.nodes[BORROWER].registers[0] = value;
    sim_agent(&s, BORROWER, true);
}

START_TEST(a_node_that_waits_for_an_operator_was_given_nothing)
{
    const enum enrolment enrolments[] = { ENROLMENT_APPROVED, ENROLMENT_WAITING, ENROLMENT_REFUSED };
    ck_assert_int_eq(sim_claim(&s, "stranger", "machine-9", "boot-9", &e), 0);
    for (unsigned i = 0; i < ARRAY_LEN(enrolments); i++) {
        sim_begin(&s);
        model_edit_node(s.m, row("stranger"))->enrolment = enrolments[i];
        sim_commit(&s);
        expect(OWNED, i ? CHECK_OK : CHECK_UNKNOWN, i ? "" : "the registers of stranger/afu0 are not reported");
    }
}
END_TEST

START_TEST(a_register_that_leads_to_what_was_released)
{
    uint32_t a = attached(BORROWER, "n2");
    uint64_t mapped = s.nodes[BORROWER].registers[0];
    release(a);
    expect(RELEASED, CHECK_OK, "");
    report_register(mapped);
    expect(RELEASED, CHECK_VIOLATED, "section 0 of n1 still leads to ");
    report_register(wire_section_parked(0));
    expect(RELEASED, CHECK_OK, "");
}
END_TEST

START_TEST(a_register_that_another_one_keeps)
{
    uint32_t a = attached(BORROWER, "n2"), b = attached(BORROWER, "n2");
    uint64_t mapped = s.nodes[BORROWER].registers[0];
    ck_assert_uint_eq(at(a)->section, at(b)->section);
    release(a);
    ck_assert_uint_eq(s.nodes[BORROWER].registers[0], mapped);
    expect(RELEASED, CHECK_OK, "");
    s.nodes[BORROWER].acts_not = true;
    sim_detach(&s, b); /* on its way: until it is parked, it keeps the section */
    for (int i = 0; i < 3; i++)
        sim_agent(&s, BORROWER, true);
    expect(RELEASED, CHECK_OK, "");
    s.nodes[BORROWER].acts_not = false;
    release(b);
    expect(RELEASED, CHECK_OK, "");
    report_register(mapped);
    expect(RELEASED, CHECK_VIOLATED, "still leads to ");
}
END_TEST

/* ---- 2: lent and free are what is donated -------------------------------------------------------------------------
 */
START_TEST(numbers_of_a_donor_that_do_not_add_up)
{
    uint32_t a = attached(BORROWER, "n2");
    s.nodes[DONOR].unlocked_bytes = GIB4 / 2;
    sim_settle(&s);
    expect(LENT, CHECK_UNKNOWN, "n2: it holds buffers of 4294967296 bytes and has 2147483648 locked");
    s.nodes[DONOR].unlocked_bytes = 0;
    sim_settle(&s);
    expect_all_ok();
    sim_begin(&s);
    model_touch_node(s.m, row("n2"))->lent_bytes += 1; /* a total of ours that went wrong */
    expect(LENT, CHECK_VIOLATED, "n2: it lends 4294967297 bytes, its attachments are 4294967296");
    model_touch_node(s.m, row("n2"))->lent_bytes -= 1;
    sim_commit(&s);
    struct sim_buffer b = { .id = "x", .peer = "n3", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[DONOR].buffers[s.nodes[DONOR].n_buffers++] = b; /* of nobody: taken all the same */
    sim_settle(&s);
    expect(LENT, CHECK_OK, "");
    s.nodes[DONOR].unlocked_bytes = GIB4;
    sim_settle(&s);
    expect(LENT, CHECK_UNKNOWN, "n2: it holds buffers of 8589934592 bytes and has 4294967296 locked");
    s.nodes[DONOR].unlocked_bytes = GIB4 + GIB4 / 2;
    sim_settle(&s);
    sim_begin(&s);
    model_edit_attachment(s.m, a)->now_buffer = false; /* which hides nothing that is known */
    expect(LENT, CHECK_VIOLATED, "n2 should hold buffers of 4294967296 bytes and reports 0");
    model_edit_attachment(s.m, a)->now_buffer = true;
    sim_commit(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rackcheck");
    TCase *t = tcase_create("rackcheck");
    tcase_add_checked_fixture(t, begin, teardown);
    tcase_add_test(t, a_rack_is_in_order_while_it_lends_and_after);
    tcase_add_test(t, a_cable_without_signal_under_live_memory);
    tcase_add_test(t, an_error_that_was_captured_at_either_end);
    tcase_add_test(t, an_adapter_of_the_donor_that_does_not_answer);
    tcase_add_test(t, a_donor_that_is_lost_under_live_memory_is_no_longer_attached);
    tcase_add_test(t, what_a_silent_node_would_have_to_say_is_unknown);
    tcase_add_test(t, a_node_that_waits_for_an_operator_was_given_nothing);
    tcase_add_test(t, a_register_that_leads_to_what_was_released);
    tcase_add_test(t, a_register_that_another_one_keeps);
    tcase_add_test(t, numbers_of_a_donor_that_do_not_add_up);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
