/* links: memlane-core memlane-sim */
/* The rules that keep memory safe (DESIGN section 3), where a story has to be told on purpose: proof that is too old,
 * from another epoch or from what was not read; quarantine; what is not used again; joins; boots.  tests/README.md has
 * the table. */
#include "core/adopt.h"
#include "sim_rack.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB4 (UINT64_C(4) << 30)

static struct sim s;
static struct err e;

static void setup(void)
{
    sim_star(&s, 3);
}

static void teardown(void)
{
    sim_done(&s);
}

static const struct attachment *at(uint32_t i)
{
    return model_attachment(s.m, i);
}

static uint32_t attached(size_t node, const char *donor)
{
    uint32_t a = sim_attach(&s, node, GIB4, donor);
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
    return a;
}

static uint32_t row(const char *name)
{
    return model_find_node(s.m, name);
}

/* A report of n1 with nothing on it, as if every order had been carried out. */
static int report_nothing(uint64_t epoch, uint64_t revision, uint64_t sequence, const char *boot)
{
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1", .ok = true } };
    struct wire_observed o = { .epoch = epoch,
                               .revision = revision,
                               .sequence = sequence,
                               .memory_bytes = GIB4 * 16,
                               .free_bytes = GIB4 * 16,
                               .switches_ok = true,
                               .n_adapters = 2,
                               .adapters = adapters };
    bool changed;
    snprintf(o.session, sizeof o.session, "s-n1-%u", s.nodes[0].session);
    snprintf(o.boot_id, sizeof o.boot_id, "%s", boot);
    for (unsigned k = 0; k < WIRE_SECTIONS; k++)
        adapters[0].sections[k] = wire_section_parked(k);
    sim_begin(&s);
    int rc = observed_report(s.m, row("n1"), &o, &changed, &e);
    if (rc < 0)
        model_rollback(s.m);
    sim_commit(&s);
    return rc;
}

static void fence(size_t node)
{
    sim_power_off(&s, node);
    sim_pass(&s, 20000);
    ck_assert_msg(sim_fence(&s, node, model_node(s.m, row(s.nodes[node].name))->boot_id, &e) == 0, "%s", e.detail);
}

static void power_off_and_fence(size_t node)
{
    fence(node);
    sim_settle(&s);
}

static const struct wire_want_segment *wanted_segment(struct wire_desired *d)
{
    ck_assert_int_eq(desired_build(s.m, row("n1"), d, &e), 0);
    ck_assert_uint_eq(d->n_segments, 1);
    return d->segments;
}

START_TEST(a_report_of_another_epoch_proves_nothing)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    ck_assert_int_eq(report_nothing(7, s.m->revision, s.nodes[0].sequence + 1, "boot-1"), 0);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->applied_revision, 0);
}
END_TEST

START_TEST(a_revision_that_nobody_published_proves_nothing)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    ck_assert_int_eq(report_nothing(1, s.m->revision + 100, s.nodes[0].sequence + 1, "boot-1"), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->applied_revision, 0);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE);
}
END_TEST

START_TEST(an_older_sequence_or_another_boot_is_refused)
{
    attached(0, "n2");
    ck_assert_int_eq(report_nothing(1, s.m->revision, s.nodes[0].sequence, "boot-1"), -1);
    ck_assert_int_eq(e.code, ERR_SESSION_STALE);
    ck_assert_int_eq(report_nothing(1, s.m->revision, s.nodes[0].sequence + 1, "boot-9"), -1);
    ck_assert_int_eq(e.code, ERR_SESSION_STALE);
}
END_TEST

START_TEST(a_range_that_is_not_named_proves_nothing_in_the_same_boot)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    s.nodes[0].sequence++;
    ck_assert_int_eq(report_nothing(1, s.m->revision, s.nodes[0].sequence, "boot-1"), 0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->applied_revision, s.m->revision - 1);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE);
    ck_assert(!at(a)->release_published);
}
END_TEST

START_TEST(blocks_under_another_name_are_no_proof_after_a_reboot)
{
    uint32_t a = attached(0, "n2");
    sim_reboot(&s, 0);
    struct sim_node *n = &s.nodes[0];
    n->segments[n->n_segments++] = (struct sim_segment){ .id = "x", .section = 0, .size_bytes = GIB4, .online = 3 };
    struct wire_seen_segment g = {
        .id = "x", .adapter = "afu0", .size_bytes = GIB4, .blocks_total = 16, .blocks_online = 3
    };
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1", .ok = true } };
    struct wire_observed o = { .epoch = 1,
                               .revision = s.m->revision,
                               .sequence = 1,
                               .switches_ok = true,
                               .n_adapters = 2,
                               .adapters = adapters,
                               .n_segments = 1,
                               .segments = &g };
    bool changed;
    adapters[0].sections[0] = wire_section_parked(0);
    snprintf(o.session, sizeof o.session, "s-n1-%u", n->session);
    snprintf(o.boot_id, sizeof o.boot_id, "boot-2");
    sim_begin(&s);
    ck_assert_int_eq(observed_report(s.m, row("n1"), &o, &changed, &e), 0);
    sim_commit(&s);
    sim_agent(&s, 3, true);
    sim_agent(&s, 1, true);
    ck_assert_int_eq(at(a)->state, ATT_LOST);
    ck_assert(!at(a)->release_published);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
}
END_TEST

