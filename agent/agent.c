/* agent.c - see agent.h. */
#include "agent.h"

#include "converge.h"
#include "log.h"
#include "observe.h"
#include "orders.h"
#include "session.h"
#include "units.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES (256 * 1024)
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000
#define BACKOFF_LEAST_MS 10                      /* however much time is scaled */
#define PREPARE_AFTER_MS 10                      /* of quiet: what comes next is not to wait for it */
#define REVIVE_MS 100                            /* so long after one pass the kernel's files are as they were */
#define TEND_MS 10                               /* between two looks at a hot-plug order under way */
#define RETRY_MS 250                             /* after a pass that left something undone */
#define PROGRESS_MS 50                           /* between two reports of one long order */
#define SETTLE_INLINE_NS (20 * INT64_C(1000000)) /* a settle time up to this is waited for before the report */
#define START_HEARTBEAT_MS 1000
#define ALL_MS 60000 /* between two complete readings: somebody else may have changed something */

/* Who waits for what: a wake-up for one thread leaves the others asleep. */
enum sleeper { JOB, REPORT, POLL, N_SLEEPERS };

struct shot { /* a snapshot; counted, under the lock */
    unsigned refs;
    uint64_t taken_in; /* number of the session in which it was read */
    struct wire_observed o;
};

struct agent {
    const struct agent_config *config;
    struct session *session;
    struct node node;            /* job thread */
    struct wire_desired current; /* job thread: acted upon last; no epoch: none yet */
    struct shot *last;           /* job thread: what it published last */
    int64_t progress_at_ms;
    bool hurried; /* job thread: it left a report out for the next order */
    struct runner {
        struct agent *agent;
        void (*main)(struct agent *a);
        pthread_t thread;
    } runners[3];
    unsigned n_runners;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t changed[N_SLEEPERS], ended;
    unsigned n_ended;             /* of the threads */
    bool stop, rescan, ready;     /* ready: 'registration' is filled */
    struct wire_desired *desired; /* mailbox to the job thread */
    struct shot *shot;            /* mailbox to the report thread; stays for heartbeats */
    uint64_t shot_number;         /* grows with each publication */
    uint64_t session_number;
    uint64_t epoch; /* of that session; 0 when its orders are refused */
    char instance[ID_SIZE];
    unsigned heartbeat_ms;
    int64_t blind_since_ms; /* the node cannot be read since; 0: it can */
    struct wire_registration registration;
};

static void desired_free(struct wire_desired *d)
{
    if (!d)
        return;
    wire_desired_done(d);
    free(d);
}

static void shot_unref(struct shot *s) /* under the lock */
{
    if (!s || --s->refs > 0)
        return;
    wire_observed_done(&s->o);
    free(s);
}

/* Waits for a change that concerns 'who', or until the monotonic clock says so; under the lock. */
static void wait_until_ns(struct agent *a, enum sleeper who, int64_t until_ns)
{
    struct timespec ts = { .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000 };
    pthread_cond_timedwait(&a->changed[who], &a->lock, &ts);
}

static void wait_until(struct agent *a, enum sleeper who, int64_t until_ms)
{
    if (until_ms == INT64_MAX)
        pthread_cond_wait(&a->changed[who], &a->lock);
    else
        wait_until_ns(a, who, until_ms * 1000000);
}

static void wake(struct agent *a, enum sleeper who)
{
    pthread_cond_signal(&a->changed[who]); /* each has one thread */
}

