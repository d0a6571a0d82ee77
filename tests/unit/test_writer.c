/* links: memlane-orchestrator */
/* The one writer: nobody sees what is not committed, and a commit is on the disk. */
#include "orchestrator/store_internal.h"
#include "unit_main.h"
#include "units.h"
#include "writer.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char dir[64], path[96];
static struct store *store;
static struct events *events;
static struct writer *writer;
static struct err e;

struct add { /* a command that adds a node */
    struct command command;
    const char *name;
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool over;
    int rc;
};

static int apply_add(struct command *c, struct change *ch, struct err *err)
{
    uint32_t at;
    return model_add_node(ch->model, ((struct add *)c)->name, &at, err);
}

static void add_done(struct command *c, int rc, const struct err *err)
{
    struct add *a = (struct add *)c;
    (void)err;
    pthread_mutex_lock(&a->lock);
    a->over = true;
    a->rc = rc;
    pthread_cond_signal(&a->told);
    pthread_mutex_unlock(&a->lock);
}

static void begin(struct add *a, int (*apply)(struct command *, struct change *, struct err *), const char *name,
                  bool recovery)
{
    *a = (struct add){ .command = { .apply = apply, .done = add_done, .recovery = recovery },
                       .name = name,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .told = PTHREAD_COND_INITIALIZER };
    ck_assert_int_eq(writer_submit(writer, &a->command, &e), 0);
}

static int outcome(struct add *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->over)
        pthread_cond_wait(&a->told, &a->lock);
    pthread_mutex_unlock(&a->lock);
    return a->rc;
}

static int submit(int (*apply)(struct command *, struct change *, struct err *), const char *name, bool recovery)
{
    struct add a;
    begin(&a, apply, name, recovery);
    return outcome(&a);
}

static int add(const char *name)
{
    return submit(apply_add, name, false);
}

static bool published(const char *name)
{
    const struct model *m = writer_read_lock(writer);
    bool there = model_find_node(m, name) != NONE;
    writer_read_unlock(writer);
    return there;
}

static void start(double time_scale)
{
    struct writer_options o = { .time_scale = time_scale, .check_invariants = true };
    ck_assert_msg(writer_start(&writer, store, events, &o, &e) == 0, "%s", e.detail);
}

static void setup(void)
{
    snprintf(dir, sizeof dir, "%s/memlane-writer-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/rack.db", dir);
    ck_assert_msg(store_open(&store, path, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(events_new(&events, store_last_event(store), &e), 0);
    start(1.0);
}

static void teardown(void)
{
    char command[128];
    writer_stop(writer);
    events_free(events);
    store_close(store);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* 110,000 events are there, 100,000 are kept; under load they go as fast as they come, and faster. */
START_TEST(old_events_go_under_load_too)
{
    struct writer_options o = { .time_scale = 1.0 };
    int64_t n = 0;
    char name[16];
    writer_stop(writer);
    ck_assert_int_eq(db_exec(&store->db,
                             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 110000)"
                             " INSERT INTO events SELECT i, 4000000000000, 'x', 'x', '', '', '', '' FROM n",
                             &e),
                     0);
    store->at.last_event = store->next.last_event = 110000;
    ck_assert_int_eq(writer_start(&writer, store, events, &o, &e), 0);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "n%d", i);
        ck_assert_int_eq(add(name), 0);
    }
    writer_stop(writer);
    ck_assert_int_eq(db_read_int(&store->db, "SELECT count(*) FROM events", &n, &e), 0);
    ck_assert_int_le(n, 100500);
    ck_assert_int_ge(n, 100000);
    ck_assert_int_eq(writer_start(&writer, store, events, &o, &e), 0);
}
END_TEST

/* ---- adoption ------------------------------------------------------------------------------------------------------
 */
static struct { /* what whoever is woken by a publication finds */
    _Atomic uint64_t epoch, start_revision;
    _Atomic bool recovering;
} told;

static void on_publish(void *arg)
{
    (void)arg;
    told.epoch = writer_epoch(writer);
    told.start_revision = writer_start_revision(writer);
    told.recovering = writer_recovering(writer, NULL);
}

static int fall_behind(struct command *c, struct change *ch, struct err *err)
{
    (void)c;
    writer_set_recovering(ch->writer, 7, 30);
    return store_set_recovering(ch->store, 7, err);
}

static int raise_epoch(struct command *c, struct change *ch, struct err *err)
{
    (void)c;
    ch->model->revision = writer_known_revision(ch->writer) + 1;
    ck_assert_int_eq(store_next_epoch(ch->store), store_epoch(ch->store));
    if (store_raise_epoch(ch->store, 7, err) < 0)
        return -1;
    ck_assert_int_eq(store_next_epoch(ch->store), 8); /* for whoever comes in the same batch */
    return 0;
}

static int adopt_in_vain(struct command *c, struct change *ch, struct err *err)
{
    ck_assert_int_eq(raise_epoch(c, ch, err), 0);
    ch->model->recovering = false;
    return err_set(err, ERR_CONFLICT, "not yet");
}

static _Atomic bool goes_on;

static int stand_still(struct command *c, struct change *ch, struct err *err)
{
    (void)c;
    (void)ch;
    (void)err;
    while (!goes_on)
        sched_yield();
    return 0;
}

