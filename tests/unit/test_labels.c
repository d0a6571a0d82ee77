/* test_labels.c - agent/labels.h: what is written down about segments. */
/* links: memlane-agent-core */
#include "labels.h"

#include "agent_fixture.h"
#include "unit_main.h"

static struct labels *labels;
static struct label seen[8];
static unsigned n_seen;

static void on_label(void *arg, const struct label *l)
{
    (void)arg;
    ck_assert_uint_lt(n_seen, 8);
    seen[n_seen++] = *l;
}

static void read_all(const char *boot)
{
    struct err e = { 0 };
    labels_close(labels);
    ck_assert_int_eq(labels_open(&labels, fixture_dir, boot, &e), 0);
    n_seen = 0;
    ck_assert_int_eq(labels_each(labels, on_label, NULL, &e), 0);
}

static void setup(void)
{
    struct err e = { 0 };
    fixture_make();
    ck_assert_int_eq(labels_open(&labels, fixture_dir, "boot-1", &e), 0);
}

static void teardown(void)
{
    labels_close(labels);
    labels = NULL;
    fixture_remove();
}

static const struct label sample = { "a1", "afu0", 3, UINT64_C(0x40000000), UINT64_C(0x80000000), true };

START_TEST(label_is_read_back_by_the_next_agent_of_this_boot)
{
    struct err e = { 0 };
    ck_assert_int_eq(labels_put(labels, &sample, &e), 0);
    ck_assert_int_eq(labels_put(labels, &sample, &e), 0);
    read_all("boot-1");
    ck_assert_uint_eq(n_seen, 1);
    ck_assert_str_eq(seen[0].id, "a1");
    ck_assert_str_eq(seen[0].adapter, "afu0");
    ck_assert_uint_eq(seen[0].section, 3);
    ck_assert_uint_eq(seen[0].offset_bytes, sample.offset_bytes);
    ck_assert_uint_eq(seen[0].size_bytes, sample.size_bytes);
    ck_assert(seen[0].touched);
}
END_TEST

START_TEST(label_of_an_earlier_boot_is_dropped)
{
    struct err e = { 0 };
    ck_assert_int_eq(labels_put(labels, &sample, &e), 0);
    read_all("boot-2");
    ck_assert_uint_eq(n_seen, 0);
    read_all("boot-1");
    ck_assert_uint_eq(n_seen, 0);
}
END_TEST

START_TEST(damaged_labels_are_dropped_and_the_others_read)
{
    static const char *const bad[] = { "",
                                       "boot-1",
                                       "boot-1 afu0 3 0x0 0x0 touched\n",
                                       "boot-1 afu0 9 0x0 0x10000000 touched\n",
                                       "boot-1 AFU 3 0x0 0x10000000 touched\n",
                                       "boot-1 afu0 3 0x0 0x10000000 maybe\n",
                                       "boot-1 afu0 3 0xffffffffffffffff 0x10000000 touched\n",
                                       "boot-1 afu0 3 0x0 0x10000000 touched more\n" };
    struct err e = { 0 };
    char path[64];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(path, sizeof path, "labels/bad%zu", i);
        fixture_put(path, bad[i]);
    }
    fixture_put("labels/.new", "half");
    ck_assert_int_eq(labels_put(labels, &sample, &e), 0);
    read_all("boot-1");
    ck_assert_uint_eq(n_seen, 1);
    ck_assert_str_eq(seen[0].id, "a1");
}
END_TEST

START_TEST(removing_what_is_not_there_is_fine)
{
    struct err e = { 0 };
    ck_assert_int_eq(labels_put(labels, &sample, &e), 0);
    ck_assert_int_eq(labels_remove(labels, "a1", &e), 0);
    ck_assert_int_eq(labels_remove(labels, "a1", &e), 0);
    read_all("boot-1");
    ck_assert_uint_eq(n_seen, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("labels");
    TCase *t = tcase_create("labels");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, label_is_read_back_by_the_next_agent_of_this_boot);
    tcase_add_test(t, label_of_an_earlier_boot_is_dropped);
    tcase_add_test(t, damaged_labels_are_dropped_and_the_others_read);
    tcase_add_test(t, removing_what_is_not_there_is_fine);
    suite_add_tcase(s, t);
    return unit_main(s);
}
