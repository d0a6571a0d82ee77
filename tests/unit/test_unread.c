/* test_unread.c - agent/node.h, segments.c: what cannot be read is not told as not there, nor is anything done as if it
 * were not. */
/* links: memlane-agent-core */
#include "converge_fixture.h"
#include "observe.h"
#include "unit_main.h"

static void restart(void)
{
    node_done(&node);
    start_agent();
}

static void put_block(unsigned i)
{
    char path[96];
    snprintf(path, sizeof path, "devices/system/memory/memory%llu/state", (unsigned long long)FIRST + i);
    fixture_put(path, "online\n"); /* what a scan of the directory sees */
}

/* A pass; is its revision claimed? */
static bool claims(enum wire_want want)
{
    static uint64_t revision = 1000;
    struct wire_desired d = { .epoch = 1, .revision = ++revision, .segments = &segment, .n_segments = 1 };
    segment.want = want;
    converge_apply(&node, &d);
    ck_assert_uint_eq(node.epoch, 1);
    return node.revision == revision;
}

/* The blocks that are told as online, of how many segments; *'found': and the finding. */
static unsigned told_online(size_t n_segments, const char *code, bool *found)
{
    struct wire_observed o;
    struct err e = { 0 };
    unsigned sum = 0;
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    ck_assert_uint_eq(o.n_segments, n_segments);
    for (size_t i = 0; i < o.n_segments; i++)
        sum += o.segments[i].blocks_online;
    *found = false;
    for (size_t i = 0; i < o.n_findings; i++) {
        *found |= strcmp(o.findings[i].code, code) == 0;
        ck_assert_str_ne(o.findings[i].code, "window_not_movable"); /* nobody knows that */
    }
    wire_observed_done(&o);
    return sum;
}

static bool told_unread(void)
{
    bool found;
    ck_assert_uint_eq(told_online(1, "segment_unread", &found), found ? 4 : node.segments[0].counts.online);
    return found;
}

START_TEST(blocks_of_a_label_that_cannot_be_read_count_as_online_until_they_can)
{
    attach();
    ck_assert(!told_unread());
    kernel->unreadable = true;
    restart();
    ck_assert(told_unread());
    ck_assert(!node.segments[0].counts.movable);
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    segment.want = WIRE_KEEP;
    apply(true);
    ck_assert_uint_eq(reg(0), VALUE);
    ck_assert(told_unread());
    kernel->unreadable = false;
    segments_keep_fresh(&node, time_monotonic_ms()); /* at once */
    ck_assert(!told_unread());
    ck_assert(node.segments[0].counts.online == 4 && node.segments[0].counts.movable);
}
END_TEST

START_TEST(blocks_of_an_order_that_cannot_be_read_count_as_online_until_they_can)
{
    kernel->unreadable = true;
    ck_assert(claims(WIRE_KEEP));
    ck_assert(told_unread());
    ck_assert(claims(WIRE_ABSENT)); /* told as online: no proof of anything */
    ck_assert(told_unread());
    ck_assert(node.incomplete && !node.segments[0].failed && !node.segments[0].tombstone);
    ck_assert_uint_eq(kernel->n_orders, 0);
    kernel->unreadable = false;
    ck_assert(claims(WIRE_ABSENT));
    ck_assert(node.segments[0].tombstone && node.segments[0].quiesced && !node.incomplete);
    ck_assert(!told_unread());
    ck_assert_uint_eq(kernel->n_orders, 0);
}
END_TEST

/* The child may have brought any of them online before it ended. */
START_TEST(blocks_that_cannot_be_read_after_an_order_count_as_online_until_they_can)
{
    section.parked = false;
    section.value = VALUE;
    channel.up = true;
    segment.want = WIRE_CREATE;
    kernel->refuses = kernel->unreadable = true;
    apply(true);
    ck_assert(node.segments[0].failed && kernel->n_orders > 0);
    ck_assert(told_unread());
    apply(false);
    ck_assert_uint_eq(node.n_segments, 1);
    kernel->unreadable = false;
    segments_keep_fresh(&node, time_monotonic_ms());
    ck_assert(!told_unread());
    ck_assert_uint_eq(node.segments[0].counts.online, 0);
}
END_TEST

