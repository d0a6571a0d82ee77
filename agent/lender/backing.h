/* backing.h - where a buffer's pages are: a file of its own in memory (tmpfs, hugetlbfs, or a memfd), or a piece of one
 * file for all.  A file is locked (flock) as long as its lender lives, so that no other lender takes it for a leftover.
 * No heap; one thread. */
#ifndef MEMLANE_LENDER_BACKING_H
#define MEMLANE_LENDER_BACKING_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct backing {
    int dir_fd;          /* files are here; -1: memfd */
    int file_fd;         /* the one file for all; -1: each has its own */
    uint64_t file_start; /* where in it the pieces begin */
    uint64_t file_bytes; /* its size */
    uint64_t unit;       /* offsets and sizes are multiples of it: the page's size */
};

struct piece {
    int fd;
    uint64_t offset, size_bytes; /* in the file */
};

/* 'dir', 'file' (FILE or FILE@0xOFFSET): NULL for none.  Files are in 'dir' where it is this user's alone (mode 0700),
 * else in memlane/ in it; what a dead lender left there is removed.  ERR_FIELD_INVALID: 'dir' is not in memory. */
MUST_CHECK int backing_open(struct backing *out, const char *dir, const char *file, struct err *e);
void backing_close(struct backing *b);
/* An empty piece; 'offset' is where it lies behind the start of the one file, when there is one.  ERR_IO, ERR_TOO_MANY.
 */
MUST_CHECK int backing_create(struct backing *b, const char *id, uint64_t offset, uint64_t size_bytes,
                              struct piece *out, struct err *e);
/* Gives all of its pages back, and looks: ERR_BUSY when it is not empty in the end. */
MUST_CHECK int backing_empty(const struct backing *b, const char *id, const struct piece *p, struct err *e);
/* Removes the file; closes the piece. */
MUST_CHECK int backing_remove(struct backing *b, const char *id, struct piece *p, struct err *e);

#endif
