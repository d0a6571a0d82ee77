/* rackfile.h - a rack file (DESIGN section 12) as C: nodes with adapters, switches, links.
 *
 * Read by memlane-emulator, by memlaned --place-only and --simulate, and (switches and links alone) by PUT
 * /v1/topology. Checked completely: names, one name space of nodes and switches, every port cabled at most once, ports
 * that exist, known managers, numbers in range.  Errors name the line (files) and the field.  Thread-safe. */
#ifndef MEMLANE_RACKFILE_H
#define MEMLANE_RACKFILE_H

#include "wire.h"

struct rack_node {
    char name[NAME_SIZE];
    uint64_t memory_bytes, free_bytes, block_bytes, headroom_bytes;
    unsigned n_labels, n_adapters;
    struct wire_label *labels;
    struct wire_adapter *adapters;
};

struct rack_switch {
    char name[NAME_SIZE];
    unsigned ports; /* counted from 1 */
    uint64_t latency_ns;
    char managed_by[NAME_SIZE]; /* a node, or empty */
};

struct rack_link {
    struct port_name a, b;
    uint64_t latency_ns;
    unsigned gbps;
};

struct rack {
    char name[NAME_SIZE];
    size_t n_nodes, n_switches, n_links;
    struct rack_node *nodes;
    struct rack_switch *switches;
    struct rack_link *links;
};

MUST_CHECK int rack_load(struct rack *out, const char *path, struct err *e);
MUST_CHECK int rack_decode(struct rack *out, const json_t *j, struct err *e);
/* Switches and links only, as PUT /v1/topology takes them; ports of nodes are not checked for existence. */
MUST_CHECK int rack_decode_cabling(struct rack *out, const json_t *j, struct err *e);
void rack_done(struct rack *r); /* frees; zeroes; for CLEANUP too */

#endif
