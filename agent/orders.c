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

/* The entry of that buffer's order, made when there is none; NULL: no memory, and the pass is made again. */
static struct failed_buffer *remember(struct node *n, const struct wire_want_buffer *w)
{
    struct failed_buffer *f = find_failed(n, w->id);
    if (!f) {
        struct failed_buffer *more = realloc(n->failed, (n->n_failed + 1) * sizeof *more);
        if (!more) {
            n->incomplete = n->unsure = true;
            return NULL;
        }
        n->failed = more;
        f = &n->failed[n->n_failed++];
        memset(f, 0, sizeof *f);
    }
    const struct node_adapter *a = node_adapter(n, w->adapter);
    f->order = *w;
    if (a && a->seen.lender_id[0])
        memcpy(f->lender_id, a->seen.lender_id, sizeof f->lender_id);
    return f;
}

static void remember_failed(struct node *n, const struct wire_want_buffer *w, const struct err *e)
{
    struct failed_buffer *f = remember(n, w);
    log_warn("buffer.failed", "id=%s attempt=%u: %s", w->id, w->attempt, e->detail);
    if (!f)
        return;
    f->unanswered = false;
    snprintf(f->error, sizeof f->error, "%.199s", e->detail);
}

/* Its lender may be committing it still, and then lists it only when that is over: until it says that it has let the
 * buffer go, the buffer is there. */
static void remember_unanswered(struct node *n, const struct wire_want_buffer *w)
{
    struct failed_buffer *f = remember(n, w);
    if (!f)
        return;
    f->unanswered = true;
    f->error[0] = '\0';
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
            return !b->failed && b->size_bytes == w->size_bytes && b->offset_bytes == w->offset_bytes &&
                   b->section == w->section;
    }
    return false;
}

static int create_buffer(struct node_adapter *a, const struct wire_want_buffer *w, unsigned wait_ms, struct err *e)
{
    struct lender_buffer order = { .section = w->section,
                                   .offset_bytes = w->offset_bytes,
                                   .size_bytes = w->size_bytes };
    memcpy(order.id, w->id, sizeof order.id);
    memcpy(order.compute_node, w->compute_node, sizeof order.compute_node);
    memcpy(order.compute_adapter, w->compute_adapter, sizeof order.compute_adapter);
    int rc = lender_alloc(afu_lender(a->afu), &order, wait_ms, e);
    if (rc < 0 && e->code == ERR_UNREACHABLE) {
        afu_ops(a->afu)->start(a->afu);
        err_clear(e);
        rc = lender_alloc(afu_lender(a->afu), &order, wait_ms, e);
    }
    if (rc == 0)
        log_info("buffer.lent", "id=%s adapter=%s size=%" PRIu64 " to=%s/%s", w->id, w->adapter, w->size_bytes,
                 w->compute_node, w->compute_adapter);
    return rc;
}

/* One buffer after the other is committed: a pass waits for the first of them only. */
static unsigned alloc_wait_ms(const struct node *n, const struct node_adapter *a)
{
    return a->committing ? 0 : (unsigned)agent_config_ms(n->config, ALLOC_WAIT_MS);
}

static bool tried(const struct failed_buffer *f, const struct wire_want_buffer *w)
{
    return f && !f->unanswered && f->order.want == w->want && w->attempt <= f->order.attempt;
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
            pulse_at(&n->pulse, "a lender");
            rc = want == WIRE_CREATE ? create_buffer(a, w, alloc_wait_ms(n, a), &e) : release_buffer(a, w, &e);
            FAULT_POINT("%s.after", want == WIRE_CREATE ? "lend" : "release");
            a->touched = a->relist = true;
            a->silent = rc < 0 && e.code == ERR_TIMEOUT;
            a->committing |= rc < 0 && e.code == ERR_BUSY;
        }
        bool unanswered = e.code == ERR_TIMEOUT || (e.code == ERR_UNREACHABLE && want == WIRE_ABSENT);
        if (rc == 0)
            forget_failed(n, w->id);
        else if (!unanswered && e.code != ERR_BUSY)
            remember_failed(n, w, &e);
        else if (want == WIRE_ABSENT)
            remember_unanswered(n, w); /* or the lender is dead, and the next one will tell */
        n->incomplete |= rc < 0 && (unanswered || e.code == ERR_BUSY);
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
        orders_left_out(n, &e);
    s = segments_find(n, w->id);
    if (!s)
        return;
    s->listed = true;
    if (w->want != WIRE_ABSENT)
        s->tombstone = false;
    if (s->failed && s->failed_want != w->want)
        segments_forgive(s);
}

void orders_begin(struct node *n, const struct wire_desired *d)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        n->adapters[i].silent = n->adapters[i].committing = false;
    for (size_t i = 0; i < n->n_segments; i++)
        n->segments[i].listed = false;
    for (size_t i = 0; i < d->n_segments; i++)
        note_segment(n, &d->segments[i]);
    orders_withdraw(n, d);
    for (size_t i = n->n_failed; i-- > 0;)
        if (!lists_buffer(d, n->failed[i].order.id))
            n->failed[i] = n->failed[--n->n_failed];
}
