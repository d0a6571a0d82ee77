/* control.h - DIR/ctl.sock: what tests and demonstrations do to the emulated rack.  One line in, one JSON line out. */
#ifndef MEMLANE_EMULATOR_CONTROL_H
#define MEMLANE_EMULATOR_CONTROL_H

#include "emulator.h"

struct control;
MUST_CHECK int control_new(struct control **out, struct emulator *em, const char *path, struct err *e);
void control_free(struct control *c); /* ignores NULL */

extern const char control_help[]; /* the commands, for people */

#endif
