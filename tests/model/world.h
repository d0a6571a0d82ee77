/* world.h - the hardware of a rack as it really is, for the model test: what is online, where registers lead, what is
 * joined, what the lenders hold, what was written where and by whom.
 *
 * Knows nothing of the orchestrator.  Every change that a real machine would die of ends the story: world_fail().  A
 * failure that the story brought about (a donor without power, a cable that was pulled) excuses what follows from it,
 * and nothing else does. */
#ifndef MEMLANE_MODEL_WORLD_H
#define MEMLANE_MODEL_WORLD_H

#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVERS 6
#define MANAGER SERVERS /* the node that drives the switch */
#define NODES (SERVERS + 1)
#define BLOCK (UINT64_C(256) << 20)
#define SECTIONS 4
#define SECTION_BLOCKS 512 /* of them are looked at */
#define SWITCH_PORTS (SERVERS * 4)
#define OBJECTS 96

struct segment { /* what an agent knows of a range of blocks; its label */
    char id[ID_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    bool quiesced, movable;
    bool by_hand;    /* somebody took some of it offline */
    unsigned failed; /* attempt + 1 of the order that failed; 0: none */
    bool failed_absent;
    /* when its first block came online: who lent what is behind it */
    unsigned donor, donor_boot, donor_lender;
};

struct buffer {
    char id[ID_SIZE];
    unsigned peer, section; /* of the compute node */
    uint64_t offset_bytes, size_bytes, base;
    uint32_t *written; /* one mark a block: who wrote there last */
};

struct machine {
    bool power;
    unsigned boot, lender;
    uint64_t registers[WIRE_SECTIONS];
    unsigned channels[2]; /* of afu0 (compute), afu1 (memory) */
    bool adapter_error[2];
    bool online[SECTIONS][SECTION_BLOCKS];
    uint32_t owner[SECTIONS][SECTION_BLOCKS]; /* of a block that is online: the hash of the id that it belongs to */
    uint32_t wrote[SECTIONS][SECTION_BLOCKS]; /* what the borrower believes to be there */
    size_t n_segments, n_buffers;
    struct segment segments[OBJECTS];
    struct buffer buffers[OBJECTS];
    uint64_t bases[NODES][SECTIONS]; /* the lender's arenas: 0: none yet */
    bool link_down[4];               /* afu0/0, afu0/1, afu1/0, afu1/1 to the switch */
};

struct world {
    struct machine machines[NODES];
    unsigned joins[SWITCH_PORTS + 1]; /* port -> port; 0: none */
    uint64_t next_base;
    bool tell; /* what happens to the machines is printed */
};

/* Ends the process with a message for whoever runs the story. */
_Noreturn void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void world_start(struct world *w);
void world_tell(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_done(struct world *w);
void world_power(struct world *w, unsigned node, bool on);
void world_kill_lender(struct world *w, unsigned node);

/* What agents do to their machines; each is checked. */
void world_set_register(struct world *w, unsigned node, unsigned section, uint64_t value);
void world_set_channel(struct world *w, unsigned node, bool memory, unsigned port, bool up);
unsigned world_ports_of(uint64_t value); /* that a mapped register sends to: bit 0, bit 1 */
void world_join(struct world *w, unsigned a, unsigned b, bool connected);
bool world_lend(struct world *w, unsigned node, const struct wire_want_buffer *order,
                unsigned peer); /* false: refused */
/* 'kept': the section may lead there still, to what the lender keeps in the buffer's place. */
void world_release(struct world *w, unsigned node, const char *id, bool kept);
struct segment *world_segment(struct world *w, unsigned node, const char *id); /* NULL: no label */
struct segment *world_label(struct world *w, unsigned node, const struct wire_want_segment *order);
/* Blocks of another segment are online in the range. */
bool world_range_used(const struct world *w, unsigned node, const struct wire_want_segment *order);
void world_online(struct world *w, unsigned node, struct segment *s, unsigned blocks); /* the first so many */
void world_offline(struct world *w, unsigned node, struct segment *s, unsigned keep);  /* 'keep' blocks refuse */
unsigned world_blocks_online(const struct world *w, unsigned node, const struct segment *s);

/* The borrower writes and reads all that it borrows.  What fails with an excuse takes the machine down. */
void world_use(struct world *w, unsigned node);
/* Every block that is online leads to the bytes that it should, or has an excuse. */
void world_check(const struct world *w);
/* Nothing is left: no buffer, no block, no mapped register, no channel, no join. */
void world_check_empty(const struct world *w);

#endif
