/* test_orders.c - agent/orders.h: orders that take their time: one that hangs, never ends, or is withdrawn on its way.
 */
/* links: memlane-agent-core */
#include "converge_fixture.h"
#include "observe.h"
#include "orders.h"
#include "unit_main.h"

#include <signal.h>

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

/* An attach whose first block hangs. */
static void begin_to_hang(void)
{
    kernel->hangs = true;
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    apply(true);
    ck_assert(node.job.running);
}

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
    begin_to_hang();
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
    begin_to_hang();
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

int main(void)
{
    in_steps = true;
    Suite *s = suite_create("orders");
    TCase *t = tcase_create("orders");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, order_that_hangs_holds_up_only_what_needs_the_hotplug_too);
    tcase_add_test(t, touch_is_seen_though_a_heartbeat_sampled_its_flits);
    tcase_add_test(t, order_that_never_ends_fails_after_its_deadline);
    tcase_add_test(t, two_ranges_follow_each_other);
    tcase_add_test(t, child_that_hangs_in_the_kernel_leaves_its_order_under_way);
    tcase_add_test(t, nothing_is_quiesced_while_any_child_hangs);
    tcase_add_test(t, withdrawn_attach_ends_between_two_blocks);
    tcase_add_test(t, withdrawn_detach_ends_between_two_blocks);
    suite_add_tcase(s, t);
    return unit_main(s);
}
