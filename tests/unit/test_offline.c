/* links: memlane-orchestrator */
/* memlaned --place-only, from rack file and request lines to answer lines. */
#include "json.h"
#include "offline.h"
#include "unit_main.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 32

static json_t *answers[LINES_MAX];
static size_t n_answers;

static void run(const char *rack, const char *requests)
{
    char path[512], *out = NULL;
    size_t size = 0;
    struct err e;
    snprintf(path, sizeof path, "%s/deploy/racks/%s.json", MEMLANE_SOURCE_DIR, rack);
    FILE *in = fmemopen((void *)requests, strlen(requests), "r"), *to = open_memstream(&out, &size);
    ck_assert_int_eq(offline_place_only(path, in, to), 0);
    fclose(in);
    fclose(to);
    n_answers = 0;
    for (char *line = out, *end; (end = strchr(line, '\n')); line = end + 1) {
        ck_assert_uint_lt(n_answers, LINES_MAX);
        ck_assert_msg(json_parse(&answers[n_answers++], line, (size_t)(end - line), &e) == 0, "%s", e.detail);
    }
    free(out);
}

static void done(void)
{
    for (size_t i = 0; i < n_answers; i++)
        json_decref(answers[i]);
}

static const char *text_of(size_t line, const char *key)
{
    const char *s = json_string_value(json_object_get(answers[line], key));
    return s ? s : "null";
}

static const char *error_of(size_t line, const char *key)
{
    const char *s = json_string_value(json_object_get(json_object_get(answers[line], "error"), key));
    return s ? s : "null";
}

static const json_t *candidate(size_t line, const char *node)
{
    size_t i;
    json_t *c, *list = json_object_get(answers[line], "candidates");
    json_array_foreach(list, i, c) if (!strcmp(json_string_value(json_object_get(c, "node")), node)) return c;
    ck_abort_msg("no candidate %s", node);
}

START_TEST(requests_are_answered_like_previews)
{
    run("pair",
        "{\"compute_node\":\"a\",\"size_bytes\":1}\n\n{\"compute_node\":\"a\",\"size_bytes\":1,\"donor\":\"a\"}\n");
    ck_assert_uint_eq(n_answers, 2);
    ck_assert_str_eq(text_of(0, "chosen"), "b");
    ck_assert_int_eq(json_integer_value(json_object_get(answers[0], "size_bytes")), 268435456);
    ck_assert(json_is_null(json_object_get(answers[0], "reason")));
    const json_t *b = candidate(0, "b");
    ck_assert(json_is_true(json_object_get(b, "feasible")));
    ck_assert(json_is_null(json_object_get(b, "reason")));
    ck_assert_int_eq(json_integer_value(json_object_get(b, "cost_ns")), 20);
    const json_t *leg = json_array_get(json_object_get(b, "path"), 0);
    ck_assert_str_eq(json_string_value(json_array_get(leg, 0)), "a/afu0/0");
    ck_assert_str_eq(json_string_value(json_array_get(leg, 1)), "b/afu1/0");
    ck_assert_str_eq(text_of(1, "chosen"), "null");
    ck_assert_str_eq(json_string_value(json_object_get(candidate(1, "b"), "reason")), "not_pinned");
    done();
}
END_TEST

START_TEST(commits_hold_and_releases_give_back)
{
    run("pair", "{\"compute_node\":\"a\",\"size_bytes\":412316860416,\"commit\":true}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n"
                "{\"release\":2}\n"
                "{\"release\":1}\n"
                "{\"release\":1}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":412316860416}\n");
    ck_assert_int_eq(json_integer_value(json_object_get(answers[0], "reserved")), 1);
    ck_assert_str_eq(json_string_value(json_object_get(candidate(1, "b"), "reason")), "insufficient_memory");
    ck_assert_int_eq(json_integer_value(json_object_get(candidate(1, "b"), "lendable_bytes")), 0);
    ck_assert_str_eq(error_of(2, "code"), "not_found");
    ck_assert_int_eq(json_integer_value(json_object_get(answers[3], "released")), 1);
    ck_assert_str_eq(error_of(4, "code"), "not_found");
    ck_assert_str_eq(text_of(5, "chosen"), "b");
    done();
}
END_TEST

