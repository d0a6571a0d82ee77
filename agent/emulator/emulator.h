/* emulator.h - the running emulator: the box and everything that serves it.  Made by main.c, used by control and power.
 */
#ifndef MEMLANE_EMULATOR_EMULATOR_H
#define MEMLANE_EMULATOR_EMULATOR_H

#include "box.h"
#include "link.h"
#include "loop.h"
#include "switch.h"
#include "sysmem.h"
#include "trace.h"

struct emulator {
    struct box *box;
    struct loop *loop;
    struct trace *trace;
    struct link *link;
    struct switches *switches;
    struct sysmem *sysmem;
    struct control *control;
    struct vm *vms; /* a list */
};

#endif
