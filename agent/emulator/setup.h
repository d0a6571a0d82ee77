/* setup.h - the rack's directory: makes what a node has on its disks, in /dev and in /etc, and empties what a boot
 * empties. */
#ifndef MEMLANE_EMULATOR_SETUP_H
#define MEMLANE_EMULATOR_SETUP_H

#include "box.h"

struct setup_options {
    const char *rack_path;
    const char *agent_url, *join_token_file; /* NULL: left out of agent.conf */
    const char *lender_program, *ocxl_library, *lender_backing;
    unsigned settle_ms;
    const char *own_lenders; /* names, separated by commas, of nodes whose agents start no lender; NULL: none */
};

/* DIR, its folders, rack.json, nodes/NAME/... with device files and agent.conf; fills dir and buffers of every node.
 * 'cold': run/, buffers/ and segments/ are emptied. */
MUST_CHECK int setup_make(struct box *b, const struct setup_options *o, bool cold, struct err *e);
void setup_forget_node(const struct box_node *n); /* what a node loses with its power: buffers/, run/, segments/ */
void setup_remove(struct box *b);                 /* buffers and segments of all nodes, at the end of the rack */
/* Creates a directory unless it exists. */
MUST_CHECK int setup_mkdir(const char *path, struct err *e);

#endif
