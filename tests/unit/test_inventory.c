/* test_inventory.c - agent/inventory.h: local memory, room before an offline, huge pages, identity. */
/* links: memlane-agent-core */
#include "inventory.h"

#include "agent_fixture.h"
#include "unit_main.h"
#include "units.h"

static struct sysfs sys, proc;

static void put_node(unsigned n, uint64_t total, uint64_t free_bytes)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "devices/system/node/node%u/meminfo", n);
    snprintf(text, sizeof text, "Node %u MemTotal:  %llu kB\nNode %u MemFree:   %llu kB\nNode %u MemUsed: 1 kB\n", n,
             (unsigned long long)(total / KIB), n, (unsigned long long)(free_bytes / KIB), n);
    fixture_put(path, text);
}

static void setup(void)
{
    struct err e = { 0 };
    fixture_make();
    put_node(0, 64 * GIB, 40 * GIB);
    ck_assert_int_eq(sysfs_init(&sys, fixture_dir, &e), 0);
    ck_assert_int_eq(sysfs_init(&proc, fixture_dir, &e), 0);
}

static void teardown(void)
{
    sysfs_done(&sys);
    sysfs_done(&proc);
    fixture_remove();
}

START_TEST(borrowed_nodes_are_never_counted)
{
    struct inventory_borrowed b = { 0 };
    struct inventory_memory m;
    struct err e = { 0 };
    put_node(1, 16 * GIB, 16 * GIB);
    b.bytes[1] = 16 * GIB;
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(m.memory_bytes, 64 * GIB);
    ck_assert_uint_eq(m.free_bytes, 40 * GIB);
    b.bytes[1] = 0;
    b.only[1] = true; /* not known to be online yet, but it can be nothing else */
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(m.free_bytes, 40 * GIB);
}
END_TEST

START_TEST(a_kernel_without_numa_nodes_is_one_node)
{
    struct inventory_borrowed b = { 0 };
    struct inventory_memory m;
    struct err e = { 0 };
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/devices/system/node", fixture_dir);
    snprintf(to, sizeof to, "%s/gone", fixture_dir);
    ck_assert_int_eq(rename(from, to), 0);
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), -1);
    fixture_put("meminfo", "MemTotal:       33554432 kB\nMemFree:        16777216 kB\nInactive(file):  1048576 kB\n");
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(m.memory_bytes, 32 * GIB);
    ck_assert_uint_eq(m.free_bytes, 17 * GIB);
    ck_assert_uint_eq(m.nodes[0].local_free_bytes, 17 * GIB);
    b.nowhere_bytes = 8 * GIB; /* what is borrowed is on no node that it could name, either */
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(m.memory_bytes, 24 * GIB);
    ck_assert_uint_eq(m.free_bytes, 9 * GIB);
}
END_TEST

START_TEST(borrowed_memory_on_a_mixed_node_is_taken_off)
{
    struct inventory_borrowed b = { .bytes = { 8 * GIB } };
    struct inventory_memory m;
    struct err e = { 0 };
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(m.memory_bytes, 56 * GIB);
    ck_assert_uint_eq(m.free_bytes, 32 * GIB);
}
END_TEST

START_TEST(meminfo_is_parsed_strictly)
{
    uint64_t v;
    struct err e = { 0 };
    ck_assert_int_eq(inventory_meminfo_field("Node 0 MemTotal:  12 kB\n", "MemTotal", &v, &e), 0);
    ck_assert_uint_eq(v, 12 * KIB);
    ck_assert_int_eq(inventory_meminfo_field("Node 0 XMemTotal: 12 kB\n", "MemTotal", &v, &e), -1);
    ck_assert_int_eq(inventory_meminfo_field("Node 0 MemTotal: 12 MB\n", "MemTotal", &v, &e), -1);
    ck_assert_int_eq(inventory_meminfo_field("Node 0 MemTotal: -1 kB\n", "MemTotal", &v, &e), -1);
    ck_assert_int_eq(inventory_meminfo_field("Node 0 MemTotal: 99999999999999999999 kB\n", "MemTotal", &v, &e), -1);
    ck_assert_int_eq(inventory_meminfo_field("Node 0 MemTotal:", "MemTotal", &v, &e), -1);
    ck_assert_int_eq(inventory_meminfo_field("", "MemTotal", &v, &e), -1);
}
END_TEST

START_TEST(offline_without_room_at_home_is_refused_with_the_numbers)
{
    struct inventory_borrowed b = { 0 };
    struct inventory_memory m;
    struct err e = { 0 };
    put_node(0, 64 * GIB, 1 * GIB);
    put_node(1, 16 * GIB, 2 * GIB); /* 14 GiB of it in use */
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 1, 16 * GIB, 0, &e), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "14 GiB"));
    put_node(0, 64 * GIB, 20 * GIB);
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 1, 16 * GIB, 0, &e), 0);
    ck_assert_int_eq(inventory_room(&m, -1, 16 * GIB, 0, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 1, 16 * GIB, 8 * GIB, &e), -1); /* the kernel's own reserve is not for this */
}
END_TEST

