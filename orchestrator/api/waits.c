/* waits.c - see waits.h. */
#include "api/waits.h"

#include "units.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define IDLE_MS 60000

struct waits {
    struct writer *writer;
    pthread_mutex_t lock;
    pthread_cond_t poked;
    struct waiter *first;
    bool dirty, closed, ended;
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

/* Moves to '*due' what is ready, late or has to leave; answers the next deadline. */
static int64_t sort_out(struct waits *w, const struct model *m, struct waiter **due)
{
    int64_t now_ms = time_monotonic_ms(), next_ms = now_ms + IDLE_MS;
    for (struct waiter *i = w->first, *after; i; i = after) {
        after = i->next;
        if (w->closed || i->deadline_ms <= now_ms || (m && i->ready(i, m))) {
            unlink_waiter(i);
            link_waiter(due, i);
        } else if (i->deadline_ms < next_ms) {
            next_ms = i->deadline_ms;
        }
    }
    return next_ms;
}

/* One look at all waiters.  The read lock comes before the room's lock, as on the writer's thread: it may poke us with
 * its own lock held.  Called, and left, with the room's lock held. */
static int64_t look(struct waits *w, struct waiter **due)
{
    bool dirty = w->dirty && w->first != NULL;
    const struct model *m = NULL;
    w->dirty = false;
    if (dirty) {
        pthread_mutex_unlock(&w->lock);
        m = writer_read_lock(w->writer);
        pthread_mutex_lock(&w->lock);
    }
    int64_t next_ms = sort_out(w, m, due);
    if (m)
        writer_read_unlock(w->writer);
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

static void sleep_until(struct waits *w, int64_t until_ms)
{
    struct timespec ts = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
    int rc = 0;
    while (!w->dirty && !w->ended && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&w->poked, &w->lock, &ts);
}

static void *run(void *arg)
{
    struct waits *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->ended || w->first) {
        struct waiter *due = NULL;
        int64_t next_ms = look(w, &due);
        if (!due) {
            sleep_until(w, next_ms);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        wake_all(due);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int waits_start(struct waits **out, struct writer *writer, struct err *e)
{
    struct waits *w = calloc(1, sizeof *w);
    pthread_condattr_t attr;
    if (!w)
        return err_set(e, ERR_INTERNAL, "out of memory");
    w->writer = writer;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->poked, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&w->thread, NULL, run, w);
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
    pthread_mutex_lock(&w->lock);
    w->dirty = true;
    pthread_cond_signal(&w->poked);
    pthread_mutex_unlock(&w->lock);
}

bool waits_add(struct waits *w, struct waiter *waiter)
{
    pthread_mutex_lock(&w->lock);
    bool open = !w->closed;
    if (open) {
        link_waiter(&w->first, waiter);
        w->dirty = true; /* something may have been published since the caller looked */
        pthread_cond_signal(&w->poked);
    }
    pthread_mutex_unlock(&w->lock);
    return open;
}

void waits_close(struct waits *w)
{
    pthread_mutex_lock(&w->lock);
    w->closed = true;
    w->dirty = true;
    pthread_cond_signal(&w->poked);
    pthread_mutex_unlock(&w->lock);
}

void waits_free(struct waits *w)
{
    if (!w)
        return;
    waits_close(w);
    pthread_mutex_lock(&w->lock);
    w->ended = true; /* the thread empties the room first */
    pthread_cond_signal(&w->poked);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->poked);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
