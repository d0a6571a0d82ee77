/* store.c - the database file and its transactions: lock, opening, migration, epoch, batches, recovery, pruning.
 *
 * A batch is one transaction (BEGIN IMMEDIATE .. COMMIT) and each request in it a savepoint.  What the batch learned
 * (revision, last event, raised epoch) becomes ours only once COMMIT succeeded. */
#include "store.h"

#include "log.h"
#include "store_columns.h"
#include "store_internal.h"
#include "units.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS_KEPT 100000
#define ENDED_KEPT 20000
#define AUDIT_KEPT 100000
#define KEYS_KEPT 50000
#define EPOCHS_KEPT 10000
#define PRUNE_ROWS 500  /* looked at, at least */
#define PRUNE_AFTER 250 /* events written */
#define DAY_MS (INT64_C(24) * 3600 * 1000)

/* ---- opening ------------------------------------------------------------------------------------------------------
 */
/* The file exists afterwards; s->path is its real one, so that two names of it share one lock and one log. */
static int take_files(struct store *s, const char *path, struct err *e)
{
    if (store_make_file(path, e) < 0)
        return -1;
    s->path = realpath(path, NULL);
    if (!s->path)
        return err_errno(e, ERR_STORAGE, "cannot resolve %s", path);
    if (store_lock(s->path, &s->lock_fd, e) < 0)
        return -1;
    s->file_fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->file_fd < 0)
        return err_errno(e, ERR_STORAGE, "cannot open the database %s", s->path);
    return store_refuse_foreign_log(s->path, s->file_fd, e);
}

/* '*version' is 0 for a new file. */
static int read_version(struct store *s, int64_t *version, struct err *e)
{
    int64_t application, objects;
    if (db_read_int(&s->db, "PRAGMA user_version", version, e) < 0 ||
        db_read_int(&s->db, "PRAGMA application_id", &application, e) < 0 ||
        db_read_int(&s->db, "SELECT count(*) FROM sqlite_schema", &objects, e) < 0)
        return -1;
    if (application != DB_APPLICATION_ID && (application || *version || objects))
        return err_set(e, ERR_STORAGE, "%s is not a database of memlaned", s->path);
    if (*version > store_n_migrations)
        return err_set(e, ERR_STORAGE, "the database %s has version %" PRId64 ", this memlaned knows up to %d", s->path,
                       *version, store_n_migrations);
    if (*version < 0 || (application == DB_APPLICATION_ID && *version == 0))
        return err_set(e, ERR_STORAGE, "the database %s is damaged: its version is %" PRId64, s->path, *version);
    return 0;
}

static uint64_t state_sum(const struct store_state *st)
{
    uint64_t sum = sum_text(sum_u64(SUM_START, st->epoch), st->instance);
    sum = sum_u64(sum_u64(sum, st->revision), st->last_event);
    sum = sum_u64(sum_u64(sum_u64(sum, st->topology_version), st->next_circuit), st->recovering);
    return sum ? sum : 1;
}

int store_read_state(struct db *d, const char *path, struct store_state *out, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = db_query(d, e,
                                  "SELECT epoch, instance, revision, last_event, topology_version, next_circuit,"
                                  " recovering, sum FROM store",
                                  "");
    struct store_state st = { 0 };
    int rc = stmt ? db_step(d, stmt, e) : -1;
    if (rc == 0)
        return err_set(e, ERR_STORAGE, "the database %s is damaged: its state is missing", path);
    if (rc < 0 || db_text(stmt, 1, st.instance, sizeof st.instance, e) < 0)
        return -1;
    st.epoch = (uint64_t)sqlite3_column_int64(stmt, 0);
    st.revision = (uint64_t)sqlite3_column_int64(stmt, 2);
    st.last_event = (uint64_t)sqlite3_column_int64(stmt, 3);
    st.topology_version = (uint64_t)sqlite3_column_int64(stmt, 4);
    st.next_circuit = (uint64_t)sqlite3_column_int64(stmt, 5);
    st.recovering = (uint64_t)sqlite3_column_int64(stmt, 6);
    uint64_t sum = (uint64_t)sqlite3_column_int64(stmt, 7);
    if (sum && sum != state_sum(&st))
        return err_set(e, ERR_STORAGE, "the database %s is damaged: its state is not what was written", path);
    *out = st;
    return 0;
}

