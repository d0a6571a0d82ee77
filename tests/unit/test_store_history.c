/* links: memlane-orchestrator memlane-sim */
/* Tokens, idempotency keys, events and ended attachments: what is written with a change and read by others later. */
#include "store_fixture.h"
#include "unit_main.h"

/* ---- tokens, keys, history ----------------------------------------------------------------------------------------
 */
START_TEST(tokens_come_back)
{
    struct model *m;
    struct token t = { .id = "t1", .role = TOKEN_OPERATOR, .name = "ci", .created_ms = 5, .expires_ms = 9 }, *list;
    size_t n;
    memset(t.hash, 'a', HASH_SIZE - 1);
    ck_assert_int_eq(model_new(&m, &e), 0);
    ck_assert(store_begin(store, &e) == 0 && store_savepoint(store, &e) == 0);
    ck_assert_msg(store_token_add(store, &t, &e) == 0, "%s", e.detail);
    expect_error(store_token_remove(store, "t2", &e), ERR_NOT_FOUND, "t2");
    ck_assert_int_eq(store_keep(store, &e), 0);
    m->revision = 1;
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    store_close(store);
    open_store();
    ck_assert_int_eq(store_tokens(store, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_mem_eq(&list[0], &t, sizeof t);
    free(list);
    ck_assert(store_begin(store, &e) == 0 && store_savepoint(store, &e) == 0);
    ck_assert_int_eq(store_token_remove(store, "t1", &e), 0);
    ck_assert_int_eq(store_keep(store, &e), 0);
    m->revision = 2;
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    ck_assert_int_eq(store_tokens(store, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 0);
    free(list);
    model_free(m);
}
END_TEST

START_TEST(idempotency_keys_belong_to_their_actor_and_end_after_a_day)
{
    struct model *m;
    struct idem i = { .actor = "a", .key = "k", .body_hash = "h", .attachment = "att-1", .created_ms = 1000 }, got;
    bool found;
    ck_assert_int_eq(model_new(&m, &e), 0);
    ck_assert(store_begin(store, &e) == 0 && store_savepoint(store, &e) == 0);
    ck_assert_int_eq(store_idem_add(store, &i, &e), 0);
    ck_assert_int_eq(store_keep(store, &e), 0);
    m->revision = 1;
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    ck_assert_int_eq(store_idem_find(store, "b", "k", &got, &found, &e), 0);
    ck_assert(!found);
    ck_assert_int_eq(store_prune(store, 1000 + INT64_C(24) * 3600 * 1000, &e), 0);
    ck_assert_int_eq(store_idem_find(store, "a", "k", &got, &found, &e), 0);
    ck_assert(found);
    ck_assert_str_eq(got.attachment, "att-1");
    ck_assert_int_eq(store_prune(store, 1001 + INT64_C(24) * 3600 * 1000, &e), 0);
    ck_assert_int_eq(store_idem_find(store, "a", "k", &got, &found, &e), 0);
    ck_assert(!found);
    model_free(m);
}
END_TEST

static json_t *events(uint64_t after, const char *object, unsigned limit, uint64_t *oldest)
{
    struct store_reader *r;
    json_t *list;
    struct event_query q = { .after = after, .object = object, .limit = limit };
    ck_assert_msg(store_reader_open(&r, path, &e) == 0, "%s", e.detail);
    ck_assert_msg(store_reader_events(r, &q, &list, oldest, &e) == 0, "%s", e.detail);
    store_reader_close(r);
    return list;
}

START_TEST(events_have_ids_without_gaps_and_the_oldest_go)
{
    struct model *m;
    uint64_t oldest;
    ck_assert_int_eq(model_new(&m, &e), 0);
    for (int round = 0; round < 3; round++) {
        m->wall_ms = round;
        model_emit(m, "node.state", "node/n1", "new", "ready", "it came");
        model_emit(m, "node.state", "node/n2", "new", "ready", NULL);
        commit(m);
        model_commit_done(m);
        ck_assert_int_eq(store_begin(store, &e), 0); /* a batch that fails takes no id */
        store_rollback(store);
    }
    json_t *list = events(1, NULL, 3, &oldest);
    ck_assert_uint_eq(json_array_size(list), 3);
    ck_assert_uint_eq(oldest, 1);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(list, i), "id")), (json_int_t)i + 2);
    json_decref(list);
    list = events(0, "node/n2", 100, &oldest);
    ck_assert_uint_eq(json_array_size(list), 3);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 2), "to")), "ready");
    json_decref(list);
    ck_assert_int_eq(store_prune(store, 1 + INT64_C(90) * 24 * 3600 * 1000, &e), 0);
    list = events(0, NULL, 100, &oldest);
    ck_assert_uint_eq(oldest, 3);
    ck_assert_uint_eq(json_array_size(list), 4);
    json_decref(list);
    model_free(m);
}
END_TEST

