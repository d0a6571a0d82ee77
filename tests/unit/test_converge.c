/* test_converge.c - agent/converge.h: orders against an adapter (fake_ocxl.c) and memory blocks of the test's own. */
/* links: memlane-agent-core */
#include "converge.h"

#include "agent_fixture.h"
#include "observe.h"
#include "orders.h"
#include "registers.h"
#include "units.h"

#include <dlfcn.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#define WINDOW (UINT64_C(2) << 48)
#define BLOCK (UINT64_C(256) << 20)
#define FIRST (WINDOW / BLOCK)
#define VALUE UINT64_C(0x7e0000000001) /* an arena's base over port 0 */

static struct kernel {
    enum block_state state[8];
    bool refuses, hangs;
    unsigned n_orders, hangs_from; /* so many orders are carried out before one hangs */
} * kernel;

static int fake_read(const struct sysfs *fs, uint64_t block, enum block_state *state, bool *movable, struct err *e)
{
    (void)fs;
    (void)e;
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

/* ---- orders -------------------------------------------------------------------------------------------------------
 */
static struct wire_want_section section = { "afu0", 0, false, VALUE };
static struct wire_want_channel channel = { "afu0", 0, true };
static struct wire_want_segment segment = { "a1", WIRE_CREATE, 1, "afu0", 0, 0, 4 * BLOCK };

static void apply(bool with_segment)
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
}

static uint64_t reg(unsigned n)
{
    uint64_t v;
    struct err e = { 0 };
    ck_assert_int_eq(afu_ops(node.adapters[0].afu)->read_section(node.adapters[0].afu, n, &v, &e), 0);
    return v;
}

static unsigned channels(void)
{
    unsigned v;
    struct err e = { 0 };
    ck_assert_int_eq(afu_ops(node.adapters[0].afu)->channels(node.adapters[0].afu, &v, &e), 0);
    return v;
}

static void attach(void)
{
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    segment.want = WIRE_CREATE;
    apply(true);
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
}

START_TEST(idle_sections_are_parked_before_a_channel_leaves_reset)
{
    channel.up = true;
    section.value = VALUE;
    apply(false);
    ck_assert_uint_eq(channels(), 1);
    ck_assert_uint_eq(reg(0), VALUE);
    for (unsigned i = 1; i < WIRE_SECTIONS; i++)
        ck_assert(wire_section_is_parked(reg(i), i));
}
END_TEST

static bool observed_finding(const char *code)
{
    struct wire_observed o;
    struct err e = { 0 };
    bool found = false;
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    for (size_t i = 0; i < o.n_findings; i++)
        found |= strcmp(o.findings[i].code, code) == 0;
    wire_observed_done(&o);
    return found;
}

/* This adapter counts nothing, so no touch is seen. */
START_TEST(memory_that_no_touch_was_seen_to_reach_is_told)
{
    ck_assert(!observed_finding("untouched"));
    attach();
    ck_assert(observed_finding("untouched"));
    node.segments[0].label.touched = true;
    ck_assert(!observed_finding("untouched"));
}
END_TEST

START_TEST(an_error_that_the_adapter_captured_is_told)
{
    void (*capture)(uint64_t value);
    *(void **)&capture = dlsym(adapter.handle, "fake_ocxl_capture");
    ck_assert_ptr_nonnull(capture);
    ck_assert(!observed_finding("adapter_error"));
    capture(0x40);
    ck_assert(observed_finding("adapter_error"));
    capture(0);
}
END_TEST

static void put_block(const char *zones)
{
    char path[96];
    snprintf(path, sizeof path, "devices/system/memory/memory%llu/state", (unsigned long long)FIRST + 3);
    fixture_put(path, "online\n");
    snprintf(path, sizeof path, "devices/system/memory/memory%llu/valid_zones", (unsigned long long)FIRST + 3);
    fixture_put(path, zones);
}

