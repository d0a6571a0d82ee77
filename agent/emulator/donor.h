/* donor.h - the donor's end: the process that attached a memory adapter, and what it has mapped.
 *
 * A lender's buffers are files in the node's buffers/ directory; /proc/PID/maps says which is mapped where, so the
 * emulator needs no word from the lender.  The list is cached and read again when an address is not in it or a file has
 * gone. One thread. */
#ifndef MEMLANE_EMULATOR_DONOR_H
#define MEMLANE_EMULATOR_DONOR_H

#include "box.h"

struct donor_buffer {
    char id[ID_SIZE];
    uint64_t start, end; /* effective addresses */
    ino_t inode;
};

MUST_CHECK int donor_attach(struct box_adapter *a, pid_t pid, struct err *e);
void donor_detach(struct box_adapter *a);     /* ignores an adapter without one */
pid_t donor_pid(const struct box_adapter *a); /* 0: none, or unknown (a guest over TCP) */

/* The buffer that holds an effective address; false: none. */
MUST_CHECK bool donor_find(struct box_adapter *a, uint64_t addr, struct donor_buffer *out);
/* Calls 'each' for every buffer in the cached list. */
void donor_each(struct box_adapter *a, void (*each)(void *arg, struct box_adapter *a, const struct donor_buffer *b),
                void *arg);
/* The same, with the list read again first: for one who has to find a buffer that is new. */
void donor_each_now(struct box_adapter *a, void (*each)(void *arg, struct box_adapter *a, const struct donor_buffer *b),
                    void *arg);

/* What of which file the donor has mapped, shared, where its adapter's commands go. */
struct donor_mapping {
    uint64_t start, end; /* effective addresses */
    dev_t device;
    ino_t inode;
    uint64_t file_offset; /* of 'start' */
};
void donor_mappings(struct box_adapter *a, uint64_t start, uint64_t end,
                    void (*each)(void *arg, const struct donor_mapping *m), void *arg);
/* box->memory: process_vm_readv and writev on the lender. */
int donor_memory(const struct box_adapter *a, uint64_t addr, void *data, size_t len, bool write);
/* What the lenders of a node hold: the sizes of the files in its buffers/. */
uint64_t donor_used_bytes(struct box_node *n);

#endif
