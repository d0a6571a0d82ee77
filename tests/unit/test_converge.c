/* test_converge.c - agent/converge.h: orders against an adapter (fake_ocxl.c) and memory blocks of the test's own. */
/* links: memlane-agent-core */
#include "converge_fixture.h"
#include "observe.h"
#include "unit_main.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static unsigned channels(void)
{
    unsigned v;
    struct err e = { 0 };
    ck_assert_int_eq(afu_ops(node.adapters[0].afu)->channels(node.adapters[0].afu, &v, &e), 0);
    return v;
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

/* How buffer "b1" is told when an order for it failed at that lender; this adapter's has no id. */
static bool told_as_held(enum wire_want want, const char *lender_id)
{
    struct failed_buffer f = { .order = { .id = "b1", .want = want, .attempt = 3, .adapter = "afu0" },
                               .error = "it does not go" };
    struct wire_observed o;
    struct err e = { 0 };
    snprintf(f.lender_id, sizeof f.lender_id, "%s", lender_id);
    node.failed = &f;
    node.n_failed = 1;
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    ck_assert_uint_eq(o.n_buffers, 1);
    ck_assert_str_eq(o.buffers[0].error, "it does not go");
    ck_assert_str_eq(o.buffers[0].lender_id, "");
    bool held = o.buffers[0].present;
    wire_observed_done(&o);
    node.failed = NULL;
    node.n_failed = 0;
    return held;
}

START_TEST(a_buffer_whose_release_failed_is_held_until_its_lender_is_gone)
{
    ck_assert(!told_as_held(WIRE_CREATE, ""));
    ck_assert(told_as_held(WIRE_ABSENT, ""));
    ck_assert(!told_as_held(WIRE_ABSENT, "another lender's"));
}
END_TEST

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

/* Behind the agent's back. */
static void poke(uint64_t offset, uint64_t value)
{
    struct err e = { 0 };
    CLEANUP(ocxl_device_closep) struct ocxl_device *other = NULL;
    ck_assert_int_eq(ocxl_device_open(&other, &adapter, "/dev/any", false, &e), 0);
    ck_assert_int_eq(ocxl_device_write(other, offset, value, &e), 0);
}

START_TEST(no_block_goes_offline_while_its_section_or_channel_leads_nowhere)
{
    attach();
    size_t orders = kernel->n_orders;
    poke(REG_CHANNELS, 0); /* somebody reset the card's channel: a read of this memory is a machine check */
    segment.want = WIRE_ABSENT;
    segment.attempt++;
    apply(true);
    ck_assert_uint_eq(kernel->n_orders, orders);
    ck_assert_ptr_nonnull(strstr(node.segments[0].error, "in reset"));
    ck_assert_uint_eq(node.segments[0].counts.online, 4);
    poke(REG_CHANNELS, 1);
    segment.attempt++;
    apply(true);
    ck_assert_uint_eq(node.segments[0].counts.online, 0);
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

/* The other port comes up in the pass that could not park it: a channel out of reset is no leave to park it unquiesced.
 */
START_TEST(an_idle_section_is_quiesced_too_before_it_is_parked_for_a_channel)
{
    char path[256];
    section.parked = false;
    section.value = VALUE;
    channel.port = 0;
    channel.up = true;
    apply(false);
    section.parked = true;
    section.value = wire_section_parked(0) | 1;
    channel.port = 1;
    snprintf(path, sizeof path, "%s/emulator/quiesce", fixture_dir);
    ck_assert_int_eq(unlink(path), 0);
    apply(false);
    ck_assert_uint_eq(reg(0), VALUE);
    ck_assert_uint_eq(channels(), 1);
    ck_assert(node.incomplete);
    fixture_put("emulator/quiesce", "");
    apply(false);
    ck_assert(wire_section_is_parked(reg(0), 0));
    ck_assert_uint_eq(channels(), 3);
    ck_assert(!node.incomplete);
    channel.port = 0;
}
END_TEST

START_TEST(a_channel_stays_in_reset_when_its_adapter_was_reset_under_live_memory)
{
    attach();
    poke(REG_SECTION(0), 0); /* as a reset leaves it: that is no parked section, but a way out of port 1 */
    poke(REG_CHANNELS, 0);
    segment.want = WIRE_KEEP;
    for (channel.port = 0; channel.port < 2; channel.port++) {
        apply(true);
        ck_assert_uint_eq(channels(), 0);
        ck_assert_uint_eq(reg(0), 0);
        ck_assert(node.incomplete);
    }
    channel.port = 0;
    memset(kernel->state, 0, sizeof kernel->state); /* the server rebooted, and nothing is behind it any more */
    apply(true);
    ck_assert_uint_eq(channels(), 1);
    ck_assert_uint_eq(reg(0), VALUE);
}
END_TEST

/* A switch that is a program. */
static struct switch_config *add_switch(const char *program)
{
    struct switch_config *s = &config.switches[config.n_switches++];
    fixture_put("switch", program);
    strcpy(s->name, "ocs1");
    snprintf(s->address, sizeof s->address, "exec:%s/switch", fixture_dir);
    ck_assert_int_eq(chmod(s->address + strlen("exec:"), 0700), 0);
    node_done(&node);
    start_agent();
    return s;
}

/* What the switch was asked for, but for what it has. */
static void expect_asked(const char *orders)
{
    char path[128], asked[64] = "";
    snprintf(path, sizeof path, "%s/asked", fixture_dir);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_gt(fread(asked, 1, sizeof asked - 1, f), 0);
    fclose(f);
    ck_assert_str_eq(asked, orders);
}

START_TEST(one_pair_that_a_switch_refuses_leaves_its_other_pairs_alone)
{
    struct wire_want_crossconnect pairs[] = { { "ocs1", 1, 2, true }, { "ocs1", 3, 4, true }, { "ocs1", 5, 6, false } };
    struct wire_desired d = { .epoch = 1, .revision = 1, .crossconnects = pairs, .n_crossconnects = 3 };
    static const char program[] = "#!/bin/sh\n"
                                  "while read -r what a b; do\n"
                                  "    case \"$what $a\" in\n"
                                  "    'list ') echo 'pair 5 6' ;;\n"
                                  "    *' 1') echo 'error port 1 is dark' && continue ;;\n"
                                  "    *' '?) echo \"$what $a $b\" >>\"${0%/*}/asked\" ;;\n"
                                  "    esac\n"
                                  "    echo ok\n"
                                  "done\n";
    add_switch(program);
    converge_apply(&node, &d);
    ck_assert(node.incomplete);
    expect_asked("disconnect 5 6\nconnect 3 4\n");
}
END_TEST

/* ---- a switch with two addresses, of which the first refuses -------------------------------------------------------
 */
static struct sockaddr_in switch_at[2];
static struct addrinfo switch_answers[2];

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)host, (void)port, (void)hints;
    *out = switch_answers;
    return 0;
}