START_TEST(a_window_over_the_servers_own_memory_is_refused_before_anything_is_borrowed)
{
    struct err e = { 0 };
    char labels[96];
    snprintf(labels, sizeof labels, "%s/labels", fixture_dir);
    node_done(&node);
    ck_assert_int_eq(rmdir(labels), 0);
    ck_assert_int_eq(agent_config_set(&config, "platform", "linux", &e), 0);
    put_block("Normal\n");
    for (int again = 0; again < 2; again++) { /* whoever is refused leaves nothing that lets the next one pass */
        ck_assert_int_eq(node_init(&node, &config, -1, &e), -1);
        ck_assert_int_eq(e.code, ERR_CONFLICT);
        ck_assert_ptr_nonnull(
            strstr(e.detail, "window of afu0 covers this server's own memory: 1 block, the first one"));
        node_done(&node);
    }
    put_block("Movable\n");
    ck_assert_int_eq(node_init(&node, &config, -1, &e), 0);
    node_done(&node);
    put_block("Normal\n"); /* while an agent of this boot ran: it may be borrowed, and is told */
    ck_assert_int_eq(node_init(&node, &config, -1, &e), 0);
    node_discover(&node);
    ck_assert(observed_finding("window_not_movable"));
}
END_TEST

START_TEST(attach_brings_blocks_online_and_reports_them)
{
    struct wire_observed o;
    struct err e = { 0 };
    attach();
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    while (observe_settles_ns(&node) != INT64_MAX)
        ;
    observe_settled(&node, &o);
    ck_assert_uint_eq(o.n_segments, 1);
    ck_assert_uint_eq(o.segments[0].blocks_online, 4);
    ck_assert(o.segments[0].movable && !o.segments[0].quiesced);
    ck_assert_int_eq(o.segments[0].numa_node, 1);
    ck_assert_uint_eq(o.adapters[0].settled, 1);
    ck_assert_uint_eq(o.adapters[0].sections[0], VALUE);
    ck_assert_uint_eq(o.revision, node.revision);
    wire_observed_done(&o);
}
END_TEST

START_TEST(no_block_is_probed_behind_a_parked_section_or_a_channel_in_reset)
{
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    channel.up = true;
    segment.want = WIRE_CREATE;
    apply(true);
    ck_assert_uint_eq(kernel->n_orders, 0);
    ck_assert_ptr_nonnull(strstr(node.segments[0].error, "not mapped"));
    section.parked = false;
    section.value = VALUE;
    channel.up = false;
    segment.attempt++;
    apply(true);
    ck_assert_uint_eq(kernel->n_orders, 0);
    ck_assert_ptr_nonnull(strstr(node.segments[0].error, "in reset"));
    channel.up = true;
    segment.attempt++;
    apply(true);
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
}
END_TEST

START_TEST(section_is_not_changed_while_memory_behind_it_is_online)
{
    attach();
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    apply(true);
    ck_assert_uint_eq(reg(0), VALUE);
    ck_assert(node.incomplete);
    channel.up = false;
    apply(true);
    ck_assert_uint_eq(channels(), 1); /* nor is the channel reset that the section uses */
}
END_TEST

