/* state.h - what survives a killed emulator: one memory-mapped file that is handed out piece by piece, in a fixed
 * order.
 *
 * The order and the sizes follow from the rack file, so the file carries a hash of it and is refused with another rack.
 * The kernel keeps the pages of a killed process, so nothing is ever flushed; a power cut is a cold start. */
#ifndef MEMLANE_EMULATOR_STATE_H
#define MEMLANE_EMULATOR_STATE_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

struct state_node {
    char boot_id[40];
    uint8_t on;
    uint8_t auto_online; /* enum blocks_policy */
};

struct state_head {
    char magic[8];
    uint64_t rack_hash, size_bytes;
    uint64_t trace_seq;
};

struct state {
    struct state_head *head;
    unsigned char *base;
    size_t size_bytes, taken_bytes;
    int resumed; /* it holds an earlier emulator's state */
};

/* 'path' NULL: anonymous memory.  'resume' and a file of another rack is an error; no file at all is a cold start. */
MUST_CHECK int state_open(struct state *out, const char *path, size_t size_bytes, uint64_t rack_hash, int resume,
                          struct err *e);
/* The next 'size_bytes', 8-byte aligned; zeroed at a cold start. */
void *state_take(struct state *s, size_t size_bytes);
size_t state_piece(size_t size_bytes); /* what state_take() uses up */
void state_close(struct state *s);

#endif
