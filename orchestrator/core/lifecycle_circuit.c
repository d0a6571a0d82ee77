/* lifecycle_circuit.c - opens and closes circuits, phase by phase:
 *
 *   CLOSED -> JOIN (cross-connects) -> CHANNELS (both ends out of reset, settled): open
 *   CHANNELS -> LEAVE_COMPUTE -> LEAVE_MEMORY (ends back in reset) -> CLEAR (cross-connects) -> CLOSED
 *
 * The compute end goes into reset in the same pass that parks the last section: an agent parks first, and refuses to
 * reset a channel that a section uses.  The donor's end goes in the pass that releases the last buffer.
 *
 * A phase is published by storing it with its revision, and done when the agents report it at that revision or later.
 * What is published is derived from the phase alone (desired.c), so it never flaps with what is observed.  A closing
 * that has begun is finished before the circuit opens again: its ports stay its own meanwhile. */
#include "lifecycle_internal.h"

#include <stdio.h>
#include <string.h>

static uint32_t manager_of(const struct model *m, uint32_t port)
{
    const struct port *p = model_port(m, port);
    const struct sw *s = p ? model_switch(m, p->sw) : NULL;
    return s ? model_find_node(m, s->managed_by) : NONE;
}

/* Calls 'check' for every cross-connect of the circuit until it answers false. */
static bool each_join(const struct model *m, const struct circuit *c,
                      bool (*check)(const struct model *, const struct circuit *, uint32_t a, uint32_t b))
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 1; i + 2 < c->legs[k].n_ports; i += 2)
            if (!check(m, c, c->legs[k].ports[i], c->legs[k].ports[i + 1]))
                return false;
    return true;
}

/* The switch was read for a report of its manager that is no older than 'revision'. */
static bool join_read(const struct model *m, uint32_t port, uint64_t revision)
{
    return lifecycle_fresh(m, manager_of(m, port), revision) && model_switch(m, model_port(m, port)->sw)->seen;
}

static bool joined(const struct model *m, const struct circuit *c, uint32_t a, uint32_t b)
{
    return join_read(m, a, c->revision) && model_port(m, a)->seen_peer == b;
}

static bool seen_joined(const struct model *m, const struct circuit *c, uint32_t a, uint32_t b)
{
    (void)c;
    return model_port(m, a)->seen_peer == b;
}

bool circuit_joined(const struct model *m, const struct circuit *c)
{
    return each_join(m, c, seen_joined);
}

static bool parted(const struct model *m, const struct circuit *c, uint32_t a, uint32_t b)
{
    if (model_switch(m, model_port(m, a)->sw)->fenced)
        return true; /* it joins nothing, an operator said */
    return join_read(m, a, c->revision) && model_port(m, a)->seen_peer != b;
}

/* Nobody else is joined to either port: a foreign join is never rewritten (rule 6). */
static bool joinable(const struct model *m, const struct circuit *c, uint32_t a, uint32_t b)
{
    (void)c;
    const struct port *pa = model_port(m, a), *pb = model_port(m, b);
    return join_read(m, a, 0) && (pa->seen_peer == NONE || pa->seen_peer == b) &&
           (pb->seen_peer == NONE || pb->seen_peer == a);
}

/* A join of the leg leads elsewhere: the leg is not there, and who uses its ports is not known here.  That happens when
 * an old backup was restored, or by hand. */
static bool leg_foreign(const struct model *m, const struct leg *l)
{
    for (unsigned i = 1; i + 2 < l->n_ports; i += 2) {
        uint32_t a = l->ports[i], b = l->ports[i + 1];
        const struct port *pa = model_port(m, a), *pb = model_port(m, b);
        if (!model_switch(m, pa->sw)->fenced &&
            ((pa->seen_peer != NONE && pa->seen_peer != b) || (pb->seen_peer != NONE && pb->seen_peer != a)))
            return true;
    }
    return false;
}

bool circuit_owns_port(const struct model *m, const struct circuit *c, uint32_t port)
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 0; i < c->legs[k].n_ports; i++)
            if (c->legs[k].ports[i] == port)
                return !leg_foreign(m, &c->legs[k]);
    return false;
}

static unsigned channel_bits(const struct model *m, const struct circuit *c, bool compute_end)
{
    unsigned bits = 0;
    for (unsigned k = 0; k < c->channels; k++) {
        const struct leg *l = &c->legs[k];
        bits |= 1u << model_port(m, l->ports[compute_end ? 0 : l->n_ports - 1])->number;
    }
    return bits;
}

