/* Rack files: what is taken, and how what is not taken is named. */
#include "json.h"
#include "rackfile.h"
#include "unit_main.h"
#include "units.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define C0 "{\"name\":\"c0\",\"role\":\"compute\",\"window_addr\":\"0x10000000\",\"window_bytes\":1073741824}"
#define M0 "{\"name\":\"m0\",\"role\":\"memory\",\"ports\":1}"
#define MEM "\"memory_bytes\":1073741824,\"free_bytes\":1073741824,\"block_bytes\":268435456"
#define N1(adapters) "{\"name\":\"n1\"," MEM ",\"adapters\":[" adapters "]}"
#define N2(adapters) "{\"name\":\"n2\"," MEM ",\"adapters\":[" adapters "]}"
#define S1 "{\"name\":\"s1\",\"kind\":\"circuit\",\"ports\":4,\"latency_ns\":30,\"managed_by\":\"n1\"}"
#define L(a, b) "{\"a\":\"" a "\",\"b\":\"" b "\",\"latency_ns\":5,\"gbps\":100}"
#define RACK(nodes, switches, links) "{\"nodes\":[" nodes "],\"switches\":[" switches "],\"links\":[" links "]}"

static int decode(const char *text, struct rack *r, struct err *e)
{
    json_t *j;
    memset(e, 0, sizeof *e);
    ck_assert_msg(json_parse(&j, text, strlen(text), e) == 0, "%s", e->detail);
    int rc = rack_decode(r, j, e);
    json_decref(j);
    return rc;
}

START_TEST(a_whole_rack_is_read)
{
    struct rack r;
    struct err e;
    ck_assert_int_eq(decode(RACK(N1(C0 "," M0) "," N2(""), S1, L("n1/c0/1", "s1/4") "," L("s1/1", "n1/m0/0")), &r, &e),
                     0);
    ck_assert_uint_eq(r.n_nodes, 2);
    ck_assert_uint_eq(r.nodes[0].n_adapters, 2);
    ck_assert_uint_eq(r.nodes[0].adapters[0].ports, 2); /* as the hardware, when left out */
    ck_assert_uint_eq(r.nodes[0].adapters[0].window_addr, 256 * MIB);
    ck_assert_uint_eq(r.nodes[0].adapters[1].ports, 1);
    ck_assert_str_eq(r.switches[0].managed_by, "n1");
    ck_assert_uint_eq(r.links[0].b.number, 4);
    rack_done(&r);
    rack_done(&r); /* twice does no harm */
}
END_TEST

static const struct {
    const char *text, *field;
    enum err_code code;
} bad[] = {
    { "{}", "switches", ERR_FIELD_MISSING },
    { "{\"nodes\":[],\"switches\":[],\"links\":[],\"racks\":[]}", "racks", ERR_FIELD_UNKNOWN },
    { "{\"nodes\":{},\"switches\":[],\"links\":[]}", "nodes", ERR_FIELD_INVALID },
    { RACK("3", "", ""), "nodes[0]", ERR_FIELD_INVALID },
    { RACK("{\"name\":\"N1\"," MEM ",\"adapters\":[]}", "", ""), "nodes[0].name", ERR_FIELD_INVALID },
    { RACK(N1("") "," N1(""), "", ""), "nodes[1].name", ERR_FIELD_INVALID },
    { RACK(N1(""), "{\"name\":\"n1\",\"kind\":\"circuit\",\"ports\":4,\"latency_ns\":3}", ""), "switches[0].name",
      ERR_FIELD_INVALID },
    { RACK(N1(M0 "," M0), "", ""), "nodes[0].adapters[1]", ERR_FIELD_INVALID },
    { RACK(N1("{\"name\":\"c0\",\"role\":\"compute\"}"), "", ""), "nodes[0].adapters[0].window_addr",
      ERR_FIELD_MISSING },
    { RACK(N1("{\"name\":\"c0\",\"role\":\"compute\",\"window_addr\":\"0x1\",\"window_bytes\":268435456}"), "", ""),
      "nodes[0].adapters[0].window_addr", ERR_FIELD_INVALID },
    { RACK(N1("{\"name\":\"c0\",\"role\":\"compute\",\"window_addr\":\"0x0\",\"window_bytes\":268435457}"), "", ""),
      "nodes[0].adapters[0].window_bytes", ERR_FIELD_INVALID },
    { RACK(N1("{\"name\":\"m0\",\"role\":\"memory\",\"window_bytes\":268435456}"), "", ""),
      "nodes[0].adapters[0].window_bytes", ERR_FIELD_INVALID },
    { RACK(N1(C0 ",{\"name\":\"c1\",\"role\":\"compute\",\"window_addr\":\"0x20000000\",\"window_bytes\":268435456}"),
           "", ""),
      "nodes[0].adapters[1]", ERR_FIELD_INVALID },
    { RACK(N1("{\"name\":\"m0\",\"role\":\"memory\",\"ports\":3}"), "", ""), "nodes[0].adapters[0].ports",
      ERR_FIELD_INVALID },
    { RACK(N1("{\"name\":\"m0\",\"role\":\"both\"}"), "", ""), "nodes[0].adapters[0].role", ERR_FIELD_INVALID },
    { RACK("{\"name\":\"n1\",\"memory_bytes\":1,\"free_bytes\":2,\"block_bytes\":4096,\"adapters\":[]}", "", ""),
      "nodes[0].free_bytes", ERR_FIELD_INVALID },
    { RACK("{\"name\":\"n1\",\"memory_bytes\":1,\"free_bytes\":1,\"block_bytes\":5000,\"adapters\":[]}", "", ""),
      "nodes[0].block_bytes", ERR_FIELD_INVALID },
    { RACK("{\"name\":\"n1\"," MEM ",\"labels\":{\"feed\":7},\"adapters\":[]}", "", ""), "nodes[0].labels.feed",
      ERR_FIELD_INVALID },
    { RACK("{\"name\":\"n1\"," MEM ",\"labels\":{\"fe'ed\":\"a\"},\"adapters\":[]}", "", ""), "nodes[0].labels.fe'ed",
      ERR_FIELD_INVALID },
    { RACK("{\"name\":\"n1\"," MEM ",\"labels\":{\"feed\":\"\"},\"adapters\":[]}", "", ""), "nodes[0].labels.feed",
      ERR_FIELD_INVALID },
    { RACK("", "{\"name\":\"s1\",\"kind\":\"packet\",\"ports\":4,\"latency_ns\":3}", ""), "switches[0].kind",
      ERR_FIELD_INVALID },
    { RACK("", "{\"name\":\"s1\",\"kind\":\"circuit\",\"ports\":0,\"latency_ns\":3}", ""), "switches[0].ports",
      ERR_FIELD_INVALID },
    { RACK("", S1, ""), "switches[0].managed_by", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("n1/m0/1", "s1/1")), "links[0].a", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("n1/m0/0", "s1/5")), "links[0].b", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("n1/m0/0", "s1/0")), "links[0].b", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("n1/m0/00", "s1/1")), "links[0].a", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("n9/m0/0", "s1/1")), "links[0].a", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("s1/m0/0", "s1/1")), "links[0].a", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("s1/1", "s1/1")), "links[0].b", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, L("n1/m0/0", "s1/1") "," L("s1/2", "n1/m0/0")), "links[1].b", ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, "{\"a\":\"s1/1\",\"b\":\"s1/2\",\"latency_ns\":1,\"gbps\":0}"), "links[0].gbps",
      ERR_FIELD_INVALID },
    { RACK(N1(M0), S1, "{\"a\":\"s1/1\",\"b\":\"s1/2\",\"latency_ns\":-1,\"gbps\":1}"), "links[0].latency_ns",
      ERR_FIELD_INVALID },
};

