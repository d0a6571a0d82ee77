/* orders.c - see orders.h. */
#include "orders.h"

#include "converge.h"
#include "faultpoint.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALLOC_WAIT_MS 1000 /* then the other orders have their turn; the lender goes on */

/* ---- buffers ------------------------------------------------------------------------------------------------------
 */
static struct failed_buffer *find_failed(struct node *n, const char *id)
{
    for (size_t i = 0; i < n->n_failed; i++)
        if (strcmp(n->failed[i].order.id, id) == 0)
            return &n->failed[i];
    return NULL;
}

static void forget_failed(struct node *n, const char *id)
{
    struct failed_buffer *f = find_failed(n, id);
    if (f)
        *f = n->failed[--n->n_failed];
}

static void remember_failed(struct node *n, const struct wire_want_buffer *w, const struct err *e)
{
    struct failed_buffer *f = find_failed(n, w->id);
    if (!f) {
        struct failed_buffer *more = realloc(n->failed, (n->n_failed + 1) * sizeof *more);
        if (!more)
            return; /* tried again at the next pass */
        n->failed = more;
        f = &n->failed[n->n_failed++];
    }
    f->order = *w;
    snprintf(f->error, sizeof f->error, "%.199s", e->detail);
    log_warn("buffer.failed", "id=%s attempt=%u: %s", w->id, w->attempt, e->detail);
}

/* A tombstone goes to the lender even when its list does not show the buffer: it may be committing it still. */
static int release_buffer(struct node_adapter *a, const struct wire_want_buffer *w, struct err *e)
{
    if (lender_release(afu_lender(a->afu), w->id, e) < 0)
        return -1;
    log_info("buffer.released", "id=%s adapter=%s", w->id, w->adapter);
    return 0;
}

/* Is it there, as the lender told last? */
static bool is_lent(const struct node_adapter *a, const struct wire_want_buffer *w)
{
    for (size_t i = 0; i < a->n_buffers; i++) {
        const struct lender_buffer *b = &a->buffers[i];
        if (strcmp(b->id, w->id) == 0)
            return b->size_bytes == w->size_bytes && b->offset_bytes == w->offset_bytes && b->section == w->section;
    }
    return false;
}

static int create_buffer(struct node_adapter *a, const struct wire_want_buffer *w, struct err *e)
{
    struct lender_buffer order = { .section = w->section,
                                   .offset_bytes = w->offset_bytes,
                                   .size_bytes = w->size_bytes };
    memcpy(order.id, w->id, sizeof order.id);
    memcpy(order.compute_node, w->compute_node, sizeof order.compute_node);
    memcpy(order.compute_adapter, w->compute_adapter, sizeof order.compute_adapter);
    int rc = lender_alloc(afu_lender(a->afu), &order, ALLOC_WAIT_MS, e);
    if (rc < 0 && e->code == ERR_UNREACHABLE) {
        afu_ops(a->afu)->start(a->afu);
        err_clear(e);
        rc = lender_alloc(afu_lender(a->afu), &order, ALLOC_WAIT_MS, e);
    }
    if (rc == 0)
        log_info("buffer.lent", "id=%s adapter=%s size=%" PRIu64 " to=%s/%s", w->id, w->adapter, w->size_bytes,
                 w->compute_node, w->compute_adapter);
    return rc;
}

static bool tried(const struct failed_buffer *f, const struct wire_want_buffer *w)
{
    return f && f->order.want == w->want && w->attempt <= f->order.attempt;
}

static void do_buffers(struct node *n, const struct wire_desired *d, enum wire_want want)
{
    for (size_t i = 0; i < d->n_buffers; i++) {
        const struct wire_want_buffer *w = &d->buffers[i];
        struct err e = { 0 };
        if (w->want != want || tried(find_failed(n, w->id), w))
            continue;
        struct node_adapter *a = node_adapter(n, w->adapter);
        int rc;
        if (!a || !afu_lender(a->afu)) {
            rc = err_set(&e, ERR_FIELD_INVALID, "%s is no memory adapter of this node", w->adapter);
        } else if (want == WIRE_CREATE && is_lent(a, w)) {
            rc = 0;
        } else if (a->silent) {
            rc = err_set(&e, ERR_TIMEOUT, "the lender of %s does not answer", w->adapter);
        } else {
            FAULT_POINT("%s.before", want == WIRE_CREATE ? "lend" : "release");
            rc = (want == WIRE_CREATE ? create_buffer : release_buffer)(a, w, &e);
            FAULT_POINT("%s.after", want == WIRE_CREATE ? "lend" : "release");
            a->touched = a->relist = true;
            a->silent = rc < 0 && e.code == ERR_TIMEOUT && want == WIRE_ABSENT;
        }
        if (rc == 0)
            forget_failed(n, w->id);
        else if (e.code == ERR_TIMEOUT)
            n->incomplete = true; /* the lender is still at it */
        else
            remember_failed(n, w, &e);
    }
}

