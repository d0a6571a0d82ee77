/* stream.c - see stream.h. */
#include "api/stream.h"

#include "api/context.h"
#include "api/http.h"
#include "units.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32
#define HISTORY_BATCH 200

struct stream {
    struct api *api;
    void *connection;
    uint64_t last; /* the last event's id that was formatted */
    char token_id[ID_SIZE];
    char *out; /* formatted, not yet taken */
    size_t n_out, taken, cap_out;
    int64_t beat_ms; /* monotonic: the next comment */
    bool failed, ended;
    struct waiter waiter;
    struct job job;
};

static struct stream *of_waiter(struct waiter *w)
{
    return (struct stream *)((char *)w - offsetof(struct stream, waiter));
}

static struct stream *of_job(struct job *j)
{
    return (struct stream *)((char *)j - offsetof(struct stream, job));
}

static void put(struct stream *s, const char *text, size_t len)
{
    if (s->n_out + len > s->cap_out) {
        size_t cap = 2 * (s->n_out + len);
        char *more = realloc(s->out, cap);
        if (!more) {
            s->failed = true;
            return;
        }
        s->out = more;
        s->cap_out = cap;
    }
    memcpy(s->out + s->n_out, text, len);
    s->n_out += len;
}

static void put_text(struct stream *s, const char *text)
{
    put(s, text, strlen(text));
}

/* 'data' is the event as JSON text; one line, since it is compact. */
static void put_event(struct stream *s, uint64_t id, const char *type, const char *data)
{
    char head[96];
    snprintf(head, sizeof head, "id: %llu\nevent: %.40s\ndata: ", (unsigned long long)id, type);
    put_text(s, head);
    put_text(s, data);
    put_text(s, "\n\n");
    s->last = id;
}

static void put_reset(struct stream *s)
{
    char data[64];
    uint64_t last = events_last(s->api->events);
    snprintf(data, sizeof data, "{\"last\":%llu}", (unsigned long long)last);
    put_event(s, last, "reset", data);
}

int stream_new(struct stream **out, struct api *a, uint64_t after, const struct token *who, struct err *e)
{
    if (a->counters.streams >= STREAMS_MAX)
        return err_set(e, ERR_TOO_MANY, "%d event streams are open already", STREAMS_MAX);
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    s->api = a;
    s->last = after;
    s->beat_ms = time_monotonic_ms() + STREAM_BEAT_MS;
    snprintf(s->token_id, sizeof s->token_id, "%s", who->id);
    put_text(s, ": memlane\nretry: 1000\n\n");
    if (after > events_last(a->events)) /* of another database */
        put_reset(s);
    a->counters.streams++;
    *out = s;
    return 0;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    s->api->counters.streams--;
    free(s->out);
    free(s);
}

static void put_json_event(struct stream *s, json_t *event)
{
    json_t *type = json_object_get(event, "type");
    char *data = json_text(event);
    if (data && json_is_string(type))
        put_event(s, (uint64_t)json_integer_value(json_object_get(event, "id")), json_string_value(type), data);
    else
        s->failed = true;
    free(data);
}

/* On the history worker: what has left the ring; when it has left the database too, the client must read all anew. */
static void read_history(struct job *j, struct store_reader *r, const struct err *why)
{
    struct stream *s = of_job(j);
    json_t *list = NULL, *event;
    uint64_t oldest = 0;
    size_t i;
    struct err e = *why;
    struct event_query q = { .after = s->last, .limit = HISTORY_BATCH };
    if (!r || store_reader_events(r, &q, &list, &oldest, &e) < 0)
        s->failed = true;
    else if (oldest > s->last + 1 || json_array_size(list) == 0)
        put_reset(s);
    else
        json_array_foreach(list, i, event) put_json_event(s, event);
    json_decref(list);
    http_wake_stream(s->api->http, s->connection);
}

static ssize_t park_for_history(struct stream *s)
{
    struct err e;
    if (!http_park_stream(s->api->http, s->connection))
        return -1;
    s->job.run = read_history;
    if (history_submit(s->api->history, &s->job, &e) < 0) {
        s->failed = true;
        http_wake_stream(s->api->http, s->connection);
    }
    return 0;
}

static bool more_to_come(struct waiter *w, const struct model *m)
{
    struct stream *s = of_waiter(w);
    (void)m;
    return events_last(s->api->events) > s->last;
}

static void wake(struct waiter *w)
{
    struct stream *s = of_waiter(w);
    http_wake_stream(s->api->http, s->connection);
}

static ssize_t park_for_more(struct stream *s)
{
    if (!http_park_stream(s->api->http, s->connection))
        return -1;
    s->waiter = (struct waiter){ .ready = more_to_come, .wake = wake, .deadline_ms = s->beat_ms };
    if (!waits_add(s->api->waits, &s->waiter)) {
        s->ended = true;
        http_wake_stream(s->api->http, s->connection);
    }
    return 0;
}

/* Formats a batch from the ring.  False when some of them have left it. */
static bool refill(struct stream *s)
{
    bool gap = false;
    struct model_event *list = calloc(BATCH, sizeof *list);
    if (!list) {
        s->failed = true;
        return true;
    }
    size_t n = events_after(s->api->events, s->last, list, BATCH, &gap);
    for (size_t i = 0; i < n && !gap; i++) {
        json_t *event = event_json(&list[i]);
        put_json_event(s, event);
        json_decref(event);
    }
    free(list);
    return !gap;
}

static void beat(struct stream *s)
{
    int64_t now_ms = time_monotonic_ms();
    if (now_ms < s->beat_ms)
        return;
    s->beat_ms = now_ms + STREAM_BEAT_MS;
    if (auth_alive(s->api->auth, s->token_id, time_wall_ms()))
        put_text(s, ": beat\n\n");
    else
        s->ended = true;
}

static ssize_t take(struct stream *s, char *buf, size_t max)
{
    size_t n = s->n_out - s->taken < max ? s->n_out - s->taken : max;
    memcpy(buf, s->out + s->taken, n);
    s->taken += n;
    if (s->taken == s->n_out)
        s->taken = s->n_out = 0;
    if (s->n_out == 0 && s->cap_out > 64 * 1024) {
        free(s->out);
        s->out = NULL;
        s->cap_out = 0;
    }
    return (ssize_t)n;
}

ssize_t stream_read(struct stream *s, void *connection, char *buf, size_t max)
{
    s->connection = connection;
    if (s->n_out == 0 && !s->failed && !s->ended) {
        if (!refill(s))
            return park_for_history(s);
        beat(s);
    }
    if (s->failed)
        return -1;
    if (s->n_out > 0)
        return take(s, buf, max);
    return s->ended ? -1 : park_for_more(s);
}