START_TEST(whoever_is_woken_by_an_adoption_finds_its_epoch)
{
    uint64_t epoch = writer_epoch(writer);
    writer_on_publish(writer, on_publish, NULL);
    ck_assert_int_eq(submit(fall_behind, NULL, true), 0);
    ck_assert(told.recovering && told.epoch == epoch);
    ck_assert_int_lt(add("n1"), 0);
    ck_assert_int_lt(submit(adopt_in_vain, NULL, true), 0);
    ck_assert(told.recovering && told.epoch == epoch);
    ck_assert_int_eq(submit(raise_epoch, NULL, true), 0);
    ck_assert(!told.recovering);
    ck_assert_uint_eq(told.epoch, 8);
    ck_assert_uint_eq(told.start_revision, 31);
    ck_assert_int_eq(add("n1"), 0);
}
END_TEST

START_TEST(an_adoption_that_fails_lets_nobody_through)
{
    struct add first, second, third;
    ck_assert_int_eq(submit(fall_behind, NULL, true), 0);
    begin(&first, stand_still, NULL, true);
    begin(&second, adopt_in_vain, NULL, true);
    begin(&third, apply_add, "n1", false); /* in one batch with it */
    goes_on = true;
    ck_assert_int_eq(outcome(&first), 0);
    ck_assert_int_lt(outcome(&second), 0);
    ck_assert_int_lt(outcome(&third), 0);
    ck_assert(!published("n1"));
}
END_TEST

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = { bytes, RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(what_cannot_be_committed_is_seen_by_nobody)
{
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(add("n1"), 0);
    ck_assert(published("n1"));
    limit_files(1);
    int rc = add("n2");
    bool seen = published("n2");
    limit_files(RLIM_INFINITY);
    ck_assert_int_eq(rc, -1);
    ck_assert(!seen);
    ck_assert_int_eq(add("n3"), 0); /* it recovers by itself */
    ck_assert(published("n3") && !published("n2"));
}
END_TEST

/* Nobody changes anything: heartbeats alone are no commit. */
START_TEST(it_finds_out_by_itself_that_the_disk_has_room_again)
{
    signal(SIGXFSZ, SIG_IGN);
    writer_stop(writer);
    start(0.01);
    limit_files(1);
    int rc = add("n1");
    int64_t end = time_monotonic_ms() + 500; /* looked at meanwhile, and still full */
    while (writer_read_only(writer) && time_monotonic_ms() < end)
        sched_yield();
    bool said = writer_read_only(writer);
    limit_files(RLIM_INFINITY);
    ck_assert_int_eq(rc, -1);
    ck_assert(said);
    end = time_monotonic_ms() + 20000;
    while (writer_read_only(writer) && time_monotonic_ms() < end)
        sched_yield();
    ck_assert(!writer_read_only(writer));
    uint64_t revision = writer_published_revision(writer);
    ck_assert_int_eq(add("n2"), 0);
    ck_assert_uint_eq(writer_published_revision(writer), revision + 1);
}
END_TEST

static int apply_ready(struct command *c, struct change *ch, struct err *err)
{
    uint32_t at;
    if (model_add_node(ch->model, ((struct add *)c)->name, &at, err) < 0)
        return -1;
    model_touch_node(ch->model, at)->last_seen_ms = ch->model->now_ms;
    model_set_node_state(ch->model, at, NODE_READY, "");
    return 0;
}

static char away[112];

static int apply_lose_file(struct command *c, struct change *ch, struct err *err)
{
    (void)c;
    db_close(&ch->store->db);
    ck_assert_int_eq(rename(path, away), 0);
    return err_set(err, ERR_STORAGE, "the file is away");
}

static enum node_state state_of(const char *name)
{
    const struct model *m = writer_read_lock(writer);
    enum node_state state = model_node(m, model_find_node(m, name))->state;
    writer_read_unlock(writer);
    return state;
}

/* No batch can begin, so no report was taken: that is no silence of the nodes. */
START_TEST(nodes_are_not_lost_for_the_time_in_which_nothing_could_be_written)
{
    writer_stop(writer);
    start(0.2); /* unreachable after 2 s */
    snprintf(away, sizeof away, "%s.away", path);
    ck_assert_int_eq(submit(apply_ready, "n1", false), 0);
    ck_assert_int_eq(state_of("n1"), NODE_READY);
    ck_assert_int_eq(submit(apply_lose_file, "", false), -1);
    int64_t end = time_monotonic_ms() + 2500;
    while (time_monotonic_ms() < end)
        ck_assert_int_eq(add("n2"), -1);
    ck_assert(writer_read_only(writer)); /* and it is said */
    ck_assert_int_eq(rename(away, path), 0);
    ck_assert_int_eq(add("n2"), 0);
    ck_assert_int_eq(state_of("n1"), NODE_READY);
    ck_assert(!writer_read_only(writer));
}
END_TEST

START_TEST(a_commit_waits_for_the_disk)
{
    int64_t mode;
    writer_stop(writer);
    writer = NULL;
    ck_assert_int_eq(db_read_int(&store->db, "PRAGMA synchronous", &mode, &e), 0);
    ck_assert_int_ge(mode, 2); /* FULL: what is acknowledged survives a power cut */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("writer");
    TCase *t = tcase_create("commit");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, old_events_go_under_load_too);
    tcase_add_test(t, whoever_is_woken_by_an_adoption_finds_its_epoch);
    tcase_add_test(t, an_adoption_that_fails_lets_nobody_through);
    tcase_add_test(t, what_cannot_be_committed_is_seen_by_nobody);
    tcase_add_test(t, it_finds_out_by_itself_that_the_disk_has_room_again);
    tcase_add_test(t, nodes_are_not_lost_for_the_time_in_which_nothing_could_be_written);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_commit_waits_for_the_disk);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
