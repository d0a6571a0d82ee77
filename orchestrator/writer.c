/* writer.c - see writer.h.  The thread's loop: take a batch; for each command a savepoint in model and store; the life
 * cycle's clock; one commit; publish; tell.  Nothing is published before it is committed, and nobody is told before it
 * is published. */
#include "writer.h"

#include "core/adopt.h"
#include "core/lifecycle.h"
#include "faultpoint.h"
#include "log.h"
#include "units.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX 256
#define QUEUE_MAX 4096
#define PRUNE_EVERY_MS 30000
#define RECOVERING_TICK_MS 1000
#define PROBE_EVERY_MS 10000
#define BEGIN_AGAIN_MS 1000

struct turn { /* a command of the batch, and how it went */
    struct command *command;
    int rc;
    struct err err;
};

struct writer {
    struct store *store;
    struct events *events;
    struct topology *topology;
    struct model *model; /* the writer thread's */
    struct writer_options options;
    pthread_t thread;

    pthread_mutex_t lock; /* queue, stopping, recovering */
    pthread_cond_t more;
    struct command *first, **last;
    size_t n_queued;
    bool stopping;
    uint64_t recovering_epoch; /* 0: not recovering */
    uint64_t known_revision;   /* of agents, while recovering */
    char instance[ID_SIZE];

    pthread_mutex_t wake_lock; /* held during the call: who takes the wake-up back may free what it was for */
    void (*wake)(void *);
    void *wake_arg;

    pthread_rwlock_t published_lock;
    struct model *published;
    atomic_uint_fast64_t revision, epoch, start_revision;
    atomic_bool read_only;
    atomic_uint_fast64_t turns_taken, commits, commands, failed, commit_ns_total, commit_ns_max;

    /* writer thread only */
    struct turn turns[BATCH_MAX];
    int64_t tick_at_ms, prune_at_ms;
    int64_t probe_at_ms;    /* while read_only */
    int64_t wall_offset_ms; /* of the wall clock to the monotonic one, when we started */
};

static void set_time(struct writer *w)
{
    w->model->now_ms = time_monotonic_ms();
    w->model->wall_ms = time_wall_ms();
    w->model->revision = store_revision(w->store) + 1;
    w->model->recovering = writer_recovering(w, NULL);
    w->model->epoch = store_epoch(w->store);
}

static void set_actor(struct model *m, const char *actor)
{
    size_t n = strnlen(actor, sizeof m->actor - 1);
    memcpy(m->actor, actor, n);
    m->actor[n] = '\0';
}

/* ---- one command --------------------------------------------------------------------------------------------------
 */
static int apply_change(struct writer *w, struct command *c, struct err *e)
{
    struct change ch = { .model = w->model, .topology = w->topology, .store = w->store, .writer = w };
    bool recovering = w->model->recovering;
    if (recovering && !c->recovery)
        return err_set(e, ERR_RECOVERING,
                       "the database is older than what agents know; an operator has to adopt first");
    if (store_savepoint(w->store, e) < 0)
        return -1;
    set_actor(w->model, c->audit.actor[0] ? c->audit.actor : "system");
    if (c->apply(c, &ch, e) < 0)
        goto undo;
    set_actor(w->model, "system");
    if (!w->model->recovering)
        lifecycle_advance(w->model);
    if (c->audit.action[0] && store_audit(w->store, &c->audit, w->model->wall_ms, e) < 0)
        goto undo;
    return store_keep(w->store, e);
undo:
    w->model->recovering = recovering; /* not a row: the savepoint does not know it */
    store_undo(w->store);
    return -1;
}

static void take_turn(struct writer *w, struct turn *t)
{
    struct command *c = t->command;
    model_savepoint(w->model);
    err_clear(&t->err);
    if (c->read_only) {
        struct change ch = { .model = w->model, .topology = w->topology, .store = w->store, .writer = w };
        t->rc = c->apply(c, &ch, &t->err);
        model_rollback(w->model);
        return;
    }
    t->rc = apply_change(w, c, &t->err);
    if (t->rc < 0)
        model_rollback(w->model);
}

/* ---- commit and publish -------------------------------------------------------------------------------------------
 */
/* An operator adopted in this batch.  What agents knew of the lost time is below its revision. */
static void begin_epoch(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->recovering_epoch = store_recovering(w->store);
    pthread_mutex_unlock(&w->lock);
    atomic_store(&w->epoch, store_epoch(w->store));
    atomic_store(&w->start_revision, store_revision(w->store));
}

