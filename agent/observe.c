/* observe.c - see observe.h. */
#include "observe.h"

#include "findings.h"
#include "log.h"
#include "units.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory -------------------------------------------------------------------------------------------------------
 */
static bool lends_locked(const struct node *n)
{
    bool lends = false;
    for (unsigned i = 0; i < n->n_adapters; i++)
        lends = lends || n->adapters[i].config->wire.role == WIRE_MEMORY;
    return lends && strcmp(n->config->lender_backing, "locked") == 0;
}

static int read_memory(const struct node *n, uint64_t *memory, uint64_t *free_bytes, struct err *e)
{
    struct inventory_borrowed b;
    struct inventory_memory m;
    node_borrowed(n, &b);
    if (inventory_memory(&n->sys, &n->proc, &b, &m, e) < 0)
        return -1;
    *memory = m.memory_bytes;
    *free_bytes = lends_locked(n) ? inventory_lendable(&n->sys, n->config, &m) : m.free_bytes;
    return 0;
}

/* What is free and what lenders hold are told as of one moment: what one loses the other gains, so their sum is right
 * between two looks, too. */
static int look_at_memory(struct node *n, struct err *e)
{
    if (read_memory(n, &n->memory_bytes, &n->free_bytes, e) < 0)
        return -1;
    n->locked_bytes = 0;
    for (unsigned i = 0; i < n->n_adapters; i++)
        n->locked_bytes += afu_locked_bytes(n->adapters[i].afu);
    return 0;
}

/* ---- adapters -----------------------------------------------------------------------------------------------------
 */
/* A channel that is up is settled when its time is over; one that was up before this agent was gets the time too. */
static unsigned settled_of(const struct node *n, struct node_adapter *a, unsigned channels)
{
    int64_t now = time_monotonic_ns();
    unsigned settled = 0;
    for (unsigned p = 0; p < WIRE_PORTS; p++) {
        if (!(channels & 1u << p)) {
            a->settled_at_ns[p] = 0;
            continue;
        }
        if (a->settled_at_ns[p] == 0)
            a->settled_at_ns[p] = now + (int64_t)n->config->settle_ms * 1000000;
        if (now >= a->settled_at_ns[p])
            settled |= 1u << p;
    }
    return settled;
}

static void see_adapter(struct node *n, struct node_adapter *a, enum afu_depth depth, struct wire_seen_adapter *out)
{
    struct err e = { 0 };
    memset(out, 0, sizeof *out);
    memcpy(out->name, a->config->wire.name, sizeof out->name);
    out->emulated = node_emulated_adapters(n);
    out->ok = afu_ops(a->afu)->read(a->afu, depth, out, &e) == 0;
    if (!out->ok)
        snprintf(out->error, sizeof out->error, "%.199s", e.detail[0] ? e.detail : "the adapter does not answer");
}

/* ---- buffers ------------------------------------------------------------------------------------------------------
 */
static void see_buffer(const struct wire_seen_adapter *a, const struct lender_buffer *b, struct wire_seen_buffer *out)
{
    out->present = true;
    memcpy(out->id, b->id, sizeof out->id);
    memcpy(out->adapter, a->name, sizeof out->adapter);
    memcpy(out->compute_node, b->compute_node, sizeof out->compute_node);
    memcpy(out->compute_adapter, b->compute_adapter, sizeof out->compute_adapter);
    if (!b->failed) /* without: it is held, and nobody's to use */
        memcpy(out->lender_id, a->lender_id, sizeof out->lender_id);
    out->section = b->section;
    out->offset_bytes = b->offset_bytes;
    out->size_bytes = b->size_bytes;
    out->effective_addr = b->effective_addr;
}

/* Reads the list of the adapter's lender anew. */
static void read_buffers(struct node_adapter *a)
{
    struct err failed = { 0 };
    free(a->buffers);
    a->buffers = NULL;
    a->n_buffers = 0;
    if (lender_list(afu_lender(a->afu), &a->buffers, &a->n_buffers, &failed) == 0)
        return;
    a->seen.ok = false;
    snprintf(a->seen.error, sizeof a->seen.error, "%.199s", failed.detail);
}

/* A memory adapter is read when an order went there, and with every heartbeat; its lender's list when it may be another
 * one than before. */
