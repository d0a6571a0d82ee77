/* links: memlane-core memlane-sim */
/* Adapters in error, and lenders that died: whose memory that is, said once each. */
#include "sim_rack.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)

static struct sim s;
static struct model_event told[64];
static size_t n_told;

/* Keeps the events of the types that are the matter here. */
static void note(struct model *m)
{
    for (size_t i = 0; i < m->n_events && n_told < 64; i++)
        if (!strcmp(m->events[i].type, "adapter.state") || !strcmp(m->events[i].type, "lender.lost") ||
            !strcmp(m->events[i].type, "circuit.danger"))
            told[n_told++] = m->events[i];
}

static void setup(void)
{
    sim_star(&s, 4);
    sim_settle(&s);
    n_told = 0;
    sim_on_commit = note;
}

static void teardown(void)
{
    sim_on_commit = NULL;
    sim_done(&s);
}

static uint32_t attached(size_t node)
{
    uint32_t a = sim_attach(&s, node, GIB, "n2");
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(model_attachment(s.m, a)->state, ATT_ATTACHED);
    return a;
}

static bool in_danger(uint32_t a)
{
    return model_circuit_in_danger(s.m, model_circuit(s.m, model_attachment(s.m, a)->circuit));
}

static void expect(size_t i, const char *type, const char *object, const char *to, const char *reason)
{
    ck_assert_uint_lt(i, n_told);
    ck_assert_str_eq(told[i].type, type);
    if (object)
        ck_assert_str_eq(told[i].object, object);
    ck_assert_str_eq(told[i].to, to);
    ck_assert_str_eq(told[i].reason, reason);
}

START_TEST(an_adapter_in_error_endangers_every_circuit_over_it)
{
    char both[WIRE_TEXT], one[WIRE_TEXT];
    uint32_t a = attached(0), b = attached(2);
    const char *x = model_attachment(s.m, a)->id, *y = model_attachment(s.m, b)->id;
    ck_assert(!in_danger(a) && !in_danger(b));
    s.nodes[1].memory_error = "no answer";
    sim_agent(&s, 1, true);
    ck_assert(in_danger(a) && in_danger(b));
    sim_agent(&s, 1, true); /* it is said once */
    ck_assert_uint_eq(n_told, 3);
    snprintf(both, sizeof both, "no answer; n1 borrows over it: %s n3 borrows over it: %s", x, y);
    expect(0, "adapter.state", "adapter/n2/afu1", "error", both);
    snprintf(one, sizeof one, "adapter n2/afu1: n1 borrows over it: %s", x);
    expect(1, "circuit.danger", NULL, "in_danger", one);
    s.nodes[1].memory_error = NULL;
    sim_agent(&s, 1, true);
    ck_assert(!in_danger(a) && !in_danger(b));
    ck_assert_uint_eq(n_told, 6);
    expect(3, "adapter.state", "adapter/n2/afu1", "ok", "");
    expect(4, "circuit.danger", NULL, "safe", one);
}
END_TEST

START_TEST(a_link_down_over_an_adapter_in_error_is_one_danger)
{
    uint32_t a = attached(0);
    const struct circuit *c = model_circuit(s.m, model_attachment(s.m, a)->circuit);
    uint32_t link = model_port(s.m, c->legs[0].ports[0])->link;
    s.nodes[1].memory_error = "no answer";
    sim_agent(&s, 1, true);
    for (int down = 1; down >= 0; down--) {
        sim_begin(&s);
        model_set_link_down(s.m, link, down);
        sim_commit(&s);
        ck_assert(in_danger(a));
    }
    ck_assert_uint_eq(n_told, 2);
    sim_begin(&s);
    model_set_link_down(s.m, link, true);
    sim_commit(&s);
    s.nodes[1].memory_error = NULL;
    sim_agent(&s, 1, true); /* the link is down still */
    ck_assert(in_danger(a));
    ck_assert_uint_eq(n_told, 3);
    sim_begin(&s);
    model_set_link_down(s.m, link, false);
    sim_commit(&s);
    ck_assert(!in_danger(a));
    ck_assert_uint_eq(n_told, 4);
    ck_assert_str_eq(told[3].to, "safe");
}
END_TEST

START_TEST(an_adapter_that_carries_nothing_endangers_nobody)
{
    s.nodes[1].memory_error = "no answer";
    sim_agent(&s, 1, true);
    ck_assert_uint_eq(n_told, 1);
    expect(0, "adapter.state", "adapter/n2/afu1", "error", "no answer");
}
END_TEST

static unsigned lenders_lost(void)
{
    return model_adapter(s.m, model_find_adapter(s.m, model_find_node(s.m, "n2"), "afu1"))->lenders_lost;
}

/* What died is told of before the attachments turn lost. */
static void expect_lender_lost(uint32_t a, const char *id)
{
    char reason[WIRE_TEXT];
    snprintf(reason, sizeof reason, "lender l-n2-%u is gone with what it had lent: n1 borrows over it: %s",
             s.nodes[1].lender - 1, id);
    ck_assert_uint_eq(n_told, 1);
    expect(0, "lender.lost", "adapter/n2/afu1", "lost", reason);
    ck_assert_int_eq(model_attachment(s.m, a)->state, ATT_LOST);
    ck_assert_uint_eq(lenders_lost(), 1);
}

START_TEST(a_lender_that_died_is_one_event_with_all_that_it_had_lent)
{
    char ids[2 * ID_SIZE];
    uint32_t a = attached(0), b = attached(0);
    snprintf(ids, sizeof ids, "%s %s", model_attachment(s.m, a)->id, model_attachment(s.m, b)->id);
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    expect_lender_lost(a, ids);
    sim_register(&s, 1); /* the agent starts again: nothing new */
    sim_settle(&s);
    ck_assert_uint_eq(n_told, 1);
}
END_TEST

START_TEST(a_lender_that_died_while_nobody_listened_is_told_of_too)
{
    uint32_t a = attached(0);
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", model_attachment(s.m, a)->id);
    uint32_t adapter = model_find_adapter(s.m, model_find_node(s.m, "n2"), "afu1");
    sim_kill_lender(&s, 1);
    memset(model_touch_adapter(s.m, adapter)->lender_id, 0,
           ID_SIZE); /* a start of ours: only what is stored is known */
    sim_register(&s, 1);
    sim_settle(&s);
    expect_lender_lost(a, id);
    memset(model_touch_adapter(s.m, adapter)->lender_id, 0, ID_SIZE); /* another start: it was told */
    sim_register(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(n_told, 1);
}
END_TEST

START_TEST(a_lender_that_had_lent_nothing_is_told_of_and_one_that_ends_with_its_node_is_not)
{
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(n_told, 1);
    ck_assert_ptr_nonnull(strstr(told[0].reason, "is gone with what it had lent: nothing"));
    sim_reboot(&s, 1);
    s.nodes[1].lender++;
    sim_settle(&s);
    ck_assert_uint_eq(n_told, 1);
    ck_assert_uint_eq(lenders_lost(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("danger");
    TCase *t = tcase_create("danger");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_adapter_in_error_endangers_every_circuit_over_it);
    tcase_add_test(t, a_link_down_over_an_adapter_in_error_is_one_danger);
    tcase_add_test(t, an_adapter_that_carries_nothing_endangers_nobody);
    tcase_add_test(t, a_lender_that_died_is_one_event_with_all_that_it_had_lent);
    tcase_add_test(t, a_lender_that_died_while_nobody_listened_is_told_of_too);
    tcase_add_test(t, a_lender_that_had_lent_nothing_is_told_of_and_one_that_ends_with_its_node_is_not);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