START_TEST(a_failed_link_is_out_at_once)
{
    run("pair", "{\"link\":[\"b/afu1/0\",\"a/afu0/0\"],\"down\":true}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1,\"channels\":2}\n"
                "{\"link\":[\"a/afu0/1\",\"b/afu1/1\"],\"down\":true}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n"
                "{\"link\":[\"a/afu0/0\",\"b/afu1/0\"],\"down\":false}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n");
    const json_t *leg = json_array_get(json_object_get(candidate(1, "b"), "path"), 0);
    ck_assert_str_eq(json_string_value(json_array_get(leg, 0)), "a/afu0/1");
    ck_assert_str_eq(json_string_value(json_object_get(candidate(2, "b"), "reason")), "no_path");
    ck_assert_str_eq(json_string_value(json_object_get(candidate(4, "b"), "reason")), "no_path");
    ck_assert_str_eq(text_of(6, "chosen"), "b");
    done();
}
END_TEST

START_TEST(a_node_is_cordoned_lost_and_back)
{
    run("pair", "{\"node\":\"b\",\"cordoned\":true}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n"
                "{\"node\":\"b\",\"cordoned\":false,\"state\":\"unreachable\"}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n"
                "{\"compute_node\":\"b\",\"size_bytes\":1}\n"
                "{\"node\":\"b\",\"state\":\"ready\"}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1,\"commit\":true}\n");
    ck_assert(json_is_true(json_object_get(answers[0], "cordoned")));
    ck_assert_str_eq(json_string_value(json_object_get(candidate(1, "b"), "reason")), "cordoned");
    ck_assert_str_eq(json_string_value(json_object_get(candidate(3, "b"), "reason")), "not_ready");
    ck_assert_str_eq(text_of(4, "reason"), "compute_not_ready");
    ck_assert_str_eq(text_of(6, "chosen"), "b");
    ck_assert_int_eq(json_integer_value(json_object_get(answers[6], "section")), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(answers[6], "offset_bytes")), 0);
    done();
}
END_TEST

static const struct {
    const char *line, *code, *field;
} bad[] = {
    { "{\"node\":\"zz\",\"cordoned\":true}", "node_unknown", "node" },
    { "{\"node\":\"a\"}", "field_missing", "cordoned" },
    { "{\"node\":\"a\",\"state\":\"fenced\"}", "field_invalid", "state" },
    { "{\"node\":7,\"cordoned\":true}", "field_invalid", "node" },
    { "nonsense", "body_invalid", "null" },
    { "{\"compute_node\":\"a\"", "body_invalid", "null" },
    { "[1]", "field_invalid", "null" },
    { "null", "body_invalid", "null" },
    { "{}", "field_missing", "compute_node" },
    { "{\"compute_node\":\"a\"}", "field_missing", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":0}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":-1}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1.5}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":\"1\"}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":null}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":true}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1099511627777}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":9223372036854775807}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":9223372036854775808}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":-99999999999999999999}", "size_invalid", "size_bytes" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"size_bytes\":1}", "body_invalid", "null" },
    { "{\"compute_node\":\"x\",\"size_bytes\":1}", "node_unknown", "compute_node" },
    { "{\"compute_node\":\"\",\"size_bytes\":1}", "node_unknown", "compute_node" },
    { "{\"compute_node\":7,\"size_bytes\":1}", "field_invalid", "compute_node" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"donor\":\"x\"}", "node_unknown", "donor" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"avoid\":[\"b\",\"x\"]}", "node_unknown", "avoid[1]" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"avoid\":\"b\"}", "field_invalid", "avoid" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"channels\":0}", "field_invalid", "channels" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"channels\":3}", "field_invalid", "channels" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"max_cost_ns\":-1}", "field_invalid", "max_cost_ns" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"max_cost_ns\":9223372036854775808}", "field_invalid", "max_cost_ns" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"bandwidth_gbps\":1.5}", "field_invalid", "bandwidth_gbps" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"policy\":\"best\"}", "field_invalid", "policy" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"anti_affinity\":\"\"}", "field_invalid", "anti_affinity" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"commit\":1}", "field_invalid", "commit" },
    { "{\"compute_node\":\"a\",\"size_bytes\":1,\"size\":1}", "field_unknown", "size" },
    { "{\"release\":0}", "field_invalid", "release" },
    { "{\"release\":1,\"compute_node\":\"a\"}", "field_unknown", "compute_node" },
    { "{\"link\":[\"a/afu0/0\"],\"down\":true}", "field_invalid", "link" },
    { "{\"link\":[\"a/afu0/0\",\"a/afu0/1\"],\"down\":true}", "not_found", "link" },
    { "{\"link\":[\"a/afu0/0\",\"zz/1\"],\"down\":true}", "not_found", "link[1]" },
    { "{\"link\":[\"a/afu0/0\",\"b\"],\"down\":true}", "field_invalid", "link[1]" },
    { "{\"link\":[\"a/afu0/0\",\"b/afu1/0\"]}", "field_missing", "down" },
};

