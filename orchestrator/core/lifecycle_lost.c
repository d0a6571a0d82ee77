/* lifecycle_lost.c - what is gone underneath an attachment: a boot, a lender, a node that an operator declared off.
 *
 * Losing the borrower's half starts the undo at once; losing the donor's half under a borrower that may still read it
 * puts the attachment in quarantine: nothing is touched until the borrower rebooted or was fenced (DESIGN, rules 3 to
 * 5).  What was ordered before is withdrawn then: taking dead memory offline reads it. */
#include "lifecycle_internal.h"

#include <stdio.h>
#include <string.h>

bool lifecycle_live(const struct model *m, const struct attachment *a)
{
    return a->step >= STEP_ONLINE && !a->compute_gone && !lifecycle_fenced(m, a->compute_node) &&
           !strcmp(a->compute_boot, model_node(m, a->compute_node)->boot_id);
}

static void lose(struct model *m, uint32_t at, const char *reason)
{
    const struct attachment *a = model_attachment(m, at);
    bool was_attached = a->state == ATT_ATTACHED || (a->goal == GOAL_PRESENT && a->segment_seen);
    if (a->ending == ATT_LOST && a->goal == GOAL_ABSENT)
        return;
    if (was_attached || a->state == ATT_STUCK || a->quarantined) {
        lifecycle_set_reason(model_edit_attachment(m, at), reason);
        lifecycle_turn_back(m, at, ATT_LOST);
        lifecycle_set_state(m, model_edit_attachment(m, at), ATT_LOST);
    } else if (a->goal == GOAL_PRESENT) {
        lifecycle_fail(m, at, reason);
    }
}

static void quarantine(struct model *m, uint32_t at)
{
    struct attachment *a = model_edit_attachment(m, at);
    a->quarantined = a->barring = true;
    a->retry_at_ms = 0;
    if (a->goal == GOAL_ABSENT) {
        a->undoing = a->step + 1;
        a->tombstone_revision = 0;
        a->revision = m->revision;
    }
    lifecycle_wake(m, a->donor);
    lifecycle_wake(m, a->compute_node);
}

/* Which boot of the donor lent it, if that is not known: the present one. */
static void learn_boot(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (!a->donor_boot[0])
        memcpy(model_edit_attachment(m, at)->donor_boot, model_node(m, a->donor)->boot_id, sizeof a->donor_boot);
}

static void lose_donor(struct model *m, uint32_t at, const char *reason)
{
    const struct attachment *a = model_attachment(m, at);
    learn_boot(m, at);
    if (!a->quarantined && lifecycle_live(m, a))
        quarantine(m, at);
    lose(m, at, reason);
}

/* The lender answers, and does not have the buffer that we know. */
static bool buffer_missing(const struct model *m, const struct attachment *a)
{
    return a->buffer_seen && !a->release_published && !a->now_buffer && model_adapter(m, a->memory_adapter)->ok &&
           lifecycle_fresh(m, a->donor, 0);
}

/* No block of it is online, but the node has to say so once more, in answer to the tombstone; its section is parked at
 * once: a new boot does so before any channel comes up. */
static void undo_from_map(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->goal != GOAL_ABSENT || a->undoing <= STEP_MAP)
        return;
    model_edit_attachment(m, at)->tombstone_revision = m->revision;
    lifecycle_park(m, at);
}

bool lifecycle_told_offline(const struct model *m, const struct attachment *a)
{
    bool same_boot = a->step >= STEP_ONLINE && !strcmp(model_node(m, a->compute_node)->boot_id, a->compute_boot);
    return !a->blocks_online && !a->now_overlapped && (a->now_segment || !same_boot);
}

/* The compute node says, in answer to what it was told last, that nothing of it is online or still to be written back,
 * and it is told to bring nothing online. */
static bool idle(const struct model *m, const struct attachment *a)
{
    return a->state != ATT_PENDING && lifecycle_fresh(m, a->compute_node, a->revision) &&
           lifecycle_told_offline(m, a) && (a->now_quiesced || !a->now_segment);
}

/* The buffer is gone, and nobody can read it any more: an old backup knows it still, or somebody took the blocks
 * offline by hand.  There is nothing to keep in quarantine, and the section is not kept mapped for it. */
