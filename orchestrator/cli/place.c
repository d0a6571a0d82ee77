/* place.c - the preview of a placement: who would lend, and why not the others. */
#include "cli.h"
#include "request.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

static void print_candidates(const struct cli *c, const json_t *candidates)
{
    static const struct table_column columns[] = {
        { "DONOR", TABLE_TEXT },      { "FITS", TABLE_TEXT }, { "REASON", TABLE_TEXT }, { "COST", TABLE_NUMBER },
        { "LENDABLE", TABLE_NUMBER }, { "PATH", TABLE_TEXT }, { "DETAIL", TABLE_TEXT },
    };
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(candidates, i, one)
    {
        char cost[32] = "", lendable[UNITS_SIZE_MAX];
        const char *node = text_of(one, "node");
        bool fits = json_is_true(json_object_get(one, "feasible"));
        if (c->options.why && strcmp(c->options.why, node))
            continue;
        CLEANUP(cleanup_free) char *path = path_text(json_object_get(one, "path"));
        if (json_is_integer(json_object_get(one, "cost_ns")))
            snprintf(cost, sizeof cost, "%llu ns", (unsigned long long)number_of(one, "cost_ns"));
        table_add(t, (const char *[]){ node, fits ? "yes" : "no", fits ? "" : text_of(one, "reason"), cost,
                                       size_of(one, "lendable_bytes", lendable), path, text_of(one, "detail") });
    }
    table_print(t);
}

int command_place(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = NULL, *preview = NULL;
    int rc = request_body(c, &body);
    if (rc == EXIT_DONE)
        rc = cli_send(c, "POST", "/v1/placements", body, NULL, &preview);
    if (rc)
        return rc;
    const char *chosen = text_of(preview, "chosen"), *reason = text_of(preview, "reason");
    if (c->json) {
        cli_print_json(preview);
    } else {
        if (*chosen)
            printf("%s would lend to %s\n\n", chosen, c->operands[0]);
        else
            printf("nobody can lend that to %s%s%s\n\n", c->operands[0], *reason ? ": " : "", reason);
        print_candidates(c, json_object_get(preview, "candidates"));
    }
    return *chosen ? EXIT_DONE : EXIT_FAILED;
}
