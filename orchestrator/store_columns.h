/* store_columns.h - which field of a row is in which column, and the SQL made from that.  Inside store*.c only.
 *
 * Each kind of row has one list of columns (name, type, place in the struct): what is written is what is read. */
#ifndef MEMLANE_STORE_COLUMNS_H
#define MEMLANE_STORE_COLUMNS_H

#include "core/model.h"
#include "store_db.h"

union any_row {
    struct row row;
    struct node node;
    struct adapter adapter;
    struct port port;
    struct sw sw;
    struct link link;
    struct circuit circuit;
    struct attachment attachment;
    struct ban ban;
};

struct row_sql {               /* the statements, by kind; they live as long as the connection */
    char *select[MODEL_KINDS]; /* slot, then the columns; by slot */
    char *upsert[MODEL_KINDS]; /* ?1 is the slot, then the columns */
    char *remove[MODEL_KINDS]; /* ?1 is the slot */
};

MUST_CHECK int row_sql_new(struct row_sql **out, struct err *e);
void row_sql_free(struct row_sql *sql); /* ignores NULL */

const char *row_table(enum model_kind kind);
size_t row_size(enum model_kind kind);
/* Binds the slot, the columns and the sum of 'row', which must stay until the statement is reset; a result code of
 * SQLite. */
MUST_CHECK int row_bind(sqlite3_stmt *stmt, enum model_kind kind, uint32_t slot, const void *row);
/* Columns 1 and so on into the zeroed 'row'. */
MUST_CHECK int row_read(sqlite3_stmt *stmt, enum model_kind kind, void *row, struct err *e);

/* SQLite notices damage of its structure, not a value that changed: every row carries a sum of all that it holds. */
#define SUM_START UINT64_C(0xcbf29ce484222325)
uint64_t sum_bytes(uint64_t sum, const void *data, size_t size);
uint64_t sum_u64(uint64_t sum, uint64_t value);
uint64_t sum_text(uint64_t sum, const char *text);
/* As a database of this version sums it: what later migrations brought is left out.  Never 0. */
uint64_t row_sum(enum model_kind kind, uint32_t slot, const void *row, int version);
/* The selected row's sum against the whole row, labels, sections and ports included. */
MUST_CHECK int row_check(sqlite3_stmt *stmt, enum model_kind kind, uint32_t slot, const void *row, int version,
                         struct err *e);

#endif
