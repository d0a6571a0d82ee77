#include "events.h"

#include "json.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define RING 2048
#define WAKES_MAX 4

struct events {
    pthread_mutex_t lock;
    uint64_t last; /* id of the newest; it is at ring[last % RING] */
    size_t n;      /* how many are in the ring */
    struct {
        void (*call)(void *arg);
        void *arg;
    } wakes[WAKES_MAX];
    size_t n_wakes;
    struct model_event ring[RING];
};

int events_new(struct events **out, uint64_t last_id, struct err *e)
{
    struct events *ev = calloc(1, sizeof *ev);
    if (!ev)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    pthread_mutex_init(&ev->lock, NULL);
    ev->last = last_id;
    *out = ev;
    return 0;
}

void events_free(struct events *ev)
{
    if (!ev)
        return;
    pthread_mutex_destroy(&ev->lock);
    free(ev);
}

void events_append(struct events *ev, const struct model_event *list, size_t n)
{
    if (n == 0)
        return;
    pthread_mutex_lock(&ev->lock);
    for (size_t i = 0; i < n; i++) {
        assert(list[i].id == ev->last + 1);
        ev->last = list[i].id;
        ev->ring[ev->last % RING] = list[i];
    }
    ev->n = ev->n + n < RING ? ev->n + n : RING;
    pthread_mutex_unlock(&ev->lock);
    for (size_t i = 0; i < ev->n_wakes; i++)
        ev->wakes[i].call(ev->wakes[i].arg);
}

uint64_t events_last(struct events *ev)
{
    pthread_mutex_lock(&ev->lock);
    uint64_t last = ev->last;
    pthread_mutex_unlock(&ev->lock);
    return last;
}

size_t events_after(struct events *ev, uint64_t after, struct model_event *out, size_t max, bool *gap)
{
    pthread_mutex_lock(&ev->lock);
    uint64_t oldest = ev->last - ev->n; /* the newest that is not in the ring */
    *gap = after < oldest;
    size_t n = 0;
    for (uint64_t id = (*gap ? oldest : after) + 1; id <= ev->last && n < max; id++)
        out[n++] = ev->ring[id % RING];
    pthread_mutex_unlock(&ev->lock);
    return n;
}

void events_on_append(struct events *ev, void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&ev->lock);
    assert(ev->n_wakes < WAKES_MAX);
    ev->wakes[ev->n_wakes].call = wake;
    ev->wakes[ev->n_wakes++].arg = arg;
    pthread_mutex_unlock(&ev->lock);
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

json_t *event_json(const struct model_event *ev)
{
    return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:s}", "id", json_u64(ev->id), "at", json_time(ev->at_ms),
                     "type", ev->type, "object", ev->object, "from", text_or_null(ev->from), "to", text_or_null(ev->to),
                     "reason", text_or_null(ev->reason), "actor", ev->actor);
}
