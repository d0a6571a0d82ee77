/* lifecycle_internal.h - what lifecycle*.c share; nobody else includes it. */
#ifndef MEMLANE_LIFECYCLE_INTERNAL_H
#define MEMLANE_LIFECYCLE_INTERNAL_H

#include "lifecycle.h"

/* The node's last report belongs to its present session and is the result of 'revision' or a later one. */
bool lifecycle_fresh(const struct model *m, uint32_t node, uint64_t revision);
bool lifecycle_fenced(const struct model *m, uint32_t node);
/* The node's desired state changed in this transaction: wake its agent. */
void lifecycle_wake(struct model *m, uint32_t node);

/* One move of the circuit towards what its attachments want; false: nothing to do now. */
bool circuit_advance(struct model *m, uint32_t circuit);
/* Some attachment wants it joined. */
bool circuit_wanted(const struct model *m, uint32_t circuit);
/* An end came with a new boot: its channels are in reset and have to come up again. */
void circuit_rebooted(struct model *m, uint32_t circuit, uint32_t node);
/* After loading: the state that the phase and the attachments tell. */
void circuit_start(struct model *m, uint32_t circuit);
bool circuit_is_opening(const struct circuit *c); /* or open: a section may lead to it */
bool circuit_is_open(const struct circuit *c);    /* observed: channels out of reset and settled */

#endif
