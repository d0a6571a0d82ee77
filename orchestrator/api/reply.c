/* reply.c - what routes answer; see request.h. */
#include "api/problem.h"
#include "api/request.h"
#include "api/stream.h"
#include "log.h"
#include "units.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void drop_body(struct reply *r)
{
    free(r->owned);
    if (r->fd >= 0)
        close(r->fd);
    stream_free(r->stream);
    r->owned = NULL;
    r->body = "";
    r->len = 0;
    r->fd = -1;
    r->stream = NULL;
}

void reply_done(struct reply *r)
{
    drop_body(r);
    for (unsigned i = 0; i < r->n_headers; i++)
        free(r->headers[i].value);
    r->n_headers = 0;
}

void reply_static(struct request *rq, int status, const char *type, const void *body, size_t len)
{
    drop_body(&rq->reply);
    rq->reply.status = status;
    rq->reply.type = type;
    rq->reply.body = body;
    rq->reply.len = len;
}

void reply_text(struct request *rq, int status, const char *type, char *body, size_t len)
{
    reply_static(rq, status, type, body, len);
    rq->reply.owned = body;
}

void reply_empty(struct request *rq, int status)
{
    reply_static(rq, status, NULL, "", 0);
}

void reply_file(struct request *rq, const char *type, int fd)
{
    reply_static(rq, 200, type, "", 0);
    rq->reply.fd = fd;
}

void reply_stream(struct request *rq, struct stream *s)
{
    reply_static(rq, 200, "text/event-stream", "", 0);
    rq->reply.stream = s;
}

static void out_of_memory(struct request *rq)
{
    static const char text[] = "{\"type\":\"/problems/unavailable\",\"title\":\"Not available now\",\"status\":503,"
                               "\"detail\":\"out of memory\",\"code\":\"unavailable\"}";
    reply_header(rq, "Retry-After", "1");
    reply_static(rq, 503, "application/problem+json", text, sizeof text - 1);
}

static void reply_json_as(struct request *rq, int status, const char *type, json_t *j)
{
    char *text = j && !rq->starved ? json_text(j) : NULL;
    json_decref(j);
    (void)json_starved();
    rq->starved = false;
    if (text)
        reply_text(rq, status, type, text, strlen(text));
    else
        out_of_memory(rq);
}

void reply_json(struct request *rq, int status, json_t *j)
{
    reply_json_as(rq, status, "application/json", j);
}

void reply_err(struct request *rq, const struct err *e)
{
    int status = err_http_status(e->code);
    if (status >= 500)
        log_warn("http.failed", "request=%s code=%s detail=\"%s\"", rq->id, err_name(e->code), e->detail);
    if (e->code == ERR_TOO_MANY || e->code == ERR_UNAVAILABLE || e->code == ERR_STORAGE)
        reply_header(rq, "Retry-After", "1");
    reply_json_as(rq, status, "application/problem+json", problem_json(e, rq->id, rq->extra));
}

void reply_header(struct request *rq, const char *name, const char *fmt, ...)
{
    struct reply *r = &rq->reply;
    char *value = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&value, fmt, ap);
    va_end(ap);
    if (n < 0 || r->n_headers == REPLY_HEADERS) {
        if (n >= 0)
            free(value);
        rq->starved = rq->starved || n < 0; /* an answer without its cookie would be a lie */
        return;
    }
    r->headers[r->n_headers].name = name;
    r->headers[r->n_headers++].value = value;
}

void reply_etag(struct request *rq, const char *id, uint64_t rev)
{
    snprintf(rq->reply.etag_base, sizeof rq->reply.etag_base, "%.120s-%llu", id, (unsigned long long)rev);
}

/* The query of this page with another cursor. */
static void link_next(struct request *rq, const char *next)
{
    char path[TARGET_MAX], query[TARGET_MAX] = "";
    const char *question = strchr(rq->target.raw, '?');
    size_t path_len = question ? (size_t)(question - rq->target.raw) : strlen(rq->target.raw), n = 0;
    const char *part = question ? question + 1 : "";
    snprintf(path, sizeof path, "%.*s", (int)path_len, rq->target.raw);
    while (*part) {
        size_t len = strcspn(part, "&");
        if (len && strncmp(part, "cursor=", 7) != 0 && n + len + 2 < sizeof query)
            n += (size_t)snprintf(query + n, sizeof query - n, "%.*s&", (int)len, part);
        part += len + (part[len] == '&');
    }
    reply_header(rq, "Link", "<%s?%scursor=%s>; rel=\"next\"", path, query, next);
}

void reply_list(struct request *rq, json_t *items, const char *next, uint64_t as_of)
{
    if (next)
        link_next(rq, next);
    reply_json(rq, 200,
               json_pack("{s:o, s:o, s:o}", "items", items, "next_cursor", next ? json_string(next) : json_null(),
                         "as_of", json_u64(as_of)));
}

void reply_page(struct request *rq, json_t *items, uint64_t as_of)
{
    static const char prefix[] = "from.";
    unsigned limit;
    uint64_t from = 0;
    size_t n = json_array_size(items);
    const char *after = NULL;
    char next[32];
    struct err e, ignored;
    int rc = request_limit(rq, &limit, &e) < 0 ? -1 : request_cursor(rq, prefix, &after, &e);
    if (rc == 0 && after && units_parse_u64(after, &from, &ignored) < 0)
        rc = err_field(&e, ERR_FIELD_INVALID, "cursor", "the cursor is none that this list gave");
    json_t *page = json_array();
    for (uint64_t i = from; rc == 0 && i < n && i - from < limit; i++)
        json_array_append(page, json_array_get(items, (size_t)i));
    json_decref(items);
    if (rc < 0) {
        json_decref(page);
        reply_err(rq, &e);
        return;
    }
    bool more = from < n && n - from > limit;
    snprintf(next, sizeof next, "%s%llu", prefix, (unsigned long long)(from + limit));
    reply_list(rq, page, more ? next : NULL, as_of);
}
