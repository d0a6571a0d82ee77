/* lifecycle.c - takes every attachment from its reservation to attached, and back.
 *
 * What holds in each state:
 * - pending: goal present: 'step' is published, all before it observed.  Goal absent: a failed attach is being undone
 * - attached: all four steps observed; the memory is in use
 * - detaching: goal absent; 'undoing' is the step whose undo is published, every step above it observed as undone
 * - stuck: as detaching, but the undo failed or does not move: retried with backoff, by retry, given up by cancel
 * - lost: what it was made of is gone (a boot, a lender); as detaching, or in quarantine and waiting
 *
 * The row goes when the last undo is observed: detached, failed or lost with nothing held.
 *
 * Transitions: attach_advance() publishes the next step, undo_advance() the next undo; lifecycle_lost.c notices what is
 * gone; lifecycle_way.c holds back what would read dead memory; lifecycle_time.c ends what does not move.
 * The donor's buffer is released by release_proven() only. */
#include "lifecycle_internal.h"
#include "why.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RETRY_FIRST_MS 5000
#define RETRY_MAX_MS 300000

int64_t lifecycle_scaled(const struct model *m, int64_t ms)
{
    int64_t v = (int64_t)((double)ms * m->time_scale);
    return v > 0 ? v : 1;
}

bool lifecycle_fresh(const struct model *m, uint32_t node, uint64_t revision)
{
    const struct node *n = model_node(m, node);
    return n && n->state == NODE_READY && n->reported && n->applied_revision >= revision;
}

bool lifecycle_fenced(const struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    return n && n->state == NODE_FENCED;
}

void lifecycle_wake(struct model *m, uint32_t node)
{
    if (model_node(m, node))
        model_touch_node(m, node)->desired_revision = m->revision;
}

bool lifecycle_wants(const struct attachment *a, enum step step)
{
    return a->step >= step && (a->goal == GOAL_PRESENT || step < a->undoing);
}

uint64_t lifecycle_section_value(const struct model *m, const struct adapter *a, unsigned section, bool *parked)
{
    const struct section *s = &a->sections[section];
    *parked = true;
    for (uint32_t i = s->first_attachment; i != NONE; i = model_attachment(m, i)->section_next)
        if (lifecycle_wants(model_attachment(m, i), STEP_MAP))
            *parked = false;
    if (*parked)
        return wire_section_parked(section);
    const struct circuit *c = model_circuit(m, s->circuit);
    uint64_t netid = c->channels == 2                                  ? WIRE_NETID_BOTH
                     : model_port(m, c->legs[0].ports[0])->number == 0 ? WIRE_NETID_PORT0
                                                                       : WIRE_NETID_PORT1;
    return wire_section_value(s->base, section, netid);
}

unsigned lifecycle_holds(const struct model *m, const struct attachment *a)
{
    (void)m;
    bool compute = a->step >= STEP_MAP && !(a->compute_gone && a->section_released);
    bool donor = a->step >= STEP_LEND && !a->released;
    return (compute ? 1u : 0u) | (donor ? 2u : 0u);
}

/* ---- transitions --------------------------------------------------------------------------------------------------
 */
void lifecycle_set_state(struct model *m, struct attachment *a, enum attachment_state state)
{
    if (a->state == state)
        return;
    enum attachment_state from = a->state;
    a->state = state;
    a->updated_ms = m->wall_ms;
    a->progress_ms = m->now_ms;
    model_emit_attachment(m, a, attachment_state_names[from], attachment_state_names[state], a->reason);
}

static void emit_step(struct model *m, const struct attachment *a, const char *verb, enum step step)
{
    char object[ID_SIZE + 16];
    snprintf(object, sizeof object, "attachment/%s", a->id);
    model_emit(m, "attachment.step", object, verb, step_names[step], "");
}

static void wake_both(struct model *m, const struct attachment *a)
{
    lifecycle_wake(m, a->donor);
    lifecycle_wake(m, a->compute_node);
}

/* Only the agent that has to act is woken: every wake costs it a report.  The ends of a circuit are woken by
 * circuit_advance(). */
static void wake_for(struct model *m, const struct attachment *a, enum step step)
{
    if (step == STEP_LEND)
        lifecycle_wake(m, a->donor);
    else if (step == STEP_MAP || step == STEP_ONLINE)
        lifecycle_wake(m, a->compute_node);
}

