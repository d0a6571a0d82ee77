/* agent.h - the three threads of the agent, and what they hand each other.
 *
 *   poll    registers (again and again until it works), then waits for desired states
 *   job     the one hand on the hardware: acts on the newest desired state, then reads the node and publishes a
 * snapshot report  sends each snapshot at once, and the last one again when none came for a while: the heartbeat goes
 * on while a job hangs
 *
 * Desired states and snapshots are handed over through one-place mailboxes: a newer one replaces what nobody took yet.
 */
#ifndef MEMLANE_AGENT_AGENT_H
#define MEMLANE_AGENT_AGENT_H

#include "agent_config.h"

struct agent;

/* 'lock_fd' is the node's lock, held by the caller.  Reads identity and kernel, starts no thread yet. */
MUST_CHECK int agent_new(struct agent **out, const struct agent_config *c, int lock_fd, struct err *e);
MUST_CHECK int agent_start(struct agent *a, struct err *e);
/* Asks all threads to end.  False when they did not within 'wait_ms' (a job hangs): the process may end nevertheless.
 */
bool agent_stop(struct agent *a, long wait_ms);
void agent_free(struct agent *a); /* after agent_stop() answered true, or without agent_start() */

#endif
