/* link.h - the emulator's end of the drop-in's connections: open adapters, register accesses, the donor's context.
 *
 * A connection is one open adapter.  When it ends, for whatever reason, the adapter is closed, and a donor's context
 * with it; the registers stay as they are, as in the hardware.  One thread. */
#ifndef MEMLANE_EMULATOR_LINK_H
#define MEMLANE_EMULATOR_LINK_H

#include "box.h"
#include "loop.h"

struct link;
MUST_CHECK int link_new(struct link **out, struct box *b, struct loop *l, const char *path, struct err *e);
/* Besides: TCP on the loopback, for the drop-in inside virtual machines; 'port' 0: any.  '*port' is the one. */
MUST_CHECK int link_listen_tcp(struct link *k, struct loop *l, uint16_t *port, struct err *e);
void link_free(struct link *k); /* ignores NULL */
/* Ends every connection to adapters of a node, after 'each' was told its process. */
void link_drop_node(struct link *k, struct box_node *n, void (*each)(void *arg, pid_t pid), void *arg);

#endif
