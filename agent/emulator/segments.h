/* segments.h - nodes/NAME/segments/ID: links to the donors' buffers, there exactly while they can be reached.
 *
 * A buffer's link exists on the compute node while every memory block of its whole range is online there and section
 * register, channels, cables and cross-connects lead to it.  Kept by small steps: a block that comes or goes, or a
 * change of the way. Without box->changed (unit tests) nothing is linked.  One thread. */
#ifndef MEMLANE_EMULATOR_SEGMENTS_H
#define MEMLANE_EMULATOR_SEGMENTS_H

#include "box.h"

void segments_block_online(struct box_adapter *compute, uint64_t block);
void segments_block_offline(struct box_adapter *compute, uint64_t block); /* before it goes */
/* box->changed: checks all links of one compute adapter, or of all, and finds new ones. */
void segments_changed(struct box *b, struct box_adapter *only);
/* Does the memory of this block answer?  Without box->changed it always does. */
bool segments_answers(const struct box_adapter *compute, uint64_t block);
void segments_drop_all(struct box_adapter *compute);
struct segment *segments_find(struct box_node *n, const char *id, struct box_adapter **adapter);

#endif