int store_write_state(struct db *d, const struct store_state *st, struct err *e)
{
    return db_run(d, e,
                  "UPDATE store SET epoch = ?1, instance = ?2, revision = ?3, last_event = ?4, topology_version = ?5,"
                  " next_circuit = ?6, recovering = ?7, sum = ?8",
                  "itiiiiii", (int64_t)st->epoch, st->instance, (int64_t)st->revision, (int64_t)st->last_event,
                  (int64_t)st->topology_version, (int64_t)st->next_circuit, (int64_t)st->recovering,
                  (int64_t)state_sum(st));
}

/* ---- migrations ---------------------------------------------------------------------------------------------------
 */
#define FIRST_WITH_SUMS 3

/* A new column is part of its row's sum, so all sums are made anew; what they said before is checked before that. */
static int sum_again(struct store *s, int version, struct err *e)
{
    struct store_state st;
    if (version < FIRST_WITH_SUMS)
        version = 0; /* there are none */
    return store_sum_again(s, version, e) < 0 || store_read_state(&s->db, s->path, &st, e) < 0
               ? -1
               : store_write_state(&s->db, &st, e);
}

static int apply_migrations(struct store *s, int version, struct err *e)
{
    char mark[96];
    for (int number = version + 1; number <= store_n_migrations; number++)
        if (db_exec(&s->db, store_migrations[number - 1].sql, e) < 0)
            return -1;
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%d", DB_APPLICATION_ID,
             store_n_migrations);
    return sum_again(s, version, e) < 0 ? -1 : db_exec(&s->db, mark, e);
}

/* All that are missing, or none. */
static int migrate(struct store *s, int64_t version, struct err *e)
{
    if (version == store_n_migrations)
        return 0;
    if (db_exec(&s->db, "BEGIN IMMEDIATE", e) < 0)
        return -1;
    if (apply_migrations(s, (int)version, e) < 0 || db_exec(&s->db, "COMMIT", e) < 0)
        return -1; /* the connection is closed, and with it the transaction */
    log_info("store.migrated", "from=%" PRId64 " to=%s", version, store_migrations[store_n_migrations - 1].name);
    return 0;
}

/* ---- epochs -------------------------------------------------------------------------------------------------------
 */
static int new_instance(char out[ID_SIZE], struct err *e)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_errno(e, ERR_INTERNAL, "getrandom");
    for (unsigned i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* A backup that was put in a database's place: what happened since it was made is not in it. */
static int note_restored(struct store *s, struct store_state *st, struct err *e)
{
    int64_t n = 0;
    if (db_read_int(&s->db, "SELECT count(*) FROM backup", &n, e) < 0)
        return -1;
    if (n == 0)
        return 0;
    log_warn("store.restored", "path=%s revision=%" PRIu64 ": a backup; nothing changes until an operator adopts",
             s->path, st->revision);
    if (st->recovering < st->epoch)
        st->recovering = st->epoch;
    return db_run(&s->db, e, "DELETE FROM backup", "");
}

static int note_epoch(struct store *s, const struct store_state *st, struct err *e)
{
    return db_run(&s->db, e, "INSERT OR REPLACE INTO epochs VALUES (?1, ?2, ?3)", "iti", (int64_t)st->epoch,
                  st->instance, (int64_t)st->revision);
}

int store_knows(struct store *s, uint64_t epoch, const char *instance, uint64_t revision, bool *known, struct err *e)
{
    char ours[ID_SIZE];
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = db_query(&s->db, e,
                                  "SELECT instance, coalesce((SELECT first_revision FROM epochs WHERE epoch > ?1"
                                  " ORDER BY epoch LIMIT 1), -1) FROM epochs WHERE epoch = ?1",
                                  "i", (int64_t)epoch);
    int rc = stmt ? db_step(&s->db, stmt, e) : -1;
    if (rc < 0 || (rc == 1 && db_text(stmt, 0, ours, sizeof ours, e) < 0))
        return -1;
    int64_t end = rc == 1 ? sqlite3_column_int64(stmt, 1) : -1;
    *known = rc == 0 || ((!instance[0] || !strcmp(instance, ours)) && (end < 0 || revision <= (uint64_t)end));
    return 0;
}

/* A new epoch and instance, in one transaction with what the start found out. */
static int start_epoch(struct store *s, struct err *e)
{
    struct store_state st;
    if (db_run(&s->db, e, "BEGIN IMMEDIATE", "") < 0)
        return -1;
    if (store_read_state(&s->db, s->path, &st, e) < 0 || note_restored(s, &st, e) < 0 ||
        new_instance(st.instance, e) < 0)
        return -1; /* the connection is closed, and with it the transaction */
    st.epoch++;
    if (store_write_state(&s->db, &st, e) < 0 || note_epoch(s, &st, e) < 0 || db_run(&s->db, e, "COMMIT", "") < 0)
        return -1;
    s->at = st;
    s->start_revision = st.revision;
    return 0;
}

static void store_freep(struct store **s)
{
    store_close(*s);
}

int store_open(struct store **out, const char *path, struct err *e)
{
    CLEANUP(store_freep) struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    s->lock_fd = s->file_fd = -1;
    int64_t version;
    if (take_files(s, path, e) < 0 || row_sql_new(&s->row_sql, e) < 0 || db_open(&s->db, s->path, DB_WRITER, e) < 0 ||
        read_version(s, &version, e) < 0 || db_check(&s->db, s->path, e) < 0 || migrate(s, version, e) < 0 ||
        start_epoch(s, e) < 0)
        return -1;
    log_info("store.open", "path=%s epoch=%" PRIu64 " revision=%" PRIu64, s->path, s->at.epoch, s->at.revision);
    *out = TAKE(s);
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->in_batch)
        store_rollback(s);
    db_close(&s->db);
    row_sql_free(s->row_sql);
    if (s->file_fd >= 0)
        close(s->file_fd); /* after all connections: see reopen() */
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    free(s);
}

