/* segments.c - the list of segments of a node (node.h): what labels, orders and the kernel say that there is. */
#include "log.h"
#include "node.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECHECK_MS 10000 /* a segment's blocks are read again after this, and 20 ms more for each block */
#define RECHECK_BLOCK_MS 20
#define SCAN_MS 60000  /* the windows are searched for blocks of nobody */
#define RESCAN_MS 5000 /* after a search that failed */

static struct segment *add(struct node *n)
{
    if (n->n_segments == n->segments_room) {
        size_t room = n->segments_room ? 2 * n->segments_room : 8;
        if (room > 2 * WIRE_MAX_OBJECTS)
            return NULL;
        struct segment *more = realloc(n->segments, room * sizeof *more);
        if (!more)
            return NULL;
        n->segments = more;
        n->segments_room = room;
    }
    struct segment *s = &n->segments[n->n_segments++];
    memset(s, 0, sizeof *s);
    s->numa_node = -1;
    return s;
}

struct segment *segments_find(struct node *n, const char *id)
{
    for (size_t i = 0; i < n->n_segments; i++)
        if (strcmp(n->segments[i].label.id, id) == 0)
            return &n->segments[i];
    return NULL;
}

struct range segments_range(const struct node *n, const struct segment *s)
{
    const struct wire_adapter *w = &n->adapters[s->adapter].config->wire;
    return (struct range){ w->window_addr + s->label.section * TIB + s->label.offset_bytes, s->label.size_bytes };
}

/* Makes a segment from a label, and reads its blocks unless the caller will, when it lies in the window of one of this
 * node's compute adapters in whole blocks.  Blocks that cannot be read make a segment too: they are not gone. */
static int add_label(struct node *n, const struct label *l, bool read, struct segment **out, struct err *e)
{
    struct node_adapter *a = node_adapter(n, l->adapter);
    if (!n->hotplug)
        return err_set(e, ERR_HARDWARE, "this kernel has no memory hot-plug");
    uint64_t block = hotplug_block_bytes(n->hotplug);
    if (!a || a->config->wire.role != WIRE_COMPUTE)
        return err_set(e, ERR_FIELD_INVALID, "%s is no compute adapter of this node", l->adapter);
    if (l->section >= WIRE_SECTIONS || l->size_bytes == 0 || l->size_bytes % block != 0 ||
        l->offset_bytes % block != 0 || l->offset_bytes >= TIB || l->size_bytes > TIB - l->offset_bytes ||
        l->section * TIB + l->offset_bytes + l->size_bytes > a->config->wire.window_bytes)
        return err_set(e, ERR_FIELD_INVALID, "%s: not whole blocks within a section of the window of %s", l->id,
                       l->adapter);
    struct segment *s = add(n);
    if (!s)
        return err_set(e, ERR_INTERNAL, "out of memory");
    s->label = *l;
    s->adapter = (unsigned)(a - n->adapters);
    s->counts.total = (unsigned)(l->size_bytes / block);
    if (segments_find(n, "")) /* what was nobody's may now be its */
        n->scan_at_ms = 0;
    struct err unread = { 0 };
    if (read && segments_read(n, s, &unread) < 0) {
        log_warn("segment.unread", "id=%s: %s", l->id, unread.detail);
        segments_not_read(s);
    }
    *out = s;
    return 0;
}

static bool same_place(const struct label *l, const struct wire_want_segment *w)
{
    return strcmp(l->adapter, w->adapter) == 0 && l->section == w->section && l->offset_bytes == w->offset_bytes &&
           l->size_bytes == w->size_bytes;
}

/* A segment by another id that has blocks online in the range; NULL: none. */
static const struct segment *find_in_range(const struct node *n, const struct wire_want_segment *w)
{
    for (size_t i = 0; i < n->n_segments; i++) {
        const struct segment *s = &n->segments[i];
        const struct label *l = &s->label;
        if (l->id[0] && strcmp(l->id, w->id) != 0 && s->counts.online > 0 && strcmp(l->adapter, w->adapter) == 0 &&
            l->section == w->section && l->offset_bytes < w->offset_bytes + w->size_bytes &&
            w->offset_bytes < l->offset_bytes + l->size_bytes)
            return s;
    }
    return NULL;
}

