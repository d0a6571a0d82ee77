/* table.h - tables for people: columns as wide as their widest cell, numbers to the right, colours only on a terminal.
 */
#ifndef MEMLANE_CLI_TABLE_H
#define MEMLANE_CLI_TABLE_H

#include "compiler.h"

#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX 12

enum table_kind { TABLE_TEXT, TABLE_NUMBER, TABLE_STATE }; /* left; right; left and coloured by what it says */

struct table_column {
    const char *title;
    enum table_kind kind;
};

struct table;
/* Ends the program when memory runs out (a command of a second's life has nothing to save), as do the others. */
struct table *table_new(const struct table_column *columns, size_t n, bool colour);
void table_freep(struct table **t);
/* One row: as many texts as columns; copied.  NULL and "" show as "-". */
void table_add(struct table *t, const char *const *cells);
void table_print(const struct table *t);
/* "\e[32m" and the like for a state, "" when there is nothing to say about it. */
const char *table_state_colour(const char *state);

#endif