static const struct adapter *end_of(const struct model *m, const struct circuit *c, bool compute_end)
{
    return model_adapter(m, compute_end ? c->compute : c->memory);
}

static bool end_up(const struct model *m, const struct circuit *c, bool compute_end)
{
    const struct adapter *a = end_of(m, c, compute_end);
    unsigned bits = channel_bits(m, c, compute_end);
    return lifecycle_fresh(m, a->node, c->revision) && a->ok && (a->seen_channels & a->seen_settled & bits) == bits;
}

static bool end_down(const struct model *m, const struct circuit *c, bool compute_end)
{
    const struct adapter *a = end_of(m, c, compute_end);
    if (lifecycle_fenced(m, a->node))
        return true;   /* it is off */
    unsigned bits = 0; /* of the legs that are the circuit's own */
    for (unsigned k = 0; k < c->channels; k++) {
        const struct port *p = model_port(m, c->legs[k].ports[compute_end ? 0 : c->legs[k].n_ports - 1]);
        bits |= leg_foreign(m, &c->legs[k]) ? 0 : 1u << p->number;
    }
    return lifecycle_fresh(m, a->node, c->revision) && a->ok && !(a->seen_channels & bits);
}

static bool joins_read(const struct model *m, const struct circuit *c)
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 1; i + 2 < c->legs[k].n_ports; i += 2) {
            const struct sw *s = model_switch(m, model_port(m, c->legs[k].ports[i])->sw);
            if (!s->seen && !s->fenced)
                return false;
        }
    return true;
}

/* The donor reports a buffer of nobody: one for the circuit's own borrower, or for 'any'. */
static bool lends_unowned(const struct model *m, const struct circuit *c, bool any)
{
    const struct adapter *ma = model_adapter(m, c->memory), *ca = model_adapter(m, c->compute);
    const struct node *donor = model_node(m, ma->node);
    for (unsigned i = 0; i < donor->n_unowned; i++) {
        const struct unowned *u = &donor->unowned[i];
        if (!strcmp(u->kind, "buffer") && !strcmp(u->adapter, ma->name) &&
            (any || (!strcmp(u->compute_node, model_node(m, ca->node)->name) && !strcmp(u->compute_adapter, ca->name))))
            return true;
    }
    return false;
}

/* The borrower is off by the word of an operator that an old backup may remember: it may be back in a later boot. */
static bool fenced_of_old(const struct model *m, const struct circuit *c)
{
    uint32_t compute = model_adapter(m, c->compute)->node;
    return lifecycle_fenced(m, compute) && !model_node(m, compute)->fenced_since_start;
}

/* Whether the donor's channels carry nothing but the circuit: as long as the joins are not read, a buffer of nobody may
 * be what is behind them.  A borrower that was fenced once may use such a buffer over the circuit's own joins; an
 * operator who fences it again says that it does not. */
static bool memory_end_known(const struct model *m, const struct circuit *c)
{
    const struct adapter *ma = model_adapter(m, c->memory);
    if (lifecycle_fenced(m, ma->node))
        return true;
    if (fenced_of_old(m, c) && lends_unowned(m, c, false))
        return false;
    return model_node(m, ma->node)->reported && (joins_read(m, c) || !lends_unowned(m, c, true));
}

/* Zero leads out of port 1 as soon as that leaves reset. */
bool circuit_ports_quiet(const struct model *m, uint32_t compute_adapter, unsigned bits)
{
    const struct adapter *a = model_adapter(m, compute_adapter);
    if (!lifecycle_fresh(m, a->node, 0) || !a->ok)
        return false;
    for (unsigned k = 0; k < a->n_sections; k++) {
        uint64_t value = a->sections[k].seen_value, netid = value & 3;
        unsigned ports = netid == WIRE_NETID_BOTH ? 3 : netid == WIRE_NETID_PORT0 ? 1 : 2;
        bool leads = value ? !wire_section_is_parked(value, k) : (a->seen_channels & 2) != 0;
        if (leads && (ports & bits))
            return false;
    }
    return true;
}

/* Neither open for it any more, nor to be opened: its parking is published, or its undo is further. */
static bool has_left(const struct attachment *a)
{
    return !lifecycle_wants(a, STEP_CONNECT) ||
           (a->goal == GOAL_ABSENT && a->step >= STEP_MAP && a->undoing <= STEP_MAP);
}

