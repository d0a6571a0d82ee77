#include "arena.h"

#include "pages.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

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
    int fd; /* the file, locked (flock) as long as this lender holds it */
    uint64_t file_offset;
};

struct arenas {
    int dir_fd;  /* of the backing directory; -1: memfd */
    int file_fd; /* of the one file for all buffers, locked; -1: each has its own */
    uint64_t file_bytes;
    bool locked;
    uint64_t unit; /* offsets and sizes are multiples of it */
    size_t max_buffers, n_buffers, n_committing;
    size_t n_arenas, n_slots; /* ever used: what is behind was never touched, and takes no memory */
    struct arena arenas[ARENA_MAX];
    struct slot slots[ARENA_MAX_BUFFERS];
    char failed_id[ID_SIZE]; /* why the last buffer that was undone could not be committed */
    struct err failed;
};

static void freep(struct arenas **a)
{
    arenas_free(*a);
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* A new lender holds nothing: what a dead one left is removed.  A file that is locked is another adapter's lender's. */
static int remove_leftovers(int dir_fd, struct err *e)
{
    int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    CLEANUP(close_dir) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir)
        return err_errno(e, ERR_IO, "cannot read the backing directory");
    for (struct dirent *d; (d = readdir(dir));) {
        if (!id_valid(d->d_name))
            continue;
        CLEANUP(cleanup_close) int fd = openat(dir_fd, d->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        if (unlinkat(dir_fd, d->d_name, 0) < 0)
            return err_errno(e, ERR_IO, "cannot remove the leftover %s", d->d_name);
    }
    return 0;
}

static int open_backing(struct arenas *a, const char *path, struct err *e)
{
    struct statfs fs;
    a->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->dir_fd < 0 || fstatfs(a->dir_fd, &fs) < 0)
        return err_errno(e, ERR_IO, "cannot open %s", path);
    if (fs.f_type == HUGETLBFS_MAGIC)
        a->unit = (uint64_t)fs.f_bsize;
    return remove_leftovers(a->dir_fd, e);
}

static int open_arena_file(struct arenas *a, const char *path, struct err *e)
{
    struct stat st;
    a->file_fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (a->file_fd < 0 || fstat(a->file_fd, &st) < 0 || flock(a->file_fd, LOCK_EX | LOCK_NB) < 0)
        return err_errno(e, ERR_IO, "cannot open and lock %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_FIELD_INVALID, "%s is no file", path);
    a->file_bytes = (uint64_t)st.st_size;
    return 0;
}

int arenas_new(struct arenas **out, const struct arenas_options *o, struct err *e)
{
    CLEANUP(freep) struct arenas *a = calloc(1, sizeof *a);
    struct rlimit files;
    if (!a)
        return err_set(e, ERR_INTERNAL, "out of memory");
    a->dir_fd = a->file_fd = -1;
    a->locked = o->locked;
    a->unit = (uint64_t)sysconf(_SC_PAGESIZE);
    a->max_buffers = ARENA_MAX_BUFFERS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < ARENA_MAX_BUFFERS + OTHER_FILES)
        a->max_buffers = files.rlim_cur > OTHER_FILES ? files.rlim_cur - OTHER_FILES : 0;
    if (o->backing_dir && open_backing(a, o->backing_dir, e) < 0)
        return -1;
    if (o->arena_file && open_arena_file(a, o->arena_file, e) < 0)
        return -1;
    *out = TAKE(a);
    return 0;
}

void arenas_free(struct arenas *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_slots; i++)
        if (a->slots[i].used)
            close(a->slots[i].fd);
    for (size_t i = 0; i < a->n_arenas; i++)
        if (a->arenas[i].used)
            pages_drop(a->arenas[i].base, ARENA_BYTES);
    if (a->dir_fd >= 0)
        close(a->dir_fd);
    if (a->file_fd >= 0)
        close(a->file_fd);
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
    if (g->offset_bytes % a->unit || g->size_bytes % a->unit)
        return err_set(e, ERR_FIELD_INVALID, "the range is not in whole pages of %" PRIu64 " bytes", a->unit);
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
        if (s->used && (s->arena == r || a->file_fd >= 0) && o->offset_bytes < g->offset_bytes + g->size_bytes &&
            g->offset_bytes < o->offset_bytes + o->size_bytes)
            return err_set(e, ERR_CONFLICT, "the range overlaps buffer %s", o->id);
    }
    return 0;
}

/* The buffer's piece of the one file; empty, whatever an earlier lender left there. */
static int open_piece(struct arenas *a, const struct geometry *g, struct err *e)
{
    if (g->size_bytes > a->file_bytes || g->offset_bytes > a->file_bytes - g->size_bytes)
        return err_set(e, ERR_TOO_MANY, "the arena file ends before %s", g->id);
    int fd = fcntl(a->file_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0 ||
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)g->offset_bytes, (off_t)g->size_bytes) < 0) {
        int rc = err_errno(e, ERR_IO, "cannot empty the piece of %s", g->id);
        cleanup_close(&fd);
        return rc;
    }
    return fd;
}

