/* links: memlane-emulator-core */
/* test_emulator_adapter.c - the emulated registers against the table in hardware terms: what clears, sticks, pops,
 * refuses. */
#include "adapter.h"
#include "unit_main.h"

#include <check.h>
#include <stdlib.h>

static struct adapter a;

static void fresh(void)
{
    adapter_reset(&a, false);
}

static uint64_t get(uint64_t offset)
{
    uint64_t value = 0;

    ck_assert_msg(adapter_read(&a, offset, &value), "0x%llx cannot be read", (unsigned long long)offset);
    return value;
}

static void put(uint64_t offset, uint64_t value)
{
    ck_assert_msg(adapter_write(&a, offset, value), "0x%llx cannot be written", (unsigned long long)offset);
}

START_TEST(reset_values_are_those_of_the_hardware)
{
    for (uint64_t o = 0; o < 0x80; o += 8)
        ck_assert_uint_eq(get(o), o == 0x08 ? UINT64_C(0x4000000000000000) : 0);
    for (uint64_t o = 0x100; o < 0x120; o += 8)
        ck_assert_uint_eq(get(o), 0);
    for (uint64_t o = 0x200; o < 0x300; o += 8)
        ck_assert_uint_eq(get(o), UINT64_MAX);
}
END_TEST

START_TEST(what_is_written_is_read_back)
{
    static const uint64_t offsets[] = { 0x00, 0x10, 0x18, 0x20, 0x58, 0x78, 0x200, 0x2f8, 0x80000, 0x80018 };

    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        put(offsets[i], UINT64_C(0x0123456789abcdef) + i);
        ck_assert_uint_eq(get(offsets[i]), UINT64_C(0x0123456789abcdef) + i);
    }
    put(0x08, UINT64_MAX);
    ck_assert_uint_eq(get(0x08), UINT64_C(0x4000ffffffffffff));
}
END_TEST

START_TEST(every_other_offset_answers_with_an_error)
{
    uint64_t value = 42, offset;

    for (offset = 0x80; offset < 0x100; offset += 8)
        ck_assert(!adapter_read(&a, offset, &value) && !adapter_write(&a, offset, 1));
    for (offset = 0x120; offset < 0x200; offset += 8)
        ck_assert(!adapter_read(&a, offset, &value) && !adapter_write(&a, offset, 1));
    for (offset = 0x300; offset < 0x80000; offset += 0x7f8)
        ck_assert(!adapter_read(&a, offset, &value) && !adapter_write(&a, offset, 1));
    ck_assert(!adapter_read(&a, 0x80020, &value) && !adapter_read(&a, UINT64_MAX, &value));
    ck_assert(!adapter_read(&a, 0x04, &value) && !adapter_write(&a, 0x21, 1));
    ck_assert_uint_eq(value, 42);
}
END_TEST

START_TEST(counters_clear_on_read_and_cannot_be_written)
{
    adapter_count(&a, 3, 1, 2, 726);
    put(0x60, 99);
    ck_assert_uint_eq(get(0x60), 3);
    ck_assert_uint_eq(get(0x60), 0);
    ck_assert_uint_eq(get(0x68), 1);
    ck_assert_uint_eq(get(0x68), 0);
    ck_assert_uint_eq(get(0x70), UINT64_C(2) << 37 | 726);
    ck_assert_uint_eq(get(0x70), 0);
}
END_TEST

START_TEST(a_memory_adapter_counts_nothing)
{
    adapter_reset(&a, true);
    adapter_count(&a, 3, 1, 2, 726);
    ck_assert_uint_eq(get(0x60) + get(0x68) + get(0x70), 0);
}
END_TEST

START_TEST(error_capture_is_sticky_and_any_write_clears_it)
{
    adapter_capture(&a, ADAPTER_ERROR_TIMEOUT, 0, 0);
    adapter_capture(&a, ADAPTER_ERROR_SECTION, 0, 0);
    ck_assert_uint_eq(get(0x108), 5);
    ck_assert_uint_eq(get(0x108), 5);
    put(0x108, UINT64_MAX);
    ck_assert_uint_eq(get(0x108), 0);
}
END_TEST

START_TEST(reading_the_low_detail_pops)
{
    adapter_capture(&a, ADAPTER_ERROR_TIMEOUT, 0x11, 0x12);
    adapter_capture(&a, ADAPTER_ERROR_TIMEOUT, 0x21, 0x22);
    ck_assert_uint_eq(get(0x110), 0x11);
    ck_assert_uint_eq(get(0x110), 0x11);
    ck_assert_uint_eq(get(0x118), 0x12);
    ck_assert_uint_eq(get(0x110), 0x21);
    ck_assert_uint_eq(get(0x118), 0x22);
    ck_assert_uint_eq(get(0x118), 0);
    for (int i = 0; i < 100; i++)
        adapter_capture(&a, ADAPTER_ERROR_TIMEOUT, (uint64_t)i, 0);
    for (uint64_t i = 0; i < ADAPTER_DETAILS; i++, get(0x118))
        ck_assert_uint_eq(get(0x110), i);
    ck_assert_uint_eq(get(0x110), 0);
}
END_TEST

START_TEST(translation_does_not_strip_the_section_bits)
{
    const uint64_t arena = UINT64_C(0x7f1200000000);
    struct adapter_target t;

    put(0x20 + 8 * 3, ((arena - (UINT64_C(3) << 40)) | 2));
    ck_assert(adapter_translate(&a, (UINT64_C(3) << 40) + 0x1000, &t));
    ck_assert_uint_eq(t.effective_addr, arena + 0x1000);
    ck_assert_uint_eq(t.netid, 2);
    ck_assert_uint_eq(t.section, 3);
    ck_assert(adapter_translate(&a, 0x1000, &t)); /* zero: low addresses, out of port 1 */
    ck_assert_uint_eq(t.effective_addr, 0x1000);
    ck_assert_uint_eq(adapter_netid_ports(t.netid), 2);
    ck_assert(!adapter_translate(&a, UINT64_C(8) << 40, &t));
}
END_TEST

START_TEST(netid_names_ports)
{
    ck_assert_uint_eq(adapter_netid_ports(1), 1);
    ck_assert_uint_eq(adapter_netid_ports(2), 2);
    ck_assert_uint_eq(adapter_netid_ports(0), 2);
    ck_assert_uint_eq(adapter_netid_ports(3), 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("emulator_adapter");
    TCase *t = tcase_create("registers");
    tcase_add_checked_fixture(t, fresh, NULL);
    tcase_add_test(t, reset_values_are_those_of_the_hardware);
    tcase_add_test(t, what_is_written_is_read_back);
    tcase_add_test(t, every_other_offset_answers_with_an_error);
    tcase_add_test(t, counters_clear_on_read_and_cannot_be_written);
    tcase_add_test(t, a_memory_adapter_counts_nothing);
    tcase_add_test(t, error_capture_is_sticky_and_any_write_clears_it);
    tcase_add_test(t, reading_the_low_detail_pops);
    tcase_add_test(t, translation_does_not_strip_the_section_bits);
    tcase_add_test(t, netid_names_ports);
    suite_add_tcase(s, t);
    return unit_main(s);
}
