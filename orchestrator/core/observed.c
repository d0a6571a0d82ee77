/* observed.c - takes registrations and full reports into the model.
 *
 * A report is a snapshot: what an attachment or adapter was last time is forgotten first, then set from what is listed,
 * so that "not listed" and "listed as gone" read the same.  What a missing object means is lifecycle's to say. */
#include "observed.h"

#include "lifecycle_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *node_object(const struct node *n, char buf[NAME_SIZE + 8])
{
    snprintf(buf, NAME_SIZE + 8, "node/%s", n->name);
    return buf;
}

/* ---- registration -------------------------------------------------------------------------------------------------
 */
/* A machine that is another node already: a copy of its disk, or a name that was changed. */
static int check_machine(const struct model *m, const struct wire_registration *r, struct err *e)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        if (n && r->machine_id[0] && !strcmp(n->machine_id, r->machine_id) && strcmp(n->name, r->name) != 0)
            return err_set(e, ERR_IDENTITY_CONFLICT, "the machine id of %s is that of node %s", r->name, n->name);
    }
    return 0;
}

/* A copy of a machine has its name, machine id and credential, but not its boot id.  A boot that another one followed
 * is over for good; and just after our start, when nobody has reported yet, the boot that we know comes first (later on
 * the API asks for silence: route_agents.c). */
#define OTHER_BOOT_SILENT_MS 3000

static int check_identity(const struct model *m, const struct node *n, const struct wire_registration *r, struct err *e)
{
    int64_t silent_ms = m->now_ms - n->last_seen_ms;
    if (n->machine_id[0] && strcmp(n->machine_id, r->machine_id) != 0)
        return err_set(e, ERR_IDENTITY_CONFLICT, "node %s is bound to another machine id", n->name);
    if (n->previous_boot_id[0] && !strcmp(n->previous_boot_id, r->boot_id))
        return err_set(e, ERR_IDENTITY_CONFLICT, "this boot of node %s is over: a later one has registered", n->name);
    if (n->machine_id[0] && !n->session[0] && n->state != NODE_FENCED && strcmp(n->boot_id, r->boot_id) != 0 &&
        silent_ms < lifecycle_scaled(m, OTHER_BOOT_SILENT_MS))
        return err_set(e, ERR_IDENTITY_CONFLICT, "node %s was heard from another boot %lld ms ago", n->name,
                       (long long)silent_ms);
    return model_check_adapters(m, model_find_node(m, n->name), r->adapters, r->n_adapters, e);
}

static void forget_reports(struct model *m, uint32_t node, bool rebooted)
{
    const struct node *n = model_node(m, node);
    for (unsigned i = 0; i < n->n_adapters; i++) {
        struct adapter *a = model_touch_adapter(m, n->adapters[i]);
        a->seen = a->ok = false;
        a->seen_channels = a->seen_settled = 0;
        if (rebooted) /* its lenders are gone with it; else another one than before is a loss */
            memset(a->lender_id, 0, sizeof a->lender_id);
        for (unsigned k = 0; k < WIRE_SECTIONS; k++)
            a->sections[k].seen_value = 0;
    }
}

/* Its switches: which of them it can drive; their joins are to be read back. */
static void forget_switches(struct model *m, uint32_t node, const struct wire_registration *r)
{
    const char *name = model_node(m, node)->name;
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++) {
        const struct sw *s = model_switch(m, i);
        if (!s || strcmp(s->managed_by, name) != 0)
            continue;
        model_touch_switch(m, i)->seen = false;
    }
    model_set_drives(m, node, r->switches, r->n_switches);
}

int observed_check(const struct model *m, const struct wire_registration *r, struct err *e)
{
    const struct node *n = model_node(m, model_find_node(m, r->name));
    if (model_boot_banned(m, r->boot_id))
        return err_set(e, ERR_FORBIDDEN, "this boot of node %s was fenced: reboot it", r->name);
    if (n && check_identity(m, n, r, e) < 0)
        return -1;
    return check_machine(m, r, e);
}