START_TEST(what_was_written_while_the_clock_was_set_back_is_not_old)
{
    static const int64_t day_ms = INT64_C(24) * 3600 * 1000;
    struct model *m;
    uint64_t oldest;
    ck_assert_int_eq(model_new(&m, &e), 0);
    for (int round = 0; round < 2; round++) { /* day 4000, then day 1 */
        m->wall_ms = (round ? 1 : 4000) * day_ms;
        model_emit(m, "node.state", "node/n1", "new", "ready", NULL);
        commit(m);
        model_commit_done(m);
    }
    ck_assert_int_eq(store_prune(store, 4001 * day_ms, &e), 0);
    json_t *list = events(0, NULL, 100, &oldest);
    ck_assert_uint_eq(json_array_size(list), 2);
    json_decref(list);
    ck_assert_int_eq(store_prune(store, 4091 * day_ms, &e), 0);
    list = events(0, NULL, 100, &oldest);
    ck_assert_uint_eq(json_array_size(list), 0);
    json_decref(list);
    model_free(m);
}
END_TEST

START_TEST(ended_attachments_are_listed_newest_first_by_pages)
{
    struct sim s;
    struct store_reader *r;
    json_t *list;
    uint64_t next;
    sim_on_commit = on_commit;
    sim_star(&s, 3);
    for (int i = 0; i < 5; i++) {
        uint32_t a = sim_attach(&s, 0, GIB, i % 2 ? "n2" : "n3");
        sim_settle(&s);
        sim_detach(&s, a);
        sim_settle(&s);
    }
    ck_assert_int_eq(store_reader_open(&r, path, &e), 0);
    struct ended_query q = { .limit = 3 };
    ck_assert_int_eq(store_reader_ended(r, &q, &list, &next, &e), 0);
    ck_assert_uint_eq(json_array_size(list), 3);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "donor")), "n3");
    json_decref(list);
    q.before = next;
    ck_assert_int_eq(store_reader_ended(r, &q, &list, &next, &e), 0);
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_uint_eq(next, 0);
    json_decref(list);
    q = (struct ended_query){ .donor = "n2", .node = "n1", .state = "detached", .compute_node = "n1", .limit = 2 };
    ck_assert_int_eq(store_reader_ended(r, &q, &list, &next, &e), 0);
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_uint_eq(next, 0);
    json_decref(list);
    q = (struct ended_query){ .donor = "n1", .limit = 2 };
    ck_assert_int_eq(store_reader_ended(r, &q, &list, &next, &e), 0);
    ck_assert_uint_eq(json_array_size(list), 0);
    json_decref(list);
    store_reader_close(r);
    sim_done(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store history");
    TCase *tc = tcase_create("history");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, tokens_come_back);
    tcase_add_test(tc, idempotency_keys_belong_to_their_actor_and_end_after_a_day);
    tcase_add_test(tc, events_have_ids_without_gaps_and_the_oldest_go);
    tcase_add_test(tc, what_was_written_while_the_clock_was_set_back_is_not_old);
    tcase_add_test(tc, ended_attachments_are_listed_newest_first_by_pages);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