START_TEST(room_is_counted_right_where_borrowed_and_local_memory_share_a_node)
{
    struct inventory_borrowed b = { 0 };
    struct inventory_memory m;
    struct err e = { 0 };
    put_node(0, 24 * GIB, 12 * GIB); /* 16 local ones, 12 of them used; 8 borrowed ones, empty */
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 0, 8 * GIB, 0, &e), 0);
    put_node(0, 24 * GIB, 6 * GIB); /* whichever pages are where: 18 do not fit into 16 */
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 0, 8 * GIB, 0, &e), -1);
    ck_assert_int_eq(inventory_room(&m, -1, 8 * GIB, 0, &e), -1);
    fixture_put("sys/vm/min_free_kbytes", "1024\n");
    ck_assert_uint_eq(inventory_reserve(&sys), 2 * MIB);
    fixture_put("sys/vm/min_free_kbytes", "-1\n");
    ck_assert_uint_eq(inventory_reserve(&sys), 0);
}
END_TEST

START_TEST(identity_is_read_strictly)
{
    char id[ID_SIZE], path[128];
    struct err e = { 0 };
    fixture_put("machine-id", "0123456789abcdef0123456789abcdef\n");
    fixture_put("sys/kernel/random/boot_id", "b8e6d5f0-0000-4000-8000-000000000001\n");
    snprintf(path, sizeof path, "%s/machine-id", fixture_dir);
    ck_assert_int_eq(inventory_machine_id(path, id, &e), 0);
    ck_assert_str_eq(id, "0123456789abcdef0123456789abcdef");
    ck_assert_int_eq(inventory_boot_id(&sys, id, &e), 0);
    fixture_put("machine-id", "0123456789ABCDEF0123456789abcdef\n");
    ck_assert_int_eq(inventory_machine_id(path, id, &e), -1);
    fixture_put("sys/kernel/random/boot_id", "no id\n");
    ck_assert_int_eq(inventory_boot_id(&sys, id, &e), -1);
}
END_TEST

START_TEST(huge_pages_of_all_nodes_are_counted)
{
    uint64_t unused = 0;
    ck_assert_uint_eq(inventory_huge_pages(&sys, NULL, 2 * MIB, &unused), 0);
    fixture_put("devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
    fixture_put("devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "100\n");
    fixture_put("devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
    fixture_put("devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "what\n");
    ck_assert_uint_eq(inventory_huge_pages(&sys, NULL, 2 * MIB, &unused), 2 * GIB);
    ck_assert_uint_eq(unused, 200 * MIB);
}
END_TEST

START_TEST(a_lender_takes_from_its_own_nodes_only)
{
    static struct agent_config c;
    struct inventory_borrowed b = { 0 };
    struct inventory_memory m;
    struct err e = { 0 };
    put_node(1, 16 * GIB, 8 * GIB);
    ck_assert_int_eq(agent_config_load(&c, NULL, &e), 0);
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(inventory_lendable(&sys, &c, &m), 48 * GIB); /* nobody says which have processors */
    fixture_put("devices/system/node/has_cpu", "0\n");
    ck_assert_uint_eq(inventory_lendable(&sys, &c, &m), 40 * GIB);
    strcpy(c.lender_numa_nodes, "1");
    ck_assert_uint_eq(inventory_lendable(&sys, &c, &m), 8 * GIB);
    b.bytes[1] = 4 * GIB; /* small pages of that node may be borrowed ones: never lent on */
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(inventory_lendable(&sys, &c, &m), 0);
    ck_assert_int_eq(inventory_lends_borrowed(&sys, &c, &b), 1);
    put_node(252, 8 * GIB, 8 * GIB); /* a card's memory */
    strcpy(c.lender_numa_nodes, "252");
    ck_assert_int_eq(inventory_memory(&sys, &proc, &b, &m, &e), 0);
    ck_assert_uint_eq(inventory_lendable(&sys, &c, &m), 8 * GIB);
    strcpy(c.lender_numa_nodes, "0-1");
    ck_assert_uint_eq(inventory_lendable(&sys, &c, &m), 40 * GIB);
    strcpy(c.lender_numa_nodes, "0");
    ck_assert_int_eq(inventory_lends_borrowed(&sys, &c, &b), -1);
}
END_TEST

START_TEST(sets_are_parsed_strictly)
{
    static const char *const bad[] = {
        "", ",", "0,", "-1", "1-", "2-1", "0,,1", "64", "0-64", "99999999999", "0 1", "a"
    };
    unsigned long mask[1] = { 0 };
    struct err e = { 0 };
    ck_assert_int_eq(units_parse_set("0,2-5,63", mask, 64, &e), 0);
    ck_assert_uint_eq(mask[0], UINT64_C(0x800000000000003d));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(units_parse_set(bad[i], mask, 64, &e) == -1, "%s", bad[i]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("inventory");
    TCase *t = tcase_create("inventory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, borrowed_nodes_are_never_counted);
    tcase_add_test(t, borrowed_memory_on_a_mixed_node_is_taken_off);
    tcase_add_test(t, a_kernel_without_numa_nodes_is_one_node);
    tcase_add_test(t, meminfo_is_parsed_strictly);
    tcase_add_test(t, offline_without_room_at_home_is_refused_with_the_numbers);
    tcase_add_test(t, room_is_counted_right_where_borrowed_and_local_memory_share_a_node);
    tcase_add_test(t, identity_is_read_strictly);
    tcase_add_test(t, a_lender_takes_from_its_own_nodes_only);
    tcase_add_test(t, sets_are_parsed_strictly);
    tcase_add_test(t, huge_pages_of_all_nodes_are_counted);
    suite_add_tcase(s, t);
    return unit_main(s);
}