START_TEST(nothing_is_proved_by_what_a_restart_forgot)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    sim_begin(&s);
    lifecycle_start(s.m);
    sim_commit(&s);
    ck_assert_int_eq(model_node(s.m, row("n1"))->state, NODE_UNREACHABLE);
    ck_assert_int_eq(at(a)->undoing, STEP_ONLINE);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
}
END_TEST

START_TEST(a_switch_that_was_not_read_proves_no_join_and_no_parting)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    sim_agent(&s, 0, true);
    for (int i = 0; i < 4; i++) {
        sim_agent(&s, 0, true);
        sim_agent(&s, 1, true);
    }
    const struct circuit *c = model_circuit(s.m, at(a)->circuit);
    ck_assert_int_eq(c->phase, PHASE_CLEAR);
    sim_register(&s, 3);
    sim_begin(&s);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_PORT); i++)
        model_touch_port(s.m, i)->seen_peer = NONE; /* what a restart forgets */
    sim_commit(&s);
    struct wire_observed o = { .epoch = 1, .revision = s.m->revision, .sequence = s.nodes[3].sequence + 1 };
    bool changed;
    snprintf(o.session, sizeof o.session, "s-mgmt-%u", s.nodes[3].session);
    snprintf(o.boot_id, sizeof o.boot_id, "boot-1");
    sim_begin(&s);
    ck_assert_int_eq(observed_report(s.m, row("mgmt"), &o, &changed, &e), 0); /* switches_ok is false */
    sim_commit(&s);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLEAR);
    s.nodes[3].sequence++;
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

START_TEST(joins_are_named_only_while_they_are_made_or_cleared)
{
    struct wire_desired d;
    uint32_t a = attached(0, "n2");
    ck_assert_int_eq(desired_build(s.m, row("mgmt"), &d, &e), 0);
    ck_assert_uint_eq(d.n_crossconnects, 0);
    wire_desired_done(&d);
    sim_reboot(&s, 3); /* its manager */
    memset(s.nodes[3].joins, 0, sizeof s.nodes[3].joins);
    sim_settle(&s);
    for (unsigned p = 0; p < 64; p++)
        ck_assert_uint_eq(s.nodes[3].joins[p], 0); /* never made again under live memory */
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(a_foreign_join_is_not_rewritten)
{
    uint32_t a = attached(0, "n2");
    unsigned port = 0;
    for (unsigned p = 1; p < 64 && !port; p++)
        port = s.nodes[3].joins[p] ? p : 0;
    sim_detach(&s, a);
    sim_settle(&s);
    s.nodes[3].joins[port] = 47;
    s.nodes[3].joins[47] = port;
    sim_settle(&s);
    a = sim_attach(&s, 0, GIB4, "n2");
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[3].joins[port], 47);
    ck_assert_int_eq(at(a)->state, ATT_PENDING);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLOSED);
}
END_TEST

/* As after a restore: others may use what the circuit's ports are joined to now. */
START_TEST(a_leg_that_is_joined_elsewhere_is_left_alone)
{
    uint32_t a = attached(0, "n2"), circuit = at(a)->circuit;
    const struct leg *l = &model_circuit(s.m, circuit)->legs[0];
    unsigned port = model_port(s.m, l->ports[l->n_ports - 2])->number, was = s.nodes[3].joins[port];
    unsigned donor_channels = s.nodes[1].channels[1];
    s.nodes[3].joins[was] = 0;
    s.nodes[3].joins[port] = 47;
    s.nodes[3].joins[47] = port;
    sim_settle(&s);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
    ck_assert_uint_eq(s.nodes[1].channels[1], donor_channels);
    ck_assert_uint_eq(s.nodes[3].joins[port], 47);
}
END_TEST

START_TEST(the_loss_of_the_donor_withdraws_the_order_to_take_memory_offline)
{
    struct wire_desired d;
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    ck_assert_int_eq(wanted_segment(&d)->want, WIRE_ABSENT);
    wire_desired_done(&d);
    sim_reboot(&s, 1);
    ck_assert_int_eq(at(a)->state, ATT_LOST);
    ck_assert(at(a)->quarantined);
    ck_assert_int_eq(wanted_segment(&d)->want, WIRE_KEEP);
    wire_desired_done(&d);
    sim_settle(&s);
    ck_assert_uint_eq(s.nodes[0].segments[0].online, 16);
}
END_TEST

START_TEST(memory_of_a_dead_donor_is_never_brought_online)
{
    struct wire_desired d;
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    while (at(a)->step < STEP_ONLINE)
        for (size_t i = 0; i < s.n_nodes; i++)
            if (at(a)->step < STEP_ONLINE)
                sim_agent(&s, i, true);
    sim_reboot(&s, 1);
    ck_assert(at(a)->quarantined); /* who knows how far it came */
    ck_assert_int_eq(wanted_segment(&d)->want, WIRE_KEEP);
    wire_desired_done(&d);
}
END_TEST

