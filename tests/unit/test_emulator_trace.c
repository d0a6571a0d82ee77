/* test_emulator_trace.c - agent/emulator/trace.h: the file of register accesses, and its limit. */
/* links: memlane-emulator-core */
#include "trace.h"

#include "agent_fixture.h"
#include "unit_main.h"

static char path[128];

static void setup(void)
{
    fixture_make();
    snprintf(path, sizeof path, "%s/trace.jsonl", fixture_dir);
}

static unsigned lines_of(const char *suffix, unsigned *first)
{
    char full[140], line[512];
    unsigned n = 0;
    snprintf(full, sizeof full, "%s%s", path, suffix);
    FILE *f = fopen(full, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (n++ == 0)
            ck_assert_int_eq(sscanf(line, "{\"seq\":%u", first), 1);
    fclose(f);
    return n;
}

START_TEST(a_full_file_steps_aside_and_the_numbers_go_on)
{
    struct trace *t = NULL;
    struct err e = { 0 };
    uint64_t seq = 0;
    unsigned first_old = 0, first_new = 0;
    ck_assert_int_eq(trace_new(&t, path, &seq, true, 4096, &e), 0);
    for (int i = 0; i < 200; i++)
        trace_event(t, "n1", "afu0", "read", 0x78, 0, true);
    trace_free(t);
    unsigned n_new = lines_of("", &first_new), n_old = lines_of(".1", &first_old);
    ck_assert_uint_eq(first_old + n_old, first_new); /* nothing is missing between them */
    ck_assert_uint_eq(first_new + n_new, 201);
    ck_assert_uint_lt(n_new + n_old, 100);
    ck_assert_int_eq(trace_new(&t, path, &seq, false, 4096, &e), 0); /* a restarted emulator writes on */
    trace_event(t, "n1", "afu0", "read", 0x78, 0, true);
    trace_free(t);
    ck_assert_uint_eq(lines_of("", &first_old), n_new + 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("emulator_trace");
    TCase *t = tcase_create("trace");
    tcase_add_checked_fixture(t, setup, fixture_remove);
    tcase_add_test(t, a_full_file_steps_aside_and_the_numbers_go_on);
    suite_add_tcase(s, t);
    return unit_main(s);
}