/* Publishes 'step': from the commit of this transaction on, agents act on it. */
static bool publish_step(struct model *m, uint32_t at, enum step step)
{
    struct attachment *a = model_edit_attachment(m, at);
    a->step = step;
    a->revision = m->revision;
    a->updated_ms = m->wall_ms;
    a->progress_ms = m->now_ms;
    emit_step(m, a, "do", step);
    wake_for(m, a, step);
    return true;
}

static bool publish_undo(struct model *m, uint32_t at, enum step step)
{
    struct attachment *a = model_edit_attachment(m, at);
    a->undoing = step;
    a->revision = m->revision;
    a->updated_ms = m->wall_ms;
    a->progress_ms = m->now_ms;
    a->retries = 0;
    a->retry_at_ms = 0;
    lifecycle_let_go(m, at);
    if (step == STEP_ONLINE)
        a->tombstone_revision = m->revision;
    if (step == STEP_LEND) {
        a->release_published = true;
        a->attempt++; /* why it could not be made is no reason of the release */
    }
    if (a->state == ATT_STUCK) {
        a->reason[0] = '\0';
        lifecycle_set_state(m, a, ATT_DETACHING);
    }
    emit_step(m, a, "undo", step);
    wake_for(m, a, step);
    return true;
}

void lifecycle_set_reason(struct attachment *a, const char *reason)
{
    snprintf(a->reason, sizeof a->reason, "%s", reason);
}

/* From here on it is undone, back from the furthest step that was ever published. */
void lifecycle_turn_back(struct model *m, uint32_t at, enum attachment_state ending)
{
    struct attachment *a = model_edit_attachment(m, at);
    if (a->goal == GOAL_PRESENT) {
        a->goal = GOAL_ABSENT;
        a->undoing = a->step + 1;
        a->revision = a->no_more_revision = m->revision;
        a->retries = 0;
        a->retry_at_ms = 0;
    }
    a->ending = ending;
    a->progress_ms = m->now_ms;
    a->updated_ms = m->wall_ms;
    model_mark_due(m, a->circuit);
}

void lifecycle_fail(struct model *m, uint32_t at, const char *reason)
{
    lifecycle_set_reason(model_edit_attachment(m, at), reason);
    lifecycle_turn_back(m, at, ATT_FAILED);
}

/* ---- attach -------------------------------------------------------------------------------------------------------
 */
/* Takes up the buffer that the donor reports; false while it does not. */
static bool lend_advance(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (!lifecycle_fresh(m, a->donor, a->revision))
        return false;
    if (!a->now_buffer && a->buffer_fault[0] && a->buffer_fault_attempt == a->attempt) {
        lifecycle_fail(m, at, a->buffer_fault);
        return true;
    }
    if (!a->now_buffer || !model_adapter(m, a->memory_adapter)->ok)
        return false;
    const struct section *s = &model_adapter(m, a->compute_adapter)->sections[a->section];
    uint64_t base = a->now_effective_addr - a->offset_bytes;
    if ((base & 0x3f) || (s->base && s->base != base)) {
        lifecycle_fail(m, at, "the lender put the buffer at another base than the section's");
        return true;
    }
    model_edit_adapter(m, a->compute_adapter)->sections[a->section].base = base;
    struct attachment *x = model_edit_attachment(m, at);
    x->buffer_seen = true;
    x->effective_addr = x->now_effective_addr;
    memcpy(x->lender_id, x->now_lender_id, sizeof x->lender_id);
    x->progress_ms = m->now_ms;
    memcpy(x->donor_boot, model_node(m, x->donor)->boot_id, sizeof x->donor_boot);
    return true;
}

/* The buffer and the circuit do not wait for each other: they are published together, and both have to be there to map.
 */
static bool lend_and_connect(struct model *m, uint32_t at)
{
    publish_step(m, at, STEP_LEND);
    return publish_step(m, at, STEP_CONNECT);
}

static bool map_publish(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    struct section *s = &model_edit_adapter(m, a->compute_adapter)->sections[a->section];
    s->used = true;
    s->park_revision = 0;
    return publish_step(m, at, STEP_MAP);
}

