/* crossconnect.h - one circuit switch, over a line protocol that any site can give its switch:
 *
 *   connect A B     -> ok | error CODE text     the same pair again: ok; a port in another pair: error busy
 *   disconnect A B  -> ok | error CODE text     not connected: ok
 *   list            -> pair A B ...  ok
 *   signal          -> port N up|down ...  ok
 *
 * One request at a time, ports count from 1.  The address says who speaks it: unix:PATH, tcp:HOST:PORT, or
 * exec:/PROGRAM (on its standard input and output).  The connection is kept, and made again after a failure.  Every
 * answer has a deadline, every line a limit; after a missed deadline every call fails at once for twice as long; a name
 * may take longer to resolve, and counts the same.  Not thread-safe: the job thread calls it. */
#ifndef MEMLANE_AGENT_CROSSCONNECT_H
#define MEMLANE_AGENT_CROSSCONNECT_H

#include "wire.h"

#define CROSSCONNECT_PORTS_MAX 4096

struct crossconnect;

struct crossconnect_pair {
    unsigned a, b; /* a < b */
};

struct crossconnect_signal {
    unsigned port;
    bool up;
};

struct crossconnect_ops {
    const char *name; /* as in the address: "unix", "tcp", "exec" */
    /* Connects to 'rest' (what follows "NAME:") until 'deadline_ms' of the monotonic clock; '*pid' is set when a
     * process was started for it.  Answers a descriptor that is read and written, -1 on error. */
    int (*dial)(const char *rest, int64_t deadline_ms, pid_t *pid, struct err *e);
};

MUST_CHECK int crossconnect_new(struct crossconnect **out, const char *name, const char *address, long timeout_ms,
                                struct err *e); /* no I/O yet; ERR_FIELD_INVALID for an unknown kind of address */
void crossconnect_free(struct crossconnect *x); /* ignores NULL */

/* ERR_BUSY: a port is in another pair.  ERR_HARDWARE: the switch refused.  ERR_UNREACHABLE, ERR_TIMEOUT. */
MUST_CHECK int crossconnect_connect(struct crossconnect *x, unsigned a, unsigned b, struct err *e);
MUST_CHECK int crossconnect_disconnect(struct crossconnect *x, unsigned a, unsigned b, struct err *e);
/* New arrays, the caller frees; NULL when empty. */
MUST_CHECK int crossconnect_list(struct crossconnect *x, struct crossconnect_pair **out, size_t *n, struct err *e);
MUST_CHECK int crossconnect_signals(struct crossconnect *x, struct crossconnect_signal **out, size_t *n, struct err *e);

#endif
