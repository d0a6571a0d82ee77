#include "sim_rack.h"

#include "rackfile.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_FIRST UINT64_C(0x100000000000)
#define SIM_FREE (UINT64_C(64) << 30)

void sim_begin(struct sim *s)
{
    s->m->revision++;
    s->m->epoch = 1;
    s->m->now_ms = ++s->clock_ms;
    s->m->wall_ms = s->clock_ms;
    model_savepoint(s->m);
}

void (*sim_on_commit)(struct model *m);

void sim_commit(struct sim *s)
{
    struct err e = { 0 };
    lifecycle_advance(s->m);
    ck_assert_msg(model_check(s->m, &e) == 0, "%s", e.detail);
    if (sim_on_commit)
        sim_on_commit(s->m);
    model_commit_done(s->m);
}

static struct sim_node *find_node(struct sim *s, const char *name)
{
    for (size_t i = 0; i < s->n_nodes; i++)
        if (!strcmp(s->nodes[i].name, name))
            return &s->nodes[i];
    return NULL;
}

/* A server with two adapters. */
static struct wire_registration registration(const char *name, const char *machine, const char *boot)
{
    struct wire_registration r = { .protocol_min = 1, .protocol_max = 1, .block_bytes = SIM_BLOCK, .n_adapters = 2 };
    snprintf(r.name, sizeof r.name, "%s", name);
    snprintf(r.machine_id, sizeof r.machine_id, "%s", machine);
    snprintf(r.boot_id, sizeof r.boot_id, "%s", boot);
    r.memory_bytes = r.free_bytes = SIM_FREE;
    r.adapters[0] = (struct wire_adapter){ .name = "afu0",
                                           .role = WIRE_COMPUTE,
                                           .ports = 2,
                                           .window_addr = UINT64_C(1) << 49,
                                           .window_bytes = 4 * SECTION_BYTES };
    r.adapters[1] = (struct wire_adapter){ .name = "afu1", .role = WIRE_MEMORY, .ports = 2 };
    return r;
}

/* What was begun is committed, or, if 'rc' says that it was refused, left out of the commit. */
static int finish(struct sim *s, int rc)
{
    if (rc < 0)
        model_rollback(s->m);
    sim_commit(s);
    return rc;
}

static int send_registration(struct sim *s, const struct wire_registration *r, const char *session, struct err *e)
{
    uint32_t out;
    sim_begin(s);
    return finish(s, observed_register(s->m, r, session, &out, e));
}

void sim_register(struct sim *s, size_t at)
{
    struct sim_node *n = &s->nodes[at];
    struct err e = { 0 };
    char machine[ID_SIZE], boot[ID_SIZE], session[ID_SIZE];
    snprintf(machine, sizeof machine, "machine-%.20s", n->name);
    snprintf(boot, sizeof boot, "boot-%u", n->boot);
    struct wire_registration r = registration(n->name, machine, boot);
    if (s->has_switch && at + 1 == s->n_nodes) {
        r.n_adapters = 0;
        snprintf(r.switches[r.n_switches++], NAME_SIZE, "ocs1");
    }
    snprintf(session, sizeof session, "s-%.20s-%u", n->name, ++n->session);
    n->sequence = 0;
    n->revision = 0;
    ck_assert_msg(send_registration(s, &r, session, &e) == 0, "%s", e.detail);
}

int sim_claim(struct sim *s, const char *name, const char *machine, const char *boot, struct err *e)
{
    struct wire_registration r = registration(name, machine, boot);
    return send_registration(s, &r, "claimed", e);
}

int sim_claim_with(struct sim *s, size_t at, const struct wire_adapter *adapters, size_t n, struct err *e)
{
    char machine[ID_SIZE], boot[ID_SIZE];
    snprintf(machine, sizeof machine, "machine-%.20s", s->nodes[at].name);
    snprintf(boot, sizeof boot, "boot-%u", s->nodes[at].boot);
    struct wire_registration r = registration(s->nodes[at].name, machine, boot);
    memcpy(r.adapters, adapters, n * sizeof *adapters);
    r.n_adapters = n;
    return send_registration(s, &r, "claimed", e);
}

