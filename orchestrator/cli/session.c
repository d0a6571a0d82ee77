/* session.c - session show, session code: who this is, and a browser's way in. */
#include "cli.h"

#include <stdio.h>

int command_session_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *who = NULL;
    int rc = cli_get(c, "/v1/sessions", &who);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, who);
    const char *expires = text_of(who, "expires_at");
    printf("%s (%s)%s%s\n", text_of(who, "name"), text_of(who, "role"), *expires ? ", until " : "", expires);
    return EXIT_DONE;
}

/* Only the code goes to standard output, for a script. */
int command_session_code(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *code = NULL;
    int rc = cli_send(c, "POST", "/v1/sessions/codes", NULL, NULL, &code);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, code);
    fprintf(stderr, "type it on the dashboard's sign-in page; it works once, until %s:\n", text_of(code, "expires_at"));
    printf("%s\n", text_of(code, "code"));
    return EXIT_DONE;
}
