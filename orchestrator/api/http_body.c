/* http_body.c - see http_body.h. */
#include "api/http_body.h"

#include "api/context.h"

#include <stdlib.h>
#include <string.h>

unsigned body_max(const struct request *rq)
{
    const struct route *r = rq->match.route;
    if (r && r->access == ACCESS_OPEN)
        return BODY_STRANGER_MAX;
    return r && r->access == ACCESS_AGENT ? BODY_AGENT_MAX : JSON_BODY_MAX;
}

static size_t budget_of(const struct request *rq)
{
    return rq->signed_in && rq->who.role == TOKEN_AGENT ? BODIES_MAX : BODIES_MAX / 2;
}

/* ERR_UNAVAILABLE: no room is left for it now. */
static int grow(struct request *rq, size_t need, struct err *e)
{
    size_t *all = &rq->api->counters.body_bytes, max = body_max(rq);
    size_t cap = 2 * need < max ? 2 * need : max;
    if (need <= rq->cap_text)
        return 0;
    if (*all + cap - rq->cap_text > budget_of(rq))
        return err_set(e, ERR_UNAVAILABLE, "the bodies of requests under way take all memory there is for them");
    char *more = realloc(rq->text, cap);
    if (!more)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    *all += cap - rq->cap_text;
    rq->text = more;
    rq->cap_text = cap;
    return 0;
}

static int keep(struct request *rq, const char *data, size_t len, struct err *e)
{
    if (rq->n_text + len > body_max(rq))
        return err_set(e, ERR_TOO_LARGE, "the body has more than %u bytes", body_max(rq));
    if (grow(rq, rq->n_text + len, e) < 0)
        return -1;
    memcpy(rq->text + rq->n_text, data, len);
    return 0;
}

bool body_take(struct request *rq, const char *data, size_t len)
{
    struct err e;
    if (!rq->reply.status && keep(rq, data, len, &e) < 0) {
        reply_err(rq, &e);
        body_drop(rq);
    }
    rq->n_text += len;
    return !rq->reply.status || rq->n_text <= BODY_SWALLOW_MAX;
}

int body_parse(struct request *rq, struct err *e)
{
    if (rq->n_text == 0)
        return 0;
    if (strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0 || strcmp(rq->method, "DELETE") == 0)
        return err_set(e, ERR_BAD_REQUEST, "%s takes no body", rq->method);
    return json_parse(&rq->body, rq->text, rq->n_text, e);
}

void body_drop(struct request *rq)
{
    if (rq->text) /* it may hold a secret */
        explicit_bzero(rq->text, rq->cap_text);
    free(TAKE(rq->text));
    rq->api->counters.body_bytes -= rq->cap_text;
    rq->cap_text = 0;
}
