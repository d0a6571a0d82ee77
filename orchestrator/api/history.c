/* history.c - a queue and one thread; see history.h. */
#include "api/history.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 256

struct history {
    char *db_path;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *first, **last;
    unsigned n;
    bool ended;
    pthread_t thread;
};

static struct job *take(struct history *h)
{
    pthread_mutex_lock(&h->lock);
    while (!h->first && !h->ended)
        pthread_cond_wait(&h->more, &h->lock);
    struct job *j = h->first;
    if (j) {
        h->first = j->next;
        h->n--;
        if (!h->first)
            h->last = &h->first;
    }
    pthread_mutex_unlock(&h->lock);
    return j;
}

static void *run(void *arg)
{
    struct history *h = arg;
    struct store_reader *reader = NULL;
    for (struct job *j; (j = take(h)) != NULL;) {
        struct err e;
        err_clear(&e);
        if (!reader && store_reader_open(&reader, h->db_path, &e) < 0)
            reader = NULL;
        j->run(j, reader, &e);
    }
    store_reader_close(reader);
    return NULL;
}

int history_start(struct history **out, const char *db_path, struct err *e)
{
    struct history *h = calloc(1, sizeof *h);
    if (!h || !(h->db_path = strdup(db_path))) {
        free(h);
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    h->last = &h->first;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->more, NULL);
    if (pthread_create(&h->thread, NULL, run, h) != 0) {
        free(h->db_path);
        free(h);
        return err_set(e, ERR_INTERNAL, "cannot start the history worker");
    }
    *out = h;
    return 0;
}

int history_submit(struct history *h, struct job *j, struct err *e)
{
    j->next = NULL;
    pthread_mutex_lock(&h->lock);
    bool full = h->n >= QUEUE_MAX;
    if (!full) {
        *h->last = j;
        h->last = &j->next;
        h->n++;
        pthread_cond_signal(&h->more);
    }
    pthread_mutex_unlock(&h->lock);
    return full ? err_set(e, ERR_TOO_MANY, "too many requests for history at once") : 0;
}

void history_free(struct history *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->ended = true;
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->more);
    pthread_mutex_destroy(&h->lock);
    free(h->db_path);
    free(h);
}