START_TEST(quarantine_keeps_the_donors_port_in_reset_though_others_are_pending_on_it)
{
    uint32_t a = attached(0, "n2"), b = sim_attach(&s, 0, GIB4, "n2");
    ck_assert_uint_eq(at(a)->circuit, at(b)->circuit);
    sim_reboot(&s, 1);
    for (int i = 0; i < 6; i++) {
        sim_agent(&s, 1, true);
        ck_assert_uint_eq(s.nodes[1].channels[1], 0);
        sim_agent(&s, 0, true);
        sim_agent(&s, 3, true);
    }
    ck_assert(at(a)->quarantined);
    ck_assert_uint_eq(sim_attach(&s, 0, GIB4, "n2"), NONE); /* nothing new over it */
}
END_TEST

START_TEST(a_circuit_out_of_quarantine_only_closes)
{
    uint32_t a = attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert(at(a)->quarantined);
    sim_reboot(&s, 0);
    ck_assert(!at(a)->quarantined);
    for (int i = 0; i < 8; i++) {
        sim_agent(&s, 1, true);
        ck_assert_uint_eq(s.nodes[1].channels[1], 0);
        sim_agent(&s, 0, true);
        sim_agent(&s, 3, true);
    }
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

static unsigned suspects(const char *node)
{
    const struct adapter *a = model_adapter(s.m, model_find_adapter(s.m, row(node), "afu1"));
    return (unsigned)model_port(s.m, a->ports[0])->suspect + (unsigned)model_port(s.m, a->ports[1])->suspect;
}

START_TEST(a_port_reset_with_traffic_in_flight_is_suspect_until_its_adapter_is_reset)
{
    attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(suspects("n2"), 1);
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    ck_assert_uint_eq(suspects("n2"), 1);
    uint32_t a = attached(0, "n2"); /* over the other port */
    ck_assert_uint_eq(sim_attach(&s, 2, GIB4, "n2"), NONE);
    sim_detach(&s, a);
    sim_settle(&s);
    sim_reboot(&s, 1);
    sim_settle(&s);
    ck_assert_uint_eq(suspects("n2"), 0);
    attached(2, "n2");
}
END_TEST

START_TEST(a_range_that_ended_in_quarantine_waits_for_both_sides_to_reboot)
{
    attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    uint32_t a = attached(0, "n3");
    ck_assert_uint_eq(at(a)->section, 1); /* section 0: the donor is still in that boot */
    sim_reboot(&s, 1);
    sim_settle(&s);
    a = attached(0, "n2");
    ck_assert_uint_eq(at(a)->section, 0);
}
END_TEST

/* Should the operator be wrong, there is no way left to the memory when it is given to others. */
START_TEST(a_fenced_borrower_has_its_circuit_cleared_before_the_buffer_goes)
{
    uint32_t a = attached(0, "n2"), circuit = at(a)->circuit;
    fence(0);
    ck_assert_int_eq(at(a)->undoing, STEP_CONNECT);
    sim_agent(&s, 1, true);
    ck_assert_int_eq(model_circuit(s.m, circuit)->phase, PHASE_CLEAR);
    ck_assert_int_eq(at(a)->undoing, STEP_CONNECT);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    sim_agent(&s, s.n_nodes - 1, true);
    ck_assert_int_eq(at(a)->undoing, STEP_LEND);
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
}
END_TEST

START_TEST(a_range_that_ended_by_fencing_waits_for_both_sides_to_reboot)
{
    uint32_t a = attached(0, "n2");
    power_off_and_fence(0);
    ck_assert_ptr_null(at(a));
    sim_reboot(&s, 0);
    sim_settle(&s);
    a = attached(0, "n2");
    ck_assert_uint_eq(at(a)->section, 1);
    sim_detach(&s, a);
    sim_settle(&s);
    sim_reboot(&s, 1);
    sim_settle(&s);
    a = attached(0, "n2");
    ck_assert_uint_eq(at(a)->section, 0);
}
END_TEST

static int forget(const char *name)
{
    sim_begin(&s);
    int rc = model_forget_node(s.m, row(name), &e);
    if (rc < 0)
        model_rollback(s.m);
    sim_commit(&s);
    return rc;
}

/* Somebody registers, with the adapters of a server. */
static int claim(const char *name, const char *machine, const char *boot)
{
    struct wire_registration r = { .protocol_min = 1, .protocol_max = 1, .block_bytes = SIM_BLOCK, .n_adapters = 2 };
    uint32_t out;
    snprintf(r.name, sizeof r.name, "%s", name);
    snprintf(r.machine_id, sizeof r.machine_id, "%s", machine);
    snprintf(r.boot_id, sizeof r.boot_id, "%s", boot);
    r.adapters[0] = (struct wire_adapter){ .name = "afu0",
                                           .role = WIRE_COMPUTE,
                                           .ports = 2,
                                           .window_addr = UINT64_C(1) << 49,
                                           .window_bytes = 4 * SECTION_BYTES };
    r.adapters[1] = (struct wire_adapter){ .name = "afu1", .role = WIRE_MEMORY, .ports = 2 };
    sim_begin(&s);
    int rc = observed_register(s.m, &r, "claimed", &out, &e);
    if (rc < 0)
        model_rollback(s.m);
    sim_commit(&s);
    return rc;
}

static bool barred(const char *node, unsigned section)
{
    return model_section_barred(s.m, model_find_adapter(s.m, row(node), "afu0"), section);
}

START_TEST(a_fenced_boot_and_its_ranges_stay_refused_when_the_node_is_forgotten)
{
    attached(0, "n2");
    power_off_and_fence(0);
    ck_assert_uint_eq(model_node(s.m, row("n1"))->n_borrows, 0);
    ck_assert_int_eq(forget("n1"), 0);
    ck_assert_int_eq(claim("n1", "machine-n1", "boot-1"), -1);
    ck_assert_int_eq(e.code, ERR_FORBIDDEN);
    ck_assert_int_eq(claim("n9", "machine-9", "boot-1"), -1); /* by whatever name */
    ck_assert_int_eq(e.code, ERR_FORBIDDEN);
    ck_assert_int_eq(claim("n1", "machine-9", "boot-9"), 0); /* the name is free */
    ck_assert(barred("n1", 0) && !barred("n1", 1));
    sim_reboot(&s, 1);
    ck_assert(barred("n1", 0)); /* n2 rebooted, the machine that was n1 did not */
}
END_TEST

START_TEST(a_donor_that_is_forgotten_ends_no_bar_before_the_borrower_rebooted)
{
    attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    ck_assert(barred("n1", 0));
    ck_assert_int_eq(forget("n2"), -1); /* that boot may come back */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    power_off_and_fence(1);
    ck_assert_int_eq(forget("n2"), 0);
    ck_assert(!barred("n1", 0)); /* n1 rebooted, and n2's half is refused for good */
    ck_assert_int_eq(claim("n2", "machine-n2", "boot-1"), -1);
}
END_TEST

START_TEST(a_donor_fenced_under_live_memory_can_be_forgotten_when_its_borrower_rebooted)
{
    attached(0, "n2");
    power_off_and_fence(1);
    ck_assert_int_eq(forget("n2"), -1); /* it still lends: the borrower may read it any moment */
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
    ck_assert(barred("n1", 0));
    ck_assert_int_eq(forget("n2"), 0);
    ck_assert(!barred("n1", 0));
}
END_TEST

/* ---- switches that nobody drives any more -------------------------------------------------------------------------
 */
static int fence_switch(void)
{
    sim_begin(&s);
    int rc = lifecycle_fence_switch(s.m, model_find_switch(s.m, "ocs1"), &e);
    if (rc < 0)
        model_rollback(s.m);
    sim_commit(&s);
    return rc;
}

START_TEST(a_switch_that_is_off_holds_nothing_up_and_joins_nothing_new)
{
    uint32_t a = attached(0, "n2");
    ck_assert_int_eq(fence_switch(), -1); /* it is read */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    s.nodes[3].alive = false;
    sim_pass(&s, 20000);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLEAR);
    ck_assert_int_eq(fence_switch(), 0);
    sim_settle(&s);
    ck_assert_ptr_null(at(a));
    ck_assert_uint_eq(s.nodes[1].n_buffers, 0);
    ck_assert_uint_eq(sim_attach(&s, 0, GIB4, "n2"), NONE);
    s.nodes[3].alive = true; /* it is not off after all: it is read again, and so is the join that was left */
    sim_settle(&s);
    ck_assert(!model_switch(s.m, model_find_switch(s.m, "ocs1"))->fenced);
    a = sim_attach(&s, 0, GIB4, "n2");
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED); /* the same two ports: the join that is wanted */
}
END_TEST

