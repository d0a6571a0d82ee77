#include "store_db.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUSY_MS 5000

/* Small on purpose: memlaned has a budget, and the working set is the few hundred rows of one rack. */
static const char writer_settings[] = "PRAGMA journal_mode=WAL;"
                                      "PRAGMA synchronous=FULL;"
                                      "PRAGMA foreign_keys=ON;"
                                      "PRAGMA trusted_schema=OFF;"
                                      "PRAGMA cell_size_check=ON;"
                                      "PRAGMA cache_size=-1024;"
                                      "PRAGMA mmap_size=0;"
                                      "PRAGMA temp_store=MEMORY;"
                                      "PRAGMA journal_size_limit=4194304;";
static const char reader_settings[] = "PRAGMA query_only=ON;"
                                      "PRAGMA trusted_schema=OFF;"
                                      "PRAGMA cell_size_check=ON;"
                                      "PRAGMA cache_size=-512;"
                                      "PRAGMA mmap_size=0;";

static enum err_code code_of(const struct db *d, int rc)
{
    int os_errno = d->handle ? sqlite3_system_errno(d->handle) : 0;
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_STORAGE_FULL;
    case SQLITE_IOERR:
        return os_errno == ENOSPC || os_errno == EDQUOT ? ERR_STORAGE_FULL : ERR_STORAGE;
    case SQLITE_NOMEM:
    case SQLITE_BUSY: /* somebody else looks at it for long */
    case SQLITE_LOCKED:
        return ERR_UNAVAILABLE;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_CONSTRAINT: /* the last line of defence held: our own fault */
        return ERR_INTERNAL;
    default:
        return ERR_STORAGE;
    }
}

int db_error(const struct db *d, int rc, const char *what, struct err *e)
{
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return err_set(e, ERR_STORAGE, "the database is damaged: %s: %s", what,
                       d->handle ? sqlite3_errmsg(d->handle) : sqlite3_errstr(rc));
    int failed = err_set(e, code_of(d, rc), "database: %s: %s", what,
                         d->handle ? sqlite3_errmsg(d->handle) : sqlite3_errstr(rc));
    if ((rc & 0xff) == SQLITE_IOERR && d->handle)
        e->os_errno = sqlite3_system_errno(d->handle);
    return failed;
}

int db_open(struct db *d, const char *path, enum db_mode mode, struct err *e)
{
    *d = (struct db){ 0 };
    int flags = (mode == DB_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &d->handle, flags, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(d->handle, 1);
        sqlite3_busy_timeout(d->handle, BUSY_MS);
        sqlite3_db_config(d->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        rc = sqlite3_exec(d->handle, mode == DB_WRITER ? writer_settings : reader_settings, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK)
        return 0;
    int failed = db_error(d, rc, path, e);
    db_close(d);
    return failed;
}

void db_close(struct db *d)
{
    for (unsigned i = 0; i < d->n_kept; i++)
        sqlite3_finalize(d->kept[i].stmt);
    d->n_kept = 0;
    sqlite3_close_v2(d->handle);
    d->handle = NULL;
}

int db_exec(struct db *d, const char *sql, struct err *e)
{
    if (!d->handle)
        return err_set(e, ERR_STORAGE, "the database is not open");
    int rc = sqlite3_exec(d->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : db_error(d, rc, "exec", e);
}

/* "return no_statement(err_set(...))" */
static sqlite3_stmt *no_statement(int failed)
{
    assert(failed == -1);
    return NULL;
}

sqlite3_stmt *db_keep(struct db *d, const char *sql, struct err *e)
{
    if (!d->handle)
        return no_statement(err_set(e, ERR_STORAGE, "the database is not open"));
    for (unsigned i = 0; i < d->n_kept; i++)
        if (d->kept[i].sql == sql)
            return d->kept[i].stmt;
    assert(d->n_kept < DB_STATEMENTS_MAX);
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v3(d->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        return no_statement(db_error(d, rc, "prepare", e));
    d->kept[d->n_kept].sql = sql;
    d->kept[d->n_kept++].stmt = stmt;
    return stmt;
}

static sqlite3_stmt *query(struct db *d, struct err *e, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *stmt = db_keep(d, sql, e);
    if (!stmt)
        return NULL;
    int rc = SQLITE_OK;
    for (int i = 0; types[i]; i++) {
        if (types[i] == 'i')
            rc |= sqlite3_bind_int64(stmt, i + 1, va_arg(ap, int64_t));
        else if (types[i] == 't')
            rc |= sqlite3_bind_text(stmt, i + 1, va_arg(ap, const char *), -1, SQLITE_STATIC);
        else
            rc |= sqlite3_bind_null(stmt, i + 1);
    }
    if (rc == SQLITE_OK)
        return stmt;
    db_resetp(&stmt);
    return no_statement(err_set(e, ERR_INTERNAL, "database: bind: %s", sqlite3_errstr(rc)));
}

sqlite3_stmt *db_query(struct db *d, struct err *e, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *stmt = query(d, e, sql, types, ap);
    va_end(ap);
    return stmt;
}

int db_step(struct db *d, sqlite3_stmt *stmt, struct err *e)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : db_error(d, rc, "step", e);
}

void db_resetp(sqlite3_stmt **stmt)
{
    if (*stmt) {
        sqlite3_reset(*stmt);
        sqlite3_clear_bindings(*stmt);
    }
}

int db_run(struct db *d, struct err *e, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    CLEANUP(db_resetp) sqlite3_stmt *stmt = query(d, e, sql, types, ap);
    va_end(ap);
    if (!stmt)
        return -1;
    int rc;
    while ((rc = db_step(d, stmt, e)) == 1)
        ;
    return rc;
}

int db_read_int(struct db *d, const char *sql, int64_t *out, struct err *e)
{
    CLEANUP(db_resetp) sqlite3_stmt *stmt = db_query(d, e, sql, "");
    int rc = stmt ? db_step(d, stmt, e) : -1;
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(e, ERR_STORAGE, "the database is damaged: a row is missing");
    *out = sqlite3_column_int64(stmt, 0);
    return 0;
}

int db_check(struct db *d, const char *path, struct err *e)
{
    CLEANUP(db_resetp) sqlite3_stmt *pages = db_query(d, e, "PRAGMA integrity_check(1)", "");
    int rc = pages ? db_step(d, pages, e) : -1;
    if (rc < 0)
        return -1;
    const char *answer = rc ? (const char *)sqlite3_column_text(pages, 0) : NULL;
    if (!answer || strcmp(answer, "ok"))
        return err_set(e, ERR_STORAGE, "the database %s is damaged: %.150s", path, answer ? answer : "no answer");
    CLEANUP(db_resetp) sqlite3_stmt *keys = db_query(d, e, "PRAGMA foreign_key_check", "");
    rc = keys ? db_step(d, keys, e) : -1;
    if (rc == 1)
        return err_set(e, ERR_STORAGE, "the database %s is damaged: table %.60s refers to a row that is not there",
                       path, (const char *)sqlite3_column_text(keys, 0));
    return rc;
}

int db_text(sqlite3_stmt *stmt, int column, char *out, size_t size, struct err *e)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    size_t n = text ? (size_t)sqlite3_column_bytes(stmt, column) : 0;
    if (!text || n >= size || memchr(text, 0, n))
        return err_set(e, ERR_STORAGE, "the database is damaged: column %s does not fit",
                       sqlite3_column_name(stmt, column));
    memcpy(out, text, n);
    memset(out + n, 0, size - n);
    return 0;
}