int observed_register(struct model *m, const struct wire_registration *r, const char *session, uint32_t *out,
                      struct err *e)
{
    uint32_t at = model_find_node(m, r->name);
    bool is_new = at == NONE;
    char object[NAME_SIZE + 8];
    if (observed_check(m, r, e) < 0)
        return -1;
    if (is_new && model_add_node(m, r->name, &at, e) < 0)
        return -1;
    bool compatible = r->protocol_min <= WIRE_PROTOCOL_MAX && r->protocol_max >= WIRE_PROTOCOL_MIN;
    bool rebooted = !is_new && strcmp(model_node(m, at)->boot_id, r->boot_id) != 0;
    if (r->block_bytes & (r->block_bytes - 1))
        return err_set(e, ERR_FIELD_INVALID, "block_bytes has to be a power of two, or 0 without memory hot-plug");
    if (model_set_adapters(m, at, r->adapters, r->n_adapters, e) < 0 ||
        (!model_node(m, at)->labels_set && model_set_labels(m, at, r->labels, r->n_labels, e) < 0) ||
        model_set_findings(m, at, r->findings, r->n_findings, e) < 0)
        return -1;
    struct node *n = model_edit_node(m, at);
    bool again = !is_new && !rebooted;
    bool told = again && n->session[0] && !n->reported; /* it only registers: an event says so once */
    if (rebooted)
        memcpy(n->previous_boot_id, n->boot_id, sizeof n->previous_boot_id);
    memcpy(n->machine_id, r->machine_id, sizeof n->machine_id);
    memcpy(n->boot_id, r->boot_id, sizeof n->boot_id);
    memcpy(n->version, r->version, sizeof n->version);
    n->memory_bytes = r->memory_bytes;
    n->free_bytes = r->free_bytes;
    n->locked_bytes = r->locked_bytes;
    n->block_bytes = r->block_bytes;
    snprintf(n->session, sizeof n->session, "%s", session);
    n->sequence = n->applied_revision = 0;
    n->reported = false;
    n->last_heard_ms = m->now_ms;
    if (n->conflict_adapters) { /* it has its own again */
        n->conflict_adapters = false;
        n->conflict[0] = '\0';
    }
    if (!again)
        n->last_seen_ms = m->now_ms; /* else only a report is a heartbeat */
    n->desired_revision = m->revision;
    forget_reports(m, at, rebooted);
    forget_switches(m, at, r);
    if (!told)
        model_emit(m, "node.registered", node_object(model_node(m, at), object), "",
                   is_new     ? "new"
                   : rebooted ? "booted"
                              : "again",
                   "");
    if (!compatible)
        model_set_node_state(m, at, NODE_INCOMPATIBLE, "no common protocol version");
    else if (model_node(m, at)->state == NODE_FENCED || model_node(m, at)->state == NODE_INCOMPATIBLE || rebooted)
        model_set_node_state(m, at, NODE_NEW, "registered");
    if (rebooted && !m->recovering) /* else adopt_all() finds out */
        lifecycle_rebooted(m, at);
    model_mark_node_due(m, at);
    *out = at;
    return 0;
}

/* ---- reports ------------------------------------------------------------------------------------------------------
 */
/* A captured error takes the links at the adapter's ports out of use; whoever clears the register brings them back. */
static void take_error(struct model *m, uint32_t adapter, uint64_t capture)
{
    const struct adapter *a = model_adapter(m, adapter);
    enum link_state before[WIRE_PORTS] = { 0 };
    for (unsigned i = 0; i < a->n_ports; i++) {
        const struct link *l = model_link(m, model_port(m, a->ports[i])->link);
        before[i] = l ? model_link_state(m, l) : LINK_UNKNOWN;
    }
    model_touch_adapter(m, adapter)->error_capture = capture;
    for (unsigned i = 0; i < a->n_ports; i++) {
        uint32_t link = model_port(m, a->ports[i])->link;
        if (link != NONE)
            model_link_changed(m, link, before[i]);
    }
}

static void take_adapter(struct model *m, uint32_t node, const struct wire_seen_adapter *s)
{
    uint32_t at = model_find_adapter(m, node, s->name);
    if (at == NONE)
        return;
    struct adapter *a = model_touch_adapter(m, at);
    a->seen = true;
    a->ok = s->ok;
    memcpy(a->error, s->error, sizeof a->error);
    a->seen_channels = s->channels;
    a->seen_settled = s->settled;
    for (unsigned k = 0; k < WIRE_SECTIONS; k++)
        a->sections[k].seen_value = s->sections[k];
    a->flits_sent = s->flits_sent;
    a->flits_received = s->flits_received;
    a->latency_cycles = s->latency_cycles;
    a->latency_samples = s->latency_samples;
    a->emulated = s->emulated;
    model_set_lender(m, at, s->lender_id);
    take_error(m, at, s->error_capture);
}