START_TEST(another_node_takes_over_the_switch_of_a_fenced_manager)
{
    uint32_t a = attached(0, "n2");
    s.nodes[3].alive = false;
    ck_assert_int_eq(sim_cable(&s, "n3", &e), -1); /* it may still act */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    sim_pass(&s, 20000);
    ck_assert_int_eq(sim_fence(&s, 3, "boot-1", &e), 0);
    ck_assert_int_eq(sim_cable(&s, "n3", &e), 0);
    ck_assert_int_eq(forget("mgmt"), 0);
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(model_circuit(s.m, at(a)->circuit)->phase, PHASE_CLEAR); /* n3 has not read it */
    ck_assert_int_eq(claim("mgmt", "machine-mgmt", "boot-1"), -1);
}
END_TEST

/* n2 reports that giving "id" back failed; its list does not show it (any more): it may still be committing. */
static void report_failed_release(const char *id, unsigned attempt)
{
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1", .ok = true } };
    struct wire_seen_buffer b = { .attempt = attempt, .error = "the range is not empty" };
    struct wire_observed o = { .epoch = 1,
                               .revision = s.m->revision,
                               .sequence = ++s.nodes[1].sequence,
                               .memory_bytes = GIB4 * 16,
                               .free_bytes = GIB4 * 16,
                               .switches_ok = true,
                               .n_adapters = 2,
                               .adapters = adapters,
                               .n_buffers = 1,
                               .buffers = &b };
    bool changed;
    snprintf(b.id, sizeof b.id, "%s", id);
    snprintf(b.adapter, sizeof b.adapter, "afu1");
    snprintf(o.session, sizeof o.session, "s-n2-%u", s.nodes[1].session);
    snprintf(o.boot_id, sizeof o.boot_id, "boot-%u", s.nodes[1].boot);
    snprintf(adapters[1].lender_id, sizeof adapters[1].lender_id, "l-n2-%u", s.nodes[1].lender);
    sim_begin(&s);
    ck_assert_int_eq(observed_report(s.m, row("n2"), &o, &changed, &e), 0);
    sim_commit(&s);
}