void orders_buffers_absent(struct node *n, const struct wire_desired *d)
{
    do_buffers(n, d, WIRE_ABSENT);
}

void orders_buffers_create(struct node *n, const struct wire_desired *d)
{
    do_buffers(n, d, WIRE_CREATE);
}

/* ---- segments -----------------------------------------------------------------------------------------------------
 */
static void fail_segment(struct node *n, struct segment *s, const struct wire_want_segment *w, const struct err *e)
{
    struct err unread = { 0 };
    if (segments_read(n, s, &unread) < 0)
        log_warn("segment.read", "id=%s: %s", w->id, unread.detail);
    s->failed = true;
    s->failed_want = w->want;
    s->attempt = w->attempt;
    snprintf(s->error, sizeof s->error, "%.199s", e->detail);
    log_warn("segment.failed", "id=%s attempt=%u blocks=%u/%u: %s", w->id, w->attempt, s->counts.online,
             s->counts.total, e->detail);
}

static void clear_failure(struct segment *s)
{
    s->failed = false;
    s->attempt = 0;
    s->error[0] = '\0';
}

/* How far a long order is: the node's report may be sent meanwhile. */
struct progress {
    struct node *n;
    struct segment *s;
};

static void on_progress(void *arg, unsigned online, unsigned total)
{
    struct progress *p = arg;
    p->s->counts.online = online;
    p->s->counts.total = total;
    if (p->n->progress)
        p->n->progress(p->n->progress_arg);
}

/* What is used there has to find room elsewhere on this machine, before the kernel begins to make some. */
static int check_room(struct node *n, const struct segment *s, struct err *e)
{
    struct inventory_borrowed none = { 0 };
    struct inventory_memory m;
    if (inventory_memory(&n->sys, &none, &m, e) < 0)
        return -1;
    return inventory_room(&m, s->numa_node, s->counts.online * hotplug_block_bytes(n->hotplug),
                          inventory_reserve(&n->proc), e);
}

static int take_offline(struct node *n, struct segment *s, struct err *e)
{
    struct hotplug_result r;
    struct progress p = { n, s };
    if (segments_read(n, s, e) < 0)
        return -1;
    if (s->counts.online > 0) {
        if (check_room(n, s, e) < 0)
            return -1;
        FAULT_POINT("offline.before");
        int rc = hotplug_offline(n->hotplug, segments_range(n, s), on_progress, &p, &r, e);
        if (r.counts.total > 0)
            s->counts = r.counts;
        s->quiesced = false;
        if (rc < 0)
            return -1;
        FAULT_POINT("offline.after");
        log_info("segment.offline", "id=%s blocks=%u", s->label.id, s->counts.total);
    }
    s->tombstone = true;
    if (s->quiesced)
        return 0;
    if (n->platform.ops->quiesce(&n->platform, &n->children, s->label.adapter, e) < 0)
        return -1;
    s->quiesced = true;
    FAULT_POINT("quiesce.after");
    return 0;
}

/* The register leads to a donor, over channels that are out of reset. */
static int check_mapped(struct node *n, const struct segment *s, struct err *e)
{
    struct node_adapter *a = &n->adapters[s->adapter];
    const struct afu_ops *ops = afu_ops(a->afu);
    uint64_t value;
    unsigned channels;
    if (ops->read_section(a->afu, s->label.section, &value, e) < 0 || ops->channels(a->afu, &channels, e) < 0)
        return -1;
    if (value == 0 || wire_section_is_parked(value, s->label.section))
        return err_set(e, ERR_CONFLICT, "section %u of %s is not mapped", s->label.section, s->label.adapter);
    unsigned ports = converge_ports_of(value);
    if ((channels & ports) != ports)
        return err_set(e, ERR_CONFLICT, "section %u of %s: its channel is in reset", s->label.section,
                       s->label.adapter);
    return 0;
}

static void put_label(struct node *n, const struct segment *s)
{
    struct err e = { 0 };
    if (labels_put(n->labels, &s->label, &e) < 0)
        log_warn("label.put", "%s: the segment is known by the orchestrator's word only", e.detail);
}