/* The epoch changes with the model that is of it: whoever is told that its session is over comes back at once, and is
 * compared with the new one. */
static void publish(struct writer *w)
{
    pthread_rwlock_wrlock(&w->published_lock);
    model_publish(w->published, w->model);
    if (store_epoch(w->store) != atomic_load(&w->epoch))
        begin_epoch(w);
    pthread_rwlock_unlock(&w->published_lock);
    atomic_store(&w->revision, store_revision(w->store));
}

/* From a failure until a commit succeeds: of a change, or of a probe. */
static void begin_read_only(struct writer *w, const char *event, const struct err *e)
{
    if (!atomic_exchange(&w->read_only, true))
        log_error(event, "%s; changes are refused until a commit succeeds", e->detail);
    w->probe_at_ms = w->model->now_ms + (int64_t)(PROBE_EVERY_MS * w->model->time_scale);
}

static void end_read_only(struct writer *w)
{
    if (atomic_exchange(&w->read_only, false))
        log_info("writer.recovered", "the database takes changes again");
}

/* No report was taken while nothing could be written: that is no silence of the nodes.  It may have taken a while. */
static void excuse_silence(struct writer *w)
{
    set_time(w);
    lifecycle_excuse_silence(w->model);
}

static void note_commit(struct writer *w, int64_t began_ns)
{
    uint64_t took = (uint64_t)(time_monotonic_ns() - began_ns);
    atomic_fetch_add(&w->commits, 1);
    atomic_fetch_add(&w->commit_ns_total, took);
    if (took > atomic_load(&w->commit_ns_max))
        atomic_store(&w->commit_ns_max, took);
    end_read_only(w);
}

/* The outcome of a failed commit is unknown until the file was read again. */
static bool commit(struct writer *w, struct err *e)
{
    int64_t began = time_monotonic_ns();
    uint64_t revision = w->model->revision;
    bool committed = true;
    if (store_commit(w->store, w->model, e) < 0) {
        struct err again;
        if (store_recover(w->store, revision, &committed, &again) < 0)
            committed = false;
    }
    if (committed) {
        note_commit(w, began);
        return true;
    }
    begin_read_only(w, "writer.commit", e);
    atomic_fetch_add(&w->failed, 1);
    return false;
}

static void fail_all(struct writer *w, size_t n, const struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (w->turns[i].rc == 0 && !w->turns[i].command->read_only) {
            w->turns[i].rc = -1;
            w->turns[i].err = *e;
        }
}

/* Each transition of the batch, as in "committed.do.lend" or "published.attached.detaching". */
static void fault_points(const struct model *m, const char *when)
{
    for (size_t i = 0; i < m->n_events; i++)
        FAULT_POINT("%s.%s.%s", when, m->events[i].from, m->events[i].to);
}

static void wake_waiting(struct writer *w)
{
    pthread_mutex_lock(&w->wake_lock);
    if (w->wake)
        w->wake(w->wake_arg);
    pthread_mutex_unlock(&w->wake_lock);
}

static void check(struct writer *w)
{
    struct err e;
    if (!w->options.check_invariants || model_check(w->model, &e) == 0 || strcmp(e.detail, "out of memory") == 0)
        return;
    log_error("writer.invariant", "%s", e.detail);
    assert(!"an invariant of the model is broken");
}

/* Ends the batch: commits when something durable changed, publishes, tells every command. */
static void end_batch(struct writer *w, size_t n)
{
    struct err e;
    bool durable = store_has_changes(w->store) || model_has_durable_changes(w->model), good = true;
    err_clear(&e);
    check(w);
    fault_points(w->model, "before");
    if (durable)
        good = commit(w, &e);
    else
        store_rollback(w->store);
    if (good) {
        fault_points(w->model, "committed");
        publish(w);
        if (durable)
            events_append(w->events, w->model->events, w->model->n_events);
        wake_waiting(w);
        fault_points(w->model, "published");
        model_commit_done(w->model);
    } else {
        model_rollback_batch(w->model);
        excuse_silence(w);
        fail_all(w, n, &e);
    }
    for (size_t i = 0; i < n; i++) {
        struct turn *t = &w->turns[i];
        t->command->revision = atomic_load(&w->revision);
        t->command->done(t->command, t->rc, &t->err);
    }
    atomic_fetch_add(&w->commands, n);
    /* The next decision finds the index up to date.  What fails here fails again, and is said, where it is asked. */
    if (topology_refresh(w->topology, w->model, &e) < 0)
        err_clear(&e);
}

