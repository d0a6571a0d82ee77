/* adopt.c - see adopt.h. */
#include "adopt.h"

#include "lifecycle_internal.h"

#include <stdio.h>
#include <string.h>

#define SILENT_MS 10000
#define GRACE_MS 600000

struct find { /* a buffer without an owner, and what else there is of it */
    uint32_t donor, compute_node, memory_adapter, compute_adapter;
    const struct unowned *buffer, *segment; /* segment: NULL when the compute node has no block of it */
    unsigned channels;
    struct leg legs[2];
    uint64_t base;
    bool mapped; /* the section register leads to the buffer's arena */
    bool joined; /* it does not, but the legs are joined as they were, and nothing uses them */
};

/* ---- the path -----------------------------------------------------------------------------------------------------
 */
static bool is_on(const struct leg *l, uint32_t port)
{
    for (unsigned i = 0; l && i < l->n_ports; i++)
        if (l->ports[i] == port)
            return true;
    return false;
}

/* Where a circuit would go on from a switch's port that a cable reaches: the port that it is joined to, or else (with
 * 'any') a free one, not of its other leg, from which one cable leads to the adapter 'to'. */
static uint32_t leave_switch(const struct model *m, uint32_t enters, uint32_t to, const struct leg *other, bool any)
{
    const struct port *p = model_port(m, enters);
    const struct sw *s = model_switch(m, p->sw);
    if (p->seen_peer != NONE || !any)
        return p->seen_peer;
    for (unsigned i = 0; s && i < s->n_ports; i++) {
        const struct port *q = model_port(m, s->first_port + i);
        const struct port *end = model_port(m, model_port_peer(m, s->first_port + i));
        if (q->circuit == NONE && q->seen_peer == NONE && end && end->adapter == to && end->circuit == NONE &&
            !is_on(other, s->first_port + i))
            return s->first_port + i;
    }
    return NONE;
}

/* Follows the cable and the joins from a port of the compute adapter to one of 'to'; 'other': the circuit's leg that
 * was found before, or NULL. */
static bool trace_leg(const struct model *m, uint32_t from, uint32_t to, const struct leg *other, bool any,
                      struct leg *out)
{
    struct leg l = { 0 };
    uint32_t at = from;
    for (;;) {
        uint32_t peer = model_port_peer(m, at);
        if (peer == NONE || l.n_ports + 2 > PATH_PORTS_MAX)
            return false;
        l.ports[l.n_ports++] = at;
        l.ports[l.n_ports++] = peer;
        l.cost_ns += model_link(m, model_port(m, at)->link)->latency_ns;
        const struct port *p = model_port(m, peer);
        if (p->adapter != NONE) {
            *out = l;
            return p->adapter == to;
        }
        l.cost_ns += model_switch(m, p->sw)->latency_ns;
        at = leave_switch(m, peer, to, other, any);
        if (at == NONE)
            return false;
    }
}

static bool ports_free(const struct model *m, const struct leg *l)
{
    for (unsigned i = 0; i < l->n_ports; i++)
        if (model_port(m, l->ports[i])->circuit != NONE)
            return false;
    return true;
}

/* The circuit is joined as it was meant to be. */
static bool really_joined(const struct model *m, const struct circuit *c)
{
    struct leg l;
    for (unsigned k = 0; k < c->channels; k++)
        if (!trace_leg(m, c->legs[k].ports[0], c->memory, NULL, false, &l) || l.n_ports != c->legs[k].n_ports ||
            memcmp(l.ports, c->legs[k].ports, l.n_ports * sizeof *l.ports) != 0)
            return false;
    return true;
}

/* The legs over the ports of 'mask' (bit p: port p of the compute adapter); over a circuit that is there, its own. */
static bool find_legs(const struct model *m, struct find *f, unsigned mask, bool any)
{
    const struct circuit *c = model_circuit(m, model_find_pair_circuit(m, f->compute_adapter, f->memory_adapter));
    if (c) {
        f->channels = c->channels;
        memcpy(f->legs, c->legs, sizeof f->legs);
        unsigned have = 0;
        for (unsigned k = 0; k < c->channels; k++)
            have |= 1u << model_port(m, c->legs[k].ports[0])->number;
        return any || (have == mask && !c->severed && really_joined(m, c));
    }
    const struct adapter *ca = model_adapter(m, f->compute_adapter);
    f->channels = 0;
    for (unsigned p = 0; p < ca->n_ports; p++) {
        if (!(mask & 1u << p))
            continue;
        struct leg *l = &f->legs[f->channels];
        if (!trace_leg(m, ca->ports[p], f->memory_adapter, f->channels ? l - 1 : NULL, any, l) || !ports_free(m, l))
            return false;
        f->channels++;
    }
    return f->channels > 0;
}

