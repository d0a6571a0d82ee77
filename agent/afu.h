/* afu.h - one adapter of this node, of either role: its channels, section registers, counters, errors.
 *
 * A compute adapter is opened here, through libocxl (ocxl.h); opening it reads nothing and writes nothing, so that a
 * restarted agent disturbs no memory in use.  A memory adapter belongs to its lender, which does the accesses
 * (lenderclient.h).  An adapter that cannot be reached stays usable as an object: each call tries again, at most every
 * AFU_REOPEN_MS. This object is the only reader of the clear-on-read counters; it keeps their running totals since the
 * agent's start. Not thread-safe: the job thread calls it. */
#ifndef MEMLANE_AGENT_AFU_H
#define MEMLANE_AGENT_AFU_H

#include "lenderclient.h"
#include "ocxl.h"
#include "wire.h"

#define AFU_REOPEN_MS 250

struct afu;

struct afu_options {
    struct wire_adapter wire;
    const char *device;
    const struct ocxl_library *ocxl; /* borrowed; NULL: the library could not be loaded */
    struct lender_config lender;     /* memory adapters; strings borrowed */
    bool emulated;
};

enum afu_depth {
    AFU_PULSE,  /* channels, errors, and counters: every heartbeat; the latency only when flits moved */
    AFU_ORDERS, /* what orders change: channels, errors, sections of the window */
    AFU_ALL,    /* everything: somebody else may have changed it */
};

struct afu_ops {
    const char *name;
    /* Starts what has to run before anybody can use the adapter (the lender of an emulated rack); no harm when it runs.
     */
    void (*start)(struct afu *a);
    /* Fills channels, sections, error_capture, lender_id, counters; leaves the rest.  What 'depth' leaves out is told
     * as it was at the last time. */
    int (*read)(struct afu *a, enum afu_depth depth, struct wire_seen_adapter *out, struct err *e);
    /* Out of reset or into it; read-modify-write, writes nothing when it is so already. */
    int (*set_channel)(struct afu *a, unsigned port, bool up, struct err *e);
    int (*channels)(struct afu *a, unsigned *out, struct err *e);
    /* Compute adapters only: one section register; writing reads it back. */
    int (*read_section)(struct afu *a, unsigned section, uint64_t *value, struct err *e);
    int (*write_section)(struct afu *a, unsigned section, uint64_t value, struct err *e);
};

MUST_CHECK int afu_new(struct afu **out, const struct afu_options *o, struct err *e); /* no I/O yet */
void afu_free(struct afu *a);                                                         /* ignores NULL */
const struct afu_ops *afu_ops(const struct afu *a);
struct lender *afu_lender(struct afu *a); /* of a memory adapter; NULL otherwise */
/* Local memory that the lender of a memory adapter holds, as last read; 0 for a compute adapter.  In an emulated rack
 * sparse buffers count as if they were locked: the emulator takes them from what is free. */
uint64_t afu_locked_bytes(const struct afu *a);
/* What the lender of a memory adapter said of itself last: its limit for locked memory, the size of its pages, its NUMA
 * nodes (bit n: node n); 0: not said. */
struct afu_lender_facts {
    uint64_t memlock_bytes, page_bytes, numa_nodes;
};
struct afu_lender_facts afu_lender_facts(const struct afu *a);
/* How many buffers the lender of a memory adapter has, those included that are not complete yet, as last read. */
size_t afu_n_buffers(const struct afu *a);
/* How many flits left since this was asked last; those count, too, that a heartbeat sampled meanwhile. */
MUST_CHECK int afu_moved(struct afu *a, uint64_t *flits, struct err *e);

#endif
