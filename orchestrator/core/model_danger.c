/* model_danger.c - circuits over a link that is down: what runs over them is still mapped, and dead or about to be. */
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

/* "link n1/afu0/0 ocs1/1: n1 borrows over it: ID ID and 3 more". */
static void reason_of(const struct model *m, uint32_t circuit, uint32_t link, char text[WIRE_TEXT])
{
    const struct circuit *c = model_circuit(m, circuit);
    const struct link *l = model_link(m, link);
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
    unsigned left = 0;
    int n = snprintf(text, WIRE_TEXT, "link %.50s %.50s: %.30s borrows over it:", model_port_name(m, l->a, a),
                     model_port_name(m, l->b, b), model_node(m, model_adapter(m, c->compute)->node)->name);
    for (uint32_t i = NONE; (i = model_circuit_next(m, circuit, i)) != NONE;) {
        const char *id = model_attachment(m, i)->id;
        if ((size_t)n + strlen(id) + 16 < WIRE_TEXT)
            n += snprintf(text + n, WIRE_TEXT - (size_t)n, " %s", id);
        else
            left++;
    }
    if (left)
        snprintf(text + n, WIRE_TEXT - (size_t)n, " and %u more", left);
}

static void emit_danger(struct model *m, uint32_t circuit, uint32_t link, bool down)
{
    char object[ID_SIZE + 16], reason[WIRE_TEXT];
    snprintf(object, sizeof object, "circuit/%s", model_circuit(m, circuit)->id);
    reason_of(m, circuit, link, reason);
    model_emit(m, "circuit.danger", object, down ? "safe" : "in_danger", down ? "in_danger" : "safe", reason);
}

void model_danger_changed(struct model *m, uint32_t link)
{
    const struct link *l = model_link(m, link);
    uint32_t circuit = model_port(m, l->a)->circuit;
    const struct circuit *c = model_circuit(m, circuit);
    bool down = model_link_state(m, l) == LINK_DOWN;
    if (!c)
        return;
    uint32_t first = model_circuit_broken(m, c, NONE);
    if (down ? first != link || model_circuit_broken(m, c, link) != NONE : first != NONE)
        return; /* another one is down as well: it was in danger, and still is */
    emit_danger(m, circuit, link, down);
}

/* ---- a switch that an operator declared off: all of its links at once ---------------------------------------------
 */
static bool in_danger(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    return c && model_circuit_broken(m, c, NONE) != NONE;
}

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
        emit_danger(m, p->circuit, p->link, !before->danger);
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