int sim_cable(struct sim *s, const char *manager, struct err *e)
{
    struct rack_switch sw = { .name = "ocs1", .ports = 48, .latency_ns = 30 };
    struct rack_link links[SIM_NODES_MAX * 4] = { 0 };
    struct rack r = { .n_switches = 1, .switches = &sw, .links = links };
    snprintf(sw.managed_by, sizeof sw.managed_by, "%s", manager);
    for (size_t i = 0; i + 1 < s->n_nodes; i++)
        for (unsigned p = 0; p < 4; p++) {
            struct rack_link *l = &links[r.n_links++];
            l->a.number = p % 2;
            snprintf(l->a.owner, sizeof l->a.owner, "%s", s->nodes[i].name);
            snprintf(l->a.adapter, sizeof l->a.adapter, "afu%u", p / 2);
            snprintf(l->b.owner, sizeof l->b.owner, "ocs1");
            l->b.number = (unsigned)(i * 4 + p + 1);
            l->latency_ns = 20 + i;
            l->gbps = 100;
        }
    sim_begin(s);
    return finish(s, model_declare(s->m, &r, e));
}

void sim_star(struct sim *s, size_t n_servers)
{
    struct err e = { 0 };
    *s = (struct sim){ .has_switch = true, .n_nodes = n_servers + 1 };
    ck_assert(model_new(&s->m, &e) == 0 && topology_new(&s->t, &e) == 0);
    for (size_t i = 0; i < s->n_nodes; i++) {
        struct sim_node *n = &s->nodes[i];
        if (i < n_servers)
            snprintf(n->name, sizeof n->name, "n%zu", i + 1);
        else
            snprintf(n->name, sizeof n->name, "mgmt");
        n->boot = n->lender = 1;
        n->alive = true;
        n->next_base = ARENA_FIRST;
        sim_register(s, i);
    }
    ck_assert_msg(sim_cable(s, "mgmt", &e) == 0, "%s", e.detail);
    sim_settle(s);
}

void sim_done(struct sim *s)
{
    topology_free(s->t);
    model_free(s->m);
}

/* ---- the hardware of one node, and what it must never be asked ----------------------------------------------------
 */
static void check_buffer_unused(struct sim *s, const struct sim_node *donor, const struct sim_buffer *b)
{
    const struct sim_node *c = find_node(s, b->peer);
    for (size_t i = 0; i < c->n_segments; i++)
        ck_assert_msg(strcmp(c->segments[i].id, b->id) != 0 || c->segments[i].online == 0,
                      "%s releases buffer %s while %s has %u blocks of it online", donor->name, b->id, c->name,
                      c->segments[i].online);
    bool others = false;
    for (size_t i = 0; i < donor->n_buffers; i++) {
        const struct sim_buffer *o = &donor->buffers[i];
        others |= o != b && !strcmp(o->peer, b->peer) && o->section == b->section;
    }
    ck_assert_msg(
        others || wire_section_is_parked(c->registers[b->section], b->section) || c->registers[b->section] == 0 ||
            c->registers[b->section] != (wire_section_value(b->base, b->section, c->registers[b->section] & 0x3f)),
        "%s releases buffer %s while the section of %s still leads to it", donor->name, b->id, c->name);
}

