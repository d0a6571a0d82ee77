/* offline_rack.h - a model made from a rack file: every node ready, every adapter working, nothing lent. */
#ifndef MEMLANE_OFFLINE_RACK_H
#define MEMLANE_OFFLINE_RACK_H

#include "core/topology.h"
#include "rackfile.h"

/* Both are the caller's, also what was made before an error. */
MUST_CHECK int offline_rack(struct model **m, struct topology **t, const struct rack *rack, const char *actor,
                            struct err *e);

#endif
