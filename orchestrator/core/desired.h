/* desired.h - the model -> what one agent should have, a full snapshot.  Pure.  Absence is never an order. */
#ifndef MEMLANE_DESIRED_H
#define MEMLANE_DESIRED_H

#include "model.h"

/* Fills all lists; epoch, instance and revision are the caller's.  End with wire_desired_done(). */
MUST_CHECK int desired_build(const struct model *m, uint32_t node, struct wire_desired *out, struct err *e);

#endif
