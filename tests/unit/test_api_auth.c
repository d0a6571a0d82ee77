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
    tcase_add_test(c, a_credential_counts_as_used_once_it_was);
    tcase_add_test(c, a_code_works_once_and_not_for_long);
    tcase_add_test(c, failures_brake_one_address_for_a_minute);
    tcase_add_test(c, secrets_are_long_and_differ);
    suite_add_tcase(s, c);
    return unit_main(s);
}
