#include "arena.h"

#include "backing.h"
#include "pages.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define COMMIT_BYTES (UINT64_C(64) << 20) /* at a time, so that other requests need not wait */
#define OTHER_FILES 64                    /* descriptors that buffers leave to the rest of the process */

struct arena {
    bool used;
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    unsigned section;
    uint64_t base;
    unsigned n_buffers;
};

struct slot {
    bool used, broken; /* broken: could not be committed nor undone; the next alloc or release tries again */
    struct buffer b;
    struct arena *arena;
    struct piece piece;
};

struct arenas {
    struct backing backing;
    bool locked;
    size_t max_buffers, n_buffers, n_committing;
    size_t n_arenas, n_slots; /* ever used: what is behind was never touched, and takes no memory */
    struct arena arenas[ARENA_MAX];
    struct slot slots[ARENA_MAX_BUFFERS];
    char failed_id[ID_SIZE]; /* why the last buffer that was undone could not be committed */
    struct err failed;
};

int arenas_new(struct arenas **out, const struct arenas_options *o, struct err *e)
{
    struct arenas *a = calloc(1, sizeof *a);
    struct rlimit files;
    if (!a)
        return err_set(e, ERR_INTERNAL, "out of memory");
    a->locked = o->locked;
    a->max_buffers = ARENA_MAX_BUFFERS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < ARENA_MAX_BUFFERS + OTHER_FILES)
        a->max_buffers = files.rlim_cur > OTHER_FILES ? files.rlim_cur - OTHER_FILES : 0;
    if (backing_open(&a->backing, o->backing_dir, o->arena_file, e) < 0) {
        free(a);
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
        if (a->slots[i].used)
            cleanup_close(&a->slots[i].piece.fd);
    for (size_t i = 0; i < a->n_arenas; i++)
        if (a->arenas[i].used)
            pages_drop(a->arenas[i].base, ARENA_BYTES);
    backing_close(&a->backing);
    free(a);
}

static struct slot *find_slot(struct arenas *a, const char *id)
{
    for (size_t i = 0; i < a->n_slots; i++)
        if (a->slots[i].used && !strcmp(a->slots[i].b.g.id, id))
            return &a->slots[i];
    return NULL;
}