static void read_lender(struct node *n, struct node_adapter *a, enum observe_what what)
{
    char before[ID_SIZE];
    if (what == OBSERVE_ORDERS && !a->touched)
        return;
    memcpy(before, a->seen.lender_id, sizeof before);
    pulse_at(&n->pulse, "a lender");
    see_adapter(n, a, AFU_ALL, &a->seen);
    size_t there = afu_n_buffers(a->afu);
    if (!a->seen.lender_id[0] || there == 0)
        a->n_buffers = 0;
    else if (what != OBSERVE_ORDERS || a->relist || there != a->n_buffers || strcmp(before, a->seen.lender_id) != 0)
        read_buffers(a);
    a->touched = a->relist = false;
}

/* Between two complete readings, sections are read after the passes that may have changed them. */
static void read_compute(struct node *n, struct node_adapter *a, enum observe_what what)
{
    static const enum afu_depth depths[] = { AFU_ORDERS, AFU_PULSE, AFU_ALL };
    if (what == OBSERVE_ORDERS && !a->ordered && a->seen.ok)
        return;
    bool was_ok = a->seen.ok;
    unsigned channels = a->seen.channels;
    see_adapter(n, a, was_ok ? depths[what] : AFU_ALL, &a->seen);
    if (was_ok && what == OBSERVE_BEAT && a->seen.ok && a->seen.channels != channels)
        see_adapter(n, a, AFU_ALL, &a->seen); /* reset by somebody: what else is not as it was? */
}

static int see_adapters(struct node *n, enum observe_what what, struct wire_observed *o, struct err *e)
{
    if (n->n_adapters == 0)
        return 0;
    o->adapters = calloc(n->n_adapters, sizeof *o->adapters);
    if (!o->adapters)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (unsigned i = 0; i < n->n_adapters; i++) {
        struct node_adapter *a = &n->adapters[i];
        if (afu_lender(a->afu))
            read_lender(n, a, what);
        else
            read_compute(n, a, what);
        o->adapters[i] = a->seen;
    }
    o->n_adapters = n->n_adapters;
    return 0;
}

static int see_lender(const struct node_adapter *a, struct wire_observed *o, struct err *e)
{
    if (a->n_buffers == 0)
        return 0;
    struct wire_seen_buffer *more = realloc(o->buffers, (o->n_buffers + a->n_buffers) * sizeof *more);
    if (!more)
        return err_set(e, ERR_INTERNAL, "out of memory");
    o->buffers = more;
    memset(&o->buffers[o->n_buffers], 0, a->n_buffers * sizeof *more);
    for (size_t i = 0; i < a->n_buffers; i++)
        see_buffer(&a->seen, &a->buffers[i], &o->buffers[o->n_buffers++]);
    return 0;
}

/* What could not be released is held as long as its lender lives, whether or not that lists it: it may be committing it
 * still.  Which lender that is may not be known yet. */
static bool is_held(struct node *n, const struct failed_buffer *f)
{
    const struct node_adapter *a = node_adapter(n, f->order.adapter);
    return f->order.want == WIRE_ABSENT && a && (!f->lender_id[0] || strcmp(a->seen.lender_id, f->lender_id) == 0);
}

/* An order for a buffer failed: said in the list.  What could not be made is not present. */
static int see_failed(struct node *n, const struct failed_buffer *f, struct wire_observed *o, struct err *e)
{
    struct wire_seen_buffer *b = NULL;
    for (size_t i = 0; i < o->n_buffers && !b; i++)
        if (strcmp(o->buffers[i].id, f->order.id) == 0)
            b = &o->buffers[i];
    if (!b) {
        struct wire_seen_buffer *more = realloc(o->buffers, (o->n_buffers + 1) * sizeof *more);
        if (!more)
            return err_set(e, ERR_INTERNAL, "out of memory");
        o->buffers = more;
        b = &o->buffers[o->n_buffers++];
        memset(b, 0, sizeof *b);
        memcpy(b->id, f->order.id, sizeof b->id);
        memcpy(b->adapter, f->order.adapter, sizeof b->adapter);
        memcpy(b->compute_node, f->order.compute_node, sizeof b->compute_node);
        memcpy(b->compute_adapter, f->order.compute_adapter, sizeof b->compute_adapter);
        b->section = f->order.section;
        b->offset_bytes = f->order.offset_bytes;
        b->size_bytes = f->order.size_bytes;
        b->present = is_held(n, f);
    }
    b->attempt = f->order.attempt;
    memcpy(b->error, f->error, sizeof b->error);
    return 0;
}

