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
#define DAY_MS (INT64_C(24) * 3600 * 1000)

/* ---- opening ------------------------------------------------------------------------------------------------------
 */
/* The file exists afterwards, readable by us alone; '*out' is its real path, so that two names of it share one lock. */
static int make_file(const char *path, char **out, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORAGE, "cannot open the database %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_STORAGE, "the database %s is not a file", path);
    *out = realpath(path, NULL);
    return *out ? 0 : err_errno(e, ERR_STORAGE, "cannot resolve %s", path);
}

static int take_lock(struct store *s, struct err *e)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s.lock", s->path) >= (int)sizeof name)
        return err_set(e, ERR_STORAGE, "the path of the database is too long");
    s->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_errno(e, ERR_STORAGE, "cannot open %s", name);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(e, ERR_BUSY, "the database %s is in use by another orchestrator", s->path);
    return err_errno(e, ERR_STORAGE, "cannot lock %s", name);
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

static int apply_migration(struct db *d, int number, struct err *e)
{
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", DB_APPLICATION_ID, number);
    if (db_exec(d, "BEGIN IMMEDIATE", e) == 0 && db_exec(d, store_migrations[number - 1].sql, e) == 0 &&
        db_exec(d, mark, e) == 0)
        return 0;
    struct err ignored;
    if (!sqlite3_get_autocommit(d->handle) && db_exec(d, "ROLLBACK", &ignored) < 0)
        log_warn("store.rollback", "%s", ignored.detail);
    return -1;
}

static int migrate(struct store *s, int64_t version, struct err *e)
{
    for (int number = (int)version + 1; number <= store_n_migrations; number++) {
        if (apply_migration(&s->db, number, e) < 0)
            return -1;
        log_info("store.migrated", "to=%s", store_migrations[number - 1].name);
    }
    return 0;
}

struct state { /* where the file stands */
    uint64_t epoch, revision, last_event;
};

static int read_state(struct store *s, struct state *out, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = db_query(&s->db, e, "SELECT epoch, revision, last_event FROM store", "");
    int rc = stmt ? db_step(&s->db, stmt, e) : -1;
    if (rc == 0)
        return err_set(e, ERR_STORAGE, "the database %s is damaged: its state is missing", s->path);
    if (rc < 0)
        return -1;
    out->epoch = (uint64_t)sqlite3_column_int64(stmt, 0);
    out->revision = (uint64_t)sqlite3_column_int64(stmt, 1);
    out->last_event = (uint64_t)sqlite3_column_int64(stmt, 2);
    return 0;
}

static int new_instance(char out[ID_SIZE], struct err *e)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_errno(e, ERR_INTERNAL, "getrandom");
    for (unsigned i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static int start_epoch(struct store *s, struct err *e)
{
    struct state st;
    if (read_state(s, &st, e) < 0 || new_instance(s->instance, e) < 0)
        return -1;
    s->epoch = st.epoch + 1;
    s->revision = st.revision;
    s->last_event = st.last_event;
    return db_run(&s->db, e, "UPDATE store SET epoch = ?1, instance = ?2", "it", (int64_t)s->epoch, s->instance);
}

static void store_freep(struct store **s)
{
    store_close(*s);
}

int store_open(struct store **out, const char *path, struct err *e)
{
    CLEANUP(store_freep) struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_INTERNAL, "out of memory");
    s->lock_fd = -1;
    int64_t version;
    if (make_file(path, &s->path, e) < 0 || take_lock(s, e) < 0 || row_sql_new(&s->row_sql, e) < 0 ||
        db_open(&s->db, s->path, DB_WRITER, e) < 0 || read_version(s, &version, e) < 0 ||
        db_check(&s->db, s->path, e) < 0 || migrate(s, version, e) < 0 || start_epoch(s, e) < 0)
        return -1;
    log_info("store.open", "path=%s epoch=%" PRIu64 " revision=%" PRIu64, s->path, s->epoch, s->revision);
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
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    free(s);
}

uint64_t store_epoch(const struct store *s)
{
    return s->epoch;
}

const char *store_instance(const struct store *s)
{
    return s->instance;
}

uint64_t store_revision(const struct store *s)
{
    return s->revision;
}

uint64_t store_last_event(const struct store *s)
{
    return s->last_event;
}

int store_raise_epoch(struct store *s, uint64_t known, struct err *e)
{
    uint64_t epoch = (known > s->epoch ? known : s->epoch) + 1;
    if (epoch > INT64_MAX)
        return err_set(e, ERR_FIELD_INVALID, "no epoch is left above %" PRIu64, known);
    if (s->in_batch && store_in_batch(s, e) < 0)
        return -1;
    if (db_run(&s->db, e, "UPDATE store SET epoch = ?1", "i", (int64_t)epoch) < 0)
        return -1;
    if (s->in_batch) {
        s->raised_epoch = epoch;
        s->raised_in_request = true;
    } else {
        s->epoch = epoch;
    }
    return 0;
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
    if (db_run(&s->db, e, "BEGIN IMMEDIATE", "") < 0)
        return -1;
    s->in_batch = true;
    s->raised_epoch = 0;
    s->changes_before = sqlite3_total_changes64(s->db.handle);
    return 0;
}

bool store_has_changes(const struct store *s)
{
    return s->in_batch && s->db.handle && sqlite3_total_changes64(s->db.handle) != s->changes_before;
}

int store_savepoint(struct store *s, struct err *e)
{
    s->raised_in_request = false;
    return store_in_batch(s, e) < 0 ? -1 : db_run(&s->db, e, "SAVEPOINT request", "");
}

int store_keep(struct store *s, struct err *e)
{
    return store_in_batch(s, e) < 0 ? -1 : db_run(&s->db, e, "RELEASE request", "");
}

