/* node.h - what the job thread knows of its node: adapters, switches, segments, and the orders that failed.
 *
 * Made at start from kernel, adapters, lenders and labels; the desired state only adds names.  converge.c changes the
 * node, observe.c reads it, segments.c keeps the list of segments.  Owned by the job thread, which holds the node's
 * lock. */
#ifndef MEMLANE_AGENT_NODE_H
#define MEMLANE_AGENT_NODE_H

#include "afu.h"
#include "agent_config.h"
#include "crossconnect.h"
#include "hotplug.h"
#include "inventory.h"
#include "kernel.h"
#include "labels.h"
#include "platform.h"
#include "pulse.h"

struct node_adapter {
    const struct adapter_config *config;
    struct afu *afu;
    unsigned compute_index;        /* counts this node's compute adapters */
    struct wire_seen_adapter seen; /* as read last */
    struct lender_buffer *buffers; /* and its lender's */
    size_t n_buffers;
    bool ordered;                      /* a compute adapter that the desired state names */
    bool touched;                      /* a memory adapter that an order went to since observe() read it */
    bool silent;                       /* its lender did not answer: it is asked nothing more in this pass */
    bool committing;                   /* it is not through with a buffer: this pass waits for no other one */
    bool relist;                       /* one that changed its lender's buffers */
    bool stray;                        /* a label names memory of it that is in no segment (node.stray) */
    int64_t settled_at_ns[WIRE_PORTS]; /* when the channel has had its time; 0: it is in reset */
};

struct node_switch {
    const struct switch_config *config;
    struct crossconnect *x;
    char error[WIRE_TEXT]; /* why it could not be read last; empty: it could */
};

struct segment {
    struct label label; /* its id is empty: nobody's */
    unsigned adapter;   /* index into node.adapters */
    struct hotplug_counts counts;
    int numa_node;
    bool listed;    /* the desired state names it */
    bool quiesced;  /* no block online, and quiesce ran since */
    bool tombstone; /* being removed: its blocks were read since that was ordered */
    bool failed;    /* the order with 'attempt' failed; not tried again before it grows */
    bool blocked;   /* it failed because a child hangs in the kernel (node_job) */
    bool unread;    /* its blocks could not be read: all of them count as online, and nothing is done to them */
    enum wire_want failed_want;
    unsigned attempt;
    char error[WIRE_TEXT];
    int64_t recheck_at_ms;
};

struct node_job { /* the one hot-plug order that is under way */
    bool running;
    bool hangs; /* it failed, but its child is wedged (child.h): its blocks may still change, so nothing of its segment
                   is done, quiesced or proven before that child is gone and the blocks were read again */
    struct wire_want_segment order;
    char why[WIRE_TEXT]; /* 'hangs': which block, which process, since when */
};

struct failed_buffer {
    struct wire_want_buffer order;
    bool unanswered;         /* it did not fail, but its lender has not answered it yet: each pass tries again */
    char lender_id[ID_SIZE]; /* that failed at it; what it held is gone with it */
    char error[WIRE_TEXT];
};

struct node {
    const struct agent_config *config;
    struct pulse pulse;
    struct sysfs sys, proc;
    struct platform platform;
    struct children children;
    struct hotplug *hotplug; /* NULL: this kernel has none */
    struct labels *labels;
    struct ocxl_library ocxl;
    bool ocxl_loaded;
    char ocxl_error[WIRE_TEXT];
    char machine_id[ID_SIZE], boot_id[ID_SIZE];
    unsigned n_adapters, n_switches;
    struct node_adapter adapters[WIRE_MAX_ADAPTERS];
    struct node_switch switches[WIRE_MAX_ADAPTERS];
    struct segment *segments;
    size_t n_segments, segments_room;
    /* Memory that a label names and no segment can be made of, and why; empty: there is none.  It may be online, so
     * until the next start no revision is claimed. */
    char stray[WIRE_TEXT];
    struct node_job job;
    struct failed_buffer *failed;
    size_t n_failed;
    int64_t scan_at_ms; /* when the windows are searched for blocks again */
    struct kernel_facts kernel;
    unsigned n_findings;
    struct wire_finding findings[WIRE_MAX_FINDINGS];
    bool unsure; /* this pass left out what may be online: its revision is not claimed */
    /* Of the desired state that was acted upon last; the revision: that was claimed last. */
    uint64_t epoch, revision;
    char instance[ID_SIZE];
    uint64_t memory_bytes, free_bytes, locked_bytes; /* as read last, together */
    bool incomplete; /* something without an attempt of its own failed: try again soon */
    /* Called while a long order is under way; may be NULL. */
    void (*progress)(void *arg);
    void *progress_arg;
};

/* 'lock_fd': the node's lock; hot-plug children keep it.  Touches no adapter, lender or switch yet. */
MUST_CHECK int node_init(struct node *n, const struct agent_config *c, int lock_fd, struct err *e);
/* Starts lenders (emulated racks), opens adapters, finds the segments that exist. */
void node_discover(struct node *n);
/* After a pass, when its report is on the way: gets ready for the next order. */
void node_prepare(struct node *n);
/* What is borrowed now, by NUMA node. */
void node_borrowed(const struct node *n, struct inventory_borrowed *out);
/* Adapters, counters and latencies are an emulator's, even where the kernel is a real one. */
bool node_emulated_adapters(const struct node *n);
/* Reads the findings anew. */
void node_check(struct node *n);
/* The kernel's files again, where what served them was started anew (emulated racks). */
MUST_CHECK int node_revive(struct node *n, struct err *e);
void node_done(struct node *n);
struct node_adapter *node_adapter(struct node *n, const char *name); /* NULL when there is none */

/* ---- segments.c ---------------------------------------------------------------------------------------------------
 */
struct segment *segments_find(struct node *n, const char *id);
/* The segment of an order; made when it is not known yet, its blocks not looked at when it is to be created.
 * ERR_FIELD_INVALID: not within an adapter's window.  ERR_CONFLICT: the range, or the id, is another's. */
MUST_CHECK int segments_get(struct node *n, const struct wire_want_segment *w, struct segment **out, struct err *e);
struct range segments_range(const struct node *n, const struct segment *s);
void segments_was_read(struct segment *s); /* its counts are fresh */
/* They are of no use: any of its blocks may be online.  They are read at the next occasion. */
void segments_not_read(struct segment *s);
/* Reads its blocks; on error its counts stay. */
MUST_CHECK int segments_read(struct node *n, struct segment *s, struct err *e);
bool segments_job(const struct node *n, const struct segment *s); /* the hot-plug order under way, or hanging, is its */
/* Is any known block of the section online, or on its way?  Reads those of all its segments; true when they cannot be
 * read, or there are some that cannot be found. */
bool segments_online_in(struct node *n, const struct node_adapter *a, unsigned section);
/* Forgets what has no block online, is not listed, and its label; reads again what was not read for long; now and then
 * searches the windows for blocks that belong to no segment and are online, or cannot be read. */
void segments_keep_fresh(struct node *n, int64_t now_ms);
void segments_discover(struct node *n); /* labels, then the windows */
void segments_drop_idle(struct node *n);
void segments_forgive(struct segment *s); /* its order did not fail, or that does not matter any more */

#endif