/* ---- what there is ------------------------------------------------------------------------------------------------
 */
static bool is_kind(const struct unowned *u, const char *kind)
{
    return strcmp(u->kind, kind) == 0;
}

static bool same_place(const struct unowned *buffer, const struct unowned *segment)
{
    return !strcmp(buffer->id, segment->id) && !strcmp(buffer->compute_adapter, segment->adapter) &&
           buffer->section == segment->section && buffer->offset_bytes == segment->offset_bytes &&
           buffer->size_bytes == segment->size_bytes;
}

/* Blocks of nobody in the range of the buffer, whatever they are called. */
static bool overlaps(const struct unowned *buffer, const struct unowned *segment)
{
    return !strcmp(buffer->compute_adapter, segment->adapter) && buffer->section == segment->section &&
           buffer->offset_bytes < segment->offset_bytes + segment->size_bytes &&
           segment->offset_bytes < buffer->offset_bytes + buffer->size_bytes;
}

/* Something of the node's own, or of nobody, lies in the range already. */
static bool range_taken(const struct model *m, const struct find *f)
{
    const struct unowned *b = f->buffer;
    const struct section *s = &model_adapter(m, f->compute_adapter)->sections[b->section];
    for (uint32_t i = s->first_attachment; i != NONE; i = model_attachment(m, i)->section_next) {
        const struct attachment *a = model_attachment(m, i);
        if (a->memory_adapter != f->memory_adapter ||
            (a->offset_bytes < b->offset_bytes + b->size_bytes && b->offset_bytes < a->offset_bytes + a->size_bytes))
            return true;
    }
    return s->base && s->base != f->base;
}

static void read_mapping(const struct model *m, struct find *f, unsigned *mask)
{
    static const struct {
        uint64_t netid;
        unsigned mask;
    } ways[] = { { WIRE_NETID_PORT0, 1 }, { WIRE_NETID_PORT1, 2 }, { WIRE_NETID_BOTH, 3 } };
    uint64_t value = model_adapter(m, f->compute_adapter)->sections[f->buffer->section].seen_value;
    f->mapped = false;
    *mask = 1;
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++)
        if (value == wire_section_value(f->base, f->buffer->section, ways[i].netid)) {
            f->mapped = true;
            *mask = ways[i].mask;
        }
}

/* Whether the label of an unowned buffer is complete and fits the model; '*mask': the ports that the section uses. */
static bool examine(const struct model *m, uint32_t donor, const struct unowned *u, struct find *f, unsigned *mask)
{
    memset(f, 0, sizeof *f);
    if (!is_kind(u, "buffer") || !id_valid(u->id) || model_find_attachment(m, u->id) != NONE)
        return false;
    f->donor = donor;
    f->buffer = u;
    f->base = u->effective_addr - u->offset_bytes;
    f->compute_node = model_find_node(m, u->compute_node);
    f->memory_adapter = model_find_adapter(m, donor, u->adapter);
    f->compute_adapter = f->compute_node == NONE ? NONE : model_find_adapter(m, f->compute_node, u->compute_adapter);
    const struct adapter *ca = model_adapter(m, f->compute_adapter), *ma = model_adapter(m, f->memory_adapter);
    if (!ca || !ma || ca->role != WIRE_COMPUTE || ma->role != WIRE_MEMORY || f->compute_node == donor || !ca->ok ||
        !ma->ok || u->section >= ca->n_sections || !u->size_bytes || u->size_bytes > SECTION_BYTES ||
        u->offset_bytes > SECTION_BYTES - u->size_bytes || (f->base & 0x3f) || range_taken(m, f))
        return false;
    const struct node *n = model_node(m, f->compute_node);
    for (unsigned i = 0; i < n->n_unowned; i++) {
        const struct unowned *s = &n->unowned[i];
        if (!is_kind(s, "segment") || (strcmp(s->id, u->id) != 0 && !overlaps(u, s)))
            continue;
        if (f->segment || !same_place(u, s))
            return false; /* blocks whose label was lost may be these: in use, and nobody can tell whose */
        f->segment = s;
    }
    read_mapping(m, f, mask);
    return true;
}

