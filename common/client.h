/* client.h - the HTTP client of agent and command line: JSON over one kept connection (libcurl, GnuTLS).
 *
 * Not thread-safe: one client a thread.  No redirects, no proxies from the environment, http and https only, TLS 1.2 or
 * newer. The bearer token is never logged. */
#ifndef MEMLANE_CLIENT_H
#define MEMLANE_CLIENT_H

#include "err.h"

#include <jansson.h>
#include <stddef.h>

struct client;

struct client_options {
    const char *url;     /* "http://127.0.0.1:8080", "https://host", "unix:/run/memlane/api.sock"; no path */
    const char *token;   /* bearer; NULL: none */
    const char *ca_file; /* NULL: the system's */
    const char *user_agent;
    long connect_timeout_ms;
    size_t body_max; /* of an answer; 0: 64 MiB */
};

struct client_answer {
    long status;   /* HTTP status; 0 only on error */
    json_t *body;  /* NULL when there was none or it is no JSON */
    char etag[96]; /* empty when there was none */
    char location[256];
};

MUST_CHECK int client_new(struct client **out, const struct client_options *o, struct err *e);
void client_free(struct client *c); /* ignores NULL */
MUST_CHECK int client_set_token(struct client *c, const char *token, struct err *e);

/* One request.  'body' may be NULL.  'headers': NULL-terminated "Name: value" or NULL.  Returns 0 for any HTTP answer;
 * -1 (ERR_UNREACHABLE, ERR_TIMEOUT) when there was none.  The caller ends '*out' with client_answer_done(). */
MUST_CHECK int client_request(struct client *c, const char *method, const char *path, const json_t *body,
                              const char *const *headers, long timeout_ms, struct client_answer *out, struct err *e);
void client_answer_done(struct client_answer *a);
/* 0 for a 2xx; otherwise -1 with the code and detail of the problem document. */
MUST_CHECK int client_check(const struct client_answer *a, struct err *e);

/* As client_request(), but the body of a 200 is written to 'fd' instead of being kept; no limit but the disk's. */
MUST_CHECK int client_save(struct client *c, const char *method, const char *path, const char *const *headers, int fd,
                           long timeout_ms, struct client_answer *out, struct err *e);

/* A server-sent event stream: calls 'event' for each until it answers false, or the stream ends (0) or fails (-1). */
struct client_event {
    const char *id, *type, *data; /* data: JSON text */
};
MUST_CHECK int client_stream(struct client *c, const char *path, const char *last_event_id,
                             bool (*event)(void *arg, const struct client_event *ev), void *arg, struct err *e);
/* Every stream from now on ends with ERR_TIMEOUT after that time; 0: never. */
void client_limit_stream(struct client *c, long max_ms);
/* From another thread (or a signal handler): makes a request or stream under way end soon with ERR_TIMEOUT; undone by
 * client_resume(). */
void client_interrupt(struct client *c);
void client_resume(struct client *c);

#endif
