/* inventory.h - what this node is: identity, and memory by NUMA node.
 *
 * Only local memory is counted: what is borrowed is never lent on.  Everything is read below roots that tests can set.
 * Reads only; no state; the caller's thread. */
#ifndef MEMLANE_AGENT_INVENTORY_H
#define MEMLANE_AGENT_INVENTORY_H

#include "agent_config.h"
#include "sysfs.h"
#include "wire.h"

#define INVENTORY_NODES_MAX 256 /* NUMA nodes with an id below this are known; POWER9 has GPUs' memory on 250.. */

struct inventory_nodes { /* a set: one bit a node */
    unsigned long bits[INVENTORY_NODES_MAX / (8 * sizeof(unsigned long))];
};

struct inventory_memory {
    uint64_t memory_bytes, free_bytes; /* local */
    struct {
        uint64_t total_bytes, free_bytes; /* as the kernel says; both 0 where there is no such node */
        uint64_t local_free_bytes;        /* without what is borrowed */
        uint64_t borrowed_bytes;          /* online there */
    } nodes[INVENTORY_NODES_MAX];
};

struct inventory_borrowed {
    uint64_t bytes[INVENTORY_NODES_MAX]; /* borrowed memory that is online on each NUMA node */
    uint64_t nowhere_bytes;              /* and on a node that the kernel does not name */
    bool only[INVENTORY_NODES_MAX];      /* nodes that can have no other memory */
};

/* Of a kernel without NUMA nodes, 'proc' tells: all of it is node 0. */
MUST_CHECK int inventory_memory(const struct sysfs *sys, const struct sysfs *proc, const struct inventory_borrowed *b,
                                struct inventory_memory *out, struct err *e);
/* "Node 0 MemFree:  123 kB", or without the node: the value of 'field' in bytes.  ERR_NOT_FOUND, or ERR_IO for a
 * malformed line. */
MUST_CHECK int inventory_meminfo_field(const char *text, const char *field, uint64_t *out, struct err *e);

/* What the kernel keeps free for itself, below 'proc'; 0 where it does not say. */
uint64_t inventory_reserve(const struct sysfs *proc);
/* ERR_CONFLICT, with the numbers, when 'size_bytes' of borrowed memory on 'numa_node' (-1: unknown) hold more than the
 * rest of the machine has room for: the kernel would begin to kill processes while it moves them home. */
MUST_CHECK int inventory_room(const struct inventory_memory *m, int numa_node, uint64_t size_bytes,
                              uint64_t reserve_bytes, struct err *e);

/* 32 hexadecimal digits, as in /etc/machine-id. */
MUST_CHECK int inventory_machine_id(const char *path, char out[ID_SIZE], struct err *e);
MUST_CHECK int inventory_boot_id(const struct sysfs *proc, char out[ID_SIZE], struct err *e);

/* Bytes of reserved huge pages of this size on the NUMA nodes of 'nodes' (NULL: all); '*free_bytes', unless NULL: those
 * that nobody uses. */
uint64_t inventory_huge_pages(const struct sysfs *sys, const struct inventory_nodes *nodes, uint64_t page_bytes,
                              uint64_t *free_bytes);
/* The NUMA nodes that a lender takes memory from: 'lender_numa_nodes', or those with processors; all where nobody says.
 */
struct inventory_nodes inventory_lending_nodes(const struct sysfs *sys, const struct agent_config *c);
/* What a lender that locks its memory could still take from those nodes, in huge pages where 'lender_backing_dir' has
 * them.  Small pages of a node that has borrowed memory too are not counted: which of both a page is from nobody can
 * say, and the kernel takes the borrowed ones first. */
uint64_t inventory_lendable(const struct sysfs *sys, const struct agent_config *c, const struct inventory_memory *m);
/* The size of the pages in which this configuration lends. */
uint64_t inventory_lending_page(const struct agent_config *c);
/* The first NUMA node that the lender takes small pages from and that has borrowed memory; -1: none. */
int inventory_lends_borrowed(const struct sysfs *sys, const struct agent_config *c, const struct inventory_borrowed *b);

#endif