static bool map_advance(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    bool parked;
    uint64_t want = lifecycle_section_value(m, ca, a->section, &parked);
    if (!lifecycle_fresh(m, a->compute_node, a->revision) || !ca->ok || ca->sections[a->section].seen_value != want ||
        !circuit_is_open(model_circuit(m, a->circuit)) || !circuit_joined(m, model_circuit(m, a->circuit)) ||
        !lifecycle_may_online(m, at))
        return false;
    struct attachment *x = model_edit_attachment(m, at);
    memcpy(x->compute_boot, model_node(m, x->compute_node)->boot_id, sizeof x->compute_boot);
    return publish_step(m, at, STEP_ONLINE);
}

static void verify_circuit(struct model *m, const struct attachment *a)
{
    const struct circuit *c = model_circuit(m, a->circuit);
    char object[ID_SIZE + 12];
    if (!a->now_touched || c->verified)
        return;
    model_edit_circuit(m, a->circuit)->verified = true;
    if (c->state == CIRCUIT_UNVERIFIED) {
        snprintf(object, sizeof object, "circuit/%s", c->id);
        model_edit_circuit(m, a->circuit)->state = CIRCUIT_UP;
        model_emit(m, "circuit.state", object, "unverified", "up", "");
    }
}

/* A detach that was given up, but the memory does not come back: it was wanted gone before, so it goes. */
static void detach_after_all(struct model *m, uint32_t at, const char *reason)
{
    lifecycle_set_reason(model_edit_attachment(m, at), reason);
    lifecycle_turn_back(m, at, ATT_DETACHED);
    lifecycle_set_state(m, model_edit_attachment(m, at), ATT_DETACHING);
}

/* That its node says so, not that its news are missing: what is in use stays where it is. */
static bool has_blocks_offline(const struct model *m, const struct attachment *a)
{
    return !a->segment_seen || (lifecycle_fresh(m, a->compute_node, 0) && a->blocks_online < a->blocks_total);
}

static bool online_advance(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    bool fresh = lifecycle_fresh(m, a->compute_node, a->revision);
    bool online =
        fresh && a->now_segment && a->blocks_total > 0 && a->blocks_online == a->blocks_total && a->now_movable;
    bool lent = lifecycle_fresh(m, a->donor, 0) && model_adapter(m, a->memory_adapter)->ok && a->now_buffer;
    char why[WIRE_TEXT], reason[WIRE_TEXT];
    if (fresh && a->segment_fault[0] && a->segment_fault_attempt == a->attempt) {
        (a->segment_seen ? detach_after_all : lifecycle_fail)(m, at, a->segment_fault);
        return true;
    }
    /* What is online stays, until it can be taken offline. */
    if (!online && has_blocks_offline(m, a) && lifecycle_way_dead(m, at, why)) {
        snprintf(reason, sizeof reason, "not brought online, which would touch it: %.150s", why);
        (a->segment_seen ? detach_after_all : lifecycle_fail)(m, at, reason);
        return true;
    }
    if (!online || !lent)
        return false;
    verify_circuit(m, a);
    struct attachment *x = model_edit_attachment(m, at);
    x->segment_seen = true;
    lifecycle_set_state(m, x, ATT_ATTACHED);
    wake_both(m, x);
    return true;
}

static bool attach_advance(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    switch (a->step) {
    case STEP_RESERVED:
    case STEP_LEND:
        return lend_and_connect(m, at);
    case STEP_CONNECT:
        if (!a->buffer_seen)
            return lend_advance(m, at);
        return circuit_is_opening(model_circuit(m, a->circuit)) && map_publish(m, at);
    case STEP_MAP:
        return map_advance(m, at);
    case STEP_ONLINE:
        return a->state == ATT_PENDING && online_advance(m, at);
    }
    return false;
}

/* ---- undo ---------------------------------------------------------------------------------------------------------
 */
bool lifecycle_section_kept(const struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct section *s = &model_adapter(m, a->compute_adapter)->sections[a->section];
    for (uint32_t i = s->first_attachment; i != NONE; i = model_attachment(m, i)->section_next)
        if (i != at && lifecycle_wants(model_attachment(m, i), STEP_MAP))
            return true;
    return false;
}

static bool circuit_kept(const struct model *m, uint32_t at)
{
    const struct circuit *c = model_circuit(m, model_attachment(m, at)->circuit);
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        if (i != at && lifecycle_wants(model_attachment(m, i), STEP_CONNECT))
            return true;
    return false;
}

