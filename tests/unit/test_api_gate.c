/* links: memlane-orchestrator */
/* The gate, the target parser and the router: what hostile heads and paths come to. */
#include "api/gate.h"
#include "api/router.h"
#include "api/target.h"
#include "unit_main.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static int parse(struct target *t, const char *uri)
{
    struct err e;
    return target_parse(t, uri, &e);
}

START_TEST(a_target_is_taken_apart)
{
    struct target t;
    ck_assert_int_eq(parse(&t, "/v1/nodes/n1?limit=5&x=a%20b+c&empty&=v"), 0);
    ck_assert_uint_eq(t.n_segments, 3);
    ck_assert_str_eq(t.segments[2], "n1");
    ck_assert_str_eq(target_query(&t, "limit"), "5");
    ck_assert_str_eq(target_query(&t, "x"), "a b c");
    ck_assert_str_eq(target_query(&t, "empty"), "");
    ck_assert_ptr_null(target_query(&t, "absent"));
    ck_assert_int_eq(parse(&t, "/"), 0);
    ck_assert_uint_eq(t.n_segments, 0);
    ck_assert_int_eq(parse(&t, "/a+b/%41"), 0);
    ck_assert_str_eq(t.segments[0], "a+b");
    ck_assert_str_eq(t.segments[1], "A");
}
END_TEST

START_TEST(a_hostile_target_is_refused_and_leaves_nothing)
{
    static const char *const bad[] = { "",
                                       "x",
                                       "http://a/b",
                                       "/%00",
                                       "/%",
                                       "/%4",
                                       "/%g0",
                                       "/a//b",
                                       "/a/",
                                       "/./b",
                                       "/a/..",
                                       "/%2e%2e",
                                       "/a\x01",
                                       "/a\x7f",
                                       "/%c0%af",
                                       "/%ed%a0%80",
                                       "/%f5%80%80%80",
                                       "/a#b",
                                       "/a?b=%00",
                                       "/a?b=1&b=2",
                                       "*",
                                       "/1/2/3/4/5/6/7/8/9" };
    struct target t;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(parse(&t, bad[i]) < 0, "%s", bad[i]);
        ck_assert_uint_eq(t.n_segments, 0);
        ck_assert_uint_eq(t.n_query, 0);
    }
}
END_TEST

START_TEST(a_long_target_fits_or_is_refused)
{
    char uri[2 * TARGET_MAX];
    struct target t;
    struct err e;
    for (size_t len = TARGET_MAX - 80; len < TARGET_MAX + 8; len++) {
        memset(uri, 'a', len);
        uri[0] = '/';
        uri[len] = '\0';
        if (target_parse(&t, uri, &e) < 0)
            ck_assert_int_eq(e.code, ERR_HEADERS_TOO_LARGE);
        else
            ck_assert_uint_eq(strlen(t.segments[0]), len - 1);
    }
}
END_TEST

struct head {
    const char *name, *value;
};

static int check_head(const struct head *h, size_t n, const char *method, bool *framing)
{
    struct gate g;
    struct err e;
    gate_init(&g);
    for (size_t i = 0; i < n; i++)
        gate_header(&g, h[i].name, h[i].value);
    return gate_check(&g, method, "HTTP/1.1", framing, &e);
}

START_TEST(an_ordinary_head_passes)
{
    static const struct head head[] = { { "Host", "a" }, { "Content-Length", "12" }, { "Authorization", "Bearer x" } };
    bool framing;
    ck_assert_int_eq(check_head(head, ARRAY_LEN(head), "POST", &framing), 0);
}
END_TEST