static void note_adapter(struct model *m, uint32_t at)
{
    const struct adapter *a = model_adapter(m, at);
    char captured[64], why[WIRE_TEXT];
    snprintf(captured, sizeof captured, "it captured error 0x%" PRIx64, a->error_capture);
    snprintf(why, sizeof why, "%s", !a->seen ? "the node does not report it" : !a->ok ? a->error : captured);
    model_set_adapter_failed(m, at, !a->ok || a->error_capture, why);
}

static void take_adapters(struct model *m, uint32_t node, const struct wire_observed *o)
{
    const struct node *n = model_node(m, node);
    for (unsigned i = 0; i < n->n_adapters; i++) {
        struct adapter *a = model_touch_adapter(m, n->adapters[i]);
        a->seen = a->ok = false;
    }
    for (size_t i = 0; i < o->n_adapters; i++)
        take_adapter(m, node, &o->adapters[i]);
    for (unsigned i = 0; i < model_node(m, node)->n_adapters; i++)
        note_adapter(m, model_node(m, node)->adapters[i]);
}

/* What this node may say of an attachment is forgotten, to be said again. */
static void forget_attachments(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next) {
        if (!model_adapter(m, model_attachment(m, i)->memory_adapter)->ok)
            continue; /* a lender that does not answer says nothing */
        struct attachment *x = model_touch_attachment(m, i);
        x->now_buffer = x->now_id_held = false;
        x->buffer_fault[0] = '\0';
    }
    for (uint32_t i = n->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next) {
        struct attachment *x = model_touch_attachment(m, i);
        x->now_segment = x->now_movable = x->now_quiesced = x->now_touched = x->now_overlapped = false;
        x->segment_fault[0] = '\0';
        x->blocks_before = x->blocks_online;
        x->blocks_online = 0;
    }
}

struct unowned_list {
    struct unowned *items;
    size_t n, cap;
    const struct node *node; /* what it reported before */
    int64_t now_ms;
};

static bool same_unowned(const struct unowned *a, const struct unowned *b)
{
    return !strcmp(a->kind, b->kind) && !strcmp(a->id, b->id) && !strcmp(a->adapter, b->adapter) &&
           a->section == b->section && a->offset_bytes == b->offset_bytes;
}

static void note_unowned(struct unowned_list *l, const struct unowned *u)
{
    if (l->n >= l->cap)
        return;
    struct unowned *x = &l->items[l->n++];
    *x = *u;
    x->since_ms = l->now_ms;
    for (unsigned i = 0; i < l->node->n_unowned; i++)
        if (same_unowned(&l->node->unowned[i], x))
            x->since_ms = l->node->unowned[i].since_ms;
}

static void note_buffer(struct unowned_list *l, const struct wire_seen_buffer *b)
{
    struct unowned u;
    memset(&u, 0, sizeof u);
    memcpy(u.kind, "buffer", sizeof "buffer");
    memcpy(u.id, b->id, sizeof u.id);
    memcpy(u.adapter, b->adapter, sizeof u.adapter);
    memcpy(u.compute_node, b->compute_node, sizeof u.compute_node);
    memcpy(u.compute_adapter, b->compute_adapter, sizeof u.compute_adapter);
    memcpy(u.lender_id, b->lender_id, sizeof u.lender_id);
    u.section = b->section;
    u.offset_bytes = b->offset_bytes;
    u.size_bytes = b->size_bytes;
    u.effective_addr = b->effective_addr;
    u.numa_node = -1;
    snprintf(u.detail, sizeof u.detail, "in %.60s for %.60s/%.60s", b->adapter, b->compute_node, b->compute_adapter);
    note_unowned(l, &u);
}