/* ---- making it an attachment --------------------------------------------------------------------------------------
 */
static int reserve(struct model *m, const struct find *f, bool only_undone, uint32_t *at, struct err *e)
{
    struct reservation r = { .id = f->buffer->id,
                             .compute_node = f->compute_node,
                             .donor = f->donor,
                             .compute_adapter = f->compute_adapter,
                             .memory_adapter = f->memory_adapter,
                             .size_bytes = f->buffer->size_bytes,
                             .requested_bytes = f->buffer->size_bytes,
                             .channels = f->channels,
                             .section = f->buffer->section,
                             .offset_bytes = f->buffer->offset_bytes,
                             .only_undone = only_undone };
    memcpy(r.legs, f->legs, sizeof r.legs);
    r.cost_ns = f->legs[0].cost_ns;
    if (f->channels == 2 && f->legs[1].cost_ns > r.cost_ns)
        r.cost_ns = f->legs[1].cost_ns;
    if (model_reserve(m, &r, at, e) < 0)
        return -1;
    struct attachment *a = model_edit_attachment(m, *at);
    a->step = STEP_ONLINE;
    a->revision = m->revision;
    a->buffer_seen = true;
    a->now_buffer = true;
    a->now_effective_addr = a->effective_addr = f->buffer->effective_addr;
    memcpy(a->lender_id, f->buffer->lender_id, sizeof a->lender_id);
    memcpy(a->now_lender_id, a->lender_id, sizeof a->now_lender_id);
    memcpy(a->donor_boot, model_node(m, f->donor)->boot_id, sizeof a->donor_boot);
    memcpy(a->compute_boot, model_node(m, f->compute_node)->boot_id, sizeof a->compute_boot);
    a->progress_ms = m->now_ms;
    uint64_t block_bytes = model_node(m, f->compute_node)->block_bytes;
    a->blocks_total = block_bytes ? (unsigned)(a->size_bytes / block_bytes) : 0;
    struct section *s = &model_edit_adapter(m, f->compute_adapter)->sections[a->section];
    s->used = true;
    s->base = f->base;
    s->park_revision = 0;
    return 0;
}

/* Memory is in use over it: it is open, whatever was on its way when the backup was made. */
static void adopt_circuit(struct model *m, uint32_t at, bool touched)
{
    struct circuit *c = model_edit_circuit(m, model_attachment(m, at)->circuit);
    if (c->phase == PHASE_CHANNELS)
        return;
    char object[ID_SIZE + 12];
    const char *from = model_circuit_state(c);
    enum circuit_state state = touched ? CIRCUIT_UP : CIRCUIT_UNVERIFIED;
    c->phase = PHASE_CHANNELS;
    c->revision = m->revision;
    c->verified = touched;
    snprintf(object, sizeof object, "circuit/%s", c->id);
    if (c->state != state)
        model_emit(m, "circuit.state", object, from, circuit_state_names[state], "adopted");
    c->state = state;
}

/* Both halves, the register between them and the path: as it was. */
static bool adopt_live(struct model *m, const struct find *f)
{
    uint32_t at;
    struct err e;
    if (reserve(m, f, false, &at, &e) < 0)
        return false;
    struct attachment *a = model_edit_attachment(m, at);
    a->segment_seen = a->now_segment = true;
    a->now_movable = f->segment->movable;
    a->now_touched = f->segment->touched;
    a->blocks_online = f->segment->blocks_online;
    a->numa_node = f->segment->numa_node;
    adopt_circuit(m, at, f->segment->touched);
    a = model_edit_attachment(m, at);
    snprintf(a->reason, sizeof a->reason, "adopted after a restore");
    a->state = ATT_ATTACHED;
    model_emit_attachment(m, a, "", attachment_state_names[ATT_ATTACHED], a->reason);
    return true;
}

/* Of nobody: given back by the normal undo, which waits for the compute node's word that no block of it is online and
 * that the section is parked; only then the donor lets go.  Over a section that still leads there it begins at the top;
 * else no block can be in use over it.  The end of the circuit resets the channels and parts the joins, where they are
 * still its own. */