/* Nobody has a name for what was in it: its caches are written back all the same. */
START_TEST(a_section_that_led_somewhere_is_quiesced_before_it_is_parked)
{
    struct stat st;
    char path[256];
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    apply(false);
    ck_assert_uint_eq(reg(0), VALUE);
    snprintf(path, sizeof path, "%s/emulator/quiesce", fixture_dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    ck_assert_int_eq(unlink(path), 0);
    apply(false);
    ck_assert_uint_eq(reg(0), VALUE); /* it cannot be */
    ck_assert(node.incomplete);
    fixture_put("emulator/quiesce", "");
    apply(false);
    ck_assert(wire_section_is_parked(reg(0), 0));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_gt(st.st_size, 0);
}
END_TEST

START_TEST(detach_goes_backwards_in_one_pass)
{
    attach();
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    channel.up = false;
    segment.want = WIRE_ABSENT;
    apply(true);
    ck_assert_uint_eq(node.segments[0].counts.online, 0);
    ck_assert(node.segments[0].quiesced);
    ck_assert(wire_section_is_parked(reg(0), 0));
    ck_assert_uint_eq(channels(), 0);
    apply(false);
    ck_assert_uint_eq(node.n_segments, 0);
}
END_TEST

START_TEST(blocks_of_another_are_not_taken_away_by_an_order_for_their_range)
{
    attach();
    struct wire_want_segment own = segment;
    strcpy(segment.id, "a2"); /* of an old database, which knows nothing of a1 */
    segment.want = WIRE_ABSENT;
    apply(true);
    ck_assert_uint_eq(node.n_segments, 1);
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    segment.want = WIRE_CREATE;
    segment.offset_bytes = 3 * BLOCK;
    apply(true);
    ck_assert_uint_eq(node.n_segments, 1);
    segment = own;
}
END_TEST

START_TEST(tombstone_of_what_never_was_is_reported_quiesced)
{
    segment.want = WIRE_ABSENT;
    apply(true);
    ck_assert_uint_eq(node.n_segments, 1);
    ck_assert(node.segments[0].quiesced && node.segments[0].tombstone);
    ck_assert_uint_eq(kernel->n_orders, 0);
}
END_TEST

START_TEST(failed_order_is_tried_again_only_when_its_attempt_grows)
{
    kernel->refuses = true;
    section.value = VALUE;
    section.parked = false;
    channel.up = true;
    segment.want = WIRE_CREATE;
    apply(true);
    unsigned n = kernel->n_orders;
    ck_assert_uint_gt(n, 0);
    ck_assert(node.segments[0].failed);
    apply(true);
    ck_assert_uint_eq(kernel->n_orders, n);
    kernel->refuses = false;
    segment.attempt++;
    apply(true);
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    ck_assert(!node.segments[0].failed && node.segments[0].error[0] == '\0');
}
END_TEST

/* Waits for the end of the order under way; passes on the way change nothing about it. */
static void tend(void)
{
    while (node.job.running)
        orders_tend(&node, 20);
}

START_TEST(order_that_hangs_holds_up_only_what_needs_the_hotplug_too)
{
    attach();
    kernel->hangs = true;
    segment.want = WIRE_ABSENT;
    apply(true);
    ck_assert(node.job.running);
    ck_assert(!node.segments[0].quiesced && !node.segments[0].failed);
    section.parked = true; /* its section counts as online, even when its blocks are not any more */
    section.value = wire_section_parked(0) | 1;
    memset(kernel->state, 0, sizeof kernel->state);
    apply(true);
    ck_assert_uint_eq(reg(0), VALUE);
    section.section = 1; /* another order of the same node is served meanwhile */
    section.parked = false;
    section.value = VALUE + (UINT64_C(1) << 40);
    apply(true);
    ck_assert_uint_eq(reg(1), section.value);
    ck_assert(node.job.running);
    for (int i = 0; i < 4; i++)
        kernel->state[i] = BLOCK_ONLINE;
    kernel->hangs = false;
    tend();
    ck_assert_uint_eq(node.segments[0].counts.online, 0);
    ck_assert(node.segments[0].quiesced && node.segments[0].tombstone);
}
END_TEST

static void beat(void)
{
    struct wire_observed o;
    struct err e = { 0 };
    ck_assert_int_eq(observe(&node, OBSERVE_BEAT, &o, &e), 0);
    wire_observed_done(&o);
}

START_TEST(touch_is_seen_though_a_heartbeat_sampled_its_flits)
{
    struct ocxl_mmio_area *any = NULL;
    kernel->hangs = true;
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    apply(true);
    ck_assert(node.job.running);
    ck_assert_int_eq(adapter.mmio_write64(any, REG_FLITS_SENT, OCXL_ABI_LITTLE_ENDIAN, 5), 0);
    beat();
    ck_assert_int_eq(adapter.mmio_write64(any, REG_FLITS_SENT, OCXL_ABI_LITTLE_ENDIAN, 0), 0); /* clear on read */
    kernel->hangs = false;
    tend();
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    ck_assert(node.segments[0].label.touched);
}
END_TEST

START_TEST(order_that_never_ends_fails_after_its_deadline)
{
    attach();
    kernel->hangs = true;
    segment.want = WIRE_ABSENT;
    apply(true);
    tend();
    ck_assert(node.segments[0].failed);
    ck_assert_ptr_nonnull(strstr(node.segments[0].error, "no progress for 1000 ms"));
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    kernel->hangs = false;
    segment.attempt++;
    apply(true);
    tend();
    ck_assert_uint_eq(node.segments[0].counts.online, 0);
}
END_TEST

static struct wire_seen_segment seen(void)
{
    struct wire_observed o;
    struct err e = { 0 };
    ck_assert_int_eq(observe(&node, OBSERVE_ORDERS, &o, &e), 0);
    ck_assert_uint_eq(o.n_segments, 1);
    struct wire_seen_segment s = o.segments[0];
    wire_observed_done(&o);
    return s;
}

/* Stands for a child that survives SIGKILL. */
static pid_t wedge(void)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        for (;;)
            pause();
    node.children.wedged = pid;
    return pid;
}