/* No block of the range is online, said by the compute node as it is now, in answer to the tombstone.  A range that the
 * node does not name proves something only in a later boot: in this one the agent has to name what it was ordered. */
static bool segment_gone(const struct model *m, const struct attachment *a)
{
    const struct node *n = model_node(m, a->compute_node);
    if (a->step < STEP_ONLINE || lifecycle_fenced(m, a->compute_node))
        return true;
    if (!a->tombstone_revision || !lifecycle_fresh(m, a->compute_node, a->tombstone_revision) || a->blocks_online ||
        a->now_overlapped)
        return false;
    bool same_boot = !strcmp(n->boot_id, a->compute_boot);
    return a->now_segment ? a->now_quiesced || !same_boot : !same_boot;
}

/* What keeps the section mapped is there, as the donor says, or in quarantine: the register leads to something. */
static bool kept_by_memory(const struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct section *s = &model_adapter(m, a->compute_adapter)->sections[a->section];
    for (uint32_t i = s->first_attachment; i != NONE; i = model_attachment(m, i)->section_next) {
        const struct attachment *x = model_attachment(m, i);
        if (i != at && lifecycle_wants(x, STEP_MAP) && (x->now_buffer || x->quarantined))
            return true;
    }
    return false;
}

/* The section's register leads nowhere, or is kept by others, said in answer to the parking. */
static bool section_released(const struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    const struct section *s = &ca->sections[a->section];
    if (a->step < STEP_MAP || kept_by_memory(m, at) || lifecycle_fenced(m, a->compute_node))
        return true;
    return s->park_revision && lifecycle_fresh(m, a->compute_node, s->park_revision) && ca->ok &&
           wire_section_is_parked(s->seen_value, a->section);
}

/* The proof, whole and as of now: a donor's buffer is released with this only. */
static bool release_proven(const struct model *m, uint32_t at)
{
    return segment_gone(m, model_attachment(m, at)) && section_released(m, at);
}

static void finish(struct model *m, uint32_t at)
{
    struct attachment *a = model_edit_attachment(m, at);
    a->released = true;
    a->blocks_online = 0;
    if (a->ending == ATT_DETACHED)
        a->reason[0] = '\0';
    if (a->state == a->ending) /* lost already: what changes is that it holds nothing */
        emit_step(m, a, "undone", STEP_RESERVED);
    lifecycle_set_state(m, a, a->ending);
    a->updated_ms = m->wall_ms;
    wake_both(m, a);
    if (a->barring && a->compute_boot[0])
        model_bar_section(m, at);
    model_release(m, at);
}

