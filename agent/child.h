/* child.h - runs what may hang in a child with a deadline.
 *
 * A write to a memory block's state may take for ever, a touch of dead memory may kill the process: both run in a
 * forked child that tells what it did through a pipe, and is killed when it says nothing for too long.  The child keeps
 * the node's lock (its descriptor is inherited), so that a successor of this agent waits for it; it dies with the agent
 * where the kernel lets it.  A child that survives SIGKILL makes every later call fail with ERR_BUSY until it is gone.
 * Only the job thread calls this. */
#ifndef MEMLANE_AGENT_CHILD_H
#define MEMLANE_AGENT_CHILD_H

#include "err.h"

#include <stdint.h>
#include <sys/types.h>

#define CHILD_KEEP 8

struct children {
    pid_t wedged;         /* a killed child that did not end; 0: none */
    int keep[CHILD_KEEP]; /* descriptors that a child needs: the lock and the roots of its files; unused: -1 */
};

struct child_message { /* fixed size, written at once: what a child says is never cut */
    uint32_t kind, index;
    int32_t value, os_errno;
    char text[96];
};

/* In the child.  False when nobody listens any more. */
bool child_tell(int pipe_fd, const struct child_message *m);

typedef void child_body(void *arg, int pipe_fd);                       /* in the child */
typedef void child_listener(void *arg, const struct child_message *m); /* in the caller, for each message */

void children_init(struct children *c);
/* 'silence_ms' is how long the child may say nothing.  ERR_TIMEOUT: killed for that; ERR_HARDWARE: it died by a signal.
 */
MUST_CHECK int child_run(struct children *c, child_body *body, child_listener *listener, void *arg, long silence_ms,
                         struct err *e);

#endif
