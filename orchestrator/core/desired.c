#include "desired.h"

#include "lifecycle.h"

#include <stdlib.h>
#include <string.h>

static bool manages(const struct model *m, uint32_t node, uint32_t sw)
{
    const struct sw *s = model_switch(m, sw);
    return s && !strcmp(s->managed_by, model_node(m, node)->name);
}

/* Room for everything that this node could be told. */
static int make_room(const struct model *m, uint32_t node, struct wire_desired *d, struct err *e)
{
    const struct node *n = model_node(m, node);
    size_t n_buffers = n->n_lends, n_segments = n->n_borrows, n_joins = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++)
        n_joins += manages(m, node, i) ? model_switch(m, i)->n_ports / 2 : 0;
    d->buffers = calloc(n_buffers + 1, sizeof *d->buffers);
    d->segments = calloc(n_segments + 1, sizeof *d->segments);
    d->sections = calloc((size_t)n->n_adapters * WIRE_SECTIONS + 1, sizeof *d->sections);
    d->channels = calloc((size_t)n->n_adapters * WIRE_PORTS + 1, sizeof *d->channels);
    d->crossconnects = calloc(n_joins + 1, sizeof *d->crossconnects);
    if (!d->buffers || !d->segments || !d->sections || !d->channels || !d->crossconnects) {
        wire_desired_done(d);
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    return 0;
}

static void add_buffer(const struct model *m, const struct attachment *a, struct wire_desired *d)
{
    if (a->step < STEP_LEND)
        return;
    const struct adapter *ma = model_adapter(m, a->memory_adapter), *ca = model_adapter(m, a->compute_adapter);
    struct wire_want_buffer *w = &d->buffers[d->n_buffers++];
    memcpy(w->id, a->id, sizeof w->id);
    bool make = a->goal == GOAL_PRESENT && !a->buffer_seen;
    w->want = !lifecycle_wants(a, STEP_LEND) ? WIRE_ABSENT : make ? WIRE_CREATE : WIRE_KEEP;
    w->attempt = a->attempt;
    memcpy(w->adapter, ma->name, sizeof w->adapter);
    memcpy(w->compute_node, model_node(m, a->compute_node)->name, sizeof w->compute_node);
    memcpy(w->compute_adapter, ca->name, sizeof w->compute_adapter);
    w->section = a->section;
    w->offset_bytes = a->offset_bytes;
    w->size_bytes = a->size_bytes;
    if (a->buffer_seen)
        memcpy(w->lender_id, a->lender_id, sizeof w->lender_id);
}

/* Made only while the attach, or the giving up of a detach, goes on; a segment that was lost is never made again.  What
 * is online in its range under another name is not taken away with it. */
static void add_segment(const struct model *m, const struct attachment *a, struct wire_desired *d)
{
    if (a->step < STEP_ONLINE)
        return;
    struct wire_want_segment *w = &d->segments[d->n_segments++];
    memcpy(w->id, a->id, sizeof w->id);
    bool make = a->goal == GOAL_PRESENT && a->state == ATT_PENDING;
    w->want = lifecycle_wants(a, STEP_ONLINE) ? make ? WIRE_CREATE : WIRE_KEEP : WIRE_ABSENT;
    if (a->now_overlapped)
        w->want = WIRE_KEEP;
    w->attempt = a->attempt;
    memcpy(w->adapter, model_adapter(m, a->compute_adapter)->name, sizeof w->adapter);
    w->section = a->section;
    w->offset_bytes = a->offset_bytes;
    w->size_bytes = a->size_bytes;
}

static void add_sections(const struct model *m, const struct adapter *a, struct wire_desired *d)
{
    for (unsigned k = 0; k < a->n_sections; k++) {
        if (!a->sections[k].used)
            continue;
        struct wire_want_section *w = &d->sections[d->n_sections++];
        memcpy(w->adapter, a->name, sizeof w->adapter);
        w->section = k;
        w->value = lifecycle_section_value(m, a, k, &w->parked);
    }
}

