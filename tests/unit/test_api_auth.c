/* links: memlane-orchestrator */
/* Tokens in memory: looked up by hash, ended by time and revocation; codes; the brake. */
#include "api/auth.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct auth *a;
static struct err e;

static void setup(void)
{
    ck_assert_int_eq(auth_new(&a, &e), 0);
}

static void teardown(void)
{
    auth_free(a);
}

static struct token add(const char *id, const char *secret, enum token_role role, const char *name, bool used)
{
    struct token t = { .role = role };
    snprintf(t.id, sizeof t.id, "%s", id);
    snprintf(t.name, sizeof t.name, "%s", name);
    ck_assert_int_eq(secret_hash(secret, strlen(secret), t.hash, &e), 0);
    ck_assert_int_eq(auth_put(a, &t, used, &e), 0);
    return t;
}

START_TEST(only_the_right_secret_is_found)
{
    char id[16], secret[16];
    struct token t;
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "tok-%d", i);
        snprintf(secret, sizeof secret, "s%d", i);
        add(id, secret, TOKEN_VIEWER, "v", false);
    }
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "tok-%d", i);
        snprintf(secret, sizeof secret, "s%d", i);
        ck_assert(auth_find(a, secret, 0, &t, &e) == 0);
        ck_assert_str_eq(t.id, id);
    }
    ck_assert(auth_find(a, "s200", 0, &t, &e) < 0);
    ck_assert(auth_find(a, "", 0, &t, &e) < 0);
}
END_TEST

START_TEST(a_token_ends_at_its_time)
{
    struct token t = { .role = TOKEN_VIEWER, .expires_ms = 1000, .id = "tok-1" };
    ck_assert_int_eq(secret_hash("x", 1, t.hash, &e), 0);
    ck_assert_int_eq(auth_put(a, &t, false, &e), 0);
    ck_assert(auth_find(a, "x", 999, &t, &e) == 0);
    ck_assert(auth_find(a, "x", 1000, &t, &e) < 0);
    ck_assert(!auth_alive(a, "tok-1", 1000));
}
END_TEST

START_TEST(sessions_end_with_the_token_they_came_from)
{
    struct token t;
    add("tok-aa", "one", TOKEN_ADMIN, "one", false);
    add("tok-baa", "two", TOKEN_ADMIN, "two", false);
    add("ses-1-tok-aa", "cookie1", TOKEN_ADMIN, "one", false);
    add("ses-2-tok-baa", "cookie2", TOKEN_ADMIN, "two", false);
    auth_drop(a, "tok-aa");
    ck_assert(auth_find(a, "one", 0, &t, &e) < 0);
    ck_assert(auth_find(a, "cookie1", 0, &t, &e) < 0);
    ck_assert(auth_find(a, "two", 0, &t, &e) == 0);
    ck_assert(auth_find(a, "cookie2", 0, &t, &e) == 0);
}
END_TEST

