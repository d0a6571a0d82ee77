/* test_findings.c - agent/findings.h, agent/kernel.h: what an operator is told, from files of the test's own. */
/* links: memlane-agent-core */
#include "findings.h"

#include "agent_fixture.h"
#include "block.h"
#include "unit_main.h"
#include "units.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define NOBODY 65534

static struct sysfs sys;
static struct agent_config config;
static struct wire_finding found[WIRE_MAX_FINDINGS];
static unsigned n_found;
static bool ocxl_emulated;
static struct inventory_borrowed borrowed;
static bool not_movable[WIRE_MAX_ADAPTERS];

static void set(const char *key, const char *value)
{
    struct err e = { 0 };
    ck_assert_int_eq(agent_config_set(&config, key, value, &e), 0);
}

static void setup(void)
{
    struct err e = { 0 };
    fixture_make();
    fixture_put("sys/kernel/random/boot_id", "boot-1\n");
    fixture_put("sys/kernel/osrelease", "6.1.0-1-test\n");
    fixture_put("machine-id", "0123456789abcdef0123456789abcdef\n");
    fixture_put("credential", "secret\n");
    fixture_put(BLOCK_DIR "/block_size_bytes", "10000000\n");
    fixture_put(BLOCK_DIR "/probe", "");
    fixture_put(BLOCK_DIR "/auto_online_blocks", "offline\n");
    ck_assert_int_eq(sysfs_init(&sys, fixture_dir, &e), 0);
    ck_assert_int_eq(agent_config_load(&config, NULL, &e), 0);
    char path[128];
    snprintf(path, sizeof path, "%s/machine-id", fixture_dir);
    set("machine_id_file", path);
    set("state_dir", fixture_dir);
    set("run_dir", fixture_dir);
    set("boot_dir", fixture_dir);
    set("platform", "emulated"); /* the fixture is no sysfs */
}

static void teardown(void)
{
    sysfs_done(&sys);
    fixture_remove();
}

static void add_adapter(const char *name, enum wire_role role)
{
    struct adapter_config *a = &config.adapters[config.n_adapters++];
    strcpy(a->wire.name, name);
    a->wire.role = role;
    a->wire.ports = 2;
    strcpy(a->device, fixture_dir);
}

static void look(const char *ocxl_error)
{
    struct kernel_facts kernel;
    kernel_facts_read(&kernel, &sys, &sys, config.boot_dir);
    const struct findings_source from = {
        .config = &config,
        .sys = &sys,
        .proc = &sys,
        .kernel = &kernel,
        .ocxl_error = ocxl_error,
        .ocxl_emulated = ocxl_emulated,
        .borrowed = &borrowed,
        .not_movable = not_movable,
    };
    n_found = findings_read(&from, found);
}

static bool on_power(void)
{
    struct utsname u;
    return uname(&u) == 0 && strncmp(u.machine, "ppc64", 5) == 0;
}

static const struct wire_finding *find(const char *code)
{
    for (unsigned i = 0; i < n_found; i++)
        if (strcmp(found[i].code, code) == 0) {
            ck_assert(found[i].detail[0] && found[i].advice[0]);
            return &found[i];
        }
    return NULL;
}

static bool is(const char *code, enum wire_severity severity)
{
    const struct wire_finding *f = find(code);
    return f && f->severity == severity;
}

START_TEST(a_node_that_is_well_has_nothing_but_its_marker)
{
    add_adapter("afu0", WIRE_COMPUTE);
    look(NULL);
    ck_assert_uint_eq(n_found, 1);
    ck_assert(is("emulated", WIRE_INFO));
}
END_TEST

START_TEST(without_parts_nothing_is_asked_of_the_kernel)
{
    fixture_put(BLOCK_DIR "/auto_online_blocks", "online\n");
    look("no library");
    ck_assert_uint_eq(n_found, 2);
    ck_assert(is("no_adapter", WIRE_INFO));
}
END_TEST

