/* registers.h - the global MMIO registers of a ThymesisFlow adapter (OpenCAPI/ThymesisFlow; the Verilog where the
 * document differs).  64 bits wide, little endian, read 8 bytes at a time.  Every offset that is not named here answers
 * with an error: never touch it. */
#ifndef MEMLANE_REGISTERS_H
#define MEMLANE_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#define REG_CONTROL UINT64_C(0x00)                          /* bit 0: enable */
#define REG_SECTION(n) (UINT64_C(0x20) + 8 * (uint64_t)(n)) /* n = 0..7: bits 63:6 offset, bits 5:0 netid */
#define REG_FLITS_SENT UINT64_C(0x60)                       /* clear on read; compute adapter only */
#define REG_FLITS_RECEIVED UINT64_C(0x68)                   /* clear on read; compute adapter only */
#define REG_LATENCY UINT64_C(0x70)                          /* clear on read; bits 63:37 samples, 36:0 cycles summed */
#define REG_CHANNELS UINT64_C(0x78) /* bits 0, 1: channel out of reset; bits 2 to 61 are analogue settings */
#define REG_STATUS UINT64_C(0x100)
#define REG_ERROR_CAPTURE UINT64_C(0x108) /* sticky; a write clears */
#define REG_ERROR_DETAIL_HIGH UINT64_C(0x110)
#define REG_ERROR_DETAIL_LOW UINT64_C(0x118) /* a read pops */
#define REG_SCRATCH UINT64_C(0x200)          /* to 0x2ff */

#define REG_CONTROL_ENABLE UINT64_C(1)
#define REG_CHANNELS_MASK UINT64_C(3)
#define REG_LATENCY_SAMPLES(v) ((uint64_t)(v) >> 37)
#define REG_LATENCY_CYCLES(v) ((uint64_t)(v) & ((UINT64_C(1) << 37) - 1))

/* Whether there is a register at this offset. */
static inline bool reg_exists(uint64_t offset)
{
    if (offset % 8)
        return false;
    return offset <= REG_CHANNELS || (offset >= REG_STATUS && offset <= REG_ERROR_DETAIL_LOW) ||
           (offset >= REG_SCRATCH && offset < 0x300) || (offset >= 0x80000 && offset <= 0x80018);
}

#endif
