/* checks.c - those who wait are a list; the job takes the whole of it before it looks; see checks.h. */
#include "api/checks.h"

#include "api/context.h"
#include "api/http.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct checks {
    struct api *api;
    check_look *look;
    pthread_mutex_t lock;
    struct job job;
    bool under_way;          /* the job is the worker's */
    struct request *waiting; /* linked by 'peer' */
    uint64_t done;
};

static struct request *take_waiting(struct checks *c)
{
    pthread_mutex_lock(&c->lock);
    struct request *all = c->waiting;
    c->waiting = NULL;
    pthread_mutex_unlock(&c->lock);
    return all;
}

/* 'answer' is taken over.  Everybody has it before anybody is woken: from then on it is the HTTP thread's. */
static void give(struct request *all, json_t *answer, const struct err *e)
{
    for (struct request *rq = all; rq; rq = rq->peer) {
        rq->rc = answer ? 0 : -1;
        if (answer)
            rq->answer = json_incref(answer);
        else
            rq->err = *e;
    }
    json_decref(answer);
    while (all) {
        struct request *rq = all;
        all = rq->peer;
        http_wake(rq);
    }
}

/* For those who wait, if anybody does and nobody has seen to it. */
static void begin(struct checks *c)
{
    struct request *failed = NULL;
    struct err e;
    pthread_mutex_lock(&c->lock);
    if (c->waiting && !c->under_way) {
        c->under_way = history_submit(c->api->history, &c->job, &e) == 0;
        failed = c->under_way ? NULL : TAKE(c->waiting);
    }
    pthread_mutex_unlock(&c->lock);
    give(failed, NULL, &e);
}

static void run(struct job *j, struct store_reader *r, const struct err *why)
{
    struct checks *c = (struct checks *)((char *)j - offsetof(struct checks, job));
    struct request *all = take_waiting(c);
    struct err e = *why;
    (void)json_starved();
    json_t *answer = r ? c->look(c->api, r, &e) : NULL;
    if (answer && json_starved()) {
        (void)!err_set(&e, ERR_UNAVAILABLE, "out of memory");
        json_decref(answer);
        answer = NULL;
    }
    pthread_mutex_lock(&c->lock);
    c->under_way = false;
    c->done++;
    pthread_mutex_unlock(&c->lock);
    begin(c); /* before anybody is woken: when nobody waits any more, we may be freed */
    give(all, answer, &e);
}

int checks_new(struct checks **out, struct api *a, check_look *look, struct err *e)
{
    struct checks *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    c->api = a;
    c->look = look;
    c->job.run = run;
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return 0;
}

void checks_free(struct checks *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void checks_join(struct checks *c, struct request *rq, void (*next)(struct request *rq))
{
    struct err e;
    rq->next = next;
    if (!http_park(rq)) {
        (void)!err_set(&e, ERR_UNAVAILABLE, "the orchestrator is stopping");
        reply_err(rq, &e);
        return;
    }
    pthread_mutex_lock(&c->lock);
    rq->peer = c->waiting;
    c->waiting = rq;
    pthread_mutex_unlock(&c->lock);
    begin(c);
}

uint64_t checks_done(struct checks *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t n = c->done;
    pthread_mutex_unlock(&c->lock);
    return n;
}
