/* store_restore.c - a backup in the place of a lost database, for the offline program.
 *
 * The copy is made, checked and marked as "recovering" under another name; only then it gets the database's own.  Power
 * off before that: there is no database, and what is left is removed by the next restore.  After it: the database is
 * whole, one file without a log, so that the next start knows any log beside it for another's. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_AT_ONCE (INT64_C(1) << 30)
#define READ_AT_ONCE 65536

/* ---- the copy -----------------------------------------------------------------------------------------------------
 */
static int write_whole(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
    return 0;
}

static int copy_by_reading(int in, int out)
{
    char bytes[READ_AT_ONCE];
    for (;;) {
        ssize_t n = read(in, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        if (write_whole(out, bytes, (size_t)n) < 0)
            return -1;
    }
}

/* From where both stand: by the kernel, as far as it can (not from another file system). */
static int copy_bytes(int in, int out)
{
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, COPY_AT_ONCE, 0);
        if (n == 0)
            return copy_by_reading(in, out); /* the end; or a file that says so only to copy_file_range() */
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
            return copy_by_reading(in, out);
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

static int copy_file(const char *from, const char *to, struct err *e)
{
    CLEANUP(cleanup_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(e, ERR_STORAGE, "cannot open %s", from);
    CLEANUP(cleanup_close) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, ERR_STORAGE, "cannot create %s", to);
    if (copy_bytes(in, out) < 0)
        return err_errno(e, ERR_STORAGE, "cannot copy %s", from);
    if (lseek(out, 0, SEEK_END) == 0)
        return err_set(e, ERR_STORAGE, "%s is empty", from); /* and would be taken for a new database */
    return fsync(out) < 0 ? err_errno(e, ERR_STORAGE, "cannot sync %s", to) : 0;
}

/* ---- its check ----------------------------------------------------------------------------------------------------
 */
static void db_closep(struct db *d)
{
    db_close(d);
}

static void store_freep(struct store **s)
{
    store_close(*s);
}

static void model_freep(struct model **m)
{
    model_free(*m);
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

static int check_manifest(const char *part, struct backup_manifest *out, struct err *e)
{
    CLEANUP(db_closep) struct db d = { 0 };
    int64_t has_manifest = 0;
    if (db_open(&d, part, DB_READER, e) < 0 ||
        db_read_int(&d, "SELECT count(*) FROM sqlite_schema WHERE name = 'backup'", &has_manifest, e) < 0)
        return -1;
    return has_manifest ? read_manifest(&d, out, e) : 0;
}

/* A browser that has signed out since does not come back with its session; the others sign in again. */
static int end_sessions(struct db *d, struct err *e)
{
    return db_exec(d, "DELETE FROM tokens WHERE id GLOB 'ses-*'", e);
}

/* Opened, migrated and loaded as memlaned would, so that a damaged one is refused here; recovering from now on. */
static int open_copy(const char *part, struct err *e)
{
    CLEANUP(store_freep) struct store *s = NULL;
    CLEANUP(model_freep) struct model *m = NULL;
    if (store_open(&s, part, e) < 0 || model_new(&m, e) < 0 || store_load(s, m, e) < 0)
        return -1;
    if (!s->at.recovering) {
        s->at.recovering = s->at.epoch;
        if (store_write_state(&s->db, &s->at, e) < 0)
            return -1;
    }
    if (end_sessions(&s->db, e) < 0)
        return -1;
    return db_exec(&s->db, "PRAGMA journal_mode=DELETE", e); /* one file */
}

/* ---- restore ------------------------------------------------------------------------------------------------------
 */
static void remove_copy(const char *part)
{
    static const char *const tails[] = { "", ".lock", "-wal", "-shm", "-journal" };
    char name[PATH_MAX + 16];
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        snprintf(name, sizeof name, "%s%s", part, tails[i]);
        unlink(name);
    }
}

static int make_copy(const char *backup, const char *part, struct backup_manifest *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (copy_file(backup, part, e) < 0 || check_manifest(part, out, e) < 0 || open_copy(part, e) < 0)
        return -1;
    return store_refuse_log(part, e); /* all that was written is in the file itself */
}

int store_restore(const char *backup, const char *db_path, struct backup_manifest *out, struct err *e)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s.restore", db_path) >= (int)sizeof part)
        return err_set(e, ERR_STORAGE, "the path of the database is too long");
    CLEANUP(cleanup_close) int lock = -1;
    if (store_lock(db_path, &lock, e) < 0 || store_refuse_files(db_path, e) < 0 || store_refuse_log(backup, e) < 0)
        return -1;
    remove_copy(part); /* of a restore that was cut short; it may be another name of a database that is kept */
    int rc = make_copy(backup, part, out, e);
    if (rc == 0 && link(part, db_path) < 0) /* never over a file that is there */
        rc = err_errno(e, errno == EEXIST ? ERR_CONFLICT : ERR_STORAGE, "cannot create %s", db_path);
    remove_copy(part);
    return rc < 0 ? -1 : store_sync_folder(db_path, e);
}
