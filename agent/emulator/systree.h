/* systree.h - what is in a node's file tree: names, contents, and what a write does.  Knows nothing of FUSE.
 *
 * An inode number says all: node, kind of entry, and an index (the number of a memory block, or of a NUMA node). */
#ifndef MEMLANE_EMULATOR_SYSTREE_H
#define MEMLANE_EMULATOR_SYSTREE_H

#include "box.h"

#include <sys/stat.h>

#define SYSTREE_ROOT UINT64_C(1)
#define SYSTREE_TEXT 1024 /* no file is longer */

/* Looks a name up in a directory: its inode, or 0 and an errno in '*error'. */
uint64_t systree_lookup(struct box *b, uint64_t dir, const char *name, int *error);
/* 0 or an errno: gone, or the node has no power. */
MUST_CHECK int systree_stat(struct box *b, uint64_t ino, struct stat *out);
bool systree_stable(uint64_t ino); /* its name may be kept by the kernel for good */

/* Directory entries from position '*at' (0 at first): false at the end.  The name is valid until the next call. */
struct systree_entry {
    char name[NAME_SIZE];
    uint64_t ino;
    mode_t mode;
};
MUST_CHECK bool systree_next(struct box *b, uint64_t dir, uint64_t *at, struct systree_entry *out);

/* The content: its length, or -errno. */
int systree_read(struct box *b, uint64_t ino, char text[SYSTREE_TEXT]);
int systree_readlink(struct box *b, uint64_t ino, char text[SYSTREE_TEXT]);
/* 0, -errno, or BLOCKS_HANGS (blocks.h). */
int systree_write(struct box *b, uint64_t ino, const char *text);
struct box_node *systree_node(struct box *b, uint64_t ino); /* NULL: the root */

#endif
