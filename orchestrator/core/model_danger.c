/* model_danger.c - circuits over a link that is down or an adapter in error, and lenders that died: what runs over them
 * is still mapped, and dead or about to be.
 *
 * A circuit's danger has many causes and one event at its begin and one at its end; the events about a link, an adapter
 * and a lender say themselves whose memory it is. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

uint32_t model_circuit_broken(const struct model *m, const struct circuit *c, uint32_t after)
{
    bool behind = after == NONE;
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 0; i + 1 < c->legs[k].n_ports; i += 2) {
            const struct port *p = model_port(m, c->legs[k].ports[i]);
            const struct link *l = p ? model_link(m, p->link) : NULL;
            if (behind && l && model_link_state(m, l) == LINK_DOWN)
                return p->link;
            behind = behind || (p && p->link == after);
        }
    return NONE;
}

static bool end_failed(const struct model *m, const struct circuit *c)
{
    const struct adapter *compute = model_adapter(m, c->compute), *memory = model_adapter(m, c->memory);
    return (compute && compute->failed) || (memory && memory->failed);
}

bool model_circuit_in_danger(const struct model *m, const struct circuit *c)
{
    return end_failed(m, c) || model_circuit_broken(m, c, NONE) != NONE;
}

uint32_t model_circuit_next(const struct model *m, uint32_t circuit, uint32_t attachment)
{
    const struct circuit *c = model_circuit(m, circuit);
    const struct adapter *a = c ? model_adapter(m, c->compute) : NULL;
    const struct attachment *x = model_attachment(m, attachment);
    if (!a || (x && x->section_next != NONE))
        return a ? x->section_next : NONE;
    for (unsigned s = x ? x->section + 1 : 0; s < a->n_sections; s++)
        if (a->sections[s].circuit == circuit && a->sections[s].first_attachment != NONE)
            return a->sections[s].first_attachment;
    return NONE;
}

static bool in_danger(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    return c && model_circuit_in_danger(m, c);
}

/* ---- what is said of it -------------------------------------------------------------------------------------------
 */
/* The lender has a buffer of it that nobody gave back yet. */
static bool lent_by(const struct attachment *a, const char *lender_id)
{
    bool lost = a->quarantined || a->state == ATT_LOST || (a->goal == GOAL_ABSENT && a->ending == ATT_LOST);
    return a->buffer_seen && !a->release_published && !lost && !strcmp(a->lender_id, lender_id);
}

/* Appends "n1 borrows over it: ID ID and 3 more", within 'size' bytes of the text.  'lender_id': only what that one had
 * lent; NULL: everything over the circuit. */
static size_t add_borrower(const struct model *m, uint32_t circuit, const char *lender_id, char *text, size_t n,
                           size_t size)
{
    const struct adapter *compute = model_adapter(m, model_circuit(m, circuit)->compute);
    unsigned any = 0, left = 0;
    for (uint32_t i = NONE; (i = model_circuit_next(m, circuit, i)) != NONE;) {
        const struct attachment *a = model_attachment(m, i);
        if (lender_id && !lent_by(a, lender_id))
            continue;
        if (!any++)
            n += (size_t)snprintf(text + n, size - n, "%s%.30s borrows over it:", n ? " " : "",
                                  model_node(m, compute->node)->name);
        if (n + strlen(a->id) + 16 < size)
            n += (size_t)snprintf(text + n, size - n, " %s", a->id);
        else
            left++;
        if (n >= size)
            return size - 1;
    }
    if (left)
        n += (size_t)snprintf(text + n, size - n, " and %u more", left);
    return n < size ? n : size - 1;
}

/* The circuits at an adapter's ports, a bonded one once. */
static unsigned circuits_of(const struct model *m, const struct adapter *a, uint32_t out[WIRE_PORTS])
{
    unsigned n = 0;
    for (unsigned k = 0; k < a->n_ports; k++) {
        uint32_t circuit = model_port(m, a->ports[k])->circuit;
        if (model_circuit(m, circuit) && !(n && out[0] == circuit))
            out[n++] = circuit;
    }
    return n;
}

/* Appends whose memory is reached over the adapter: each borrower has its share of the text. */
static void add_borrowers(const struct model *m, uint32_t adapter, const char *lender_id, char text[WIRE_TEXT])
{
    uint32_t circuits[WIRE_PORTS];
    size_t n = strlen(text);
    unsigned count = circuits_of(m, model_adapter(m, adapter), circuits);
    for (unsigned k = 0; k < count; k++)
        n = add_borrower(m, circuits[k], lender_id, text, n, n + (WIRE_TEXT - n) / (count - k));
}

static const char *adapter_object(const struct model *m, uint32_t adapter, char buf[2 * NAME_SIZE + 12])
{
    const struct adapter *a = model_adapter(m, adapter);
    snprintf(buf, 2 * NAME_SIZE + 12, "adapter/%s/%s", model_node(m, a->node)->name, a->name);
    return buf;
}

/* 'what': "link n1/afu0/0 ocs1/1", "adapter n2/afu1". */
static void emit_danger(struct model *m, uint32_t circuit, const char *what, bool danger)
{
    char object[ID_SIZE + 16], reason[WIRE_TEXT];
    snprintf(object, sizeof object, "circuit/%s", model_circuit(m, circuit)->id);
    snprintf(reason, sizeof reason, "%.120s:", what);
    add_borrower(m, circuit, NULL, reason, strlen(reason), sizeof reason);
    model_emit(m, "circuit.danger", object, danger ? "safe" : "in_danger", danger ? "in_danger" : "safe", reason);
}

