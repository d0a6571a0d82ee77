/* lifecycle_time.c - the clock of the life cycle: silent nodes, attaches and undos that do not move, retries with
 * backoff. Every limit is multiplied by the model's time_scale; the time is the model's. */
#include "lifecycle_internal.h"

#include <stdio.h>
#include <string.h>

#define ATTACH_LIMIT_MS 120000
#define UNDO_LIMIT_MS 120000
#define RETRY_AFTER_START_MS 5000
#define COMPARE_MS 60000
#define SCAN_MS 1000 /* every clock is looked at so often, at least */

static void start_node(struct model *m, uint32_t at)
{
    struct node *n = model_touch_node(m, at);
    n->last_seen_ms = n->last_heard_ms = m->now_ms;
    bool fenced = n->fenced_boot_id[0] && !strcmp(n->fenced_boot_id, n->boot_id);
    model_set_node_state(m, at,
                         fenced             ? NODE_FENCED
                         : n->machine_id[0] ? NODE_UNREACHABLE
                                            : NODE_NEW,
                         "the orchestrator was started");
}

static void start_attachment(struct model *m, uint32_t at)
{
    struct attachment *a = model_touch_attachment(m, at);
    uint64_t block_bytes = model_node(m, a->compute_node)->block_bytes;
    a->progress_ms = m->now_ms;
    a->numa_node = -1;
    a->no_more_revision = m->revision;
    a->blocks_total = block_bytes ? (unsigned)(a->size_bytes / block_bytes) : 0;
    a->blocks_online = a->state == ATT_ATTACHED ? a->blocks_total : 0;
    if (a->state == ATT_STUCK)
        a->retry_at_ms = m->now_ms + lifecycle_scaled(m, RETRY_AFTER_START_MS);
}

void lifecycle_start(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i))
            start_node(m, i);
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++)
        if (model_switch(m, i))
            model_touch_switch(m, i)->last_seen_ms = m->now_ms;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        if (model_attachment(m, i))
            start_attachment(m, i);
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i))
            circuit_start(m, i);
    m->scan_at_ms = m->now_ms;
}

void lifecycle_excuse_silence(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i) && model_node(m, i)->state == NODE_READY)
            model_touch_node(m, i)->last_seen_ms = m->now_ms;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        if (model_attachment(m, i))
            model_touch_attachment(m, i)->progress_ms = m->now_ms;
}

static void earlier(int64_t *next, int64_t at)
{
    if (at < *next)
        *next = at;
}

static void tick_node(struct model *m, uint32_t at, int64_t *next)
{
    const struct node *n = model_node(m, at);
    bool expected = n->state == NODE_NEW && n->session[0] && n->enrolment == ENROLMENT_APPROVED;
    if (n->state != NODE_READY && !expected)
        return;
    int64_t end = n->last_seen_ms + lifecycle_scaled(m, UNREACHABLE_MS);
    if (m->now_ms >= end)
        model_set_node_state(m, at, NODE_UNREACHABLE,
                             n->session[0] && !n->reported ? "it registers, but does not report" : "no heartbeat");
    else
        earlier(next, end);
}

static const char *waits_for(const struct model *m, const struct attachment *a)
{
    switch (a->undoing) {
    case STEP_ONLINE:
        return "waiting for the compute node to take the memory offline";
    case STEP_MAP:
        return "waiting for the compute node to park the section";
    case STEP_CONNECT:
        return "waiting for the circuit to close";
    default:
        return a->now_id_held || !lifecycle_fresh(m, a->donor, a->revision)
                   ? "waiting for the donor to release the buffer"
                   : "waiting for the circuit to close";
    }
}

static void fail_late(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    char reason[WIRE_TEXT], why[WIRE_TEXT] = "";
    if (a->step >= STEP_MAP)
        (void)lifecycle_way_dead(m, at, why);
    snprintf(reason, sizeof reason, "no progress at step %s for %d s%s%.120s", step_names[a->step],
             ATTACH_LIMIT_MS / 1000, *why ? ": " : "", why);
    lifecycle_fail(m, at, reason);
}

static void tick_attachment(struct model *m, uint32_t at, int64_t *next)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->goal == GOAL_PRESENT && a->state == ATT_PENDING && a->segment_seen) {
        return; /* a detach that was given up: memory that is in use is not taken away for want of news */
    } else if (a->goal == GOAL_PRESENT && a->state == ATT_PENDING) {
        int64_t end = a->progress_ms + lifecycle_scaled(m, ATTACH_LIMIT_MS);
        if (m->now_ms >= end)
            fail_late(m, at);
        else
            earlier(next, end);
    } else if (a->retry_at_ms) {
        if (m->now_ms >= a->retry_at_ms)
            lifecycle_try_again(m, at);
        else
            earlier(next, a->retry_at_ms);
    } else if (a->goal == GOAL_ABSENT && a->state != ATT_STUCK && !a->quarantined) {
        int64_t end = a->progress_ms + lifecycle_scaled(m, UNDO_LIMIT_MS);
        if (m->now_ms >= end && a->held_by)
            lifecycle_stick_held(m, at);
        else if (m->now_ms >= end)
            lifecycle_stick(m, at, waits_for(m, a));
        else
            earlier(next, end);
    }
}

/* Looks at every clock; those that run out between two scans are at most SCAN_MS late. */
static int64_t scan(struct model *m)
{
    int64_t next = m->now_ms + lifecycle_scaled(m, SCAN_MS);
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i))
            tick_node(m, i, &next);
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        if (model_attachment(m, i))
            tick_attachment(m, i, &next);
    return next;
}

/* Everything is held against what was reported, whether or not something about it changed. */
static void compare_all(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i))
            model_mark_due(m, i);
    m->compare_at_ms = m->now_ms + lifecycle_scaled(m, COMPARE_MS);
}

int64_t lifecycle_tick(struct model *m)
{
    if (m->now_ms >= m->compare_at_ms)
        compare_all(m);
    if (m->now_ms >= m->scan_at_ms)
        m->scan_at_ms = scan(m);
    lifecycle_advance(m);
    return m->scan_at_ms;
}
