/* blocks.c - see blocks.h.  One byte a block: bits 0-1 state, bit 2 zone Movable, bits 4-6 planted fault. */
#include "blocks.h"

#include "segments.h"
#include "trace.h"

#include <errno.h>
#include <string.h>

#define STATE_BITS 0x03
#define MOVABLE_BIT 0x04
#define FAULT_SHIFT 4
#define FAULT_BITS 0x70

const char *const blocks_policy_names[BLOCKS_N_POLICIES] = { "offline", "online", "online_kernel", "online_movable" };

bool blocks_get(struct box_node *n, uint64_t number, struct block *out)
{
    uint64_t block_bytes = n->spec->block_bytes, index;
    struct box_adapter *a;
    uint8_t byte;

    if (number < n->n_local_blocks) {
        *out = (struct block){ .state = BLOCKS_ONLINE };
        return true;
    }
    if (number > UINT64_MAX / block_bytes)
        return false;
    a = box_window_find(n, number * block_bytes);
    if (!a)
        return false;
    index = (number * block_bytes - a->spec->window_addr) / block_bytes;
    if (index >= a->n_blocks)
        return false;
    byte = a->blocks[index];
    *out = (struct block){ .state = byte & STATE_BITS,
                           .movable = byte & MOVABLE_BIT,
                           .fault = (byte & FAULT_BITS) >> FAULT_SHIFT,
                           .adapter = a,
                           .index = index };
    return true;
}

bool blocks_exists(struct box_node *n, uint64_t number)
{
    struct block b;

    return blocks_get(n, number, &b) && b.state != BLOCKS_ABSENT;
}

static void set_state(struct box_adapter *a, uint64_t index, enum blocks_state state, bool movable)
{
    uint8_t *byte = &a->blocks[index];

    *byte = (uint8_t)((*byte & FAULT_BITS) | (unsigned)state | (movable ? MOVABLE_BIT : 0));
}

static void trace_block(const struct block *b, const char *op, bool ok)
{
    const struct box_node *n = b->adapter->node;

    trace_event(n->box->trace, n->spec->name, b->adapter->spec->name, op, 0,
                b->adapter->spec->window_addr + b->index * n->spec->block_bytes, ok);
}

static int online(const struct block *b, enum blocks_policy how)
{
    trace_block(b, "online", true);
    set_state(b->adapter, b->index, BLOCKS_ONLINE, how == BLOCKS_ON_MOVABLE);
    b->adapter->n_online++;
    segments_block_online(b->adapter, b->index);
    return 0;
}

static int offline(const struct block *b)
{
    segments_block_offline(b->adapter, b->index);
    set_state(b->adapter, b->index, BLOCKS_OFFLINE, false);
    b->adapter->n_online--;
    trace_block(b, "offline", true);
    return 0;
}

static int fault_errno(enum blocks_fault fault)
{
    switch (fault) {
    case BLOCKS_EBUSY:
        return -EBUSY;
    case BLOCKS_ENOMEM:
        return -ENOMEM;
    case BLOCKS_HANG:
        return BLOCKS_HANGS;
    case BLOCKS_WEDGE:
        return BLOCKS_WEDGES;
    case BLOCKS_OK:
        break;
    }
    return 0;
}

int blocks_change(struct box_node *n, uint64_t number, enum blocks_policy how)
{
    struct block b;
    int fault;

    if (!blocks_get(n, number, &b) || b.state == BLOCKS_ABSENT)
        return -ENODEV;
    if ((b.state == BLOCKS_ONLINE) == (how != BLOCKS_OFF))
        return -EINVAL; /* already so: device_online() answers 1, state_store() EINVAL */
    if (!b.adapter)
        return -EBUSY; /* the kernel's own memory */
    fault = fault_errno(b.fault);
    if (fault != 0) {
        if (fault < 0)
            trace_block(&b, how == BLOCKS_OFF ? "offline" : "online", false);
        return fault;
    }
    if (how != BLOCKS_OFF)
        return online(&b, how);
    if (!segments_answers(b.adapter, b.index)) {
        trace_block(&b, "offline", false);
        if (n->box->machine_check)
            n->box->machine_check(n->box->machine_check_arg, n);
        return BLOCKS_WEDGES;
    }
    return offline(&b);
}

int blocks_probe(struct box_node *n, uint64_t addr)
{
    struct block b;

    if (addr % n->spec->block_bytes != 0)
        return -EINVAL;
    if (!blocks_get(n, addr / n->spec->block_bytes, &b))
        return -ERANGE;
    if (b.state != BLOCKS_ABSENT)
        return -EEXIST;
    trace_block(&b, "probe", true);
    set_state(b.adapter, b.index, BLOCKS_OFFLINE, false);
    if (n->state->auto_online != BLOCKS_OFF && b.fault == BLOCKS_OK) {
        b.state = BLOCKS_OFFLINE;
        return online(&b, n->state->auto_online);
    }
    return 0;
}

bool blocks_set_fault(struct box_node *n, uint64_t number, enum blocks_fault fault)
{
    struct block b;
    uint8_t *byte;

    if (!blocks_get(n, number, &b) || !b.adapter)
        return false;
    byte = &b.adapter->blocks[b.index];
    *byte = (uint8_t)((*byte & ~FAULT_BITS) | (unsigned)fault << FAULT_SHIFT);
    return true;
}

void blocks_reboot(struct box_node *n)
{
    for (unsigned i = 0; i < n->n_adapters; i++) {
        memset(n->adapters[i].blocks, 0, n->adapters[i].n_blocks);
        n->adapters[i].n_online = 0;
    }
    n->state->auto_online = BLOCKS_OFF;
}

void blocks_recount(struct box_node *n)
{
    for (unsigned i = 0; i < n->n_adapters; i++) {
        struct box_adapter *a = &n->adapters[i];

        a->n_online = 0;
        for (uint64_t k = 0; k < a->n_blocks; k++)
            a->n_online += (a->blocks[k] & STATE_BITS) == BLOCKS_ONLINE;
    }
}

uint64_t blocks_online_bytes(const struct box_adapter *a)
{
    return a->n_online * a->node->spec->block_bytes;
}

uint64_t blocks_number(const struct box_adapter *a, uint64_t index)
{
    return a->spec->window_addr / a->node->spec->block_bytes + index;
}
