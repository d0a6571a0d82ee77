/* lenderclient.h - the agent's side of the lender: one connection to the lender process of one memory adapter.
 *
 * Connects when needed, again after a loss, and starts the program when that is configured (emulated racks; elsewhere
 * systemd's socket starts it).  Every call has a deadline and is safe to repeat.  The lender outlives this object.  Not
 * thread-safe: the thread that has the node's lock calls it. */
#ifndef MEMLANE_LENDERCLIENT_H
#define MEMLANE_LENDERCLIENT_H

#include "err.h"
#include "names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lender_config {   /* all borrowed until lender_new() returns */
    const char *adapter; /* its name: the socket is RUN_DIR/lender-ADAPTER.sock */
    const char *run_dir;
    const char *program; /* NULL: never start it; the rest is for the start only */
    const char *device, *ocxl_library;
    const char *backing;     /* "sparse", "locked" */
    const char *backing_dir; /* NULL: memfd */
    const char *numa_nodes;  /* NULL: those with processors */
    unsigned timeout_ms;     /* of each call; 0: 5000 */
    unsigned restart_ms;     /* a lender that ends at once is not started more often; 0: 1000 */
};

struct lender_info {
    char lender_id[ID_SIZE]; /* random, another at each start of the lender */
    int pid;
    bool adapter_ok; /* the adapter is open and attached */
    char error[200]; /* why not */
    size_t n_buffers;
    uint64_t lent_bytes;    /* sizes of the buffers */
    uint64_t locked_bytes;  /* of local memory, taken from what is free; 0 for sparse */
    uint64_t faults;        /* translation faults seen since its start */
    uint64_t memlock_bytes; /* it may lock no more; UINT64_MAX: anything; 0: not said */
    uint64_t page_bytes;    /* it lends in pages of this size; 0: not said */
    uint64_t numa_nodes;    /* it takes memory from these, bit n: node n; 0: not said */
};

struct lender_buffer {
    char id[ID_SIZE];
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    uint64_t effective_addr; /* out */
    bool failed;             /* out: nobody's memory: it could not be had, nor all of it given back yet */
};

struct lender;
MUST_CHECK int lender_new(struct lender **out, const struct lender_config *c, struct err *e); /* no I/O yet */
void lender_free(struct lender *l); /* ignores NULL; the process and its buffers stay */
void lender_freep(struct lender **l);

MUST_CHECK int lender_info(struct lender *l, struct lender_info *out, struct err *e);
/* lender_info(), the channels out of reset (bit p: channel p) and the register of captured errors, in one go.  'info'
 * is filled when it was answered, whatever became of the other two; those are left alone when it says that the adapter
 * is not well. */
MUST_CHECK int lender_look(struct lender *l, struct lender_info *out, unsigned *channels, uint64_t *error_capture,
                           struct err *e);
/* Commits a buffer and fills its effective address.  The same id with the same geometry again: the same answer.  Waits
 * at most 'timeout_ms' for the memory to be locked; ERR_BUSY means: still at it, ask again.  Other errors: ERR_CONFLICT
 * (overlap, or the id with other geometry), ERR_FIELD_INVALID, ERR_IO (memory), ERR_HARDWARE. */
MUST_CHECK int lender_alloc(struct lender *l, struct lender_buffer *b, unsigned timeout_ms, struct err *e);
/* Scrubs and gives back.  An unknown id: 0. */
MUST_CHECK int lender_release(struct lender *l, const char *id, struct err *e);
/* All committed buffers, and those that failed and still hold pages: a new array, the caller frees it; NULL when there
 * is none. */
MUST_CHECK int lender_list(struct lender *l, struct lender_buffer **out, size_t *n, struct err *e);
/* Takes one channel out of reset, or puts it there; every other bit of the register keeps its value. */
MUST_CHECK int lender_set_channel(struct lender *l, unsigned port, bool up, struct err *e);
/* One register of the memory adapter, raw. */
MUST_CHECK int lender_read(struct lender *l, uint64_t offset, uint64_t *value, struct err *e);

#endif
