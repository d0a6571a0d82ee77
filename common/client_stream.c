/* client_stream.c - server-sent events, line by line as they come: no event is held back, none is longer than the body
 * limit. */
#include "client_internal.h"

#include <stdio.h>
#include <string.h>

#define STREAM_SILENCE_S 35L /* the orchestrator sends a comment every 10 s */

/* The state of an event stream under way. */
struct stream {
    struct client *client;
    bool (*event)(void *arg, const struct client_event *ev);
    void *arg;
    struct text line, id, type, data;
    bool have_data, stopped;
};

static const char *text_or_empty(const struct text *t)
{
    return t->data ? t->data : "";
}

static bool field_is(const char *line, size_t len, const char *name)
{
    return len == strlen(name) && !memcmp(line, name, len);
}

/* One line of the stream, without its end.  An empty one ends an event. */
static bool stream_line(struct stream *s)
{
    const char *line = text_or_empty(&s->line);
    if (!*line) {
        struct client_event ev = { text_or_empty(&s->id), text_or_empty(&s->type), text_or_empty(&s->data) };
        bool deliver = s->have_data || s->type.len;
        if (deliver && !ev.type[0])
            ev.type = "message";
        s->stopped = deliver && !s->event(s->arg, &ev);
        text_clear(&s->type);
        text_clear(&s->data);
        s->have_data = false;
        return !s->stopped;
    }
    if (*line == ':')
        return true;
    size_t name_len = strcspn(line, ":");
    const char *value = line + name_len;
    if (*value == ':')
        value++;
    if (*value == ' ')
        value++;
    struct text *into = field_is(line, name_len, "id")      ? &s->id
                        : field_is(line, name_len, "event") ? &s->type
                        : field_is(line, name_len, "data")  ? &s->data
                                                            : NULL;
    if (!into)
        return true;
    bool ok = true;
    if (into != &s->data)
        text_clear(into);
    else if (s->have_data)
        ok = text_append(into, "\n", 1);
    s->have_data |= into == &s->data;
    s->client->no_memory |= !(ok && text_append(into, value, strlen(value)));
    return !s->client->no_memory;
}

static size_t on_stream(char *data, size_t size, size_t n, void *arg)
{
    struct stream *s = arg;
    struct client *c = s->client;
    size_t total = size * n;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return client_on_body(data, size, n, c);
    for (size_t i = 0; i < total;) {
        const char *end = memchr(data + i, '\n', total - i);
        size_t len = end ? (size_t)(end - (data + i)) : total - i;
        if (s->line.len + len > c->body_max || s->data.len > c->body_max) {
            c->too_large = true;
            return 0;
        }
        if (!text_append(&s->line, data + i, len)) {
            c->no_memory = true;
            return 0;
        }
        i += len;
        if (!end)
            break;
        i++;
        if (s->line.len && s->line.data[s->line.len - 1] == '\r')
            s->line.data[--s->line.len] = '\0';
        bool go_on = stream_line(s);
        text_clear(&s->line);
        if (!go_on)
            return 0;
    }
    return total;
}

static void stream_done(struct stream *s)
{
    text_done(&s->line);
    text_done(&s->id);
    text_done(&s->type);
    text_done(&s->data);
}

int client_stream(struct client *c, const char *path, const char *last_event_id,
                  bool (*event)(void *arg, const struct client_event *ev), void *arg, struct err *e)
{
    CLEANUP(stream_done) struct stream s = { .client = c, .event = event, .arg = arg };
    CLEANUP(client_slist_freep) struct curl_slist *list = NULL;
    char last[96];
    client_prepare(c);
    if (client_set_path(c, path, e) < 0 || client_add_header(&list, "Accept: text/event-stream", e) < 0 ||
        (c->authorization && client_add_header(&list, c->authorization, e) < 0))
        return -1;
    snprintf(last, sizeof last, "Last-Event-ID: %s", last_event_id ? last_event_id : "");
    if (last_event_id && client_add_header(&list, last, e) < 0)
        return -1;
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_stream);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, c->stream_max_ms);
    curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_TIME, STREAM_SILENCE_S);
    CURLcode code = CURLE_OK;
    if (client_transfer(c, &code, e) < 0)
        return -1;
    if (s.stopped)
        return 0;
    if (code != CURLE_OK)
        return client_transfer_error(c, code, e);
    struct client_answer answer;
    client_read_answer(c, &answer);
    int rc = client_check(&answer, e);
    client_answer_done(&answer);
    return rc;
}
