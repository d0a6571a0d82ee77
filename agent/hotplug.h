/* hotplug.h - brings borrowed memory online in the running kernel, block by block, and takes it out again.
 *
 * Hides /sys/devices/system/memory.  Knows nothing of circuits, adapters or HTTP.  Re-reads the kernel's state on each
 * call, so calls may be repeated, and an operator may race us.  One child a range does the writing (child.h). online:
 * for each block: create through `probe` (or await it), check `valid_zones`, online_movable, read back; the first block
 * is touched before the second one comes online.  A block that is online already in zone Movable is fine; in another
 * zone it is taken offline first. offline: every block, the last one first; one that refuses does not keep the others
 * online. Not thread-safe: the one job thread calls it. */
#ifndef MEMLANE_AGENT_HOTPLUG_H
#define MEMLANE_AGENT_HOTPLUG_H

#include "block.h"
#include "child.h"
#include "platform.h"
#include "sysfs.h"
#include "wire.h"

struct hotplug;

struct range {
    uint64_t start_addr, size_bytes; /* whole blocks */
};

struct hotplug_options {
    const struct sysfs *sys;         /* borrowed */
    const struct platform *platform; /* borrowed */
    const struct block_ops *blocks;  /* borrowed; NULL: block_kernel */
    struct children *children;       /* borrowed */
    long block_timeout_ms;           /* no block may take longer */
};

struct hotplug_counts {
    unsigned total, online;
    bool movable; /* every online block is in zone Movable */
};

struct hotplug_result {
    struct hotplug_counts counts; /* as read back */
    bool touched;                 /* the first block answered */
    char why[WIRE_TEXT];          /* which blocks refuse, and why; or why the touch was left out; or empty */
};

/* Called after each block with how many of the range are online now. */
typedef void hotplug_progress(void *arg, unsigned online, unsigned total);

/* ERR_NOT_FOUND when this kernel has no memory hot-plug. */
MUST_CHECK int hotplug_new(struct hotplug **out, const struct hotplug_options *o, struct err *e);
void hotplug_free(struct hotplug *hp); /* ignores NULL */
uint64_t hotplug_block_bytes(const struct hotplug *hp);
bool hotplug_has_probe(const struct hotplug *hp);

/* Reads every block of the range.  ERR_FIELD_INVALID when it is not whole blocks. */
MUST_CHECK int hotplug_read(struct hotplug *hp, struct range r, struct hotplug_counts *out, struct err *e);
/* An order: every block of the range online, or offline.  Started here, carried on by hotplug_tend(); one at a time
 * (ERR_BUSY).  'adapter' as in platform_ops.numa_node. */
MUST_CHECK int hotplug_start(struct hotplug *hp, struct range r, bool online, unsigned adapter, struct err *e);
bool hotplug_busy(const struct hotplug *hp); /* an order is under way */
/* Hears for at most 'wait_ms' how far it is.  False: still under way.  True: it ended; '*rc' is 0, or -1 with 'e';
 * '*out' says, on failure too, what is online after all. */
MUST_CHECK bool hotplug_tend(struct hotplug *hp, long wait_ms, hotplug_progress *progress, void *arg,
                             struct hotplug_result *out, int *rc, struct err *e);

/* Ends the order under way, which is not wanted any more, between two of its blocks.  ERR_TIMEOUT: its child is wedged
 * (child.h), and the block that 'e' names may still change. */
MUST_CHECK int hotplug_abort(struct hotplug *hp, struct err *e);

/* Calls 'found' for each online block in [start_addr, start_addr + size_bytes), in no order; those that 'known' answers
 * true for are not even read.  One that cannot be read is found too, as not movable, and the others are looked at
 * before the first such error is answered. */
typedef bool hotplug_known(void *arg, uint64_t addr);
typedef void hotplug_found(void *arg, uint64_t addr, bool movable);
MUST_CHECK int hotplug_scan(struct hotplug *hp, struct range window, hotplug_known *known, hotplug_found *found,
                            void *arg, struct err *e);

#endif
