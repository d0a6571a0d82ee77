/* check.c - check: the invariants of the rack as a table, and an exit code.
 *
 * What is under way looks wrong for a moment: a violation counts when it is there three times in a row. */
#include "cli.h"
#include "table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOKS 3
#define BETWEEN_MS 400

static bool is(const json_t *item, const char *result)
{
    return !strcmp(text_of(item, "result"), result);
}

static void print_items(const struct cli *c, const json_t *answer)
{
    static const struct table_column columns[] = {
        { "#", TABLE_NUMBER },     { "INVARIANT", TABLE_TEXT }, { "RESULT", TABLE_STATE }, { "CHECKED", TABLE_NUMBER },
        { "WRONG", TABLE_NUMBER }, { "UNKNOWN", TABLE_NUMBER }, { "WHAT", TABLE_TEXT },
    };
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(items_of(answer), i, one)
    {
        char number[24], checked[24], wrong[24], unknown[24];
        snprintf(number, sizeof number, "%u", (unsigned)number_of(one, "invariant"));
        snprintf(checked, sizeof checked, "%u", (unsigned)number_of(one, "checked"));
        snprintf(wrong, sizeof wrong, "%u", (unsigned)number_of(one, "violated"));
        snprintf(unknown, sizeof unknown, "%u", (unsigned)number_of(one, "unknown"));
        table_add(t, (const char *[]){ number, text_of(one, "name"), text_of(one, "result"), checked, wrong, unknown,
                                       text_of(one, "detail") });
    }
    table_print(t);
    json_array_foreach(items_of(answer), i, one)
    {
        CLEANUP(cleanup_free) char *objects = joined(json_object_get(one, "objects"), ", ");
        if (!is(one, "ok") && *objects)
            printf("%s: %s\n", text_of(one, "name"), objects);
    }
}

int command_check(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *answer = NULL;
    for (int look = 0; look < LOOKS; look++) {
        json_cleanup(&answer);
        answer = NULL;
        int rc = cli_get(c, "/v1/check", &answer);
        if (rc != EXIT_DONE)
            return rc;
        if (!is(answer, "violated"))
            break;
        struct timespec pause = { .tv_nsec = BETWEEN_MS * 1000000L };
        if (look + 1 < LOOKS)
            nanosleep(&pause, NULL);
    }
    if (c->json)
        cli_print_json(c, answer);
    else
        print_items(c, answer);
    return is(answer, "violated") ? EXIT_FAILED : EXIT_DONE;
}
