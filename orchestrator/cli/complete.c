/* complete.c - see complete.h. */
#include "complete.h"

#include <stdio.h>
#include <string.h>

#define ASK_MS 300

void complete_words(const char *list, const char *begun)
{
    while (*list) {
        size_t len = strcspn(list, " ");
        if (len >= strlen(begun) && !strncmp(list, begun, strlen(begun)))
            printf("%.*s\n", (int)len, list);
        list += len + (list[len] == ' ');
    }
}

/* Of the array 'list' in the answer; one page is plenty to choose from. */
static void ask(struct cli *c, const char *path, const char *list, const char *field, const char *begun)
{
    struct client_answer answer = { 0 };
    struct err ignored = { 0 };
    const json_t *one;
    size_t i;
    if (client_request(c->client, "GET", path, NULL, NULL, ASK_MS, &answer, &ignored) < 0)
        return;
    if (answer.status == 200)
        json_array_foreach(json_object_get(answer.body, list), i, one) complete_words(text_of(one, field), begun);
    client_answer_done(&answer);
}

void complete_value(struct cli *c, const char *kind, const char *begun)
{
    static const struct {
        const char *kind, *words;
    } fixed[] = {
        { "FORMAT", "table wide json jsonl csv" },
        { "POLICY", "nearest balanced packed least_loaded" },
        { "ROLE", "viewer operator admin join" },
        { "STATES", "live pending attached detaching stuck lost detached failed" },
        { "1|2", "1 2" },
    };
    static const struct {
        const char *kind, *path, *list, *field;
    } asked[] = {
        { "NODE", "/v1/nodes?limit=1000", "items", "name" },
        { "ID", "/v1/attachments?state=live&limit=1000", "items", "id" },
        { "THING", "/v1/nodes?limit=1000", "items", "name" },
        { "THING", "/v1/attachments?state=live&limit=1000", "items", "id" },
        { "THING", "/v1/circuits?limit=1000", "items", "id" },
        { "CIRCUIT", "/v1/circuits?limit=1000", "items", "id" },
        { "SWITCH", "/v1/topology", "switches", "name" },
        { "PORT", "/v1/topology", "links", "a" },
        { "PORT", "/v1/topology", "links", "b" },
        { "TOKEN", "/v1/tokens?limit=1000", "items", "id" },
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (!strcmp(kind, fixed[i].kind))
            complete_words(fixed[i].words, begun);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        if (!strcmp(kind, asked[i].kind))
            ask(c, asked[i].path, asked[i].list, asked[i].field, begun);
}