START_TEST(a_release_that_failed_is_not_done_though_nothing_is_listed)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    sim_detach(&s, a); /* n2 is committing it */
    for (int i = 0; i < 20 && at(a)->undoing != STEP_LEND; i++)
        for (size_t k = 0; k < s.n_nodes; k++)
            if (k != 1)
                sim_agent(&s, k, true);
    for (int i = 0; i < 4; i++) {
        report_failed_release(at(a)->id, at(a)->attempt);
        sim_agent(&s, 0, true);
        sim_agent(&s, 3, true);
        ck_assert_ptr_nonnull(at(a));
    }
    ck_assert_int_eq(at(a)->state, ATT_STUCK);
    ck_assert_str_eq(at(a)->reason, "the range is not empty");
    ck_assert_uint_eq(lifecycle_holds(s.m, at(a)), 2);
    sim_pass(&s, 6000); /* tried again, and done */
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

/* ---- who is off, and who is only not known yet ---------------------------------------------------------------------
 */
/* What a restart of the orchestrator forgets: sessions, reports, clocks. */
static void restart(void)
{
    sim_begin(&s);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_NODE); i++) {
        model_touch_node(s.m, i)->session[0] = '\0';
        model_touch_node(s.m, i)->reported = false;
    }
    for (uint32_t i = 0; i < model_count(s.m, MODEL_SWITCH); i++)
        model_touch_switch(s.m, i)->seen = false;
    lifecycle_start(s.m);
    sim_commit(&s);
}

START_TEST(nobody_is_fenced_before_this_orchestrator_listened_for_ten_seconds)
{
    attached(0, "n2");
    restart();
    ck_assert_int_eq(model_node(s.m, row("n1"))->state, NODE_UNREACHABLE);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), -1); /* it may be as alive as ever */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "can be fenced in 9"));
    ck_assert_int_eq(fence_switch(), -1);
    ck_assert_ptr_nonnull(strstr(e.detail, "can be fenced in 9"));
    sim_pass(&s, 9000);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), -1);
    ck_assert_int_eq(fence_switch(), -1);
    sim_register(&s, 0); /* alive it is, though it has not reported yet */
    sim_pass(&s, 2000);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), -1);
    ck_assert_int_eq(fence_switch(), 0);
    sim_pass(&s, 9000);
    ck_assert_int_eq(sim_fence(&s, 0, "boot-1", &e), 0);
}
END_TEST

static unsigned events_of(const char *type)
{
    unsigned n = 0;
    for (size_t i = 0; i < s.m->n_events; i++)
        n += !strcmp(s.m->events[i].type, type);
    return n;
}

START_TEST(a_node_that_only_registers_is_unreachable_and_told_of_once)
{
    unsigned told = 0;
    bool mute = false;
    for (int i = 0; i < 6; i++) {
        sim_register(&s, 1);
        for (size_t k = 0; k < s.n_nodes; k++)
            if (k != 1)
                sim_agent(&s, k, true);
        s.clock_ms += 2000;
        sim_begin(&s);
        lifecycle_tick(s.m);
        told += events_of("node.state");
        mute |= told && strstr(s.m->events[0].reason, "registers, but does not report");
        sim_commit(&s);
    }
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_UNREACHABLE);
    ck_assert_uint_eq(told, 1);
    ck_assert(mute);
    ck_assert_uint_eq(sim_attach(&s, 0, GIB4, "n2"), NONE);
    ck_assert_int_eq(sim_fence(&s, 1, "boot-1", &e), -1); /* it is on: it was heard a moment ago */
    sim_pass(&s, 10000);
    ck_assert_int_eq(sim_fence(&s, 1, "boot-1", &e), 0);
}
END_TEST

START_TEST(a_new_node_that_never_reports_is_unreachable_too)
{
    sim_power_off(&s, 1);
    s.nodes[1].boot++;
    s.clock_ms += 4000;
    sim_register(&s, 1);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_NEW);
    sim_pass(&s, 9000);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_NEW);
    sim_pass(&s, 2000);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_UNREACHABLE);
    s.nodes[1].alive = true;
    sim_settle(&s);
    ck_assert_int_eq(model_node(s.m, row("n2"))->state, NODE_READY);
}
END_TEST

