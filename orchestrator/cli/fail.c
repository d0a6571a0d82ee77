/* fail.c - errors as operators want them: what is wrong, what to do about it, and an exit code that scripts can rely
 * on. */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int exit_code(enum err_code code)
{
    switch (code) {
    case ERR_NODE_UNKNOWN:
    case ERR_BODY_NODE_UNKNOWN:
    case ERR_NOT_FOUND:
    case ERR_EVENTS_GONE:
        return EXIT_NOT_FOUND;
    case ERR_CONFLICT:
    case ERR_TOO_LATE:
    case ERR_IDENTITY_CONFLICT:
    case ERR_PRECONDITION:
    case ERR_PRECONDITION_REQUIRED:
    case ERR_KEY_REUSED:
    case ERR_BUSY:
        return EXIT_CONFLICT;
    case ERR_UNREACHABLE:
    case ERR_UNAVAILABLE:
    case ERR_TOO_MANY:
        return EXIT_UNREACHABLE;
    case ERR_UNAUTHENTICATED:
    case ERR_FORBIDDEN:
        return EXIT_DENIED;
    case ERR_TIMEOUT:
        return EXIT_TIMEOUT;
    case ERR_FIELD_UNKNOWN:
    case ERR_FIELD_MISSING:
    case ERR_FIELD_INVALID:
    case ERR_SIZE_INVALID:
    case ERR_BODY_INVALID:
        return EXIT_USAGE;
    default:
        return EXIT_FAILED;
    }
}

static const char *hint(enum err_code code)
{
    switch (code) {
    case ERR_NODE_UNKNOWN:
    case ERR_BODY_NODE_UNKNOWN:
        return "`memlane node list` shows the nodes";
    case ERR_NO_DONOR:
        return "`memlane place NODE SIZE` shows why each node was refused";
    case ERR_UNREACHABLE:
        return "is memlaned running, and does MEMLANE_URL (or --url) name it?";
    case ERR_UNAUTHENTICATED:
        return "set MEMLANE_TOKEN, or name a file with --token-file";
    case ERR_FORBIDDEN:
        return "this token's role does not allow it; `memlane token create --role operator` needs an admin's token";
    case ERR_PRECONDITION:
        return "somebody else changed it in the meantime; look at it and try again";
    case ERR_TOO_LATE:
        return "the memory is on its way back; wait until it is detached, then attach anew";
    case ERR_UNAVAILABLE:
    case ERR_TOO_MANY:
        return "try again in a moment";
    default:
        return NULL;
    }
}

static bool colour_on_stderr(const struct cli *c)
{
    return c->colour && !c->json;
}

static void print_error(const struct cli *c, const struct err *e)
{
    bool colour = colour_on_stderr(c);
    fprintf(stderr, "%serror:%s %s", colour ? "\033[31m" : "", colour ? "\033[0m" : "", e->detail);
    if (e->field[0] && !strstr(e->detail, e->field))
        fprintf(stderr, " (field %s)", e->field);
    fputc('\n', stderr);
    if (hint(e->code))
        fprintf(stderr, "hint:  %s\n", hint(e->code));
}

int cli_fail(const struct cli *c, const struct err *e)
{
    if (!c->json) {
        print_error(c, e);
        return exit_code(e->code);
    }
    CLEANUP(json_cleanup)
    json_t *j =
        json_pack("{s:s, s:s, s:s}", "code", err_name(e->code), "title", err_title(e->code), "detail", e->detail);
    if (j)
        json_dumpf(j, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    return exit_code(e->code);
}

int cli_fail_answer(const struct cli *c, const struct client_answer *answer)
{
    struct err e = { 0 };
    if (client_check(answer, &e) == 0)
        return EXIT_DONE;
    if (c->json && answer->body) {
        json_dumpf(answer->body, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        return exit_code(e.code);
    }
    print_error(c, &e);
    const json_t *candidates = json_object_get(answer->body, "candidates"), *one;
    size_t i;
    json_array_foreach(candidates, i, one)
    {
        const char *detail = text_of(one, "detail");
        fprintf(stderr, "  %-16s %s%s%s\n", text_of(one, "node"), text_of(one, "reason"), *detail ? ": " : "", detail);
    }
    return exit_code(e.code);
}

int cli_usage(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("error: ", stderr);
    vfprintf(stderr, fmt, args);
    fputs("\nhint:  `memlane help` lists the commands, `memlane help COMMAND` its options\n", stderr);
    va_end(args);
    return EXIT_USAGE;
}
