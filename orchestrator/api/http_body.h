/* http_body.h - the bodies of requests while they come in: how much a route takes, and how much is kept of all of them
 * together.
 *
 * A stranger sends 4 KiB at most; people keep half of the memory there is for bodies, so that agents can always report.
 * What a body takes is given back with its request.  HTTP thread only. */
#ifndef MEMLANE_HTTP_BODY_H
#define MEMLANE_HTTP_BODY_H

#include "api/request.h"

#define BODY_STRANGER_MAX (4u << 10) /* of a route that is open: what signs in has some hundred bytes */
#define BODY_AGENT_MAX (8u << 20)    /* what a node with as many objects as a report may name needs */
#define BODY_SWALLOW_MAX (8u << 20)  /* more than this of a refused one is not even read to its end */
#define BODIES_MAX (64u << 20)       /* of all connections; no more than half of it unless by agents */

unsigned body_max(const struct request *rq);
/* The next bytes; beyond a limit the request gets its answer, and the rest is dropped.  False: the connection has to
 * go. */
bool body_take(struct request *rq, const char *data, size_t len);
MUST_CHECK int body_parse(struct request *rq, struct err *e); /* the whole of it into rq->body */
void body_drop(struct request *rq);

#endif