START_TEST(child_that_hangs_in_the_kernel_leaves_its_order_under_way)
{
    kernel->hangs = true;
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    apply(true);
    ck_assert(node.job.running);
    pid_t pid = wedge();
    tend();
    ck_assert(node.segments[0].failed && node.job.hangs);
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    segment.want = WIRE_ABSENT;
    segment.attempt++;
    for (int i = 0; i < 3; i++) { /* nothing is online, but a block may come, at any moment */
        apply(true);
        ck_assert(!orders_tend(&node, 0));
        ck_assert_uint_eq(node.segments[0].counts.online, 0);
        struct wire_seen_segment s = seen();
        ck_assert(!s.quiesced && !s.movable);
        ck_assert_uint_ge(s.blocks_online, 1);
        ck_assert_uint_eq(s.attempt, segment.attempt);
        ck_assert_ptr_nonnull(strstr(s.error, "online: memory"));
        ck_assert_uint_eq(reg(0), VALUE);
        segment.attempt++;
    }
    apply(false);
    ck_assert_uint_eq(node.n_segments, 1); /* listed or not */
    kernel->hangs = false;
    kernel->state[0] = BLOCK_ONLINE;
    kill(pid, SIGKILL);
    while (!orders_tend(&node, 0))
        poll(NULL, 0, 1);
    ck_assert_uint_eq(node.segments[0].counts.online, 1);
    apply(true); /* of the same attempt */
    tend();
    ck_assert_uint_eq(kernel->state[0], BLOCK_OFFLINE);
    apply(true);
    ck_assert(seen().quiesced && seen().blocks_online == 0);
    ck_assert(wire_section_is_parked(reg(0), 0));
}
END_TEST

START_TEST(nothing_is_quiesced_while_any_child_hangs)
{
    pid_t pid = wedge();
    segment.want = WIRE_ABSENT;
    apply(true); /* nothing of it is, or ever was, online */
    ck_assert(!node.segments[0].quiesced);
    ck_assert_ptr_nonnull(strstr(node.segments[0].error, "hangs in the kernel"));
    kill(pid, SIGKILL);
    while (children_wedged(&node.children))
        poll(NULL, 0, 1);
    segment.attempt++;
    apply(true);
    ck_assert(node.segments[0].quiesced);
}
END_TEST

/* Part of the range is as it was ordered when the order is withdrawn: the rest is left alone. */
static void withdrawn(enum wire_want order, enum wire_want then, bool listed, unsigned n_online)
{
    segment.want = order;
    kernel->hangs = true;
    kernel->hangs_from = kernel->n_orders + 1;
    apply(true);
    while (kernel->n_orders <= kernel->hangs_from)
        ck_assert(!orders_tend(&node, 1));
    ck_assert(node.job.running);
    segment.want = then;
    apply(listed);
    kernel->hangs = false;
    ck_assert(!node.job.running && !node.job.hangs);
    ck_assert(!orders_tend(&node, 10));
    ck_assert_uint_eq(node.segments[0].counts.online, n_online);
    ck_assert(!node.segments[0].failed && !node.segments[0].quiesced);
    ck_assert_uint_eq(seen().blocks_online, n_online);
}

START_TEST(withdrawn_attach_ends_between_two_blocks)
{
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    withdrawn(WIRE_CREATE, WIRE_KEEP, true, 1);
    attach(); /* ordered again, it goes on */
    apply(true);
}
END_TEST

START_TEST(withdrawn_detach_ends_between_two_blocks)
{
    attach();
    withdrawn(WIRE_ABSENT, WIRE_KEEP, true, 3);
    ck_assert_uint_eq(kernel->state[2], BLOCK_ONLINE);
    ck_assert(!node.segments[0].tombstone);
    withdrawn(WIRE_ABSENT, WIRE_ABSENT, false, 3); /* not listed any more: nobody's order */
    segment.want = WIRE_ABSENT;
    apply(true);
    tend();
    ck_assert_uint_eq(node.segments[0].counts.online, 0);
}
END_TEST

