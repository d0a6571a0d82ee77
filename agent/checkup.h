/* checkup.h - `memlane-agent --check`: a page that says what this node is, what is wrong with it, and what to do about
 * it. Reads only: it touches no adapter and no memory block, and starts no lender.  May run beside the agent. */
#ifndef MEMLANE_AGENT_CHECKUP_H
#define MEMLANE_AGENT_CHECKUP_H

#include "agent_config.h"

/* Prints to standard output.  0: nothing is wrong; 1: at least one finding is an error. */
int checkup_print(const struct agent_config *c, bool json);

#endif