void freeaddrinfo(struct addrinfo *list UNUSED)
{
}

static int bound(unsigned i)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof switch_at[i];
    switch_at[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&switch_at[i], len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&switch_at[i], &len), 0);
    switch_answers[i] = (struct addrinfo){ .ai_family = AF_INET,
                                           .ai_addr = (struct sockaddr *)&switch_at[i],
                                           .ai_addrlen = sizeof switch_at[i],
                                           .ai_next = i == 0 ? &switch_answers[1] : NULL };
    return fd;
}

/* Runs the program for each connection, one after the other. */
static void serve(int listener, const char *program)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pid_t pid = fork();
        if (pid == 0) {
            if (dup2(fd, 0) == 0 && dup2(fd, 1) == 1)
                execl(program, program, (char *)NULL);
            _exit(127);
        }
        close(fd);
        waitpid(pid, NULL, 0);
    }
}

/* Each connection begins with an error, that of the first address, which is none of the orders'. */
START_TEST(a_switch_of_two_addresses_that_hangs_up_after_each_answer_gets_all_its_pairs)
{
    struct wire_want_crossconnect pairs[] = { { "ocs1", 1, 2, true }, { "ocs1", 3, 4, true } };
    struct wire_desired d = { .epoch = 1, .revision = 1, .crossconnects = pairs, .n_crossconnects = 2 };
    static const char program[] = "#!/bin/sh\n"
                                  "read -r what a b\n"
                                  "[ -z \"$a\" ] || echo \"$what $a $b\" >>\"${0%/*}/asked\"\n"
                                  "echo ok\n";
    struct switch_config *c = add_switch(program);
    char path[sizeof c->address];
    snprintf(path, sizeof path, "%s", c->address + strlen("exec:"));
    int refusing = bound(0), listener = bound(1);
    ck_assert_int_eq(listen(listener, 4), 0);
    pid_t server = fork();
    if (server == 0)
        serve(listener, path);
    strcpy(c->address, "tcp:ocs1:7000");
    node_done(&node);
    start_agent();
    converge_apply(&node, &d);
    ck_assert(!node.incomplete);
    expect_asked("connect 1 2\nconnect 3 4\n");
    kill(server, SIGKILL);
    ck_assert_int_eq(waitpid(server, NULL, 0), server);
    close(refusing);
    close(listener);
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
    tcase_add_test(t, no_block_goes_offline_while_its_section_or_channel_leads_nowhere);
    tcase_add_test(t, section_is_not_changed_while_memory_behind_it_is_online);
    tcase_add_test(t, detach_goes_backwards_in_one_pass);
    tcase_add_test(t, blocks_of_another_are_not_taken_away_by_an_order_for_their_range);
    tcase_add_test(t, a_buffer_whose_release_failed_is_held_until_its_lender_is_gone);
    tcase_add_test(t, a_section_that_led_somewhere_is_quiesced_before_it_is_parked);
    tcase_add_test(t, an_idle_section_is_quiesced_too_before_it_is_parked_for_a_channel);
    tcase_add_test(t, a_channel_stays_in_reset_when_its_adapter_was_reset_under_live_memory);
    tcase_add_test(t, one_pair_that_a_switch_refuses_leaves_its_other_pairs_alone);
    tcase_add_test(t, a_switch_of_two_addresses_that_hangs_up_after_each_answer_gets_all_its_pairs);
    tcase_add_test(t, tombstone_of_what_never_was_is_reported_quiesced);
    tcase_add_test(t, failed_order_is_tried_again_only_when_its_attempt_grows);
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
    return unit_main(s);
}