void lifecycle_stick(struct model *m, uint32_t at, const char *reason)
{
    struct attachment *a = model_edit_attachment(m, at);
    int64_t wait = RETRY_FIRST_MS;
    for (unsigned i = 0; i < a->retries && wait < RETRY_MAX_MS; i++)
        wait *= 2;
    a->retries++;
    a->retry_at_ms = m->now_ms + lifecycle_scaled(m, wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
    if (a->state == ATT_LOST)
        return; /* what it was lost by says more; it is retried all the same */
    lifecycle_set_reason(a, reason);
    lifecycle_set_state(m, a, ATT_STUCK);
}

bool lifecycle_park(struct model *m, uint32_t at)
{
    publish_undo(m, at, STEP_MAP);
    if (!lifecycle_section_kept(m, at)) {
        const struct attachment *a = model_attachment(m, at);
        model_edit_adapter(m, a->compute_adapter)->sections[a->section].park_revision = m->revision;
    }
    return true;
}

static bool undo_online(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (segment_gone(m, a)) {
        model_edit_attachment(m, at)->compute_gone = true;
        return a->step >= STEP_MAP ? lifecycle_park(m, at) : publish_undo(m, at, STEP_CONNECT);
    }
    if (!a->retry_at_ms && a->segment_fault[0] && a->segment_fault_attempt == a->attempt &&
        lifecycle_fresh(m, a->compute_node, a->revision)) {
        lifecycle_stick(m, at, a->segment_fault);
        return true;
    }
    return lifecycle_withdraw_offline(m, at);
}

static bool undo_map(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct section *s = &model_adapter(m, a->compute_adapter)->sections[a->section];
    if (!lifecycle_section_kept(m, at) && !s->park_revision) { /* those that kept it have gone meanwhile */
        model_edit_adapter(m, a->compute_adapter)->sections[a->section].park_revision = m->revision;
        return publish_undo(m, at, STEP_MAP);
    }
    if (!section_released(m, at))
        return false;
    model_edit_attachment(m, at)->section_released = true;
    return publish_undo(m, at, STEP_CONNECT);
}

/* The circuit is closed, or stays open for others. */
static bool circuit_left(const struct model *m, uint32_t at)
{
    return model_circuit(m, model_attachment(m, at)->circuit)->phase == PHASE_CLOSED || circuit_kept(m, at);
}

/* The buffer is released while the circuit's other end closes: the compute end has been seen in reset by then, and the
 * donor's agent resets its channel before it lets go of the buffer.  A node that is off by an operator's word only has
 * its circuit cleared first (rule 4). */
static bool undo_connect(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    bool compute_left =
        model_circuit(m, a->circuit)->phase >= PHASE_LEAVE_MEMORY && !lifecycle_fenced(m, a->compute_node);
    if (!circuit_left(m, at) && !compute_left)
        return false;
    if (!release_proven(m, at))
        return false; /* what was proven before no longer holds: wait for it again */
    model_edit_attachment(m, at)->compute_gone = true;
    return publish_undo(m, at, STEP_LEND);
}

/* Another lender serves the adapter than the one that had the buffer: it is gone, whatever the order came to. */
static bool died_with_its_lender(const struct attachment *a, const struct adapter *ma)
{
    return a->lender_id[0] && ma->lender_id[0] && strcmp(a->lender_id, ma->lender_id) != 0;
}

static bool undo_lend(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct adapter *ma = model_adapter(m, a->memory_adapter);
    bool fresh = lifecycle_fresh(m, a->donor, a->revision) && ma->ok;
    /* What could not be released is held, whether or not the lender's list shows it. */
    bool failed = a->buffer_fault[0] && a->buffer_fault_attempt == a->attempt && !died_with_its_lender(a, ma);
    if ((fresh && !failed && !a->now_buffer && !a->now_id_held) || lifecycle_fenced(m, a->donor)) {
        if (!circuit_left(m, at))
            return false;
        finish(m, at);
        return true;
    }
    if (fresh && !a->retry_at_ms && failed) {
        lifecycle_stick(m, at, a->buffer_fault);
        return true;
    }
    return false;
}

static bool begin_offline(struct model *m, uint32_t at)
{
    return lifecycle_may_offline(m, at) && publish_undo(m, at, STEP_ONLINE);
}

/* Which undo comes first, for an attachment that was turned back at 'step'. */
static bool undo_begin(struct model *m, uint32_t at)
{
    switch (model_attachment(m, at)->step) {
    case STEP_RESERVED:
        finish(m, at);
        return true;
    case STEP_LEND:
        return publish_undo(m, at, STEP_LEND);
    case STEP_CONNECT:
        return publish_undo(m, at, STEP_CONNECT);
    case STEP_MAP:
        return lifecycle_park(m, at);
    case STEP_ONLINE:
        return begin_offline(m, at);
    }
    return false;
}

static bool undo_advance(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->quarantined)
        return false;
    if (a->undoing > a->step)
        return undo_begin(m, at);
    switch (a->undoing) {
    case STEP_ONLINE:
        return undo_online(m, at);
    case STEP_MAP:
        return undo_map(m, at);
    case STEP_CONNECT:
        return undo_connect(m, at);
    case STEP_LEND:
        return undo_lend(m, at);
    default:
        return false;
    }
}

/* ---- the whole ----------------------------------------------------------------------------------------------------
 */
/* One round over a circuit and what is on it.  What is lost is noticed first, for all: whether the circuit is still
 * used by memory that is well depends on it. */
