/* adopt_idle.c - sections of compute adapters that lead somewhere and are nobody's: left by an old database that was
 * restored, or by hand.  No byte behind them is in use, but they keep ports from being used (circuit_ports_quiet()).
 *
 * The order is the normal one: the section is named, without an attachment that wants it mapped, so it is to be parked.
 * The agent has the last word: it changes no section that has blocks online, and quiesces before it parks. */
#include "adopt.h"

#include "lifecycle_internal.h"

#include <stdio.h>

/* Mapped, never named by us, and by what was reported since our start nothing is in it: no buffer of nobody that is
 * lent for it, no block of anybody that is online.  An attachment may wait in it, for a circuit that it keeps closed.
 */
static bool is_idle(const struct model *m, const struct adapter *a, unsigned section)
{
    const struct section *s = &a->sections[section];
    for (uint32_t i = s->first_attachment; i != NONE; i = model_attachment(m, i)->section_next)
        if (model_attachment(m, i)->blocks_online || model_attachment(m, i)->now_overlapped)
            return false;
    return a->role == WIRE_COMPUTE && !s->used && model_section_leads(a, section) && !s->n_unowned;
}

/* A donor that is silent may hold what the section leads to, and know whose it is. */
static bool all_report(const struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i) && model_node(m, i)->n_adapters && !lifecycle_fresh(m, i, 0) && !lifecycle_fenced(m, i))
            return false;
    return true;
}

static void park(struct model *m, uint32_t adapter, unsigned section)
{
    struct adapter *a = model_edit_adapter(m, adapter);
    char object[2 * NAME_SIZE + 12], reason[48];
    a->sections[section].used = true;
    a->sections[section].park_revision = m->revision;
    a->sections[section].idle_since_ms = 0;
    snprintf(object, sizeof object, "adapter/%s/%s", model_node(m, a->node)->name, a->name);
    snprintf(reason, sizeof reason, "section %u: nobody owned it", section);
    model_emit(m, "section.collected", object, "mapped", "parked", reason);
    lifecycle_wake(m, a->node);
}

void adopt_park_idle(struct model *m, int64_t grace_ms)
{
    bool all = all_report(m);
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++)
        for (unsigned k = 0; model_adapter(m, i) && k < model_adapter(m, i)->n_sections; k++) {
            const struct adapter *a = model_adapter(m, i);
            int64_t since_ms = a->sections[k].idle_since_ms;
            if (!lifecycle_fresh(m, a->node, 0) || !a->ok)
                continue; /* what it said last counts, and is not acted upon */
            bool idle = is_idle(m, a, k);
            if (!idle && since_ms)
                model_touch_adapter(m, i)->sections[k].idle_since_ms = 0;
            else if (idle && !since_ms)
                model_touch_adapter(m, i)->sections[k].idle_since_ms = m->now_ms;
            else if (idle && all && m->now_ms - since_ms >= grace_ms)
                park(m, i, k);
        }
}
