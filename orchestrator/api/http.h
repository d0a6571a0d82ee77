/* http.h - the server: libmicrohttpd with one epoll thread, the gate, bodies, parking and answers.
 *
 * MHD_* types stay in http.c.  A parked request is a suspended connection: it never times out and does not notice that
 * its client died, so every park is bounded in time, and the waiting room asks whether the client is still there. */
#ifndef MEMLANE_HTTP_H
#define MEMLANE_HTTP_H

#include "api/request.h"

#define HTTP_CONNECTIONS_MAX 1000

struct http;

/* 'addr' is numeric; 'port' 0: any. */
MUST_CHECK int http_start(struct http **out, struct api *a, const char *addr, unsigned port, struct err *e);
void http_quiesce(struct http *h); /* accepts and parks nothing more */
void http_stop(struct http *h);    /* after quiesce: waits for the parked requests, ends the thread; ignores NULL */
unsigned http_port(const struct http *h);
unsigned http_connections(const struct http *h);
unsigned http_parked(struct http *h);

/* On the HTTP thread, before the request is handed over.  False when the server is stopping. */
bool http_park(struct request *rq);
bool http_client_gone(const struct request *rq); /* parked; any thread */
void http_wake(struct request *rq);              /* from any thread, once: 'next' will run on the HTTP thread */
void http_trust(struct request *rq);             /* the address is an agent's; this connection may idle for long */
/* A stream's connection, from its reader (HTTP thread) and back (any thread). */
bool http_park_stream(struct http *h, void *connection);
void http_wake_stream(struct http *h, void *connection);

#endif
