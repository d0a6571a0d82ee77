/* model.c - tables, journal, publication: the machinery under model.h.  The meaning of the rows is in model_fabric.c
 * (what there is) and model_reserve.c (what is in use). */
#include "model.h"

#include "log.h"
#include "model_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const node_state_names[] = { "new", "ready", "unreachable", "fenced", "incompatible", NULL };
const char *const enrolment_names[] = { "approved", "waiting", "refused", NULL };
const char *const link_state_names[] = { "unknown", "up", "down", NULL };
const char *const circuit_state_names[] = { "planned", "connecting", "unverified", "up", "closing", NULL };

const char *model_circuit_state(const struct circuit *c)
{
    return c->state == CIRCUIT_PLANNED && c->revision ? "closed" : circuit_state_names[c->state];
}

const char *const attachment_state_names[] = { "pending", "attached", "detaching", "detached",
                                               "failed",  "stuck",    "lost",      NULL };
const char *const step_names[] = { "reserved", "lend", "connect", "map", "online", NULL };

static const size_t row_sizes[MODEL_KINDS] = {
    [MODEL_NODE] = sizeof(struct node),
    [MODEL_ADAPTER] = sizeof(struct adapter),
    [MODEL_PORT] = sizeof(struct port),
    [MODEL_SWITCH] = sizeof(struct sw),
    [MODEL_LINK] = sizeof(struct link),
    [MODEL_CIRCUIT] = sizeof(struct circuit),
    [MODEL_ATTACHMENT] = sizeof(struct attachment),
    [MODEL_BAN] = sizeof(struct ban),
};

void *model_alloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    if (!p) {
        log_error("model.memory", "out of memory for %zu bytes; ending, to be started again from the database", size);
        _exit(EXIT_FAILURE);
    }
    return p;
}

/* ---- blocks shared by rows ----------------------------------------------------------------------------------------
 */
struct shared {
    size_t users;
    max_align_t data[];
};

static struct shared *shared_of(void *block)
{
    return (struct shared *)((char *)block - offsetof(struct shared, data));
}

void *shared_new(size_t size)
{
    struct shared *s = model_alloc(NULL, sizeof *s + size);
    s->users = 1;
    memset(s->data, 0, size);
    return s->data;
}

void *shared_retain(void *block)
{
    if (block)
        shared_of(block)->users++;
    return block;
}

void shared_release(void *block)
{
    if (block && --shared_of(block)->users == 0)
        free(shared_of(block));
}

static void row_retain(enum model_kind kind, struct row *r)
{
    if (kind == MODEL_NODE) {
        shared_retain(((struct node *)r)->labels);
        shared_retain(((struct node *)r)->drives);
        shared_retain(((struct node *)r)->findings);
        shared_retain(((struct node *)r)->unowned);
    }
}

static void row_release(enum model_kind kind, struct row *r)
{
    if (kind == MODEL_NODE) {
        shared_release(((struct node *)r)->labels);
        shared_release(((struct node *)r)->drives);
        shared_release(((struct node *)r)->findings);
        shared_release(((struct node *)r)->unowned);
    }
}

/* ---- tables -------------------------------------------------------------------------------------------------------
 */
size_t model_row_size(enum model_kind kind)
{
    return row_sizes[kind];
}

struct row *model_row(const struct model *m, enum model_kind kind, uint32_t i)
{
    const struct table *t = &m->tables[kind];
    return i < t->n ? (struct row *)((char *)t->rows + (size_t)i * row_sizes[kind]) : NULL;
}

void model_ensure(struct table *t, enum model_kind kind, uint32_t n)
{
    if (n > t->cap) {
        uint32_t cap = t->cap ? t->cap : 16;
        while (cap < n)
            cap += cap / 2;
        t->rows = model_alloc(t->rows, (size_t)cap * row_sizes[kind]);
        t->cap = cap;
    }
    if (n > t->n) {
        memset((char *)t->rows + (size_t)t->n * row_sizes[kind], 0, (size_t)(n - t->n) * row_sizes[kind]);
        t->n = n;
    }
}

int model_new(struct model **out, struct err *e)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    m->names = name_index_new();
    m->savepoint = m->batch = 1;
    m->next_circuit = 1;
    m->topology_version = m->cabling_version = 1;
    m->mark_topology = m->batch_topology = m->mark_cabling = m->batch_cabling = 1;
    m->time_scale = 1.0;
    snprintf(m->actor, sizeof m->actor, "system");
    *out = m;
    return 0;
}

static void journal_drop(struct model *m, size_t from)
{
    for (size_t i = from; i < m->n_journal; i++) {
        row_release(m->journal[i].kind, m->journal[i].before);
        free(m->journal[i].before);
    }
    m->n_journal = from;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    journal_drop(m, 0);
    for (int k = 0; k < MODEL_KINDS; k++) {
        for (uint32_t i = 0; i < m->tables[k].n; i++)
            row_release((enum model_kind)k, model_row(m, (enum model_kind)k, i));
        free(m->tables[k].rows);
    }
    name_index_free(m->names);
    free(m->due.items);
    free(m->due.member);
    free(m->journal);
    free(m->changes.ring);
    free(m->events);
    free(m);
}

