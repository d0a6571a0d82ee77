/* lifecycle_lost.c - what is gone underneath an attachment: a boot, a lender, a node that an operator declared off.
 *
 * Losing the borrower's half starts the undo at once; losing the donor's half under a borrower that may still read it
 * puts the attachment in quarantine: nothing is touched until the borrower rebooted or was fenced (DESIGN, rules 3 to
 * 5). */
#include "lifecycle_internal.h"

#include <string.h>

static void lose(struct model *m, uint32_t at, const char *reason)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->ending == ATT_LOST && a->goal == GOAL_ABSENT)
        return;
    if (a->state == ATT_ATTACHED || a->state == ATT_STUCK) {
        lifecycle_set_reason(model_edit_attachment(m, at), reason);
        lifecycle_turn_back(m, at, ATT_LOST);
        lifecycle_set_state(m, model_edit_attachment(m, at), ATT_LOST);
    } else if (a->goal == GOAL_PRESENT) {
        lifecycle_fail(m, at, reason);
    }
}

/* The donor's half is gone under a borrower that may still read it: nothing is touched until the borrower rebooted. */
static void lose_donor(struct model *m, uint32_t at, const char *reason)
{
    const struct attachment *a = model_attachment(m, at);
    bool live =
        a->step >= STEP_ONLINE && !a->compute_gone && !strcmp(a->compute_boot, model_node(m, a->compute_node)->boot_id);
    if (live && !a->quarantined) {
        model_edit_attachment(m, at)->quarantined = true;
        lifecycle_wake(m, a->donor);
    }
    lose(m, at, reason);
}

bool lifecycle_check_lost(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct adapter *ma = model_adapter(m, a->memory_adapter);
    if (a->ending == ATT_LOST && a->goal == GOAL_ABSENT)
        return false;
    if (a->buffer_seen && !a->release_published && !a->now_buffer && ma->ok && lifecycle_fresh(m, a->donor, 0)) {
        enum attachment_state before = a->state;
        bool quarantined = a->quarantined;
        lose_donor(m, at, "the donor's lender no longer holds the buffer");
        return model_attachment(m, at)->state != before || model_attachment(m, at)->quarantined != quarantined;
    }
    if (a->state == ATT_ATTACHED && lifecycle_fresh(m, a->compute_node, a->revision) &&
        (!a->now_segment || !a->blocks_online)) {
        lose(m, at, "every block was taken offline on the compute node by someone else");
        return true;
    }
    return false;
}

/* A new boot has no block of it, but has to say so; its section is parked before any channel of it comes up. */
static void reboot_undo(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    if (a->goal != GOAL_ABSENT || a->undoing <= STEP_MAP)
        return;
    model_edit_attachment(m, at)->tombstone_revision = m->revision;
    lifecycle_park(m, at);
}

void lifecycle_rebooted(struct model *m, uint32_t node)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a)
            continue;
        if (a->compute_node == node && a->step >= STEP_ONLINE) {
            struct attachment *x = model_edit_attachment(m, i);
            x->quarantined = false; /* whatever it read is gone with its kernel */
            x->now_segment = x->now_quiesced = false;
            x->blocks_online = 0;
            lose(m, i, "the compute node rebooted");
            reboot_undo(m, i);
        }
        a = model_attachment(m, i);
        if (a && a->donor == node && a->buffer_seen && !a->release_published) {
            model_touch_attachment(m, i)->now_buffer = false;
            lose_donor(m, i, "the donor rebooted");
        }
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i))
            circuit_rebooted(m, i, node);
}

int lifecycle_fence(struct model *m, uint32_t node, const char *boot_id, struct err *e)
{
    const struct node *n = model_node(m, node);
    if (strcmp(n->boot_id, boot_id) != 0)
        return err_set(e, ERR_CONFLICT, "node %s is in boot %s, not %s", n->name, n->boot_id, boot_id);
    if (n->state == NODE_READY)
        return err_set(e, ERR_CONFLICT, "node %s still reports: it is not off", n->name);
    struct node *x = model_edit_node(m, node);
    memcpy(x->fenced_boot_id, x->boot_id, sizeof x->fenced_boot_id);
    x->session[0] = '\0';
    x->reported = false;
    model_set_node_state(m, node, NODE_FENCED, "fenced by an operator");
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (a && a->compute_node == node) {
            model_edit_attachment(m, i)->quarantined = false;
            lose(m, i, "the compute node was fenced");
        } else if (a && a->donor == node && a->buffer_seen && !a->release_published) {
            model_touch_attachment(m, i)->now_buffer = false;
            lose_donor(m, i, "the donor was fenced");
        }
    }
    return 0;
}
