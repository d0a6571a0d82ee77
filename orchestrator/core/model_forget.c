/* model_forget.c - forgetting a node, and what stays refused all the same: boots that were fenced, and ranges that
 * ended in quarantine or by fencing (DESIGN section 3, rules 4 and 5).
 *
 * A range that ended so is not used again before both of its sides rebooted; the whole section is kept out of use.  A
 * side that is forgotten reboots no more:
 * - the compute side: a machine that comes by its name is another one, and where the old one's register may still lead
 *   is the same arena.  The section is barred for ever, in a ban of (node, adapter, section)
 * - the donor's side: only when its boot was fenced, so that its half is refused for good; then the reboot of the
 *   compute side is enough.  A donor that is merely silent is not forgotten. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- bans ---------------------------------------------------------------------------------------------------------
 */
bool model_boot_banned(const struct model *m, const char *boot_id)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_BAN); i++) {
        const struct ban *b = model_ban(m, i);
        if (b && b->boot_id[0] && !strcmp(b->boot_id, boot_id))
            return true;
    }
    return false;
}

void model_ban_boot(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    if (!n->boot_id[0] || model_boot_banned(m, n->boot_id))
        return;
    struct ban *b = model_edit_ban(m, model_add_row(m, MODEL_BAN));
    memcpy(b->boot_id, n->boot_id, sizeof b->boot_id);
    memcpy(b->node, n->name, sizeof b->node);
}

void model_ban_sections(struct model *m, uint32_t adapter)
{
    const struct adapter *a = model_adapter(m, adapter);
    unsigned sections = 0;
    for (unsigned k = 0; k < WIRE_SECTIONS; k++)
        sections |= model_section_barred(m, adapter, k) ? 1u << k : 0;
    if (!sections)
        return;
    struct ban *b = model_edit_ban(m, model_add_row(m, MODEL_BAN));
    memcpy(b->node, model_node(m, a->node)->name, sizeof b->node);
    memcpy(b->adapter, a->name, sizeof b->adapter);
    b->sections = sections;
}

void model_apply_bans(struct model *m, uint32_t adapter)
{
    const char *node = model_node(m, model_adapter(m, adapter)->node)->name;
    for (uint32_t i = 0; i < model_count(m, MODEL_BAN); i++) {
        const struct ban *b = model_ban(m, i);
        if (!b || strcmp(b->node, node) != 0 || strcmp(b->adapter, model_adapter(m, adapter)->name) != 0)
            continue;
        for (unsigned k = 0; k < WIRE_SECTIONS; k++)
            if (b->sections & 1u << k)
                model_edit_adapter(m, adapter)->sections[k].barred_compute_boot = BARRED_FOR_EVER;
    }
}

/* ---- bars ---------------------------------------------------------------------------------------------------------
 */
static uint64_t hash_boot(const char *boot_id)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *boot_id; boot_id++)
        h = (h ^ (unsigned char)*boot_id) * UINT64_C(1099511628211);
    return h && h != BARRED_FOR_EVER ? h : 1;
}

bool model_section_barred(const struct model *m, uint32_t adapter, unsigned section)
{
    const struct adapter *a = model_adapter(m, adapter);
    const struct section *s = &a->sections[section];
    const struct node *compute = model_node(m, a->node), *donor = model_node(m, s->barred_donor);
    if (!s->barred_compute_boot)
        return false;
    return s->barred_compute_boot == BARRED_FOR_EVER || hash_boot(compute->boot_id) == s->barred_compute_boot ||
           (donor && hash_boot(donor->boot_id) == s->barred_donor_boot);
}

bool model_section_leads(const struct adapter *a, unsigned section)
{
    uint64_t value = a->sections[section].seen_value;
    return value && !wire_section_is_parked(value, section);
}

