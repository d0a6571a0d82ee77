#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
    const struct table_column *columns;
    size_t n_columns, n_cells, cap;
    bool colour;
    char **cells; /* row by row */
};

static void *need(void *p)
{
    if (!p) {
        fputs("memlane: out of memory\n", stderr);
        _Exit(1);
    }
    return p;
}

struct table *table_new(const struct table_column *columns, size_t n, bool colour)
{
    struct table *t = need(calloc(1, sizeof *t));
    t->columns = columns;
    t->n_columns = n;
    t->colour = colour;
    return t;
}

void table_freep(struct table **t)
{
    if (!*t)
        return;
    for (size_t i = 0; i < (*t)->n_cells; i++)
        free((*t)->cells[i]);
    free((*t)->cells);
    free(*t);
    *t = NULL;
}

void table_add(struct table *t, const char *const *cells)
{
    if (t->n_cells + t->n_columns > t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16 * t->n_columns;
        t->cells = need(realloc(t->cells, t->cap * sizeof *t->cells));
    }
    for (size_t i = 0; i < t->n_columns; i++)
        t->cells[t->n_cells++] = need(strdup(cells[i] && cells[i][0] ? cells[i] : "-"));
}

/* Characters, not bytes: names are ASCII, reasons may not be. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

const char *table_state_colour(const char *state)
{
    static const struct {
        const char *state, *colour;
    } colours[] = {
        { "ready", "\033[32m" },        { "attached", "\033[32m" }, { "up", "\033[32m" },
        { "pending", "\033[33m" },      { "new", "\033[33m" },      { "detaching", "\033[33m" },
        { "unverified", "\033[33m" },   { "stuck", "\033[31m" },    { "failed", "\033[31m" },
        { "lost", "\033[31m" },         { "down", "\033[31m" },     { "fenced", "\033[31m" },
        { "passed", "\033[32m" },       { "cordoned", "\033[33m" }, { "unreachable", "\033[31m" },
        { "incompatible", "\033[31m" },
    };
    for (size_t i = 0; i < ARRAY_LEN(colours); i++)
        if (!strncmp(state, colours[i].state, strlen(colours[i].state)))
            return colours[i].colour;
    return "";
}

static void print_cell(const struct table *t, size_t column, const char *text, int width, bool heading)
{
    int pad = width - width_of(text);
    bool right = t->columns[column].kind == TABLE_NUMBER, last = column + 1 == t->n_columns;
    const char *colour = !t->colour ? "" : heading ? "\033[1m" : "";
    if (t->colour && !heading && t->columns[column].kind == TABLE_STATE)
        colour = table_state_colour(text);
    printf("%*s%s%s%s%*s%s", right ? pad : 0, "", colour, text, *colour ? "\033[0m" : "", right || last ? 0 : pad, "",
           last ? "\n" : "  ");
}

void table_print(const struct table *t)
{
    int widths[TABLE_COLUMNS_MAX];
    for (size_t c = 0; c < t->n_columns; c++) {
        widths[c] = width_of(t->columns[c].title);
        for (size_t i = c; i < t->n_cells; i += t->n_columns)
            if (width_of(t->cells[i]) > widths[c])
                widths[c] = width_of(t->cells[i]);
    }
    for (size_t c = 0; c < t->n_columns; c++)
        print_cell(t, c, t->columns[c].title, widths[c], true);
    for (size_t i = 0; i < t->n_cells; i++)
        print_cell(t, i % t->n_columns, t->cells[i], widths[i % t->n_columns], false);
}