static int see_buffers(struct node *n, struct wire_observed *o, struct err *e)
{
    for (unsigned i = 0; i < n->n_adapters; i++) {
        struct node_adapter *a = &n->adapters[i];
        if (!afu_lender(a->afu))
            continue;
        if (see_lender(a, o, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < n->n_failed; i++)
        if (see_failed(n, &n->failed[i], o, e) < 0)
            return -1;
    return 0;
}

/* ---- segments -----------------------------------------------------------------------------------------------------
 */
static int see_segments(const struct node *n, struct wire_observed *o, struct err *e)
{
    if (n->n_segments == 0)
        return 0;
    o->segments = calloc(n->n_segments, sizeof *o->segments);
    if (!o->segments)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < n->n_segments; i++) {
        const struct segment *s = &n->segments[i];
        struct wire_seen_segment *w = &o->segments[i];
        memcpy(w->id, s->label.id, sizeof w->id);
        memcpy(w->adapter, s->label.adapter, sizeof w->adapter);
        memcpy(w->error, s->error, sizeof w->error);
        w->section = s->label.section;
        w->offset_bytes = s->label.offset_bytes;
        w->size_bytes = s->label.size_bytes;
        w->blocks_total = s->counts.total;
        w->blocks_online = s->counts.online;
        w->movable = s->counts.movable;
        if (n->job.hangs && segments_job(n, s)) { /* the block that its child is at may be online at any moment */
            w->blocks_online = w->blocks_online ? w->blocks_online : 1;
            w->movable = false;
        }
        w->touched = s->label.touched && s->counts.online > 0;
        w->quiesced = s->quiesced && !segments_job(n, s);
        w->numa_node = s->numa_node;
        w->attempt = s->attempt;
    }
    o->n_segments = n->n_segments;
    return 0;
}

/* ---- switches -----------------------------------------------------------------------------------------------------
 */
static void *grow(void **list, size_t n, size_t more, size_t size)
{
    void *bigger = realloc(*list, (n + more) * size);
    if (bigger) {
        *list = bigger;
        memset((char *)bigger + n * size, 0, more * size);
    }
    return bigger;
}

static int see_switch(struct node *n, struct node_switch *s, struct wire_observed *o, struct err *e)
{
    CLEANUP(cleanup_free) struct crossconnect_pair *pairs = NULL;
    CLEANUP(cleanup_free) struct crossconnect_signal *signals = NULL;
    size_t n_pairs = 0, n_signals = 0;
    struct err failed = { 0 };
    pulse_at(&n->pulse, "a circuit switch");
    if (crossconnect_list(s->x, &pairs, &n_pairs, &failed) < 0 ||
        crossconnect_signals(s->x, &signals, &n_signals, &failed) < 0) {
        if (!s->error[0])
            log_warn("switch.read", "%s", failed.detail);
        snprintf(s->error, sizeof s->error, "%.199s", failed.detail);
        o->switches_ok = false;
        return 0;
    }
    s->error[0] = '\0';
    if ((n_pairs > 0 && !grow((void **)&o->pairs, o->n_pairs, n_pairs, sizeof *o->pairs)) ||
        (n_signals > 0 && !grow((void **)&o->signals, o->n_signals, n_signals, sizeof *o->signals)))
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < n_pairs; i++) {
        struct wire_seen_pair *p = &o->pairs[o->n_pairs++];
        memcpy(p->name, s->config->name, sizeof p->name);
        p->port_a = pairs[i].a;
        p->port_b = pairs[i].b;
    }
    for (size_t i = 0; i < n_signals; i++) {
        struct wire_seen_signal *w = &o->signals[o->n_signals++];
        memcpy(w->name, s->config->name, sizeof w->name);
        w->port = signals[i].port;
        w->signal = signals[i].up ? WIRE_SIGNAL_UP : WIRE_SIGNAL_DOWN;
    }
    return 0;
}