static void tick(struct writer *w)
{
    set_actor(w->model, "system");
    model_savepoint(w->model);
    if (w->model->recovering) {
        w->tick_at_ms = w->model->now_ms + RECOVERING_TICK_MS;
        return;
    }
    w->tick_at_ms = lifecycle_tick(w->model);
    adopt_collect(w->model);
}

/* Not even a batch can begin: nobody's turn comes. */
static void refuse_batch(struct writer *w, size_t n, const struct err *e)
{
    begin_read_only(w, "writer.begin", e);
    excuse_silence(w);
    for (size_t i = 0; i < n; i++)
        w->turns[i].command->done(w->turns[i].command, -1, e);
    w->tick_at_ms = w->model->now_ms + BEGIN_AGAIN_MS;
    w->probe_at_ms = w->tick_at_ms;
    if (store_is_ahead(w->store)) {
        log_error("writer.ahead", "%s: ending, to be started again from the database", e->detail);
        _exit(EXIT_FAILURE);
    }
}

static bool run_batch(struct writer *w, size_t n)
{
    struct err e;
    set_time(w);
    if (store_begin(w->store, &e) < 0) {
        refuse_batch(w, n, &e);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        take_turn(w, &w->turns[i]);
    tick(w);
    end_batch(w, n);
    return true;
}

/* ---- thread and queue ---------------------------------------------------------------------------------------------
 */
static void wait_until(struct writer *w, int64_t at_ms)
{
    struct timespec until = { .tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000 };
    pthread_cond_timedwait(&w->more, &w->lock, &until); /* the condition's clock is the monotonic one */
}

/* Takes up to BATCH_MAX commands; waits for one or for the next tick or probe. */
static size_t take_batch(struct writer *w, bool *stop)
{
    size_t n = 0;
    int64_t until_ms = w->tick_at_ms;
    if (writer_read_only(w) && w->probe_at_ms < until_ms)
        until_ms = w->probe_at_ms;
    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->stopping && time_monotonic_ms() < until_ms)
        wait_until(w, until_ms);
    while (w->first && n < BATCH_MAX) {
        struct command *c = w->first;
        w->first = c->next;
        if (!w->first)
            w->last = &w->first;
        c->next = NULL;
        w->turns[n++] = (struct turn){ .command = c };
        w->n_queued--;
    }
    *stop = w->stopping && !w->first && n == 0;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* What is kept by age is not thrown away because somebody set the clock forward: since our start time goes by steadily.
 */
static int64_t steady_wall_ms(const struct writer *w)
{
    int64_t steady = w->model->now_ms + w->wall_offset_ms;
    return steady < w->model->wall_ms ? steady : w->model->wall_ms;
}

/* In proportion to what is written, or what is old would pile up under a load that never pauses; now and then when
 * there is nothing to do, for what only became old. */
static void prune(struct writer *w, bool idle)
{
    struct err e;
    bool due = w->model->now_ms >= w->prune_at_ms;
    if (writer_read_only(w) ? !idle || !due : !store_prune_due(w->store) && !(idle && due))
        return;
    if (store_prune(w->store, steady_wall_ms(w), &e) < 0)
        log_warn("writer.prune", "%s", e.detail);
    w->prune_at_ms = w->model->now_ms + PRUNE_EVERY_MS;
}

/* Reports are no commits: in a rack where nobody changes anything it would be refused for ever what works again. */
static void probe(struct writer *w)
{
    struct err e;
    if (!writer_read_only(w) || w->model->now_ms < w->probe_at_ms)
        return;
    if (store_probe(w->store, &e) == 0)
        end_read_only(w);
    else
        begin_read_only(w, "writer.probe", &e);
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    for (;;) {
        bool stop = false;
        size_t n = take_batch(w, &stop);
        if (stop)
            return NULL;
        if (run_batch(w, n))
            probe(w);
        atomic_fetch_add(&w->turns_taken, 1);
        prune(w, n == 0);
    }
}

static void writer_free(struct writer *w)
{
    topology_free(w->topology);
    model_free(w->model);
    model_free(w->published);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->wake_lock);
    pthread_cond_destroy(&w->more);
    pthread_rwlock_destroy(&w->published_lock);
    free(w);
}

