/* test_emulator_qmp.c - agent/emulator/qmp.h against a QEMU that says all kinds of things. */
/* links: memlane-emulator-vm */
#include "qmp.h"

#include "fake_qemu.h"
#include "unit_main.h"

static struct qmp *qmp;
static struct {
    unsigned n_up, n_down, n_events, n_answers, n_errors;
    char event[64], id[64], error[64];
    json_int_t number; /* of the last answer: {"return": N} */
    bool calls_back;   /* 'up' sends a command */
} seen;

static void on_up(void *arg)
{
    (void)arg;
    seen.n_up++;
    if (seen.calls_back)
        qmp_send(qmp, "one", "query-one", NULL);
}

static void on_down(void *arg)
{
    (void)arg;
    seen.n_down++;
}

static void on_event(void *arg, const char *name, const json_t *data)
{
    (void)arg;
    seen.n_events++;
    snprintf(seen.event, sizeof seen.event, "%s %s", name, json_string_value(json_object_get(data, "device")));
}

static void on_answer(void *arg, const char *id, const json_t *result, const char *error)
{
    (void)arg;
    seen.n_answers++;
    seen.n_errors += error != NULL;
    seen.number = json_integer_value(result);
    snprintf(seen.id, sizeof seen.id, "%s", id);
    snprintf(seen.error, sizeof seen.error, "%s", error ? error : "");
}

static const struct qmp_ops ops = { on_up, on_down, on_event, on_answer };

static void setup(void)
{
    struct err e = { 0 };
    qemu_setup();
    memset(&seen, 0, sizeof seen);
    ck_assert_int_eq(qmp_new(&qmp, qemu.loop, qemu.path, &ops, NULL, &e), 0);
}

static void teardown(void)
{
    qmp_free(qmp);
    qemu_teardown();
}

/* QEMU is up, and the one command that on_up() sends has come. */
static void asked(void)
{
    qemu_negotiate();
    qemu_hear("\"execute\":\"query-one\"");
}

/* Follows the script, with a command to send as soon as QEMU is up. */
static void run_asking(void (*script)(void))
{
    seen.calls_back = true;
    qemu_run(script);
}

/* Ends a script: that this is answered shows that all before it was taken in. */
static void last_word(void)
{
    qemu_hang_up();
    asked();
}

static void script_ask(void)
{
    asked();
    qemu_say("{\"return\": 7, \"id\": \"one\"}\r\n");
    last_word();
}

START_TEST(a_command_is_answered_after_the_negotiation)
{
    qmp_send(qmp, "early", "query-early", NULL); /* not up: dropped */
    run_asking(script_ask);
    ck_assert_uint_eq(seen.n_up, 2);
    ck_assert_uint_eq(seen.n_down, 1);
    ck_assert_uint_eq(seen.n_answers, 1);
    ck_assert_str_eq(seen.id, "one");
    ck_assert_int_eq(seen.number, 7);
    ck_assert_str_eq(seen.error, "");
    ck_assert_int_eq(qmp_pid(qmp), getpid());
}
END_TEST

static void script_errors(void)
{
    asked();
    qemu_say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"not today\"}, \"id\": \"one\"}\n");
    qemu_say("{\"error\": 3}\n{\"error\": {\"desc\": 4}, \"id\": 5}\n");
    last_word();
}

START_TEST(an_error_is_told_whatever_its_form)
{
    run_asking(script_errors);
    ck_assert_uint_eq(seen.n_answers, 3);
    ck_assert_uint_eq(seen.n_errors, 3);
    ck_assert_str_eq(seen.error, "refused");
}
END_TEST

static void script_nonsense(void)
{
    asked();
    qemu_say("{\"return\": \n"); /* no JSON */
    qemu_say("\n\r\n[1,2]\nnull\n\"text\"\n{\"event\": 5}\n{\"event\": \"A\", \"data\": \"text\"}\n");
    qemu_say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"dim");
    poll(NULL, 0, 20); /* the half comes by itself */
    qemu_say("m1\"}}\n{\"return\": 9, \"id\": \"one\"}");
    qemu_say("\n");
    last_word();
}

START_TEST(nonsense_is_left_out_and_halves_are_joined)
{
    run_asking(script_nonsense);
    ck_assert_uint_eq(seen.n_events, 2);
    ck_assert_str_eq(seen.event, "DEVICE_DELETED dimm1");
    ck_assert_int_eq(seen.number, 9);
    ck_assert_uint_eq(seen.n_errors, 0);
}
END_TEST

static void script_end_in_an_answer(void)
{
    asked();
    qemu_say("{\"return\": 1, \"id\":");
    last_word();
    qemu_say("{\"return\": 2, \"id\": \"one\"}\n");
    last_word();
}

START_TEST(an_end_in_an_answer_leaves_nothing_for_the_next_connection)
{
    run_asking(script_end_in_an_answer);
    ck_assert_uint_eq(seen.n_up, 3);
    ck_assert_uint_eq(seen.n_down, 2);
    ck_assert_uint_eq(seen.n_answers, 1);
    ck_assert_int_eq(seen.number, 2);
}
END_TEST

static void script_endless_line(void)
{
    static char much[65536];
    memset(much, 'x', sizeof much - 1);
    asked();
    qemu_say(much);
    qemu_say("xx");
    qemu_hear_end();
    last_word(); /* it came again */
}

START_TEST(a_line_without_end_ends_the_connection)
{
    run_asking(script_endless_line);
    ck_assert_uint_eq(seen.n_down, 1);
    ck_assert_uint_eq(seen.n_up, 2);
}
END_TEST

static void script_refusal(void)
{
    qemu_accept();
    qemu_say(QEMU_GREETING);
    qemu_hear("qmp_capabilities");
    qemu_say("{\"error\": {\"desc\": \"no\"}}\n{\"return\": 1}\n");
    qemu_hear_end();
    last_word();
}

START_TEST(a_refused_negotiation_is_tried_again)
{
    run_asking(script_refusal);
    ck_assert_uint_eq(seen.n_up, 1);
    ck_assert_uint_eq(seen.n_down, 0);
}
END_TEST

static void script_silence(void)
{
    qemu_accept(); /* and not a word, while the loop goes on */
    poll(NULL, 0, 200);
}

START_TEST(one_that_says_nothing_is_not_up_and_holds_up_nobody)
{
    qemu_run(script_silence);
    ck_assert_uint_eq(seen.n_up, 0);
    ck_assert(!qmp_is_up(qmp));
    qmp_send(qmp, "one", "query-one", json_object());
    run_asking(last_word);
    ck_assert_uint_eq(seen.n_up, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("emulator_qmp");
    TCase *tc = tcase_create("qmp");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, a_command_is_answered_after_the_negotiation);
    tcase_add_test(tc, an_error_is_told_whatever_its_form);
    tcase_add_test(tc, nonsense_is_left_out_and_halves_are_joined);
    tcase_add_test(tc, an_end_in_an_answer_leaves_nothing_for_the_next_connection);
    tcase_add_test(tc, a_line_without_end_ends_the_connection);
    tcase_add_test(tc, a_refused_negotiation_is_tried_again);
    tcase_add_test(tc, one_that_says_nothing_is_not_up_and_holds_up_nobody);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