static int see_switches(struct node *n, struct wire_observed *o, struct err *e)
{
    o->switches_ok = true;
    for (unsigned i = 0; i < n->n_switches; i++)
        if (see_switch(n, &n->switches[i], o, e) < 0)
            return -1;
    return 0;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------
 */
static int copy_list(void **out, const void *list, size_t n, size_t size, struct err *e)
{
    *out = NULL;
    if (n == 0)
        return 0;
    if (!(*out = malloc(n * size)))
        return err_set(e, ERR_INTERNAL, "out of memory");
    memcpy(*out, list, n * size);
    return 0;
}

static PRINTF(5, 6) void add_finding(struct wire_observed *o, const char *code, enum wire_severity severity,
                                     const char *advice, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    findings_append(o->findings, &o->n_findings, code, severity, advice, fmt, args);
    va_end(args);
}

/* Memory that is online though no touch was seen to reach it: its circuit may be `unverified`. */
static void find_untouched(const struct node *n, struct wire_observed *o)
{
    char ids[120] = "";
    size_t count = 0, len = 0;
    for (size_t i = 0; i < n->n_segments; i++) {
        const struct segment *s = &n->segments[i];
        if (!s->label.id[0] || s->label.touched || s->counts.online == 0 || s->unread || segments_job(n, s))
            continue;
        int more = snprintf(ids + len, sizeof ids - len, "%s%s", count++ ? ", " : "", s->label.id);
        len = len + (size_t)more < sizeof ids ? len + (size_t)more : sizeof ids - 1;
    }
    if (count > 0)
        add_finding(o, "untouched", WIRE_INFO,
                    "nothing to do: other free memory of that NUMA node is used first; a circuit that nothing else "
                    "verified stays unverified",
                    "nothing shows that the memory of %zu attachment%s was reached when it came online: %s", count,
                    count == 1 ? "" : "s", ids);
}

/* Memory that is told as online because nobody can tell. */
static void find_unread(const struct node *n, struct wire_observed *o)
{
    const struct segment *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < n->n_segments; i++)
        if (n->segments[i].unread && count++ == 0)
            first = &n->segments[i];
    if (first)
        add_finding(o, "segment_unread", WIRE_ERROR, "look at the kernel's log; the blocks are read again all the time",
                    "the blocks of %zu range%s cannot be read and count as online, the first at 0x%" PRIx64
                    " of %s%s%s",
                    count, count == 1 ? "" : "s", segments_range(n, first).start_addr, first->label.adapter,
                    first->label.id[0] ? ", attachment " : "", first->label.id);
    if (n->stray[0])
        add_finding(o, "segment_stray", WIRE_ERROR,
                    "give the configuration the adapter back as it was and restart the agent, or reboot this server",
                    "memory may be online that this agent cannot look at, so it confirms no order: %.150s", n->stray);
}

/* What was found at the last complete reading, and what is wrong just now. */
static int see_findings(const struct node *n, struct wire_observed *o, struct err *e)
{
    if (!(o->findings = malloc(WIRE_MAX_FINDINGS * sizeof *o->findings)))
        return err_set(e, ERR_INTERNAL, "out of memory");
    memcpy(o->findings, n->findings, n->n_findings * sizeof *n->findings);
    o->n_findings = n->n_findings;
    for (unsigned i = 0; i < n->n_switches; i++)
        if (n->switches[i].error[0])
            add_finding(o, "switch_unreachable", WIRE_ERROR, "is the switch on, and the address in [switch] right?",
                        "%.199s", n->switches[i].error);
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (afu_lender(n->adapters[i].afu)) {
            struct afu_lender_facts facts = afu_lender_facts(n->adapters[i].afu);
            findings_of_lender(o->findings, &o->n_findings, n->config, &n->sys, n->adapters[i].config->wire.name,
                               &facts);
        }
    for (size_t i = 0; i < o->n_adapters; i++) {
        const struct wire_seen_adapter *a = &o->adapters[i];
        if (!a->ok)
            add_finding(o, "adapter_failed", WIRE_ERROR, "look at the card, its driver, and its lender",
                        "adapter %s: %.120s", a->name, a->error);
        else if (a->error_capture)
            add_finding(o, "adapter_error", WIRE_ERROR,
                        "find the cause, then reset the adapter: its ports are suspect until then",
                        "adapter %s captured an error: 0x%" PRIx64, a->name, a->error_capture);
    }
    find_untouched(n, o);
    find_unread(n, o);
    return 0;
}