START_TEST(what_is_wrong_is_named)
{
    struct rack r;
    struct err e;
    ck_assert_int_eq(decode(bad[_i].text, &r, &e), -1);
    ck_assert_str_eq(e.field, bad[_i].field);
    ck_assert_str_eq(err_name(e.code), err_name(bad[_i].code));
    ck_assert_ptr_nonnull(strstr(e.detail, bad[_i].field));
}
END_TEST

START_TEST(cabling_alone_does_not_ask_for_nodes)
{
    struct rack r;
    struct err e;
    json_t *j;
    const char *good = "{\"switches\":[" S1 "],\"links\":[" L("nobody/knows/1", "s1/1") "]}";
    ck_assert_int_eq(json_parse(&j, good, strlen(good), &e), 0);
    ck_assert_int_eq(rack_decode_cabling(&r, j, &e), 0);
    rack_done(&r);
    json_decref(j);
    const char *no_switch = "{\"switches\":[],\"links\":[" L("n1/c0/1", "s1/1") "]}";
    ck_assert_int_eq(json_parse(&j, no_switch, strlen(no_switch), &e), 0);
    ck_assert_int_eq(rack_decode_cabling(&r, j, &e), -1);
    ck_assert_str_eq(e.field, "links[0].b");
    json_decref(j);
    const char *whole = RACK("", "", "");
    ck_assert_int_eq(json_parse(&j, whole, strlen(whole), &e), 0);
    ck_assert_int_eq(rack_decode_cabling(&r, j, &e), -1);
    ck_assert_int_eq(e.code, ERR_FIELD_UNKNOWN);
    json_decref(j);
}
END_TEST

START_TEST(an_error_in_a_file_names_its_line)
{
    static const char text[] =
        "{\"name\": \"x\",\n \"nodes\": [\n  {\"name\": \"n1\", \"labels\": {\"a\": \"}]\\\"{\"},\n"
        "   " MEM ", \"adapters\": []},\n  {\"name\": \"n2\", " MEM ",\n   \"adapters\": [\n"
        "    " M0 ",\n    {\"name\": \"m1\",\n     \"role\": \"mem\"}]}],\n"
        " \"switches\": [], \"links\": []}\n";
    char path[] = "/tmp/test_rackfile.XXXXXX";
    struct rack r;
    struct err e;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    ck_assert_int_eq(rack_load(&r, path, &e), -1);
    unlink(path);
    ck_assert_str_eq(e.field, "nodes[1].adapters[1].role");
    ck_assert_msg(strstr(e.detail, "line 9:") != NULL, "%s", e.detail);
    ck_assert_int_eq(rack_load(&r, path, &e), -1);
    ck_assert_int_eq(e.code, ERR_IO);
}
END_TEST

START_TEST(the_rack_files_of_the_project_are_good)
{
    static const char *const names[] = { "pair", "ring3", "star8", "rack32" };
    char path[512];
    struct rack r;
    struct err e;
    snprintf(path, sizeof path, "%s/deploy/racks/%s.json", MEMLANE_SOURCE_DIR, names[_i]);
    ck_assert_msg(rack_load(&r, path, &e) == 0, "%s", e.detail);
    ck_assert_uint_ge(r.n_nodes, 2);
    rack_done(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rackfile");
    TCase *c = tcase_create("rackfile");
    tcase_add_test(c, a_whole_rack_is_read);
    tcase_add_loop_test(c, what_is_wrong_is_named, 0, (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(c, cabling_alone_does_not_ask_for_nodes);
    tcase_add_test(c, an_error_in_a_file_names_its_line);
    tcase_add_loop_test(c, the_rack_files_of_the_project_are_good, 0, 4);
    suite_add_tcase(s, c);
    return unit_main(s);
}
