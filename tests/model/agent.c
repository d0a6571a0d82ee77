/* agent.c - the simulated agents: the order of their work is the real one's (agent/converge.c), their care is not: what
 * they are told they do, and the world judges it. */
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the orchestrator was told is dead -----------------------------------------------------------------------
 */
static void hear_nothing(struct lab *r, unsigned node)
{
    memset(r->heard.dead[node], 0, sizeof r->heard.dead[node]);
    if (node == MANAGER)
        memset(r->heard.dark, 0, sizeof r->heard.dark);
}

static void hear(struct lab *r, unsigned node, const struct wire_observed *o)
{
    for (size_t i = 0; i < o->n_adapters; i++)
        r->heard.dead[node][o->adapters[i].name[3] - '0'] = !o->adapters[i].ok;
    for (size_t i = 0; i < o->n_signals; i++)
        r->heard.dark[o->signals[i].port] = o->signals[i].signal == WIRE_SIGNAL_DOWN;
}

/* Memory is neither brought online nor taken offline over a way that was told to be dead: the order would be a machine
 * check. */
static void check_order(struct lab *r, unsigned node, const struct wire_want_segment *w)
{
    const struct machine *m = &r->world.machines[node];
    const struct segment *s = world_segment(&r->world, node, w->id);
    unsigned online = s ? world_blocks_online(&r->world, node, s) : 0;
    if (w->want == WIRE_ABSENT ? !online : w->want != WIRE_CREATE || online == w->size_bytes / BLOCK)
        return;
    uint64_t value = m->registers[w->section];
    if (!value || wire_section_is_parked(value, w->section))
        return; /* it looks at its own end first */
    unsigned ports = world_ports_of(value), donor = s && online ? s->donor : NODES;
    bool dark = false, reads = !strcmp(r->book.node_told[MANAGER], "ready");
    for (unsigned port = 0; port < 2; port++) {
        unsigned near = node * 4 + port + 1, far = r->world.joins[near];
        if (!(ports & 1u << port))
            continue;
        dark |= reads && (r->heard.dark[near] || r->heard.dark[far]);
        if (donor == NODES && far)
            donor = (far - 1) / 4;
    }
    if (dark || r->heard.dead[node][0] || (donor < NODES && r->heard.dead[donor][1]))
        world_fail("n%u is told to %s %s, and that %s was told before", node + 1,
                   w->want == WIRE_ABSENT ? "take offline" : "bring online", w->id,
                   dark ? "a cable is dead" : "an adapter does not answer");
}

void agent_register(struct lab *r, unsigned node)
{
    struct agent *a = &r->agents[node];
    struct wire_registration reg = { .protocol_min = 1, .protocol_max = 1, .block_bytes = BLOCK };
    struct err e = { 0 };
    char session[ID_SIZE];
    uint32_t out;
    if (!a->alive || !r->world.machines[node].power)
        return;
    snprintf(reg.name, sizeof reg.name, node == MANAGER ? "mgmt" : "n%u", node + 1);
    snprintf(reg.machine_id, sizeof reg.machine_id, "machine-%u", node);
    snprintf(reg.boot_id, sizeof reg.boot_id, "boot-%u-%u", node, r->world.machines[node].boot);
    reg.memory_bytes = reg.free_bytes = UINT64_C(64) << 30;
    if (node == MANAGER) {
        reg.n_switches = 1;
        snprintf(reg.switches[0], NAME_SIZE, "ocs1");
    } else {
        reg.n_adapters = 2;
        reg.adapters[0] = (struct wire_adapter){ .name = "afu0",
                                                 .role = WIRE_COMPUTE,
                                                 .ports = 2,
                                                 .window_addr = UINT64_C(1) << 49,
                                                 .window_bytes = SECTIONS * SECTION_BYTES };
        reg.adapters[1] = (struct wire_adapter){ .name = "afu1", .role = WIRE_MEMORY, .ports = 2 };
    }
    snprintf(session, sizeof session, "s%u-%u", node, ++a->sessions);
    bool is_new = lab_row(r, node) == NONE;
    lab_begin(r);
    if (observed_register(r->m, &reg, session, &out, &e) < 0) {
        model_rollback(r->m);
    } else {
        a->registered = true;
        a->sequence = 0;
        hear_nothing(r, node);
        memcpy(a->session, session, sizeof session);
    }
    lab_commit(r);
    if (is_new && a->registered && r->n_cabled == NODES)
        lab_cable(r); /* it was forgotten, and is there again */
}

