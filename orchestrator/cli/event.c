/* event.c - event list, follow. */
#include "list.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECONNECT_PAUSE_MS 500
#define LIMIT_DEFAULT 50
#define PAGE_MAX 1000
#define WHAT_MAX 320

struct follower {
    struct cli *cli;
    char last_id[32];
    bool reset; /* the stream does not have the past that it was asked for; it goes on behind 'reset_to' */
    uint64_t reset_to;
};

/* ---- one event ----------------------------------------------------------------------------------------------------
 */
static const char *size_text(const char *number, char buf[UNITS_SIZE_MAX])
{
    struct err ignored;
    uint64_t bytes;
    return units_parse_u64(number, &bytes, &ignored) == 0 ? units_format_size(bytes, buf) : number;
}

/* "pending -> attached", "undo map", "412GiB -> 348GiB: free memory" */
static const char *what_happened(const json_t *event, char buf[WHAT_MAX])
{
    const char *type = text_of(event, "type"), *from = text_of(event, "from"), *to = text_of(event, "to");
    const char *reason = text_of(event, "reason");
    char was[UNITS_SIZE_MAX], is[UNITS_SIZE_MAX];
    bool step = !strcmp(type, "attachment.step");
    if (!strcmp(type, "node.memory")) {
        from = size_text(from, was);
        to = size_text(to, is);
        reason = "free memory";
    }
    snprintf(buf, WHAT_MAX, "%.60s%s%.60s%s%.180s", from,
             !*from || !*to ? ""
             : step         ? " "
                            : " -> ",
             to, *reason ? ": " : "", reason);
    return buf;
}

static void print_event(const struct cli *c, const json_t *event)
{
    char what[WHAT_MAX];
    if (c->json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        printf("%8" PRIu64 "  %s  %-20s %-28s %s  [%s]\n", number_of(event, "id"), text_of(event, "at"),
               text_of(event, "type"), text_of(event, "object"), what_happened(event, what), text_of(event, "actor"));
    }
    fflush(stdout);
}

/* ---- list ---------------------------------------------------------------------------------------------------------
 */
static void event_row(const struct cli *c UNUSED, const json_t *event, struct table *t)
{
    char id[24], what[WHAT_MAX];
    snprintf(id, sizeof id, "%" PRIu64, number_of(event, "id"));
    table_add(t, (const char *[]){ id, text_of(event, "at"), text_of(event, "type"), text_of(event, "object"),
                                   what_happened(event, what), text_of(event, "actor") });
}

/* Numbers on their way: where they began and where they got to is what counts. */
static bool is_count(const json_t *event)
{
    const char *type = text_of(event, "type");
    return !strcmp(type, "attachment.progress") || !strcmp(type, "node.memory");
}

/* The next event of the same object, when it goes on counting; NULL when it says something else, or there is none. */
static json_t *next_count(const json_t *events, size_t at)
{
    const json_t *event = json_array_get(events, at);
    for (size_t i = at + 1; i < json_array_size(events); i++) {
        json_t *later = json_array_get(events, i);
        if (!strcmp(text_of(later, "object"), text_of(event, "object")))
            return strcmp(text_of(later, "type"), text_of(event, "type")) ? NULL : later;
    }
    return NULL;
}

/* Leaves one event of each run of counts: the last one, from where the first one began.  Their number. */
static size_t fold(json_t *events)
{
    size_t folded = 0;
    for (size_t i = 0; i < json_array_size(events);) {
        json_t *event = json_array_get(events, i), *later = is_count(event) ? next_count(events, i) : NULL;
        if (!later) {
            i++;
            continue;
        }
        json_object_set(later, "from", json_object_get(event, "from"));
        json_array_remove(events, i);
        folded++;
    }
    return folded;
}

static int number_option(const char *name, const char *text, uint64_t fallback, uint64_t *out)
{
    struct err e = { 0 };
    *out = fallback;
    if (text && units_parse_u64(text, out, &e) < 0)
        return cli_usage("--%s takes a number, not \"%.40s\"", name, text);
    return EXIT_DONE;
}

/* ---- pages of the log, which forgets its beginning ------------------------------------------------------------------
 */
/* Where the last 'n' events begin. */
static int last_events(struct cli *c, uint64_t n, uint64_t *after)
{
    CLEANUP(json_cleanup) json_t *oldest = NULL;
    int rc = cli_get(c, "/v1/events?limit=1", &oldest);
    uint64_t last = number_of(oldest, "as_of"), first = number_of(json_array_get(items_of(oldest), 0), "id");
    *after = last > n ? last - n : 0;
    if (first > *after)
        *after = first - 1;
    return rc;
}

/* At most 'limit' events behind '*after', which gets to where the next page begins.  What is gone is skipped, and said.
 * Who waits has no page when nobody is there. */
