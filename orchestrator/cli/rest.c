/* rest.c - the requests of the commands: one client, problem documents become exit codes. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define REQUEST_TIMEOUT_MS 30000L
#define RETRY_FOR_MS 5000
#define RETRY_PAUSE_MS 200
#define PATH_MAX_LEN 1024

static void pause_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

static bool is_away(const struct err *e)
{
    return e->code == ERR_UNREACHABLE || e->code == ERR_UNAVAILABLE || e->code == ERR_TOO_MANY;
}

enum missing { MAY_BE_AWAY = 1, MAY_BE_GONE = 2 };

static int get(struct cli *c, const char *path, unsigned may, json_t **out)
{
    struct client_answer answer;
    struct err e = { 0 };
    if (client_request(c->client, "GET", path, NULL, NULL, REQUEST_TIMEOUT_MS, &answer, &e) < 0)
        return may & MAY_BE_AWAY && is_away(&e) ? EXIT_DONE : cli_fail(c, &e);
    int failed = client_check(&answer, &e);
    if (failed && may & MAY_BE_AWAY && is_away(&e)) {
        client_answer_done(&answer);
        return EXIT_DONE;
    }
    int rc = failed && may & MAY_BE_GONE && e.code == ERR_EVENTS_GONE ? EXIT_DONE : cli_fail_answer(c, &answer);
    if (rc == EXIT_DONE && !answer.body) {
        (void)!err_set(&e, ERR_INTERNAL, "%s answered something that is no JSON", path);
        rc = cli_fail(c, &e);
    }
    if (rc == EXIT_DONE)
        *out = TAKE(answer.body);
    client_answer_done(&answer);
    return rc;
}

int cli_get(struct cli *c, const char *path, json_t **out)
{
    return get(c, path, 0, out);
}

int cli_get_if_there(struct cli *c, const char *path, json_t **out)
{
    return get(c, path, MAY_BE_AWAY, out);
}

int cli_get_or_gone(struct cli *c, const char *path, bool waits, json_t **out)
{
    return get(c, path, MAY_BE_GONE | (waits ? MAY_BE_AWAY : 0), out);
}

int cli_list(struct cli *c, const char *path, json_t **list)
{
    CLEANUP(json_cleanup) json_t *all = NULL;
    char cursor[256] = "", next[PATH_MAX_LEN], escaped[sizeof cursor * 3];
    do {
        CLEANUP(json_cleanup) json_t *page = NULL;
        snprintf(next, sizeof next, "%s%climit=1000%s%s", path, strchr(path, '?') ? '&' : '?',
                 *cursor ? "&cursor=" : "", cli_escape(cursor, escaped, sizeof escaped));
        int rc = cli_get(c, next, &page);
        if (rc)
            return rc;
        snprintf(cursor, sizeof cursor, "%s", text_of(page, "next_cursor"));
        if (all)
            json_array_extend(json_object_get(all, "items"), json_object_get(page, "items"));
        else
            all = TAKE(page);
    } while (*cursor);
    json_object_set_new(all, "next_cursor", json_null());
    *list = TAKE(all);
    return EXIT_DONE;
}

const json_t *items_of(const json_t *list)
{
    return json_object_get(list, "items");
}

int cli_random_key(char key[CLI_KEY_SIZE], struct err *e)
{
    unsigned char bytes[(CLI_KEY_SIZE - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return err_errno(e, ERR_IO, "getrandom");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(key + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* The same request again while nobody answers: a restarting orchestrator is back within seconds, and the key makes it
 * safe. */
static int request_again(struct cli *c, const char *method, const char *path, const json_t *body,
                         const char *const *headers, struct client_answer *answer, struct err *e)
{
    int64_t until = time_monotonic_ms() + RETRY_FOR_MS;
    bool again = !strcmp(method, "POST");
    for (;;) {
        if (client_request(c->client, method, path, body, headers, REQUEST_TIMEOUT_MS, answer, e) == 0)
            return 0;
        if (!again || e->code != ERR_UNREACHABLE || time_monotonic_ms() >= until)
            return -1;
        pause_ms(RETRY_PAUSE_MS);
    }
}

int cli_send(struct cli *c, const char *method, const char *path, const json_t *body, const char *if_match,
             json_t **out)
{
    char key[CLI_KEY_SIZE], key_header[64], match_header[160];
    const char *headers[3] = { NULL };
    struct client_answer answer;
    struct err e = { 0 };
    size_t n = 0;
    if (!strcmp(method, "POST")) {
        if (cli_random_key(key, &e) < 0)
            return cli_fail(c, &e);
        snprintf(key_header, sizeof key_header, "Idempotency-Key: %s", key);
        headers[n++] = key_header;
    }
    if (if_match) {
        snprintf(match_header, sizeof match_header, "If-Match: %s", if_match);
        headers[n++] = match_header;
    }
    if (request_again(c, method, path, body, headers, &answer, &e) < 0)
        return cli_fail(c, &e);
    int rc = cli_fail_answer(c, &answer);
    if (rc == EXIT_DONE && out)
        *out = TAKE(answer.body);
    client_answer_done(&answer);
    return rc;
}

char *cli_escape(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + 4 < size; text++) {
        unsigned char ch = (unsigned char)*text;
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr("-._~,", ch))
            out[n++] = (char)ch;
        else
            n += (size_t)snprintf(out + n, size - n, "%%%02X", ch);
    }
    out[n] = '\0';
    return out;
}

int cli_attachment_id(struct cli *c, const char *prefix, char id[], size_t size)
{
    CLEANUP(json_cleanup) json_t *list = NULL;
    const json_t *one;
    size_t i, n = 0;
    struct err e = { 0 };
    int rc = cli_list(c, "/v1/attachments", &list);
    if (rc)
        return rc;
    json_array_foreach(items_of(list), i, one)
    {
        const char *full = text_of(one, "id");
        bool exact = !strcmp(full, prefix);
        if (!exact && (strlen(prefix) < 4 || strncmp(full, prefix, strlen(prefix))))
            continue;
        snprintf(id, size, "%s", full);
        n++;
        if (exact)
            return EXIT_DONE;
    }
    if (n == 1)
        return EXIT_DONE;
    if (n == 0) {
        (void)!err_set(&e, ERR_NOT_FOUND, "no attachment has an id that begins with \"%.40s\"%s", prefix,
                       strlen(prefix) < 4 ? " (at least 4 characters)" : "");
        return cli_fail(c, &e);
    }
    fprintf(stderr, "error: \"%s\" is the beginning of %zu ids:\n", prefix, n);
    json_array_foreach(items_of(list), i, one) if (!strncmp(text_of(one, "id"), prefix, strlen(prefix)))
        fprintf(stderr, "  %s  %s for %s\n", text_of(one, "id"), text_of(one, "state"), text_of(one, "compute_node"));
    return EXIT_USAGE;
}
