#include "arena.h"

#include "backing.h"
#include "log.h"
#include "pages.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#define COMMIT_BYTES (UINT64_C(64) << 20) /* at a time, so that other requests need not wait */
#define OTHER_FILES 64                    /* descriptors that buffers leave to the rest of the process */

struct arena {
    bool used;
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    unsigned section;
    uint64_t base;
};

enum state { FREE, COMMITTING, READY, FAILED };

struct slot {
    enum state state;
    struct buffer b;
    const struct arena *arena;
    struct piece piece;
    struct err why; /* FAILED */
};

struct arenas {
    struct backing backing;
    bool locked;
    size_t max_buffers, n_buffers;
    size_t n_slots; /* ever used: what is behind was never touched, and takes no memory */
    int maps_fd;    /* /proc/self/maps: open from the start on, so that no proof fails for want of a descriptor */
    struct arena arenas[ARENA_MAX];
    struct slot slots[ARENA_MAX_BUFFERS];
};

int arenas_new(struct arenas **out, const struct arenas_options *o, struct err *e)
{
    struct arenas *a = pages_table(sizeof *a);
    struct rlimit files;
    int rc;
    if (!a)
        return err_set(e, ERR_INTERNAL, "out of memory");
    a->locked = o->locked;
    a->max_buffers = ARENA_MAX_BUFFERS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < ARENA_MAX_BUFFERS + OTHER_FILES)
        a->max_buffers = files.rlim_cur > OTHER_FILES ? files.rlim_cur - OTHER_FILES : 0;
    a->maps_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (a->maps_fd < 0)
        rc = err_errno(e, ERR_IO, "cannot open /proc/self/maps");
    else
        rc = backing_open(&a->backing, o->backing_dir, o->arena_file, e);
    if (rc < 0) {
        cleanup_close(&a->maps_fd);
        pages_drop((uintptr_t)a, sizeof *a);
        return -1;
    }
    *out = a;
    return 0;
}

void arenas_free(struct arenas *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_slots; i++)
        if (a->slots[i].state != FREE)
            cleanup_close(&a->slots[i].piece.fd);
    for (size_t i = 0; i < ARENA_MAX; i++)
        if (a->arenas[i].used)
            pages_drop(a->arenas[i].base, ARENA_BYTES);
    backing_close(&a->backing);
    cleanup_close(&a->maps_fd);
    pages_drop((uintptr_t)a, sizeof *a);
}

/* ---- what is asked for ------------------------------------------------------------------------------------------- */
static int check_geometry(const struct arenas *a, const struct geometry *g, struct err *e)
{
    if (!id_valid(g->id) || !name_valid(g->compute_node) || !name_valid(g->compute_adapter))
        return err_set(e, ERR_FIELD_INVALID, "not a valid id or name");
    if (g->section >= ARENA_SECTIONS || !g->size_bytes || g->size_bytes > ARENA_BYTES ||
        g->offset_bytes > ARENA_BYTES - g->size_bytes)
        return err_set(e, ERR_FIELD_INVALID, "the range is not inside an arena");
    if (g->offset_bytes % a->backing.unit || g->size_bytes % a->backing.unit)
        return err_set(e, ERR_FIELD_INVALID, "the range is not in whole pages of %" PRIu64 " bytes", a->backing.unit);
    return 0;
}

static bool same_geometry(const struct geometry *x, const struct geometry *y)
{
    return !strcmp(x->compute_node, y->compute_node) && !strcmp(x->compute_adapter, y->compute_adapter) &&
           x->section == y->section && x->offset_bytes == y->offset_bytes && x->size_bytes == y->size_bytes;
}

/* In one arena; and where one file is behind all, in all of them. */
static int check_overlap(const struct arenas *a, const struct arena *r, const struct geometry *g, struct err *e)
{
    for (const struct slot *s = a->slots; s < a->slots + a->n_slots; s++) {
        const struct geometry *o = &s->b.g;
        if (s->state != FREE && (s->arena == r || a->backing.file_fd >= 0) &&
            o->offset_bytes < g->offset_bytes + g->size_bytes && g->offset_bytes < o->offset_bytes + o->size_bytes)
            return err_set(e, ERR_CONFLICT, "the range overlaps buffer %s", o->id);
    }
    return 0;
}