START_TEST(all_tokens_are_listed_by_creation_and_no_session)
{
    CLEANUP(cleanup_free) struct token *list = NULL;
    char id[40], secret[16];
    size_t n = 0;
    for (int i = 0; i < 300; i++) {
        struct token t = { .created_ms = 1000 - i / 2 };
        snprintf(t.id, sizeof t.id, "%s%d", i % 3 ? "tok-" : "ses-", i);
        snprintf(secret, sizeof secret, "s%d", i);
        ck_assert_int_eq(secret_hash(secret, strlen(secret), t.hash, &e), 0);
        ck_assert_int_eq(auth_put(a, &t, false, &e), 0);
    }
    ck_assert_int_eq(auth_list(a, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 200);
    for (size_t i = 0; i < n; i++) {
        ck_assert(!auth_is_session(list[i].id));
        ck_assert(i == 0 || list[i - 1].created_ms < list[i].created_ms ||
                  (list[i - 1].created_ms == list[i].created_ms && strcmp(list[i - 1].id, list[i].id) < 0));
    }
    snprintf(id, sizeof id, "%s", list[0].id);
    auth_drop(a, id);
    free(TAKE(list));
    ck_assert_int_eq(auth_list(a, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 199);
}
END_TEST

static struct token session(int number, const char *maker, int64_t expires_ms)
{
    struct token t = { .created_ms = number, .expires_ms = expires_ms };
    snprintf(t.id, sizeof t.id, "ses-%03d-%s", number, maker);
    return t;
}

START_TEST(a_sign_in_ends_what_expired_and_the_oldest_beyond_the_limit)
{
    struct token list[AUTH_SESSIONS_MAX + 5] = { { .id = "tok-aa", .expires_ms = 5 }, { .id = "tok-bb" } };
    size_t n = 2;
    list[n++] = session(1, "tok-aa", 1000); /* expired at 1000 */
    list[n++] = session(2, "tok-bb", 2000);
    for (int i = 0; i < AUTH_SESSIONS_MAX - 1; i++)
        list[n++] = session(10 + i, "tok-aa", 2000);
    struct token all[ARRAY_LEN(list)];
    memcpy(all, list, sizeof all);
    ck_assert_uint_eq(auth_session_ends(all, n, "tok-aa", 1000), 1); /* room for one more */
    ck_assert_str_eq(all[0].id, "ses-001-tok-aa");
    list[n++] = session(999, "tok-aa", 2000);
    memcpy(all, list, sizeof all);
    ck_assert_uint_eq(auth_session_ends(all, n, "tok-aa", 1000), 2);
    ck_assert_str_eq(all[0].id, "ses-001-tok-aa");
    ck_assert_str_eq(all[1].id, "ses-010-tok-aa");
    memcpy(all, list, sizeof all);
    ck_assert_uint_eq(auth_session_ends(all, n, "tok-aa", 2000), n - 2); /* no token, all sessions */
    memcpy(all, list, sizeof all);
    ck_assert_uint_eq(auth_session_ends(all, n, "tok-bb", 999), 0); /* another's are not counted */
}
END_TEST

START_TEST(a_credential_counts_as_used_once_it_was)
{
    struct token t;
    add("tok-1", "fresh", TOKEN_AGENT, "n1", false);
    add("tok-2", "loaded", TOKEN_AGENT, "n2", true);
    ck_assert(!auth_agent_used(a, "n1"));
    ck_assert(auth_agent_used(a, "n2"));
    ck_assert(auth_find(a, "fresh", 0, &t, &e) == 0);
    ck_assert(auth_agent_used(a, "n1"));
    auth_drop_agent(a, "n1", "");
    ck_assert(!auth_agent_used(a, "n1"));
}
END_TEST

START_TEST(a_code_works_once_and_not_for_long)
{
    struct token maker = add("tok-1", "x", TOKEN_ADMIN, "admin", false), t;
    ck_assert_int_eq(auth_code_add(a, "c1", &maker, 0, &e), 0);
    ck_assert_int_eq(auth_code_add(a, "c2", &maker, 0, &e), 0);
    ck_assert(auth_code_take(a, "c3", 1, &t, &e) < 0);
    ck_assert(auth_code_take(a, "c1", 1, &t, &e) == 0);
    ck_assert_str_eq(t.id, "tok-1");
    ck_assert(auth_code_take(a, "c1", 1, &t, &e) < 0);
    ck_assert(auth_code_take(a, "c2", AUTH_CODE_MS, &t, &e) < 0);
}
END_TEST

START_TEST(failures_brake_one_address_for_a_minute)
{
    for (int i = 0; i < AUTH_FAILURES_MAX; i++) {
        ck_assert(auth_may_try(a, "10.0.0.1", 5000));
        auth_failed(a, "10.0.0.1", 5000);
    }
    ck_assert(!auth_may_try(a, "10.0.0.1", 5001));
    ck_assert(auth_may_try(a, "10.0.0.2", 5001));
    ck_assert(auth_may_try(a, "10.0.0.1", 5000 + 61000));
}
END_TEST

START_TEST(secrets_are_long_and_differ)
{
    char one[SECRET_SIZE], two[SECRET_SIZE];
    ck_assert_int_eq(secret_new("ml_", 32, one, sizeof one, &e), 0);
    ck_assert_int_eq(secret_new("ml_", 32, two, sizeof two, &e), 0);
    ck_assert_uint_eq(strlen(one), 67);
    ck_assert_str_ne(one, two);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api_auth");
    TCase *c = tcase_create("auth");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, only_the_right_secret_is_found);
    tcase_add_test(c, a_token_ends_at_its_time);
    tcase_add_test(c, sessions_end_with_the_token_they_came_from);
    tcase_add_test(c, all_tokens_are_listed_by_creation_and_no_session);
    tcase_add_test(c, a_sign_in_ends_what_expired_and_the_oldest_beyond_the_limit);
    tcase_add_test(c, a_credential_counts_as_used_once_it_was);
    tcase_add_test(c, a_code_works_once_and_not_for_long);
    tcase_add_test(c, failures_brake_one_address_for_a_minute);
    tcase_add_test(c, secrets_are_long_and_differ);
    suite_add_tcase(s, c);
    return unit_main(s);
}