/* Poll thread: waits out 'ms' unless the agent stops.  False: it does. */
static bool rest(struct agent *a, int64_t ms)
{
    int64_t until = time_monotonic_ms() + ms;
    pthread_mutex_lock(&a->lock);
    while (!a->stop && time_monotonic_ms() < until)
        wait_until(a, POLL, until);
    bool go_on = !a->stop;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

/* ---- job ----------------------------------------------------------------------------------------------------------
 */
static void publish(struct agent *a, struct shot *s)
{
    pthread_mutex_lock(&a->lock);
    s->refs = 2; /* the mailbox's and 'last' */
    shot_unref(a->shot);
    shot_unref(a->last);
    a->shot = a->last = s;
    a->shot_number++;
    pulse_headway(&a->node.pulse);
    wake(a, REPORT);
    pthread_mutex_unlock(&a->lock);
}

/* A short settle time is waited for, so that one report says that all is done.  True: there is something to do first,
 * and the next report tells of both; not twice in a row, so that the orchestrator hears of us. */
static bool settle(struct agent *a)
{
    int64_t until_ns = observe_settles_ns(&a->node);
    if (until_ns - time_monotonic_ns() > SETTLE_INLINE_NS)
        return false;
    pthread_mutex_lock(&a->lock);
    while (!a->stop && (!a->desired || a->hurried) && time_monotonic_ns() < until_ns)
        wait_until_ns(a, JOB, until_ns);
    a->hurried = time_monotonic_ns() < until_ns;
    pthread_mutex_unlock(&a->lock);
    return a->hurried;
}

static void note_sight(struct agent *a, bool sees)
{
    pthread_mutex_lock(&a->lock);
    if (sees)
        a->blind_since_ms = 0;
    else if (!a->blind_since_ms)
        a->blind_since_ms = time_monotonic_ms();
    pthread_mutex_unlock(&a->lock);
}

static void take_shot(struct agent *a, uint64_t session_number, enum observe_what what)
{
    struct err e = { 0 };
    struct shot *s = calloc(1, sizeof *s);
    if (!s || observe(&a->node, what, &s->o, &e) < 0) {
        log_error("observe.failed", "%s", s ? e.detail : "out of memory");
        free(s);
        note_sight(a, false);
        return;
    }
    note_sight(a, true);
    if (settle(a)) {
        wire_observed_done(&s->o);
        free(s);
        return;
    }
    observe_settled(&a->node, &s->o);
    s->taken_in = session_number;
    publish(a, s);
}

static void on_progress(void *arg)
{
    struct agent *a = arg;
    struct err e = { 0 };
    int64_t now = time_monotonic_ms();
    if (!a->last || now < a->progress_at_ms)
        return;
    a->progress_at_ms = now + PROGRESS_MS;
    struct shot *s = calloc(1, sizeof *s);
    if (!s || observe_progress(&a->node, &a->last->o, &s->o, &e) < 0) {
        free(s);
        return;
    }
    s->taken_in = a->last->taken_in;
    publish(a, s);
}

static void apply(struct agent *a, const struct wire_desired *d)
{
    a->progress_at_ms = time_monotonic_ms() + PROGRESS_MS; /* short orders need no extra report */
    converge_apply(&a->node, d);
}

/* Takes the mailbox's desired state, if there is one, and acts. */
static void act(struct agent *a, struct wire_desired *fresh)
{
    if (!fresh)
        return;
    if (a->current.epoch == fresh->epoch && fresh->revision < a->current.revision) {
        log_warn("desired.old", "revision %" PRIu64 " after %" PRIu64 ": ignored", fresh->revision,
                 a->current.revision);
        desired_free(fresh);
        return;
    }
    wire_desired_done(&a->current);
    a->current = *fresh;
    free(fresh);
    apply(a, &a->current);
}

/* Orders are the session's or nobody's: what another epoch wanted is not done any more, though the newer one may have
 * nothing to say yet.  'epoch' and 'instance' are the session's. */
static void forget_older(struct agent *a, uint64_t epoch, const char *instance)
{
    struct wire_desired *d = &a->current;
    if (d->epoch == 0 || (d->epoch == epoch && strcmp(d->instance, instance) == 0))
        return;
    log_info("desired.over", "epoch=%" PRIu64 " instance=%s: its orders end with its session", d->epoch, d->instance);
    wire_desired_done(d);
}

static void first_look(struct agent *a)
{
    struct wire_registration r;
    node_discover(&a->node);
    take_shot(a, 0, OBSERVE_ALL);
    observe_registration(&a->node, &r); /* reads files of the kernel, which may hang */
    pthread_mutex_lock(&a->lock);
    a->registration = r;
    a->ready = true;
    wake(a, POLL);
    pthread_mutex_unlock(&a->lock);
}

static void job_main(struct agent *a)
{
    int64_t beat_at = 0, all_at = time_monotonic_ms() + ALL_MS, retry_at = INT64_MAX, prepare_at = 0, revive_at = 0;
    first_look(a);
    for (;;) {
        pthread_mutex_lock(&a->lock);
        int64_t settle_at = observe_next_ms(&a->node);
        int64_t wake_at = beat_at < settle_at ? beat_at : settle_at;
        wake_at = wake_at < retry_at ? wake_at : retry_at;
        wake_at = wake_at < prepare_at ? wake_at : prepare_at;
        bool under_way = a->node.job.running || a->node.job.hangs;
        if (under_way) {
            int64_t tend_at = time_monotonic_ms() + (a->node.job.running ? TEND_MS : RETRY_MS);
            wake_at = a->node.job.running || tend_at < wake_at ? tend_at : wake_at;
        }
        pulse_rest(&a->node.pulse);
        while (!a->stop && !a->desired && !a->rescan && time_monotonic_ms() < wake_at)
            wait_until(a, JOB, wake_at);
        pulse_at(&a->node.pulse, "a pass");
        pulse_headway(&a->node.pulse);
        bool stop = a->stop, rescan = a->rescan;
        struct wire_desired *fresh = TAKE(a->desired);
        uint64_t number = a->session_number;
        unsigned heartbeat_ms = a->heartbeat_ms;
        a->rescan = false;
        if (number != 0)
            forget_older(a, a->epoch, a->instance);
        pthread_mutex_unlock(&a->lock);
        if (stop) {
            desired_free(fresh);
            return;
        }
        int64_t now = time_monotonic_ms();
        if (orders_tend(&a->node, 0))
            retry_at = now;
        else if (under_way && !fresh && !rescan && now < beat_at && now < settle_at && now < retry_at)
            continue; /* nothing but the order under way */
        bool beat = now >= beat_at, acted = fresh || now >= retry_at;
        struct err e = { 0 };
        if (!fresh && now >= prepare_at) {
            node_prepare(&a->node);
            prepare_at = INT64_MAX;
            if (now < settle_at && !beat && !acted && !rescan)
                continue;
        }
        if ((beat || (fresh && now >= revive_at)) && node_revive(&a->node, &e) < 0)
            log_warn("node.revive", "%s", e.detail);
        revive_at = now + REVIVE_MS;
        if (fresh)
            act(a, fresh);
        else if (acted && a->current.epoch != 0)
            apply(a, &a->current);
        if (acted)
            retry_at = a->node.incomplete ? time_monotonic_ms() + RETRY_MS : INT64_MAX;
        segments_keep_fresh(&a->node, now);
        enum observe_what what = beat ? OBSERVE_BEAT : OBSERVE_ORDERS;
        if (now >= all_at || rescan || (beat && acted))
            what = OBSERVE_ALL;
        take_shot(a, number, what);
        all_at = what == OBSERVE_ALL ? now + ALL_MS : all_at;
        prepare_at = fresh || beat ? time_monotonic_ms() + PREPARE_AFTER_MS : prepare_at;
        if (beat)
            beat_at = now + heartbeat_ms;
    }
}

/* After 'ms', 0 at first, the next time to wait before the orchestrator is asked again: longer and longer, up to a
 * limit.
 */
static int64_t next_backoff_ms(const struct agent *a, int64_t ms)
{
    int64_t first = agent_config_ms(a->config, BACKOFF_MIN_MS), most = agent_config_ms(a->config, BACKOFF_MAX_MS);
    if (first < BACKOFF_LEAST_MS)
        first = BACKOFF_LEAST_MS;
    if (most < first)
        most = first;
    return ms == 0 ? first : ms * 2 > most ? most : ms * 2;
}

/* ---- report -------------------------------------------------------------------------------------------------------
 */
/* Since when, and in what, the job thread hangs, or fails to read the node; 0: it does not.  One that goes from one
 * failing access to the next moves, but has no news either. */
static int64_t stuck_since_ms(struct agent *a, const char **what) /* under the lock */
{
    int64_t limit = agent_config_ms(a->config, PULSE_LIMIT_MS), now = time_monotonic_ms();
    int64_t at = atomic_load_explicit(&a->node.pulse.at_ms, memory_order_acquire);
    if (limit < PULSE_LEAST_MS)
        limit = PULSE_LEAST_MS;
    *what = "the reading of this node, which fails";
    if (a->blind_since_ms && now - a->blind_since_ms > limit)
        return a->blind_since_ms;
    *what = atomic_load_explicit(&a->node.pulse.what, memory_order_relaxed);
    if (at && now - at > limit)
        return at;
    int64_t headway = atomic_load_explicit(&a->node.pulse.headway_ms, memory_order_relaxed);
    return headway && now - headway > PULSE_PASS_LIMITS * limit ? headway : 0;
}

/* What was seen last is no news any more, so it is no heartbeat: an agent that hangs says so once, and then nothing
 * before it moves again.  An orchestrator that hears nothing places nothing on this node and frees nothing of it, and
 * shows what was said last. */
static int report_stuck(struct agent *a, const struct shot *s, const char *what, int64_t since_ms, struct err *e)
{
    struct wire_observed o = s->o;
    struct wire_finding *all = calloc(o.n_findings + 1, sizeof *all);
    char since[UNITS_TIME_MAX];
    if (!all)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (o.n_findings > 0)
        memcpy(all, o.findings, o.n_findings * sizeof *all);
    if (o.n_findings == WIRE_MAX_FINDINGS)
        o.n_findings--;
    struct wire_finding *f = &all[o.n_findings++];
    units_format_time(time_wall_ms() - (time_monotonic_ms() - since_ms), since);
    snprintf(f->code, sizeof f->code, "agent_stuck");
    f->severity = WIRE_ERROR;
    snprintf(f->detail, sizeof f->detail, "the agent hangs in %s since %s, and reports nothing until it is back", what,
             since);
    snprintf(f->advice, sizeof f->advice, "look at the kernel's log, the cards, lenders and switches of this node");
    o.findings = all;
    log_error("agent.stuck", "%s", f->detail);
    int rc = session_report(a->session, &o, s->taken_in, e);
    free(all);
    return rc;
}

static void report_main(struct agent *a)
{
    uint64_t sent = 0, told = 0; /* told: the session in which it was said that nothing new is to come */
    int64_t again_at = 0, not_before = 0, backoff_ms = next_backoff_ms(a, 0);
    for (;;) {
        pthread_mutex_lock(&a->lock);
        for (;;) {
            int64_t now = time_monotonic_ms();
            bool due = a->session_number != 0 && a->shot && (a->shot_number != sent || now >= again_at);
            if (a->stop || (due && now >= not_before))
                break;
            bool anything = a->session_number != 0 && a->shot; /* else what is to come wakes this thread */
            wait_until(a, REPORT, due ? not_before : anything ? again_at : INT64_MAX);
        }
        bool stop = a->stop;
        struct shot *s = stop ? NULL : a->shot;
        if (s)
            s->refs++;
        uint64_t number = a->shot_number;
        uint64_t session = a->session_number;
        unsigned heartbeat_ms = a->heartbeat_ms;
        const char *what;
        int64_t stuck_ms = stop || number != sent ? 0 : stuck_since_ms(a, &what);
        if (number != sent)
            told = 0;
        pthread_mutex_unlock(&a->lock);
        if (stop)
            return;
        struct err e = { 0 };
        int rc = 0;
        if (!stuck_ms && !told)
            rc = session_report(a->session, &s->o, s->taken_in, &e);
        else if (stuck_ms && told != session)
            rc = report_stuck(a, s, what, stuck_ms, &e);
        if (rc == 0 && stuck_ms)
            told = session;
        int64_t now = time_monotonic_ms();
        if (rc == 0) {
            sent = number;
            not_before = 0;
            backoff_ms = next_backoff_ms(a, 0);
            again_at = now + heartbeat_ms + heartbeat_ms / 2;
        } else {
            log_debug("report.failed", "%s", e.detail);
            if (e.code != ERR_UNREACHABLE && e.code != ERR_TIMEOUT && e.code != ERR_SESSION_STALE)
                log_warn("report.refused", "%s: %s", err_name(e.code), e.detail);
            not_before = now + backoff_ms;
            backoff_ms = next_backoff_ms(a, backoff_ms);
        }
        pthread_mutex_lock(&a->lock);
        shot_unref(s);
        pthread_mutex_unlock(&a->lock);
    }
}

/* ---- poll ---------------------------------------------------------------------------------------------------------
 */
/* Registers once; wakes the job for a fresh snapshot. */
static int enrol(struct agent *a, struct err *e)
{
    CLEANUP(cleanup_free) struct wire_registration *r = malloc(sizeof *r);
    if (!r)
        return err_set(e, ERR_INTERNAL, "out of memory");
    pthread_mutex_lock(&a->lock);
    if (a->shot) {
        a->registration.memory_bytes = a->shot->o.memory_bytes;
        a->registration.free_bytes = a->shot->o.free_bytes;
        a->registration.locked_bytes = a->shot->o.locked_bytes;
    }
    *r = a->registration;
    pthread_mutex_unlock(&a->lock);
    if (session_register(a->session, r, e) < 0)
        return -1;
    struct session_info info;
    session_get(a->session, &info);
    log_info("session.registered", "name=%s epoch=%" PRIu64 " instance=%s", a->config->name, info.epoch, info.instance);
    pthread_mutex_lock(&a->lock);
    a->session_number = info.number;
    a->epoch = info.obeyed ? info.epoch : 0;
    memcpy(a->instance, info.instance, sizeof a->instance);
    a->heartbeat_ms = info.heartbeat_ms;
    a->rescan = true;
    desired_free(TAKE(a->desired)); /* of the session that is over */
    wake(a, JOB);
    wake(a, REPORT);
    pthread_mutex_unlock(&a->lock);
    return 0;
}

static int deliver(struct agent *a, struct wire_desired *d)
{
    struct wire_desired *box = malloc(sizeof *box);
    if (!box) {
        log_error("desired.lost", "out of memory");
        wire_desired_done(d);
        return -1;
    }
    *box = *d;
    pthread_mutex_lock(&a->lock);
    desired_free(a->desired);
    a->desired = box;
    wake(a, JOB);
    pthread_mutex_unlock(&a->lock);
    return 0;
}

/* One long poll; moves the cursor.  -1: rest a while. */
static int ask_desired(struct agent *a, const struct session_info *info, uint64_t *revision)
{
    struct wire_desired d;
    struct err e = { 0 };
    bool fresh = false;
    if (session_poll(a->session, info->epoch, *revision, &fresh, &d, &e) == 0) {
        uint64_t got = fresh ? d.revision : *revision;
        if (fresh && !info->obeyed)
            wire_desired_done(&d);
        else if (fresh && deliver(a, &d) < 0)
            return -1; /* it is asked for again */
        *revision = got;
        return 0;
    }
    switch (e.code) {
    case ERR_TIMEOUT: /* or interrupted, because the session is over */
        return 0;
    case ERR_UNREACHABLE:
    case ERR_SESSION_STALE:
    case ERR_UNAUTHENTICATED:
        log_info("session.lost", "%s", e.detail);
        session_lost(a->session, info->number);
        return 0;
    default:
        log_error("desired.refused", "%s: %s", err_name(e.code), e.detail);
        return -1;
    }
}

static void poll_main(struct agent *a)
{
    int64_t backoff_ms = next_backoff_ms(a, 0);
    uint64_t revision = 0, number = 0;
    pthread_mutex_lock(&a->lock);
    while (!a->stop && !a->ready)
        wait_until(a, POLL, INT64_MAX);
    pthread_mutex_unlock(&a->lock);
    for (;;) {
        struct session_info info;
        struct err e = { 0 };
        bool wait = false;
        session_get(a->session, &info);
        if (!info.registered) {
            wait = enrol(a, &e) < 0;
            if (wait && e.code != ERR_UNREACHABLE)
                log_error("session.refused", "%s: %s", err_name(e.code), e.detail);
            else if (wait)
                log_debug("session.waiting", "%s", e.detail);
        } else {
            if (info.number != number)
                revision = 0;
            number = info.number;
            wait = ask_desired(a, &info, &revision) < 0;
        }
        if (!wait)
            backoff_ms = next_backoff_ms(a, 0);
        /* Somewhere in the upper half of the time, so that the nodes of a rack do not come all at once. */
        int64_t ms = wait ? backoff_ms / 2 + time_monotonic_ns() / 1000 % (backoff_ms / 2) : 0;
        if (!rest(a, ms))
            return;
        if (wait)
            backoff_ms = next_backoff_ms(a, backoff_ms);
    }
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */
int agent_new(struct agent **out, const struct agent_config *c, int lock_fd, struct err *e)
{
    struct agent *a = calloc(1, sizeof *a);
    pthread_condattr_t attr;
    if (!a)
        return err_set(e, ERR_INTERNAL, "out of memory");
    a->config = c;
    a->heartbeat_ms = START_HEARTBEAT_MS;
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (unsigned i = 0; i < N_SLEEPERS; i++)
        pthread_cond_init(&a->changed[i], &attr);
    pthread_cond_init(&a->ended, &attr);
    pthread_condattr_destroy(&attr);
    if (session_new(&a->session, c, e) < 0 || node_init(&a->node, c, lock_fd, e) < 0) {
        agent_free(a);
        return -1;
    }
    a->node.progress = on_progress;
    a->node.progress_arg = a;
    *out = a;
    return 0;
}

static void *run(void *arg)
{
    struct runner *r = arg;
    r->main(r->agent);
    pthread_mutex_lock(&r->agent->lock);
    r->agent->n_ended++;
    pthread_cond_signal(&r->agent->ended);
    pthread_mutex_unlock(&r->agent->lock);
    return NULL;
}

int agent_start(struct agent *a, struct err *e)
{
    static void (*const mains[])(struct agent *) = { job_main, report_main, poll_main };
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(mains); i++) {
        a->runners[i] = (struct runner){ .agent = a, .main = mains[i] };
        rc = pthread_create(&a->runners[i].thread, &attr, run, &a->runners[i]);
        a->n_runners += rc == 0;
    }
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : err_set(e, ERR_INTERNAL, "cannot start a thread: %s", strerror(rc));
}

bool agent_stop(struct agent *a, long wait_ms)
{
    int64_t until = time_monotonic_ms() + wait_ms;
    struct timespec ts = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };
    session_stop(a->session);
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    for (unsigned i = 0; i < N_SLEEPERS; i++)
        wake(a, i);
    while (a->n_ended < a->n_runners && pthread_cond_timedwait(&a->ended, &a->lock, &ts) == 0)
        ;
    bool ended = a->n_ended == a->n_runners;
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; ended && i < a->n_runners; i++)
        pthread_join(a->runners[i].thread, NULL);
    return ended;
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    node_done(&a->node);
    session_free(a->session);
    desired_free(a->desired);
    wire_desired_done(&a->current);
    shot_unref(a->shot);
    shot_unref(a->last);
    for (unsigned i = 0; i < N_SLEEPERS; i++)
        pthread_cond_destroy(&a->changed[i]);
    pthread_cond_destroy(&a->ended);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
