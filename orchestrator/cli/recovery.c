/* recovery.c - unowned, recovery show, recovery adopt: after an old database was restored. */
#include "cli.h"
#include "list.h"

#include <stdio.h>
#include <string.h>

static void unowned_row(const struct cli *c UNUSED, const json_t *one, struct table *t)
{
    char size[UNITS_SIZE_MAX];
    table_add(t, (const char *[]){ text_of(one, "node"), text_of(one, "kind"), text_of(one, "id"),
                                   size_of(one, "size_bytes", size), text_of(one, "since"), text_of(one, "detail") });
}

int command_unowned(struct cli *c)
{
    static const struct table_column columns[] = {
        { "NODE", TABLE_TEXT },   { "KIND", TABLE_TEXT },  { "ID", TABLE_TEXT },
        { "SIZE", TABLE_NUMBER }, { "SINCE", TABLE_TEXT }, { "WHAT", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), unowned_row };
    return list_show(c, "/v1/unowned", &view);
}

static void print_recovery(const struct cli *c, const json_t *r)
{
    static const struct table_column columns[] = {
        { "NODE", TABLE_TEXT }, { "STATE", TABLE_STATE }, { "REPORTED", TABLE_TEXT }, { "UNOWNED", TABLE_NUMBER }
    };
    bool recovering = json_is_true(json_object_get(r, "recovering"));
    printf("%s; epoch %llu, revision %llu", recovering ? "recovering: nothing changes until an operator adopts" : "ok",
           (unsigned long long)number_of(r, "epoch"), (unsigned long long)number_of(r, "revision"));
    if (recovering)
        printf(", known to be ahead: epoch %llu, revision %llu", (unsigned long long)number_of(r, "known_epoch"),
               (unsigned long long)number_of(r, "known_revision"));
    printf("\n");
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(r, "nodes"), i, one)
    {
        char n[24];
        snprintf(n, sizeof n, "%u", (unsigned)number_of(one, "unowned"));
        table_add(t, (const char *[]){ text_of(one, "name"), text_of(one, "state"),
                                       json_is_true(json_object_get(one, "reported")) ? "yes" : "no", n });
    }
    table_print(t);
}

int command_recovery_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *r = NULL;
    int rc = cli_get(c, "/v1/recovery", &r);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, r);
    print_recovery(c, r);
    return EXIT_DONE;
}

int command_recovery_adopt(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = json_object(), *r = NULL;
    json_t *without = json_array();
    for (size_t i = 0; c->options.without[i]; i++)
        json_array_append_new(without, json_string(c->options.without[i]));
    json_object_set_new(body, "without", without);
    int rc = cli_send(c, "POST", "/v1/recovery/adopt", body, NULL, &r);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, r);
    printf("adopted %llu attachments, ended %llu, kept %llu objects without an owner; epoch %llu\n",
           (unsigned long long)number_of(r, "adopted"), (unsigned long long)number_of(r, "ended"),
           (unsigned long long)number_of(r, "kept"), (unsigned long long)number_of(r, "epoch"));
    return EXIT_DONE;
}