static bool adopt_orphan(struct model *m, const struct find *f)
{
    uint32_t at;
    struct err e;
    if (reserve(m, f, true, &at, &e) < 0)
        return false;
    if (f->mapped || f->joined)
        adopt_circuit(m, at, false);
    struct attachment *a = model_edit_attachment(m, at);
    a->goal = GOAL_ABSENT;
    a->ending = ATT_DETACHED;
    a->undoing = f->mapped ? STEP_ONLINE + 1 : STEP_CONNECT;
    if (a->undoing == STEP_CONNECT) {
        a->compute_gone = true;
        a->tombstone_revision = m->revision;
        if (!lifecycle_section_kept(m, at))
            model_edit_adapter(m, a->compute_adapter)->sections[a->section].park_revision = m->revision;
    }
    snprintf(a->reason, sizeof a->reason, "collected: nobody owned it");
    a->state = ATT_DETACHING;
    model_emit_attachment(m, a, "", attachment_state_names[ATT_DETACHING], a->reason);
    lifecycle_wake(m, f->donor);
    lifecycle_wake(m, f->compute_node);
    model_mark_due(m, a->circuit);
    return true;
}

/* ---- after a restore ----------------------------------------------------------------------------------------------
 */
static bool reports(const struct model *m, const struct node *n)
{
    return n->session[0] && n->reported && m->now_ms - n->last_seen_ms < lifecycle_scaled(m, SILENT_MS);
}

static bool named(const char *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

static int check_reports(const struct model *m, const char *const *without, size_t n_without, struct err *e)
{
    for (size_t i = 0; i < n_without; i++)
        if (model_find_node(m, without[i]) == NONE)
            return err_set(e, ERR_BODY_NODE_UNKNOWN, "no node %.63s", without[i]);
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        if (n && n->state != NODE_FENCED && !reports(m, n) && !named(without, n_without, n->name))
            return err_set(e, ERR_CONFLICT, "node %s has not reported yet; what it holds is not known", n->name);
    }
    return 0;
}

/* A node that booted since: what it held in that boot is lost. */
static void notice_boots(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i))
            lifecycle_compare_boots(m, i);
}

/* Neither side holds anything of it: it ended after the backup was made. */
static bool is_over(const struct model *m, const struct attachment *a)
{
    const struct node *c = model_node(m, a->compute_node), *d = model_node(m, a->donor);
    return reports(m, c) && reports(m, d) && model_adapter(m, a->memory_adapter)->ok &&
           model_adapter(m, a->compute_adapter)->ok && !a->now_buffer && !a->blocks_online;
}

static unsigned end_old(struct model *m)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a || !is_over(m, a))
            continue;
        struct attachment *x = model_edit_attachment(m, i);
        lifecycle_set_reason(x, "neither side holds it: it ended after the backup was made");
        x->released = true;
        lifecycle_set_state(m, x, ATT_DETACHED);
        model_release(m, i);
        n++;
    }
    return n;
}

/* Takes up what the donor reports of an attachment whose buffer the backup did not know yet. */
static bool take_up_buffer(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct section *s = &model_adapter(m, a->compute_adapter)->sections[a->section];
    uint64_t base = a->now_effective_addr - a->offset_bytes;
    if (a->buffer_seen)
        return s->base != 0;
    if (!a->now_buffer || (base & 0x3f) || (s->base && s->base != base))
        return false;
    model_edit_adapter(m, a->compute_adapter)->sections[a->section].base = base;
    struct attachment *x = model_edit_attachment(m, at);
    x->buffer_seen = true;
    x->effective_addr = x->now_effective_addr;
    memcpy(x->lender_id, x->now_lender_id, sizeof x->lender_id);
    memcpy(x->donor_boot, model_node(m, x->donor)->boot_id, sizeof x->donor_boot);
    return true;
}

/* Where the section leads, by the backup or by its register; false: nowhere. */
static bool take_up_base(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    const struct section *s = &ca->sections[a->section];
    if (s->base)
        return true;
    if (!model_section_leads(ca, a->section))
        return false;
    model_edit_adapter(m, a->compute_adapter)->sections[a->section].base = wire_section_base(s->seen_value, a->section);
    return true;
}

