/* leavers.c - see leavers.h. */
#include "api/leavers.h"

#include "units.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define LOOK_MS 1000

struct leavers {
    pthread_mutex_t lock;
    pthread_cond_t ending;
    struct leaver *first;
    bool ended;
    pthread_t thread;
};

bool leavers_gone(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void look(struct leavers *l)
{
    for (struct leaver *x = l->first; x; x = x->next) {
        bool closed = !x->busy && leavers_gone(x->fd);
        if (closed && x->closed_before)
            shutdown(x->fd, SHUT_RDWR);
        x->closed_before = closed;
    }
}

static void *look_around(void *arg)
{
    struct leavers *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->ended) {
        int64_t at_ms = time_monotonic_ms() + LOOK_MS;
        struct timespec ts = { .tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000 };
        pthread_cond_timedwait(&l->ending, &l->lock, &ts);
        look(l);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int leavers_start(struct leavers **out, struct err *e)
{
    struct leavers *l = calloc(1, sizeof *l);
    pthread_condattr_t attr;
    if (!l)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->ending, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&l->thread, NULL, look_around, l) != 0) {
        free(l);
        return err_set(e, ERR_INTERNAL, "cannot start the thread that looks for clients that left");
    }
    *out = l;
    return 0;
}

void leavers_free(struct leavers *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->ended = true;
    pthread_cond_signal(&l->ending);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->ending);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void leavers_add(struct leavers *l, struct leaver *x)
{
    pthread_mutex_lock(&l->lock);
    x->next = l->first;
    x->link = &l->first;
    if (x->next)
        x->next->link = &x->next;
    l->first = x;
    pthread_mutex_unlock(&l->lock);
}

void leavers_remove(struct leavers *l, struct leaver *x)
{
    pthread_mutex_lock(&l->lock);
    *x->link = x->next;
    if (x->next)
        x->next->link = x->link;
    pthread_mutex_unlock(&l->lock);
}

void leavers_busy(struct leavers *l, struct leaver *x, bool busy)
{
    pthread_mutex_lock(&l->lock);
    x->busy = busy;
    pthread_mutex_unlock(&l->lock);
}