static int open_file(struct arenas *a, const char *id, uint64_t size, struct err *e)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    CLEANUP(cleanup_close)
    int fd = a->dir_fd < 0 ? memfd_create(id, MFD_CLOEXEC) : openat(a->dir_fd, id, flags, S_IRUSR | S_IWUSR);
    struct stat st;
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot create the file of %s", id);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, (off_t)size) < 0 || fstat(fd, &st) < 0) {
        int rc = err_errno(e, ERR_IO, "cannot size the file of %s", id);
        if (a->dir_fd >= 0)
            unlinkat(a->dir_fd, id, 0);
        return rc;
    }
    if (a->dir_fd >= 0 && !st.st_nlink) /* a lender that started just now took it for a leftover */
        return err_set(e, ERR_BUSY, "the file of %s was removed, try again", id);
    int taken = fd;
    fd = -1;
    return taken;
}

static int map_file(struct arenas *a, const struct slot *s, struct err *e)
{
    const struct buffer *b = &s->b;
    int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
    if (mmap((void *)(uintptr_t)b->effective_addr, b->g.size_bytes, PROT_READ | PROT_WRITE, flags, s->fd,
             (off_t)s->file_offset) == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot map %s", b->g.id);
    return a->locked ? pages_bind_local(b->effective_addr, b->g.size_bytes, e) : 0;
}

/* Whether the buffer's file, or its piece of the one file, holds no page. */
static int is_empty(const struct arenas *a, const struct slot *s, bool *out, struct err *e)
{
    struct stat st;
    if (a->file_fd < 0) {
        if (fstat(s->fd, &st) < 0)
            return err_errno(e, ERR_IO, "cannot look at the file of %s", s->b.g.id);
        *out = st.st_blocks == 0;
        return 0;
    }
    off_t data = lseek(s->fd, (off_t)s->file_offset, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return err_errno(e, ERR_IO, "cannot look at the piece of %s", s->b.g.id);
    *out = data < 0 || (uint64_t)data >= s->file_offset + s->b.g.size_bytes;
    return 0;
}

/* No page of it is left in the file, and nothing of it is in the range. */
static int scrub(const struct arenas *a, const struct slot *s, struct err *e)
{
    bool empty = false;
    uint64_t size = s->b.g.size_bytes;
    /* The zero page first: from then on the adapter's writes cannot fill the hole again. */
    if (pages_zero(s->b.effective_addr, size, e) < 0)
        return -1;
    for (int round = 0; round < 3 && !empty; round++) {
        if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->file_offset, (off_t)size) < 0)
            return err_errno(e, ERR_IO, "cannot scrub %s", s->b.g.id);
        if (is_empty(a, s, &empty, e) < 0)
            return -1;
    }
    if (!empty)
        return err_set(e, ERR_BUSY, "%s is not empty after scrubbing: another program writes to its file", s->b.g.id);
    return pages_prove_zero(s->b.effective_addr, size, e);
}

static int release_slot(struct arenas *a, struct slot *s, struct err *e)
{
    if (scrub(a, s, e) < 0)
        return -1;
    if (a->dir_fd >= 0 && a->file_fd < 0 && unlinkat(a->dir_fd, s->b.g.id, 0) < 0 && errno != ENOENT)
        return err_errno(e, ERR_IO, "cannot remove the file of %s", s->b.g.id);
    close(s->fd);
    s->arena->n_buffers--;
    a->n_buffers--;
    if (s->b.committed_bytes < s->b.g.size_bytes && !s->broken)
        a->n_committing--;
    s->used = false;
    return 0;
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
    int fd = a->file_fd >= 0 ? open_piece(a, g, e) : open_file(a, g->id, g->size_bytes, e);
    if (fd < 0)
        return -1;
    *s = (struct slot){ .used = true, .arena = r, .fd = fd, .file_offset = a->file_fd >= 0 ? g->offset_bytes : 0 };
    s->b.g = *g;
    s->b.effective_addr = r->base + g->offset_bytes;
    s->b.committed_bytes = a->locked ? 0 : g->size_bytes;
    a->n_buffers++;
    r->n_buffers++;
    a->n_committing += a->locked;
    if (map_file(a, s, e) < 0) {
        struct err ignored; /* what cannot be undone now stays, and is tried again */
        if (release_slot(a, s, &ignored) < 0) {
            a->n_committing -= a->locked;
            s->broken = true;
        }
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

static void commit_failed(struct arenas *a, struct slot *s)
{
    struct err ignored;
    memcpy(a->failed_id, s->b.g.id, ID_SIZE);
    if (release_slot(a, s, &ignored) < 0) {
        a->n_committing--;
        s->broken = true;
    }
}

bool arenas_commit(struct arenas *a)
{
    for (size_t i = 0; i < a->n_slots && a->n_committing; i++) {
        struct slot *s = &a->slots[i];
        uint64_t done = s->b.committed_bytes, left = s->b.g.size_bytes - done;
        if (!s->used || s->broken || !left)
            continue;
        uint64_t piece = left < COMMIT_BYTES || a->unit > COMMIT_BYTES ? left : COMMIT_BYTES;
        if (pages_populate(s->fd, s->file_offset + done, s->b.effective_addr + done, piece, &a->failed) < 0) {
            commit_failed(a, s);
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