uint64_t store_epoch(const struct store *s)
{
    return s->at.epoch;
}

uint64_t store_next_epoch(const struct store *s)
{
    return s->next.epoch;
}

const char *store_instance(const struct store *s)
{
    return s->at.instance;
}

uint64_t store_revision(const struct store *s)
{
    return s->at.revision;
}

uint64_t store_last_event(const struct store *s)
{
    return s->at.last_event;
}

uint64_t store_recovering(const struct store *s)
{
    return s->at.recovering;
}

bool store_is_ahead(const struct store *s)
{
    return s->is_ahead;
}

uint64_t store_start_revision(const struct store *s)
{
    return s->start_revision;
}

int store_set_recovering(struct store *s, uint64_t known, struct err *e)
{
    if (store_in_batch(s, e) < 0)
        return -1;
    if (known > s->next.recovering)
        s->next.recovering = known;
    s->state_changed = true;
    return 0;
}

int store_raise_epoch(struct store *s, uint64_t known, struct err *e)
{
    if (store_in_batch(s, e) < 0)
        return -1;
    uint64_t epoch = (known > s->next.epoch ? known : s->next.epoch) + 1;
    if (epoch > WIRE_NUMBER_MAX)
        return err_set(e, ERR_CONFLICT, "no epoch is left above %" PRIu64 ", which an agent claimed to know", known);
    s->next.epoch = epoch;
    s->next.recovering = 0;
    s->state_changed = true;
    /* Nobody who comes later, and knows what was adopted over, starts it all again. */
    return db_run(&s->db, e, "DELETE FROM epochs", "") < 0 ? -1 : note_epoch(s, &s->next, e);
}

/* ---- batches ------------------------------------------------------------------------------------------------------
 */
int store_in_batch(struct store *s, struct err *e)
{
    assert(s->in_batch);
    if (!s->db.handle || sqlite3_get_autocommit(s->db.handle))
        return err_set(e, ERR_STORAGE, "the database gave up the transaction");
    return 0;
}

static int reopen_later(struct store *s, struct err *e);

int store_begin(struct store *s, struct err *e)
{
    assert(!s->in_batch);
    if (!s->db.handle && reopen_later(s, e) < 0)
        return -1;
    if (db_run(&s->db, e, "BEGIN IMMEDIATE", "") < 0) {
        store_rollback(s); /* it may have begun, and have run out of memory then */
        return -1;
    }
    s->in_batch = true;
    s->next = s->at;
    s->state_changed = false;
    s->changes_before = sqlite3_total_changes64(s->db.handle);
    return 0;
}

bool store_has_changes(const struct store *s)
{
    return s->in_batch &&
           (s->state_changed || (s->db.handle && sqlite3_total_changes64(s->db.handle) != s->changes_before));
}

int store_savepoint(struct store *s, struct err *e)
{
    s->request = s->next;
    return store_in_batch(s, e) < 0 ? -1 : db_run(&s->db, e, "SAVEPOINT request", "");
}