static void act_buffer(struct sim *s, struct sim_node *n, const struct wire_want_buffer *w)
{
    size_t at = 0;
    while (at < n->n_buffers && strcmp(n->buffers[at].id, w->id) != 0)
        at++;
    if (w->want == WIRE_ABSENT && at < n->n_buffers) {
        check_buffer_unused(s, n, &n->buffers[at]);
        n->buffers[at] = n->buffers[--n->n_buffers];
    }
    if (w->want != WIRE_CREATE || at < n->n_buffers || n->fail_lend || n->commits)
        return;
    size_t k = 0;
    while (k < n->n_arenas && (strcmp(n->arenas[k].peer, w->compute_node) != 0 || n->arenas[k].section != w->section))
        k++;
    if (k == n->n_arenas) {
        ck_assert(n->n_arenas < 64);
        snprintf(n->arenas[k].peer, NAME_SIZE, "%s", w->compute_node);
        n->arenas[k].section = w->section;
        n->arenas[k].base = n->next_base;
        n->next_base += SECTION_BYTES;
        n->n_arenas++;
    }
    for (size_t i = 0; i < n->n_buffers; i++) {
        const struct sim_buffer *o = &n->buffers[i];
        ck_assert_msg(o->base != n->arenas[k].base || o->offset_bytes >= w->offset_bytes + w->size_bytes ||
                          w->offset_bytes >= o->offset_bytes + o->size_bytes,
                      "%s is told to lend %s over %s", n->name, w->id, o->id);
    }
    struct sim_buffer *b = &n->buffers[n->n_buffers++];
    *b = (struct sim_buffer){
        .section = w->section, .offset_bytes = w->offset_bytes, .size_bytes = w->size_bytes, .base = n->arenas[k].base
    };
    memcpy(b->id, w->id, sizeof b->id);
    memcpy(b->peer, w->compute_node, sizeof b->peer);
}

static void act_section(struct sim_node *n, const struct wire_want_section *w)
{
    if (n->registers[w->section] == w->value)
        return;
    for (size_t i = 0; i < n->n_segments; i++)
        ck_assert_msg(n->segments[i].section != w->section || n->segments[i].online == 0,
                      "%s is told to change section %u while %s is online", n->name, w->section, n->segments[i].id);
    n->registers[w->section] = w->value;
}

static unsigned netid_channels(uint64_t value)
{
    return (value & 3) == 3 ? 3 : (value & 1) ? 1 : 2;
}

static void act_channel(struct sim_node *n, const struct wire_want_channel *w)
{
    unsigned *bits = &n->channels[!strcmp(w->adapter, "afu1")], bit = 1u << w->port;
    bool compute = bits == &n->channels[0];
    if (w->up) {
        for (unsigned k = 0; compute && !n->channels[0] && k < WIRE_SECTIONS; k++)
            if (!n->registers[k])
                n->registers[k] = wire_section_parked(k);
        *bits |= bit;
        return;
    }
    for (unsigned k = 0; compute && k < WIRE_SECTIONS; k++)
        ck_assert_msg(!n->registers[k] || wire_section_is_parked(n->registers[k], k) ||
                          !(netid_channels(n->registers[k]) & bit),
                      "%s is told to reset channel %u while section %u uses it", n->name, w->port, k);
    *bits &= ~bit;
}

static void act_segment(struct sim_node *n, const struct wire_want_segment *w)
{
    size_t at = 0;
    while (at < n->n_segments && strcmp(n->segments[at].id, w->id) != 0)
        at++;
    if (at == n->n_segments) {
        ck_assert(n->n_segments < SIM_OBJECTS_MAX);
        n->segments[n->n_segments++] = (struct sim_segment){
            .section = w->section, .offset_bytes = w->offset_bytes, .size_bytes = w->size_bytes, .quiesced = true
        };
        memcpy(n->segments[at].id, w->id, sizeof w->id);
    }
    struct sim_segment *g = &n->segments[at];
    unsigned total = (unsigned)(w->size_bytes / SIM_BLOCK);
    if (g->tried_want != w->want)
        g->tried = 0; /* the failure of another order */
    if (g->tried == w->attempt + 1)
        return; /* once per attempt */
    g->tried_want = w->want;
    if (w->want == WIRE_CREATE && g->online < total) {
        if (n->refuse_online || (n->fail_online && g->online >= total / 2)) {
            g->tried = w->attempt + 1;
            return;
        }
        uint64_t r = n->registers[w->section];
        ck_assert_msg(r && !wire_section_is_parked(r, w->section), "%s onlines %s behind a parked section", n->name,
                      w->id);
        g->online = n->fail_online ? total / 2 : n->slow_online ? g->online + 1 : total;
        g->quiesced = false;
        g->tried = n->fail_online ? w->attempt + 1 : 0;
    }
    if (w->want == WIRE_ABSENT && g->online) {
        if (n->refuse_offline) {
            g->online = total > 1 ? total - 1 : total;
            g->tried = w->attempt + 1;
            return;
        }
        g->online = 0;
        g->quiesced = true;
        g->tried = 0;
    }
}

