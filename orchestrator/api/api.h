/* api.h - the REST API of memlaned over HTTP: routes, sign-in, event stream, dashboard.
 *
 * One epoll thread of libmicrohttpd runs every handler; nothing on it waits.  A handler answers at once from the
 * published model, or parks its request until the writer (a command), the history worker (SQL) or the waiting room
 * (long polls, events, deadlines) wakes it.  Start it after the writer and stop it before the writer. */
#ifndef MEMLANE_API_H
#define MEMLANE_API_H

#include "events.h"
#include "writer.h"

struct api;

struct api_options {
    const char *listen_addr;      /* numeric; NULL: "127.0.0.1" */
    unsigned listen_port;         /* 0: any free one, see api_port() */
    struct writer *writer;        /* borrowed until api_stop() */
    struct events *events;        /* likewise */
    const char *db_path;          /* for the read-only connection of the history worker */
    const char *admin_token_file; /* where an admin token goes when none lives (0600); NULL: nowhere */
    double time_scale;            /* 0: 1.0 */
    unsigned heartbeat_ms;        /* what agents are told; 0: 1000 */
};

/* Loads the tokens through the writer; makes an admin token when none lives; listens. */
MUST_CHECK int api_start(struct api **out, const struct api_options *o, struct err *e);
void api_stop(struct api *a); /* wakes and ends every request, then all threads; ignores NULL */
unsigned api_port(const struct api *a);

#endif