struct row *model_edit_row(struct model *m, enum model_kind kind, uint32_t i, bool durable)
{
    struct row *r = model_row(m, kind, i);
    assert(r);
    if (r->batch == m->batch && r->savepoint == m->savepoint) {
        m->journal[r->entry].durable |= durable;
    } else {
        if (m->n_journal == m->cap_journal) {
            m->cap_journal = m->cap_journal ? m->cap_journal * 2 : 64;
            m->journal = model_alloc(m->journal, m->cap_journal * sizeof *m->journal);
        }
        struct journal_entry *j = &m->journal[m->n_journal];
        *j = (struct journal_entry){ .kind = kind, .index = i, .durable = durable };
        j->before = model_alloc(NULL, row_sizes[kind]);
        memcpy(j->before, r, row_sizes[kind]);
        row_retain(kind, r);
        r->batch = m->batch;
        r->savepoint = m->savepoint;
        r->entry = (uint32_t)m->n_journal++;
    }
    if (durable)
        r->changed = m->revision;
    model_note_change(m, kind, i);
    return r;
}

static void row_made(struct model *m, enum model_kind kind, uint32_t i)
{
    struct row *r = model_edit_row(m, kind, i, true);
    struct row keep = *r;
    row_release(kind, r);
    memset(r, 0, row_sizes[kind]);
    *r = keep;
    r->live = true;
    m->tables[kind].n_live++;
}

uint32_t model_add_row(struct model *m, enum model_kind kind)
{
    struct table *t = &m->tables[kind];
    uint32_t i = t->n;
    if (t->n_live < t->n) {
        uint32_t first_free = NONE;
        for (i = t->free_hint; i < t->n; i++) {
            const struct row *r = model_row(m, kind, i);
            if (!r->live && first_free == NONE)
                first_free = i;
            if (!r->live && r->batch != m->batch) /* what ended in this batch has still to be stored */
                break;
        }
        t->free_hint = first_free == NONE ? t->n : first_free;
    }
    model_ensure(t, kind, i + 1);
    row_made(m, kind, i);
    return i;
}

uint32_t model_add_rows(struct model *m, enum model_kind kind, uint32_t n)
{
    struct table *t = &m->tables[kind];
    uint32_t first = t->n;
    model_ensure(t, kind, first + n);
    for (uint32_t i = 0; i < n; i++)
        row_made(m, kind, first + i);
    return first;
}

void model_remove_row(struct model *m, enum model_kind kind, uint32_t i)
{
    struct row *r = model_edit_row(m, kind, i, true);
    name_index_remove(m, kind, i);
    r->live = false;
    m->tables[kind].n_live--;
    if (i < m->tables[kind].free_hint)
        m->tables[kind].free_hint = i;
}

uint32_t model_count(const struct model *m, enum model_kind kind)
{
    return m->tables[kind].n;
}

#define ACCESSORS(type, name, kind)                                                                                    \
    const struct type *model_##name(const struct model *m, uint32_t i)                                                 \
    {                                                                                                                  \
        const struct row *r = model_row(m, kind, i);                                                                   \
        return r && r->live ? (const struct type *)r : NULL;                                                           \
    }                                                                                                                  \
    struct type *model_edit_##name(struct model *m, uint32_t i)                                                        \
    {                                                                                                                  \
        return (struct type *)model_edit_row(m, kind, i, true);                                                        \
    }

ACCESSORS(node, node, MODEL_NODE)
ACCESSORS(adapter, adapter, MODEL_ADAPTER)
ACCESSORS(port, port, MODEL_PORT)
ACCESSORS(sw, switch, MODEL_SWITCH)
ACCESSORS(link, link, MODEL_LINK)
ACCESSORS(circuit, circuit, MODEL_CIRCUIT)
ACCESSORS(attachment, attachment, MODEL_ATTACHMENT)
ACCESSORS(ban, ban, MODEL_BAN)

#define TOUCH(type, name, kind)                                                                                        \
    struct type *model_touch_##name(struct model *m, uint32_t i)                                                       \
    {                                                                                                                  \
        return (struct type *)model_edit_row(m, kind, i, false);                                                       \
    }

TOUCH(node, node, MODEL_NODE)
TOUCH(adapter, adapter, MODEL_ADAPTER)
TOUCH(port, port, MODEL_PORT)
TOUCH(sw, switch, MODEL_SWITCH)
TOUCH(circuit, circuit, MODEL_CIRCUIT)
TOUCH(attachment, attachment, MODEL_ATTACHMENT)

/* ---- transactions -------------------------------------------------------------------------------------------------
 */
void model_savepoint(struct model *m)
{
    m->savepoint++;
    m->mark_journal = m->n_journal;
    m->mark_events = m->n_events;
    m->mark_next_circuit = m->next_circuit;
    m->mark_topology = m->topology_version;
    m->mark_cabling = m->cabling_version;
}

