/* ocxl_call.h - the drop-in's connection to the emulator: one request and its answer at a time (linkproto.h).
 *
 * Every call ends within 2 s.  A connection that failed is made again, and attached again, at the next call, so that an
 * emulator may be restarted under a lender.  One that is attached outlives a late answer: the context goes with it, and
 * with that the memory that others borrow.  The caller holds the handle's mutex. */
#ifndef MEMLANE_EMULATOR_OCXL_CALL_H
#define MEMLANE_EMULATOR_OCXL_CALL_H

#include "linkproto.h"

#include <pthread.h>
#include <stdbool.h>

#define MMIO_AREAS 8
#define ADDRESS_MAX 512

typedef int ocxl_err; /* its values: enum link_status */

typedef struct {
    uint8_t afu_index;
    const char afu_name[25];
} ocxl_identifier;

struct ocxl_mmio_area {
    struct ocxl_afu *afu;
    int type;
    bool mapped;
};

struct ocxl_afu {
    pthread_mutex_t mutex;
    int fd; /* -1: to be connected again */
    bool attached, memory_role;
    struct ocxl_translator *translator; /* attached from inside a virtual machine */
    uint32_t tag;
    uint64_t area_bytes;
    ocxl_identifier identifier;
    char device[ADDRESS_MAX], sysfs[ADDRESS_MAX + 16];
    char address[ADDRESS_MAX], node[LINK_NAME_BYTES], adapter[LINK_NAME_BYTES];
    struct ocxl_mmio_area areas[MMIO_AREAS];
};

ocxl_err ocxl_call_open(struct ocxl_afu *afu);            /* connects; hangs up again when the emulator refuses */
ocxl_err ocxl_call_open_translator(struct ocxl_afu *afu); /* connects to answer, not to ask */
ocxl_err ocxl_call(struct ocxl_afu *afu, enum link_op op, uint64_t offset, uint64_t value, struct link_answer *answer);
void ocxl_call_hang_up(struct ocxl_afu *afu);

#endif