START_TEST(policies_are_told_as_what_they_are)
{
    add_adapter("afu0", WIRE_COMPUTE);
    fixture_put(BLOCK_DIR "/auto_online_blocks", "online\n");
    look(NULL);
    ck_assert(is("auto_online_policy", WIRE_WARNING));
    fixture_put(BLOCK_DIR "/auto_online_blocks", "online_kernel\n");
    look(NULL);
    ck_assert(is("auto_online_policy", WIRE_WARNING));
    fixture_put(BLOCK_DIR "/auto_online_blocks", "online_movable\n");
    look(NULL);
    ck_assert(is("auto_online_policy", WIRE_INFO));
    fixture_put(BLOCK_DIR "/auto_online_blocks", "offline\n");
    fixture_put("cmdline", "root=/dev/sda memhp_default_state=online quiet\n");
    look(NULL);
    ck_assert(!find("auto_online_policy") && is("boot_policy", WIRE_WARNING));
    fixture_put("cmdline", "memhp_default_state=offline movable_node\n");
    look(NULL);
    ck_assert_uint_eq(n_found, 1);
}
END_TEST

START_TEST(a_kernel_that_cannot_give_memory_back_is_an_error)
{
    add_adapter("afu0", WIRE_COMPUTE);
    fixture_put("config-6.1.0-1-test", "# nothing\nCONFIG_MEMORY_HOTPLUG=y\n# CONFIG_MEMORY_HOTREMOVE is not set\n");
    look(NULL);
    ck_assert(is("no_memory_hot_remove", WIRE_ERROR));
    fixture_put("config-6.1.0-1-test", "CONFIG_MEMORY_HOTPLUG=y\nCONFIG_MEMORY_HOTREMOVE=y\nCONFIG_OCXL=m\n");
    fixture_put("module/memory_hotplug/parameters/memmap_on_memory", "Y\n");
    look(NULL);
    ck_assert(!find("no_memory_hot_remove") && is("memmap_on_memory", WIRE_WARNING));
    fixture_put("module/memory_hotplug/parameters/memmap_on_memory", "N\n");
    fixture_remove();
    fixture_make();
    look(NULL);
    ck_assert(is("no_memory_hotplug", WIRE_ERROR));
}
END_TEST

START_TEST(adapters_and_library_are_looked_for)
{
    add_adapter("afu0", WIRE_COMPUTE);
    strcpy(config.adapters[0].device, "/nonexistent/device");
    look("no library");
    ck_assert(is("device_missing", WIRE_ERROR));
    ck_assert(is("no_libocxl", WIRE_ERROR));
}
END_TEST

START_TEST(a_lenders_memory_has_to_be_memory)
{
    char path[128];
    add_adapter("afu1", WIRE_MEMORY);
    look(NULL);
    ck_assert(is("no_lender_socket", WIRE_ERROR) && is("small_pages", WIRE_INFO));
    fixture_put("lender-afu1.sock", "");
    snprintf(path, sizeof path, "%s/nowhere", fixture_dir);
    set("lender_backing_dir", path);
    look(NULL);
    ck_assert(!find("no_lender_socket") && is("no_backing_dir", WIRE_ERROR));
    set("lender_backing_dir", "/proc");
    look(NULL);
    ck_assert(is("backing_not_memory", WIRE_ERROR));
    set("lender_backing_dir", "/dev/shm");
    look(NULL);
    ck_assert_uint_eq(n_found, 1);
}
END_TEST

