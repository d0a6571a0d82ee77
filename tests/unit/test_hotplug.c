/* test_hotplug.c - agent/hotplug.h, agent/block.h, agent/child.h: ranges of memory blocks, with a kernel of our own.
 * The fake kernel's blocks are in memory that is shared with the hot-plug child; the files are in a temporary
 * directory. */
/* links: memlane-agent-core */
#include "hotplug.h"

#include "agent_fixture.h"
#include "unit_main.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define BLOCK (UINT64_C(256) << 20)
#define FIRST UINT64_C(0x800000) /* number of the block at the window's start */
#define BLOCKS 8

enum fault { FINE, REFUSES, HANGS, DIES };

static struct kernel {
    enum block_state state[BLOCKS];
    bool normal[BLOCKS]; /* online in zone Normal */
    enum fault fault[BLOCKS];
    unsigned touches, online_at_touch, n_log;
    int log[64];      /* block + 1: onlined, -(block + 1): taken offline */
    int touch_result; /* 0, or an err_code */
} * kernel;

static struct sysfs sys;
static struct platform platform;
static struct children children;
static struct hotplug *hp;
static unsigned n_progress, last_progress;

static int fail_as(unsigned i, struct err *e)
{
    switch (kernel->fault[i]) {
    case REFUSES:
        errno = EBUSY;
        return err_errno(e, ERR_BUSY, "memory%llu", (unsigned long long)(FIRST + i));
    case HANGS:
        poll(NULL, 0, 60000);
        break;
    case DIES:
        raise(SIGBUS);
        break;
    case FINE:
        break;
    }
    return 0;
}

static int fake_read(const struct sysfs *fs, uint64_t block, enum block_state *state, bool *movable, struct err *e)
{
    (void)fs;
    (void)e;
    *state = kernel->state[block - FIRST];
    *movable = *state == BLOCK_ONLINE && !kernel->normal[block - FIRST];
    return 0;
}

static int fake_online(const struct sysfs *fs, uint64_t block, uint64_t bytes, bool probe, long await_ms, struct err *e)
{
    (void)fs;
    (void)bytes;
    (void)probe;
    (void)await_ms;
    unsigned i = (unsigned)(block - FIRST);
    if (fail_as(i, e) < 0)
        return -1;
    kernel->state[i] = BLOCK_ONLINE;
    kernel->log[kernel->n_log++] = (int)i + 1;
    return 0;
}

static int fake_offline(const struct sysfs *fs, uint64_t block, struct err *e)
{
    (void)fs;
    unsigned i = (unsigned)(block - FIRST);
    if (fail_as(i, e) < 0)
        return -1;
    kernel->state[i] = BLOCK_OFFLINE;
    kernel->log[kernel->n_log++] = -(int)i - 1;
    return 0;
}

static const struct block_ops fake_blocks = { fake_read, fake_online, fake_offline };

static int fake_touch(const struct platform *p, uint64_t addr, uint64_t size_bytes, int numa_node, struct err *e)
{
    (void)p;
    (void)numa_node;
    ck_assert_uint_eq(size_bytes, BLOCK);
    ck_assert_uint_eq(addr, FIRST * BLOCK);
    kernel->touches++;
    for (unsigned i = 0; i < BLOCKS; i++)
        kernel->online_at_touch += kernel->state[i] == BLOCK_ONLINE;
    return kernel->touch_result ? err_set(e, (enum err_code)kernel->touch_result, "nobody answers") : 0;
}

static int fake_numa_node(const struct platform *p, unsigned adapter, uint64_t block)
{
    (void)p;
    (void)block;
    return 1 + (int)adapter;
}

static const struct platform_ops fake_platform = { "fake", fake_touch, NULL, fake_numa_node };

static void on_progress(void *arg, unsigned online, unsigned total)
{
    (void)arg;
    (void)total;
    n_progress++;
    last_progress = online;
}

static int carry_out(struct range r, bool online, hotplug_progress *progress, struct hotplug_result *out, struct err *e)
{
    int rc = 0;
    if (hotplug_start(hp, r, online, 0, e) < 0)
        return -1;
    while (!hotplug_tend(hp, 1000, progress, NULL, out, &rc, e))
        ;
    return rc;
}