void agent_fetch(struct lab *r, unsigned node)
{
    struct agent *a = &r->agents[node];
    struct err e;
    if (!a->alive || !a->registered || a->hang || lab_row(r, node) == NONE || r->m->recovering)
        return;
    if (a->has_orders)
        wire_desired_done(&a->orders);
    a->has_orders = desired_build(r->m, lab_row(r, node), &a->orders, &e) == 0;
    for (size_t i = 0; a->has_orders && i < a->orders.n_segments; i++)
        check_order(r, node, &a->orders.segments[i]);
    a->orders.epoch = r->m->epoch;
    a->orders.revision = store_revision(r->store);
}

void agent_kill(struct lab *r, unsigned node)
{
    struct agent *a = &r->agents[node];
    struct machine *m = &r->world.machines[node];
    if (a->has_orders)
        wire_desired_done(&a->orders);
    a->alive = a->registered = a->has_orders = a->hang = false;
    a->epoch = a->revision = 0;
    a->n_failed = 0;
    for (size_t i = m->n_segments; i-- > 0;) { /* a label without blocks is dropped; the rest is read anew */
        m->segments[i].quiesced = false;
        m->segments[i].failed = 0;
        if (!world_blocks_online(&r->world, node, &m->segments[i]))
            m->segments[i] = m->segments[--m->n_segments];
    }
}

/* ---- orders -------------------------------------------------------------------------------------------------------
 */
static struct failed_lend *find_failed(struct agent *a, const char *id)
{
    for (size_t i = 0; i < a->n_failed; i++)
        if (!strcmp(a->failed[i].id, id))
            return &a->failed[i];
    return NULL;
}

/* An old backup may know memory of the section that is gone: it is in quarantine, and the section stays mapped for it
 * (rule 5).  The real lender keeps its zero page behind all that it released. */
static bool kept_for_quarantine(const struct lab *r, const struct wire_want_buffer *w)
{
    const struct node *n = model_node(r->m, model_find_node(r->m, w->compute_node));
    for (uint32_t i = r->restored && n ? n->first_borrow : NONE; i != NONE; i = model_attachment(r->m, i)->borrow_next)
        if (model_attachment(r->m, i)->quarantined && model_attachment(r->m, i)->section == w->section)
            return true;
    return false;
}

static void do_buffer(struct lab *r, unsigned node, const struct wire_want_buffer *w)
{
    struct agent *a = &r->agents[node];
    struct failed_lend *f = find_failed(a, w->id);
    bool release = w->want == WIRE_ABSENT, fails = release ? a->fail_release : a->fail_lend;
    if (w->want == WIRE_KEEP || (f && f->release == release && f->attempt >= w->attempt))
        return;
    if (f)
        *f = a->failed[--a->n_failed];
    if (!fails && release)
        world_release(&r->world, node, w->id, kept_for_quarantine(r, w));
    else if (!fails)
        fails = !world_lend(&r->world, node, w, lab_node(w->compute_node));
    if (!fails || a->n_failed == OBJECTS)
        return;
    f = &a->failed[a->n_failed++];
    f->attempt = w->attempt;
    f->release = release;
    memcpy(f->id, w->id, sizeof f->id);
}

static void do_segment(struct lab *r, unsigned node, const struct wire_want_segment *w)
{
    struct agent *a = &r->agents[node];
    bool known = world_segment(&r->world, node, w->id) != NULL;
    if (!known && (w->want == WIRE_KEEP || r->restored) && world_range_used(&r->world, node, w))
        return; /* the real agent refuses to give a range two names */
    struct segment *s = world_label(&r->world, node, w);
    unsigned total = (unsigned)(w->size_bytes / BLOCK), online = world_blocks_online(&r->world, node, s);
    bool absent = w->want == WIRE_ABSENT;
    if (s->failed && (w->want == WIRE_KEEP || s->failed_absent != absent))
        s->failed = 0; /* the failure of another order */
    if (w->want == WIRE_KEEP || s->failed > w->attempt)
        return;
    bool dead = r->world.machines[node].adapter_error[0]; /* it looks at its own end first, both times */
    if (absent && online && dead) {
        s->failed = w->attempt + 1;
        s->failed_absent = true;
    } else if (!absent && online < total) {
        if (a->fail_online || dead) {
            s->failed = w->attempt + 1;
            s->failed_absent = false;
        }
        if (!dead)
            world_online(&r->world, node, s, a->fail_online ? total / 2 : total);
    } else if (absent && (online || !s->quiesced)) {
        world_offline(&r->world, node, s, a->refuse_offline && online ? 1 : 0);
        s = world_segment(&r->world, node, w->id); /* the machine may have died of it */
        if (!s)
            return;
        s->quiesced = !world_blocks_online(&r->world, node, s);
        s->failed = s->quiesced ? 0 : w->attempt + 1;
        s->failed_absent = true;
    }
}

