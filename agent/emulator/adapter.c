/* adapter.c - see adapter.h */
#include "adapter.h"

#include <string.h>

#define SWINT0_TOP UINT64_C(0x4000000000000000)
#define SWINT0_MASK UINT64_C(0x0000ffffffffffff)
#define CYCLES_MASK ((UINT64_C(1) << 37) - 1)
#define SAMPLES_MAX ((UINT64_C(1) << 27) - 1)

void adapter_reset(struct adapter *a, bool memory_role)
{
    memset(a, 0, sizeof *a);
    a->memory_role = memory_role;
    memset(a->scratch, 0xff, sizeof a->scratch);
}

/* The plain 64-bit registers: where each is stored; NULL for the rest. */
static uint64_t *plain_register(struct adapter *a, uint64_t offset)
{
    if (offset >= ADAPTER_SECTION0 && offset < ADAPTER_SECTION0 + 8 * ADAPTER_SECTIONS)
        return &a->section[(offset - ADAPTER_SECTION0) / 8];
    if (offset >= ADAPTER_SCRATCH && offset < ADAPTER_SCRATCH_END)
        return &a->scratch[(offset - ADAPTER_SCRATCH) / 8];
    if (offset >= ADAPTER_INTERRUPT && offset < ADAPTER_INTERRUPT_END)
        return &a->interrupt[(offset - ADAPTER_INTERRUPT) / 8];
    switch (offset) {
    case ADAPTER_CONTROL:
        return &a->control;
    case ADAPTER_SWINT1:
        return &a->swint1;
    case ADAPTER_SPARE:
        return &a->spare;
    case ADAPTER_CHANNELS:
        return &a->channels;
    default:
        return NULL;
    }
}

static uint64_t read_and_clear(uint64_t *reg)
{
    uint64_t value = *reg;

    *reg = 0;
    return value;
}

static uint64_t read_latency(struct adapter *a)
{
    uint64_t samples = read_and_clear(&a->samples), cycles = read_and_clear(&a->cycles);

    if (samples > SAMPLES_MAX)
        samples = SAMPLES_MAX;
    return samples << 37 | (cycles & CYCLES_MASK);
}

static uint64_t pop_detail(struct adapter *a)
{
    uint64_t low = a->details[0].low;

    if (a->n_details > 0) {
        memmove(&a->details[0], &a->details[1], sizeof a->details - sizeof a->details[0]);
        memset(&a->details[ADAPTER_DETAILS - 1], 0, sizeof a->details[0]);
        a->n_details--;
    }
    return low;
}

bool adapter_read(struct adapter *a, uint64_t offset, uint64_t *out)
{
    const uint64_t *plain;

    if (offset % 8 != 0)
        return false;
    plain = plain_register(a, offset);
    if (plain) {
        *out = *plain;
        return true;
    }
    switch (offset) {
    case ADAPTER_SWINT0:
        *out = SWINT0_TOP | a->swint0;
        return true;
    case ADAPTER_FLITS_SENT:
        *out = read_and_clear(&a->flits_sent);
        return true;
    case ADAPTER_FLITS_RECEIVED:
        *out = read_and_clear(&a->flits_received);
        return true;
    case ADAPTER_LATENCY:
        *out = read_latency(a);
        return true;
    case ADAPTER_STATUS:
        *out = 0;
        return true;
    case ADAPTER_ERROR:
        *out = a->error;
        return true;
    case ADAPTER_DETAIL_HIGH:
        *out = a->details[0].high;
        return true;
    case ADAPTER_DETAIL_LOW:
        *out = pop_detail(a);
        return true;
    default:
        return false;
    }
}

bool adapter_write(struct adapter *a, uint64_t offset, uint64_t value)
{
    uint64_t *plain;

    if (offset % 8 != 0)
        return false;
    plain = plain_register(a, offset);
    if (plain) {
        *plain = value;
        return true;
    }
    switch (offset) {
    case ADAPTER_SWINT0:
        a->swint0 = value & SWINT0_MASK;
        return true;
    case ADAPTER_ERROR:
        a->error = 0; /* any write clears */
        return true;
    case ADAPTER_FLITS_SENT:
    case ADAPTER_FLITS_RECEIVED:
    case ADAPTER_LATENCY:
    case ADAPTER_STATUS:
    case ADAPTER_DETAIL_HIGH:
    case ADAPTER_DETAIL_LOW:
        return true; /* read-only: taken and ignored */
    default:
        return false;
    }
}

bool adapter_plant(struct adapter *a, uint64_t offset, uint64_t value)
{
    switch (offset) {
    case ADAPTER_FLITS_SENT:
        a->flits_sent = value;
        return true;
    case ADAPTER_FLITS_RECEIVED:
        a->flits_received = value;
        return true;
    case ADAPTER_LATENCY:
        a->samples = value >> 37;
        a->cycles = value & CYCLES_MASK;
        return true;
    case ADAPTER_ERROR:
        a->error = value;
        return true;
    case ADAPTER_STATUS:
    case ADAPTER_DETAIL_HIGH:
    case ADAPTER_DETAIL_LOW:
        return false;
    default:
        return adapter_write(a, offset, value);
    }
}

void adapter_count(struct adapter *a, uint64_t sent, uint64_t received, uint64_t samples, uint64_t cycles)
{
    if (a->memory_role)
        return;
    a->flits_sent += sent;
    a->flits_received += received;
    a->samples += samples;
    a->cycles += cycles;
}

void adapter_capture(struct adapter *a, enum adapter_error bits, uint64_t high, uint64_t low)
{
    a->error |= bits;
    if (a->n_details < ADAPTER_DETAILS)
        a->details[a->n_details++] = (struct adapter_detail){ .high = high, .low = low };
}

bool adapter_translate(const struct adapter *a, uint64_t window_offset, struct adapter_target *out)
{
    uint64_t section = window_offset >> ADAPTER_SECTION_SHIFT & 0x3f;

    if (section >= ADAPTER_SECTIONS)
        return false;
    *out = (struct adapter_target){
        .effective_addr = window_offset + (a->section[section] & ~ADAPTER_NETID_MASK),
        .netid = a->section[section] & ADAPTER_NETID_MASK,
        .section = (unsigned)section,
    };
    return true;
}

unsigned adapter_netid_ports(uint64_t netid)
{
    if ((netid & 3) == 3)
        return 3; /* bonded */
    return netid & 1 ? 1 : 2;
}