static void setup_patience(long silence_ms)
{
    struct err e = { 0 };
    fixture_make();
    fixture_put(BLOCK_DIR "/block_size_bytes", "10000000\n");
    ck_assert_int_eq(sysfs_init(&sys, fixture_dir, &e), 0);
    kernel = mmap(NULL, sizeof *kernel, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(kernel, MAP_FAILED);
    platform = (struct platform){ .ops = &fake_platform, .sys = &sys, .emulator = { .root_fd = -1 } };
    children_init(&children);
    children.keep[0] = sys.root_fd;
    struct hotplug_options o = { &sys, &platform, &fake_blocks, &children, silence_ms };
    ck_assert_int_eq(hotplug_new(&hp, &o, &e), 0);
    ck_assert_uint_eq(hotplug_block_bytes(hp), BLOCK);
    n_progress = 0;
}

static void setup(void)
{
    setup_patience(30000);
}

static void setup_impatient(void)
{
    setup_patience(1000);
}

static void teardown(void)
{
    hotplug_free(hp);
    sysfs_done(&sys);
    munmap(kernel, sizeof *kernel);
    fixture_remove();
}

static const struct range whole = { FIRST * BLOCK, BLOCKS *BLOCK };

START_TEST(first_block_is_touched_before_the_second_comes_online)
{
    struct hotplug_result r;
    struct err e = { 0 };
    ck_assert_int_eq(carry_out(whole, true, on_progress, &r, &e), 0);
    ck_assert_uint_eq(kernel->touches, 1);
    ck_assert_uint_eq(kernel->online_at_touch, 1);
    ck_assert(r.touched && r.counts.movable);
    ck_assert_uint_eq(r.counts.online, BLOCKS);
    ck_assert_uint_eq(n_progress, BLOCKS);
    ck_assert_uint_eq(last_progress, BLOCKS);
}
END_TEST

START_TEST(memory_that_does_not_answer_stops_after_one_block)
{
    struct hotplug_result r;
    struct err e = { 0 };
    kernel->touch_result = ERR_HARDWARE;
    ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), -1);
    ck_assert_int_eq(e.code, ERR_HARDWARE);
    ck_assert_uint_eq(r.counts.online, 1);
    ck_assert_uint_eq(kernel->n_log, 1);
}
END_TEST

START_TEST(touch_is_left_out_and_said_where_no_node_can_be_named)
{
    struct hotplug_result r;
    struct err e = { 0 };
    kernel->touch_result = ERR_UNAVAILABLE;
    ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), 0);
    ck_assert(!r.touched);
    ck_assert_str_eq(r.why, "nobody answers");
}
END_TEST

START_TEST(offline_goes_on_past_blocks_that_refuse_and_names_them)
{
    struct hotplug_result r;
    struct err e = { 0 };
    for (unsigned i = 0; i < BLOCKS; i++)
        kernel->state[i] = BLOCK_ONLINE;
    kernel->fault[2] = kernel->fault[5] = REFUSES;
    ck_assert_int_eq(carry_out(whole, false, on_progress, &r, &e), -1);
    ck_assert_int_eq(e.code, ERR_BUSY);
    ck_assert_uint_eq(r.counts.online, 2);
    ck_assert_ptr_nonnull(strstr(e.detail, "2 of 8"));
    ck_assert_ptr_nonnull(strstr(e.detail, "memory8388610"));
    ck_assert_ptr_nonnull(strstr(e.detail, "memory8388613"));
    ck_assert_ptr_nonnull(strstr(e.detail, "busy"));
    kernel->fault[2] = kernel->fault[5] = FINE;
    ck_assert_int_eq(carry_out(whole, false, NULL, &r, &e), 0);
    ck_assert_uint_eq(r.counts.online, 0);
}
END_TEST

START_TEST(block_that_hangs_is_given_up_after_its_deadline_and_named)
{
    struct hotplug_result r;
    struct err e = { 0 };
    for (unsigned i = 0; i < BLOCKS; i++)
        kernel->state[i] = BLOCK_ONLINE;
    kernel->fault[6] = HANGS;
    ck_assert_int_eq(carry_out(whole, false, NULL, &r, &e), -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(e.detail, "memory8388614: no progress for 1000 ms"));
    ck_assert_uint_eq(r.counts.online, 7);
    ck_assert_int_eq(children.wedged, 0);
}
END_TEST

START_TEST(child_that_dies_of_dead_memory_is_reported_and_the_agent_lives)
{
    struct hotplug_result r;
    struct err e = { 0 };
    kernel->fault[3] = DIES;
    ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), -1);
    ck_assert_int_eq(e.code, ERR_HARDWARE);
    ck_assert_ptr_nonnull(strstr(e.detail, "memory8388611"));
    ck_assert_uint_eq(r.counts.online, 3);
}
END_TEST

START_TEST(one_child_carries_out_order_after_order)
{
    struct hotplug_result r;
    struct err e = { 0 };
    ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), 0);
    pid_t first = children.waiting.pid;
    ck_assert_int_ne(first, 0);
    ck_assert_int_eq(carry_out(whole, false, NULL, &r, &e), 0);
    kernel->fault[3] = REFUSES; /* what it was told before does not leak into what it is told now */
    ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), -1);
    ck_assert_uint_eq(r.counts.online, 3);
    kernel->fault[3] = FINE;
    ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), 0);
    ck_assert_uint_eq(r.counts.online, BLOCKS);
    ck_assert_int_eq(children.waiting.pid, first);
}
END_TEST

