/* access.c - enrolment list, approve, refuse; audit. */
#include "cli.h"
#include "list.h"
#include "names.h"

#include <stdio.h>

static void enrolment_row(const struct cli *c UNUSED, const json_t *one, struct table *t)
{
    char n[24], memory[UNITS_SIZE_MAX];
    snprintf(n, sizeof n, "%u", (unsigned)number_of(one, "adapters"));
    table_add(t, (const char *[]){ text_of(one, "name"), text_of(one, "state"), text_of(one, "machine_id"), n,
                                   size_of(one, "memory_bytes", memory), text_of(one, "version") });
}

int command_enrolment_list(struct cli *c)
{
    static const struct table_column columns[] = {
        { "NODE", TABLE_TEXT },       { "STATE", TABLE_STATE },   { "MACHINE", TABLE_TEXT },
        { "ADAPTERS", TABLE_NUMBER }, { "MEMORY", TABLE_NUMBER }, { "AGENT", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), enrolment_row };
    return list_show(c, "/v1/enrolments", &view);
}

static int decide(struct cli *c, const char *verb)
{
    CLEANUP(json_cleanup) json_t *node = NULL;
    char path[256], escaped[3 * NAME_SIZE];
    snprintf(path, sizeof path, "/v1/enrolments/%s/%s", cli_escape(c->operands[0], escaped, sizeof escaped), verb);
    int rc = cli_send(c, "POST", path, NULL, NULL, &node);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, node);
    printf("%s is %s\n", text_of(node, "name"), text_of(node, "state"));
    return EXIT_DONE;
}

int command_enrolment_approve(struct cli *c)
{
    return decide(c, "approve");
}

int command_enrolment_refuse(struct cli *c)
{
    return decide(c, "refuse");
}

static void audit_row(const struct cli *c UNUSED, const json_t *one, struct table *t)
{
    char id[24], request[9];
    const json_t *more = json_object_get(one, "detail");
    CLEANUP(cleanup_free) char *detail = json_is_null(more) ? NULL : json_dumps(more, JSON_COMPACT | JSON_ENCODE_ANY);
    snprintf(id, sizeof id, "%llu", (unsigned long long)number_of(one, "id"));
    snprintf(request, sizeof request, "%.8s", text_of(one, "request_id"));
    table_add(t, (const char *[]){ id, text_of(one, "at"), text_of(one, "actor"), text_of(one, "action"),
                                   text_of(one, "object"), text_of(one, "remote"), request, detail });
}

int command_audit(struct cli *c)
{
    static const struct table_column columns[] = {
        { "ID", TABLE_NUMBER },   { "AT", TABLE_TEXT },   { "ACTOR", TABLE_TEXT },   { "ACTION", TABLE_TEXT },
        { "OBJECT", TABLE_TEXT }, { "FROM", TABLE_TEXT }, { "REQUEST", TABLE_TEXT }, { "DETAIL", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), audit_row };
    CLEANUP(json_cleanup) json_t *list = NULL;
    struct err e;
    uint64_t after = 0, limit = 0;
    char path[64];
    if (c->options.after && units_parse_u64(c->options.after, &after, &e) < 0)
        return cli_usage("--after takes a number, not \"%.40s\"", c->options.after);
    if (c->options.limit && (units_parse_u64(c->options.limit, &limit, &e) < 0 || !limit))
        return cli_usage("--limit takes a number from 1, not \"%.40s\"", c->options.limit);
    snprintf(path, sizeof path, "/v1/audit?after=%llu", (unsigned long long)after);
    int rc = cli_list(c, path, &list);
    if (rc)
        return rc;
    json_t *items = (json_t *)items_of(list);
    while (limit && json_array_size(items) > limit)
        json_array_remove(items, 0);
    return list_print(c, list, &view);
}
