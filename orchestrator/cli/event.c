/* event.c - event list, follow. */
#include "cli.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RECONNECT_PAUSE_MS 500
#define LIMIT_DEFAULT 50

struct follower {
    struct cli *cli;
    char last_id[32];
};

static void print_event(const struct cli *c, const json_t *event)
{
    const char *from = text_of(event, "from"), *to = text_of(event, "to"), *reason = text_of(event, "reason");
    if (c->json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        printf("%8" PRIu64 "  %s  %-20s %-28s %s%s%s%s%s  [%s]\n", number_of(event, "id"), text_of(event, "at"),
               text_of(event, "type"), text_of(event, "object"), from, *from && *to ? " -> " : "", to,
               *reason ? ": " : "", reason, text_of(event, "actor"));
    }
    fflush(stdout);
}

static int number_option(const char *name, const char *text, uint64_t fallback, uint64_t *out)
{
    struct err e = { 0 };
    *out = fallback;
    if (text && units_parse_u64(text, out, &e) < 0)
        return cli_usage("--%s takes a number, not \"%.40s\"", name, text);
    return EXIT_DONE;
}

int command_event_list(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *latest = NULL, *page = NULL;
    uint64_t after, limit;
    char path[128];
    int rc = number_option("limit", c->options.limit, LIMIT_DEFAULT, &limit);
    if (rc == EXIT_DONE)
        rc = number_option("after", c->options.after, 0, &after);
    if (rc == EXIT_DONE && !c->options.after) {
        rc = cli_get(c, "/v1/attachments?limit=1", &latest); /* for its as_of: the last event's number */
        uint64_t last = number_of(latest, "as_of");
        after = last > limit ? last - limit : 0;
    }
    if (rc)
        return rc;
    snprintf(path, sizeof path, "/v1/events?after=%" PRIu64 "&limit=%" PRIu64, after, limit);
    if ((rc = cli_get(c, path, &page)))
        return rc;
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(page, "items"), i, one) print_event(c, one);
    return EXIT_DONE;
}

static bool on_event(void *arg, const struct client_event *ev)
{
    struct follower *f = arg;
    CLEANUP(json_cleanup) json_t *event = json_loads(ev->data, 0, NULL);
    if (ev->id[0])
        snprintf(f->last_id, sizeof f->last_id, "%s", ev->id);
    if (!strcmp(ev->type, "reset"))
        fputs("warning: the events up to here are gone from the log\n", stderr);
    else if (event)
        print_event(f->cli, event);
    return !ferror(stdout);
}

int command_event_follow(struct cli *c)
{
    struct follower f = { .cli = c };
    struct timespec pause = { 0, RECONNECT_PAUSE_MS * 1000000L };
    struct err e = { 0 };
    uint64_t after;
    int rc = number_option("after", c->options.after, 0, &after);
    if (rc)
        return rc;
    if (c->options.after)
        snprintf(f.last_id, sizeof f.last_id, "%" PRIu64, after);
    while (!ferror(stdout)) {
        int stream = client_stream(c->client, "/v1/events", f.last_id[0] ? f.last_id : NULL, on_event, &f, &e);
        if (stream < 0 && e.code != ERR_UNREACHABLE && e.code != ERR_TIMEOUT && e.code != ERR_UNAVAILABLE)
            return cli_fail(c, &e);
        if (stream < 0 && !f.last_id[0])
            return cli_fail(c, &e); /* nobody there from the start */
        nanosleep(&pause, NULL);
    }
    return EXIT_DONE;
}