int store_keep(struct store *s, struct err *e)
{
    return store_in_batch(s, e) < 0 ? -1 : db_run(&s->db, e, "RELEASE request", "");
}

void store_undo(struct store *s)
{
    struct err e;
    s->next = s->request;
    if (store_in_batch(s, &e) < 0 || db_run(&s->db, &e, "ROLLBACK TO request", "") < 0 ||
        db_run(&s->db, &e, "RELEASE request", "") < 0)
        log_warn("store.undo", "%s", e.detail); /* the commit of the batch will fail too */
}

static int write_events(struct store *s, struct model *m, struct err *e)
{
    for (size_t i = 0; i < m->n_events; i++) {
        struct model_event *ev = &m->events[i];
        ev->id = s->at.last_event + 1 + i;
        if (db_run(&s->db, e, "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", "iitttttt", (int64_t)ev->id,
                   ev->at_ms, ev->type, ev->object, ev->from, ev->to, ev->reason, ev->actor) < 0)
            return -1;
    }
    return 0;
}

static int write_all(struct store *s, struct model *m, struct err *e)
{
    s->next.revision = m->revision;
    s->next.last_event = s->at.last_event + m->n_events;
    s->next.topology_version = m->topology_version;
    s->next.next_circuit = m->next_circuit;
    if (store_in_batch(s, e) < 0 || store_write_rows(s, m, e) < 0 || write_events(s, m, e) < 0 ||
        store_write_state(&s->db, &s->next, e) < 0)
        return -1;
    return db_run(&s->db, e, "COMMIT", "");
}

int store_commit(struct store *s, struct model *m, struct err *e)
{
    if (write_all(s, m, e) < 0) {
        store_rollback(s);
        return -1;
    }
    s->in_batch = false;
    s->at = s->next;
    return 0;
}

void store_rollback(struct store *s)
{
    struct err e;
    s->in_batch = false;
    if (s->db.handle && !sqlite3_get_autocommit(s->db.handle) && db_run(&s->db, &e, "ROLLBACK", "") < 0) {
        log_warn("store.rollback", "%s", e.detail);
        if (!sqlite3_get_autocommit(s->db.handle))
            db_close(&s->db); /* which ends it for certain; the next batch opens the database again */
    }
}

/* A file that somebody put there meanwhile is not ours, whatever its revision: a new start sees what it is. */
static int is_anothers(struct store *s, struct err *e)
{
    s->is_ahead = true;
    return err_set(e, ERR_STORAGE, "another database is in the place of %s", s->path);
}

/* Whether the file that we opened is still there, and its log its own.  Without open() and close(): by POSIX, whoever
 * closes a file loses all locks of the process on it, and SQLite's are what keeps others from removing the log. */
static int look_at_files(struct store *s, struct err *e)
{
    struct stat there, ours;
    if (stat(s->path, &there) < 0 || fstat(s->file_fd, &ours) < 0)
        return err_errno(e, ERR_STORAGE, "cannot open the database %s", s->path);
    if (there.st_dev != ours.st_dev || there.st_ino != ours.st_ino)
        return is_anothers(s, e);
    return store_refuse_foreign_log(s->path, s->file_fd, e);
}

/* Opens the file again and reads where it stands; closed when that fails. */
static int reopen(struct store *s, struct store_state *out, struct err *e)
{
    db_close(&s->db);
    if (look_at_files(s, e) < 0 || db_open(&s->db, s->path, DB_WRITER, e) < 0)
        return -1;
    int rc = store_read_state(&s->db, s->path, out, e);
    if (rc == 0 && !strcmp(out->instance, s->at.instance))
        return 0;
    db_close(&s->db);
    return rc < 0 ? -1 : is_anothers(s, e);
}

/* The disk failed so badly that not even the outcome of a commit could be read: it counts as failed.  Should it be in
 * the file after all, then only a new start can bring the program and its database together again. */
static int reopen_later(struct store *s, struct err *e)
{
    struct store_state st;
    if (reopen(s, &st, e) < 0)
        return -1;
    if (st.revision == s->at.revision)
        return 0;
    db_close(&s->db);
    s->is_ahead = true;
    return err_set(e, ERR_STORAGE, "the database has commit %" PRIu64 ", which was reported as failed", st.revision);
}

