/* links: memlane-core memlane-sim */
/* A node's name is bound to its adapters (DESIGN section 3, rule 3): a card may fail, or be added, but a machine with
 * other cards is another one.  Machine ids, boots and credentials: test_fencing.c, tests/api. */
#include "sim_story.h"
#include "unit_main.h"

#define COMPUTE                                                                                                        \
    {                                                                                                                  \
        .name = "afu0", .role = WIRE_COMPUTE, .ports = 2, .window_addr = UINT64_C(1) << 49,                            \
        .window_bytes = 4 * SECTION_BYTES                                                                              \
    }
#define MEMORY                                                                                                         \
    {                                                                                                                  \
        .name = "afu1", .role = WIRE_MEMORY, .ports = 2                                                                \
    }

static void refused(const struct wire_adapter *list, size_t n, const char *adapter, const char *what)
{
    uint64_t topology = s.m->topology_version;
    char session[ID_SIZE];
    memcpy(session, model_node(s.m, row("n1"))->session, sizeof session);
    ck_assert_int_eq(sim_claim_with(&s, 0, list, n, &e), -1);
    ck_assert_int_eq(e.code, ERR_IDENTITY_CONFLICT);
    ck_assert_str_eq(e.field, "adapters");
    ck_assert_msg(strstr(e.detail, adapter) && strstr(e.detail, what), "%s", e.detail);
    ck_assert_str_eq(model_node(s.m, row("n1"))->session, session); /* who was there goes on */
    ck_assert_uint_eq(model_node(s.m, row("n1"))->n_adapters, 2);
    ck_assert_uint_eq(s.m->topology_version, topology);
}

static void all_others_are_refused(void)
{
    struct wire_adapter role[2] = { COMPUTE, MEMORY }, ports[2] = { COMPUTE, MEMORY }, strange[2] = { COMPUTE, MEMORY };
    role[1] = role[0];
    memcpy(role[1].name, "afu1", sizeof "afu1");
    role[1].window_addr *= 2;
    ports[1].ports = 1;
    memcpy(strange[0].name, "other0", sizeof "other0");
    memcpy(strange[1].name, "other1", sizeof "other1");
    refused(role, 2, "adapter afu1", "role");
    refused(ports, 2, "adapter afu1", "number of ports");
    refused(strange, 2, "adapter other0", "none that it is bound to");
}

START_TEST(other_adapters_are_another_machine_though_nothing_is_in_use)
{
    all_others_are_refused();
}
END_TEST

/* What an operator wrote into a file. */
START_TEST(a_window_is_corrected_until_it_is_used)
{
    struct wire_adapter smaller[2] = { COMPUTE, MEMORY }, moved[2] = { COMPUTE, MEMORY };
    const struct adapter *afu0 = model_adapter(s.m, model_find_adapter(s.m, row("n1"), "afu0"));
    smaller[0].window_bytes /= 2;
    moved[0].window_addr *= 2;
    ck_assert_int_eq(sim_claim_with(&s, 0, smaller, 2, &e), 0);
    ck_assert_uint_eq(afu0->n_sections, 2);
    ck_assert_int_eq(sim_claim_with(&s, 0, moved, 2, &e), 0);
    ck_assert_uint_eq(afu0->n_sections, 4);
    ck_assert_uint_eq(afu0->window_addr, moved[0].window_addr);
    sim_register(&s, 0); /* with its own */
    sim_settle(&s);
    attached(0, "n2");
    refused(smaller, 2, "adapter afu0", "window");
    refused(moved, 2, "adapter afu0", "window");
}
END_TEST

START_TEST(other_adapters_are_another_machine_under_borrowed_memory)
{
    attached(0, "n2");
    all_others_are_refused();
    sim_reboot(&s, 0); /* with its own */
    sim_settle(&s);
    sim_expect_nothing(&s);
    all_others_are_refused();
}
END_TEST

START_TEST(a_card_that_fails_at_boot_or_is_added_is_no_conflict)
{
    struct wire_adapter one[1] = { MEMORY }, more[3] = { MEMORY, COMPUTE, MEMORY };
    memcpy(more[2].name, "afu2", sizeof "afu2");
    ck_assert_int_eq(sim_claim_with(&s, 0, one, 0, &e), 0); /* no driver: none of them */
    ck_assert_int_eq(sim_claim_with(&s, 0, one, 1, &e), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->n_adapters, 2); /* it may come back; its cables are there */
    ck_assert_int_eq(sim_claim_with(&s, 0, more, 3, &e), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->n_adapters, 3);
}
END_TEST

START_TEST(a_node_that_was_forgotten_comes_with_any_adapters)
{
    struct wire_adapter ports[1] = { MEMORY };
    ports[0].ports = 1;
    refused(ports, 1, "adapter afu1", "forget the node");
    sim_begin(&s);
    ck_assert_int_eq(model_forget_node(s.m, row("n1"), &e), 0);
    sim_commit(&s);
    ck_assert_int_eq(sim_claim_with(&s, 0, ports, 1, &e), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->n_adapters, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("identity");
    TCase *t = tcase_create("adapters");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, other_adapters_are_another_machine_though_nothing_is_in_use);
    tcase_add_test(t, a_window_is_corrected_until_it_is_used);
    tcase_add_test(t, other_adapters_are_another_machine_under_borrowed_memory);
    tcase_add_test(t, a_card_that_fails_at_boot_or_is_added_is_no_conflict);
    tcase_add_test(t, a_node_that_was_forgotten_comes_with_any_adapters);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
