/* switch.h - the circuit switches' own little line protocol (DESIGN section 7), one socket a switch.
 *
 *   connect A B     -> ok | error CODE text     disconnect A B -> ok | error CODE text
 *   list            -> "pair A B" lines, ok     signal         -> "port N up|down" lines, ok
 *
 * Cross-connects live in the switch, not in the node that manages it.  One thread. */
#ifndef MEMLANE_EMULATOR_SWITCH_H
#define MEMLANE_EMULATOR_SWITCH_H

#include "box.h"
#include "loop.h"

struct switches;
/* Sockets DIR/switches/NAME.sock. */
MUST_CHECK int switches_new(struct switches **out, struct box *b, struct loop *l, struct err *e);
void switches_free(struct switches *s); /* ignores NULL */
/* Ends the connections to switches that the node manages, after 'each' was told their processes. */
void switches_drop_node(struct switches *s, const struct box_node *n, void (*each)(void *arg, pid_t pid), void *arg);

#endif