static bool advance_once(struct model *m, uint32_t circuit)
{
    bool moved = false;
    for (uint32_t i = model_circuit(m, circuit)->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        moved |= lifecycle_check_lost(m, i);
    for (uint32_t i = model_circuit(m, circuit)->first_attachment, next; i != NONE; i = next) {
        next = model_attachment(m, i)->circuit_next;
        moved |= model_attachment(m, i)->goal == GOAL_PRESENT ? attach_advance(m, i) : undo_advance(m, i);
    }
    return model_circuit(m, circuit) ? circuit_advance(m, circuit) | moved : false;
}

void lifecycle_advance(struct model *m)
{
    uint32_t circuit;
    while (model_take_due(m, &circuit))
        while (model_circuit(m, circuit) && advance_once(m, circuit))
            ;
}

int lifecycle_attach(struct model *m, struct topology *t, const struct place_request *r, const char *id, uint32_t *out,
                     struct err *e)
{
    struct reservation best;
    char why[WIRE_TEXT];
    if (placement_best(&best, m, t, r, e) < 0 || placement_why_chosen(why, m, t, r, best.donor, e) < 0)
        return -1;
    best.id = id;
    if (model_reserve(m, &best, out, e) < 0)
        return -1;
    struct attachment *a = model_edit_attachment(m, *out);
    a->progress_ms = m->now_ms;
    a->blocks_total = (unsigned)(a->size_bytes / model_node(m, a->compute_node)->block_bytes);
    model_mark_due(m, a->circuit);
    model_emit_attachment(m, a, "", attachment_state_names[ATT_PENDING], why);
    return 0;
}

/* The agents try once more: a new attempt at the undo that is published.  After a restore they may remember attempts
 * that the database does not. */
void lifecycle_try_again(struct model *m, uint32_t at)
{
    struct attachment *x = model_edit_attachment(m, at);
    if (x->buffer_fault[0] && x->buffer_fault_attempt > x->attempt)
        x->attempt = x->buffer_fault_attempt;
    if (x->segment_fault[0] && x->segment_fault_attempt > x->attempt)
        x->attempt = x->segment_fault_attempt;
    x->attempt++;
    x->revision = m->revision;
    x->retry_at_ms = 0;
    x->progress_ms = m->now_ms;
    wake_both(m, x);
    model_mark_due(m, x->circuit);
    if (x->state == ATT_STUCK)
        lifecycle_set_state(m, x, ATT_DETACHING);
}

void lifecycle_detach(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->state != ATT_PENDING && a->state != ATT_ATTACHED && a->state != ATT_STUCK)
        return;
    bool was_failing = a->goal == GOAL_ABSENT && a->ending == ATT_FAILED;
    lifecycle_turn_back(m, at, was_failing ? ATT_FAILED : ATT_DETACHED);
    if (model_attachment(m, at)->state == ATT_STUCK)
        lifecycle_try_again(m, at);
    lifecycle_set_state(m, model_edit_attachment(m, at), ATT_DETACHING);
}

int lifecycle_retry(struct model *m, uint32_t at, struct err *e)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->state != ATT_STUCK)
        return err_set(e, ERR_CONFLICT, "attachment %s is %s, not stuck", a->id, attachment_state_names[a->state]);
    if (lifecycle_insist(m, at, e) < 0)
        return -1;
    lifecycle_try_again(m, at);
    return 0;
}

int lifecycle_cancel(struct model *m, uint32_t at, struct err *e)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->goal != GOAL_ABSENT || a->ending != ATT_DETACHED || (a->state != ATT_DETACHING && a->state != ATT_STUCK))
        return err_set(e, ERR_CONFLICT, "attachment %s is %s: there is no detach to give up", a->id,
                       attachment_state_names[a->state]);
    if (a->step != STEP_ONLINE || a->undoing < STEP_ONLINE || !a->segment_seen)
        return err_set(e, ERR_TOO_LATE, "the memory of attachment %s is being given back already", a->id);
    char why[WIRE_TEXT];
    bool dead = lifecycle_way_dead(m, at, why), open = circuit_is_open(model_circuit(m, a->circuit));
    if (a->blocks_online < a->blocks_total && (dead || why[0] || !open))
        return err_set(e, ERR_CONFLICT, "blocks of attachment %s would come online, which touches it: %.100s", a->id,
                       why[0] ? why : "its circuit is not open");
    struct attachment *x = model_edit_attachment(m, at);
    x->goal = GOAL_PRESENT;
    x->tombstone_revision = 0;
    x->held_by = 0;
    x->insisted = false;
    x->attempt++; /* blocks that are offline come online again: the same boot, nothing was released */
    x->reason[0] = '\0';
    x->retries = 0;
    x->retry_at_ms = 0;
    lifecycle_set_state(m, x, ATT_PENDING);
    publish_step(m, at, STEP_ONLINE);
    return 0;
}