static void lose_idle(struct model *m, uint32_t at, const char *reason)
{
    struct attachment *x = model_edit_attachment(m, at);
    x->quarantined = false;
    x->compute_gone = true;
    lose(m, at, reason);
    undo_from_map(m, at);
}

/* Known to be in use before its donor had said what it holds of it (adopt.c): now it has.  Its port is named from now
 * on (desired.c). */
static void learn_buffer(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    uint64_t base = model_adapter(m, a->compute_adapter)->sections[a->section].base;
    if (!a->buffer_seen || (a->lender_id[0] && a->donor_boot[0]) || !a->now_buffer ||
        !model_adapter(m, a->memory_adapter)->ok || !lifecycle_fresh(m, a->donor, 0))
        return;
    if (!a->donor_boot[0])
        lifecycle_wake(m, a->donor);
    learn_boot(m, at);
    if (a->lender_id[0] || a->now_effective_addr - a->offset_bytes != base)
        return;
    struct attachment *x = model_edit_attachment(m, at);
    x->effective_addr = x->now_effective_addr;
    memcpy(x->lender_id, x->now_lender_id, sizeof x->lender_id);
}

bool lifecycle_check_lost(struct model *m, uint32_t at)
{
    learn_buffer(m, at);
    const struct attachment *a = model_attachment(m, at);
    enum attachment_state state = a->state;
    enum attachment_goal goal = a->goal;
    bool quarantined = a->quarantined;
    const char *gone = "the donor's lender no longer holds the buffer";
    if (buffer_missing(m, a) && lifecycle_live(m, a) && idle(m, a))
        lose_idle(m, at, gone);
    else if (buffer_missing(m, a))
        lose_donor(m, at, gone);
    else if (model_circuit(m, a->circuit)->severed && a->goal == GOAL_PRESENT)
        lose(m, at, "the circuit is in quarantine");
    else if (a->state == ATT_ATTACHED && lifecycle_fresh(m, a->compute_node, a->revision) &&
             lifecycle_told_offline(m, a))
        lose(m, at, "every block was taken offline on the compute node by someone else");
    a = model_attachment(m, at);
    return a->state != state || a->goal != goal || a->quarantined != quarantined;
}

/* ---- a node came with a new boot ----------------------------------------------------------------------------------
 */
static void borrower_rebooted(struct model *m, uint32_t at)
{
    if (model_attachment(m, at)->step < STEP_ONLINE)
        return;
    struct attachment *x = model_edit_attachment(m, at);
    x->quarantined = false; /* whatever it read is gone with its kernel */
    x->now_segment = x->now_quiesced = false;
    x->blocks_online = 0;
    lose(m, at, "the compute node rebooted");
    undo_from_map(m, at);
}

static void donor_gone(struct model *m, uint32_t at, const char *reason)
{
    const struct attachment *a = model_attachment(m, at);
    if (!a->buffer_seen || a->release_published)
        return;
    model_touch_attachment(m, at)->now_buffer = false;
    lose_donor(m, at, reason);
    model_mark_due(m, model_attachment(m, at)->circuit);
}

/* Where it is not known which boot lent the buffer, the lender tells whether it is there, once it answers. */
static void donor_rebooted(struct model *m, uint32_t at)
{
    if (model_attachment(m, at)->donor_boot[0])
        donor_gone(m, at, "the donor rebooted");
}

static void adapters_reset(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    for (unsigned i = 0; i < n->n_adapters; i++)
        for (unsigned k = 0; k < model_adapter(m, n->adapters[i])->n_ports; k++) {
            uint32_t port = model_adapter(m, n->adapters[i])->ports[k];
            if (model_port(m, port)->suspect)
                model_edit_port(m, port)->suspect = false;
            model_mark_due(m, model_port(m, port)->circuit);
            if (model_port(m, port)->circuit != NONE)
                circuit_rebooted(m, model_port(m, port)->circuit, node);
        }
}

void lifecycle_rebooted(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    for (uint32_t i = n->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next)
        borrower_rebooted(m, i);
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next)
        donor_rebooted(m, i);
    adapters_reset(m, node);
}