START_TEST(two_ranges_follow_each_other)
{
    struct wire_want_segment both[] = { segment, segment };
    strcpy(both[1].id, "a2");
    both[1].offset_bytes = 4 * BLOCK;
    struct wire_desired d = { .epoch = 1,
                              .revision = 1000,
                              .sections = &section,
                              .n_sections = 1,
                              .channels = &channel,
                              .n_channels = 1,
                              .segments = both,
                              .n_segments = 2 };
    section.parked = false;
    section.value = VALUE;
    channel.up = kernel->hangs = true;
    both[0].want = both[1].want = WIRE_CREATE;
    converge_apply(&node, &d);
    ck_assert(node.job.running);
    ck_assert_str_eq(node.job.order.id, "a1");
    kernel->hangs = false;
    tend();
    ck_assert(!node.segments[1].failed); /* it was not tried, and did not fail */
    converge_apply(&node, &d);
    tend();
    ck_assert_uint_eq(node.segments[0].counts.online + node.segments[1].counts.online, 8);
}
END_TEST

START_TEST(absence_is_no_order)
{
    attach();
    apply(false);
    apply(false);
    ck_assert_uint_eq(node.n_segments, 1);
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    ck_assert_uint_eq(reg(0), VALUE);
}
END_TEST

START_TEST(restarted_agent_finds_its_segments_and_does_nothing_again)
{
    attach();
    unsigned n = kernel->n_orders;
    fixture_put("devices/system/memory/memory2097152/state", "online\n"); /* what a scan of the directory sees */
    node_done(&node);
    start_agent();
    ck_assert_uint_eq(node.n_segments, 1);
    ck_assert_str_eq(node.segments[0].label.id, "a1");
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    ck_assert_uint_eq(channels(), 1);
    apply(true);
    segment.want = WIRE_KEEP;
    apply(true);
    ck_assert_uint_eq(kernel->n_orders, n);
}
END_TEST

START_TEST(blocks_without_a_label_are_reported_without_an_id)
{
    struct wire_observed o;
    struct err e = { 0 };
    node_done(&node);
    kernel->state[0] = kernel->state[1] = BLOCK_ONLINE;
    fixture_put("devices/system/memory/memory2097152/state", "online\n");
    fixture_put("devices/system/memory/memory2097153/state", "online\n");
    start_agent();
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    ck_assert_uint_eq(o.n_segments, 1);
    ck_assert_str_eq(o.segments[0].id, "");
    ck_assert_uint_eq(o.segments[0].size_bytes, 2 * BLOCK);
    wire_observed_done(&o);
}
END_TEST

static unsigned reads(void)
{
    unsigned (*count)(void);
    *(void **)&count = dlsym(adapter.handle, "fake_ocxl_reads");
    ck_assert_ptr_nonnull(count);
    return count();
}

static void see(enum observe_what what, struct wire_seen_adapter *out)
{
    struct wire_observed o;
    struct err e = { 0 };
    ck_assert_int_eq(observe(&node, what, &o, &e), 0);
    *out = o.adapters[0];
    wire_observed_done(&o);
}

/* Behind the agent's back. */
static void poke(uint64_t offset, uint64_t value)
{
    struct err e = { 0 };
    CLEANUP(ocxl_device_closep) struct ocxl_device *other = NULL;
    ck_assert_int_eq(ocxl_device_open(&other, &adapter, "/dev/any", false, &e), 0);
    ck_assert_int_eq(ocxl_device_write(other, offset, value, &e), 0);
}

