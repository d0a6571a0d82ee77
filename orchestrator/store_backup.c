/* store_backup.c - a copy of the live database, on connections of its own; the writer goes on meanwhile. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
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

int store_backup(const char *db_path, const char *target, int64_t wall_ms, struct err *e)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s.part", target) >= (int)sizeof part)
        return err_set(e, ERR_STORAGE, "the path of the backup is too long");
    if (store_refuse_files(target, e) < 0)
        return -1;
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
    return rc < 0 ? -1 : store_sync_folder(target, e);
}
