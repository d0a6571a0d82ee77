/* adapter.h - the registers of one emulated ThymesisFlow adapter, with their semantics.
 *
 * Hides the register map: what may be read and written, what clears on read, what is sticky, what pops, and that every
 * other offset answers with an error.  The structure is plain data without pointers: it lives in the state file, so
 * that an emulator that was killed goes on where it was.  Pure: no I/O, no time; the one thread of the emulator calls
 * it. */
#ifndef MEMLANE_EMULATOR_ADAPTER_H
#define MEMLANE_EMULATOR_ADAPTER_H

#include "compiler.h"

#include <stdbool.h>
#include <stdint.h>

#define ADAPTER_SECTIONS 8
#define ADAPTER_SECTION_SHIFT 40
#define ADAPTER_DETAILS 8      /* depth of the error detail queue */
#define ADAPTER_LINE_BYTES 128 /* the only size of a transaction */

enum adapter_offset {
    ADAPTER_CONTROL = 0x00,
    ADAPTER_SWINT0 = 0x08,
    ADAPTER_SWINT1 = 0x10,
    ADAPTER_SPARE = 0x18,
    ADAPTER_SECTION0 = 0x20,
    ADAPTER_FLITS_SENT = 0x60,
    ADAPTER_FLITS_RECEIVED = 0x68,
    ADAPTER_LATENCY = 0x70,
    ADAPTER_CHANNELS = 0x78,
    ADAPTER_STATUS = 0x100,
    ADAPTER_ERROR = 0x108,
    ADAPTER_DETAIL_HIGH = 0x110,
    ADAPTER_DETAIL_LOW = 0x118, /* reading it pops */
    ADAPTER_SCRATCH = 0x200,
    ADAPTER_SCRATCH_END = 0x300,
    ADAPTER_INTERRUPT = 0x80000, /* address, data, pending, ids */
    ADAPTER_INTERRUPT_END = 0x80020,
};

#define ADAPTER_CONTROL_ENABLE UINT64_C(1)
#define ADAPTER_CHANNEL_BIT(port) (UINT64_C(1) << (port))
#define ADAPTER_NETID_MASK UINT64_C(0x3f)

enum adapter_error {                                /* bits of the emulated error capture */
                     ADAPTER_ERROR_TIMEOUT = 1,     /* no answer: dead circuit */
                     ADAPTER_ERROR_TRANSLATION = 2, /* the donor could not translate the effective address */
                     ADAPTER_ERROR_SECTION = 4,     /* no such section register */
};

struct adapter_detail {
    uint64_t high, low;
};

struct adapter {
    uint32_t memory_role; /* 0 compute, 1 memory: the counters count on the compute side only */
    uint32_t n_details;
    uint64_t control, swint0, swint1, spare;
    uint64_t section[ADAPTER_SECTIONS];
    uint64_t flits_sent, flits_received, cycles, samples;
    uint64_t channels, error;
    struct adapter_detail details[ADAPTER_DETAILS];
    uint64_t scratch[32], interrupt[4];
};

void adapter_reset(struct adapter *a, bool memory_role);

/* Both answer false for an offset that is not implemented or not a multiple of eight; '*out' is unchanged then. */
MUST_CHECK bool adapter_read(struct adapter *a, uint64_t offset, uint64_t *out);
MUST_CHECK bool adapter_write(struct adapter *a, uint64_t offset, uint64_t value);

/* Sets any implemented register without side effects, read-only ones too: how tests and faults plant values. */
MUST_CHECK bool adapter_plant(struct adapter *a, uint64_t offset, uint64_t value);

/* One or more transactions of the compute adapter: flits of 64 bytes each way, and what the latency register samples.
 */
void adapter_count(struct adapter *a, uint64_t sent, uint64_t received, uint64_t samples, uint64_t cycles);
/* Captures an error: sticky bits, and an entry in the detail queue (dropped when the queue is full). */
void adapter_capture(struct adapter *a, enum adapter_error bits, uint64_t high, uint64_t low);

/* What a section register does to an offset in the window. */
struct adapter_target {
    uint64_t effective_addr;
    uint64_t netid;
    unsigned section;
};
/* false: no such section register. */
MUST_CHECK bool adapter_translate(const struct adapter *a, uint64_t window_offset, struct adapter_target *out);
/* Which ports a netid uses: bit p for port p; bonded has both bits. */
unsigned adapter_netid_ports(uint64_t netid);

#endif