/* Whatever was published after the backup was made is undone, as if all of it had been: with the word of both sides. */
static void take_back(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    lifecycle_fail(m, at, "half made when the backup was restored");
    struct attachment *x = model_edit_attachment(m, at);
    if (a->step < STEP_ONLINE)
        memcpy(x->compute_boot, model_node(m, x->compute_node)->boot_id, sizeof x->compute_boot);
    x->step = STEP_ONLINE;
    x->tombstone_revision = m->revision;
    x->compute_gone = true; /* to be said once more before the buffer goes */
    model_edit_adapter(m, x->compute_adapter)->sections[x->section].used = true;
    lifecycle_park(m, at);
}

/* All of it may be there, and in use. */
static void raise_to_online(struct model *m, uint32_t at)
{
    struct attachment *x = model_edit_attachment(m, at);
    if (x->step < STEP_ONLINE)
        memcpy(x->compute_boot, model_node(m, x->compute_node)->boot_id, sizeof x->compute_boot);
    x->step = STEP_ONLINE;
    x->revision = m->revision;
    x->tombstone_revision = 0;
    struct section *s = &model_edit_adapter(m, x->compute_adapter)->sections[x->section];
    s->used = true;
    s->park_revision = 0;
    adopt_circuit(m, at, false);
}

static bool is_half_made(const struct attachment *a)
{
    return a && a->goal == GOAL_PRESENT && a->state == ATT_PENDING;
}

static bool may_be_in_use(const struct model *m, const struct attachment *a)
{
    return a->blocks_online || !reports(m, model_node(m, a->compute_node));
}

/* Half made in the backup, and memory that somebody may be using: whoever of it is lost, a donor that rebooted or holds
 * no buffer of it, is lost under live memory.  Before that is looked at. */
static void raise_used(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!is_half_made(a) || !may_be_in_use(m, a) || !(take_up_buffer(m, i) || take_up_base(m, i)))
            continue;
        raise_to_online(m, i);
        /* Which boot of the donor lent it, the lender has to say (learn_buffer()). */
        model_edit_attachment(m, i)->buffer_seen = true;
    }
}

/* The backup knows it half made; what is observed decides.  Whole it is attached; what has blocks online is undone from
 * the top, what has none from there.  Where the compute node is silent, all of it may be in use: it is taken for
 * attached, so that nothing more is made and nothing taken away, until the node says what there is. */
static void settle_pending(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    bool silent = !reports(m, model_node(m, a->compute_node));
    if (!is_half_made(a))
        return;
    if (!may_be_in_use(m, a) || !take_up_buffer(m, at)) {
        take_back(m, at);
        return;
    }
    struct attachment *x = model_edit_attachment(m, at);
    if (silent) {
        x->segment_seen = true;
        lifecycle_set_reason(x, "the compute node was silent when the backup was restored");
        lifecycle_set_state(m, x, ATT_ATTACHED);
    } else if (x->blocks_online != x->blocks_total && !x->segment_seen) {
        lifecycle_fail(m, at, "half made when the backup was restored");
    }
}

static void settle(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        if (model_attachment(m, i))
            settle_pending(m, i);
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i))
            circuit_restored(m, i);
}

/* A detach that the backup knows and that was given up later: all of it is there, so it stays. */
static void keep_whole(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        struct err e;
        if (a && a->goal == GOAL_ABSENT && a->now_buffer && a->blocks_online && a->blocks_online == a->blocks_total &&
            lifecycle_cancel(m, i, &e) < 0)
            continue; /* past the point of no return in the backup already: its undo goes on */
    }
}

/* An order to take memory offline that the backup knows as published: its way may have died since, and what nodes said
 * of that is forgotten with their sessions.  It is published anew when they say that all is well. */
static void withdraw_offline(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (a && a->goal == GOAL_ABSENT && a->undoing == STEP_ONLINE)
            lifecycle_unpublish_offline(m, i);
    }
}

static void adopt_found(struct model *m, struct adoption *out)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        for (unsigned k = 0; model_node(m, i) && k < model_node(m, i)->n_unowned; k++) {
            struct find f;
            unsigned mask;
            bool whole = examine(m, i, &model_node(m, i)->unowned[k], &f, &mask) && f.segment && f.mapped &&
                         f.segment->blocks_online && f.segment->blocks_online == f.segment->blocks_total &&
                         find_legs(m, &f, mask, false);
            if (whole && adopt_live(m, &f))
                out->n_adopted++;
            else
                out->n_kept++;
        }
    }
    /* an adopted one was a buffer and a segment: the segment was counted as kept */
    out->n_kept -= out->n_adopted < out->n_kept ? out->n_adopted : out->n_kept;
}