START_TEST(everything_is_compared_with_what_was_reported_every_minute)
{
    uint32_t a = attached(0, "n2");
    sim_pass(&s, 1);
    sim_begin(&s);
    model_touch_attachment(s.m, a)->now_buffer = false; /* reported, and nobody looked */
    sim_commit(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
    for (int i = 0; i < 13; i++) {
        for (uint32_t n = 0; n < model_count(s.m, MODEL_NODE); n++)
            model_touch_node(s.m, n)->last_seen_ms = s.clock_ms;
        sim_pass(&s, 5000);
    }
    ck_assert_int_eq(at(a)->state, ATT_LOST);
}
END_TEST

START_TEST(nothing_is_placed_where_something_of_nobody_is)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    sim_settle(&s);
    ck_assert_uint_eq(at(attached(0, "n3"))->section, 1); /* section 0: n2's lender has a buffer for it */
    ck_assert_uint_eq(at(attached(2, "n2"))->section, 0); /* it is n1's only */
}
END_TEST

START_TEST(what_nobody_owns_is_promised_to_nobody)
{
    uint64_t before = model_lendable_bytes(model_node(s.m, row("n2")));
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    sim_settle(&s);
    ck_assert_uint_eq(model_node(s.m, row("n2"))->n_unowned, 1);
    ck_assert_uint_eq(model_lendable_bytes(model_node(s.m, row("n2"))), before - GIB4);
    ck_assert_uint_eq(sim_attach(&s, 0, before, "n2"), NONE);
    struct placement p;
    struct place_request r = {
        .compute_node = row("n1"), .requested_bytes = before, .donor = row("n2"), .channels = 1
    };
    ck_assert_int_eq(placement_rank(&p, s.m, s.t, &r, &e), 0);
    size_t said = 0;
    for (size_t i = 0; i < p.n; i++)
        said += strstr(p.candidates[i].detail, "held for nobody 4 GiB") != NULL;
    ck_assert_uint_eq(said, 1);
    placement_done(&p);
    ck_assert_uint_ne(sim_attach(&s, 0, before - GIB4, "n2"), NONE);
}
END_TEST

START_TEST(a_buffer_behind_an_adapter_in_error_is_not_taken_up)
{
    uint32_t a = sim_attach(&s, 0, GIB4, "n2");
    s.nodes[1].memory_in_error = true;
    sim_settle(&s);
    ck_assert(!at(a)->buffer_seen);
    ck_assert_int_ne(at(a)->state, ATT_ATTACHED);
    s.nodes[1].memory_in_error = false;
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(a_boot_that_another_one_followed_is_over)
{
    attached(0, "n2");
    sim_reboot(&s, 0);
    struct wire_registration r = { .name = "n1",
                                   .machine_id = "machine-n1",
                                   .boot_id = "boot-1",
                                   .protocol_min = 1,
                                   .protocol_max = 1,
                                   .block_bytes = SIM_BLOCK };
    uint32_t out;
    sim_begin(&s);
    ck_assert_int_eq(observed_register(s.m, &r, "late", &out, &e), -1);
    ck_assert_int_eq(e.code, ERR_IDENTITY_CONFLICT);
    model_rollback(s.m);
    sim_commit(&s);
    ck_assert_str_eq(model_node(s.m, row("n1"))->boot_id, "boot-2");
}
END_TEST

START_TEST(just_after_a_start_the_boot_that_is_known_comes_first)
{
    sim_begin(&s);
    lifecycle_start(s.m);
    for (uint32_t i = 0; i < model_count(s.m, MODEL_NODE); i++)
        model_edit_node(s.m, i)->session[0] = '\0'; /* as after loading */
    sim_commit(&s);
    struct wire_registration r = { .name = "n1",
                                   .machine_id = "machine-n1",
                                   .boot_id = "a-clone",
                                   .protocol_min = 1,
                                   .protocol_max = 1,
                                   .block_bytes = SIM_BLOCK };
    uint32_t out;
    sim_begin(&s);
    ck_assert_int_eq(observed_register(s.m, &r, "clone", &out, &e), -1);
    ck_assert_int_eq(e.code, ERR_IDENTITY_CONFLICT);
    model_rollback(s.m);
    sim_commit(&s);
}
END_TEST

START_TEST(a_detach_that_was_given_up_is_not_taken_back_by_the_clock)
{
    uint32_t a = attached(0, "n2");
    sim_detach(&s, a);
    sim_begin(&s);
    ck_assert_int_eq(lifecycle_cancel(s.m, a, &e), 0);
    sim_commit(&s);
    s.nodes[0].alive = false;
    for (int i = 0; i < 30; i++)
        sim_pass(&s, 10000);
    ck_assert_int_eq(at(a)->goal, GOAL_PRESENT);
    s.nodes[0].alive = true;
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
}
END_TEST

START_TEST(a_stuck_undo_is_retried_after_a_restart_too)
{
    uint32_t a = attached(0, "n2");
    s.nodes[0].refuse_offline = true;
    sim_detach(&s, a);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_STUCK);
    sim_begin(&s);
    model_edit_attachment(s.m, a)->retry_at_ms = 0; /* what a restart forgets */
    lifecycle_start(s.m);
    sim_commit(&s);
    s.nodes[0].refuse_offline = false;
    for (size_t i = 0; i < s.n_nodes; i++)
        sim_register(&s, i);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_pass(&s, 400000);
    sim_settle(&s);
    sim_expect_nothing(&s);
}
END_TEST

