/* fabric.h - cables, circuit switches and what travels over them.
 *
 * A transaction leaves a compute adapter by the port that its section's netid names, follows cables and cross-connects,
 * and arrives at a memory adapter, whose lender's address space it reads or writes.  There are no routing headers: it
 * arrives wherever the cabling leads, which may be the wrong donor.  Pure but for box->memory() and the trace. */
#ifndef MEMLANE_EMULATOR_FABRIC_H
#define MEMLANE_EMULATOR_FABRIC_H

#include "box.h"

enum fabric_result {
    FABRIC_OK,
    FABRIC_NO_SECTION, /* the address belongs to no section register */
    FABRIC_DEAD, /* nobody answers: channel in reset, cable, cross-connect, power, or no lender: the machine would fence
                  */
    FABRIC_UNTRANSLATED /* the donor answers that it has nothing at that address (a parked section ends here too) */
};
const char *fabric_result_name(enum fabric_result r);

/* Where a port leads: the adapter port at the end of cables and cross-connects, whatever the channels say; -1: nowhere.
 */
int fabric_walk(const struct box *b, int port);
/* The memory adapter that a compute adapter reaches through a port, channels out of reset on both sides, else NULL. */
struct box_adapter *fabric_peer(const struct box_adapter *compute, unsigned port);
/* The memory adapter that all legs of a netid reach; NULL: dead, or the legs end at different adapters. */
struct box_adapter *fabric_target(const struct box_adapter *compute, uint64_t netid);

/* 'len' <= 128 bytes within one line of 128.  Counts flits and latency, captures errors. */
MUST_CHECK enum fabric_result fabric_transfer(struct box_adapter *compute, uint64_t window_offset, void *data,
                                              size_t len, bool write);
/* 'n_lines' lines of traffic each way without data, for load. */
void fabric_load(struct box_adapter *compute, uint64_t n_lines);

bool fabric_signal(const struct box *b,
                   int port); /* light at a port: cable there, not down, and powered at the far end */
/* Cross-connects of a switch; ports count from 1.  -1: a port is out of range or in use by another pair. */
MUST_CHECK int fabric_connect(struct box *b, struct box_switch *s, unsigned port_a, unsigned port_b, struct err *e);
MUST_CHECK int fabric_disconnect(struct box *b, struct box_switch *s, unsigned port_a, unsigned port_b, struct err *e);
MUST_CHECK int fabric_link_set(struct box *b, int port_a, int port_b, bool up, struct err *e);

#endif
