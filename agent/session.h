/* session.h - the agent's conversation with the orchestrator: register, ask for the desired state, report.
 *
 * Two connections, each used by one thread: registration and the long poll by the poll thread, reports by the report
 * thread. What both share (session id, epoch, heartbeat) is behind a lock in here.  An orchestrator with a lower epoch
 * than the newest known, or with this epoch and another instance, is reported to, but not obeyed.  Nothing here touches
 * the node. */
#ifndef MEMLANE_AGENT_SESSION_H
#define MEMLANE_AGENT_SESSION_H

#include "agent_config.h"
#include "wire.h"

struct session;

struct session_info {
    bool registered, obeyed;
    uint64_t number; /* grows with each registration */
    uint64_t epoch;
    char instance[ID_SIZE];
    unsigned heartbeat_ms, poll_wait_s;
};

MUST_CHECK int session_new(struct session **out, const struct agent_config *c, struct err *e);
void session_free(struct session *s); /* ignores NULL */
void session_get(struct session *s, struct session_info *out);
/* The session is over: the poll thread's request, if one is under way, ends soon.  'number' says which session is
 * meant. */
void session_lost(struct session *s, uint64_t number);
/* Ends both connections' requests soon, now and from now on. */
void session_stop(struct session *s);

/* Poll thread: registers once.  'r' is completed with what is known of the orchestrator.  Credential and epoch are on
 * disk before this returns 0. */
MUST_CHECK int session_register(struct session *s, struct wire_registration *r, struct err *e);
/* Poll thread: waits for a desired state newer than (epoch, revision).  '*fresh' false: there is none yet.
 * ERR_SESSION_STALE and ERR_UNAUTHENTICATED: register again.  Any other error: ask again later. */
MUST_CHECK int session_poll(struct session *s, uint64_t epoch, uint64_t revision, bool *fresh, struct wire_desired *out,
                            struct err *e);
/* Report thread: sends one report with this session, its sequence and, when the report is of another session, the
 * revision 0. */
MUST_CHECK int session_report(struct session *s, const struct wire_observed *o, uint64_t taken_in, struct err *e);

#endif