static bool more(struct lab *r, unsigned node, unsigned *limit)
{
    if (*limit == 0 || !r->world.machines[node].power)
        return false;
    (*limit)--;
    return true;
}

static void do_joins(struct lab *r, unsigned node, bool connected, unsigned *limit)
{
    const struct wire_desired *d = &r->agents[node].orders;
    for (size_t i = 0; i < d->n_crossconnects; i++)
        if (d->crossconnects[i].connected == connected && more(r, node, limit))
            world_join(&r->world, d->crossconnects[i].port_a, d->crossconnects[i].port_b, connected);
}

/* The real agent changes no section that has blocks online, whatever it is told, and resets no channel that a section
 * uses.  Here it does as it is told, so that wrong orders are found out; but not after an old backup, whose orders may
 * be. */
static bool cautious(const struct lab *r, unsigned node, unsigned section)
{
    bool online = false;
    for (unsigned b = 0; section < SECTIONS && b < SECTION_BLOCKS; b++)
        online |= r->world.machines[node].online[section][b];
    return r->restored && online;
}

static bool leads_out(const struct lab *r, unsigned node, unsigned port)
{
    for (unsigned s = 0; r->restored && s < WIRE_SECTIONS; s++) {
        uint64_t value = r->world.machines[node].registers[s], netid = value & 3;
        unsigned ports = netid == WIRE_NETID_BOTH ? 3 : netid == WIRE_NETID_PORT0 ? 1 : 2;
        if (value && !wire_section_is_parked(value, s) && ports & 1u << port)
            return true;
    }
    return false;
}

static void do_channels(struct lab *r, unsigned node, bool up, unsigned *limit)
{
    const struct wire_desired *d = &r->agents[node].orders;
    for (size_t i = 0; i < d->n_channels; i++)
        if (d->channels[i].up == up &&
            !r->world.machines[node].adapter_error[!strcmp(d->channels[i].adapter, "afu1")] &&
            (up || strcmp(d->channels[i].adapter, "afu0") != 0 || !leads_out(r, node, d->channels[i].port)) &&
            more(r, node, limit))
            world_set_channel(&r->world, node, !strcmp(d->channels[i].adapter, "afu1"), d->channels[i].port, up);
}

static void do_sections(struct lab *r, unsigned node, bool parked, unsigned *limit)
{
    const struct wire_desired *d = &r->agents[node].orders;
    for (size_t i = 0; i < d->n_sections; i++)
        if (d->sections[i].parked == parked && !cautious(r, node, d->sections[i].section) &&
            !r->world.machines[node].adapter_error[0] && more(r, node, limit))
            world_set_register(&r->world, node, d->sections[i].section, d->sections[i].value);
}

static void do_buffers(struct lab *r, unsigned node, enum wire_want want, unsigned *limit)
{
    const struct wire_desired *d = &r->agents[node].orders;
    for (size_t i = 0; i < d->n_buffers; i++)
        if (d->buffers[i].want == want && !r->world.machines[node].adapter_error[1] && more(r, node, limit))
            do_buffer(r, node, &d->buffers[i]);
}

static void do_segments(struct lab *r, unsigned node, enum wire_want want, unsigned *limit)
{
    const struct wire_desired *d = &r->agents[node].orders;
    for (size_t i = 0; i < d->n_segments; i++)
        if (d->segments[i].want == want && more(r, node, limit))
            do_segment(r, node, &d->segments[i]);
}

/* A label that nobody names any more, and without blocks, is dropped. */
static void drop_idle(struct lab *r, unsigned node)
{
    struct machine *m = &r->world.machines[node];
    const struct wire_desired *d = &r->agents[node].orders;
    for (size_t i = m->n_segments; i-- > 0;) {
        bool named = world_blocks_online(&r->world, node, &m->segments[i]) > 0;
        for (size_t k = 0; k < d->n_segments; k++)
            named |= !strcmp(d->segments[k].id, m->segments[i].id);
        if (!named)
            m->segments[i] = m->segments[--m->n_segments];
    }
}

