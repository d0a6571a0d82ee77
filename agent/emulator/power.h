/* power.h - switching emulated nodes off and on.
 *
 * Off is what a machine loses with its power: its processes (agent, lenders), its adapters' registers, its memory
 * blocks, its buffers and /run.  On is a new boot id.  A transaction that nobody answers fences the node, which is the
 * same as off. */
#ifndef MEMLANE_EMULATOR_POWER_H
#define MEMLANE_EMULATOR_POWER_H

#include "emulator.h"

void power_off(struct emulator *em, struct box_node *n, const char *why);
MUST_CHECK int power_on(struct emulator *em, struct box_node *n, struct err *e);
/* A first boot of every node (cold start), without touching any process. */
MUST_CHECK int power_cold_start(struct emulator *em, struct err *e);

#endif
