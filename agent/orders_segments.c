/* orders_segments.c - orders for ranges of memory blocks (orders.h).
 *
 * An order is begun in a pass, and mostly done within INLINE_MS, so that one report tells of it.  One that takes longer
 * (thousands of blocks, a block that hangs) goes on by itself: it is tended between the passes, and meanwhile all other
 * orders of the node are served, but those that need the hot-plug too: the kernel would let them wait as well.  What is
 * under way is neither done nor failed, and its section counts as online.
 *
 * An order that is withdrawn while it is under way is ended between two blocks: memory whose donor was lost is brought
 * neither online nor offline.  One whose child cannot be ended (node_job.hangs) has failed, and that is said, but it
 * stays under way: the kernel may still do what it was told.  Until that child is gone nothing is hot-plugged on this
 * node, and nothing is quiesced. */
#include "converge.h"
#include "faultpoint.h"
#include "log.h"
#include "orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INLINE_MS 300

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
    if (inventory_memory(&n->sys, &n->proc, &none, &m, e) < 0)
        return -1;
    return inventory_room(&m, s->numa_node, s->counts.online * hotplug_block_bytes(n->hotplug),
                          inventory_reserve(&n->proc), e);
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

/* Starts what is left to do; '*started' false: no block is online.  The child reads each block's state before it
 * touches it: a range that was all online when it was last read is not read once more for that. */
static int begin_offline(struct node *n, struct segment *s, bool *started, struct err *e)
{
    *started = false;
    if (s->counts.online < s->counts.total && segments_read(n, s, e) < 0)
        return -1;
    if (s->counts.online == 0)
        return 0;
    /* Every page in use is read: over a way that leads nowhere that is a machine check. */
    if (check_mapped(n, s, e) < 0 || check_room(n, s, e) < 0)
        return -1;
    s->quiesced = false;
    FAULT_POINT("offline.before");
    *started = true;
    return hotplug_start(n->hotplug, segments_range(n, s), false, 0, e);
}

static int finish_offline(struct node *n, struct segment *s, struct err *e)
{
    s->tombstone = true;
    if (s->quiesced)
        return 0;
    pid_t wedged = children_wedged(&n->children);
    if (wedged)
        return err_set(e, ERR_BUSY, "process %d hangs in the kernel: nothing is quiesced before its end", (int)wedged);
    if (n->platform.ops->quiesce(&n->platform, &n->children, s->label.adapter, e) < 0)
        return -1;
    s->quiesced = true;
    FAULT_POINT("quiesce.after");
    return 0;
}

static void put_label(struct node *n, const struct segment *s)
{
    struct err e = { 0 };
    if (labels_put(n->labels, &s->label, &e) < 0)
        log_warn("label.put", "%s: the segment is known by the orchestrator's word only", e.detail);
}

static int begin_online(struct node *n, struct segment *s, struct err *e)
{
    struct node_adapter *a = &n->adapters[s->adapter];
    uint64_t flits = 0;
    if (check_mapped(n, s, e) < 0)
        return -1;
    put_label(n, s);
    if (afu_moved(a->afu, &flits, e) < 0) /* what moved until now is not ours */
        return -1;
    s->quiesced = s->counts.movable = false;
    FAULT_POINT("online.before");
    return hotplug_start(n->hotplug, segments_range(n, s), true, a->compute_index, e);
}

static void finish_online(struct node *n, struct segment *s, const struct hotplug_result *r)
{
    struct node_adapter *a = &n->adapters[s->adapter];
    struct err none = { 0 };
    uint64_t flits = 0;
    FAULT_POINT("online.after");
    s->label.touched = r->touched && afu_moved(a->afu, &flits, &none) == 0 && flits > 0;
    if (s->label.touched && labels_touch(n->labels, s->label.id, &none) < 0)
        log_warn("label.touch", "%s", none.detail);
    if (!s->label.touched)
        log_warn("segment.untouched", "id=%s: nothing shows that its memory was reached (%s)", s->label.id,
                 r->why[0] ? r->why : "the adapter counted nothing");
    log_info("segment.online", "id=%s adapter=%s section=%u blocks=%u numa_node=%d", s->label.id, s->label.adapter,
             s->label.section, s->counts.total, s->numa_node);
}

/* ---- under way ----------------------------------------------------------------------------------------------------
 */
static int conclude(struct node *n, struct segment *s, const struct hotplug_result *r, int rc, struct err *e)
{
    bool online = n->job.order.want == WIRE_CREATE;
    if (r->counts.total > 0) {
        s->counts = r->counts;
        segments_was_read(s);
    } else {
        segments_not_read(s);
    }
    if (online)
        s->numa_node = n->platform.ops->numa_node(&n->platform, n->adapters[s->adapter].compute_index,
                                                  segments_range(n, s).start_addr / hotplug_block_bytes(n->hotplug));
    if (rc < 0)
        return -1;
    if (online) {
        finish_online(n, s, r);
        return 0;
    }
    FAULT_POINT("offline.after");
    log_info("segment.offline", "id=%s blocks=%u", s->label.id, s->counts.total);
    return finish_offline(n, s, e);
}

/* The child of the order that just ended may be wedged: then it is not over. */
static void note_end(struct node *n, const char *why)
{
    pid_t wedged = children_wedged(&n->children);
    n->job.running = false;
    n->job.hangs = wedged != 0;
    if (wedged && why[0])
        snprintf(n->job.why, sizeof n->job.why, "%.199s", why);
    else if (wedged)
        snprintf(n->job.why, sizeof n->job.why, "process %d hangs in the kernel", (int)wedged);
}