START_TEST(child_that_died_or_hung_is_replaced_for_the_next_order)
{
    struct hotplug_result r;
    struct err e = { 0 };
    signal(SIGPIPE, SIG_IGN); /* as the agent does */
    for (int how = 0; how < 3; how++) {
        memset(kernel->state, 0, sizeof kernel->state);
        kernel->fault[1] = how == 0 ? DIES : how == 1 ? HANGS : FINE;
        if (how == 2) { /* killed while it waited */
            children_prepare(&children);
            kill(children.waiting.pid, SIGKILL);
            ck_assert_int_eq(waitid(P_PID, (id_t)children.waiting.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
        } else {
            ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), -1);
        }
        kernel->fault[1] = FINE;
        ck_assert_int_eq(carry_out(whole, true, NULL, &r, &e), 0);
        ck_assert_uint_eq(r.counts.online, BLOCKS);
    }
    children_dismiss(&children);
    ck_assert_int_eq(children.waiting.pid, 0);
}
END_TEST

START_TEST(order_that_hangs_is_left_and_heard_of_later)
{
    struct hotplug_result r;
    struct err e = { 0 };
    int rc = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        kernel->state[i] = BLOCK_ONLINE;
    kernel->fault[5] = HANGS;
    ck_assert_int_eq(hotplug_start(hp, whole, false, 0, &e), 0);
    while (n_progress < 2)
        ck_assert(!hotplug_tend(hp, 10, on_progress, NULL, &r, &rc, &e)); /* it hangs: the caller goes on */
    ck_assert_uint_eq(last_progress, 6);
    ck_assert(hotplug_busy(hp));
    ck_assert_int_eq(hotplug_start(hp, whole, true, 0, &e), -1);
    ck_assert_int_eq(e.code, ERR_BUSY);
    while (!hotplug_tend(hp, 0, on_progress, NULL, &r, &rc, &e))
        poll(NULL, 0, 5);
    ck_assert_int_eq(rc, -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(e.detail, "memory8388613"));
    ck_assert_uint_eq(r.counts.online, 6);
    ck_assert(!hotplug_busy(hp));
    kernel->fault[5] = FINE;
    ck_assert_int_eq(carry_out(whole, false, NULL, &r, &e), 0);
}
END_TEST

START_TEST(ranges_that_are_not_whole_blocks_are_refused)
{
    struct hotplug_result r;
    struct hotplug_counts c;
    struct err e = { 0 };
    ck_assert_int_eq(hotplug_read(hp, (struct range){ FIRST * BLOCK + 4096, BLOCK }, &c, &e), -1);
    ck_assert_int_eq(hotplug_read(hp, (struct range){ FIRST * BLOCK, 0 }, &c, &e), -1);
    ck_assert_int_eq(carry_out((struct range){ FIRST * BLOCK, BLOCK + 1 }, true, NULL, &r, &e), -1);
    ck_assert_int_eq(e.code, ERR_FIELD_INVALID);
}
END_TEST

START_TEST(zone_of_an_online_block_is_told)
{
    struct hotplug_counts c;
    struct err e = { 0 };
    kernel->state[0] = kernel->state[1] = BLOCK_ONLINE;
    ck_assert_int_eq(hotplug_read(hp, whole, &c, &e), 0);
    ck_assert(c.movable);
    kernel->normal[1] = true;
    ck_assert_int_eq(hotplug_read(hp, whole, &c, &e), 0);
    ck_assert(!c.movable);
    ck_assert_uint_eq(c.online, 2);
}
END_TEST

/* ---- the kernel's files -------------------------------------------------------------------------------------------
 */
static void put_block(unsigned n, const char *state, const char *zones)
{
    char path[128];
    snprintf(path, sizeof path, BLOCK_DIR "/memory%u/state", n);
    fixture_put(path, state);
    snprintf(path, sizeof path, BLOCK_DIR "/memory%u/valid_zones", n);
    fixture_put(path, zones);
}

START_TEST(states_and_zones_are_parsed_strictly)
{
    static const char *const bad[] = { "", "on", "online ", "ONLINE", "offline\nonline", "online_movable" };
    enum block_state s;
    struct err e = { 0 };
    ck_assert(block_state_parse("online", &s, &e) == 0 && s == BLOCK_ONLINE);
    ck_assert(block_state_parse("going-offline", &s, &e) == 0 && s == BLOCK_ONLINE);
    ck_assert(block_state_parse("offline", &s, &e) == 0 && s == BLOCK_OFFLINE);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_int_eq(block_state_parse(bad[i], &s, &e), -1);
    ck_assert(block_zones_contain("Normal Movable", "Movable"));
    ck_assert(block_zones_contain("Movable", "Movable"));
    ck_assert(!block_zones_contain("Normal NotMovable Movable2", "Movable"));
    ck_assert(!block_zones_contain("", "Movable"));
}
END_TEST

