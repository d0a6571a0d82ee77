/* config: a strict reader says file and line. */
#include "config.h"
#include "unit_main.h"

#include <check.h>
#include <string.h>

static const struct config_key known[] = {
    { "agent", false, "name" }, { "agent", false, "settle_ms" }, { "agent", false, "window" },
    { "agent", false, "size" }, { "adapter", true, "role" },     { "adapter", true, "device" },
};

static struct err e;

static int parse(struct config **out, const char *text)
{
    return config_parse(out, text, strlen(text), "x.conf", known, sizeof known / sizeof *known, &e);
}

START_TEST(values_are_found_by_section_and_name)
{
    CLEANUP(config_freep) struct config *c = NULL;
    uint64_t number = 7;
    ck_assert_msg(parse(&c,
                        "; a comment\n\n[agent]\r\n name = n1 ; of this node\nsettle_ms=5000\nwindow=0x2000000000000\n"
                        "size=1.5G\n[adapter afu0]\nrole=compute\ndevice=/dev/ocxl/IBM,RMEM.0000:00:00.1.0\n"
                        "[adapter afu1]\nrole=memory") == 0,
                  "%s", e.detail);
    ck_assert_str_eq(config_get(c, "agent", NULL, "name", ""), "n1");
    ck_assert_str_eq(config_get(c, "adapter", "afu0", "device", ""), "/dev/ocxl/IBM,RMEM.0000:00:00.1.0");
    ck_assert_str_eq(config_get(c, "adapter", "afu1", "role", ""), "memory");
    ck_assert_str_eq(config_get(c, "adapter", "afu1", "device", "none"), "none");
    ck_assert_ptr_null(config_get(c, "adapter", "afu2", "role", NULL));
    ck_assert_str_eq(config_name(c, "adapter", 1), "afu1");
    ck_assert_ptr_null(config_name(c, "adapter", 2));
    ck_assert_int_eq(config_u64(c, "agent", NULL, "settle_ms", 1, 60000, &number, &e), 0);
    ck_assert_uint_eq(number, 5000);
    ck_assert_int_eq(config_addr(c, "agent", NULL, "window", &number, &e), 0);
    ck_assert_uint_eq(number, UINT64_C(0x2000000000000));
    ck_assert_int_eq(config_size(c, "agent", NULL, "size", &number, &e), 0);
    ck_assert_uint_eq(number, UINT64_C(3) << 29);
    ck_assert_int_eq(config_u64(c, "agent", NULL, "settle_ms", 1, 10, &number, &e), -1);
    ck_assert_str_eq(e.detail, "x.conf:5: settle_ms: out of range");
    ck_assert_int_eq(config_u64(c, "agent", NULL, "name", 1, 10, &number, &e), -1);
}
END_TEST

START_TEST(mistakes_are_named_with_their_line)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "name=n1\n", "x.conf:1: a key before the first section" },
        { "[agent]\nnmae=n1\n", "x.conf:2: unknown key: nmae" },
        { "[agent]\nrole=compute\n", "x.conf:2: unknown key: role" },
        { "[agnet]\n", "x.conf:1: unknown section: agnet" },
        { "[agent x]\n", "x.conf:1: unknown section: agent" },
        { "[adapter]\n", "x.conf:1: unknown section: adapter" },
        { "[adapter AFU]\n", "x.conf:1: not a valid name: AFU" },
        { "[agent\n", "x.conf:1: a section without ]" },
        { "[agent]\nname\n", "x.conf:2: neither [section] nor key=value" },
        { "[agent]\nname=a\nname=b\n", "x.conf:3: this key is there twice: name" },
        { "[agent]\n\n[agent]\n", "x.conf:3: this section is there twice" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config *c = NULL;
        ck_assert_int_eq(parse(&c, bad[i].text), -1);
        ck_assert_msg(!strncmp(e.detail, bad[i].says, strlen(bad[i].says)), "%s", e.detail);
    }
    struct config *c = NULL;
    ck_assert_int_eq(config_parse(&c, "[agent]\0", 8, "x.conf", known, 1, &e), -1);
    ck_assert_int_eq(config_load(&c, "/nonexistent/x.conf", known, 1, &e), -1);
    ck_assert_int_eq(e.code, ERR_IO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = tcase_create("config");
    tcase_add_test(tc, values_are_found_by_section_and_name);
    tcase_add_test(tc, mistakes_are_named_with_their_line);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
