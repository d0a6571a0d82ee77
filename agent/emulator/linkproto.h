/* linkproto.h - what the drop-in libocxl.so and the emulator say to each other, over one stream socket.
 *
 * Fixed widths, little endian, so that a drop-in inside a guest of another byte order can speak it.  The drop-in sends
 * a request and waits for its answer; HELLO comes first, with the names of node and adapter behind it, each NUL-padded.
 * The status of an answer is an ocxl_err. */
#ifndef MEMLANE_EMULATOR_LINKPROTO_H
#define MEMLANE_EMULATOR_LINKPROTO_H

#include <stdint.h>

#define LINK_MAGIC UINT64_C(0x314d454d4c414e45) /* in 'value' of HELLO */
#define LINK_VERSION 1                          /* in 'offset' of HELLO */
#define LINK_NAME_BYTES 64

enum link_op {
    LINK_HELLO = 1,  /* answer: value = role (0 compute, 1 memory), more = size of the global MMIO area */
    LINK_ATTACH,     /* joins the adapter to the caller's address space */
    LINK_READ,       /* offset -> value */
    LINK_WRITE,      /* offset, value */
    LINK_EVENT,      /* fetches translation faults: value = last address, more = how many */
    LINK_TRANSLATOR, /* in place of HELLO, with the same names: from its answer on the emulator asks and the drop-in
                        answers */
    LINK_TRANSLATE,  /* asked by the emulator: offset = effective address, value = how far.  OK: value = physical
                      * address, more =  bytes that follow there; NO_CONTEXT: nothing for 'more' bytes */
};

struct link_request {
    uint32_t op, tag;
    uint64_t offset, value;
};

struct link_answer {
    int32_t status;
    uint32_t tag; /* the request's */
    uint64_t value, more;
};

_Static_assert(sizeof(struct link_request) == 24 && sizeof(struct link_answer) == 24, "no padding on the wire");

enum link_status { /* ocxl_err of libocxl 1.2 */
                   LINK_OK = 0,
                   LINK_NO_MEM = -1,
                   LINK_NO_DEV = -2,
                   LINK_NO_CONTEXT = -3,
                   LINK_INTERNAL_ERROR = -5,
                   LINK_ALREADY_DONE = -6,
                   LINK_OUT_OF_BOUNDS = -7,
                   LINK_NO_MORE_CONTEXTS = -8,
                   LINK_INVALID_ARGS = -9,
};

#define LINK_MMIO_BYTES UINT64_C(0x100000)

#endif