START_TEST(blocks_are_read_from_their_files)
{
    enum block_state s;
    bool movable;
    struct err e = { 0 };
    put_block(1, "online\n", "Movable\n");
    put_block(2, "online\n", "Normal\n");
    put_block(3, "offline\n", "Normal Movable\n");
    put_block(4, "upside down\n", "Movable\n");
    ck_assert(block_kernel.read(&sys, 1, &s, &movable, &e) == 0 && s == BLOCK_ONLINE && movable);
    ck_assert(block_kernel.read(&sys, 2, &s, &movable, &e) == 0 && s == BLOCK_ONLINE && !movable);
    ck_assert(block_kernel.read(&sys, 3, &s, &movable, &e) == 0 && s == BLOCK_OFFLINE);
    ck_assert(block_kernel.read(&sys, 9, &s, &movable, &e) == 0 && s == BLOCK_ABSENT);
    ck_assert_int_eq(block_kernel.read(&sys, 4, &s, &movable, &e), -1);
}
END_TEST

START_TEST(block_that_may_not_be_movable_is_not_onlined)
{
    struct err e = { 0 };
    put_block(5, "offline\n", "Normal\n");
    ck_assert_int_eq(block_kernel.online(&sys, 5, BLOCK, false, 20, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.detail, "zone Movable"));
}
END_TEST

START_TEST(block_is_created_through_probe_with_its_address)
{
    char text[64] = "";
    struct err e = { 0 };
    fixture_put(BLOCK_DIR "/probe", "");
    ck_assert_int_eq(block_kernel.online(&sys, FIRST, BLOCK, true, 20, &e), -1); /* this kernel makes none */
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_int_eq(sysfs_read(&sys, BLOCK_DIR "/probe", text, sizeof text, &e), 0);
    ck_assert_str_eq(text, "0x8000000000000");
}
END_TEST

/* Reading its valid_zones before that crashes kernels. */
START_TEST(block_that_has_no_node_yet_is_waited_for)
{
    struct err e = { 0 };
    put_block(8, "offline\n", "Normal\n");
    fixture_put("devices/system/node/possible", "0-1\n");
    ck_assert_int_eq(block_kernel.online(&sys, 8, BLOCK, false, 20, &e), -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(e.detail, "NUMA node"));
    fixture_put(BLOCK_DIR "/memory8/node1/x", "");
    ck_assert_int_eq(block_kernel.online(&sys, 8, BLOCK, false, 20, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.detail, "zone Movable")); /* now it was looked at */
}
END_TEST

START_TEST(offline_is_read_back_and_absent_is_fine)
{
    struct err e = { 0 };
    put_block(6, "online\n", "Movable\n");
    ck_assert_int_eq(block_kernel.offline(&sys, 6, &e), 0);
    ck_assert_int_eq(block_kernel.offline(&sys, 77, &e), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hotplug");
    TCase *t = tcase_create("ranges"), *impatient = tcase_create("impatient"), *f = tcase_create("files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_checked_fixture(impatient, setup_impatient, teardown);
    tcase_add_checked_fixture(f, setup, teardown);
    tcase_add_test(t, first_block_is_touched_before_the_second_comes_online);
    tcase_add_test(t, memory_that_does_not_answer_stops_after_one_block);
    tcase_add_test(t, touch_is_left_out_and_said_where_no_node_can_be_named);
    tcase_add_test(t, offline_goes_on_past_blocks_that_refuse_and_names_them);
    tcase_add_test(impatient, block_that_hangs_is_given_up_after_its_deadline_and_named);
    tcase_add_test(t, child_that_dies_of_dead_memory_is_reported_and_the_agent_lives);
    tcase_add_test(t, one_child_carries_out_order_after_order);
    tcase_add_test(impatient, child_that_died_or_hung_is_replaced_for_the_next_order);
    tcase_add_test(impatient, order_that_hangs_is_left_and_heard_of_later);
    tcase_add_test(t, ranges_that_are_not_whole_blocks_are_refused);
    tcase_add_test(t, zone_of_an_online_block_is_told);
    tcase_add_test(f, states_and_zones_are_parsed_strictly);
    tcase_add_test(f, blocks_are_read_from_their_files);
    tcase_add_test(f, block_that_may_not_be_movable_is_not_onlined);
    tcase_add_test(f, block_is_created_through_probe_with_its_address);
    tcase_add_test(f, block_that_has_no_node_yet_is_waited_for);
    tcase_add_test(f, offline_is_read_back_and_absent_is_fine);
    suite_add_tcase(s, t);
    suite_add_tcase(s, impatient);
    suite_add_tcase(s, f);
    return unit_main(s);
}