static void forget_gone(struct sim_node *n, const struct wire_desired *d)
{
    for (size_t i = n->n_segments; i-- > 0;) {
        bool named = false;
        for (size_t k = 0; k < d->n_segments; k++)
            named |= !strcmp(d->segments[k].id, n->segments[i].id);
        if (!named) {
            ck_assert_msg(n->segments[i].online == 0, "%s: segment %s is online, and nobody names it", n->name,
                          n->segments[i].id);
            n->segments[i] = n->segments[--n->n_segments];
        }
    }
}

static void act(struct sim *s, struct sim_node *n, const struct wire_desired *d)
{
    forget_gone(n, d);
    for (size_t i = 0; i < d->n_crossconnects; i++) {
        const struct wire_want_crossconnect *w = &d->crossconnects[i];
        if (w->connected) {
            ck_assert_msg((!n->joins[w->port_a] || n->joins[w->port_a] == w->port_b) &&
                              (!n->joins[w->port_b] || n->joins[w->port_b] == w->port_a),
                          "port %u or %u is joined already", w->port_a, w->port_b);
            n->joins[w->port_a] = w->port_b;
            n->joins[w->port_b] = w->port_a;
        } else if (n->joins[w->port_a] == w->port_b) {
            n->joins[w->port_a] = n->joins[w->port_b] = 0;
        }
    }
    for (size_t i = 0; i < d->n_segments; i++)
        if (d->segments[i].want == WIRE_ABSENT)
            act_segment(n, &d->segments[i]);
    for (size_t i = 0; i < d->n_buffers; i++)
        act_buffer(s, n, &d->buffers[i]);
    for (size_t i = 0; i < d->n_sections; i++)
        if (d->sections[i].parked)
            act_section(n, &d->sections[i]);
    for (size_t i = 0; i < d->n_channels; i++)
        act_channel(n, &d->channels[i]);
    for (size_t i = 0; i < d->n_sections; i++)
        if (!d->sections[i].parked)
            act_section(n, &d->sections[i]);
    for (size_t i = 0; i < d->n_segments; i++)
        if (d->segments[i].want != WIRE_ABSENT)
            act_segment(n, &d->segments[i]);
}

/* ---- reports ------------------------------------------------------------------------------------------------------
 */
static void report_objects(struct sim_node *n, const struct wire_desired *d, struct wire_observed *o)
{
    for (size_t i = 0; i < n->n_buffers; i++) {
        struct wire_seen_buffer *b = &o->buffers[o->n_buffers++];
        const struct sim_buffer *x = &n->buffers[i];
        *b = (struct wire_seen_buffer){ .present = true,
                                        .section = x->section,
                                        .offset_bytes = x->offset_bytes,
                                        .size_bytes = x->size_bytes,
                                        .effective_addr = x->base + x->offset_bytes };
        memcpy(b->id, x->id, sizeof b->id);
        snprintf(b->adapter, sizeof b->adapter, "afu1");
        snprintf(b->compute_node, sizeof b->compute_node, "%s", x->peer);
        snprintf(b->compute_adapter, sizeof b->compute_adapter, "afu0");
        snprintf(b->lender_id, sizeof b->lender_id, "l-%.20s-%u", n->name, n->lender);
        o->locked_bytes += x->size_bytes;
    }
    o->locked_bytes += n->commits ? n->committing_bytes : 0;
    for (size_t i = 0; n->fail_lend && i < d->n_buffers; i++)
        if (d->buffers[i].want == WIRE_CREATE) {
            struct wire_seen_buffer *b = &o->buffers[o->n_buffers++];
            *b = (struct wire_seen_buffer){ .attempt = d->buffers[i].attempt, .error = "no memory" };
            memcpy(b->id, d->buffers[i].id, sizeof b->id);
        }
    for (size_t i = 0; i < n->n_segments && !n->names_nothing; i++) {
        const struct sim_segment *x = &n->segments[i];
        struct wire_seen_segment *g = &o->segments[o->n_segments++];
        *g = (struct wire_seen_segment){ .section = x->section,
                                         .offset_bytes = x->offset_bytes,
                                         .size_bytes = x->size_bytes,
                                         .blocks_total = (unsigned)(x->size_bytes / SIM_BLOCK),
                                         .blocks_online = x->online,
                                         .movable = true,
                                         .touched = x->online > 0 && !n->touches_not,
                                         .quiesced = x->quiesced,
                                         .numa_node = 1 };
        memcpy(g->id, x->id, sizeof g->id);
        snprintf(g->adapter, sizeof g->adapter, "afu0");
        if (x->tried) {
            g->attempt = x->tried - 1;
            snprintf(g->error, sizeof g->error, "block refuses");
        }
    }
}

