/* box.h - the emulated rack as data: nodes, adapters, ports, switches, cables, memory blocks.
 *
 * Built once from the rack file by box_new(); what has to survive a killed emulator (registers, blocks, boot ids,
 * power, cross-connects, cables that are down) lives in the state file (state.h) and is pointed to from here.
 * Everything runs on the emulator's one thread, so nothing here is locked.  Modules beside this one change it through
 * their own functions: adapter.h (registers), blocks.h (memory blocks), fabric.h (cables and cross-connects), power.h
 * (power). */
#ifndef MEMLANE_EMULATOR_BOX_H
#define MEMLANE_EMULATOR_BOX_H

#include "adapter.h"
#include "err.h"
#include "names.h"
#include "rackfile.h"
#include "state.h"

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

struct box;
struct box_node;
struct box_switch;
struct vm;    /* vm.h: the node is a virtual machine */
struct donor; /* donor.h: what a lender has mapped */
struct trace;

struct box_port {
    struct box_adapter *adapter; /* or NULL: a port of 'sw' */
    struct box_switch *sw;
    unsigned number; /* adapters from 0, switches from 1 */
    int peer;        /* index of the port at the cable's other end; -1: no cable */
    int link;        /* index of the cable */
};

struct segment { /* a buffer that is reachable and online in whole: a link in segments/ */
    char id[ID_SIZE];
    uint64_t window_offset, size_bytes;
    struct box_adapter *memory;
    uint64_t load_bytes_per_s, load_rest; /* traffic that 'ctl load' asked for */
    struct segment *next;
};

struct box_adapter {
    struct box_node *node;
    const struct wire_adapter *spec;
    unsigned index;       /* within the node */
    struct adapter *regs; /* in the state file */
    uint8_t *error;       /* in the state file: 'ctl adapter ... error' */
    int first_port;       /* index of port 0 */
    unsigned next_leg;    /* bonded transactions alternate */
    unsigned n_open;      /* connections of the drop-in */
    /* compute */
    uint8_t *blocks; /* in the state file: blocks.h */
    uint64_t n_blocks, n_online;
    struct segment *segments;
    /* memory */
    struct donor *donor;           /* attached process; NULL: none */
    int translator_fd;             /* to the drop-in in a machine that lends (linkproto.h); 0: none */
    uint64_t fault_addr, n_faults; /* translation faults that nobody has fetched yet */
};

struct box_node {
    struct box *box;
    const struct rack_node *spec;
    unsigned index;
    struct state_node *state; /* in the state file: boot id, power, auto-online policy */
    uint64_t n_local_blocks;
    unsigned n_adapters;
    struct box_adapter *adapters;
    unsigned slow_ms;
    bool traffic_cut;    /* the way of a segment under load was lost: segments.c, control.c */
    bool machine_check;  /* it read memory that does not answer: blocks.c, control.c */
    uint64_t used_bytes; /* cache of what its lenders hold: donor.h */
    int64_t used_mtime_ns;
    struct vm *vm;                     /* NULL: all of the node is emulated */
    char memory_path[256];             /* of a machine that lends: the file that is its memory ... */
    uint64_t memory_addr, memory_size; /* ... from this physical address on */
    char dir[PATH_MAX];                /* DIR/nodes/NAME */
    char buffers[PATH_MAX];            /* the real path of its buffers/ */
};

struct box_switch {
    const struct rack_switch *spec;
    int first_port; /* index of port 1 */
    int32_t *cross; /* in the state file, by number - 1: the partner's number, 0: none */
};

struct box {
    struct rack rack;
    struct state state;
    struct trace *trace; /* borrowed; NULL in unit tests */
    size_t n_nodes, n_switches, n_ports;
    struct box_node *nodes;
    struct box_switch *switches;
    struct box_port *ports;
    uint8_t *link_down; /* in the state file, by link */
    char dir[PATH_MAX];
    /* One transaction at the donor's end: 'len' bytes at 'addr' of the lender's process.  A pointer, so that tests can
     * stand in. */
    int (*memory)(const struct box_adapter *memory, uint64_t addr, void *data, size_t len, bool write);
    /* Told after each change that may make or break a way to a donor; NULL: nobody. */
    void (*changed)(struct box *b, struct box_adapter *only);
    /* Told when a node read memory that does not answer; NULL: nobody.  It goes on, for a moment. */
    void (*machine_check)(void *arg, struct box_node *n);
    void *machine_check_arg;
};

/* Takes over '*rack'.  'state_path' NULL: the state is anonymous memory (tests). */
MUST_CHECK int box_new(struct box **out, struct rack *rack, const char *state_path, bool resume, struct err *e);
void box_free(struct box *b); /* ignores NULL */

struct box_node *box_node_find(struct box *b, const char *name);
struct box_switch *box_switch_find(struct box *b, const char *name);
struct box_adapter *box_adapter_find(struct box_node *n, const char *name);
/* The port of that name, or -1. */
int box_port_find(struct box *b, const struct port_name *name);
/* The adapter whose window holds the address; NULL: none. */
struct box_adapter *box_window_find(struct box_node *n, uint64_t addr);
/* Tells 'changed'; 'only' NULL: any adapter may be concerned. */
void box_changed(struct box *b, struct box_adapter *only);

#endif