static int check_geometry(const struct arenas *a, const struct geometry *g, struct err *e)
{
    if (!id_valid(g->id) || !name_valid(g->compute_node) || !name_valid(g->compute_adapter))
        return err_set(e, ERR_FIELD_INVALID, "not a valid id or name");
    if (g->section >= ARENA_SECTIONS || !g->size_bytes || g->size_bytes > ARENA_BYTES ||
        g->offset_bytes > ARENA_BYTES || g->offset_bytes + g->size_bytes > ARENA_BYTES)
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

static struct arena *find_arena(struct arenas *a, const struct geometry *g)
{
    for (size_t i = 0; i < a->n_arenas; i++) {
        struct arena *r = &a->arenas[i];
        if (r->used && r->section == g->section && !strcmp(r->compute_node, g->compute_node) &&
            !strcmp(r->compute_adapter, g->compute_adapter))
            return r;
    }
    return NULL;
}

static bool drop_empty_arena(struct arenas *a)
{
    for (size_t i = 0; i < a->n_arenas; i++)
        if (a->arenas[i].used && !a->arenas[i].n_buffers) {
            pages_drop(a->arenas[i].base, ARENA_BYTES);
            a->arenas[i].used = false;
            return true;
        }
    return false;
}

/* An arena keeps its base for this process's life; only when address space runs out, an empty one is given up. */
static int get_arena(struct arenas *a, const struct geometry *g, struct arena **out, struct err *e)
{
    uint64_t base = 0;
    if ((*out = find_arena(a, g)))
        return 0;
    while (pages_reserve(&base, ARENA_BYTES, e) < 0)
        if (!drop_empty_arena(a))
            return err_set(e, ERR_TOO_MANY, "no address space left for another arena");
    for (size_t i = 0; i < ARENA_MAX; i++) {
        struct arena *r = &a->arenas[i];
        if (r->used)
            continue;
        if (i == a->n_arenas)
            a->n_arenas++;
        *r = (struct arena){ .used = true, .section = g->section, .base = base };
        memcpy(r->compute_node, g->compute_node, NAME_SIZE);
        memcpy(r->compute_adapter, g->compute_adapter, NAME_SIZE);
        *out = r;
        return 0;
    }
    pages_drop(base, ARENA_BYTES);
    return err_set(e, ERR_TOO_MANY, "no room for another arena");
}

static int check_overlap(const struct arenas *a, const struct arena *r, const struct geometry *g, struct err *e)
{
    for (size_t i = 0; i < a->n_slots; i++) {
        const struct slot *s = &a->slots[i];
        const struct geometry *o = &s->b.g;
        if (s->used && (s->arena == r || a->backing.file_fd >= 0) &&
            o->offset_bytes < g->offset_bytes + g->size_bytes && g->offset_bytes < o->offset_bytes + o->size_bytes)
            return err_set(e, ERR_CONFLICT, "the range overlaps buffer %s", o->id);
    }
    return 0;
}

static int map(const struct slot *s, struct err *e)
{
    const struct buffer *b = &s->b;
    int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
    if (mmap((void *)(uintptr_t)b->effective_addr, b->g.size_bytes, PROT_READ | PROT_WRITE, flags, s->piece.fd,
             (off_t)s->piece.offset) == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot map %s", b->g.id);
    return 0;
}

/* The zero page first: from then on the adapter's writes cannot fill the hole again.  Then no page is left in the file,
 * and nothing of it is in the range. */
static int release_slot(struct arenas *a, struct slot *s, struct err *e)
{
    const struct geometry *g = &s->b.g;
    if (pages_zero(s->b.effective_addr, g->size_bytes, e) < 0 || backing_empty(&a->backing, g->id, &s->piece, e) < 0 ||
        pages_prove_zero(s->b.effective_addr, g->size_bytes, e) < 0 ||
        backing_remove(&a->backing, g->id, &s->piece, e) < 0)
        return -1;
    s->arena->n_buffers--;
    a->n_buffers--;
    if (s->b.committed_bytes < g->size_bytes && !s->broken)
        a->n_committing--;
    s->used = false;
    return 0;
}

/* What cannot be had is undone; what cannot be undone now stays, and is tried again. */
static void give_up(struct arenas *a, struct slot *s)
{
    struct err ignored;
    if (release_slot(a, s, &ignored) == 0)
        return;
    if (s->b.committed_bytes < s->b.g.size_bytes)
        a->n_committing--;
    s->broken = true;
}

static struct slot *free_slot(struct arenas *a)
{
    if (a->n_buffers >= a->max_buffers)
        return NULL;
    for (size_t i = 0; i < a->n_slots; i++)
        if (!a->slots[i].used)
            return &a->slots[i];
    return &a->slots[a->n_slots++];
}

static int make(struct arenas *a, const struct geometry *g, struct slot **out, struct err *e)
{
    struct slot *s = free_slot(a);
    struct arena *r = NULL;
    if (!s)
        return err_set(e, ERR_TOO_MANY, "no room for another buffer");
    if (get_arena(a, g, &r, e) < 0 || check_overlap(a, r, g, e) < 0)
        return -1;
    struct piece piece;
    if (backing_create(&a->backing, g->id, g->offset_bytes, g->size_bytes, &piece, e) < 0)
        return -1;
    *s = (struct slot){ .used = true, .arena = r, .piece = piece };
    s->b.g = *g;
    s->b.effective_addr = r->base + g->offset_bytes;
    s->b.committed_bytes = a->locked ? 0 : g->size_bytes;
    a->n_buffers++;
    r->n_buffers++;
    a->n_committing += a->locked;
    if (map(s, e) < 0) {
        give_up(a, s);
        return -1;
    }
    *out = s;
    return 0;
}

int arenas_alloc(struct arenas *a, const struct geometry *g, const struct buffer **out, struct err *e)
{
    if (check_geometry(a, g, e) < 0)
        return -1;
    if (!strcmp(a->failed_id, g->id)) {
        a->failed_id[0] = '\0';
        *e = a->failed;
        return -1;
    }
    struct slot *s = find_slot(a, g->id);
    if (s && s->broken) {
        if (release_slot(a, s, e) < 0)
            return -1;
        s = NULL;
    }
    if (s && !same_geometry(&s->b.g, g))
        return err_set(e, ERR_CONFLICT, "buffer %s exists with another place or size", g->id);
    if (!s && make(a, g, &s, e) < 0)
        return -1;
    *out = &s->b;
    return 0;
}

bool arenas_commit(struct arenas *a)
{
    for (size_t i = 0; i < a->n_slots && a->n_committing; i++) {
        struct slot *s = &a->slots[i];
        uint64_t done = s->b.committed_bytes, left = s->b.g.size_bytes - done;
        if (!s->used || s->broken || !left)
            continue;
        uint64_t piece = left < COMMIT_BYTES || a->backing.unit > COMMIT_BYTES ? left : COMMIT_BYTES;
        if (pages_populate(s->piece.fd, s->piece.offset + done, s->b.effective_addr + done, piece, &a->failed) < 0) {
            memcpy(a->failed_id, s->b.g.id, ID_SIZE);
            give_up(a, s);
            break;
        }
        s->b.committed_bytes += piece;
        a->n_committing -= s->b.committed_bytes == s->b.g.size_bytes;
        break;
    }
    return a->n_committing > 0;
}

int arenas_release(struct arenas *a, const char *id, struct err *e)
{
    struct slot *s = find_slot(a, id);
    return s ? release_slot(a, s, e) : 0;
}

const struct buffer *arenas_next(const struct arenas *a, size_t *slot)
{
    while (*slot < a->n_slots) {
        const struct slot *s = &a->slots[(*slot)++];
        if (s->used && !s->broken && s->b.committed_bytes == s->b.g.size_bytes)
            return &s->b;
    }
    return NULL;
}

size_t arenas_count(const struct arenas *a)
{
    return a->n_buffers;
}

uint64_t arenas_lent_bytes(const struct arenas *a)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < a->n_slots; i++)
        sum += a->slots[i].used ? a->slots[i].b.g.size_bytes : 0;
    return sum;
}

uint64_t arenas_locked_bytes(const struct arenas *a)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < a->n_slots && a->locked; i++)
        sum += a->slots[i].used ? a->slots[i].b.committed_bytes : 0;
    return sum;
}
