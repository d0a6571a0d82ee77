/* http_answer.c - see http_answer.h. */
#include "api/http_answer.h"

#include "api/context.h"
#include "api/stream.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static ssize_t read_stream(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct request *rq = cls;
    (void)pos;
    ssize_t n = stream_read(rq->reply.stream, rq->connection, buf, max);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static bool etag_listed(const char *list, const char *etag)
{
    const char *bare = strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
    return strcmp(list, "*") == 0 || strstr(list, bare) != NULL;
}

static bool has_header(const struct reply *r, const char *name)
{
    for (unsigned i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

/* A strong tag over the bytes of the answer, and 304 for who has them already. */
static void finish_etag(struct request *rq)
{
    struct reply *r = &rq->reply;
    char hash[HASH_SIZE], etag[200];
    struct err ignored;
    const char *have = request_header(rq, "If-None-Match");
    bool get = strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0;
    if (r->status / 100 != 2 || r->len == 0 || r->fd >= 0 || r->stream || has_header(r, "ETag") ||
        (!get && !r->etag_base[0]))
        return;
    if (secret_hash(r->body, r->len, hash, &ignored) < 0)
        return;
    snprintf(etag, sizeof etag, "\"%s%s%.16s\"", r->etag_base, r->etag_base[0] ? "-" : "", hash);
    reply_header(rq, "ETag", "%s", etag);
    if (get && r->status == 200 && have && etag_listed(have, etag))
        reply_empty(rq, 304);
}

static struct MHD_Response *make_response(struct request *rq)
{
    struct reply *r = &rq->reply;
    if (r->stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, rq, NULL);
    if (r->fd >= 0) {
        off_t size = lseek(r->fd, 0, SEEK_END);
        int fd = r->fd;
        if (size < 0)
            return NULL;
        r->fd = -1;
        return MHD_create_response_from_fd64((uint64_t)size, fd);
    }
    if (r->owned) {
        char *owned = TAKE(r->owned);
        return MHD_create_response_from_buffer(r->len, owned, MHD_RESPMEM_MUST_FREE);
    }
    return MHD_create_response_from_buffer(r->len, (void *)r->body, MHD_RESPMEM_PERSISTENT);
}

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

/* False: memory ran out; an answer without some of its headers would not be true. */
static bool add_headers(const struct request *rq, struct MHD_Response *response)
{
    const struct reply *r = &rq->reply;
    bool get = strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0;
    bool ok = add(response, "X-Request-Id", rq->id) && add(response, "X-Content-Type-Options", "nosniff") &&
              add(response, "Referrer-Policy", "no-referrer") &&
              add(response, "Cross-Origin-Resource-Policy", "same-origin");
    if (!has_header(r, "Cache-Control"))
        ok = ok && add(response, "Cache-Control", get && r->status < 400 ? "private, no-cache" : "no-store");
    if (!has_header(r, "Content-Security-Policy"))
        ok = ok && add(response, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    if (r->type && r->status != 204 && r->status != 304)
        ok = ok && add(response, "Content-Type", r->type);
    for (unsigned i = 0; i < r->n_headers; i++)
        ok = ok && add(response, r->headers[i].name, r->headers[i].value);
    return ok;
}

enum MHD_Result http_answer(struct request *rq)
{
    finish_etag(rq);
    if (rq->starved)
        return MHD_NO;
    struct MHD_Response *response = make_response(rq);
    if (!response)
        return MHD_NO;
    if (!add_headers(rq, response)) {
        MHD_destroy_response(response);
        return MHD_NO;
    }
    int status = rq->reply.status;
    rq->api->counters.requests[status / 100 < 6 ? status / 100 : 5]++;
    enum MHD_Result ok = MHD_queue_response(rq->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return ok;
}
