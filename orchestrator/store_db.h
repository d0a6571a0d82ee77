/* store_db.h - one SQLite connection: opening with our settings, kept prepared statements, errors.  Inside store*.c
 * only.
 *
 * A connection belongs to one thread.  SQL texts are string literals (or live as long as the connection): the pointer
 * is the key of the kept statement. */
#ifndef MEMLANE_STORE_DB_H
#define MEMLANE_STORE_DB_H

#include "err.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

struct migration {
    const char *name, *sql;
};
extern const struct migration store_migrations[]; /* generated */
extern const int store_n_migrations;

#define DB_STATEMENTS_MAX 96
#define DB_APPLICATION_ID 0x4d4c414e /* "MLAN" */

struct db {
    sqlite3 *handle; /* NULL: not open */
    unsigned n_kept;
    struct {
        const char *sql;
        sqlite3_stmt *stmt;
    } kept[DB_STATEMENTS_MAX];
};

enum db_mode { DB_WRITER, DB_READER };

/* 'path' has to exist. */
MUST_CHECK int db_open(struct db *d, const char *path, enum db_mode mode, struct err *e);
void db_close(struct db *d); /* may be called again */
/* Fills 'e' from the connection's last error; -1. */
MUST_CHECK int db_error(const struct db *d, int rc, const char *what, struct err *e);
MUST_CHECK int db_exec(struct db *d, const char *sql, struct err *e); /* no kept statement; several at once */
/* First column of the first row; ERR_STORAGE without a row. */
MUST_CHECK int db_read_int(struct db *d, const char *sql, int64_t *out, struct err *e);
/* Every page, index and foreign key: ERR_STORAGE "... is damaged: ...". */
MUST_CHECK int db_check(struct db *d, const char *path, struct err *e);

/* A kept statement with its parameters bound: 'types' has a letter for each: i int64_t, t const char *, n NULL (no
 * argument). Texts must stay until the statement is reset.  NULL with 'e' set. */
sqlite3_stmt *db_query(struct db *d, struct err *e, const char *sql, const char *types, ...);
/* 1: a row; 0: done; -1: failed. */
MUST_CHECK int db_step(struct db *d, sqlite3_stmt *stmt, struct err *e);
void db_resetp(sqlite3_stmt **stmt); /* for CLEANUP: ready for the next use; ignores NULL */
/* db_query, step until done, reset. */
MUST_CHECK int db_run(struct db *d, struct err *e, const char *sql, const char *types, ...);
/* The kept statement, nothing bound; for generated SQL. */
sqlite3_stmt *db_keep(struct db *d, const char *sql, struct err *e);

/* Copies a text column that has to fit, else ERR_STORAGE. */
MUST_CHECK int db_text(sqlite3_stmt *stmt, int column, char *out, size_t size, struct err *e);

#endif
