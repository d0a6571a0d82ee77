/* place.c - the preview of a placement: who would lend, and why not the others; or one node, rule by rule. */
#include "cli.h"
#include "request.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

static bool feasible(const json_t *candidate)
{
    return json_is_true(json_object_get(candidate, "feasible"));
}

/* ---- all of them ----------------------------------------------------------------------------------------------------
 */

static void print_ranking(const struct cli *c, const json_t *preview)
{
    static const struct table_column columns[] = {
        { "RANK", TABLE_NUMBER },     { "DONOR", TABLE_TEXT },   { "COST", TABLE_NUMBER },
        { "LENDABLE", TABLE_NUMBER }, { "AFTER", TABLE_NUMBER }, { "PATH", TABLE_TEXT },
    };
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    uint64_t size_bytes = number_of(preview, "size_bytes");
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(preview, "candidates"), i, one)
    {
        char rank[24], cost[32], lendable[UNITS_SIZE_MAX], after[UNITS_SIZE_MAX];
        if (!feasible(one))
            break; /* they come first */
        CLEANUP(cleanup_free) char *path = path_text(json_object_get(one, "path"));
        snprintf(rank, sizeof rank, "%zu", i + 1);
        snprintf(cost, sizeof cost, "%llu ns", (unsigned long long)number_of(one, "cost_ns"));
        table_add(t, (const char *[]){ rank, text_of(one, "node"), cost, size_of(one, "lendable_bytes", lendable),
                                       units_format_size(number_of(one, "lendable_bytes") - size_bytes, after), path });
    }
    table_print(t);
}

static void print_refused(const struct cli *c, const json_t *candidates)
{
    static const struct table_column columns[] = {
        { "REFUSED", TABLE_TEXT },
        { "REASON", TABLE_TEXT },
        { "LENDABLE", TABLE_NUMBER },
        { "DETAIL", TABLE_TEXT },
    };
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(candidates, i, one)
    {
        char lendable[UNITS_SIZE_MAX];
        if (!feasible(one))
            table_add(t, (const char *[]){ text_of(one, "node"), text_of(one, "reason"),
                                           size_of(one, "lendable_bytes", lendable), text_of(one, "detail") });
    }
    table_print(t);
}

static void print_preview(const struct cli *c, const json_t *preview)
{
    const json_t *candidates = json_object_get(preview, "candidates");
    size_t n = json_array_size(candidates), n_feasible = 0;
    const char *chosen = text_of(preview, "chosen"), *reason = text_of(preview, "reason");
    char size[UNITS_SIZE_MAX];
    while (n_feasible < n && feasible(json_array_get(candidates, n_feasible)))
        n_feasible++;
    size_of(preview, "size_bytes", size);
    if (*chosen)
        printf("%s would lend %s to %s; %zu of %zu nodes could\n", chosen, size, c->operands[0], n_feasible, n);
    else if (*reason)
        printf("%s cannot borrow: %s\n", c->operands[0], reason);
    else
        printf("none of %zu nodes can lend %s to %s\n", n, size, c->operands[0]);
    if (n_feasible) {
        putchar('\n');
        print_ranking(c, preview);
    }
    if (n_feasible < n) {
        putchar('\n');
        print_refused(c, candidates);
    }
}

/* ---- one, rule by rule ----------------------------------------------------------------------------------------------
 */

static void add_rules(struct table *t, const json_t *rules)
{
    const json_t *one;
    size_t i;
    json_array_foreach(rules, i, one)
    {
        const char *outcome = text_of(one, "outcome");
        table_add(t, (const char *[]){ text_of(one, "rule"), strcmp(outcome, "not_reached") ? outcome : "not reached",
                                       text_of(one, "detail") });
    }
}

static const json_t *candidate_of(const json_t *preview, const char *node)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(preview, "candidates"), i,
                       one) if (!strcmp(text_of(one, "node"), node)) return one;
    return NULL;
}

static void print_why(const struct cli *c, const json_t *preview)
{
    static const struct table_column columns[] = {
        { "RULE", TABLE_TEXT },
        { "OUTCOME", TABLE_STATE },
        { "DETAIL", TABLE_TEXT },
    };
    const json_t *why = json_object_get(preview, "why"), *pair;
    const json_t *mine = candidate_of(preview, c->options.why);
    const char *chosen = text_of(preview, "chosen");
    size_t i;
    if (feasible(mine))
        printf("%s fits%s%s\n", c->options.why,
               strcmp(chosen, c->options.why) ? "; chosen would be " : ", and would be chosen",
               strcmp(chosen, c->options.why) ? chosen : "");
    else
        printf("%s is refused: %s\n", c->options.why, text_of(mine, "reason"));
    putchar('\n');
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    add_rules(t, json_object_get(why, "rules"));
    table_print(t);
    json_array_foreach(json_object_get(why, "pairs"), i, pair)
    {
        CLEANUP(table_freep) struct table *rules = table_new(columns, ARRAY_LEN(columns), c->colour);
        printf("\n%s borrows from %s:\n", text_of(pair, "compute"), text_of(pair, "memory"));
        add_rules(rules, json_object_get(pair, "rules"));
        table_print(rules);
    }
}

int command_place(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = NULL, *preview = NULL;
    char path[256] = "/v1/placements", escaped[200];
    if (c->options.why)
        snprintf(path, sizeof path, "/v1/placements?why=%s", cli_escape(c->options.why, escaped, sizeof escaped));
    int rc = request_body(c, &body);
    if (rc == EXIT_DONE)
        rc = cli_send(c, "POST", path, body, NULL, &preview);
    if (rc)
        return rc;
    if (c->json)
        cli_print_json(c, preview);
    else if (c->options.why)
        print_why(c, preview);
    else
        print_preview(c, preview);
    bool fits = c->options.why ? feasible(candidate_of(preview, c->options.why)) : *text_of(preview, "chosen");
    return fits ? EXIT_DONE : EXIT_FAILED;
}
