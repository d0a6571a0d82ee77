/* stream.h - one client of the live event stream (text/event-stream).
 *
 * Pulled, never pushed: when the client's socket takes more, the reader formats the next events from the ring
 * (events.h), or asks the history worker for what has left the ring, or parks until something is appended.  A comment
 * every ten seconds finds dead clients and ends the streams of credentials that are gone. */
#ifndef MEMLANE_STREAM_H
#define MEMLANE_STREAM_H

#include "api/request.h"

#include <sys/types.h>

#define STREAM_BEAT_MS 10000
#define STREAMS_MAX 256

struct stream;

/* Events after 'after'; counts in the api's counters.  HTTP thread. */
MUST_CHECK int stream_new(struct stream **out, struct api *a, uint64_t after, const struct token *who, struct err *e);
void stream_free(struct stream *s);
/* Up to 'max' bytes; 0: parked; -1: the end.  'connection' is the library's. */
ssize_t stream_read(struct stream *s, void *connection, char *buf, size_t max);

#endif