bool model_section_free(const struct model *m, uint32_t adapter, unsigned section)
{
    const struct adapter *a = model_adapter(m, adapter);
    const struct section *s = &a->sections[section];
    return s->circuit == NONE && s->first_attachment == NONE && !s->n_unowned && !model_section_leads(a, section) &&
           !model_section_barred(m, adapter, section);
}

void model_bar_section(struct model *m, uint32_t attachment)
{
    const struct attachment *a = model_attachment(m, attachment);
    struct section *s = &model_edit_adapter(m, a->compute_adapter)->sections[a->section];
    if (s->barred_compute_boot == BARRED_FOR_EVER)
        return;
    s->barred_compute_boot = hash_boot(a->compute_boot);
    s->barred_donor = a->donor;
    /* which boot lent it is not known of one that never said (adopt.c) */
    s->barred_donor_boot = hash_boot(a->donor_boot[0] ? a->donor_boot : model_node(m, a->donor)->boot_id);
}

/* ---- forgetting ---------------------------------------------------------------------------------------------------
 */
static bool is_fenced(const struct node *n)
{
    return n->fenced_boot_id[0] && !strcmp(n->fenced_boot_id, n->boot_id);
}

/* A section of another node waits for a reboot of this one, which is not fenced: it may come back in that boot. */
static bool is_waited_for(const struct model *m, uint32_t node)
{
    uint64_t boot = hash_boot(model_node(m, node)->boot_id);
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++) {
        const struct adapter *a = model_adapter(m, i);
        for (unsigned k = 0; a && a->node != node && k < WIRE_SECTIONS; k++)
            if (a->sections[k].barred_compute_boot && a->sections[k].barred_donor == node &&
                a->sections[k].barred_donor_boot == boot)
                return true;
    }
    return false;
}

static int check_forget(const struct model *m, uint32_t node, struct err *e)
{
    const struct node *n = model_node(m, node);
    if (n->n_lends || n->n_borrows)
        return err_set(e, ERR_CONFLICT, "node %s lends %u and borrows %u attachments", n->name, n->n_lends,
                       n->n_borrows);
    if (!is_fenced(n) && is_waited_for(m, node))
        return err_set(e, ERR_CONFLICT,
                       "sections are not used before a reboot because of node %s: reboot it before, or fence it",
                       n->name);
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++) {
        const struct sw *s = model_switch(m, i);
        if (s && !strcmp(s->managed_by, n->name))
            return err_set(e, ERR_CONFLICT, "node %s manages switch %s", n->name, s->name);
    }
    return 0;
}

/* Its slot may become another node's. */
static void forget_donor(struct model *m, uint32_t node)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++)
        for (unsigned k = 0; model_adapter(m, i) && k < WIRE_SECTIONS; k++)
            if (model_adapter(m, i)->sections[k].barred_donor == node)
                model_edit_adapter(m, i)->sections[k].barred_donor = NONE;
}

static void forget_adapters(struct model *m, uint32_t node)
{
    while (model_node(m, node)->n_adapters) {
        uint32_t at = model_node(m, node)->adapters[0];
        const struct adapter *a = model_adapter(m, at);
        for (unsigned k = 0; k < a->n_ports; k++)
            if (model_port(m, a->ports[k])->link != NONE)
                model_remove_link(m, model_port(m, a->ports[k])->link);
        model_remove_adapter(m, node, at);
    }
}

int model_forget_node(struct model *m, uint32_t node, struct err *e)
{
    if (check_forget(m, node, e) < 0)
        return -1;
    if (model_set_unowned(m, node, NULL, 0, e) < 0)
        return -1;
    forget_adapters(m, node);
    forget_donor(m, node);
    struct node *x = model_edit_node(m, node);
    shared_release(x->labels);
    shared_release(x->findings);
    shared_release(x->drives);
    x->labels = NULL;
    x->findings = NULL;
    x->drives = NULL;
    x->n_labels = x->n_findings = x->n_drives = 0;
    model_remove_row(m, MODEL_NODE, node);
    m->topology_version++;
    m->cabling_version++;
    return 0;
}