START_TEST(the_states_that_events_told_go_on_after_a_start)
{
    attached(0, "n2");
    sim_begin(&s);
    lifecycle_start(s.m);
    size_t told = 0;
    for (size_t i = 0; i < s.m->n_events; i++)
        told += !strcmp(s.m->events[i].type, "node.state") && !strcmp(s.m->events[i].from, "ready") &&
                !strcmp(s.m->events[i].to, "unreachable");
    ck_assert_uint_eq(told, s.n_nodes);
    sim_commit(&s);
}
END_TEST

static void collect(void)
{
    sim_begin(&s);
    adopt_collect(s.m);
    sim_commit(&s);
    sim_settle(&s);
}

START_TEST(what_nobody_owns_is_collected_after_its_grace_and_with_proof)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    sim_settle(&s);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1); /* too early */
    s.nodes[0].alive = false;
    sim_pass(&s, 700000);
    sim_settle(&s);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1); /* the node that its label names does not report */
    s.nodes[0].alive = true;
    sim_settle(&s);
    collect();
    sim_expect_nothing(&s);
}
END_TEST

/* n1 reports blocks that are online in section 0, from 'offset_bytes' on, under the name 'id'. */
static void report_blocks(const char *id, uint64_t offset_bytes)
{
    struct sim_node *n = &s.nodes[0];
    struct wire_seen_segment g = { .adapter = "afu0",
                                   .offset_bytes = offset_bytes,
                                   .size_bytes = GIB4,
                                   .blocks_total = 16,
                                   .blocks_online = 16,
                                   .movable = true };
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true, .channels = 1, .settled = 1 },
                                             { .name = "afu1", .ok = true } };
    struct wire_observed o = { .epoch = 1,
                               .revision = s.m->revision,
                               .sequence = ++n->sequence,
                               .switches_ok = true,
                               .memory_bytes = GIB4 * 16,
                               .free_bytes = GIB4 * 16,
                               .n_adapters = 2,
                               .adapters = adapters,
                               .n_segments = 1,
                               .segments = &g };
    bool changed;
    snprintf(g.id, sizeof g.id, "%s", id);
    memcpy(adapters[0].sections, n->registers, sizeof n->registers);
    snprintf(o.session, sizeof o.session, "s-n1-%u", n->session);
    snprintf(o.boot_id, sizeof o.boot_id, "boot-%u", n->boot);
    sim_begin(&s);
    ck_assert_int_eq(observed_report(s.m, row("n1"), &o, &changed, &e), 0);
    sim_commit(&s);
}

/* n2 lends "x" to n1, whose section leads there; its label on n1 was lost, or another one has its range. */
static void keep_in_use(const char *id, uint64_t offset_bytes)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    s.nodes[1].channels[1] = 1;
    s.nodes[3].joins[1] = 7;
    s.nodes[3].joins[7] = 1;
    s.nodes[0].registers[0] = wire_section_value(b.base, 0, WIRE_NETID_PORT0);
    s.nodes[0].alive = false; /* it reports by hand */
    sim_settle(&s);
    sim_pass(&s, 700000);
    report_blocks(id, offset_bytes);
    sim_settle(&s);
    sim_begin(&s);
    adopt_collect(s.m);
    sim_commit(&s);
    ck_assert_uint_eq(model_find_attachment(s.m, "x"), offset_bytes < GIB4 ? NONE : 0);
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
}

START_TEST(what_is_online_without_a_label_is_not_collected_from_under_it)
{
    keep_in_use("", 0);
}
END_TEST

START_TEST(what_is_online_under_another_name_is_not_collected_from_under_it)
{
    keep_in_use("y", GIB4 - SIM_BLOCK);
}
END_TEST

START_TEST(blocks_beside_it_keep_nothing_from_being_collected)
{
    keep_in_use("", GIB4);
}
END_TEST

/* n2 still lends "x" to n1, which booted since: no section of it leads there, but the way is as it was. */
static void leave_orphan_with_its_way(void)
{
    struct sim_buffer b = { .id = "x", .peer = "n1", .size_bytes = GIB4, .base = UINT64_C(0x700000000000) };
    s.nodes[1].buffers[s.nodes[1].n_buffers++] = b;
    s.nodes[1].channels[1] = 1;
    s.nodes[3].joins[1] = 7; /* n1/afu0/0 to n2/afu1/0 */
    s.nodes[3].joins[7] = 1;
    sim_settle(&s);
    sim_pass(&s, 700000);
    sim_settle(&s);
}

START_TEST(what_is_collected_leaves_no_channel_and_no_join)
{
    leave_orphan_with_its_way();
    collect();
    sim_expect_nothing(&s);
    for (unsigned p = 1; p < 64; p++)
        ck_assert_uint_eq(s.nodes[3].joins[p], 0);
}
END_TEST