/* A range has one name: what an orchestrator with an old database orders must not take the memory of another away. */
int segments_get(struct node *n, const struct wire_want_segment *w, struct segment **out, struct err *e)
{
    struct segment *s = segments_find(n, w->id);
    const struct segment *other = s ? NULL : find_in_range(n, w);
    if (other)
        return err_set(e, ERR_CONFLICT, "%s: blocks of %s are online in its range", w->id, other->label.id);
    if (s && !same_place(&s->label, w))
        return err_set(e, ERR_CONFLICT, "%s is known here with another place or size", w->id);
    struct label l = { .section = w->section, .offset_bytes = w->offset_bytes, .size_bytes = w->size_bytes };
    memcpy(l.id, w->id, sizeof l.id);
    memcpy(l.adapter, w->adapter, sizeof l.adapter);
    if (!s && add_label(n, &l, w->want != WIRE_CREATE, &s, e) < 0)
        return -1;
    s->listed = true;
    *out = s;
    return 0;
}

bool segments_job(const struct node *n, const struct segment *s)
{
    return (n->job.running || n->job.hangs) && strcmp(n->job.order.id, s->label.id) == 0;
}

void segments_forgive(struct segment *s)
{
    s->failed = s->blocked = false;
    s->attempt = 0;
    s->error[0] = '\0';
}

void segments_was_read(struct segment *s)
{
    s->unread = false;
    s->recheck_at_ms = time_monotonic_ms() + RECHECK_MS + (int64_t)s->counts.total * RECHECK_BLOCK_MS;
}

void segments_not_read(struct segment *s)
{
    s->unread = true;
    s->quiesced = s->counts.movable = false;
    s->counts.online = s->counts.total;
    s->recheck_at_ms = 0;
}

int segments_read(struct node *n, struct segment *s, struct err *e)
{
    struct range r = segments_range(n, s);
    if (hotplug_read(n->hotplug, r, &s->counts, e) < 0)
        return -1;
    if (s->counts.online > 0) {
        uint64_t block = r.start_addr / hotplug_block_bytes(n->hotplug);
        s->numa_node = n->platform.ops->numa_node(&n->platform, n->adapters[s->adapter].compute_index, block);
        s->quiesced = false;
    }
    segments_was_read(s);
    return 0;
}

bool segments_online_in(struct node *n, const struct node_adapter *a, unsigned section)
{
    for (size_t i = 0; i < n->n_segments; i++) {
        struct segment *s = &n->segments[i];
        struct err e = { 0 };
        if (&n->adapters[s->adapter] != a || s->label.section != section)
            continue;
        if (segments_job(n, s) || segments_read(n, s, &e) < 0 || s->counts.online > 0)
            return true;
    }
    return a->stray;
}

void segments_drop_idle(struct node *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_segments; i++) {
        struct segment *s = &n->segments[i];
        struct err e = { 0 };
        if (s->listed || s->counts.online > 0 || segments_job(n, s)) {
            n->segments[kept++] = *s;
            continue;
        }
        if (s->label.id[0] && labels_remove(n->labels, s->label.id, &e) < 0)
            log_warn("label.remove", "%s", e.detail);
    }
    n->n_segments = kept;
}

/* ---- blocks of nobody ---------------------------------------------------------------------------------------------
 */
struct scan {
    struct node *n;
    unsigned adapter;
    uint64_t *addrs;
    size_t n_addrs, room;
    bool failed;
};

static bool is_in_segment(const struct node *n, uint64_t addr, bool owned)
{
    for (size_t i = 0; i < n->n_segments; i++) {
        struct range r = segments_range(n, &n->segments[i]);
        if ((n->segments[i].label.id[0] != '\0') == owned && addr >= r.start_addr && addr - r.start_addr < r.size_bytes)
            return true;
    }
    return false;
}

static bool is_owned(void *arg, uint64_t addr)
{
    return is_in_segment(((const struct scan *)arg)->n, addr, true);
}

static void on_block(void *arg, uint64_t addr, bool movable UNUSED)
{
    struct scan *s = arg;
    if (s->n_addrs == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        uint64_t *more = realloc(s->addrs, room * sizeof *more);
        if (!more) {
            s->failed = true;
            return;
        }
        s->addrs = more;
        s->room = room;
    }
    s->addrs[s->n_addrs++] = addr;
}