START_TEST(a_scan_goes_on_past_a_block_that_cannot_be_read)
{
    bool unread;
    for (unsigned i = 0; i < 4; i++)
        put_block(i);
    for (unsigned i = 0; i < 4; i++)
        kernel->state[i] = i == 2 ? BLOCK_OFFLINE : BLOCK_ONLINE;
    kernel->bad_blocks = 1;
    restart();
    ck_assert_uint_eq(told_online(2, "segment_unread", &unread), 3);
    ck_assert(unread);
    kernel->bad_blocks = 0;
    node.scan_at_ms = 0;
    segments_keep_fresh(&node, time_monotonic_ms());
    ck_assert_uint_eq(told_online(2, "segment_unread", &unread), 3);
    ck_assert(!unread);
}
END_TEST

START_TEST(blocks_of_nobody_are_not_forgotten_by_a_scan_that_fails)
{
    char path[128], away[136];
    bool unread;
    struct wire_desired none = { .epoch = 1, .revision = 1 };
    put_block(0);
    put_block(1);
    kernel->state[0] = kernel->state[1] = BLOCK_ONLINE;
    restart();
    ck_assert_uint_eq(told_online(1, "segment_unread", &unread), 2);
    snprintf(path, sizeof path, "%s/devices/system/memory", fixture_dir);
    snprintf(away, sizeof away, "%s.away", path);
    ck_assert_int_eq(rename(path, away), 0);
    node.scan_at_ms = 0;
    segments_keep_fresh(&node, time_monotonic_ms());
    ck_assert_uint_eq(told_online(1, "segment_unread", &unread), 2);
    ck_assert_int_eq(rename(away, path), 0);
    put_block(4); /* more of nobody's; and one of those that were known cannot be read */
    kernel->state[4] = BLOCK_ONLINE;
    kernel->bad_blocks = 2;
    node.scan_at_ms = 0;
    segments_keep_fresh(&node, time_monotonic_ms());
    ck_assert_uint_eq(told_online(2, "segment_unread", &unread), 3);
    kernel->bad_blocks = 0;
    kernel->state[0] = kernel->state[1] = kernel->state[4] = BLOCK_OFFLINE;
    node.scan_at_ms = 0;
    segments_keep_fresh(&node, time_monotonic_ms());
    converge_apply(&node, &none);
    ck_assert_uint_eq(node.n_segments, 0);
}
END_TEST

START_TEST(no_revision_is_claimed_while_a_label_names_an_adapter_that_is_not_configured)
{
    bool told;
    attach();
    strcpy(config.adapters[0].wire.name, "afu9");
    restart();
    ck_assert_uint_eq(told_online(0, "segment_stray", &told), 0);
    ck_assert(told);
    ck_assert(!claims(WIRE_KEEP) && !claims(WIRE_ABSENT));
    ck_assert_uint_eq(node.revision, 0);
    strcpy(config.adapters[0].wire.name, "afu0");
    restart();
    ck_assert(claims(WIRE_KEEP));
    ck_assert_uint_eq(told_online(1, "segment_stray", &told), 4);
    ck_assert(!told);
}
END_TEST

START_TEST(nothing_is_changed_on_an_adapter_whose_window_became_too_small_for_a_label)
{
    attach();
    config.adapters[0].wire.window_bytes = BLOCK;
    restart();
    ck_assert(!claims(WIRE_KEEP));
    struct wire_want_section park = { "afu0", 0, true, wire_section_parked(0) | 1 };
    struct wire_desired d = { .epoch = 1, .revision = 1, .sections = &park, .n_sections = 1 };
    converge_apply(&node, &d);
    ck_assert_uint_eq(reg(0), VALUE);
    ck_assert(node.incomplete);
    config.adapters[0].wire.window_bytes = 4 * TIB;
}
END_TEST

int main(void)
{
    Suite *s = suite_create("unread");
    TCase *t = tcase_create("unread");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, blocks_of_a_label_that_cannot_be_read_count_as_online_until_they_can);
    tcase_add_test(t, blocks_of_an_order_that_cannot_be_read_count_as_online_until_they_can);
    tcase_add_test(t, blocks_that_cannot_be_read_after_an_order_count_as_online_until_they_can);
    tcase_add_test(t, a_scan_goes_on_past_a_block_that_cannot_be_read);
    tcase_add_test(t, blocks_of_nobody_are_not_forgotten_by_a_scan_that_fails);
    tcase_add_test(t, no_revision_is_claimed_while_a_label_names_an_adapter_that_is_not_configured);
    tcase_add_test(t, nothing_is_changed_on_an_adapter_whose_window_became_too_small_for_a_label);
    suite_add_tcase(s, t);
    return unit_main(s);
}
