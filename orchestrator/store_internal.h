/* store_internal.h - what the store*.c files share. */
#ifndef MEMLANE_STORE_INTERNAL_H
#define MEMLANE_STORE_INTERNAL_H

#include "store.h"
#include "store_db.h"

struct row_sql; /* store_columns.h */

struct store_state { /* the row of the table "store": where the file stands */
    uint64_t epoch;
    char instance[ID_SIZE];
    uint64_t revision, last_event, topology_version, next_circuit;
    uint64_t recovering; /* the highest epoch known to be ahead; 0: not recovering */
};

struct store {
    struct db db;
    char *path; /* resolved */
    int lock_fd;
    int file_fd;                  /* of the database, to look at it while it is open: see reopen() */
    struct store_state at;        /* of the last commit */
    struct store_state next;      /* of the batch under way */
    struct store_state request;   /* 'next' as it was at the savepoint */
    uint64_t start_revision;      /* of the file when it was opened */
    bool is_ahead;                /* the file has a commit that was reported as failed */
    bool in_batch, state_changed; /* state_changed: 'next' by the batch itself */
    int64_t changes_before;       /* sqlite3_total_changes64() at store_begin() */
    uint64_t pruned_event;        /* the last event when old rows were deleted last */
    bool prune_left;              /* there may be more that is old */
    struct row_sql *row_sql;
};

struct store_reader {
    struct db db;
};

/* SQLite itself ends a transaction when the disk fails: what follows must not be written outside of one. */
MUST_CHECK int store_in_batch(struct store *s, struct err *e);

/* ---- store_files.c: what has the names of a database's files ---- */
/* ERR_CONFLICT, naming them, when 'path' or anything that SQLite would take for a part of it is there. */
MUST_CHECK int store_refuse_files(const char *path, struct err *e);
/* ERR_STORAGE when something is beside 'path' without which it is not whole. */
MUST_CHECK int store_refuse_log(const char *path, struct err *e);
/* ERR_STORAGE when the log beside 'path' (resolved) cannot be its own: it has none, being a backup, or it is empty or
 * not there ('fd', open for reading, is -1).  SQLite would replay the one and remove the other. */
MUST_CHECK int store_refuse_foreign_log(const char *path, int fd, struct err *e);
/* The file exists afterwards, readable by us alone if it is new. */
MUST_CHECK int store_make_file(const char *path, struct err *e);
/* The lock of whoever works with the database, the file "PATH.lock"; the caller closes it.  ERR_BUSY. */
MUST_CHECK int store_lock(const char *path, int *out, struct err *e);
MUST_CHECK int store_sync_folder(const char *path, struct err *e); /* that holds 'path' */

MUST_CHECK int store_read_state(struct db *d, const char *path, struct store_state *out, struct err *e);
MUST_CHECK int store_write_state(struct db *d, const struct store_state *st, struct err *e);

/* The rows of the journal, ended attachments too. */
MUST_CHECK int store_write_rows(struct store *s, const struct model *m, struct err *e);
/* After migrations: every row is held against the sum that version 'version' wrote, and summed as the present one does.
 * In a transaction. */
MUST_CHECK int store_sum_again(struct store *s, int version, struct err *e);

#endif
