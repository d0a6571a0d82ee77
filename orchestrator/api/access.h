/* access.h - who makes this request, and may they?  Bearer tokens, cookies with their CSRF checks, roles, agents' own
 * routes. */
#ifndef MEMLANE_ACCESS_H
#define MEMLANE_ACCESS_H

#include "api/request.h"

#define COOKIE_NAME "memlane_session"

/* Fills who, signed_in, by_cookie.  ERR_UNAUTHENTICATED, ERR_FORBIDDEN. */
MUST_CHECK int access_check(struct request *rq, struct err *e);
/* ERR_FORBIDDEN when an Origin header is there and is not ours; 'required': when there is none, too. */
MUST_CHECK int access_same_origin(const struct request *rq, bool required, struct err *e);
/* The value of our cookie, NULL when there is none or it does not fit. */
char *access_cookie(const struct request *rq, char *buf, size_t size);

#endif