static int bring_online(struct node *n, struct segment *s, struct err *e)
{
    struct node_adapter *a = &n->adapters[s->adapter];
    struct hotplug_result r;
    struct progress p = { n, s };
    uint64_t flits = 0;
    if (check_mapped(n, s, e) < 0)
        return -1;
    put_label(n, s);
    if (afu_moved(a->afu, &flits, e) < 0) /* what moved until now is not ours */
        return -1;
    FAULT_POINT("online.before");
    int rc = hotplug_online(n->hotplug, segments_range(n, s), a->compute_index, on_progress, &p, &r, e);
    if (r.counts.total > 0)
        s->counts = r.counts;
    s->quiesced = false;
    segments_was_read(s);
    s->numa_node = n->platform.ops->numa_node(&n->platform, a->compute_index,
                                              segments_range(n, s).start_addr / hotplug_block_bytes(n->hotplug));
    if (rc < 0)
        return -1;
    FAULT_POINT("online.after");
    struct err none = { 0 };
    s->label.touched = r.touched && afu_moved(a->afu, &flits, &none) == 0 && flits > 0;
    if (s->label.touched && labels_touch(n->labels, s->label.id, &none) < 0)
        log_warn("label.touch", "%s", none.detail);
    if (!s->label.touched)
        log_warn("segment.untouched", "id=%s: nothing shows that its memory was reached (%s)", s->label.id,
                 r.why[0] ? r.why : "the adapter counted nothing");
    log_info("segment.online", "id=%s adapter=%s section=%u blocks=%u numa_node=%d", s->label.id, s->label.adapter,
             s->label.section, s->counts.total, s->numa_node);
    return 0;
}

static bool is_done(const struct segment *s, enum wire_want want)
{
    if (want == WIRE_ABSENT)
        return s->tombstone && s->quiesced && s->counts.online == 0;
    return s->counts.online == s->counts.total && s->counts.movable;
}

static void do_segments(struct node *n, const struct wire_desired *d, enum wire_want want)
{
    for (size_t i = 0; i < d->n_segments; i++) {
        const struct wire_want_segment *w = &d->segments[i];
        struct segment *s;
        struct err e = { 0 };
        if (w->want != want)
            continue;
        if (segments_get(n, w, &s, &e) < 0) {
            log_warn("segment.refused", "%s", e.detail);
            continue;
        }
        if (is_done(s, want)) {
            clear_failure(s);
            continue;
        }
        if (s->failed && w->attempt <= s->attempt)
            continue;
        if ((want == WIRE_ABSENT ? take_offline : bring_online)(n, s, &e) == 0)
            clear_failure(s);
        else
            fail_segment(n, s, w, &e);
    }
}

void orders_segments_absent(struct node *n, const struct wire_desired *d)
{
    do_segments(n, d, WIRE_ABSENT);
}

void orders_segments_create(struct node *n, const struct wire_desired *d)
{
    do_segments(n, d, WIRE_CREATE);
}

/* ---- beginning of a pass ------------------------------------------------------------------------------------------
 */
static bool lists_buffer(const struct wire_desired *d, const char *id)
{
    for (size_t i = 0; i < d->n_buffers; i++)
        if (strcmp(d->buffers[i].id, id) == 0)
            return true;
    return false;
}

/* A failure of another order than the one that now stands is no reason to leave that one alone. */
static void note_segment(struct node *n, const struct wire_want_segment *w)
{
    struct segment *s;
    struct err e = { 0 };
    if (w->want == WIRE_KEEP && !segments_find(n, w->id) && segments_get(n, w, &s, &e) < 0)
        log_warn("segment.refused", "%s", e.detail);
    s = segments_find(n, w->id);
    if (!s)
        return;
    s->listed = true;
    if (w->want != WIRE_ABSENT)
        s->tombstone = false;
    if (s->failed && s->failed_want != w->want)
        clear_failure(s);
}

void orders_begin(struct node *n, const struct wire_desired *d)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        n->adapters[i].silent = false;
    for (size_t i = 0; i < n->n_segments; i++)
        n->segments[i].listed = false;
    for (size_t i = 0; i < d->n_segments; i++)
        note_segment(n, &d->segments[i]);
    for (size_t i = n->n_failed; i-- > 0;)
        if (!lists_buffer(d, n->failed[i].order.id))
            n->failed[i] = n->failed[--n->n_failed];
}