/* A hugetlbfs can be mounted though the machine has no huge page; which are reserved where, the fixture says. */
START_TEST(huge_pages_have_to_be_reserved_on_the_nodes_that_are_lent_from)
{
    char path[128];
    fixture_put("huge/x", "");
    snprintf(path, sizeof path, "%s/huge", fixture_dir);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", path, "hugetlbfs", 0, "mode=0700,pagesize=2M") < 0)
        return; /* nobody but root may */
    add_adapter("afu1", WIRE_MEMORY);
    fixture_put("devices/system/node/has_cpu", "0\n");
    fixture_put("devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
    set("lender_backing_dir", path);
    look(NULL);
    ck_assert(is("no_huge_pages", WIRE_ERROR));
    fixture_put("devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
    look(NULL);
    ck_assert(!find("no_huge_pages"));
    umount(path);
}
END_TEST

START_TEST(adapters_of_ours_that_are_not_configured_are_told)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/dev", "tmpfs", 0, NULL) < 0)
        return; /* nobody but root may have a /dev of its own */
    ck_assert_int_eq(mkdir("/dev/ocxl", 0755), 0);
    ck_assert_int_eq(mknod("/dev/ocxl/IBM,RMEM.0004:00:00.0.0", S_IFREG | 0600, 0), 0);
    ck_assert_int_eq(mknod("/dev/ocxl/IBM,RMEM.0004:00:00.1.0", S_IFREG | 0600, 0), 0);
    ck_assert_int_eq(mknod("/dev/ocxl/IBM,MEMCPY3.0005:00:00.0.0", S_IFREG | 0600, 0), 0);
    add_adapter("afu0", WIRE_COMPUTE);
    strcpy(config.adapters[0].device, "/dev/ocxl/IBM,RMEM.0004:00:00.0.0");
    look(NULL);
    ck_assert(!find("adapter_unused")); /* an emulated node has none in /dev */
    set("platform", "linux");
    look(NULL);
    ck_assert(is("adapter_unused", WIRE_WARNING));
    ck_assert_ptr_nonnull(strstr(find("adapter_unused")->detail, "IBM,RMEM.0004:00:00.1.0 "));
    unsigned count = 0;
    for (unsigned i = 0; i < n_found; i++)
        count += strcmp(found[i].code, "adapter_unused") == 0;
    ck_assert_uint_eq(count, 1);
}
END_TEST

START_TEST(borrowed_memory_is_not_lent_on)
{
    add_adapter("afu0", WIRE_COMPUTE);
    add_adapter("afu1", WIRE_MEMORY);
    fixture_put("lender-afu1.sock", "");
    fixture_put("devices/system/node/has_cpu", "0\n");
    borrowed.bytes[1] = GIB; /* on a node of its own */
    look(NULL);
    ck_assert(!find("borrowed_on_lending_node"));
    borrowed.bytes[0] = GIB;
    look(NULL);
    ck_assert(is("borrowed_on_lending_node", WIRE_WARNING));
    set("lender_numa_nodes", "2");
    look(NULL);
    ck_assert(!find("borrowed_on_lending_node"));
}
END_TEST

START_TEST(memory_of_another_zone_in_a_window_is_an_error)
{
    add_adapter("afu0", WIRE_COMPUTE);
    add_adapter("afu1", WIRE_COMPUTE);
    look(NULL);
    ck_assert(!find("window_not_movable"));
    not_movable[1] = true;
    look(NULL);
    ck_assert(is("window_not_movable", WIRE_ERROR));
    ck_assert_ptr_nonnull(strstr(find("window_not_movable")->detail, "window of afu1 "));
}
END_TEST

START_TEST(emulated_adapters_under_a_real_kernel_are_marked)
{
    add_adapter("afu0", WIRE_COMPUTE);
    set("platform", "linux");
    look(NULL);
    ck_assert(!find("emulated_adapters"));
    ocxl_emulated = true;
    look(NULL);
    ck_assert(is("emulated_adapters", WIRE_INFO));
    set("platform", "emulated"); /* said once */
    look(NULL);
    ck_assert(!find("emulated_adapters") && is("emulated", WIRE_INFO));
}
END_TEST

START_TEST(sparse_memory_of_a_real_node_is_an_error)
{
    add_adapter("afu1", WIRE_MEMORY);
    fixture_put("lender-afu1.sock", "");
    set("lender_backing", "sparse");
    look(NULL);
    ck_assert(!find("sparse_backing"));
    set("platform", "linux");
    look(NULL);
    ck_assert(is("sparse_backing", WIRE_ERROR));
}
END_TEST

START_TEST(large_blocks_and_a_missing_probe_are_told)
{
    char path[128];
    add_adapter("afu0", WIRE_COMPUTE);
    look(NULL);
    ck_assert(!find("block_size") && !find("no_probe"));
    fixture_put(BLOCK_DIR "/block_size_bytes", "80000000\n");
    snprintf(path, sizeof path, "%s/" BLOCK_DIR "/probe", fixture_dir);
    ck_assert_int_eq(unlink(path), 0);
    look(NULL);
    ck_assert(is("block_size", WIRE_WARNING) && is("no_probe", WIRE_INFO));
    set("platform", "linux"); /* nobody but probe adds blocks to a POWER server */
    look(NULL);
    ck_assert(is("no_probe", on_power() ? WIRE_ERROR : WIRE_INFO));
}
END_TEST

START_TEST(a_kernel_without_the_driver_is_told_with_the_library)
{
    add_adapter("afu0", WIRE_COMPUTE);
    set("platform", "linux");
    fixture_put("config-6.1.0-1-test", "CONFIG_MEMORY_HOTREMOVE=y\n# CONFIG_OCXL is not set\n");
    look(NULL);
    ck_assert(!find("no_ocxl_driver"));
    look("no library");
    ck_assert(is("no_libocxl", WIRE_ERROR) && is("no_ocxl_driver", WIRE_ERROR));
    fixture_put("config-6.1.0-1-test", "CONFIG_MEMORY_HOTREMOVE=y\nCONFIG_OCXL=m\n");
    look("no library");
    ck_assert(!find("no_ocxl_driver"));
}
END_TEST

/* Root may do everything: what is looked at now is seen by another user. */
static void look_as_nobody(void)
{
    bool root = geteuid() == 0;
    ck_assert_int_eq(chmod(fixture_dir, 0755), 0);
    ck_assert(!root || (setresgid(NOBODY, NOBODY, 0) == 0 && setresuid(NOBODY, NOBODY, 0) == 0));
    look(NULL);
    ck_assert(!root || (setresuid(0, 0, 0) == 0 && setresgid(0, 0, 0) == 0));
}

START_TEST(what_this_user_may_not_do_is_told)
{
    char path[128];
    add_adapter("afu0", WIRE_COMPUTE);
    add_adapter("afu1", WIRE_MEMORY);
    fixture_put("lender-afu1.sock", "");
    fixture_put("device", "");
    snprintf(path, sizeof path, "%s/device", fixture_dir);
    strcpy(config.adapters[0].device, path);
    ck_assert_int_eq(chmod(path, 0400), 0);
    snprintf(path, sizeof path, "%s/" BLOCK_DIR "/probe", fixture_dir);
    ck_assert_int_eq(chmod(path, 0400), 0);
    for (const char *const *d = (const char *const[]){ "devices", "devices/system", BLOCK_DIR, NULL }; *d; d++) {
        snprintf(path, sizeof path, "%s/%s", fixture_dir, *d);
        ck_assert_int_eq(chmod(path, 0755), 0);
    }
    const struct rlimit small = { 64 * KIB, 64 * KIB };
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &small), 0);
    set("lender_program", "/usr/bin/memlane-lender"); /* a lender that the agent starts has the agent's limit */
    look_as_nobody();
    ck_assert(is("device_permission", WIRE_ERROR));
    ck_assert(is("hotplug_permission", WIRE_ERROR));
    ck_assert(is("memlock_limit", WIRE_WARNING));
}
END_TEST