static int read_page(struct cli *c, uint64_t *after, uint64_t limit, bool waits, json_t **out)
{
    char path[512], object[320];
    const char *only = c->options.object;
    cli_escape(only ? only : "", object, sizeof object);
    for (;;) {
        CLEANUP(json_cleanup) json_t *page = NULL;
        snprintf(path, sizeof path, "/v1/events?after=%" PRIu64 "&limit=%" PRIu64 "%s%s", *after, limit,
                 only ? "&object=" : "", object);
        int rc = cli_get_or_gone(c, path, waits, &page);
        uint64_t oldest = number_of(page, "oldest_index");
        if (rc == EXIT_DONE && oldest > *after + 1) {
            fprintf(stderr, "warning: events %" PRIu64 " to %" PRIu64 " are gone from the log\n", *after + 1,
                    oldest - 1);
            *after = oldest - 1;
            continue;
        }
        const json_t *items = items_of(page);
        if (json_array_size(items))
            *after = number_of(json_array_get(items, json_array_size(items) - 1), "id");
        *out = TAKE(page);
        return rc;
    }
}

/* The first 'n' events behind 'after' (0: all); of --object only. */
static int read_events(struct cli *c, uint64_t after, uint64_t n, json_t **out)
{
    CLEANUP(json_cleanup) json_t *all = NULL;
    uint64_t got = 0;
    bool more = true;
    while (more && (!n || got < n)) {
        CLEANUP(json_cleanup) json_t *page = NULL;
        int rc = read_page(c, &after, n && n - got < PAGE_MAX ? n - got : PAGE_MAX, false, &page);
        if (rc)
            return rc;
        got += json_array_size(items_of(page));
        more = *text_of(page, "next_cursor");
        if (all) {
            json_array_extend(json_object_get(all, "items"), json_object_get(page, "items"));
            json_object_set(all, "next_cursor", json_object_get(page, "next_cursor"));
        } else {
            all = TAKE(page);
        }
    }
    *out = TAKE(all);
    return EXIT_DONE;
}

int command_event_list(struct cli *c)
{
    static const struct table_column columns[] = {
        { "ID", TABLE_NUMBER },   { "AT", TABLE_TEXT },   { "TYPE", TABLE_TEXT },
        { "OBJECT", TABLE_TEXT }, { "WHAT", TABLE_TEXT }, { "BY", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), event_row };
    CLEANUP(json_cleanup) json_t *page = NULL;
    uint64_t after, limit;
    bool folds = !c->json && !c->options.all, from_the_end = !c->options.after;
    int rc = number_option("limit", c->options.limit, LIMIT_DEFAULT, &limit);
    if (rc == EXIT_DONE)
        rc = number_option("after", c->options.after, 0, &after);
    if (rc == EXIT_DONE && !limit)
        rc = cli_usage("--limit takes a number from 1");
    uint64_t asked = folds && limit < PAGE_MAX ? PAGE_MAX : limit;
    if (rc == EXIT_DONE && from_the_end && !c->options.object)
        rc = last_events(c, asked, &after);
    if (rc || (rc = read_events(c, after, from_the_end && c->options.object ? 0 : asked, &page)))
        return rc;
    json_t *events = json_object_get(page, "items");
    size_t folded = folds ? fold(events) : 0;
    while (json_array_size(events) > limit)
        json_array_remove(events, from_the_end ? 0 : json_array_size(events) - 1);
    rc = list_print(c, page, &view);
    if (folded && isatty(STDERR_FILENO))
        fputs("(counts on their way are folded into their last; --all shows each)\n", stderr);
    return rc;
}

/* ---- follow -------------------------------------------------------------------------------------------------------
 */
static bool on_event(void *arg, const struct client_event *ev)
{
    struct follower *f = arg;
    CLEANUP(json_cleanup) json_t *event = json_loads(ev->data, 0, NULL);
    if (!strcmp(ev->type, "reset")) {
        f->reset = true;
        f->reset_to = number_of(event, "last");
        return false;
    }
    if (ev->id[0])
        snprintf(f->last_id, sizeof f->last_id, "%s", ev->id);
    if (event)
        print_event(f->cli, event);
    return !ferror(stdout);
}

/* The log from its beginning up to where the stream goes on, when it is the one that was followed. */
static int read_what_is_left(struct follower *f)
{
    struct err ignored;
    uint64_t after = 0, until = f->reset_to;
    f->reset = false;
    if (units_parse_u64(f->last_id, &after, &ignored) < 0 || after > until) {
        fputs("warning: the events up to here are gone from the log\n", stderr);
        after = until;
    }
    while (after < until && !ferror(stdout)) {
        CLEANUP(json_cleanup) json_t *page = NULL;
        const json_t *event;
        size_t i;
        int rc = read_page(f->cli, &after, PAGE_MAX, true, &page);
        if (rc)
            return rc;
        if (!page)
            until = after; /* the stream goes on here, and says again what is gone */
        json_array_foreach(items_of(page), i, event) print_event(f->cli, event);
        if (!json_array_size(items_of(page)))
            break;
    }
    snprintf(f->last_id, sizeof f->last_id, "%" PRIu64, after > until ? after : until);
    return EXIT_DONE;
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
        if (f.reset && (rc = read_what_is_left(&f)))
            return rc;
        nanosleep(&pause, NULL);
    }
    return EXIT_DONE;
}