static void restore(struct model *m, const struct journal_entry *j)
{
    struct table *t = &m->tables[j->kind];
    struct row *r = model_row(m, j->kind, j->index);
    if (r->live) {
        name_index_remove(m, j->kind, j->index);
        t->n_live--;
    }
    row_release(j->kind, r);
    memcpy(r, j->before, row_sizes[j->kind]); /* takes over its share of the blocks */
    free(j->before);
    if (r->live) {
        name_index_add(m, j->kind, j->index);
        t->n_live++;
    } else if (j->index < t->free_hint) {
        t->free_hint = j->index;
    }
    model_note_change(m, j->kind, j->index);
}

void model_rollback(struct model *m)
{
    while (m->n_journal > m->mark_journal)
        restore(m, &m->journal[--m->n_journal]);
    m->n_events = m->mark_events;
    m->next_circuit = m->mark_next_circuit;
    m->topology_version += m->topology_version != m->mark_topology;
    m->cabling_version += m->cabling_version != m->mark_cabling;
}

void model_rollback_batch(struct model *m)
{
    m->mark_journal = 0;
    m->mark_events = 0;
    m->mark_next_circuit = m->batch_next_circuit;
    m->mark_topology = m->batch_topology;
    m->mark_cabling = m->batch_cabling;
    model_rollback(m);
    model_commit_done(m);
}

void model_commit_done(struct model *m)
{
    journal_drop(m, 0);
    m->n_events = 0;
    m->batch++;
    m->batch_next_circuit = m->next_circuit;
    m->batch_topology = m->topology_version;
    m->batch_cabling = m->cabling_version;
    model_savepoint(m);
}

bool model_has_durable_changes(const struct model *m)
{
    if (m->n_events)
        return true;
    for (size_t i = 0; i < m->n_journal; i++)
        if (m->journal[i].durable)
            return true;
    return false;
}

static void publish_row(struct model *dst, const struct model *src, enum model_kind kind, uint32_t i)
{
    struct table *t = &dst->tables[kind];
    model_ensure(t, kind, i + 1);
    struct row *to = model_row(dst, kind, i), *from = model_row(src, kind, i);
    if (to->live) {
        name_index_remove(dst, kind, i);
        t->n_live--;
    }
    row_release(kind, to);
    memcpy(to, from, row_sizes[kind]);
    row_retain(kind, to);
    if (to->live) {
        name_index_add(dst, kind, i);
        t->n_live++;
    }
}

void model_publish(struct model *dst, const struct model *src)
{
    for (size_t i = 0; i < src->n_journal; i++) {
        const struct journal_entry *j = &src->journal[i];
        if (model_row(src, j->kind, j->index)->entry == i)
            publish_row(dst, src, j->kind, j->index);
    }
    dst->topology_version = src->topology_version;
    dst->cabling_version = src->cabling_version;
    dst->next_circuit = src->next_circuit;
    dst->revision = src->revision;
    dst->now_ms = src->now_ms;
    dst->wall_ms = src->wall_ms;
    dst->time_scale = src->time_scale;
    dst->recovering = src->recovering;
}

int model_load_row(struct model *m, enum model_kind kind, uint32_t index, const void *row, struct err *e)
{
    struct table *t = &m->tables[kind];
    if (index >= UINT32_MAX / 2)
        return err_set(e, ERR_STORAGE, "row %u of table %d is out of range", index, (int)kind);
    model_ensure(t, kind, index + 1);
    struct row *r = model_row(m, kind, index);
    if (r->live)
        return err_set(e, ERR_STORAGE, "row %u of table %d is there twice", index, (int)kind);
    uint64_t changed = ((const struct row *)row)->changed;
    memcpy(r, row, row_sizes[kind]);
    *r = (struct row){ .live = true, .changed = changed };
    t->n_live++;
    return 0;
}

/* ---- events -------------------------------------------------------------------------------------------------------
 */
void model_emit(struct model *m, const char *type, const char *object, const char *from, const char *to,
                const char *reason)
{
    if (m->n_events == m->cap_events) {
        m->cap_events = m->cap_events ? m->cap_events * 2 : 32;
        m->events = model_alloc(m->events, m->cap_events * sizeof *m->events);
    }
    struct model_event *ev = &m->events[m->n_events++];
    memset(ev, 0, sizeof *ev);
    ev->at_ms = m->wall_ms;
    snprintf(ev->type, sizeof ev->type, "%s", type);
    snprintf(ev->object, sizeof ev->object, "%s", object);
    snprintf(ev->from, sizeof ev->from, "%s", from ? from : "");
    snprintf(ev->to, sizeof ev->to, "%s", to ? to : "");
    snprintf(ev->reason, sizeof ev->reason, "%s", reason ? reason : "");
    snprintf(ev->actor, sizeof ev->actor, "%s", m->actor);
}

void model_emit_attachment(struct model *m, const struct attachment *a, const char *from, const char *to,
                           const char *reason)
{
    char object[sizeof "attachment/" + ID_SIZE];
    snprintf(object, sizeof object, "attachment/%s", a->id);
    model_emit(m, "attachment.state", object, from, to, reason);
}
