/* protocol.h - how the agent speaks to a lender: fixed-size messages over a SOCK_SEQPACKET Unix socket, one answer for
 * each request, in order.  Both ends run on one machine, so byte order is the host's; a message of another size, magic
 * or version is answered LENDER_VERSION, and nothing else of it is read.  A lender outlives agents, so these numbers
 * never change meaning; a new field takes a reserved one, where 0 has to mean "not said"; anything else raises
 * LENDER_PROTOCOL. */
#ifndef MEMLANE_LENDER_PROTOCOL_H
#define MEMLANE_LENDER_PROTOCOL_H

#include "names.h"

#include <stdint.h>

#define LENDER_MAGIC UINT32_C(0x4c4e4d4d)
#define LENDER_PROTOCOL 1

enum lender_op {
    LENDER_OP_INFO = 1,    /* -> adapter_ok, else why in text; value: translation faults so far */
    LENDER_OP_ALLOC = 2,   /* geometry -> effective_addr; LENDER_AGAIN while memory is being committed (value: bytes) */
    LENDER_OP_RELEASE = 3, /* id -> nothing; an unknown id is fine */
    LENDER_OP_LIST = 4,    /* offset: from which slot -> one buffer, value: the slot to go on from; or LENDER_END.
                            * section 1: those that failed and still hold pages too, with 'failed' (an older lender
                            * does not list them, an older agent does not ask) */
    LENDER_OP_CHANNEL = 5, /* section: the port; offset: 1 out of reset, 0 into it */
    LENDER_OP_READ = 6,    /* offset: of the register -> value */
};

enum lender_status {
    LENDER_OK = 0,
    LENDER_AGAIN = 1,    /* not done yet, ask again */
    LENDER_END = 2,      /* the list's end */
    LENDER_INVALID = 3,  /* a request that makes no sense */
    LENDER_CONFLICT = 4, /* overlaps, or the id is another buffer's */
    LENDER_MEMORY = 5,   /* the kernel refused the memory; os_errno */
    LENDER_HARDWARE = 6, /* the adapter */
    LENDER_VERSION = 7,  /* no message of this protocol */
    LENDER_FULL = 8,     /* no room for another buffer or arena */
};

struct lender_request {
    uint32_t magic;
    uint16_t protocol, op;
    uint64_t tag; /* comes back in the answer */
    char id[ID_SIZE];
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    uint64_t section, offset, offset_bytes, size_bytes;
    uint64_t reserved[4]; /* 0 */
};

struct lender_answer {
    uint32_t magic;
    uint16_t protocol, op;
    uint64_t tag;
    uint32_t status;
    int32_t os_errno;
    char text[200]; /* what went wrong */
    char lender_id[ID_SIZE];
    char id[ID_SIZE];
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    uint64_t section, offset_bytes, size_bytes, effective_addr, value;
    uint64_t n_buffers, lent_bytes, locked_bytes;
    int32_t pid;
    uint32_t adapter_ok;
    /* 0 in each of these: not said (an older lender, or nodes above 63) */
    uint64_t memlock_bytes; /* INFO: how much it may lock, ~0: anything */
    uint64_t page_bytes;    /* INFO: it lends in pages of this size */
    uint64_t numa_nodes;    /* INFO: it takes memory from these, bit n: node n */
    uint64_t failed;        /* LIST: 1: nobody's memory, it could not be given back yet; why in text */
};

_Static_assert(sizeof(struct lender_request) == 248, "the request's size is part of the protocol");
_Static_assert(sizeof(struct lender_answer) == 536, "the answer's size is part of the protocol");

#endif
