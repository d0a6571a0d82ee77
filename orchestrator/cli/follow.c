#include "follow.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECONNECT_PAUSE_MS 100
#define LOOK_PAUSE_MS 1000 /* without a stream, since there are too many */

struct follow {
    struct cli *cli;
    char object[80]; /* "attachment/ID" */
    char last_id[32];
    int64_t began_ms;
    bool settled, line_open, tty;
};

static struct client *interrupted_client; /* what SIGINT interrupts; a handler has no argument */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig UNUSED)
{
    interrupted = 1;
    client_interrupt(interrupted_client);
}

static bool state_settled(const char *state)
{
    return strcmp(state, "pending") && strcmp(state, "detaching");
}

static void close_line(struct follow *f)
{
    if (f->line_open)
        fputc('\n', stderr);
    f->line_open = false;
}

/* On a terminal the count of blocks is one line that changes; elsewhere only steps are printed. */
static void show(struct follow *f, const char *type, const json_t *event)
{
    const char *to = text_of(event, "to"), *reason = text_of(event, "reason");
    const char *verb = !strcmp(type, "attachment.step") ? text_of(event, "from") : "do";
    char what[64]; /* "online", "undo online", "hold online" */
    int64_t ms = time_monotonic_ms() - f->began_ms;
    if (!strcmp(type, "attachment.progress")) {
        if (f->tty && fprintf(stderr, "\r%8lld ms  %s %s\033[K", (long long)ms, to, reason) > 0)
            f->line_open = true;
        return;
    }
    close_line(f);
    snprintf(what, sizeof what, "%.30s%s%.30s", strcmp(verb, "do") ? verb : "", strcmp(verb, "do") ? " " : "", to);
    fprintf(stderr, "%8lld ms  %-10s %s\n", (long long)ms, what, reason);
}

static bool on_event(void *arg, const struct client_event *ev)
{
    struct follow *f = arg;
    CLEANUP(json_cleanup) json_t *event = json_loads(ev->data, 0, NULL);
    if (ev->id[0])
        snprintf(f->last_id, sizeof f->last_id, "%s", ev->id);
    if (!strcmp(ev->type, "reset"))
        return false; /* the past is gone: look at the present */
    if (!event || strcmp(text_of(event, "object"), f->object) || strncmp(ev->type, "attachment.", 11))
        return true;
    if (!f->cli->json)
        show(f, ev->type, event);
    if (!strcmp(ev->type, "attachment.state"))
        f->settled = state_settled(text_of(event, "to"));
    return !f->settled;
}

int follow_begin(struct cli *c, struct follow_start *start)
{
    CLEANUP(json_cleanup) json_t *page = NULL;
    int rc = cli_get(c, "/v1/attachments?limit=1", &page);
    if (rc == EXIT_DONE)
        *start = (struct follow_start){ number_of(page, "as_of"), time_monotonic_ms() };
    return rc;
}

static int out_of_time(struct follow *f, const char *id)
{
    close_line(f);
    fprintf(stderr, "%s; it goes on: memlane attachment show %s\n", interrupted ? "interrupted" : "not done yet", id);
    return EXIT_TIMEOUT;
}

static void wait_ms(long ms)
{
    struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&pause, NULL); /* a signal ends it */
}

/* One connection's worth of events, then a look at the attachment itself.  An orchestrator that is away is starting
 * again: nothing is lost, the stream goes on behind the last event. */
static int watch_once(struct follow *f, const char *id, long left_ms, json_t **out)
{
    struct err e = { 0 };
    client_limit_stream(f->cli->client, left_ms);
    int stream = client_stream(f->cli->client, "/v1/events", f->last_id, on_event, f, &e);
    client_resume(f->cli->client);
    if (interrupted)
        return out_of_time(f, id);
    CLEANUP(json_cleanup) json_t *now = NULL;
    char path[128];
    snprintf(path, sizeof path, "/v1/attachments/%s", id);
    int rc = stream < 0 && e.code == ERR_UNREACHABLE ? EXIT_DONE : cli_get_if_there(f->cli, path, &now);
    if (rc == EXIT_DONE && now && state_settled(text_of(now, "state")))
        *out = TAKE(now);
    else if (rc == EXIT_DONE)
        wait_ms(stream < 0 && e.code == ERR_TOO_MANY ? LOOK_PAUSE_MS : RECONNECT_PAUSE_MS);
    return rc;
}

int follow_attachment(struct cli *c, const char *id, const struct follow_start *start, json_t **out)
{
    struct follow f = { .cli = c, .began_ms = start->at_ms, .tty = isatty(STDERR_FILENO) };
    struct sigaction action = { .sa_handler = on_interrupt }, before;
    snprintf(f.object, sizeof f.object, "attachment/%s", id);
    snprintf(f.last_id, sizeof f.last_id, "%llu", (unsigned long long)start->after);
    interrupted_client = c->client;
    sigaction(SIGINT, &action, &before);
    int rc = EXIT_DONE;
    json_t *found = NULL;
    while (rc == EXIT_DONE && !found) {
        long left_ms = c->timeout_ms - (long)(time_monotonic_ms() - f.began_ms);
        rc = left_ms > 0 ? watch_once(&f, id, left_ms, &found) : out_of_time(&f, id);
    }
    close_line(&f);
    sigaction(SIGINT, &before, NULL);
    client_limit_stream(c->client, 0);
    if (rc == EXIT_DONE)
        *out = found;
    return rc;
}
