/* context.h - what the parts of the API share.  Inside this folder only. */
#ifndef MEMLANE_API_CONTEXT_H
#define MEMLANE_API_CONTEXT_H

#include "api/api.h"
#include "api/request.h"

struct checks;
struct http;

struct counters {         /* HTTP thread only */
    uint64_t requests[6]; /* by status / 100 */
    uint64_t refused_by_gate, refused_connections;
    unsigned streams;
    size_t body_bytes; /* kept of bodies, see http_body.h */
};

struct api {
    struct writer *writer;
    struct events *events;
    struct auth *auth;
    struct waits *waits;
    struct history *history;
    struct checks *checks;
    struct http *http;
    char *db_path;
    double time_scale;
    unsigned heartbeat_ms;
    int64_t started_ms; /* monotonic */
    struct counters counters;
};

#endif