void store_undo(struct store *s)
{
    struct err e;
    if (s->raised_in_request)
        s->raised_epoch = 0;
    if (store_in_batch(s, &e) < 0 || db_run(&s->db, &e, "ROLLBACK TO request", "") < 0 ||
        db_run(&s->db, &e, "RELEASE request", "") < 0)
        log_warn("store.undo", "%s", e.detail); /* the commit of the batch will fail too */
}

static int write_events(struct store *s, struct model *m, struct err *e)
{
    for (size_t i = 0; i < m->n_events; i++) {
        struct model_event *ev = &m->events[i];
        ev->id = s->last_event + 1 + i;
        if (db_run(&s->db, e, "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", "iitttttt", (int64_t)ev->id,
                   ev->at_ms, ev->type, ev->object, ev->from, ev->to, ev->reason, ev->actor) < 0)
            return -1;
    }
    return 0;
}

static int write_all(struct store *s, struct model *m, struct err *e)
{
    static const char state[] =
        "UPDATE store SET revision = ?1, last_event = ?2, topology_version = ?3, next_circuit = ?4";
    if (store_in_batch(s, e) < 0 || store_write_rows(s, m, e) < 0 || write_events(s, m, e) < 0 ||
        db_run(&s->db, e, state, "iiii", (int64_t)m->revision, (int64_t)(s->last_event + m->n_events),
               (int64_t)m->topology_version, (int64_t)m->next_circuit) < 0)
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
    s->revision = m->revision;
    s->last_event += m->n_events;
    if (s->raised_epoch)
        s->epoch = s->raised_epoch;
    s->raised_epoch = 0;
    return 0;
}

void store_rollback(struct store *s)
{
    struct err e;
    s->in_batch = false;
    s->raised_epoch = 0;
    if (s->db.handle && !sqlite3_get_autocommit(s->db.handle) && db_run(&s->db, &e, "ROLLBACK", "") < 0)
        log_warn("store.rollback", "%s", e.detail);
}

/* Opens the file again and reads where it stands; closed when that fails. */
static int reopen(struct store *s, struct state *out, struct err *e)
{
    db_close(&s->db);
    if (db_open(&s->db, s->path, DB_WRITER, e) < 0)
        return -1;
    if (read_state(s, out, e) == 0)
        return 0;
    db_close(&s->db);
    return -1;
}

/* The disk failed so badly that not even the outcome of a commit could be read: it counts as failed.  Should it be in
 * the file after all, then only a new start can bring the program and its database together again. */
static int reopen_later(struct store *s, struct err *e)
{
    struct state st;
    if (reopen(s, &st, e) < 0)
        return -1;
    if (st.revision == s->revision)
        return 0;
    db_close(&s->db);
    return err_set(e, ERR_STORAGE, "the database has commit %" PRIu64 ", which was reported as failed", st.revision);
}

int store_recover(struct store *s, uint64_t revision, bool *committed, struct err *e)
{
    struct state st;
    store_rollback(s);
    if (reopen(s, &st, e) < 0)
        return -1;
    *committed = st.revision >= revision;
    s->revision = st.revision;
    s->last_event = st.last_event;
    if (st.epoch > s->epoch)
        s->epoch = st.epoch;
    /* Makes what the failed commit left in the log either durable or overwritten. */
    struct err failed;
    if (db_run(&s->db, &failed, "UPDATE store SET epoch = ?1", "i", (int64_t)s->epoch) < 0 ||
        (*committed && db_exec(&s->db, "PRAGMA wal_checkpoint(PASSIVE)", &failed) < 0))
        log_warn("store.recover", "%s", failed.detail);
    return 0;
}

/* ---- pruning ------------------------------------------------------------------------------------------------------
 */
/* Looks at the oldest few rows only, so that it costs the writer no more than a commit. */
static int prune_rows(struct store *s, int64_t wall_ms, struct err *e)
{
    struct db *d = &s->db;
    if (db_run(d, e,
               "DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id, at_ms FROM events ORDER BY id LIMIT 500)"
               " WHERE id <= ?1 OR at_ms < ?2)",
               "ii", (int64_t)s->last_event - EVENTS_KEPT, wall_ms - 90 * DAY_MS) < 0)
        return -1;
    if (db_run(d, e,
               "DELETE FROM ended_attachments WHERE seq IN"
               " (SELECT seq FROM (SELECT seq, ended_ms FROM ended_attachments ORDER BY seq LIMIT 200)"
               " WHERE seq <= (SELECT max(seq) FROM ended_attachments) - ?1 OR ended_ms < ?2)",
               "ii", (int64_t)ENDED_KEPT, wall_ms - 90 * DAY_MS) < 0)
        return -1;
    if (db_run(d, e,
               "DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at_ms FROM audit ORDER BY id LIMIT 500)"
               " WHERE id <= (SELECT max(id) FROM audit) - ?1 OR at_ms < ?2)",
               "ii", (int64_t)AUDIT_KEPT, wall_ms - 365 * DAY_MS) < 0)
        return -1;
    return db_run(d, e,
                  "DELETE FROM idempotency WHERE seq IN"
                  " (SELECT seq FROM (SELECT seq, created_ms FROM idempotency ORDER BY seq LIMIT 500)"
                  " WHERE seq <= (SELECT max(seq) FROM idempotency) - ?1 OR created_ms < ?2)",
                  "ii", (int64_t)KEYS_KEPT, wall_ms - DAY_MS);
}

int store_prune(struct store *s, int64_t wall_ms, struct err *e)
{
    if (store_begin(s, e) < 0)
        return -1;
    if (prune_rows(s, wall_ms, e) < 0 || db_run(&s->db, e, "COMMIT", "") < 0) {
        store_rollback(s);
        return -1;
    }
    s->in_batch = false;
    return 0;
}
