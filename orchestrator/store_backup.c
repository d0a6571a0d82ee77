/* store_backup.c - a copy of the live database, on connections of its own; the writer goes on meanwhile. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All pages in one step: in WAL that is one snapshot and blocks nobody. */
static int copy_pages(struct db *from, struct db *to, struct err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to->handle, "main", from->handle, "main");
    if (!b)
        return db_error(to, sqlite3_errcode(to->handle), "backup", e);
    int rc = sqlite3_backup_step(b, -1);
    int finished = sqlite3_backup_finish(b);
    if (rc == SQLITE_DONE && finished == SQLITE_OK)
        return 0;
    return db_error(to, rc == SQLITE_DONE ? finished : rc, "backup", e);
}

static void db_closep(struct db *d)
{
    db_close(d);
}

/* What the copy is, inside the copy: who starts from it is told that it is old. */
static int write_manifest(struct db *d, const char *path, int64_t wall_ms, struct err *e)
{
    struct store_state st;
    if (store_read_state(d, path, &st, e) < 0)
        return -1;
    return db_run(d, e, "INSERT OR REPLACE INTO backup VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)", "iitiit", wall_ms,
                  (int64_t)st.epoch, st.instance, (int64_t)st.revision, (int64_t)st.last_event, MEMLANE_VERSION);
}

static int read_manifest(struct db *d, struct backup_manifest *out, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt =
        db_query(d, e, "SELECT made_ms, epoch, revision, last_event, instance, version FROM backup", "");
    int rc = stmt ? db_step(d, stmt, e) : -1;
    if (rc < 0)
        return -1;
    if (rc == 0)
        return 0; /* a plain copy of a database */
    out->made_ms = sqlite3_column_int64(stmt, 0);
    out->epoch = (uint64_t)sqlite3_column_int64(stmt, 1);
    out->revision = (uint64_t)sqlite3_column_int64(stmt, 2);
    out->last_event = (uint64_t)sqlite3_column_int64(stmt, 3);
    if (db_text(stmt, 4, out->instance, sizeof out->instance, e) < 0)
        return -1;
    return db_text(stmt, 5, out->version, sizeof out->version, e);
}

static int copy_and_check(const char *db_path, const char *part, int64_t wall_ms, struct err *e)
{
    CLEANUP(db_closep) struct db from = { 0 };
    CLEANUP(db_closep) struct db to = { 0 };
    if (db_open(&from, db_path, DB_READER, e) < 0)
        return -1;
    int rc = sqlite3_open_v2(part, &to.handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return db_error(&to, rc, "backup", e);
    /* One file, no log beside it. */
    if (copy_pages(&from, &to, e) < 0 || db_exec(&to, "PRAGMA journal_mode=DELETE", e) < 0 ||
        write_manifest(&to, part, wall_ms, e) < 0)
        return -1;
    return db_check(&to, part, e);
}

static int sync_dir_of(const char *path, struct err *e)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir ? 1 : 0] = 0;
    CLEANUP(cleanup_close) int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_errno(e, ERR_STORAGE, "cannot sync the folder of %s", path);
    return 0;
}

int store_backup(const char *db_path, const char *target, int64_t wall_ms, struct err *e)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s.part", target) >= (int)sizeof part)
        return err_set(e, ERR_STORAGE, "the path of the backup is too long");
    CLEANUP(cleanup_close) int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, errno == EEXIST ? ERR_CONFLICT : ERR_STORAGE, "cannot create %s", part);
    int rc = copy_and_check(db_path, part, wall_ms, e);
    if (rc == 0 && fsync(fd) < 0)
        rc = err_errno(e, ERR_STORAGE, "cannot sync %s", part);
    if (rc == 0 && link(part, target) < 0) /* never over a file that is there */
        rc = err_errno(e, errno == EEXIST ? ERR_CONFLICT : ERR_STORAGE, "cannot create %s", target);
    if (unlink(part) < 0 && rc == 0)
        rc = err_errno(e, ERR_STORAGE, "cannot remove %s", part);
    return rc < 0 ? -1 : sync_dir_of(target, e);
}

/* ---- restore ------------------------------------------------------------------------------------------------------
 */
static int copy_file(const char *from, const char *to, struct err *e)
{
    CLEANUP(cleanup_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(e, ERR_STORAGE, "cannot open %s", from);
    CLEANUP(cleanup_close) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, ERR_STORAGE, "cannot create %s", to);
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
        if (n < 0)
            return err_errno(e, ERR_STORAGE, "cannot copy %s", from);
        if (n == 0)
            return fsync(out) < 0 ? err_errno(e, ERR_STORAGE, "cannot sync %s", to) : 0;
    }
}

static void store_freep(struct store **s)
{
    store_close(*s);
}

static void model_freep(struct model **m)
{
    model_free(*m);
}

/* Opened, migrated and loaded as memlaned would, so that a damaged one is refused here; recovering from now on. */
static int open_copy(const char *part, struct err *e)
{
    CLEANUP(store_freep) struct store *s = NULL;
    CLEANUP(model_freep) struct model *m = NULL;
    if (store_open(&s, part, e) < 0 || model_new(&m, e) < 0 || store_load(s, m, e) < 0)
        return -1;
    if (s->at.recovering)
        return 0;
    s->at.recovering = s->at.epoch;
    return store_write_state(&s->db, &s->at, e);
}

static int check_copy(const char *part, struct backup_manifest *out, struct err *e)
{
    CLEANUP(db_closep) struct db d = { 0 };
    int64_t has_manifest = 0;
    memset(out, 0, sizeof *out);
    if (db_open(&d, part, DB_READER, e) < 0 ||
        db_read_int(&d, "SELECT count(*) FROM sqlite_schema WHERE name = 'backup'", &has_manifest, e) < 0 ||
        (has_manifest && read_manifest(&d, out, e) < 0))
        return -1;
    db_close(&d);
    return open_copy(part, e);
}

static void remove_copy(const char *part)
{
    static const char *const tails[] = { "", ".lock", "-wal", "-shm" };
    char name[PATH_MAX + 8];
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        snprintf(name, sizeof name, "%s%s", part, tails[i]);
        unlink(name);
    }
}

int store_restore(const char *backup, const char *db_path, struct backup_manifest *out, struct err *e)
{
    char part[PATH_MAX];
    struct stat st;
    if (snprintf(part, sizeof part, "%s.restore", db_path) >= (int)sizeof part)
        return err_set(e, ERR_STORAGE, "the path of the database is too long");
    if (stat(db_path, &st) == 0)
        return err_set(e, ERR_CONFLICT, "%s is there: move it away first", db_path);
    int rc = copy_file(backup, part, e);
    if (rc == 0)
        rc = check_copy(part, out, e);
    if (rc == 0 && link(part, db_path) < 0)
        rc = err_errno(e, errno == EEXIST ? ERR_CONFLICT : ERR_STORAGE, "cannot create %s", db_path);
    remove_copy(part);
    return rc < 0 ? -1 : sync_dir_of(db_path, e);
}
