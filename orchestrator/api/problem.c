/* problem.c - see problem.h. */
#include "api/problem.h"

#include "api/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the caller can do about it, where the title does not say it. */
static const char *hint_of(enum err_code code)
{
    switch (code) {
    case ERR_TOO_MANY:
    case ERR_UNAVAILABLE:
    case ERR_STORAGE:
        return "try again later";
    case ERR_RECOVERING:
        return "see what agents hold (GET /v1/recovery, GET /v1/unowned), then POST /v1/recovery/adopt";
    case ERR_EVENTS_GONE:
        return "read everything anew, then the events after oldest_index - 1";
    case ERR_PRECONDITION:
    case ERR_PRECONDITION_REQUIRED:
        return "read the resource again and send its ETag as If-Match";
    case ERR_KEY_REUSED:
        return "use a new Idempotency-Key for a new request";
    case ERR_IDENTITY_CONFLICT:
        return "give the machine another name, or free this one: revoke its credential, or forget the node when it "
               "holds nothing";
    default:
        return NULL;
    }
}

json_t *problem_json(const struct err *e, const char *instance, const json_t *extra)
{
    char type[96];
    snprintf(type, sizeof type, "/problems/%s", err_name(e->code));
    json_t *j = json_pack("{s:s, s:s, s:i, s:o, s:s, s:s}", "type", type, "title", err_title(e->code), "status",
                          err_http_status(e->code), "detail", json_safe(e->detail), "instance", instance, "code",
                          err_name(e->code));
    if (!j)
        return NULL;
    if (e->field[0])
        json_object_set_new(j, "field_errors",
                            json_pack("[{s:o, s:o}]", "field", json_safe(e->field), "detail", json_safe(e->detail)));
    if (hint_of(e->code))
        json_object_set_new(j, "hint", json_string(hint_of(e->code)));
    if (extra)
        json_object_update_missing(j, (json_t *)extra);
    return j;
}

json_t *problem_describe(const char *name)
{
    enum err_code code;
    if (!err_by_name(name, &code) || code == ERR_OK)
        return NULL;
    return json_pack("{s:s, s:s, s:i, s:o}", "code", err_name(code), "title", err_title(code), "status",
                     err_http_status(code), "hint", json_or_null(hint_of(code)));
}

json_t *json_or_null(const char *text)
{
    return text && *text ? json_safe(text) : json_null();
}

json_t *json_safe(const char *text)
{
    size_t len = strlen(text);
    if (utf8_valid(text, len))
        return json_stringn(text, len);
    char *copy = strdup(text);
    if (!copy)
        return NULL;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json_t *j = json_string(copy);
    free(copy);
    return j;
}