START_TEST(a_way_that_another_section_uses_is_not_collected_with_the_buffer)
{
    leave_orphan_with_its_way();
    s.nodes[0].channels[0] = 1;
    s.nodes[0].registers[2] = wire_section_value(UINT64_C(0x710000000000), 2, WIRE_NETID_PORT0);
    sim_settle(&s);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 0);
    ck_assert_uint_eq(s.nodes[1].channels[1], 1);
    ck_assert_uint_eq(s.nodes[3].joins[1], 7);
}
END_TEST

START_TEST(the_way_of_what_is_collected_is_not_guessed_before_its_switch_is_read)
{
    leave_orphan_with_its_way();
    s.nodes[3].alive = false;
    sim_register(&s, 3);
    collect();
    ck_assert_uint_eq(s.nodes[1].n_buffers, 1);
    s.nodes[3].alive = true;
    sim_settle(&s);
    collect();
    sim_expect_nothing(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safety");
    TCase *t = tcase_create("rules");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_report_of_another_epoch_proves_nothing);
    tcase_add_test(t, a_revision_that_nobody_published_proves_nothing);
    tcase_add_test(t, an_older_sequence_or_another_boot_is_refused);
    tcase_add_test(t, a_range_that_is_not_named_proves_nothing_in_the_same_boot);
    tcase_add_test(t, blocks_under_another_name_are_no_proof_after_a_reboot);
    tcase_add_test(t, nothing_is_proved_by_what_a_restart_forgot);
    tcase_add_test(t, a_switch_that_was_not_read_proves_no_join_and_no_parting);
    tcase_add_test(t, joins_are_named_only_while_they_are_made_or_cleared);
    tcase_add_test(t, a_foreign_join_is_not_rewritten);
    tcase_add_test(t, a_leg_that_is_joined_elsewhere_is_left_alone);
    tcase_add_test(t, the_loss_of_the_donor_withdraws_the_order_to_take_memory_offline);
    tcase_add_test(t, memory_of_a_dead_donor_is_never_brought_online);
    tcase_add_test(t, quarantine_keeps_the_donors_port_in_reset_though_others_are_pending_on_it);
    tcase_add_test(t, a_circuit_out_of_quarantine_only_closes);
    tcase_add_test(t, a_port_reset_with_traffic_in_flight_is_suspect_until_its_adapter_is_reset);
    tcase_add_test(t, a_range_that_ended_in_quarantine_waits_for_both_sides_to_reboot);
    tcase_add_test(t, a_range_that_ended_by_fencing_waits_for_both_sides_to_reboot);
    tcase_add_test(t, a_boot_that_another_one_followed_is_over);
    tcase_add_test(t, just_after_a_start_the_boot_that_is_known_comes_first);
    tcase_add_test(t, a_detach_that_was_given_up_is_not_taken_back_by_the_clock);
    tcase_add_test(t, a_stuck_undo_is_retried_after_a_restart_too);
    tcase_add_test(t, the_states_that_events_told_go_on_after_a_start);
    tcase_add_test(t, what_nobody_owns_is_collected_after_its_grace_and_with_proof);
    tcase_add_test(t, what_is_online_without_a_label_is_not_collected_from_under_it);
    tcase_add_test(t, what_is_online_under_another_name_is_not_collected_from_under_it);
    tcase_add_test(t, blocks_beside_it_keep_nothing_from_being_collected);
    tcase_add_test(t, what_is_collected_leaves_no_channel_and_no_join);
    tcase_add_test(t, a_way_that_another_section_uses_is_not_collected_with_the_buffer);
    tcase_add_test(t, the_way_of_what_is_collected_is_not_guessed_before_its_switch_is_read);
    tcase_add_test(t, what_nobody_owns_is_promised_to_nobody);
    tcase_add_test(t, a_fenced_borrower_has_its_circuit_cleared_before_the_buffer_goes);
    tcase_add_test(t, nothing_is_placed_where_something_of_nobody_is);
    tcase_add_test(t, everything_is_compared_with_what_was_reported_every_minute);
    tcase_add_test(t, a_fenced_boot_and_its_ranges_stay_refused_when_the_node_is_forgotten);
    tcase_add_test(t, a_donor_that_is_forgotten_ends_no_bar_before_the_borrower_rebooted);
    tcase_add_test(t, a_donor_fenced_under_live_memory_can_be_forgotten_when_its_borrower_rebooted);
    tcase_add_test(t, a_switch_that_is_off_holds_nothing_up_and_joins_nothing_new);
    tcase_add_test(t, another_node_takes_over_the_switch_of_a_fenced_manager);
    tcase_add_test(t, a_release_that_failed_is_not_done_though_nothing_is_listed);
    tcase_add_test(t, nobody_is_fenced_before_this_orchestrator_listened_for_ten_seconds);
    tcase_add_test(t, a_node_that_only_registers_is_unreachable_and_told_of_once);
    tcase_add_test(t, a_new_node_that_never_reports_is_unreachable_too);
    tcase_add_test(t, a_buffer_behind_an_adapter_in_error_is_not_taken_up);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
