#include "desired.h"

#include "lifecycle.h"

#include <stdlib.h>
#include <string.h>

/* Room for everything that this node could be told. */
static int make_room(const struct model *m, uint32_t node, struct wire_desired *d, struct err *e)
{
    const struct node *n = model_node(m, node);
    size_t n_buffers = n->n_lends, n_segments = n->n_borrows, n_joins = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        n_joins += model_circuit(m, i) ? (size_t)model_circuit(m, i)->channels * PATH_SWITCHES_MAX : 0;
    d->buffers = calloc(n_buffers + 1, sizeof *d->buffers);
    d->segments = calloc(n_segments + 1, sizeof *d->segments);
    d->sections = calloc((size_t)n->n_adapters * WIRE_SECTIONS + 1, sizeof *d->sections);
    d->channels = calloc((size_t)n->n_adapters * WIRE_PORTS + 1, sizeof *d->channels);
    d->crossconnects = calloc(n_joins + 1, sizeof *d->crossconnects);
    if (!d->buffers || !d->segments || !d->sections || !d->channels || !d->crossconnects) {
        wire_desired_done(d);
        return err_set(e, ERR_INTERNAL, "out of memory");
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
    w->want = !lifecycle_wants(a, STEP_LEND) ? WIRE_ABSENT : a->buffer_seen ? WIRE_KEEP : WIRE_CREATE;
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

/* A segment of an earlier boot is never made again: it is published as gone, which it is. */
static void add_segment(const struct model *m, const struct attachment *a, struct wire_desired *d)
{
    if (a->step < STEP_ONLINE)
        return;
    struct wire_want_segment *w = &d->segments[d->n_segments++];
    memcpy(w->id, a->id, sizeof w->id);
    w->want = !lifecycle_wants(a, STEP_ONLINE) ? WIRE_ABSENT : a->segment_seen ? WIRE_KEEP : WIRE_CREATE;
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

/* Everything on the circuit is in quarantine: its donor's ports stay in reset (rule 5). */
static bool circuit_quarantined(const struct model *m, uint32_t circuit)
{
    bool any = false;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a || a->circuit != circuit)
            continue;
        if (!a->quarantined)
            return false;
        any = true;
    }
    return any;
}

static void add_channel(const struct model *m, uint32_t port, bool up, struct wire_desired *d)
{
    const struct port *p = model_port(m, port);
    struct wire_want_channel *w = &d->channels[d->n_channels++];
    memcpy(w->adapter, model_adapter(m, p->adapter)->name, sizeof w->adapter);
    w->port = p->number;
    w->up = up;
}

/* What the phase of a circuit says of its ends and joins (lifecycle_circuit.c). */
static void add_circuit(const struct model *m, uint32_t at, uint32_t node, struct wire_desired *d)
{
    const struct circuit *c = model_circuit(m, at);
    const char *name = model_node(m, node)->name;
    if (c->phase == PHASE_CLOSED)
        return;
    bool compute_said = c->phase >= PHASE_CHANNELS, compute_up = c->phase == PHASE_CHANNELS;
    bool memory_up = c->phase == PHASE_CHANNELS || c->phase == PHASE_LEAVE_COMPUTE;
    bool connected = c->phase != PHASE_CLEAR;
    for (unsigned k = 0; k < c->channels; k++) {
        const struct leg *l = &c->legs[k];
        if (compute_said && model_adapter(m, c->compute)->node == node)
            add_channel(m, l->ports[0], compute_up, d);
        if (compute_said && model_adapter(m, c->memory)->node == node)
            add_channel(m, l->ports[l->n_ports - 1], memory_up && !circuit_quarantined(m, at), d);
        for (unsigned i = 1; i + 2 < l->n_ports; i += 2) {
            const struct port *a = model_port(m, l->ports[i]), *b = model_port(m, l->ports[i + 1]);
            const struct sw *s = model_switch(m, a->sw);
            if (strcmp(s->managed_by, name) != 0)
                continue;
            struct wire_want_crossconnect *w = &d->crossconnects[d->n_crossconnects++];
            memcpy(w->name, s->name, sizeof w->name);
            w->port_a = a->number < b->number ? a->number : b->number;
            w->port_b = a->number < b->number ? b->number : a->number;
            w->connected = connected;
        }
    }
}

int desired_build(const struct model *m, uint32_t node, struct wire_desired *out, struct err *e)
{
    const struct node *n = model_node(m, node);
    struct wire_desired d = { 0 };
    if (make_room(m, node, &d, e) < 0)
        return -1;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (a && a->donor == node)
            add_buffer(m, a, &d);
        if (a && a->compute_node == node)
            add_segment(m, a, &d);
    }
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (model_adapter(m, n->adapters[i]))
            add_sections(m, model_adapter(m, n->adapters[i]), &d);
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i))
            add_circuit(m, i, node, &d);
    *out = d;
    return 0;
}