bool circuit_wanted(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        if (!has_left(model_attachment(m, i)) && (!c->severed || lifecycle_wants(model_attachment(m, i), STEP_MAP)))
            return true;
    return false;
}

bool circuit_frozen(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        if (model_attachment(m, i)->quarantined)
            return true;
    return false;
}

/* The donor is lost under every attachment that is in use: its ports go into reset, and stay there (rule 5).  When it
 * is still in the boot that lent, that cuts off traffic in flight, and they are suspect (rule 6).  Memory that a
 * restored database does not know may be in use over the circuit too: the donor's ports are left alone then. */
static bool sever_circuit(struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    const struct node *donor = model_node(m, model_adapter(m, c->memory)->node);
    bool suspect = false;
    if (c->severed || !circuit_frozen(m, circuit) || lends_unowned(m, c, false))
        return false;
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next) {
        const struct attachment *a = model_attachment(m, i);
        if (!a->quarantined && lifecycle_live(m, a))
            return false;
        suspect |= a->quarantined && !strcmp(a->donor_boot, donor->boot_id);
    }
    struct circuit *x = model_edit_circuit(m, circuit);
    x->severed = true;
    x->revision = m->revision;
    for (unsigned k = 0; suspect && k < x->channels; k++)
        model_edit_port(m, x->legs[k].ports[x->legs[k].n_ports - 1])->suspect = true;
    lifecycle_wake(m, model_adapter(m, x->memory)->node);
    return true;
}

bool circuit_is_open(const struct circuit *c)
{
    return c->state == CIRCUIT_UP || c->state == CIRCUIT_UNVERIFIED;
}

bool circuit_is_opening(const struct circuit *c)
{
    return c->phase == PHASE_JOIN || c->phase == PHASE_CHANNELS;
}

/* 'from': what it was called before anything of it changed. */
static void set_state_from(struct model *m, uint32_t circuit, const char *from, enum circuit_state state)
{
    char object[ID_SIZE + 12];
    if (model_circuit(m, circuit)->state == state)
        return;
    struct circuit *c = model_edit_circuit(m, circuit);
    c->state = state;
    snprintf(object, sizeof object, "circuit/%s", c->id);
    model_emit(m, "circuit.state", object, from, model_circuit_state(c), "");
}

static void set_state(struct model *m, uint32_t circuit, enum circuit_state state)
{
    set_state_from(m, circuit, model_circuit_state(model_circuit(m, circuit)), state);
}

/* The agents that have to act on the phase. */
static void wake_for(struct model *m, const struct circuit *c, enum circuit_phase phase)
{
    if (phase == PHASE_CHANNELS || phase == PHASE_LEAVE_COMPUTE)
        lifecycle_wake(m, model_adapter(m, c->compute)->node);
    if (phase == PHASE_CHANNELS || phase == PHASE_LEAVE_MEMORY)
        lifecycle_wake(m, model_adapter(m, c->memory)->node);
    if (phase != PHASE_JOIN && phase != PHASE_CLEAR)
        return;
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 1; i + 2 < c->legs[k].n_ports; i += 2)
            lifecycle_wake(m, manager_of(m, c->legs[k].ports[i]));
}

/* What waits for the circuit has not been waiting in vain. */
static void note_progress(struct model *m, const struct circuit *c)
{
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        model_touch_attachment(m, i)->progress_ms = m->now_ms;
}

static bool publish(struct model *m, uint32_t circuit, enum circuit_phase phase)
{
    static const enum circuit_state state_of[] = {
        [PHASE_CLOSED] = CIRCUIT_PLANNED,       [PHASE_JOIN] = CIRCUIT_CONNECTING,
        [PHASE_CHANNELS] = CIRCUIT_CONNECTING,  [PHASE_LEAVE_COMPUTE] = CIRCUIT_CLOSING,
        [PHASE_LEAVE_MEMORY] = CIRCUIT_CLOSING, [PHASE_CLEAR] = CIRCUIT_CLOSING,
    };
    struct circuit *c = model_edit_circuit(m, circuit);
    const char *from = model_circuit_state(c);
    c->phase = phase;
    c->revision = m->revision;
    c->verified = false;
    set_state_from(m, circuit, from, state_of[phase]);
    struct circuit copy = *model_circuit(m, circuit);
    wake_for(m, &copy, phase);
    note_progress(m, &copy);
    return true;
}