static void note_segment(struct unowned_list *l, const struct wire_seen_segment *s)
{
    struct unowned u;
    memset(&u, 0, sizeof u);
    memcpy(u.kind, "segment", sizeof "segment");
    memcpy(u.id, s->id, sizeof u.id);
    memcpy(u.adapter, s->adapter, sizeof u.adapter);
    u.section = s->section;
    u.offset_bytes = s->offset_bytes;
    u.size_bytes = s->size_bytes;
    u.blocks_online = s->blocks_online;
    u.blocks_total = s->blocks_total;
    u.movable = s->movable;
    u.touched = s->touched;
    u.numa_node = s->numa_node;
    snprintf(u.detail, sizeof u.detail, "%u blocks online in %.60s, section %u", s->blocks_online, s->adapter,
             s->section);
    note_unowned(l, &u);
}

static void take_buffer(struct model *m, uint32_t node, const struct wire_seen_buffer *b, struct unowned_list *l)
{
    uint32_t at = model_find_attachment(m, b->id);
    const struct attachment *a = model_attachment(m, at);
    if (!a || a->donor != node) {
        if (b->present)
            note_buffer(l, b);
        return;
    }
    struct attachment *x = model_touch_attachment(m, at);
    /* Without a lender it is held, but nobody's to use: it failed, or could not be released. */
    bool any = !x->buffer_seen || !x->lender_id[0]; /* in use when a backup was restored, and its donor silent */
    bool own = b->lender_id[0] && (any || !strcmp(x->lender_id, b->lender_id));
    x->now_id_held = b->present;
    x->now_buffer = b->present && own && b->size_bytes == x->size_bytes && b->offset_bytes == x->offset_bytes &&
                    b->section == x->section;
    x->now_effective_addr = b->effective_addr;
    memcpy(x->now_lender_id, b->lender_id, sizeof x->now_lender_id);
    if (b->error[0]) {
        x->buffer_fault_attempt = b->attempt;
        memcpy(x->buffer_fault, b->error, sizeof x->buffer_fault);
    }
}

/* Blocks on their way; the first and the last of them are told by the state's own event. */
static void emit_progress(struct model *m, const struct attachment *a, unsigned before,
                          const struct wire_seen_segment *s)
{
    char object[ID_SIZE + 16], from[24], to[24];
    snprintf(object, sizeof object, "attachment/%s", a->id);
    snprintf(from, sizeof from, "%u/%u", before, s->blocks_total);
    snprintf(to, sizeof to, "%u/%u", s->blocks_online, s->blocks_total);
    model_emit(m, "attachment.progress", object, from, to, "");
}

/* The report is about the very range of the attachment. */
static bool same_range(const struct model *m, const struct attachment *a, const struct wire_seen_segment *s)
{
    return a->section == s->section && a->offset_bytes == s->offset_bytes && a->size_bytes == s->size_bytes &&
           !strcmp(model_adapter(m, a->compute_adapter)->name, s->adapter);
}

/* Blocks that are online somewhere are online for every attachment whose range they touch, whatever they are called. */
static void note_overlaps(struct model *m, uint32_t node, const struct wire_seen_segment *s, uint32_t owner)
{
    const struct adapter *ca = model_adapter(m, model_find_adapter(m, node, s->adapter));
    if (!ca || s->section >= WIRE_SECTIONS || !s->blocks_online)
        return;
    for (uint32_t i = ca->sections[s->section].first_attachment; i != NONE; i = model_attachment(m, i)->section_next) {
        const struct attachment *a = model_attachment(m, i);
        if (i != owner && a->offset_bytes < s->offset_bytes + s->size_bytes &&
            s->offset_bytes < a->offset_bytes + a->size_bytes)
            model_touch_attachment(m, i)->now_overlapped = true;
    }
}

static void take_segment(struct model *m, uint32_t node, const struct wire_seen_segment *s, struct unowned_list *l)
{
    uint32_t at = s->id[0] ? model_find_attachment(m, s->id) : NONE;
    const struct attachment *a = model_attachment(m, at);
    bool own = a && a->compute_node == node && same_range(m, a, s);
    note_overlaps(m, node, s, own ? at : NONE);
    if (!own) {
        if (s->blocks_online)
            note_segment(l, s);
        return;
    }
    struct attachment *x = model_touch_attachment(m, at);
    unsigned before = x->blocks_before;
    if (before != s->blocks_online) {
        x->progress_ms = m->now_ms;
        if (s->blocks_online && s->blocks_online != s->blocks_total)
            emit_progress(m, x, before, s);
    }
    x->now_segment = true;
    x->now_movable = s->movable;
    x->now_quiesced = s->quiesced && s->blocks_online == 0;
    x->now_touched = s->touched;
    x->blocks_online = s->blocks_online;
    x->blocks_total = s->blocks_total;
    x->numa_node = s->numa_node;
    if (s->error[0]) {
        x->segment_fault_attempt = s->attempt;
        memcpy(x->segment_fault, s->error, sizeof x->segment_fault);
    }
}

