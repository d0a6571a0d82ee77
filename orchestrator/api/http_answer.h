/* http_answer.h - the reply of a request as the library sends it: body, headers, entity tag, 304.  HTTP thread. */
#ifndef MEMLANE_HTTP_ANSWER_H
#define MEMLANE_HTTP_ANSWER_H

#include "api/request.h"

#include <microhttpd.h>

/* Queues rq->reply; MHD_NO when that cannot be: the connection is closed. */
enum MHD_Result http_answer(struct request *rq);

#endif
