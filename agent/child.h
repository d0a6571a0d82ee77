/* child.h - runs what may hang in a child with a deadline.
 *
 * A write to a memory block's state may take for ever, a touch of dead memory may kill the process: both run in a
 * forked child that tells what it did through a pipe, and is killed when it says nothing for too long.  The child keeps
 * the node's lock (its descriptor is inherited), so that a successor of this agent waits for it; it dies with the agent
 * where the kernel lets it.  To fork takes longer than to online a block, and what the agent writes to afterwards is
 * copied page by page: so one child is forked ahead, and goes on waiting for the next order until it fails at one or is
 * dismissed.  One order is under way at a time (the kernel's own lock allows no more), and the caller need not wait for
 * its end.  A child that survives SIGKILL is wedged: what it was at may still be done whenever the kernel comes back,
 * so that every later order fails with ERR_BUSY until it is gone.  Only the job thread calls this. */
#ifndef MEMLANE_AGENT_CHILD_H
#define MEMLANE_AGENT_CHILD_H

#include "err.h"

#include <stdint.h>
#include <sys/types.h>

#define CHILD_KEEP 8
#define CHILD_LEAVING 8
#define CHILD_ARG_MAX 256
#define CHILD_END 0 /* the last message: the order is done, whatever became of it */

struct child {
    pid_t pid; /* 0: none */
    int order_fd, tell_fd;
};

struct children {
    pid_t wedged;                 /* a killed child that did not end; 0: none */
    pid_t leaving[CHILD_LEAVING]; /* dismissed, on their way out; 0: none */
    struct child waiting;         /* for an order */
    struct child running;         /* carries one out */
    int64_t heard_ms;             /* when 'running' said something last */
    long kill_wait_ms;            /* for a killed child to end; then it is wedged */
    int keep[CHILD_KEEP];         /* descriptors that a child needs: the lock and the roots of its files; unused: -1 */
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
/* Forks the next child ahead of its order, and collects those that ended: when there is time. */
void children_prepare(struct children *c);
/* The waiting child knows the descriptors of before: call this when one of them was replaced, and at the end. */
void children_dismiss(struct children *c);
void children_end(struct children *c); /* at the end: lets one go that is at an order, too */
/* Gives an order to a child.  'arg' is copied to it ('arg_size' bytes, at most CHILD_ARG_MAX); what it points to is as
 * it was when the child was forked.  ERR_BUSY: another order is under way. */
MUST_CHECK int child_start(struct children *c, child_body *body, const void *arg, size_t arg_size, struct err *e);
enum child_state { CHILD_RUNNING, CHILD_DONE, CHILD_FAILED };
/* Listens to the child for at most 'wait_ms'; 'arg' is the listener's.  CHILD_FAILED: ERR_TIMEOUT, it said nothing for
 * 'silence_ms' and was killed; ERR_HARDWARE, it died by a signal. */
MUST_CHECK enum child_state child_listen(struct children *c, child_listener *listener, void *arg, long wait_ms,
                                         long silence_ms, struct err *e);
/* Ends the order that is under way wherever its child is: between two messages, or in the middle of a write.  -1 with
 * ERR_TIMEOUT: the child is wedged. */
MUST_CHECK int children_abort(struct children *c, struct err *e);
/* The child that was killed and does not end, 0 when there is none (any more). */
pid_t children_wedged(struct children *c);
/* Both, until its end. */
MUST_CHECK int child_run(struct children *c, child_body *body, child_listener *listener, void *arg, size_t arg_size,
                         long silence_ms, struct err *e);

#endif