static int load(struct writer *w, struct err *e)
{
    if (model_new(&w->model, e) < 0 || model_new(&w->published, e) < 0 || topology_new(&w->topology, e) < 0 ||
        store_load(w->store, w->model, e) < 0 || store_load(w->store, w->published, e) < 0)
        return -1;
    w->recovering_epoch = store_recovering(w->store);
    w->model->time_scale = w->options.time_scale > 0 ? w->options.time_scale : 1.0;
    set_time(w);
    w->wall_offset_ms = w->model->wall_ms - w->model->now_ms;
    model_savepoint(w->model);
    lifecycle_start(w->model);
    if (store_begin(w->store, e) < 0 || store_commit(w->store, w->model, e) < 0)
        return -1;
    model_publish(w->published, w->model);
    events_append(w->events, w->model->events, w->model->n_events);
    model_commit_done(w->model);
    atomic_store(&w->revision, store_revision(w->store));
    w->tick_at_ms = w->model->now_ms;
    return 0;
}

int writer_start(struct writer **out, struct store *s, struct events *ev, const struct writer_options *o, struct err *e)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    w->store = s;
    w->events = ev;
    w->options = *o;
    if (!w->options.queue_max)
        w->options.queue_max = QUEUE_MAX;
    w->last = &w->first;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&w->more, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->wake_lock, NULL);
    pthread_rwlock_init(&w->published_lock, NULL);
    atomic_store(&w->revision, store_revision(s));
    atomic_store(&w->epoch, store_epoch(s));
    atomic_store(&w->start_revision, store_start_revision(s));
    strncat(w->instance, store_instance(s), sizeof w->instance - 1);
    if (load(w, e) < 0) {
        writer_free(w);
        return -1;
    }
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0) {
        writer_free(w);
        return err_set(e, ERR_INTERNAL, "no thread for the writer");
    }
    *out = w;
    return 0;
}

void writer_stop(struct writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    writer_free(w);
}

int writer_submit(struct writer *w, struct command *c, struct err *e)
{
    pthread_mutex_lock(&w->lock);
    bool full = w->n_queued >= w->options.queue_max || w->stopping;
    if (!full) {
        c->next = NULL;
        *w->last = c;
        w->last = &c->next;
        w->n_queued++;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return full ? err_set(e, ERR_TOO_MANY, "%zu changes are waiting already", w->options.queue_max) : 0;
}

/* ---- readers ------------------------------------------------------------------------------------------------------
 */
const struct model *writer_read_lock(struct writer *w)
{
    pthread_rwlock_rdlock(&w->published_lock);
    return w->published;
}

void writer_read_unlock(struct writer *w)
{
    pthread_rwlock_unlock(&w->published_lock);
}

uint64_t writer_published_revision(struct writer *w)
{
    return atomic_load(&w->revision);
}

uint64_t writer_published_event(struct writer *w)
{
    return events_last(w->events);
}

uint64_t writer_epoch(struct writer *w)
{
    return atomic_load(&w->epoch);
}

const char *writer_instance(struct writer *w)
{
    return w->instance;
}

bool writer_read_only(struct writer *w)
{
    return atomic_load(&w->read_only);
}

bool writer_recovering(struct writer *w, uint64_t *known_epoch)
{
    pthread_mutex_lock(&w->lock);
    uint64_t known = w->recovering_epoch;
    pthread_mutex_unlock(&w->lock);
    if (known_epoch)
        *known_epoch = known;
    return known != 0;
}

void writer_set_recovering(struct writer *w, uint64_t known_epoch, uint64_t known_revision)
{
    pthread_mutex_lock(&w->lock);
    if (known_epoch > w->recovering_epoch)
        w->recovering_epoch = known_epoch;
    if (known_revision > w->known_revision)
        w->known_revision = known_revision;
    pthread_mutex_unlock(&w->lock);
}

uint64_t writer_known_revision(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t known = w->known_revision;
    pthread_mutex_unlock(&w->lock);
    return known;
}

uint64_t writer_start_revision(struct writer *w)
{
    return atomic_load(&w->start_revision);
}

void writer_on_publish(struct writer *w, void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&w->wake_lock);
    w->wake = wake;
    w->wake_arg = arg;
    pthread_mutex_unlock(&w->wake_lock);
}

uint64_t writer_turns(struct writer *w)
{
    return atomic_load(&w->turns_taken);
}

bool writer_busy(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool busy = w->n_queued > 0;
    pthread_mutex_unlock(&w->lock);
    return busy;
}

void writer_read_metrics(struct writer *w, struct writer_metrics *out)
{
    out->commits = atomic_load(&w->commits);
    out->commands = atomic_load(&w->commands);
    out->batches_failed = atomic_load(&w->failed);
    out->commit_ns_total = atomic_load(&w->commit_ns_total);
    out->commit_ns_max = atomic_load(&w->commit_ns_max);
}
