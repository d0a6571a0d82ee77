/* links: memlane-orchestrator */
/* The live end of the event log: order, gaps, wake-ups. */
#include "orchestrator/events.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static void append(struct events *ev, uint64_t first, size_t n)
{
    struct model_event *list = calloc(n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        list[i].id = first + i;
        snprintf(list[i].type, sizeof list[i].type, "node.state");
        snprintf(list[i].object, sizeof list[i].object, "node/n%zu", i);
    }
    events_append(ev, list, n);
    free(list);
}

START_TEST(events_come_in_order_after_the_given_id)
{
    struct err e;
    struct events *ev;
    struct model_event out[8];
    bool gap;
    ck_assert_int_eq(events_new(&ev, 41, &e), 0);
    ck_assert_uint_eq(events_after(ev, 41, out, 8, &gap), 0);
    ck_assert(!gap);
    append(ev, 42, 5);
    ck_assert_uint_eq(events_last(ev), 46);
    ck_assert_uint_eq(events_after(ev, 43, out, 2, &gap), 2);
    ck_assert(!gap);
    ck_assert_uint_eq(out[0].id, 44);
    ck_assert_uint_eq(out[1].id, 45);
    ck_assert_uint_eq(events_after(ev, 46, out, 8, &gap), 0);
    ck_assert_uint_eq(events_after(ev, 1000, out, 8, &gap), 0);
    ck_assert(!gap);
    events_free(ev);
}
END_TEST

START_TEST(what_was_before_the_start_is_a_gap)
{
    struct err e;
    struct events *ev;
    struct model_event out[8];
    bool gap;
    ck_assert_int_eq(events_new(&ev, 41, &e), 0);
    ck_assert_uint_eq(events_after(ev, 40, out, 8, &gap), 0);
    ck_assert(gap);
    append(ev, 42, 1);
    ck_assert_uint_eq(events_after(ev, 40, out, 8, &gap), 1);
    ck_assert(gap);
    events_free(ev);
}
END_TEST

START_TEST(what_left_the_ring_is_a_gap)
{
    struct err e;
    struct events *ev;
    struct model_event out[8];
    bool gap;
    ck_assert_int_eq(events_new(&ev, 0, &e), 0);
    for (uint64_t id = 1; id <= 10000; id += 100)
        append(ev, id, 100);
    ck_assert_uint_eq(events_last(ev), 10000);
    ck_assert_uint_eq(events_after(ev, 9990, out, 8, &gap), 8);
    ck_assert(!gap);
    ck_assert_uint_eq(out[0].id, 9991);
    ck_assert_uint_eq(events_after(ev, 10, out, 1, &gap), 1);
    ck_assert(gap);
    ck_assert_uint_gt(out[0].id, 11);
    append(ev, 10001, 5000); /* more than the ring holds, at once */
    ck_assert_uint_eq(events_after(ev, 14999, out, 8, &gap), 1);
    ck_assert_uint_eq(out[0].id, 15000);
    events_free(ev);
}
END_TEST

static void count(void *arg)
{
    ++*(int *)arg;
}

START_TEST(an_append_wakes_who_waits)
{
    struct err e;
    struct events *ev;
    int woken = 0;
    ck_assert_int_eq(events_new(&ev, 0, &e), 0);
    events_on_append(ev, count, &woken);
    append(ev, 1, 3);
    append(ev, 4, 0);
    ck_assert_int_eq(woken, 1);
    events_free(ev);
}
END_TEST

START_TEST(an_event_as_json_says_null_for_what_is_empty)
{
    struct model_event ev = {
        .id = 7, .at_ms = 1000, .type = "node.state", .object = "node/n1", .to = "ready", .actor = "system"
    };
    json_t *j = event_json(&ev);
    ck_assert_int_eq(json_object_size(j), 8);
    ck_assert_int_eq(json_integer_value(json_object_get(j, "id")), 7);
    ck_assert_str_eq(json_string_value(json_object_get(j, "at")), "1970-01-01T00:00:01.000Z");
    ck_assert(json_is_null(json_object_get(j, "from")));
    ck_assert_str_eq(json_string_value(json_object_get(j, "to")), "ready");
    ck_assert(json_is_null(json_object_get(j, "reason")));
    json_decref(j);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("events");
    TCase *tc = tcase_create("events");
    tcase_add_test(tc, events_come_in_order_after_the_given_id);
    tcase_add_test(tc, what_was_before_the_start_is_a_gap);
    tcase_add_test(tc, what_left_the_ring_is_a_gap);
    tcase_add_test(tc, an_append_wakes_who_waits);
    tcase_add_test(tc, an_event_as_json_says_null_for_what_is_empty);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
