/* waits.c - see waits.h. */
#include "api/waits.h"

#include "units.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define IDLE_MS 60000
#define LOOK_MS 1000 /* for those who are gone */

struct waits {
    struct writer *writer;
    pthread_mutex_t lock; /* taken under the writer's read lock, never the other way round */
    pthread_cond_t earlier;
    struct waiter *first;
    int64_t next_ms; /* when the thread looks again */
    bool closed, ended;
    pthread_t thread;
};

static void unlink_waiter(struct waiter *w)
{
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
}

static void link_waiter(struct waiter **head, struct waiter *w)
{
    w->next = *head;
    w->link = head;
    if (w->next)
        w->next->link = &w->next;
    *head = w;
}

static bool is_due(const struct waits *w, struct waiter *i, const struct model *m, int64_t now_ms)
{
    if (w->closed || i->deadline_ms <= now_ms)
        return true;
    return m ? i->ready(i, m) : i->gone && i->gone(i);
}

/* Moves to '*due' what is ready, late or has to leave, and when there is no model to look at, whose client is gone;
 * answers the time of the next look. */
static int64_t sort_out(struct waits *w, const struct model *m, struct waiter **due)
{
    int64_t now_ms = time_monotonic_ms(), next_ms = now_ms + (w->first ? LOOK_MS : IDLE_MS);
    for (struct waiter *i = w->first, *after; i; i = after) {
        after = i->next;
        if (is_due(w, i, m, now_ms)) {
            unlink_waiter(i);
            link_waiter(due, i);
        } else if (i->deadline_ms < next_ms) {
            next_ms = i->deadline_ms;
        }
    }
    return next_ms;
}

static void wake_all(struct waiter *due)
{
    while (due) {
        struct waiter *next = due->next;
        due->wake(due);
        due = next;
    }
}

static void *keep_deadlines(void *arg)
{
    struct waits *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->ended || w->first) {
        struct waiter *due = NULL;
        w->next_ms = sort_out(w, NULL, &due);
        if (due) {
            pthread_mutex_unlock(&w->lock);
            wake_all(due);
            pthread_mutex_lock(&w->lock);
            continue;
        }
        struct timespec ts = { .tv_sec = w->next_ms / 1000, .tv_nsec = w->next_ms % 1000 * 1000000 };
        if (!w->ended)
            pthread_cond_timedwait(&w->earlier, &w->lock, &ts);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int waits_start(struct waits **out, struct writer *writer, struct err *e)
{
    struct waits *w = calloc(1, sizeof *w);
    pthread_condattr_t attr;
    if (!w)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    w->writer = writer;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->earlier, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&w->thread, NULL, keep_deadlines, w);
    if (rc != 0) {
        free(w);
        return err_set(e, ERR_INTERNAL, "cannot start the waiting room's thread");
    }
    *out = w;
    return 0;
}

void waits_poke(void *arg)
{
    struct waits *w = arg;
    struct waiter *due = NULL;
    const struct model *m = writer_read_lock(w->writer);
    pthread_mutex_lock(&w->lock);
    sort_out(w, m, &due);
    pthread_mutex_unlock(&w->lock);
    writer_read_unlock(w->writer);
    wake_all(due);
}

bool waits_add(struct waits *w, struct waiter *waiter)
{
    const struct model *m = writer_read_lock(w->writer);
    pthread_mutex_lock(&w->lock);
    bool open = !w->closed, ready = open && waiter->ready(waiter, m);
    if (open && !ready) {
        link_waiter(&w->first, waiter);
        if (waiter->deadline_ms < w->next_ms || w->next_ms > time_monotonic_ms() + LOOK_MS)
            pthread_cond_signal(&w->earlier);
    }
    pthread_mutex_unlock(&w->lock);
    writer_read_unlock(w->writer);
    if (ready)
        waiter->wake(waiter);
    return open;
}

void waits_close(struct waits *w)
{
    pthread_mutex_lock(&w->lock);
    w->closed = true;
    pthread_cond_signal(&w->earlier);
    pthread_mutex_unlock(&w->lock);
}

void waits_free(struct waits *w)
{
    if (!w)
        return;
    waits_close(w);
    pthread_mutex_lock(&w->lock);
    w->ended = true; /* the thread empties the room first */
    pthread_cond_signal(&w->earlier);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->earlier);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