START_TEST(heartbeat_reads_little_and_foreign_changes_are_seen_by_a_complete_reading)
{
    struct wire_seen_adapter seen;
    attach();
    see(OBSERVE_ALL, &seen);
    see(OBSERVE_BEAT, &seen);
    unsigned before = reads();
    see(OBSERVE_BEAT, &seen);
    ck_assert_uint_le(reads() - before, 3);
    ck_assert_uint_eq(seen.sections[0], VALUE);
    poke(REG_SECTION(0), VALUE + (1 << 20));
    see(OBSERVE_BEAT, &seen);
    ck_assert_uint_eq(seen.sections[0], VALUE); /* not yet */
    see(OBSERVE_ALL, &seen);
    ck_assert_uint_eq(seen.sections[0], VALUE + (1 << 20));
    poke(REG_SECTION(0), 0);
    poke(REG_CHANNELS, 0); /* an adapter that was reset is seen at once */
    see(OBSERVE_BEAT, &seen);
    ck_assert_uint_eq(seen.channels, 0);
    ck_assert_uint_eq(seen.sections[0], 0);
    poke(REG_FLITS_SENT, 7);
    see(OBSERVE_BEAT, &seen);
    ck_assert_uint_ge(seen.flits_sent, 7);
}
END_TEST

START_TEST(orders_that_make_no_sense_are_refused)
{
    section.value = 0;
    apply(false);
    ck_assert(node.incomplete);
    section.value = VALUE;
    segment.offset_bytes = BLOCK / 2;
    apply(true);
    segment.offset_bytes = TIB - BLOCK;
    apply(true);
    segment.offset_bytes = 0;
    strcpy(segment.adapter, "afu7");
    apply(true);
    ck_assert_uint_eq(kernel->n_orders, 0);
    ck_assert_uint_eq(node.n_segments, 0);
}
END_TEST

START_TEST(netid_says_which_ports_a_section_uses)
{
    ck_assert_uint_eq(converge_ports_of(VALUE), 1);
    ck_assert_uint_eq(converge_ports_of((VALUE & ~UINT64_C(63)) | WIRE_NETID_PORT1), 2);
    ck_assert_uint_eq(converge_ports_of((VALUE & ~UINT64_C(63)) | WIRE_NETID_BOTH), 3);
    ck_assert_uint_eq(converge_ports_of(0), 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("converge");
    TCase *t = tcase_create("converge");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, idle_sections_are_parked_before_a_channel_leaves_reset);
    tcase_add_test(t, attach_brings_blocks_online_and_reports_them);
    tcase_add_test(t, no_block_is_probed_behind_a_parked_section_or_a_channel_in_reset);
    tcase_add_test(t, section_is_not_changed_while_memory_behind_it_is_online);
    tcase_add_test(t, detach_goes_backwards_in_one_pass);
    tcase_add_test(t, blocks_of_another_are_not_taken_away_by_an_order_for_their_range);
    tcase_add_test(t, a_section_that_led_somewhere_is_quiesced_before_it_is_parked);
    tcase_add_test(t, tombstone_of_what_never_was_is_reported_quiesced);
    tcase_add_test(t, failed_order_is_tried_again_only_when_its_attempt_grows);
    tcase_add_test(t, order_that_hangs_holds_up_only_what_needs_the_hotplug_too);
    tcase_add_test(t, touch_is_seen_though_a_heartbeat_sampled_its_flits);
    tcase_add_test(t, order_that_never_ends_fails_after_its_deadline);
    tcase_add_test(t, two_ranges_follow_each_other);
    tcase_add_test(t, child_that_hangs_in_the_kernel_leaves_its_order_under_way);
    tcase_add_test(t, nothing_is_quiesced_while_any_child_hangs);
    tcase_add_test(t, withdrawn_attach_ends_between_two_blocks);
    tcase_add_test(t, withdrawn_detach_ends_between_two_blocks);
    tcase_add_test(t, absence_is_no_order);
    tcase_add_test(t, restarted_agent_finds_its_segments_and_does_nothing_again);
    tcase_add_test(t, blocks_without_a_label_are_reported_without_an_id);
    tcase_add_test(t, an_error_that_the_adapter_captured_is_told);
    tcase_add_test(t, memory_that_no_touch_was_seen_to_reach_is_told);
    tcase_add_test(t, a_window_over_the_servers_own_memory_is_refused_before_anything_is_borrowed);
    tcase_add_test(t, orders_that_make_no_sense_are_refused);
    tcase_add_test(t, heartbeat_reads_little_and_foreign_changes_are_seen_by_a_complete_reading);
    tcase_add_test(t, netid_says_which_ports_a_section_uses);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
