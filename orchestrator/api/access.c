/* access.c - who calls is decided before the body is read; see access.h. */
#include "api/access.h"

#include "api/context.h"
#include "api/http.h"
#include "units.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

char *access_cookie(const struct request *rq, char *buf, size_t size)
{
    const char *c = request_header(rq, "Cookie");
    size_t name_len = strlen(COOKIE_NAME);
    while (c && *c) {
        size_t len = strcspn(c, ";");
        if (len > name_len && strncmp(c, COOKIE_NAME "=", name_len + 1) == 0 && len - name_len - 1 < size) {
            memcpy(buf, c + name_len + 1, len - name_len - 1);
            buf[len - name_len - 1] = '\0';
            return buf;
        }
        c += len;
        c += strspn(c, "; ");
    }
    return NULL;
}

static const char *bearer(const char *header)
{
    return strncasecmp(header, "Bearer ", 7) == 0 ? header + 7 + strspn(header + 7, " ") : NULL;
}

/* A wrong bearer token is not made up for by a cookie.  An error only when memory is too short to tell who it is. */
static int identify(struct request *rq, struct err *e)
{
    char cookie[SECRET_SIZE];
    const char *header = request_header(rq, "Authorization");
    const char *secret = header ? bearer(header) : access_cookie(rq, cookie, sizeof cookie);
    if (!secret)
        return 0;
    if (auth_find(rq->api->auth, secret, time_wall_ms(), &rq->who, e) < 0)
        return e->code == ERR_UNAUTHENTICATED ? 0 : -1;
    rq->signed_in = auth_is_session(rq->who.id) == !header;
    rq->by_cookie = rq->signed_in && !header;
    return 0;
}

int access_same_origin(const struct request *rq, bool required, struct err *e)
{
    const char *origin = request_header(rq, "Origin"), *host = request_header(rq, "Host");
    if (!origin)
        return required ? err_set(e, ERR_FORBIDDEN, "no Origin header with a cookie") : 0;
    const char *name = strncmp(origin, "http://", 7) == 0    ? origin + 7
                       : strncmp(origin, "https://", 8) == 0 ? origin + 8
                                                             : NULL;
    if (!name || !host || strcasecmp(name, host) != 0)
        return err_set(e, ERR_FORBIDDEN, "the request comes from another site");
    return 0;
}

static int check_cross_site(const struct request *rq, struct err *e)
{
    const char *mark = request_header(rq, "X-Memlane-CSRF");
    if (strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0)
        return 0;
    if (!mark || strcmp(mark, "1") != 0)
        return err_set(e, ERR_FORBIDDEN, "no X-Memlane-CSRF header with a cookie");
    return access_same_origin(rq, true, e);
}

static bool person(enum token_role role)
{
    return role == TOKEN_VIEWER || role == TOKEN_OPERATOR || role == TOKEN_ADMIN;
}

static int check_role(const struct request *rq, struct err *e)
{
    enum token_role role = rq->who.role;
    const char *name = token_role_names[role];
    switch (rq->match.route->access) {
    case ACCESS_OPEN:
        return 0;
    case ACCESS_SELF:
    case ACCESS_VIEWER:
        return person(role) ? 0 : err_set(e, ERR_FORBIDDEN, "your role is %s, this needs viewer", name);
    case ACCESS_OPERATOR:
        return person(role) && role >= TOKEN_OPERATOR
                   ? 0
                   : err_set(e, ERR_FORBIDDEN, "your role is %s, this needs operator", name);
    case ACCESS_ADMIN:
        return role == TOKEN_ADMIN ? 0 : err_set(e, ERR_FORBIDDEN, "your role is %s, this needs admin", name);
    case ACCESS_ENROL:
        return role == TOKEN_JOIN || role == TOKEN_AGENT
                   ? 0
                   : err_set(e, ERR_FORBIDDEN, "role %s, a join token or an agent's credential needed", name);
    case ACCESS_AGENT:
        if (role != TOKEN_AGENT)
            return err_set(e, ERR_FORBIDDEN, "role %s, an agent's credential needed", name);
        return strcmp(rq->who.name, rq->match.params[0]) == 0
                   ? 0
                   : err_set(e, ERR_FORBIDDEN, "the credential of %s is good for that node only", rq->who.name);
    }
    return err_set(e, ERR_INTERNAL, "no such access");
}

int access_check(struct request *rq, struct err *e)
{
    int rc = identify(rq, e);
    if (rq->match.route->access == ACCESS_OPEN)
        return 0;
    if (rc < 0)
        return -1;
    if (!rq->signed_in)
        return err_set(e, ERR_UNAUTHENTICATED, "%s",
                       request_header(rq, "Authorization") ? "the token is wrong, expired or revoked"
                                                           : "no credential");
    if (rq->by_cookie && check_cross_site(rq, e) < 0)
        return -1;
    if (rq->who.role == TOKEN_AGENT)
        http_trust(rq);
    return check_role(rq, e);
}