int store_recover(struct store *s, uint64_t revision, bool *committed, struct err *e)
{
    struct store_state st;
    store_rollback(s);
    if (reopen(s, &st, e) < 0)
        return -1;
    *committed = st.revision >= revision;
    s->at = st;
    /* Makes what the failed commit left in the log either durable or overwritten. */
    struct err failed;
    if (store_write_state(&s->db, &st, &failed) < 0 ||
        (*committed && db_exec(&s->db, "PRAGMA wal_checkpoint(PASSIVE)", &failed) < 0))
        log_warn("store.recover", "%s", failed.detail);
    return 0;
}

/* ---- pruning ------------------------------------------------------------------------------------------------------
 */
/* What is kept by count and by age.  A row is old when it and all before it are ("latest" runs along): where the clock
 * was set back for a while, what was written then looks old, and is not.  An ended attachment stays as long as an event
 * of it.  Looks at the oldest 'n' rows only, so that it costs the writer no more than the commits that wrote as many.
 */
static int prune_rows(struct store *s, int64_t wall_ms, int64_t n, struct err *e)
{
    struct db *d = &s->db;
    if (db_run(d, e,
               "DELETE FROM events WHERE id IN"
               " (SELECT id FROM (SELECT id, max(at_ms) OVER (ORDER BY id) AS latest FROM"
               " (SELECT id, at_ms FROM events ORDER BY id LIMIT ?3))"
               " WHERE id <= ?1 OR latest < ?2)",
               "iii", (int64_t)s->at.last_event - EVENTS_KEPT, wall_ms - 90 * DAY_MS, n) < 0)
        return -1;
    s->prune_left = sqlite3_changes64(d->handle) >= n;
    if (db_run(d, e,
               "DELETE FROM ended_attachments WHERE seq IN"
               " (SELECT seq FROM (SELECT seq, id, ended_ms FROM ended_attachments ORDER BY seq LIMIT ?3) x"
               " WHERE seq <= (SELECT max(seq) FROM ended_attachments) - ?1 OR (ended_ms < ?2"
               " AND NOT EXISTS (SELECT 1 FROM events WHERE object = 'attachment/' || x.id)))",
               "iii", (int64_t)ENDED_KEPT, wall_ms - 90 * DAY_MS, n) < 0)
        return -1;
    if (db_run(d, e,
               "DELETE FROM audit WHERE id IN"
               " (SELECT id FROM (SELECT id, max(at_ms) OVER (ORDER BY id) AS latest FROM"
               " (SELECT id, at_ms FROM audit ORDER BY id LIMIT ?3))"
               " WHERE id <= (SELECT max(id) FROM audit) - ?1 OR latest < ?2)",
               "iii", (int64_t)AUDIT_KEPT, wall_ms - 365 * DAY_MS, n) < 0)
        return -1;
    if (db_run(d, e,
               "DELETE FROM idempotency WHERE seq IN"
               " (SELECT seq FROM"
               " (SELECT seq, max(created_ms) OVER (ORDER BY seq) AS latest FROM"
               " (SELECT seq, created_ms FROM idempotency ORDER BY seq LIMIT ?3))"
               " WHERE seq <= (SELECT max(seq) FROM idempotency) - ?1 OR latest < ?2)",
               "iii", (int64_t)KEYS_KEPT, wall_ms - DAY_MS, n) < 0)
        return -1;
    return db_run(d, e, "DELETE FROM epochs WHERE epoch <= ?1", "i", (int64_t)s->at.epoch - EPOCHS_KEPT);
}

int store_prune(struct store *s, int64_t wall_ms, struct err *e)
{
    if (store_begin(s, e) < 0)
        return -1;
    uint64_t written = s->pruned_event ? s->at.last_event - s->pruned_event : 0; /* 0: just started */
    int64_t n = PRUNE_ROWS + 2 * (int64_t)written;
    if (prune_rows(s, wall_ms, n, e) < 0 || db_run(&s->db, e, "COMMIT", "") < 0) {
        store_rollback(s);
        return -1;
    }
    s->in_batch = false;
    s->pruned_event = s->at.last_event;
    return 0;
}

int store_probe(struct store *s, struct err *e)
{
    if (store_begin(s, e) < 0)
        return -1;
    if (store_write_state(&s->db, &s->at, e) < 0 || db_run(&s->db, e, "COMMIT", "") < 0) {
        store_rollback(s);
        return -1;
    }
    s->in_batch = false;
    return 0;
}

bool store_prune_due(const struct store *s)
{
    return s->prune_left || s->at.last_event - s->pruned_event >= PRUNE_AFTER;
}