static void say(size_t *n, uint64_t memlock_bytes, uint64_t page_bytes, uint64_t numa_nodes)
{
    const struct afu_lender_facts facts = { memlock_bytes, page_bytes, numa_nodes };
    findings_of_lender(found, n, &config, &sys, "afu1", &facts);
}

START_TEST(what_a_lender_says_of_itself_has_to_fit)
{
    size_t n = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    fixture_put("devices/system/node/has_cpu", "0-1\n");
    say(&n, UINT64_MAX, page, 3);
    say(&n, 0, 0, 0); /* an older lender says nothing */
    ck_assert_uint_eq(n, 0);
    say(&n, 64 * KIB, 2 * GIB, 3);
    n_found = (unsigned)n;
    ck_assert_uint_eq(n, 2);
    ck_assert(is("memlock_limit", WIRE_WARNING) && is("lender_differs", WIRE_WARNING));
    ck_assert_ptr_nonnull(strstr(find("memlock_limit")->detail, "afu1 is 64 KiB"));
    n = 0;
    say(&n, UINT64_MAX, page, 1); /* the agent counts two nodes */
    n_found = (unsigned)n;
    ck_assert_ptr_nonnull(strstr(find("lender_differs")->detail, "nodes 0, the agent counts 0,1"));
    set("lender_program", "/usr/bin/memlane-lender"); /* started by the agent, with its options and limits */
    n = 0;
    say(&n, 64 * KIB, 2 * GIB, 1);
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(adapters_have_each_a_device_and_a_window_of_its_own)
{
    struct err e = { 0 };
    set("name", "n1");
    add_adapter("afu0", WIRE_COMPUTE);
    add_adapter("afu1", WIRE_MEMORY);
    struct adapter_config *a = config.adapters;
    a[0].wire.window_addr = TIB;
    a[0].wire.window_bytes = 2 * TIB;
    ck_assert_int_eq(agent_config_finish(&config, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.detail, "same device"));
    strcpy(a[1].device, "/dev/other");
    ck_assert_int_eq(agent_config_finish(&config, &e), 0);
    add_adapter("afu2", WIRE_COMPUTE);
    strcpy(a[2].device, "/dev/third");
    a[2].wire.window_addr = 2 * TIB;
    a[2].wire.window_bytes = TIB;
    ck_assert_int_eq(agent_config_finish(&config, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.detail, "overlap"));
    a[2].wire.window_addr = 3 * TIB;
    ck_assert_int_eq(agent_config_finish(&config, &e), 0);
}
END_TEST

START_TEST(platform_and_files_have_to_fit_together)
{
    set("platform", "linux");
    look(NULL);
    ck_assert(is("sysfs_not_real", WIRE_WARNING));
    struct err e = { 0 };
    sysfs_done(&sys);
    ck_assert_int_eq(sysfs_init(&sys, "/sys", &e), 0);
    set("platform", "emulated");
    look(NULL);
    ck_assert(is("emulated_on_real_kernel", WIRE_ERROR));
}
END_TEST

START_TEST(an_agent_that_cannot_enrol_or_write_is_told)
{
    set("state_dir", "/nonexistent/memlane/state");
    look(NULL);
    ck_assert(is("directory_permission", WIRE_ERROR) && is("not_enrolled", WIRE_ERROR));
    set("join_token_file", "/nonexistent/token");
    look(NULL);
    ck_assert(is("no_join_token", WIRE_ERROR));
    set("machine_id_file", "/nonexistent/machine-id");
    look(NULL);
    ck_assert(is("no_machine_id", WIRE_ERROR) && !find("no_boot_id"));
    fixture_put("sys/kernel/random/boot_id", "no id\n");
    look(NULL);
    ck_assert(is("no_boot_id", WIRE_ERROR));
}
END_TEST

START_TEST(command_lines_are_taken_word_by_word)
{
    struct kernel_facts k = { 0 };
    kernel_command_line(&k, "xmemhp_default_state=online movable_nodes memhp_default_state=");
    ck_assert(!k.movable_node && k.boot_policy[0] == '\0');
    kernel_command_line(&k, "  movable_node memhp_default_state=online_movable\n");
    ck_assert(k.movable_node);
    ck_assert_str_eq(k.boot_policy, "online_movable");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("findings");
    TCase *t = tcase_create("findings");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_node_that_is_well_has_nothing_but_its_marker);
    tcase_add_test(t, without_parts_nothing_is_asked_of_the_kernel);
    tcase_add_test(t, policies_are_told_as_what_they_are);
    tcase_add_test(t, a_kernel_that_cannot_give_memory_back_is_an_error);
    tcase_add_test(t, adapters_and_library_are_looked_for);
    tcase_add_test(t, a_lenders_memory_has_to_be_memory);
    tcase_add_test(t, huge_pages_have_to_be_reserved_on_the_nodes_that_are_lent_from);
    tcase_add_test(t, adapters_of_ours_that_are_not_configured_are_told);
    tcase_add_test(t, borrowed_memory_is_not_lent_on);
    tcase_add_test(t, memory_of_another_zone_in_a_window_is_an_error);
    tcase_add_test(t, emulated_adapters_under_a_real_kernel_are_marked);
    tcase_add_test(t, sparse_memory_of_a_real_node_is_an_error);
    tcase_add_test(t, large_blocks_and_a_missing_probe_are_told);
    tcase_add_test(t, a_kernel_without_the_driver_is_told_with_the_library);
    tcase_add_test(t, what_this_user_may_not_do_is_told);
    tcase_add_test(t, what_a_lender_says_of_itself_has_to_fit);
    tcase_add_test(t, adapters_have_each_a_device_and_a_window_of_its_own);
    tcase_add_test(t, platform_and_files_have_to_fit_together);
    tcase_add_test(t, an_agent_that_cannot_enrol_or_write_is_told);
    tcase_add_test(t, command_lines_are_taken_word_by_word);
    suite_add_tcase(s, t);
    return unit_main(s);
}
