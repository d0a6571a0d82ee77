/* state.h - the few things that an agent keeps over its own end: its credential, and the newest orchestrator that it
 * knew.
 *
 * STATE_DIR/credential (0600) and STATE_DIR/epoch ("EPOCH INSTANCE").  Each is written to a temporary file, synced,
 * renamed, and the directory synced: after a power cut there is the old one or the new one.  Not thread-safe: the
 * session's thread calls it. */
#ifndef MEMLANE_AGENT_STATE_H
#define MEMLANE_AGENT_STATE_H

#include "err.h"
#include "names.h"

#include <stdint.h>

#define STATE_TOKEN_SIZE 256

struct state {
    int dir_fd;
    char credential[STATE_TOKEN_SIZE]; /* empty: none yet */
    uint64_t epoch;                    /* 0: none yet */
    char instance[ID_SIZE];
    uint64_t revision; /* of the newest orders obeyed in that epoch; of this agent's life only */
};

MUST_CHECK int state_open(struct state *out, const char *dir, struct err *e);
void state_close(struct state *s);
MUST_CHECK int state_set_credential(struct state *s, const char *credential, struct err *e);
/* Is this orchestrator no older than the newest that was known?  ERR_CONFLICT: a lower epoch, or this epoch with
 * another instance. */
MUST_CHECK int state_check_epoch(const struct state *s, uint64_t epoch, const char *instance, struct err *e);
MUST_CHECK int state_set_epoch(struct state *s, uint64_t epoch, const char *instance, struct err *e);
void state_obeyed(struct state *s, uint64_t revision);
/* A token's file: one line of printable characters. */
MUST_CHECK int state_read_token(const char *path, char out[STATE_TOKEN_SIZE], struct err *e);

#endif