/* The report tells about the switch: the agent drives it, or at least names it. */
static bool switch_named(const struct node *n, const struct sw *s, const struct wire_observed *o)
{
    bool named = false;
    for (unsigned k = 0; !named && k < n->n_drives; k++)
        named = !strcmp(n->drives[k], s->name);
    for (size_t i = 0; !named && i < o->n_pairs; i++)
        named = !strcmp(o->pairs[i].name, s->name);
    for (size_t i = 0; !named && i < o->n_signals; i++)
        named = !strcmp(o->signals[i].name, s->name);
    return named;
}

/* The joins of every switch that the node manages, as a map port -> peer. */
static void take_pairs(struct model *m, uint32_t sw, const struct wire_observed *o)
{
    const struct sw *s = model_switch(m, sw);
    CLEANUP(cleanup_free) uint32_t *peers = malloc((s->n_ports + 1) * sizeof *peers);
    if (!peers)
        return; /* the next report comes soon */
    struct sw *x = model_touch_switch(m, sw);
    x->seen = true;
    x->last_seen_ms = m->now_ms;
    if (s->fenced) {
        char object[NAME_SIZE + 8];
        snprintf(object, sizeof object, "switch/%s", s->name);
        model_emit(m, "switch.state", object, "fenced", "known", "it was read again");
        model_set_switch_fenced(m, sw, false);
    }
    memset(peers, 0xff, (s->n_ports + 1) * sizeof *peers);
    for (size_t i = 0; i < o->n_pairs; i++) {
        const struct wire_seen_pair *p = &o->pairs[i];
        if (strcmp(p->name, s->name) != 0 || p->port_a < 1 || p->port_b < 1 || p->port_a > s->n_ports ||
            p->port_b > s->n_ports)
            continue;
        peers[p->port_a - 1] = s->first_port + p->port_b - 1;
        peers[p->port_b - 1] = s->first_port + p->port_a - 1;
    }
    for (unsigned i = 0; i < s->n_ports; i++)
        if (model_port(m, s->first_port + i)->seen_peer != peers[i])
            model_touch_port(m, s->first_port + i)->seen_peer = peers[i];
}

static void take_signal(struct model *m, const struct wire_seen_signal *g)
{
    const struct sw *s = model_switch(m, model_find_switch(m, g->name));
    if (!s || g->port < 1 || g->port > s->n_ports)
        return;
    uint32_t at = s->first_port + g->port - 1;
    const struct port *p = model_port(m, at);
    if (p->signal == g->signal)
        return;
    const struct link *l = model_link(m, p->link);
    enum link_state before = l ? model_link_state(m, l) : LINK_UNKNOWN;
    model_edit_port(m, at)->signal = g->signal;
    if (l)
        model_link_changed(m, p->link, before);
}

static void take_switches(struct model *m, uint32_t node, const struct wire_observed *o)
{
    const char *name = model_node(m, node)->name;
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++) {
        const struct sw *s = model_switch(m, i);
        if (!s || strcmp(s->managed_by, name) != 0)
            continue;
        if (s->seen)
            model_touch_switch(m, i)->seen = false; /* until it was read again: what is not read proves nothing */
        if (o->switches_ok && switch_named(model_node(m, node), s, o))
            take_pairs(m, i, o);
    }
    if (!o->switches_ok)
        return;
    for (size_t i = 0; i < o->n_signals; i++) {
        const struct sw *s = model_switch(m, model_find_switch(m, o->signals[i].name));
        if (s && !strcmp(s->managed_by, name))
            take_signal(m, &o->signals[i]);
    }
}

