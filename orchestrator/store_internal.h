/* store_internal.h - what the store*.c files share. */
#ifndef MEMLANE_STORE_INTERNAL_H
#define MEMLANE_STORE_INTERNAL_H

#include "store.h"
#include "store_db.h"

struct row_sql; /* store_columns.h */

struct store {
    struct db db;
    char *path; /* resolved */
    int lock_fd;
    uint64_t epoch;
    char instance[ID_SIZE];
    uint64_t revision, last_event; /* of the last commit */
    uint64_t raised_epoch;         /* by the batch under way; 0: not raised */
    bool raised_in_request;
    bool in_batch;
    int64_t changes_before; /* sqlite3_total_changes64() at store_begin() */
    struct row_sql *row_sql;
};

/* SQLite itself ends a transaction when the disk fails: what follows must not be written outside of one. */
MUST_CHECK int store_in_batch(struct store *s, struct err *e);

/* The rows of the journal, ended attachments too. */
MUST_CHECK int store_write_rows(struct store *s, const struct model *m, struct err *e);

#endif
