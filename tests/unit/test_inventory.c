/* test_inventory.c - agent/inventory.h: local memory, room before an offline, identity, findings. */
/* links: memlane-agent-core */
#include "inventory.h"

#include "agent_fixture.h"
#include "units.h"

static struct sysfs sys;

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
}

static void teardown(void)
{
    sysfs_done(&sys);
    fixture_remove();
}

START_TEST(borrowed_nodes_are_never_counted)
{
    struct inventory_borrowed b = { 0 };
    struct inventory_memory m;
    struct err e = { 0 };
    put_node(1, 16 * GIB, 16 * GIB);
    b.bytes[1] = 16 * GIB;
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
    ck_assert_uint_eq(m.memory_bytes, 64 * GIB);
    ck_assert_uint_eq(m.free_bytes, 40 * GIB);
    b.bytes[1] = 0;
    b.only[1] = true; /* not known to be online yet, but it can be nothing else */
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
    ck_assert_uint_eq(m.free_bytes, 40 * GIB);
}
END_TEST

START_TEST(borrowed_memory_on_a_mixed_node_is_taken_off)
{
    struct inventory_borrowed b = { .bytes = { 8 * GIB } };
    struct inventory_memory m;
    struct err e = { 0 };
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
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
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 1, 16 * GIB, 0, &e), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "14 GiB"));
    put_node(0, 64 * GIB, 20 * GIB);
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
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
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
    ck_assert_int_eq(inventory_room(&m, 0, 8 * GIB, 0, &e), 0);
    put_node(0, 24 * GIB, 6 * GIB); /* whichever pages are where: 18 do not fit into 16 */
    ck_assert_int_eq(inventory_memory(&sys, &b, &m, &e), 0);
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

static bool has(const struct wire_finding *f, unsigned n, const char *code)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(f[i].code, code) == 0)
            return f[i].advice[0] != '\0' && f[i].detail[0] != '\0';
    return false;
}

START_TEST(findings_say_what_is_wrong_and_what_to_do)
{
    static struct agent_config c;
    static struct wire_finding f[WIRE_MAX_FINDINGS];
    struct err e = { 0 };
    ck_assert_int_eq(agent_config_load(&c, NULL, &e), 0);
    ck_assert_int_eq(agent_config_set(&c, "state_dir", fixture_dir, &e), 0);
    ck_assert_int_eq(agent_config_set(&c, "run_dir", fixture_dir, &e), 0);
    c.n_adapters = 1;
    strcpy(c.adapters[0].wire.name, "afu0");
    strcpy(c.adapters[0].device, "/nonexistent/device");
    unsigned n = inventory_findings(&c, &sys, "no library", f);
    ck_assert(has(f, n, "no_memory_hotplug") && has(f, n, "device_missing") && has(f, n, "no_libocxl"));
    fixture_put("devices/system/memory/block_size_bytes", "10000000\n");
    fixture_put("devices/system/memory/probe", "");
    fixture_put("devices/system/memory/auto_online_blocks", "online\n");
    snprintf(c.adapters[0].device, sizeof c.adapters[0].device, "%s", fixture_dir);
    n = inventory_findings(&c, &sys, NULL, f);
    ck_assert_uint_eq(n, 1);
    ck_assert(has(f, n, "auto_online_policy"));
    fixture_put("devices/system/memory/auto_online_blocks", "offline\n");
    ck_assert_uint_eq(inventory_findings(&c, &sys, NULL, f), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("inventory");
    TCase *t = tcase_create("inventory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, borrowed_nodes_are_never_counted);
    tcase_add_test(t, borrowed_memory_on_a_mixed_node_is_taken_off);
    tcase_add_test(t, meminfo_is_parsed_strictly);
    tcase_add_test(t, offline_without_room_at_home_is_refused_with_the_numbers);
    tcase_add_test(t, room_is_counted_right_where_borrowed_and_local_memory_share_a_node);
    tcase_add_test(t, identity_is_read_strictly);
    tcase_add_test(t, findings_say_what_is_wrong_and_what_to_do);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