static void add_channel(const struct model *m, uint32_t port, bool up, struct wire_desired *d)
{
    const struct port *p = model_port(m, port);
    struct wire_want_channel *w = &d->channels[d->n_channels++];
    memcpy(w->adapter, model_adapter(m, p->adapter)->name, sizeof w->adapter);
    w->port = p->number;
    w->up = up;
}

/* The port that the circuit joins this one to, on the same switch; NONE when that is the lower one, which says it. */
static uint32_t join_of(const struct circuit *c, uint32_t port)
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 1; i + 2 < c->legs[k].n_ports; i += 2) {
            uint32_t a = c->legs[k].ports[i], b = c->legs[k].ports[i + 1];
            if (port == a || port == b)
                return port == (a < b ? a : b) ? (a < b ? b : a) : NONE;
        }
    return NONE;
}

/* Memory is in use over the circuit, and its donor has not said yet whether it holds it, or lost it with a boot. */
static bool awaits_donor(const struct model *m, const struct circuit *c)
{
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        if (model_attachment(m, i)->buffer_seen && !model_attachment(m, i)->donor_boot[0])
            return true;
    return false;
}

/* What the phases of the circuits that end in the adapter say of its channels (lifecycle_circuit.c).  Of a leg that is
 * joined elsewhere nothing is said: other memory may be in use over its ports.  Nor is a donor's port put in reset
 * before it is known whether it is; nor, after a restore, taken out of it before it is known whether the memory behind
 * it is there. */
static void add_circuits(const struct model *m, uint32_t adapter, struct wire_desired *d)
{
    const struct adapter *a = model_adapter(m, adapter);
    for (unsigned k = 0; k < a->n_ports; k++) {
        const struct circuit *c = model_circuit(m, model_port(m, a->ports[k])->circuit);
        if (!c || c->phase < PHASE_CHANNELS || !circuit_owns_port(m, c, a->ports[k]))
            continue;
        bool compute_up = c->phase == PHASE_CHANNELS;
        bool memory_up = (c->phase == PHASE_CHANNELS || c->phase == PHASE_LEAVE_COMPUTE) && !c->severed;
        bool up = c->compute == adapter ? compute_up : memory_up;
        if (c->compute == adapter || (up ? !awaits_donor(m, c) : c->memory_end_known))
            add_channel(m, a->ports[k], up, d);
    }
}

/* Joins are named while they are made and while they are cleared.  In between nobody touches them, not even to make
 * them again: memory may be in use over them (rule 6). */
static void add_joins(const struct model *m, uint32_t sw, struct wire_desired *d)
{
    const struct sw *s = model_switch(m, sw);
    for (unsigned n = 0; n < s->n_ports; n++) {
        const struct circuit *c = model_circuit(m, model_port(m, s->first_port + n)->circuit);
        uint32_t peer = c && (c->phase == PHASE_JOIN || c->phase == PHASE_CLEAR) ? join_of(c, s->first_port + n) : NONE;
        if (peer == NONE)
            continue;
        struct wire_want_crossconnect *w = &d->crossconnects[d->n_crossconnects++];
        memcpy(w->name, s->name, sizeof w->name);
        w->port_a = n + 1;
        w->port_b = model_port(m, peer)->number;
        w->connected = c->phase == PHASE_JOIN;
    }
}

int desired_build(const struct model *m, uint32_t node, struct wire_desired *out, struct err *e)
{
    const struct node *n = model_node(m, node);
    struct wire_desired d = { 0 };
    if (make_room(m, node, &d, e) < 0)
        return -1;
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next)
        add_buffer(m, model_attachment(m, i), &d);
    for (uint32_t i = n->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next)
        add_segment(m, model_attachment(m, i), &d);
    for (unsigned i = 0; i < n->n_adapters; i++) {
        add_sections(m, model_adapter(m, n->adapters[i]), &d);
        add_circuits(m, n->adapters[i], &d);
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++)
        if (manages(m, node, i))
            add_joins(m, i, &d);
    *out = d;
    return 0;
}
