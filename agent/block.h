/* block.h - one memory block of the kernel, below devices/system/memory.  Every function reads the kernel's state; none
 * keeps any. Those that write may hang: call them in a child (child.h). */
#ifndef MEMLANE_AGENT_BLOCK_H
#define MEMLANE_AGENT_BLOCK_H

#include "sysfs.h"

enum block_state { BLOCK_ABSENT, BLOCK_OFFLINE, BLOCK_ONLINE };

#define BLOCK_DIR "devices/system/memory"
#define BLOCK_PATH 80 /* "devices/system/memory/memoryN/valid_zones" */

/* "online" -> BLOCK_ONLINE, "offline" -> BLOCK_OFFLINE, "going-offline" -> BLOCK_ONLINE; anything else is an error. */
MUST_CHECK int block_state_parse(const char *text, enum block_state *out, struct err *e);
/* Is 'zone' ("Movable") a word of 'text' ("Normal Movable")? */
bool block_zones_contain(const char *text, const char *zone);

/* What the hot-plug needs of memory blocks; tests bring their own. */
struct block_ops {
    /* '*movable' is meant for online blocks: true when the block is in zone Movable. */
    int (*read)(const struct sysfs *fs, uint64_t block, enum block_state *state, bool *movable, struct err *e);
    /* Creates the block where it is absent (through probe, or by waiting for it), onlines it as movable, reads it back.
     */
    int (*online)(const struct sysfs *fs, uint64_t block, uint64_t block_bytes, bool probe, long await_ms,
                  struct err *e);
    /* Offline and read back; an absent block is fine. */
    int (*offline)(const struct sysfs *fs, uint64_t block, struct err *e);
};
extern const struct block_ops block_kernel; /* the kernel's own files */

#endif