static int take_objects(struct model *m, uint32_t node, const struct wire_observed *o, struct err *e)
{
    size_t cap = o->n_buffers + o->n_segments;
    CLEANUP(cleanup_free) struct unowned *items = calloc(cap + 1, sizeof *items);
    struct unowned_list l = { .items = items, .cap = cap, .node = model_node(m, node), .now_ms = m->now_ms };
    if (!items)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    forget_attachments(m, node);
    for (size_t i = 0; i < o->n_buffers; i++)
        take_buffer(m, node, &o->buffers[i], &l);
    for (size_t i = 0; i < o->n_segments; i++)
        take_segment(m, node, &o->segments[i], &l);
    return model_set_unowned(m, node, l.items, l.n, e);
}

#define MEMORY_EVENT_MS 1000

/* Free memory moves all the time: an event for a change of more than a hundredth, once a second at most. */
static void note_memory(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    uint64_t was = n->memory_event_free_bytes, is = n->free_bytes, change = was > is ? was - is : is - was;
    char object[NAME_SIZE + 8], from[32], to[32];
    if (change <= n->memory_bytes / 100 || m->now_ms - n->memory_event_ms < MEMORY_EVENT_MS)
        return;
    snprintf(object, sizeof object, "node/%s", n->name);
    snprintf(from, sizeof from, "%" PRIu64, was);
    snprintf(to, sizeof to, "%" PRIu64, is);
    model_emit(m, "node.memory", object, from, to, "free_bytes");
    struct node *x = model_touch_node(m, node);
    x->memory_event_ms = m->now_ms;
    x->memory_event_free_bytes = is;
}

/* A buffer is not listed before all of it is committed, which takes minutes where it is large, or where others come
 * first.  What the node's lenders hold grows meanwhile: that is progress for all who wait for one that answers. */
static void note_committing(struct model *m, uint32_t node)
{
    for (uint32_t i = model_node(m, node)->first_lend; i != NONE; i = model_attachment(m, i)->lend_next) {
        const struct attachment *a = model_attachment(m, i);
        if (a->goal == GOAL_PRESENT && a->state == ATT_PENDING && a->step >= STEP_LEND && !a->buffer_seen &&
            model_adapter(m, a->memory_adapter)->ok)
            model_touch_attachment(m, i)->progress_ms = m->now_ms;
    }
}

int observed_report(struct model *m, uint32_t node, const struct wire_observed *o, bool *changed, struct err *e)
{
    const struct node *n = model_node(m, node);
    if (!n->session[0] || strcmp(n->session, o->session) != 0)
        return err_set(e, ERR_SESSION_STALE, "node %s reports in a session that is over: register again", n->name);
    if (o->sequence <= n->sequence)
        return err_set(e, ERR_SESSION_STALE, "report %llu of node %s comes after %llu", (unsigned long long)o->sequence,
                       n->name, (unsigned long long)n->sequence);
    if (strcmp(n->boot_id, o->boot_id) != 0)
        return err_set(e, ERR_SESSION_STALE, "node %s reports from another boot than it registered", n->name);
    /* What another epoch published, or what nobody can have published yet, is no answer to us. */
    uint64_t revision = o->epoch == m->epoch && o->revision < m->revision ? o->revision : 0;
    *changed = n->applied_revision != revision || n->free_bytes != o->free_bytes || !n->reported;
    bool committed = n->reported && o->locked_bytes > n->locked_bytes;
    struct node *x = model_touch_node(m, node);
    x->sequence = o->sequence;
    x->applied_revision = revision;
    x->memory_bytes = o->memory_bytes;
    x->free_bytes = o->free_bytes;
    x->locked_bytes = o->locked_bytes;
    x->last_seen_ms = x->last_heard_ms = m->now_ms;
    x->reported = true;
    note_memory(m, node);
    take_adapters(m, node, o);
    take_switches(m, node, o);
    if (take_objects(m, node, o, e) < 0 || model_set_findings(m, node, o->findings, o->n_findings, e) < 0)
        return -1;
    if (committed)
        note_committing(m, node);
    enum node_state state = model_node(m, node)->state;
    if ((state == NODE_NEW || state == NODE_UNREACHABLE) && model_node(m, node)->enrolment == ENROLMENT_APPROVED)
        model_set_node_state(m, node, NODE_READY, "reports");
    model_mark_node_due(m, node);
    return 0;
}
