/* route_events.c - GET /v1/events: the live stream (Accept: text/event-stream) or a page of the log. */
#include "api/context.h"
#include "api/routes.h"
#include "api/stream.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

/* Last-Event-ID is what a browser sends when it comes back; ?after= is the same for everyone else. */
static int stream_start(struct request *rq, uint64_t *after, struct err *e)
{
    const char *last = request_header(rq, "Last-Event-ID");
    struct err ignored;
    *after = events_last(rq->api->events);
    if (last && *last) {
        if (units_parse_u64(last, after, &ignored) < 0)
            return err_field(e, ERR_FIELD_INVALID, "Last-Event-ID", "Last-Event-ID is not a number");
        return 0;
    }
    return request_number(rq, "after", INT64_MAX, after, e);
}

static void open_stream(struct request *rq)
{
    struct stream *s;
    uint64_t after;
    struct err e;
    if (stream_start(rq, &after, &e) < 0 || stream_new(&s, rq->api, after, &rq->who, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    reply_header(rq, "Cache-Control", "no-store");
    reply_header(rq, "X-Accel-Buffering", "no");
    reply_stream(rq, s);
}

/* A page that began behind a gap would hide it.  0 is no place in the log, but its beginning, wherever that is now. */
static int refuse_gap(struct request *rq, uint64_t oldest)
{
    if (rq->number == 0 || oldest <= rq->number + 1)
        return 0;
    rq->extra = json_pack("{s:o}", "oldest_index", json_u64(oldest));
    return err_set(&rq->err, ERR_EVENTS_GONE, "the events after %llu are gone up to %llu",
                   (unsigned long long)rq->number, (unsigned long long)oldest - 1);
}

static void query_page(struct request *rq, struct store_reader *r)
{
    uint64_t last = events_last(rq->api->events), oldest = 0;
    struct event_query q = { .after = rq->number, .object = request_query(rq, "object"), .limit = rq->limit };
    rq->rc = store_reader_events(r, &q, &rq->answer, &oldest, &rq->err);
    if (rq->rc == 0)
        rq->rc = refuse_gap(rq, oldest ? oldest : last + 1);
}

static void answer_page(struct request *rq)
{
    char next[24] = "";
    size_t n = json_array_size(rq->answer);
    json_t *last = n ? json_object_get(json_array_get(rq->answer, n - 1), "id") : NULL;
    if (n == rq->limit && last)
        snprintf(next, sizeof next, "%lld", (long long)json_integer_value(last));
    reply_list(rq, TAKE(rq->answer), next[0] ? next : NULL, writer_published_event(rq->api->writer));
}

void route_events(struct request *rq)
{
    const char *accept = request_header(rq, "Accept");
    struct err e;
    if (request_limit(rq, &rq->limit, &e) < 0 || request_number(rq, "after", INT64_MAX, &rq->number, &e) < 0 ||
        request_number(rq, "cursor", INT64_MAX, &rq->number, &e) < 0)
        reply_err(rq, &e);
    else if (accept && strstr(accept, "text/event-stream"))
        open_stream(rq);
    else
        request_history(rq, query_page, answer_page);
}
