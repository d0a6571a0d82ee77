/* status.h - the whole emulated rack as JSON, for `ctl status`: what is powered, open, mapped, joined, down. */
#ifndef MEMLANE_EMULATOR_STATUS_H
#define MEMLANE_EMULATOR_STATUS_H

#include "box.h"

#include <jansson.h>

MUST_CHECK int status_fill(struct box *b, json_t *out, struct err *e);

#endif