static void emit_link_danger(struct model *m, uint32_t circuit, uint32_t link, bool danger)
{
    const struct link *l = model_link(m, link);
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE], what[120];
    snprintf(what, sizeof what, "link %.50s %.50s", model_port_name(m, l->a, a), model_port_name(m, l->b, b));
    emit_danger(m, circuit, what, danger);
}

void model_danger_changed(struct model *m, uint32_t link)
{
    const struct link *l = model_link(m, link);
    uint32_t circuit = model_port(m, l->a)->circuit;
    const struct circuit *c = model_circuit(m, circuit);
    bool down = model_link_state(m, l) == LINK_DOWN;
    if (!c || end_failed(m, c))
        return; /* an adapter at its end is in error as well: it was in danger, and still is */
    uint32_t first = model_circuit_broken(m, c, NONE);
    if (down ? first != link || model_circuit_broken(m, c, link) != NONE : first != NONE)
        return; /* another link is down as well */
    emit_link_danger(m, circuit, link, down);
}

/* ---- adapters and lenders -----------------------------------------------------------------------------------------
 */
void model_set_adapter_failed(struct model *m, uint32_t adapter, bool failed, const char *why)
{
    uint32_t circuits[WIRE_PORTS];
    bool before[WIRE_PORTS];
    char object[2 * NAME_SIZE + 12], reason[WIRE_TEXT] = "";
    unsigned n = circuits_of(m, model_adapter(m, adapter), circuits);
    if (model_adapter(m, adapter)->failed == failed)
        return;
    for (unsigned k = 0; k < n; k++)
        before[k] = in_danger(m, circuits[k]);
    model_edit_adapter(m, adapter)->failed = failed;
    adapter_object(m, adapter, object);
    if (failed)
        snprintf(reason, sizeof reason, n ? "%.80s;" : "%.199s", why);
    if (failed)
        add_borrowers(m, adapter, NULL, reason);
    model_emit(m, "adapter.state", object, failed ? "ok" : "error", failed ? "error" : "ok", reason);
    object[strcspn(object, "/")] = ' ';
    for (unsigned k = 0; k < n; k++)
        if (in_danger(m, circuits[k]) != before[k])
            emit_danger(m, circuits[k], object, failed);
}

/* The lender that answered last; after a start of ours the one whose buffers we know.  An old database may know one
 * that is gone since long. */
static const char *known_lender(const struct model *m, uint32_t adapter)
{
    const struct adapter *x = model_adapter(m, adapter);
    const struct node *n = model_node(m, x->node);
    if (x->lender_id[0] || m->recovering)
        return x->lender_id;
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next) {
        const struct attachment *a = model_attachment(m, i);
        if (a->memory_adapter == adapter && lent_by(a, a->lender_id) && !strcmp(a->donor_boot, n->boot_id))
            return a->lender_id;
    }
    return "";
}

void model_set_lender(struct model *m, uint32_t adapter, const char *id)
{
    char object[2 * NAME_SIZE + 12], reason[WIRE_TEXT];
    const char *known = known_lender(m, adapter);
    if (!id[0] || !strcmp(model_adapter(m, adapter)->lender_id, id))
        return;
    if (known[0] && strcmp(known, id) != 0) {
        snprintf(reason, sizeof reason, "lender %.12s is gone with what it had lent:", known);
        size_t n = strlen(reason);
        add_borrowers(m, adapter, known, reason);
        if (!reason[n])
            snprintf(reason + n, sizeof reason - n, " nothing");
        model_emit(m, "lender.lost", adapter_object(m, adapter, object), "present", "lost", reason);
        model_touch_adapter(m, adapter)->lenders_lost++;
    }
    snprintf(model_touch_adapter(m, adapter)->lender_id, ID_SIZE, "%s", id);
}

/* ---- a switch that an operator declared off: all of its links at once ---------------------------------------------
 */
struct before { /* of a port of the switch */
    enum link_state link;
    bool danger;
};

static void tell_port(struct model *m, uint32_t port, const struct before *before)
{
    const struct port *p = model_touch_port(m, port); /* whoever keeps links looks at them again */
    const struct circuit *c = model_circuit(m, p->circuit);
    if (p->link != NONE)
        model_emit_link(m, p->link, before->link);
    model_mark_due(m, p->circuit);
    if (c && in_danger(m, p->circuit) != before->danger)
        emit_link_danger(m, p->circuit, p->link, !before->danger);
}

/* A circuit enters and leaves a switch by two ports: it is told of once. */
static bool told(const struct model *m, const struct sw *s, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (model_port(m, s->first_port + k)->circuit == model_port(m, s->first_port + i)->circuit)
            return true;
    return false;
}

void model_set_switch_fenced(struct model *m, uint32_t sw, bool fenced)
{
    const struct sw *s = model_switch(m, sw);
    CLEANUP(cleanup_free) struct before *before = model_alloc(NULL, (s->n_ports + 1) * sizeof *before);
    for (unsigned i = 0; i < s->n_ports; i++) {
        const struct port *p = model_port(m, s->first_port + i);
        before[i].link = p->link == NONE ? LINK_UNKNOWN : model_link_state(m, model_link(m, p->link));
        before[i].danger = in_danger(m, p->circuit);
    }
    model_edit_switch(m, sw)->fenced = fenced;
    for (unsigned i = 0; i < s->n_ports; i++) {
        if (told(m, s, i))
            before[i].danger = in_danger(m, model_port(m, s->first_port + i)->circuit);
        tell_port(m, s->first_port + i, &before[i]);
    }
}
