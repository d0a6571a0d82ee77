/* blocks.h - the memory blocks of a node, with the manners and the errors of Linux.
 *
 * Local memory is blocks 0..K-1: online, zone Normal, never to be taken off.  The window of each compute adapter holds
 * further blocks, absent until probed, and never removed again but by a reboot.  What a write to memoryN/state or to
 * probe answers is decided here; sysmem.c only carries it.  Sources: kernel-rack trials and drivers/base/memory.c
 * of 6.1.  One thread. */
#ifndef MEMLANE_EMULATOR_BLOCKS_H
#define MEMLANE_EMULATOR_BLOCKS_H

#include "box.h"

enum blocks_state { BLOCKS_ABSENT, BLOCKS_OFFLINE, BLOCKS_ONLINE };
enum blocks_policy { BLOCKS_OFF, BLOCKS_ON, BLOCKS_ON_KERNEL, BLOCKS_ON_MOVABLE, BLOCKS_N_POLICIES };
enum blocks_fault { BLOCKS_OK, BLOCKS_EBUSY, BLOCKS_ENOMEM, BLOCKS_HANG, BLOCKS_WEDGE };

extern const char *const blocks_policy_names[BLOCKS_N_POLICIES]; /* as sysfs writes them */

struct block { /* a view of one */
    enum blocks_state state;
    bool movable; /* zone of an online block */
    enum blocks_fault fault;
    struct box_adapter *adapter; /* NULL: local memory */
    uint64_t index;              /* within the adapter's window */
};
/* false: no such block can exist on this node. */
MUST_CHECK bool blocks_get(struct box_node *n, uint64_t number, struct block *out);
bool blocks_exists(struct box_node *n, uint64_t number); /* memoryN is there */

/* Each answers 0 or -errno as the kernel would; BLOCKS_HANGS: it neither ends nor fails until the fault is taken away
 * or a signal comes; BLOCKS_WEDGES: nor then, not even for SIGKILL.  To take a block offline, the kernel moves its
 * pages: when its memory does not answer, that is a machine check (box->machine_check), and the write never comes back.
 */
#define BLOCKS_HANGS 1
#define BLOCKS_WEDGES 2
MUST_CHECK int blocks_probe(struct box_node *n, uint64_t addr);
MUST_CHECK int blocks_change(struct box_node *n, uint64_t number, enum blocks_policy how);
/* false: no window has such a block. */
MUST_CHECK bool blocks_set_fault(struct box_node *n, uint64_t number, enum blocks_fault fault);
void blocks_reboot(struct box_node *n);  /* all windows empty, no fault planted */
void blocks_recount(struct box_node *n); /* after the state file was taken over */

uint64_t blocks_online_bytes(const struct box_adapter *a);
uint64_t blocks_number(const struct box_adapter *a, uint64_t index); /* N of memoryN */

#endif
