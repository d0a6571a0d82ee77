/* converge_fixture.h - an agent of the test's own for each test of how it carries out orders: an adapter (fake_ocxl.c),
 * memory blocks in memory that is shared with the hot-plug child, and one section, channel and segment to order.
 * Include it once in a test. */
#ifndef MEMLANE_TEST_CONVERGE_FIXTURE_H
#define MEMLANE_TEST_CONVERGE_FIXTURE_H

#include "agent_fixture.h"
#include "converge.h"
#include "orders.h"
#include "registers.h"
#include "units.h"

#include <libgen.h>
#include <poll.h>
#include <sys/mman.h>

#define WINDOW (UINT64_C(2) << 48)
#define BLOCK (UINT64_C(256) << 20)
#define FIRST (WINDOW / BLOCK)
#define VALUE UINT64_C(0x7e0000000001) /* an arena's base over port 0 */

static struct kernel {
    enum block_state state[8];
    bool refuses, hangs, unreadable;
    unsigned bad_blocks;           /* bit n: block n cannot be read */
    unsigned n_orders, hangs_from; /* so many orders are carried out before one hangs */
} * kernel;

static int fake_read(const struct sysfs *fs, uint64_t block, enum block_state *state, bool *movable, struct err *e)
{
    (void)fs;
    if (kernel->unreadable || (block - FIRST < 8 && kernel->bad_blocks >> (block - FIRST) & 1))
        return err_set(e, ERR_IO, "memory%llu: unreadable", (unsigned long long)block);
    *state = block - FIRST < 8 ? kernel->state[block - FIRST] : BLOCK_ABSENT;
    *movable = *state == BLOCK_ONLINE;
    return 0;
}

static int fake_set(uint64_t block, enum block_state to, struct err *e)
{
    kernel->n_orders++;
    while (kernel->hangs && kernel->n_orders > kernel->hangs_from)
        poll(NULL, 0, 5);
    if (kernel->refuses)
        return err_set(e, ERR_BUSY, "memory%llu: busy", (unsigned long long)block);
    kernel->state[block - FIRST] = to;
    return 0;
}

/* Creates the block, too: from here on the kernel may read what is behind it. */
static int fake_online(const struct sysfs *fs, uint64_t block, uint64_t bytes, bool probe, long await_ms, struct err *e)
{
    (void)fs;
    (void)bytes;
    (void)probe;
    (void)await_ms;
    return fake_set(block, BLOCK_ONLINE, e);
}

static int fake_offline(const struct sysfs *fs, uint64_t block, struct err *e)
{
    (void)fs;
    return fake_set(block, BLOCK_OFFLINE, e);
}

static const struct block_ops fake_blocks = { fake_read, fake_online, fake_offline };

static struct agent_config config;
static struct node node;
static struct ocxl_library adapter; /* loaded once more: its registers outlive an agent */

static void set(const char *key, const char *file)
{
    char path[128];
    struct err e = { 0 };
    snprintf(path, sizeof path, "%s%s", fixture_dir, file);
    ck_assert_int_eq(agent_config_set(&config, key, path, &e), 0);
}

static void make_config(void)
{
    struct err e = { 0 };
    char own[512] = "", library[600];
    ck_assert_int_gt(readlink("/proc/self/exe", own, sizeof own - 1), 0);
    snprintf(library, sizeof library, "%s/../lib/tests/fake_ocxl.so", dirname(own));
    ck_assert_int_eq(agent_config_load(&config, NULL, &e), 0);
    ck_assert_int_eq(agent_config_set(&config, "ocxl_library", library, &e), 0);
    ck_assert_int_eq(agent_config_set(&config, "platform", "emulated", &e), 0);
    ck_assert_int_eq(agent_config_set(&config, "settle_ms", "1", &e), 0);
    ck_assert_int_eq(agent_config_set(&config, "name", "n1", &e), 0);
    set("state_dir", "");
    set("run_dir", "");
    set("sysfs_root", "");
    set("procfs_root", "");
    set("emulator_dir", "/emulator");
    set("machine_id_file", "/machine-id");
    struct adapter_config *a = &config.adapters[config.n_adapters++];
    strcpy(a->wire.name, "afu0");
    strcpy(a->device, "/dev/any");
    a->wire.ports = 2;
    a->wire.window_addr = WINDOW;
    a->wire.window_bytes = 4 * TIB;
    ck_assert_int_eq(agent_config_finish(&config, &e), 0);
}

static void start_agent(void)
{
    struct err e = { 0 };
    ck_assert_int_eq(node_init(&node, &config, -1, &e), 0);
    hotplug_free(node.hotplug);
    struct hotplug_options o = { &node.sys, &node.platform, &fake_blocks, &node.children, 1000 };
    ck_assert_int_eq(hotplug_new(&node.hotplug, &o, &e), 0);
    node_discover(&node);
}

static void setup(void)
{
    fixture_make();
    fixture_put("devices/system/memory/block_size_bytes", "10000000\n");
    fixture_put("devices/system/node/node0/meminfo", "Node 0 MemTotal: 67108864 kB\nNode 0 MemFree: 33554432 kB\n");
    fixture_put("sys/kernel/random/boot_id", "boot-1\n");
    fixture_put("machine-id", "0123456789abcdef0123456789abcdef\n");
    fixture_put("emulator/touch", "");
    fixture_put("emulator/quiesce", "");
    kernel = mmap(NULL, sizeof *kernel, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(kernel, MAP_FAILED);
    struct err e = { 0 };
    make_config();
    ck_assert_int_eq(ocxl_library_load(&adapter, config.ocxl_library, &e), 0);
    start_agent();
}

static void teardown(void)
{
    node_done(&node);
    ocxl_library_unload(&adapter);
    munmap(kernel, sizeof *kernel);
    fixture_remove();
}

static struct wire_want_section section = { "afu0", 0, false, VALUE };
static struct wire_want_channel channel = { "afu0", 0, true };
static struct wire_want_segment segment = { "a1", WIRE_CREATE, 1, "afu0", 0, 0, 4 * BLOCK };

static bool in_steps; /* the test looks at orders that are under way */

static inline void apply(bool with_segment)
{
    static uint64_t revision;
    struct wire_desired d = { .epoch = 1, .revision = ++revision };
    d.sections = &section;
    d.channels = &channel;
    d.segments = &segment;
    d.n_sections = d.n_channels = 1;
    d.n_segments = with_segment;
    converge_apply(&node, &d);
    ck_assert_uint_eq(node.revision, revision);
    for (int i = 0; !in_steps && node.job.running && i < 30; i++) /* on a machine that is slow */
        orders_tend(&node, 1000);
}

static inline uint64_t reg(unsigned n)
{
    uint64_t v;
    struct err e = { 0 };
    ck_assert_int_eq(afu_ops(node.adapters[0].afu)->read_section(node.adapters[0].afu, n, &v, &e), 0);
    return v;
}

static inline void attach(void)
{
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    segment.want = WIRE_CREATE;
    apply(true);
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
}

#endif