void agent_act(struct lab *r, unsigned node, unsigned limit)
{
    struct agent *a = &r->agents[node];
    if (!a->alive || !a->has_orders || a->hang || !r->world.machines[node].power)
        return;
    do_segments(r, node, WIRE_KEEP, &limit);
    do_segments(r, node, WIRE_ABSENT, &limit);
    do_sections(r, node, true, &limit);
    do_channels(r, node, false, &limit);
    do_joins(r, node, false, &limit);
    do_buffers(r, node, WIRE_ABSENT, &limit);
    do_buffers(r, node, WIRE_CREATE, &limit);
    do_joins(r, node, true, &limit);
    do_channels(r, node, true, &limit);
    do_sections(r, node, false, &limit);
    do_segments(r, node, WIRE_CREATE, &limit);
    if (limit == 0 || !r->world.machines[node].power)
        return; /* cut off: these orders are not carried out */
    drop_idle(r, node);
    a->epoch = a->orders.epoch;
    a->revision = a->orders.revision;
    wire_desired_done(&a->orders);
    a->has_orders = false;
}

/* ---- reports ------------------------------------------------------------------------------------------------------
 */
static void see_buffers(struct lab *r, unsigned node, struct wire_observed *o)
{
    const struct machine *m = &r->world.machines[node];
    struct agent *a = &r->agents[node];
    o->buffers = calloc(m->n_buffers + a->n_failed + 1, sizeof *o->buffers);
    for (size_t i = 0; i < m->n_buffers; i++) {
        const struct buffer *b = &m->buffers[i];
        struct wire_seen_buffer *x = &o->buffers[o->n_buffers++];
        *x = (struct wire_seen_buffer){ .present = true,
                                        .section = b->section,
                                        .offset_bytes = b->offset_bytes,
                                        .size_bytes = b->size_bytes,
                                        .effective_addr = b->base + b->offset_bytes };
        memcpy(x->id, b->id, sizeof x->id);
        snprintf(x->adapter, sizeof x->adapter, "afu1");
        snprintf(x->compute_node, sizeof x->compute_node, "n%u", b->peer + 1);
        snprintf(x->compute_adapter, sizeof x->compute_adapter, "afu0");
        snprintf(x->lender_id, sizeof x->lender_id, "lender-%u-%u", node, m->lender);
        o->locked_bytes += b->size_bytes;
    }
    for (size_t i = 0; i < a->n_failed; i++) {
        struct wire_seen_buffer *x = NULL;
        for (size_t k = 0; k < m->n_buffers; k++)
            if (!strcmp(m->buffers[k].id, a->failed[i].id))
                x = &o->buffers[k];
        if (!x) {
            x = &o->buffers[o->n_buffers++];
            memcpy(x->id, a->failed[i].id, sizeof x->id);
        }
        x->attempt = a->failed[i].attempt;
        snprintf(x->error, sizeof x->error, "the lender refuses");
    }
}

static void see_segments(struct lab *r, unsigned node, struct wire_observed *o)
{
    const struct machine *m = &r->world.machines[node];
    o->segments = calloc(m->n_segments + 1, sizeof *o->segments);
    for (size_t i = 0; i < m->n_segments; i++) {
        const struct segment *s = &m->segments[i];
        struct wire_seen_segment *x = &o->segments[o->n_segments++];
        unsigned online = world_blocks_online(&r->world, node, s);
        *x = (struct wire_seen_segment){ .section = s->section,
                                         .offset_bytes = s->offset_bytes,
                                         .size_bytes = s->size_bytes,
                                         .blocks_total = (unsigned)(s->size_bytes / BLOCK),
                                         .blocks_online = online,
                                         .movable = s->movable,
                                         .touched = online > 0,
                                         .quiesced = s->quiesced,
                                         .numa_node = 1 };
        memcpy(x->id, s->id, sizeof x->id);
        snprintf(x->adapter, sizeof x->adapter, "afu0");
        if (s->failed) {
            x->attempt = s->failed - 1;
            snprintf(x->error, sizeof x->error, "a block refuses");
        }
    }
}