int observe(struct node *n, enum observe_what what, struct wire_observed *out, struct err *e)
{
    if (what == OBSERVE_ALL)
        node_check(n);
    bool memory = what != OBSERVE_ORDERS || n->memory_bytes == 0;
    struct wire_observed o = { .epoch = n->epoch, .revision = n->revision };
    memcpy(o.boot_id, n->boot_id, sizeof o.boot_id);
    memcpy(o.instance, n->instance, sizeof o.instance);
    if (see_adapters(n, what, &o, e) < 0 || see_buffers(n, &o, e) < 0 || see_segments(n, &o, e) < 0 ||
        see_switches(n, &o, e) < 0 || (memory && look_at_memory(n, e) < 0) || see_findings(n, &o, e) < 0) {
        wire_observed_done(&o);
        return -1;
    }
    observe_settled(n, &o);
    o.memory_bytes = n->memory_bytes;
    o.free_bytes = n->free_bytes;
    o.locked_bytes = n->locked_bytes;
    *out = o;
    return 0;
}

int observe_progress(struct node *n, const struct wire_observed *last, struct wire_observed *out, struct err *e)
{
    struct wire_observed o = *last;
    o.adapters = NULL;
    o.buffers = NULL;
    o.segments = NULL;
    o.pairs = NULL;
    o.signals = NULL;
    o.findings = NULL;
    o.n_segments = 0;
    if (copy_list((void **)&o.adapters, last->adapters, last->n_adapters, sizeof *last->adapters, e) < 0 ||
        copy_list((void **)&o.buffers, last->buffers, last->n_buffers, sizeof *last->buffers, e) < 0 ||
        copy_list((void **)&o.pairs, last->pairs, last->n_pairs, sizeof *last->pairs, e) < 0 ||
        copy_list((void **)&o.signals, last->signals, last->n_signals, sizeof *last->signals, e) < 0 ||
        copy_list((void **)&o.findings, last->findings, last->n_findings, sizeof *last->findings, e) < 0 ||
        see_segments(n, &o, e) < 0) {
        wire_observed_done(&o);
        return -1;
    }
    *out = o;
    return 0;
}

void observe_registration(struct node *n, struct wire_registration *out)
{
    const struct agent_config *c = n->config;
    struct err e = { 0 };
    memset(out, 0, sizeof *out);
    memcpy(out->name, c->name, sizeof out->name);
    memcpy(out->machine_id, n->machine_id, sizeof out->machine_id);
    memcpy(out->boot_id, n->boot_id, sizeof out->boot_id);
    snprintf(out->version, sizeof out->version, "%s", MEMLANE_VERSION);
    out->protocol_min = WIRE_PROTOCOL_MIN;
    out->protocol_max = WIRE_PROTOCOL_MAX;
    if (read_memory(n, &out->memory_bytes, &out->free_bytes, &e) < 0)
        log_warn("inventory.memory", "%s", e.detail);
    for (unsigned i = 0; i < n->n_adapters; i++)
        out->locked_bytes += afu_locked_bytes(n->adapters[i].afu);
    out->block_bytes = n->hotplug ? hotplug_block_bytes(n->hotplug) : 0;
    out->n_adapters = c->n_adapters;
    for (unsigned i = 0; i < c->n_adapters; i++)
        out->adapters[i] = c->adapters[i].wire;
    out->n_labels = c->n_labels;
    memcpy(out->labels, c->labels, sizeof out->labels);
    out->n_findings = n->n_findings;
    memcpy(out->findings, n->findings, sizeof out->findings);
    out->n_switches = c->n_switches;
    for (unsigned i = 0; i < c->n_switches; i++)
        memcpy(out->switches[i], c->switches[i].name, NAME_SIZE);
}

void observe_settled(struct node *n, struct wire_observed *o)
{
    for (unsigned i = 0; i < n->n_adapters; i++) {
        struct node_adapter *a = &n->adapters[i];
        if (a->seen.ok || afu_lender(a->afu))
            o->adapters[i].settled = settled_of(n, a, a->seen.channels);
    }
}

int64_t observe_settles_ns(const struct node *n)
{
    int64_t now = time_monotonic_ns(), next = INT64_MAX;
    for (unsigned i = 0; i < n->n_adapters; i++)
        for (unsigned p = 0; p < WIRE_PORTS; p++) {
            int64_t at = n->adapters[i].settled_at_ns[p];
            if (at > now && at < next)
                next = at;
        }
    return next;
}

int64_t observe_next_ms(const struct node *n)
{
    int64_t at = observe_settles_ns(n);
    return at == INT64_MAX ? at : at / 1000000 + 1;
}