/* ---- arenas ------------------------------------------------------------------------------------------------------ */
static struct arena *find_arena(struct arenas *a, const struct geometry *g)
{
    for (struct arena *r = a->arenas; r < a->arenas + ARENA_MAX; r++)
        if (r->used && r->section == g->section && !strcmp(r->compute_node, g->compute_node) &&
            !strcmp(r->compute_adapter, g->compute_adapter))
            return r;
    return NULL;
}

static bool is_empty(const struct arenas *a, const struct arena *r)
{
    for (const struct slot *s = a->slots; s < a->slots + a->n_slots; s++)
        if (s->state != FREE && s->arena == r)
            return false;
    return true;
}

static bool drop_empty_arena(struct arenas *a)
{
    for (struct arena *r = a->arenas; r < a->arenas + ARENA_MAX; r++)
        if (r->used && is_empty(a, r)) {
            pages_drop(r->base, ARENA_BYTES);
            r->used = false;
            return true;
        }
    return false;
}

/* An arena keeps its base for this process's life; only when there is no room for another, an empty one is given up. */
static int get_arena(struct arenas *a, const struct geometry *g, struct arena **out, struct err *e)
{
    struct arena *r = a->arenas;
    uint64_t base = 0;
    if ((*out = find_arena(a, g)))
        return 0;
    while (pages_reserve(&base, ARENA_BYTES, e) < 0)
        if (!drop_empty_arena(a))
            return err_set(e, ERR_TOO_MANY, "no address space left for another arena");
    while (r < a->arenas + ARENA_MAX && r->used)
        r++;
    if (r == a->arenas + ARENA_MAX) {
        pages_drop(base, ARENA_BYTES);
        return err_set(e, ERR_TOO_MANY, "no room for another arena");
    }
    *r = (struct arena){ .used = true, .section = g->section, .base = base };
    memcpy(r->compute_node, g->compute_node, NAME_SIZE);
    memcpy(r->compute_adapter, g->compute_adapter, NAME_SIZE);
    *out = r;
    return 0;
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */
static struct slot *find_slot(struct arenas *a, const char *id)
{
    for (struct slot *s = a->slots; s < a->slots + a->n_slots; s++)
        if (s->state != FREE && !strcmp(s->b.g.id, id))
            return s;
    return NULL;
}

static struct slot *free_slot(struct arenas *a)
{
    if (a->n_buffers >= a->max_buffers)
        return NULL;
    for (struct slot *s = a->slots; s < a->slots + a->n_slots; s++)
        if (s->state == FREE)
            return s;
    return &a->slots[a->n_slots++];
}

/* The zero page first: from then on the adapter's writes cannot fill the hole again.  Then no page is left in the file,
 * and nothing of it is in the range. */
static int empty(const struct arenas *a, const struct slot *s, struct err *e)
{
    const struct geometry *g = &s->b.g;
    return pages_zero(s->b.effective_addr, g->size_bytes, e) < 0 ||
                   backing_empty(&a->backing, g->id, &s->piece, e) < 0 ||
                   pages_prove_zero(a->maps_fd, s->b.effective_addr, g->size_bytes, e) < 0
               ? -1
               : 0;
}

static int forget(struct arenas *a, struct slot *s, struct err *e)
{
    if (empty(a, s, e) < 0 || backing_remove(&a->backing, s->b.g.id, &s->piece, e) < 0)
        return -1;
    s->state = FREE;
    a->n_buffers--;
    log_info("lender.released", "id=%s", s->b.g.id);
    return 0;
}

/* The memory goes back now, or, when even that fails, as soon as anybody asks. */
static void fail(struct arenas *a, struct slot *s, const struct err *why)
{
    struct err ignored;
    s->state = FAILED;
    s->why = *why;
    s->b.committed_bytes = empty(a, s, &ignored) < 0 ? s->b.g.size_bytes : 0; /* all of it counts until it is gone */
    log_warn("lender.no_memory", "id=%s %s", s->b.g.id, why->detail);
}

static int tell_failure(struct arenas *a, struct slot *s, struct err *e)
{
    struct err why = s->why;
    if (forget(a, s, e) == 0)
        *e = why;
    return -1;
}

static int make(struct arenas *a, const struct geometry *g, struct slot **out, struct err *e)
{
    struct slot *s = free_slot(a);
    struct arena *r = NULL;
    struct piece piece;
    if (!s)
        return err_set(e, ERR_TOO_MANY, "no room for another buffer");
    if (get_arena(a, g, &r, e) < 0 || check_overlap(a, r, g, e) < 0 ||
        backing_create(&a->backing, g->id, g->offset_bytes, g->size_bytes, &piece, e) < 0)
        return -1;
    *s = (struct slot){ .state = a->locked ? COMMITTING : READY, .arena = r, .piece = piece };
    s->b = (struct buffer){ .g = *g, .effective_addr = r->base + g->offset_bytes };
    s->b.committed_bytes = a->locked ? 0 : g->size_bytes;
    a->n_buffers++;
    if (pages_map(s->b.effective_addr, g->size_bytes, piece.fd, piece.offset, e) < 0) {
        fail(a, s, e);
        return tell_failure(a, s, e);
    }
    log_info("lender.buffer", "id=%s for=%s/%s section=%u offset=%" PRIu64 " size=%" PRIu64, g->id, g->compute_node,
             g->compute_adapter, g->section, g->offset_bytes, g->size_bytes);
    *out = s;
    return 0;
}

int arenas_alloc(struct arenas *a, const struct geometry *g, const struct buffer **out, struct err *e)
{
    if (check_geometry(a, g, e) < 0)
        return -1;
    struct slot *s = find_slot(a, g->id);
    if (s && s->state == FAILED)
        return tell_failure(a, s, e);
    if (s && !same_geometry(&s->b.g, g))
        return err_set(e, ERR_CONFLICT, "buffer %s exists with another place or size", g->id);
    if (!s && make(a, g, &s, e) < 0)
        return -1;
    *out = &s->b;
    return 0;
}

static struct slot *committing(struct arenas *a)
{
    for (struct slot *s = a->slots; s < a->slots + a->n_slots; s++)
        if (s->state == COMMITTING)
            return s;
    return NULL;
}

bool arenas_commit(struct arenas *a)
{
    struct slot *s = committing(a);
    struct err e;
    if (!s)
        return false;
    uint64_t done = s->b.committed_bytes, left = s->b.g.size_bytes - done;
    uint64_t most = a->backing.unit > COMMIT_BYTES ? a->backing.unit : COMMIT_BYTES;
    uint64_t piece = left < most ? left : most;
    if (pages_populate(s->piece.fd, s->piece.offset + done, s->b.effective_addr + done, piece, &e) < 0)
        fail(a, s, &e);
    else if ((s->b.committed_bytes += piece) == s->b.g.size_bytes)
        s->state = READY;
    return committing(a) != NULL;
}

int arenas_release(struct arenas *a, const char *id, struct err *e)
{
    struct slot *s = find_slot(a, id);
    return s ? forget(a, s, e) : 0;
}

const struct buffer *arenas_next(const struct arenas *a, size_t *slot, const struct err **why)
{
    while (*slot < a->n_slots) {
        const struct slot *s = &a->slots[(*slot)++];
        bool held = s->state == FAILED && s->b.committed_bytes > 0;
        if (why)
            *why = held ? &s->why : NULL;
        if (s->state == READY || (held && why))
            return &s->b;
    }
    return NULL;
}

struct arenas_totals arenas_totals(const struct arenas *a)
{
    struct arenas_totals t = { .page_bytes = a->backing.unit };
    for (const struct slot *s = a->slots; s < a->slots + a->n_slots; s++) {
        if (s->state == FREE || (s->state == FAILED && !s->b.committed_bytes))
            continue;
        t.n_buffers++;
        t.lent_bytes += s->b.g.size_bytes;
        t.locked_bytes += a->locked ? s->b.committed_bytes : 0;
    }
    return t;
}
