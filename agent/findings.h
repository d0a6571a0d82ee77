/* findings.h - what an operator should know, and do, before memory travels: told at registration, in the API, and by
 * `memlane-agent --check`.
 *
 * Each finding has a stable code, a severity (error: this node cannot do its part; warning: it can, but something may
 * go wrong; info: good to know), what is so, and what to do about it.  Reads only; the caller's thread. */
#ifndef MEMLANE_AGENT_FINDINGS_H
#define MEMLANE_AGENT_FINDINGS_H

#include "afu.h"
#include "agent_config.h"
#include "inventory.h"
#include "kernel.h"
#include "sysfs.h"
#include "wire.h"

#include <stdarg.h>
#include <stdbool.h>

struct findings_source { /* all borrowed */
    const struct agent_config *config;
    const struct sysfs *sys, *proc;
    const struct kernel_facts *kernel;
    const char *ocxl_error;                    /* why libocxl could not be loaded; NULL: it is */
    bool ocxl_emulated;                        /* it is an emulator's drop-in */
    const struct inventory_borrowed *borrowed; /* NULL: nothing */
    const bool *not_movable; /* by adapter: blocks in its window are online outside zone Movable; NULL: none */
};

/* Fills at most WIRE_MAX_FINDINGS; answers how many. */
unsigned findings_read(const struct findings_source *s, struct wire_finding out[WIRE_MAX_FINDINGS]);

/* Appends what a lender in a unit of its own says of itself (afu_lender_facts) that does not fit. */
void findings_of_lender(struct wire_finding *list, size_t *n, const struct agent_config *c, const struct sysfs *sys,
                        const char *adapter, const struct afu_lender_facts *facts);

/* Appends one to a list with room for WIRE_MAX_FINDINGS; one too many is dropped.  'fmt' and 'args' make its detail. */
PRINTF(6, 0)
void findings_append(struct wire_finding *list, size_t *n, const char *code, enum wire_severity severity,
                     const char *advice, const char *fmt, va_list args);

#endif