START_TEST(a_body_without_a_clear_end_is_a_matter_of_framing)
{
    static const struct head heads[][3] = {
        { { "Host", "a" }, { "Content-Length", "1" }, { "content-length", "1" } },
        { { "Host", "a" }, { "Content-Length", "1" }, { "Transfer-Encoding", "chunked" } },
        { { "Host", "a" }, { "Transfer-Encoding", "identity" }, { "X", "y" } },
        { { "Host", "a" }, { "Content-Length", "+1" }, { "X", "y" } },
        { { "Host", "a" }, { "Content-Length", "99999999999999999999" }, { "X", "y" } },
        { { "Host", "a" }, { "HOST", "b" }, { "X", "y" } },
        { { "Host", "a" }, { "bad name", "b" }, { "X", "y" } },
        { { "Host", "a" }, { "X", "b\x01" }, { "Y", "y" } },
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        bool framing = false;
        ck_assert_msg(check_head(heads[i], 3, "POST", &framing) < 0, "head %zu", i);
        ck_assert_msg(framing, "head %zu", i);
    }
}
END_TEST

START_TEST(doubled_credentials_and_strange_methods_are_refused)
{
    static const struct head twice[] = { { "Host", "a" },
                                         { "Authorization", "Bearer x" },
                                         { "authorization", "Bearer x" } };
    static const struct head plain[] = { { "Host", "a" } };
    bool framing;
    ck_assert_int_lt(check_head(twice, 3, "GET", &framing), 0);
    ck_assert(!framing);
    ck_assert_int_lt(check_head(plain, 1, "TRACE", &framing), 0);
    ck_assert_int_lt(check_head(plain, 1, "get", &framing), 0);
    ck_assert_int_lt(check_head(plain, 0, "GET", &framing), 0);
}
END_TEST

static const struct route table[] = {
    { "GET", "/", ACCESS_OPEN, NULL, "" },
    { "GET", "/v1/nodes", ACCESS_VIEWER, NULL, "" },
    { "POST", "/v1/nodes", ACCESS_ADMIN, NULL, "" },
    { "GET", "/v1/nodes/{name}", ACCESS_VIEWER, NULL, "" },
    { "POST", "/v1/nodes/{name}/fence", ACCESS_OPERATOR, NULL, "" },
};

static const struct route *route(const char *method, const char *uri, struct match *m)
{
    static struct target t;
    ck_assert_int_eq(parse(&t, uri), 0);
    router_match(m, table, ARRAY_LEN(table), method, &t);
    return m->route;
}

START_TEST(paths_find_their_routes)
{
    struct match m;
    ck_assert_ptr_eq(route("GET", "/", &m), &table[0]);
    ck_assert_ptr_eq(route("HEAD", "/v1/nodes?x=1", &m), &table[1]);
    ck_assert_ptr_eq(route("POST", "/v1/nodes", &m), &table[2]);
    ck_assert_ptr_eq(route("GET", "/v1/nodes/n1", &m), &table[3]);
    ck_assert_str_eq(m.params[0], "n1");
    ck_assert_ptr_eq(route("POST", "/v1/nodes/n1/fence", &m), &table[4]);
    ck_assert_ptr_null(route("DELETE", "/v1/nodes", &m));
    ck_assert_str_eq(m.allow, "GET, HEAD, POST");
    ck_assert_ptr_null(route("GET", "/v1", &m));
    ck_assert_ptr_null(route("GET", "/v1/nodesx", &m));
    ck_assert_ptr_null(route("GET", "/v1/nodes/n1/fence/more", &m));
    ck_assert_str_eq(m.allow, "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api_gate");
    TCase *c = tcase_create("gate");
    tcase_add_test(c, a_target_is_taken_apart);
    tcase_add_test(c, a_hostile_target_is_refused_and_leaves_nothing);
    tcase_add_test(c, a_long_target_fits_or_is_refused);
    tcase_add_test(c, an_ordinary_head_passes);
    tcase_add_test(c, a_body_without_a_clear_end_is_a_matter_of_framing);
    tcase_add_test(c, doubled_credentials_and_strange_methods_are_refused);
    tcase_add_test(c, paths_find_their_routes);
    suite_add_tcase(s, c);
    return unit_main(s);
}
