/* list.c - see list.h. */
#include "list.h"

int list_print(const struct cli *c, const json_t *list, const struct list_view *view)
{
    if (c->json)
        return cli_print_json(c, list);
    CLEANUP(table_freep) struct table *t = table_new(view->columns, view->n_columns, c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(items_of(list), i, one) view->row(c, one, t);
    table_print(t);
    return EXIT_DONE;
}

int list_show(struct cli *c, const char *path, const struct list_view *view)
{
    CLEANUP(json_cleanup) json_t *list = NULL;
    int rc = cli_list(c, path, &list);
    return rc ? rc : list_print(c, list, view);
}
