/* platform.h - what differs between machines when memory comes and goes: how a block is touched, how caches are
 * emptied, which NUMA node the memory of an adapter is on.  Chosen at run time by the configuration's `platform`.
 *
 * `linux`: a page that lies in the block is touched (touch.h); on POWER a child evicts the caches (hardware.md: the
 * lines of an offlined block are not flushed).  `emulated`: the emulator's files `touch` and `quiesce`. */
#ifndef MEMLANE_AGENT_PLATFORM_H
#define MEMLANE_AGENT_PLATFORM_H

#include "child.h"
#include "sysfs.h"

struct platform;

struct platform_ops {
    const char *name; /* as in the configuration */
    /* One store and load in the block at 'addr'.  Runs in the hot-plug child: it may not come back, or kill its
     * process. ERR_UNAVAILABLE: no page of the block could be had, nothing was touched. */
    int (*touch)(const struct platform *p, uint64_t addr, uint64_t size_bytes, int numa_node, struct err *e);
    /* After the last block of a range went offline: no write-back of it is under way when this returns. */
    int (*quiesce)(const struct platform *p, struct children *children, const char *adapter, struct err *e);
    /* The node of the memory block, -1 when it cannot be said; 'adapter' counts the compute adapters of this machine.
     */
    int (*numa_node)(const struct platform *p, unsigned adapter, uint64_t block);
};

struct platform {
    const struct platform_ops *ops;
    const struct sysfs *sys; /* borrowed */
    struct sysfs emulator;   /* emulated only */
    long quiesce_ms;
};

/* 'emulator_dir' is read for "emulated" only. */
MUST_CHECK int platform_init(struct platform *out, const char *name, const struct sysfs *sys, const char *emulator_dir,
                             long quiesce_ms, struct err *e);
void platform_done(struct platform *p);
/* The size of the last-level cache, as the kernel says ("10240K"), or a guess where it does not. */
size_t platform_cache_bytes(const struct platform *p);

#endif