int sim_report(struct sim *s, size_t at, struct wire_observed *o, struct err *e)
{
    struct sim_node *n = &s->nodes[at];
    bool changed;
    snprintf(o->session, sizeof o->session, "s-%.20s-%u", n->name, n->session);
    if (!o->boot_id[0])
        snprintf(o->boot_id, sizeof o->boot_id, "boot-%u", n->boot);
    if (!o->sequence)
        o->sequence = ++n->sequence;
    sim_begin(s);
    return finish(s, observed_report(s->m, model_find_node(s->m, n->name), o, &changed, e));
}

static void send_report(struct sim *s, size_t at, const struct wire_desired *d)
{
    struct sim_node *n = &s->nodes[at];
    struct wire_seen_adapter adapters[2] = { { .name = "afu0", .ok = true }, { .name = "afu1" } };
    adapters[1].ok = !n->memory_error;
    if (n->memory_error)
        snprintf(adapters[1].error, sizeof adapters[1].error, "%s", n->memory_error);
    struct wire_seen_buffer *buffers = calloc(2 * SIM_OBJECTS_MAX, sizeof *buffers);
    struct wire_seen_segment *segments = calloc(SIM_OBJECTS_MAX, sizeof *segments);
    struct wire_seen_pair pairs[64];
    struct wire_seen_signal signals[64];
    struct wire_observed o = { .epoch = 1,
                               .revision = n->revision,
                               .memory_bytes = SIM_FREE,
                               .switches_ok = true,
                               .adapters = adapters,
                               .buffers = buffers,
                               .segments = segments,
                               .pairs = pairs,
                               .signals = signals };
    struct err e = { 0 };
    report_objects(n, d, &o);
    o.free_bytes = SIM_FREE - o.locked_bytes;
    o.locked_bytes -= n->unlocked_bytes;
    for (int k = 0; k < 2; k++) {
        adapters[k].channels = adapters[k].settled = n->channels[k];
        adapters[k].error_capture = n->captured[k];
    }
    memcpy(adapters[0].sections, n->registers, sizeof n->registers);
    snprintf(adapters[1].lender_id, sizeof adapters[1].lender_id, "l-%.20s-%u", n->name, n->lender);
    o.n_adapters = strcmp(n->name, "mgmt") ? 2 : 0;
    for (unsigned p = 1; p < 64; p++)
        if (n->joins[p] > p) {
            pairs[o.n_pairs] = (struct wire_seen_pair){ .port_a = p, .port_b = n->joins[p] };
            snprintf(pairs[o.n_pairs++].name, NAME_SIZE, "ocs1");
        }
    for (unsigned p = 1; n->tells_signals && p <= 4 * (s->n_nodes - 1); p++) {
        signals[o.n_signals] = (struct wire_seen_signal){ .port = p, .signal = WIRE_SIGNAL_UP };
        if (p == n->dark_port)
            signals[o.n_signals].signal = WIRE_SIGNAL_DOWN;
        snprintf(signals[o.n_signals++].name, NAME_SIZE, "ocs1");
    }
    ck_assert_msg(sim_report(s, at, &o, &e) == 0, "%s", e.detail);
    free(buffers);
    free(segments);
}