START_TEST(a_bad_line_is_named_and_the_next_one_read)
{
    char text[512];
    snprintf(text, sizeof text, "\n%s\n{\"compute_node\":\"a\",\"size_bytes\":1}", bad[_i].line);
    run("pair", text);
    ck_assert_uint_eq(n_answers, 2);
    ck_assert_str_eq(error_of(0, "code"), bad[_i].code);
    ck_assert_str_eq(error_of(0, "field"), bad[_i].field);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(answers[0], "error"), "line")), 2);
    const char *where = strstr(error_of(0, "detail"), "line ");
    ck_assert(!where || !strncmp(where, "line 2, column ", 15)); /* of the input, not of the line */
    json_t *after = json_incref(answers[1]);
    done();
    run("pair", "{\"compute_node\":\"a\",\"size_bytes\":1}\n");
    ck_assert_msg(json_equal(after, answers[0]), "the bad line left something behind");
    json_decref(after);
    done();
}
END_TEST

START_TEST(a_refused_commit_leaves_nothing_behind_and_is_counted)
{
    run("pair", "{\"compute_node\":\"a\",\"size_bytes\":1099511627776,\"commit\":true}\n"
                "{\"release\":1}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1,\"commit\":true}\n"
                "{\"release\":2}\n"
                "{\"compute_node\":\"a\",\"size_bytes\":1}\n");
    ck_assert_str_eq(text_of(0, "chosen"), "null");
    ck_assert_ptr_null(json_object_get(answers[0], "reserved"));
    ck_assert_str_eq(error_of(1, "code"), "not_found");
    ck_assert_str_eq(error_of(1, "field"), "release");
    ck_assert_int_eq(json_integer_value(json_object_get(answers[2], "reserved")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(candidate(4, "b"), "lendable_bytes")), 412316860416);
    done();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("offline");
    TCase *c = tcase_create("place_only");
    tcase_add_test(c, requests_are_answered_like_previews);
    tcase_add_test(c, commits_hold_and_releases_give_back);
    tcase_add_test(c, a_failed_link_is_out_at_once);
    tcase_add_test(c, a_node_is_cordoned_lost_and_back);
    tcase_add_test(c, a_refused_commit_leaves_nothing_behind_and_is_counted);
    tcase_add_loop_test(c, a_bad_line_is_named_and_the_next_one_read, 0, (int)(sizeof bad / sizeof bad[0]));
    suite_add_tcase(s, c);
    return unit_main(s);
}