/* Reads the blocks that a child may have changed. */
static void read_after(struct node *n, struct segment *s)
{
    struct err e = { 0 };
    if (segments_read(n, s, &e) == 0)
        return;
    log_warn("segment.read", "id=%s: %s", s->label.id, e.detail);
    segments_not_read(s);
}

/* The wedged child is gone: what it did after all is read, and what waited for that is tried again. */
static void let_go(struct node *n)
{
    struct segment *s = segments_find(n, n->job.order.id);
    n->job.hangs = false;
    if (s)
        read_after(n, s);
    for (size_t i = 0; i < n->n_segments; i++)
        if (n->segments[i].blocked)
            segments_forgive(&n->segments[i]);
}

/* Says of an order that it waits for a wedged child, once for each attempt. */
static void fail_blocked(struct node *n, struct segment *s, const struct wire_want_segment *w)
{
    struct err e = { 0 };
    if (s->failed && s->failed_want == w->want && w->attempt <= s->attempt)
        return;
    (void)!err_set(&e, ERR_BUSY, "%u of %u blocks are online: %s%.150s", s->counts.online, s->counts.total,
                   segments_job(n, s) ? "" : "hot-plug waits, as ", n->job.why);
    fail_segment(n, s, w, &e);
    s->blocked = true;
}

static bool still_wanted(const struct node *n, const struct wire_desired *d)
{
    for (size_t i = 0; i < d->n_segments; i++)
        if (strcmp(d->segments[i].id, n->job.order.id) == 0)
            return d->segments[i].want == n->job.order.want;
    return false;
}

void orders_withdraw(struct node *n, const struct wire_desired *d)
{
    struct segment *s = n->job.running ? segments_find(n, n->job.order.id) : NULL;
    struct err e = { 0 };
    if (!s || still_wanted(n, d))
        return;
    int rc = hotplug_abort(n->hotplug, &e);
    note_end(n, e.detail);
    read_after(n, s);
    log_info("segment.withdrawn", "id=%s blocks=%u/%u%s%s", s->label.id, s->counts.online, s->counts.total,
             rc < 0 ? ": " : "", e.detail);
}

bool orders_tend(struct node *n, long wait_ms)
{
    if (n->job.hangs && children_wedged(&n->children) == 0) {
        let_go(n);
        return true;
    }
    struct segment *s = n->job.running ? segments_find(n, n->job.order.id) : NULL;
    struct progress p = { n, s };
    struct hotplug_result r;
    struct err e = { 0 };
    int rc;
    if (!s || !hotplug_tend(n->hotplug, wait_ms, on_progress, &p, &r, &rc, &e))
        return false;
    note_end(n, r.why);
    rc = conclude(n, s, &r, rc, &e);
    if (rc == 0)
        segments_forgive(s);
    else
        fail_segment(n, s, &n->job.order, &e);
    s->blocked = rc < 0 && n->job.hangs;
    return true;
}

/* ---- passes -------------------------------------------------------------------------------------------------------
 */
static bool is_done(const struct segment *s, enum wire_want want)
{
    if (want == WIRE_ABSENT)
        return s->tombstone && s->quiesced && s->counts.online == 0;
    return s->counts.online == s->counts.total && s->counts.movable;
}

/* Begins an order; most are done when this returns. */
static int begin(struct node *n, struct segment *s, const struct wire_want_segment *w, struct err *e)
{
    bool started = true;
    if ((w->want == WIRE_ABSENT ? begin_offline(n, s, &started, e) : begin_online(n, s, e)) < 0)
        return -1;
    if (!started)
        return finish_offline(n, s, e);
    n->job = (struct node_job){ .running = true, .order = *w };
    orders_tend(n, INLINE_MS);
    return 0;
}

void orders_left_out(struct node *n, const struct err *e)
{
    log_warn("segment.refused", "%s", e->detail);
    if (e->code != ERR_CONFLICT && e->code != ERR_FIELD_INVALID && e->code != ERR_HARDWARE)
        n->incomplete = n->unsure = true;
}

static void do_segment(struct node *n, const struct wire_want_segment *w)
{
    struct segment *s;
    struct err e = { 0 };
    if (segments_get(n, w, &s, &e) < 0) { /* there is nothing that could be said to have failed */
        orders_left_out(n, &e);
        return;
    }
    if (n->job.running && (segments_job(n, s) || !is_done(s, w->want)))
        return; /* the next pass comes when it is over */
    if (n->job.hangs && (segments_job(n, s) || !is_done(s, w->want))) {
        fail_blocked(n, s, w);
        return;
    }
    if (s->unread && segments_read(n, s, &e) < 0) {
        n->incomplete = true;
        log_warn("segment.unread", "id=%s: %s", w->id, e.detail);
        return;
    }
    if (is_done(s, w->want)) {
        segments_forgive(s);
        return;
    }
    if (s->failed && w->attempt <= s->attempt)
        return;
    if (begin(n, s, w, &e) < 0)
        fail_segment(n, s, w, &e);
    else if (is_done(s, w->want))
        segments_forgive(s);
}

static void do_segments(struct node *n, const struct wire_desired *d, enum wire_want want)
{
    for (size_t i = 0; i < d->n_segments; i++)
        if (d->segments[i].want == want)
            do_segment(n, &d->segments[i]);
}

void orders_segments_absent(struct node *n, const struct wire_desired *d)
{
    do_segments(n, d, WIRE_ABSENT);
}

void orders_segments_create(struct node *n, const struct wire_desired *d)
{
    do_segments(n, d, WIRE_CREATE);
}