void sim_agent(struct sim *s, size_t at, bool report)
{
    struct sim_node *n = &s->nodes[at];
    struct wire_desired d = { 0 };
    struct err e = { 0 };
    if (!n->alive)
        return;
    ck_assert(desired_build(s->m, model_find_node(s->m, n->name), &d, &e) == 0);
    if (!n->acts_not)
        act(s, n, &d);
    n->revision = s->m->revision;
    if (report)
        send_report(s, at, &d);
    wire_desired_done(&d);
}

void sim_settle(struct sim *s)
{
    for (int round = 0; round < 16; round++)
        for (size_t i = 0; i < s->n_nodes; i++)
            sim_agent(s, i, true);
}

void sim_power_off(struct sim *s, size_t at)
{
    struct sim_node *n = &s->nodes[at];
    n->alive = false;
    n->n_buffers = n->n_segments = n->n_arenas = 0;
    memset(n->registers, 0, sizeof n->registers);
    memset(n->channels, 0, sizeof n->channels);
}

void sim_reboot(struct sim *s, size_t at)
{
    struct sim_node *n = &s->nodes[at];
    sim_power_off(s, at);
    n->alive = true;
    n->boot++;
    n->lender++;
    n->next_base = ARENA_FIRST + (uint64_t)n->boot * 64 * SECTION_BYTES / 8;
    s->clock_ms += 4000; /* it was silent for so long */
    sim_register(s, at);
}

int sim_fence(struct sim *s, size_t at, const char *boot_id, struct err *e)
{
    sim_begin(s);
    return finish(s, lifecycle_fence(s->m, model_find_node(s->m, s->nodes[at].name), boot_id, e));
}

void sim_kill_lender(struct sim *s, size_t at)
{
    struct sim_node *n = &s->nodes[at];
    n->lender++;
    n->n_buffers = n->n_arenas = 0;
    n->channels[1] = 0;
    (void)s;
}

uint32_t sim_attach(struct sim *s, size_t at, uint64_t size_bytes, const char *donor)
{
    struct place_request r = { .compute_node = model_find_node(s->m, s->nodes[at].name),
                               .requested_bytes = size_bytes,
                               .donor = NONE,
                               .channels = 1 };
    struct err e = { 0 };
    char id[ID_SIZE];
    uint32_t out = NONE;
    if (donor)
        r.donor = model_find_node(s->m, donor);
    snprintf(id, sizeof id, "a%05u", s->next_id++);
    sim_begin(s);
    return finish(s, lifecycle_attach(s->m, s->t, &r, id, &out, &e)) < 0 ? NONE : out;
}

void sim_detach(struct sim *s, uint32_t attachment)
{
    sim_begin(s);
    lifecycle_detach(s->m, attachment);
    sim_commit(s);
}

void sim_pass(struct sim *s, int64_t ms)
{
    s->clock_ms += ms;
    sim_begin(s);
    lifecycle_tick(s->m);
    sim_commit(s);
}

void sim_expect_nothing(struct sim *s)
{
    for (uint32_t i = 0; i < model_count(s->m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(s->m, i);
        ck_assert_msg(!a, "%s is still %s: step %s, undoing %d, quarantined %d, %u blocks online: %s", a ? a->id : "",
                      a ? attachment_state_names[a->state] : "", a ? step_names[a->step] : "", a ? (int)a->undoing : 0,
                      a ? a->quarantined : 0, a ? a->blocks_online : 0, a ? a->reason : "");
    }
    ck_assert_uint_eq(s->m->tables[MODEL_ATTACHMENT].n_live, 0);
    ck_assert_uint_eq(s->m->tables[MODEL_CIRCUIT].n_live, 0);
    for (size_t i = 0; i < s->n_nodes; i++) {
        struct sim_node *n = &s->nodes[i];
        ck_assert_uint_eq(n->n_buffers, 0);
        for (size_t k = 0; k < n->n_segments; k++)
            ck_assert_uint_eq(n->segments[k].online, 0);
        for (unsigned k = 0; k < WIRE_SECTIONS; k++)
            ck_assert(n->registers[k] == 0 || wire_section_is_parked(n->registers[k], k));
        ck_assert_uint_eq(n->channels[0] | n->channels[1], 0);
        for (unsigned p = 0; p < 64; p++)
            ck_assert_uint_eq(n->joins[p], 0);
    }
}
