/* health.h - what an operator should look at, counted over the whole rack: for /v1/status and /metrics.  Under the read
 * lock. */
#ifndef MEMLANE_HEALTH_H
#define MEMLANE_HEALTH_H

#include "core/model.h"

enum adapter_state { ADAPTER_UNKNOWN, ADAPTER_OK, ADAPTER_ERROR }; /* unknown: not reported since our start */
extern const char *const adapter_state_names[];

struct health {
    unsigned circuits_in_danger, attachments_in_danger; /* of the latter only what its compute node may still read */
    unsigned adapters[ADAPTER_ERROR + 1], links[LINK_DOWN + 1];
    unsigned quarantined_attachments, unowned_objects;
    unsigned findings[WIRE_ERROR + 1]; /* by severity */
    uint64_t lenders_lost;             /* since our start */
};
void health_count(struct health *h, const struct model *m);

#endif
