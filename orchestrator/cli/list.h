/* list.h - how a list is printed: as JSON, lines or CSV for programs, as a table of a command's own columns for people.
 */
#ifndef MEMLANE_CLI_LIST_H
#define MEMLANE_CLI_LIST_H

#include "cli.h"
#include "table.h"

struct list_view {
    const struct table_column *columns;
    size_t n_columns;
    void (*row)(const struct cli *c, const json_t *item, struct table *t); /* adds the item's row */
};

/* The items of a document, as -o says; EXIT_DONE. */
int list_print(const struct cli *c, const json_t *list, const struct list_view *view);
/* All pages of the list at 'path'. */
MUST_CHECK int list_show(struct cli *c, const char *path, const struct list_view *view);

#endif