void lifecycle_compare_boots(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    for (uint32_t i = n->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next)
        if (strcmp(model_attachment(m, i)->compute_boot, n->boot_id) != 0)
            borrower_rebooted(m, i);
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next)
        if (strcmp(model_attachment(m, i)->donor_boot, n->boot_id) != 0)
            donor_rebooted(m, i);
    for (unsigned i = 0; i < n->n_adapters; i++)
        for (unsigned k = 0; k < model_adapter(m, n->adapters[i])->n_ports; k++) {
            uint32_t circuit = model_port(m, model_adapter(m, n->adapters[i])->ports[k])->circuit;
            if (circuit != NONE)
                circuit_rebooted(m, circuit, node);
        }
}

/* ---- an operator's word that a node is off ------------------------------------------------------------------------
 */
static void borrower_fenced(struct model *m, uint32_t at)
{
    struct attachment *x = model_edit_attachment(m, at);
    x->barring |= x->step >= STEP_ONLINE;
    x->quarantined = false;
    lose(m, at, "the compute node was fenced");
    model_mark_due(m, model_attachment(m, at)->circuit);
}

static void donor_fenced(struct model *m, uint32_t at)
{
    if (model_attachment(m, at)->buffer_seen)
        model_edit_attachment(m, at)->barring = true;
    donor_gone(m, at, "the donor was fenced");
    if (model_attachment(m, at)->goal == GOAL_PRESENT)
        lose(m, at, "the donor was fenced");
    model_mark_due(m, model_attachment(m, at)->circuit);
}

/* What was not listened for long enough is not known to be off: just after a start of ours everybody is silent. */
static int check_silence(const struct model *m, const char *what, const char *name, int64_t heard_ms, struct err *e)
{
    int64_t silent_ms = m->now_ms - heard_ms, left_ms = lifecycle_scaled(m, UNREACHABLE_MS) - silent_ms;
    if (left_ms <= 0)
        return 0;
    return err_set(e, ERR_CONFLICT,
                   "%s %s was heard, or this orchestrator was started, %lld ms ago: it can be fenced in %lld ms", what,
                   name, (long long)silent_ms, (long long)left_ms);
}

int lifecycle_fence(struct model *m, uint32_t node, const char *boot_id, struct err *e)
{
    const struct node *n = model_node(m, node);
    if (strcmp(n->boot_id, boot_id) != 0)
        return err_set(e, ERR_CONFLICT, "node %s is in boot %s, not %s", n->name, n->boot_id, boot_id);
    if (n->state == NODE_READY)
        return err_set(e, ERR_CONFLICT, "node %s still reports: it is not off", n->name);
    if (n->state == NODE_FENCED && n->fenced_since_start)
        return 0;
    if (check_silence(m, "node", n->name, n->last_heard_ms, e) < 0)
        return -1;
    if (n->state == NODE_FENCED) { /* said again: it counts from now on, whatever a backup knows */
        model_touch_node(m, node)->fenced_since_start = true;
        model_mark_node_due(m, node);
        return 0;
    }
    struct node *x = model_edit_node(m, node);
    memcpy(x->fenced_boot_id, x->boot_id, sizeof x->fenced_boot_id);
    model_ban_boot(m, node);
    x = model_edit_node(m, node);
    x->session[0] = '\0';
    x->reported = false;
    x->fenced_since_start = true;
    model_set_node_state(m, node, NODE_FENCED, "fenced by an operator");
    for (uint32_t i = model_node(m, node)->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next)
        borrower_fenced(m, i);
    for (uint32_t i = model_node(m, node)->first_lend; i != NONE; i = model_attachment(m, i)->lend_next)
        donor_fenced(m, i);
    return 0;
}

int lifecycle_fence_switch(struct model *m, uint32_t sw, struct err *e)
{
    const struct sw *s = model_switch(m, sw);
    char object[NAME_SIZE + 8];
    if (s->fenced)
        return 0;
    if (s->seen && lifecycle_fresh(m, model_find_node(m, s->managed_by), 0))
        return err_set(e, ERR_CONFLICT, "switch %s is still read by node %s: it is not off", s->name, s->managed_by);
    if (check_silence(m, "switch", s->name, s->last_seen_ms, e) < 0)
        return -1;
    snprintf(object, sizeof object, "switch/%s", s->name);
    model_emit(m, "switch.state", object, "known", "fenced", "fenced by an operator");
    model_set_switch_fenced(m, sw, true);
    return 0;
}