/* The first report that shows both ends up makes it open; a touch that got through makes it verified. */
static bool channels_advance(struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    if (circuit_is_open(c) || !circuit_joined(m, c) || !end_up(m, c, true) || !end_up(m, c, false))
        return false;
    set_state(m, circuit, c->verified ? CIRCUIT_UP : CIRCUIT_UNVERIFIED);
    note_progress(m, model_circuit(m, circuit));
    return true;
}

/* The donor's end is to go into reset.  After a restart, and more so after a restore, newer memory may be in use over
 * its ports: the order goes out once they are known to be the circuit's own, and the donor is woken for it.  One that
 * is fenced is asked when it comes back; a lender that does not answer does not say what it lends. */
static bool release_memory_end(struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    const struct adapter *ma = model_adapter(m, c->memory);
    bool cuts = c->severed && c->phase < PHASE_LEAVE_MEMORY; /* the compute end is not in reset */
    if (c->memory_end_known || lifecycle_fenced(m, ma->node) || !ma->ok || (!cuts && c->phase < PHASE_LEAVE_MEMORY) ||
        (cuts && lends_unowned(m, c, false)) || !memory_end_known(m, c))
        return false;
    model_touch_circuit(m, circuit)->memory_end_known = true;
    lifecycle_wake(m, ma->node);
    return true;
}

bool circuit_advance(struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    bool wanted = circuit_wanted(m, circuit), has_joins = c->legs[0].n_ports > 2;
    if (sever_circuit(m, circuit) || release_memory_end(m, circuit))
        return true;
    if (circuit_frozen(m, circuit) && c->severed)
        return false;
    switch (c->phase) {
    case PHASE_CLOSED:
        return wanted && circuit_ports_quiet(m, c->compute, channel_bits(m, c, true)) && each_join(m, c, joinable) &&
               publish(m, circuit, has_joins ? PHASE_JOIN : PHASE_CHANNELS);
    case PHASE_JOIN:
        if (!wanted)
            return publish(m, circuit, PHASE_CLEAR);
        return each_join(m, c, joined) && publish(m, circuit, PHASE_CHANNELS);
    case PHASE_CHANNELS:
        return wanted ? channels_advance(m, circuit) : publish(m, circuit, PHASE_LEAVE_COMPUTE);
    case PHASE_LEAVE_COMPUTE:
        return end_down(m, c, true) && memory_end_known(m, c) && publish(m, circuit, PHASE_LEAVE_MEMORY);
    case PHASE_LEAVE_MEMORY:
        return end_down(m, c, false) && publish(m, circuit, has_joins ? PHASE_CLEAR : PHASE_CLOSED);
    case PHASE_CLEAR:
        return each_join(m, c, parted) && publish(m, circuit, PHASE_CLOSED);
    }
    return false;
}

void circuit_rebooted(struct model *m, uint32_t circuit, uint32_t node)
{
    const struct circuit *c = model_circuit(m, circuit);
    if (c->phase == PHASE_CHANNELS && !c->severed &&
        (model_adapter(m, c->compute)->node == node || model_adapter(m, c->memory)->node == node))
        publish(m, circuit, PHASE_CHANNELS);
}

/* None of its joins is there. */
static bool all_parted(const struct model *m, const struct circuit *c)
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 1; i + 2 < c->legs[k].n_ports; i += 2)
            if (!join_read(m, c->legs[k].ports[i], 0) ||
                model_port(m, c->legs[k].ports[i])->seen_peer == c->legs[k].ports[i + 1])
                return false;
    return c->legs[0].n_ports > 2;
}

void circuit_restored(struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    if (c->phase == PHASE_CLOSED || circuit_wanted(m, circuit))
        return;
    if (all_parted(m, c))
        publish(m, circuit, PHASE_CLOSED);
    else
        publish(m, circuit, PHASE_LEAVE_COMPUTE);
}

void circuit_start(struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    bool live = false; /* one of its attachments had gone online over it, so it was open before the restart */
    for (uint32_t i = c->first_attachment; i != NONE; i = model_attachment(m, i)->circuit_next)
        live |= model_attachment(m, i)->step >= STEP_ONLINE;
    if (c->phase == PHASE_CLOSED)
        set_state(m, circuit, CIRCUIT_PLANNED);
    else if (c->phase > PHASE_CHANNELS)
        set_state(m, circuit, CIRCUIT_CLOSING);
    else
        set_state(m, circuit,
                  !live || c->phase != PHASE_CHANNELS ? CIRCUIT_CONNECTING
                  : c->verified                       ? CIRCUIT_UP
                                                      : CIRCUIT_UNVERIFIED);
    model_mark_due(m, circuit);
}