static int compare_addrs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Makes one segment without an id of each run of blocks within a section. */
static void add_runs(struct scan *s)
{
    struct node *n = s->n;
    const struct wire_adapter *w = &n->adapters[s->adapter].config->wire;
    uint64_t block = hotplug_block_bytes(n->hotplug);
    if (s->n_addrs > 0)
        qsort(s->addrs, s->n_addrs, sizeof *s->addrs, compare_addrs);
    for (size_t i = 0, end; i < s->n_addrs; i = end) {
        for (end = i + 1; end < s->n_addrs && s->addrs[end] == s->addrs[end - 1] + block; end++)
            if ((s->addrs[end] - w->window_addr) % TIB == 0)
                break;
        uint64_t offset = s->addrs[i] - w->window_addr;
        struct label l = { .section = (unsigned)(offset / TIB),
                           .offset_bytes = offset % TIB,
                           .size_bytes = (end - i) * block };
        struct segment *made;
        struct err e = { 0 };
        memcpy(l.adapter, w->name, sizeof l.adapter);
        if (add_label(n, &l, true, &made, &e) < 0)
            log_warn("segment.unowned", "adapter=%s section=%u offset=0x%" PRIx64 ": %s", w->name, l.section,
                     l.offset_bytes, e.detail);
        else
            log_warn("segment.unowned",
                     "adapter=%s section=%u offset=0x%" PRIx64 " size=0x%" PRIx64 ": online, without a label", w->name,
                     l.section, l.offset_bytes, l.size_bytes);
    }
}

/* What nobody owns is found anew each time, so that a run that grew, or got its name, is not reported twice. */
static void forget_unowned(struct node *n, unsigned adapter)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_segments; i++)
        if (n->segments[i].label.id[0] || n->segments[i].adapter != adapter)
            n->segments[kept++] = n->segments[i];
    n->n_segments = kept;
}

static void drop_known(struct scan *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n_addrs; i++)
        if (!is_in_segment(s->n, s->addrs[i], false))
            s->addrs[kept++] = s->addrs[i];
    s->n_addrs = kept;
}

/* A search that failed adds what it found, and nothing that was known is gone for that.  True: it did not. */
static bool scan_window(struct node *n, unsigned adapter)
{
    const struct wire_adapter *w = &n->adapters[adapter].config->wire;
    struct range window = { w->window_addr, w->window_bytes };
    struct scan s = { .n = n, .adapter = adapter };
    struct err e = { 0 };
    bool whole = hotplug_scan(n->hotplug, window, is_owned, on_block, &s, &e) == 0 && !s.failed;
    if (whole) {
        forget_unowned(n, adapter);
    } else {
        log_warn("segment.scan", "adapter=%s: %s", w->name, s.failed ? "out of memory" : e.detail);
        drop_known(&s);
    }
    add_runs(&s);
    free(s.addrs);
    return whole;
}

static void scan_windows(struct node *n, int64_t now_ms)
{
    bool whole = true;
    for (unsigned i = 0; n->hotplug && i < n->n_adapters; i++)
        if (n->adapters[i].config->wire.role == WIRE_COMPUTE)
            whole &= scan_window(n, i);
    n->scan_at_ms = now_ms + (whole ? SCAN_MS : RESCAN_MS);
}

/* Labels say that there is memory, and no segment can be made of it. */
static void note_stray(struct node *n, const char *what, const struct err *why)
{
    snprintf(n->stray, sizeof n->stray, "%s: %.150s", what, why->detail);
    log_error("label.stray", "%s: no order is confirmed, as its memory may be online", n->stray);
}

static void on_label(void *arg, const struct label *l)
{
    struct node *n = arg;
    struct node_adapter *a = node_adapter(n, l->adapter);
    struct segment *s;
    struct err e = { 0 };
    if (add_label(n, l, true, &s, &e) < 0) {
        note_stray(n, l->id, &e);
        if (a)
            a->stray = true;
    } else {
        log_info("segment.found", "id=%s adapter=%s section=%u blocks=%u/%u", l->id, l->adapter, l->section,
                 s->counts.online, s->counts.total);
    }
}

void segments_discover(struct node *n)
{
    struct err e = { 0 };
    if (labels_each(n->labels, on_label, n, &e) < 0)
        note_stray(n, "labels", &e);
    scan_windows(n, time_monotonic_ms());
}

void segments_keep_fresh(struct node *n, int64_t now_ms)
{
    for (size_t i = 0; i < n->n_segments; i++) {
        struct err e = { 0 };
        if (now_ms >= n->segments[i].recheck_at_ms && !segments_job(n, &n->segments[i]) &&
            segments_read(n, &n->segments[i], &e) < 0)
            log_warn("segment.read", "id=%s: %s", n->segments[i].label.id, e.detail);
    }
    if (now_ms >= n->scan_at_ms)
        scan_windows(n, now_ms);
}
