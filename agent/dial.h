/* dial.h - finds the way to a circuit switch from its address (crossconnect.h). */
#ifndef MEMLANE_AGENT_DIAL_H
#define MEMLANE_AGENT_DIAL_H

#include "crossconnect.h"

/* NULL when the address is of no known kind; '*rest' is what follows "KIND:". */
const struct crossconnect_ops *dial_find(const char *address, const char **rest);

#endif
