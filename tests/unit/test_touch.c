/* test_touch.c - agent/touch.h: a page of the new memory is found among others, or it is said that none was. */
/* links: memlane-agent-core */
#include "touch.h"

#include "sanitized.h"
#include "unit_main.h"
#include "units.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START (UINT64_C(4) << 30)
#define SIZE (128 * MIB)

/* A kernel that gives pages of old memory first. */
static struct {
    size_t taken, calls;
    size_t first_new; /* this one, and those behind it, are of the new memory */
    bool silent;      /* it does not tell where pages are */
    const char *page; /* the one that lies in the range */
    uint64_t private_kb;
} fake;

static uint64_t private_kb(void)
{
    char line[128];
    unsigned long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %lu", &kb) == 1)
            break;
    fclose(f);
    return kb;
}

static int locate(void *arg, const char *pages, size_t n, uint64_t *addrs, struct err *e)
{
    (void)arg;
    (void)e;
    fake.calls++;
    for (size_t i = 0; i < n; i++, fake.taken++) {
        bool is_new = fake.taken >= fake.first_new;
        addrs[i] = fake.silent ? 0 : (is_new ? START : START - GIB) + fake.taken * 4096;
        if (is_new && !fake.page)
            fake.page = pages + i * (size_t)sysconf(_SC_PAGESIZE);
    }
    fake.private_kb = private_kb();
    return 0;
}

static int touch(uint64_t start, uint64_t size, touch_locate *where, struct err *e)
{
    return touch_range(&(struct touch_range){ start, size, -1 }, where, NULL, e);
}

static void setup(void)
{
    memset(&fake, 0, sizeof fake);
}

START_TEST(the_first_page_is_enough_on_a_node_that_had_none)
{
    struct err e = { 0 };
    ck_assert_int_eq(touch(START, SIZE, locate, &e), 0);
    ck_assert_uint_eq(fake.taken, 1);
}
END_TEST

START_TEST(pages_of_other_memory_are_passed_over)
{
    struct err e = { 0 };
    fake.first_new = 200;
    ck_assert_int_eq(touch(START, SIZE, locate, &e), 0);
    ck_assert_ptr_nonnull(fake.page);
    ck_assert(fake.taken > 200 && fake.taken < 300);
}
END_TEST

START_TEST(a_page_behind_the_range_is_not_of_it)
{
    struct err e = { 0 };
    ck_assert_int_eq(touch(START - SIZE, SIZE, locate, &e), -1);
    ck_assert_int_eq(e.code, ERR_UNAVAILABLE);
}
END_TEST

START_TEST(when_none_is_found_it_is_said_and_little_was_taken)
{
    struct err e = { 0 };
    uint64_t before = private_kb();
    fake.first_new = SIZE_MAX;
    ck_assert_int_eq(touch(START, SIZE, locate, &e), -1);
    ck_assert_int_eq(e.code, ERR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(e.detail, "no page of the new memory"));
    ck_assert(fake.taken * (size_t)sysconf(_SC_PAGESIZE) <= 16 * MIB);
    if (!SANITIZED)
        ck_assert_uint_lt(fake.private_kb, before + 512); /* while all of them were held */
    setup();
    fake.first_new = SIZE_MAX;
    ck_assert_int_eq(touch(START, 4 * MIB, locate, &e), -1); /* of a small range a quarter */
    ck_assert(fake.taken * (size_t)sysconf(_SC_PAGESIZE) <= MIB);
}
END_TEST

START_TEST(a_kernel_that_does_not_tell_is_asked_once)
{
    struct err e = { 0 };
    fake.silent = true;
    ck_assert_int_eq(touch(START, SIZE, locate, &e), -1);
    ck_assert_int_eq(e.code, ERR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(e.detail, "CAP_SYS_ADMIN"));
    ck_assert_uint_eq(fake.calls, 1);
}
END_TEST

/* This machine's own memory, all of it: whatever page comes is in it.  Beyond it there is none. */
START_TEST(the_kernel_is_asked_where_pages_are)
{
    struct err e = { 0 };
    int rc = touch(4096, UINT64_C(1) << 52, NULL, &e);
    if (geteuid() == 0) {
        ck_assert_int_eq(rc, 0);
        ck_assert_int_eq(touch(UINT64_C(1) << 52, SIZE, NULL, &e), -1);
        ck_assert_ptr_nonnull(strstr(e.detail, "no page of the new memory"));
        ck_assert_int_eq(setuid(65534), 0);
        ck_assert_int_eq(touch(4096, UINT64_C(1) << 52, NULL, &e), -1);
    }
    ck_assert_int_eq(e.code, ERR_UNAVAILABLE);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("touch");
    TCase *t = tcase_create("touch");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, the_first_page_is_enough_on_a_node_that_had_none);
    tcase_add_test(t, pages_of_other_memory_are_passed_over);
    tcase_add_test(t, a_page_behind_the_range_is_not_of_it);
    tcase_add_test(t, when_none_is_found_it_is_said_and_little_was_taken);
    tcase_add_test(t, a_kernel_that_does_not_tell_is_asked_once);
    tcase_add_test(t, the_kernel_is_asked_where_pages_are);
    suite_add_tcase(s, t);
    return unit_main(s);
}
