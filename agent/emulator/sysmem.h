/* sysmem.h - the file trees of the nodes: one FUSE mount, DIR/sys, with NAME/{sys,proc,emulator}/ below it.
 *
 * It behaves like /sys/devices/system/memory down to the errors of write(2).  Hides libfuse.  The session is polled by
 * the loop like everything else; a write that has to wait (a hanging block, a slow node) keeps its request and is
 * answered later, or with EINTR when a signal ends the writer.  One thread. */
#ifndef MEMLANE_EMULATOR_SYSMEM_H
#define MEMLANE_EMULATOR_SYSMEM_H

#include "box.h"
#include "loop.h"

struct sysmem;
/* Mounts; a mount that a killed emulator left behind is taken away first. */
MUST_CHECK int sysmem_new(struct sysmem **out, struct box *b, struct loop *l, const char *mountpoint, struct err *e);
void sysmem_free(struct sysmem *s); /* unmounts; ignores NULL */
/* Something that a write waits for may have changed: a fault was taken away, or a node lost power. */
void sysmem_retry(struct sysmem *s);
/* Writes to blocks that hang just now, of all nodes. */
unsigned sysmem_hanging(const struct sysmem *s);

#endif
