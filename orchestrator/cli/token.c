/* token.c - token create, list, revoke. */
#include "cli.h"
#include "list.h"

#include <stdio.h>

int command_token_create(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = json_object(), *token = NULL;
    struct err e = { 0 };
    uint64_t seconds;
    if (!c->options.role)
        return cli_usage("--role is needed: viewer, operator, admin or join");
    json_object_set_new(body, "role", json_string(c->options.role));
    json_object_set_new(body, "name", json_string(c->options.name ? c->options.name : c->options.role));
    if (c->options.expires) {
        if (units_parse_u64(c->options.expires, &seconds, &e) < 0 || seconds > INT32_MAX)
            return cli_usage("--expires takes seconds, not \"%.40s\"", c->options.expires);
        json_object_set_new(body, "expires_in_s", json_integer((json_int_t)seconds));
    }
    if (c->options.needs_approval)
        json_object_set_new(body, "approves", json_false());
    int rc = cli_send(c, "POST", "/v1/tokens", body, NULL, &token);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, token);
    fprintf(stderr, "%s token %s (%s); it is shown this once:\n", text_of(token, "role"), text_of(token, "id"),
            text_of(token, "name"));
    printf("%s\n", text_of(token, "token"));
    return EXIT_DONE;
}

static void token_row(const struct cli *c UNUSED, const json_t *token, struct table *t)
{
    table_add(t, (const char *[]){ text_of(token, "id"), text_of(token, "role"), text_of(token, "name"),
                                   text_of(token, "created_at"), text_of(token, "expires_at") });
}

int command_token_list(struct cli *c)
{
    static const struct table_column columns[] = {
        { "ID", TABLE_TEXT },      { "ROLE", TABLE_TEXT },    { "NAME", TABLE_TEXT },
        { "CREATED", TABLE_TEXT }, { "EXPIRES", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), token_row };
    return list_show(c, "/v1/tokens", &view);
}

int command_token_revoke(struct cli *c)
{
    char path[256], escaped[200];
    snprintf(path, sizeof path, "/v1/tokens/%s", cli_escape(c->operands[0], escaped, sizeof escaped));
    int rc = cli_send(c, "DELETE", path, NULL, NULL, NULL);
    if (rc == EXIT_DONE && !c->json)
        printf("token %s is revoked\n", c->operands[0]);
    return rc;
}
