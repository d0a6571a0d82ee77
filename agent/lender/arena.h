/* arena.h - memory that other servers use: arenas, and the buffers that are cut out of them.
 *
 * An arena is 1 TiB of address space behind one (compute node, compute adapter, section), reserved once and kept.  All
 * of it can be read at any time: where no buffer is, a read-only zero page is mapped, never nothing, because a read of
 * nothing by the adapter stops machines.  A buffer is a file in memory, mapped over its range (backing.h).
 *
 *   alloc --> COMMITTING --commit--> READY --release--> forgotten, the id and its range are free
 *                  \--no memory--> FAILED --told once, or released--> forgotten
 *
 * COMMITTING  memory is populated and locked piece by piece; in nobody's hands yet.  Sparse buffers begin as READY.
 * READY       the adapter may be led there.
 * FAILED      could not be had; its memory is given back, its range is kept until the next alloc of this id was told
 *             why, or a release.
 *
 * Invariants: buffers do not overlap, whatever their state; an id is one buffer's; a buffer is forgotten only when its
 * range is proved to be the zero page and its file proved to be empty.  Everything is allocated in arenas_new(): later
 * calls cannot fail for want of heap.  One thread. */
#ifndef MEMLANE_ARENA_H
#define MEMLANE_ARENA_H

#include "err.h"
#include "names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_BYTES (UINT64_C(1) << 40)
#define ARENA_SECTIONS 8
#define ARENA_MAX 512 /* arenas; address space ends before */
#define ARENA_MAX_BUFFERS 4096

struct geometry {
    char id[ID_SIZE];
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
};

struct buffer {
    struct geometry g;
    uint64_t effective_addr;
    uint64_t committed_bytes; /* less than the size: COMMITTING */
};

struct arenas_options {
    const char *backing_dir; /* NULL: memfd; see backing_open() */
    const char *arena_file;  /* NULL: a file for each buffer; else all are cut out of this one, at their offset */
    bool locked;             /* populate and lock; else sparse */
};

struct arenas;
MUST_CHECK int arenas_new(struct arenas **out, const struct arenas_options *o, struct err *e);
void arenas_free(struct arenas *a); /* ignores NULL; unmaps everything: only at the end of the process */

/* Makes a buffer, or finds the one with this id and geometry.  '*out' is valid until the next call.  ERR_FIELD_INVALID,
 * ERR_CONFLICT (overlap, other geometry), ERR_TOO_MANY (no room), ERR_IO (the kernel refused). */
MUST_CHECK int arenas_alloc(struct arenas *a, const struct geometry *g, const struct buffer **out, struct err *e);
/* Populates and locks the next piece of a buffer that needs it; false: nothing left to do. */
bool arenas_commit(struct arenas *a);
/* Scrubs, maps the zero page over the range, proves both, forgets the buffer.  An unknown id: 0. */
MUST_CHECK int arenas_release(struct arenas *a, const char *id, struct err *e);

/* The first READY buffer at or behind '*slot', which is then behind it; NULL at the end.  Unless 'why' is NULL, FAILED
 * ones that still hold pages too: '*why' says why, and is NULL for a READY one. */
const struct buffer *arenas_next(const struct arenas *a, size_t *slot, const struct err **why);

struct arenas_totals {
    size_t n_buffers; /* but those that FAILED and hold nothing */
    uint64_t lent_bytes, locked_bytes;
    uint64_t page_bytes; /* of what backs the buffers */
};
struct arenas_totals arenas_totals(const struct arenas *a);

#endif