static void start_sessions_anew(struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        if (!model_node(m, i))
            continue;
        struct node *n = model_edit_node(m, i);
        n->session[0] = '\0';
        n->reported = false;
        n->desired_revision = m->revision;
    }
}

int adopt_all(struct model *m, const char *const *without, size_t n_without, struct adoption *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (check_reports(m, without, n_without, e) < 0)
        return -1;
    if (!m->recovering) { /* the database is the right one: what it knows is left alone */
        adopt_found(m, out);
        return 0;
    }
    m->recovering = false;
    raise_used(m);
    notice_boots(m);
    out->n_ended = end_old(m);
    settle(m);
    keep_whole(m);
    withdraw_offline(m);
    adopt_found(m, out);
    start_sessions_anew(m);
    return 0;
}

/* ---- collection ---------------------------------------------------------------------------------------------------
 */
/* What the switches at the compute adapter's cables join is known. */
static bool ways_known(const struct model *m, uint32_t adapter)
{
    const struct adapter *a = model_adapter(m, adapter);
    for (unsigned i = 0; i < a->n_ports; i++) {
        const struct port *peer = model_port(m, model_port_peer(m, a->ports[i]));
        const struct sw *s = peer ? model_switch(m, peer->sw) : NULL;
        if (s && !s->seen && !s->fenced)
            return false;
    }
    return true;
}

/* The legs that a buffer was reached over which no section leads to any more: joined as they were, and used by nothing
 * else, so that they go with it. */
static bool find_quiet_legs(const struct model *m, struct find *f)
{
    static const unsigned masks[] = { 3, 1, 2 };
    const struct node *n = model_node(m, f->compute_node);
    if (f->mapped || model_find_pair_circuit(m, f->compute_adapter, f->memory_adapter) != NONE)
        return false;
    for (unsigned i = 0; i < n->n_unowned; i++)
        if (is_kind(&n->unowned[i], "segment") &&
            !strcmp(n->unowned[i].adapter, model_adapter(m, f->compute_adapter)->name))
            return false;
    for (unsigned i = 0; i < ARRAY_LEN(masks); i++)
        if (find_legs(m, f, masks[i], false) && circuit_ports_quiet(m, f->compute_adapter, masks[i]))
            return true;
    return false;
}

/* The section leads out of these ports, and behind them the switch joins nothing: what the register says is over, and
 * no block of the section is online.  It is parked as one that leads elsewhere. */
static bool leads_nowhere(const struct model *m, const struct find *f, unsigned mask)
{
    const struct node *n = model_node(m, f->compute_node);
    const struct adapter *ca = model_adapter(m, f->compute_adapter);
    for (unsigned i = 0; i < n->n_unowned; i++)
        if (is_kind(&n->unowned[i], "segment") && !strcmp(n->unowned[i].adapter, ca->name) &&
            n->unowned[i].section == f->buffer->section)
            return false;
    for (unsigned p = 0; p < ca->n_ports; p++) {
        const struct port *peer = model_port(m, model_port_peer(m, ca->ports[p]));
        const struct sw *s = peer ? model_switch(m, peer->sw) : NULL;
        if (mask & 1u << p &&
            (!s || !s->seen || !lifecycle_fresh(m, model_find_node(m, s->managed_by), 0) || peer->seen_peer != NONE))
            return false;
    }
    return f->mapped;
}

void adopt_collect(struct model *m)
{
    adopt_park_idle(m, lifecycle_scaled(m, GRACE_MS));
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        for (unsigned k = 0; n && k < n->n_unowned; k++) {
            const struct unowned *u = &n->unowned[k];
            struct find f;
            unsigned mask;
            if (m->now_ms - u->since_ms < lifecycle_scaled(m, GRACE_MS) || !lifecycle_fresh(m, i, 0) ||
                !examine(m, i, u, &f, &mask) || f.segment || !lifecycle_fresh(m, f.compute_node, 0) ||
                !ways_known(m, f.compute_adapter))
                continue; /* memory that somebody may be using is kept and shown: an operator adopts it */
            if (leads_nowhere(m, &f, mask))
                f.mapped = false;
            f.joined = find_quiet_legs(m, &f);
            if ((f.joined || find_legs(m, &f, mask, !f.mapped)) && adopt_orphan(m, &f))
                break; /* the list is as the agent reported it: the next one at the next tick */
        }
    }
}