static void see_adapters(struct lab *r, unsigned node, struct wire_observed *o)
{
    const struct machine *m = &r->world.machines[node];
    o->adapters = calloc(2, sizeof *o->adapters);
    o->n_adapters = node == MANAGER ? 0 : 2;
    for (unsigned k = 0; k < o->n_adapters; k++) {
        struct wire_seen_adapter *x = &o->adapters[k];
        snprintf(x->name, sizeof x->name, "afu%u", k);
        x->ok = !m->adapter_error[k];
        if (!x->ok)
            continue;
        x->channels = x->settled = m->channels[k];
        if (k == 0)
            memcpy(x->sections, m->registers, sizeof x->sections);
        else
            snprintf(x->lender_id, sizeof x->lender_id, "lender-%u-%u", node, m->lender);
    }
}

static void see_switch(struct lab *r, struct wire_observed *o)
{
    o->pairs = calloc(SWITCH_PORTS, sizeof *o->pairs);
    o->signals = calloc(SWITCH_PORTS, sizeof *o->signals);
    for (unsigned p = 1; p <= SWITCH_PORTS; p++) {
        if (r->world.joins[p] > p) {
            struct wire_seen_pair *x = &o->pairs[o->n_pairs++];
            *x = (struct wire_seen_pair){ .port_a = p, .port_b = r->world.joins[p] };
            snprintf(x->name, sizeof x->name, "ocs1");
        }
        struct wire_seen_signal *g = &o->signals[o->n_signals++];
        bool down = r->world.machines[(p - 1) / 4].link_down[(p - 1) % 4];
        *g = (struct wire_seen_signal){ .port = p, .signal = down ? WIRE_SIGNAL_DOWN : WIRE_SIGNAL_UP };
        snprintf(g->name, sizeof g->name, "ocs1");
    }
}

void agent_send(struct lab *r, unsigned node)
{
    struct agent *a = &r->agents[node];
    const struct machine *m = &r->world.machines[node];
    if (!a->alive || !a->registered || !m->power || r->n_letters == IN_FLIGHT)
        return;
    struct letter *l = &r->letters[r->n_letters++];
    *l = (struct letter){ .node = node,
                          .report = { .epoch = a->epoch,
                                      .revision = a->revision,
                                      .sequence = ++a->sequence,
                                      .memory_bytes = UINT64_C(64) << 30,
                                      .switches_ok = true } };
    memcpy(l->report.session, a->session, sizeof a->session);
    snprintf(l->report.boot_id, sizeof l->report.boot_id, "boot-%u-%u", node, m->boot);
    if (node == MANAGER)
        see_switch(r, &l->report);
    if (m->adapter_error[1]) /* its lender cannot be asked */
        l->report.buffers = calloc(1, sizeof *l->report.buffers);
    else
        see_buffers(r, node, &l->report);
    see_segments(r, node, &l->report);
    see_adapters(r, node, &l->report);
    l->report.free_bytes = (UINT64_C(64) << 30) - l->report.locked_bytes;
}

void lab_drop(struct lab *r, size_t at)
{
    if (at >= r->n_letters)
        return;
    wire_observed_done(&r->letters[at].report);
    r->n_letters--;
    memmove(&r->letters[at], &r->letters[at + 1], (r->n_letters - at) * sizeof *r->letters);
}

void lab_deliver(struct lab *r, size_t at, bool keep)
{
    if (at >= r->n_letters)
        return;
    struct letter *l = &r->letters[at];
    struct agent *a = &r->agents[l->node];
    struct err e = { 0 };
    bool changed;
    uint32_t row = lab_row(r, l->node);
    lab_begin(r);
    int rc = row == NONE ? -1 : observed_report(r->m, row, &l->report, &changed, &e);
    if (rc == 0)
        hear(r, l->node, &l->report);
    else
        model_rollback(r->m);
    if (rc < 0 && a->registered && !strcmp(a->session, l->report.session) && l->report.sequence == a->sequence)
        a->registered = false; /* it is told so, and registers again */
    lab_commit(r);
    if (!keep)
        lab_drop(r, at);
}

void agent_round(struct lab *r, unsigned node)
{
    if (!r->agents[node].registered)
        agent_register(r, node);
    agent_fetch(r, node);
    agent_act(r, node, UINT32_MAX);
    if (r->n_letters == IN_FLIGHT)
        lab_drop(r, 0);
    size_t before = r->n_letters;
    agent_send(r, node);
    if (r->n_letters > before)
        lab_deliver(r, r->n_letters - 1, false);
}
