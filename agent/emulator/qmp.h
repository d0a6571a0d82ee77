/* qmp.h - one connection to a QEMU's machine protocol (QMP), over the Unix socket that QEMU listens on.
 *
 * Hides the greeting, the negotiation and JSON lines.  While nobody listens it tries again every QMP_RETRY_MS, so a
 * machine may come later than the emulator, and come again.  Nothing here waits: one that says nothing is not up.  A
 * line that is no JSON is left out; one that never ends, or a refused negotiation, ends the connection.  One thread:
 * the loop's. */
#ifndef MEMLANE_EMULATOR_QMP_H
#define MEMLANE_EMULATOR_QMP_H

#include "json.h"
#include "loop.h"

#include <sys/types.h>

#define QMP_RETRY_MS 50

struct qmp;

struct qmp_ops {             /* none of them may free the connection */
    void (*up)(void *arg);   /* negotiated: commands may be sent */
    void (*down)(void *arg); /* after up: the machine is gone, and what was asked is never answered */
    void (*event)(void *arg, const char *name, const json_t *data);
    /* 'error' NULL: done, and 'result' is what came back, valid during the call. */
    void (*answer)(void *arg, const char *id, const json_t *result, const char *error);
};

/* Borrows 'ops' and 'arg', copies 'path'. */
MUST_CHECK int qmp_new(struct qmp **out, struct loop *l, const char *path, const struct qmp_ops *ops, void *arg,
                       struct err *e);
void qmp_free(struct qmp *q); /* ignores NULL; calls nobody */
bool qmp_is_up(const struct qmp *q);
pid_t qmp_pid(const struct qmp *q); /* of the QEMU; 0: not connected */
/* Takes over 'arguments' (NULL: none).  Not up: the command is dropped. */
void qmp_send(struct qmp *q, const char *id, const char *command, json_t *arguments);

#endif
