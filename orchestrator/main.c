/* main.c - memlaned: options, wiring, start, stop.
 *
 * Order: store (lock, migrate, check) -> events -> writer (loads the model) -> api (listens).  Stopped the other way
 * round by SIGTERM or SIGINT.  --place-only and --simulate answer from a rack file and start nothing of this. */
#include "api/api.h"
#include "events.h"
#include "log.h"
#include "notify.h"
#include "offline.h"
#include "simulate_command.h"
#include "store.h"
#include "units.h"
#include "writer.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_MS 10000

struct options {
    char listen_addr[64];
    unsigned listen_port;
    const char *db_path, *admin_token_file, *place_only, *restore;
    double time_scale;
    unsigned heartbeat_ms;
    bool check_invariants;
};

static const char usage[] =
    "usage: memlaned --db FILE [options]\n"
    "       memlaned --restore BACKUP --db FILE\n"
    "       memlaned --place-only RACK.json < requests.jsonl\n"
    "       memlaned --simulate RACK.json TRACE.csv [options; --simulate --help]\n"
    "\n"
    "  --listen ADDR:PORT       where the API and the dashboard listen (127.0.0.1:8080; port 0: any free one)\n"
    "  --db FILE                the database; made when it is not there\n"
    "  --admin-token-file FILE  where an admin token is written when the database has none that lives (mode 0600)\n"
    "  --restore BACKUP         check a backup, put it where no database is (--db), and end; at its next start "
    "memlaned\n"
    "                           changes nothing until an operator adopts (memlane recovery show, adopt)\n"
    "  --heartbeat-ms N         how often agents report (1000)\n"
    "  --time-scale F           multiplies every time limit (1.0); for tests\n"
    "  --check-invariants       check the whole model before every commit; for tests\n"
    "  --log-level LEVEL        error, warn, info, debug\n"
    "  --log-format FORMAT      text, json\n"
    "  --place-only RACK.json   answer placement requests from a rack file, without agents\n"
    "  --simulate RACK.json ... replay a trace of requests against a rack file; has to come first\n"
    "  --version, --help\n";

enum {
    OPT_LISTEN = 256,
    OPT_DB,
    OPT_ADMIN,
    OPT_HEARTBEAT,
    OPT_SCALE,
    OPT_CHECK,
    OPT_LEVEL,
    OPT_FORMAT,
    OPT_PLACE,
    OPT_RESTORE,
    OPT_VERSION,
    OPT_HELP
};

static const struct option long_options[] = {
    { "listen", required_argument, NULL, OPT_LISTEN },
    { "db", required_argument, NULL, OPT_DB },
    { "admin-token-file", required_argument, NULL, OPT_ADMIN },
    { "heartbeat-ms", required_argument, NULL, OPT_HEARTBEAT },
    { "time-scale", required_argument, NULL, OPT_SCALE },
    { "check-invariants", no_argument, NULL, OPT_CHECK },
    { "log-level", required_argument, NULL, OPT_LEVEL },
    { "log-format", required_argument, NULL, OPT_FORMAT },
    { "place-only", required_argument, NULL, OPT_PLACE },
    { "restore", required_argument, NULL, OPT_RESTORE },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

static NORETURN void fail_usage(const char *what)
{
    fprintf(stderr, "memlaned: %s; `memlaned --help` lists the options\n", what);
    exit(2);
}

static void parse_listen(struct options *o, const char *text)
{
    const char *colon = strrchr(text, ':');
    struct err e;
    uint64_t port;
    if (!colon || (size_t)(colon - text) >= sizeof o->listen_addr || colon == text ||
        units_parse_u64(colon + 1, &port, &e) < 0 || port > 65535)
        fail_usage("--listen takes ADDR:PORT");
    memcpy(o->listen_addr, text, (size_t)(colon - text));
    o->listen_addr[colon - text] = '\0';
    o->listen_port = (unsigned)port;
}

static void parse_number_option(struct options *o, int c, const char *text)
{
    struct err e;
    uint64_t n;
    if (c == OPT_HEARTBEAT) {
        if (units_parse_u64(text, &n, &e) < 0 || n < 10 || n > 60000)
            fail_usage("--heartbeat-ms takes a number from 10 to 60000");
        o->heartbeat_ms = (unsigned)n;
    } else if (units_parse_double(text, &o->time_scale, &e) < 0 || o->time_scale <= 0 || o->time_scale > 1000) {
        fail_usage("--time-scale takes a number greater than 0");
    }
}

static void parse_log_option(int c, const char *text)
{
    enum log_level level;
    if (c == OPT_FORMAT) {
        if (strcmp(text, "json") != 0 && strcmp(text, "text") != 0)
            fail_usage("--log-format takes text or json");
        log_set_json(!strcmp(text, "json"));
    } else {
        if (!log_level_parse(text, &level))
            fail_usage("--log-level takes error, warn, info or debug");
        log_set_level(level);
    }
}

static void parse_options(struct options *o, int argc, char **argv)
{
    int c;
    char wrong[120];
    opterr = 0; /* one line is enough */
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_LISTEN:
            parse_listen(o, optarg);
            break;
        case OPT_DB:
            o->db_path = optarg;
            break;
        case OPT_ADMIN:
            o->admin_token_file = optarg;
            break;
        case OPT_HEARTBEAT:
        case OPT_SCALE:
            parse_number_option(o, c, optarg);
            break;
        case OPT_CHECK:
            o->check_invariants = true;
            break;
        case OPT_LEVEL:
        case OPT_FORMAT:
            parse_log_option(c, optarg);
            break;
        case OPT_PLACE:
            o->place_only = optarg;
            break;
        case OPT_RESTORE:
            o->restore = optarg;
            break;
        case OPT_VERSION:
            puts("memlaned " MEMLANE_VERSION);
            exit(0);
        case OPT_HELP:
            fputs(usage, stdout);
            exit(0);
        default:
            snprintf(wrong, sizeof wrong, "%.60s is no option, or lacks its value", argv[optind - 1]);
            fail_usage(wrong);
        }
    }
    if (optind < argc)
        fail_usage("too many arguments");
    if (!o->place_only && !o->db_path)
        fail_usage("--db is missing");
}

struct daemon {
    struct store *store;
    struct events *events;
    struct writer *writer;
    struct api *api;
};

static int daemon_start(struct daemon *d, const struct options *o, struct err *e)
{
    struct writer_options wo = { .time_scale = o->time_scale, .check_invariants = o->check_invariants };
    if (store_open(&d->store, o->db_path, e) < 0 || events_new(&d->events, store_last_event(d->store), e) < 0 ||
        writer_start(&d->writer, d->store, d->events, &wo, e) < 0)
        return -1;
    struct api_options ao = {
        .listen_addr = o->listen_addr,
        .listen_port = o->listen_port,
        .writer = d->writer,
        .events = d->events,
        .db_path = o->db_path,
        .admin_token_file = o->admin_token_file,
        .time_scale = o->time_scale,
        .heartbeat_ms = o->heartbeat_ms,
    };
    return api_start(&d->api, &ao, e);
}

static void daemon_stop(struct daemon *d)
{
    api_stop(d->api);
    writer_stop(d->writer);
    events_free(d->events);
    store_close(d->store);
}

/* What systemctl status shows. */
static void tell_status(const struct daemon *d)
{
    uint64_t known = 0;
    const char *state = writer_recovering(d->writer, &known) ? "recovering: an operator has to adopt"
                        : writer_read_only(d->writer)        ? "read-only: the database takes no changes"
                                                             : "serving";
    notify_send("STATUS=%s; epoch %llu, revision %llu", state, (unsigned long long)writer_epoch(d->writer),
                (unsigned long long)writer_published_revision(d->writer));
}

/* Until a signal comes; its number.  The watchdog is fed while the writer's thread goes round. */
static int run(const struct daemon *d, const sigset_t *stop)
{
    int64_t every_ms = notify_watchdog_ms() / 3;
    uint64_t turns = writer_turns(d->writer);
    if (every_ms <= 0 || every_ms > STATUS_MS)
        every_ms = STATUS_MS;
    tell_status(d);
    for (;;) {
        struct timespec wait = { .tv_sec = every_ms / 1000, .tv_nsec = every_ms % 1000 * 1000000 };
        int sig = sigtimedwait(stop, NULL, &wait);
        if (sig > 0)
            return sig;
        uint64_t now = writer_turns(d->writer);
        if (now != turns || !writer_busy(d->writer))
            notify_send("WATCHDOG=1");
        turns = now;
        tell_status(d);
    }
}

static int restore(const struct options *o)
{
    struct backup_manifest made;
    struct err e;
    char at[UNITS_TIME_MAX];
    if (store_restore(o->restore, o->db_path, &made, &e) < 0) {
        fprintf(stderr, "memlaned: %s\n", e.detail);
        return 1;
    }
    printf("%s: restored from %s", o->db_path, o->restore);
    if (made.made_ms)
        printf(", made %s, commit %llu", units_format_time(made.made_ms, at), (unsigned long long)made.revision);
    printf("\nmemlaned will change nothing until an operator adopts: memlane recovery show, memlane recovery adopt\n");
    return 0;
}

static int serve(const struct options *o)
{
    struct daemon d = { 0 };
    struct err e;
    sigset_t stop;
    int sig;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL); /* before any thread */
    signal(SIGPIPE, SIG_IGN);
    if (daemon_start(&d, o, &e) < 0) {
        log_error("memlaned.start", "%s", e.detail);
        daemon_stop(&d);
        return 1;
    }
    notify_send("READY=1");
    log_info("memlaned.ready", "listens on %s:%u epoch=%llu", o->listen_addr, api_port(d.api),
             (unsigned long long)store_epoch(d.store));
    sig = run(&d, &stop);
    notify_send("STOPPING=1");
    log_info("memlaned.stop", "signal %d", sig);
    daemon_stop(&d);
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = { .listen_addr = "127.0.0.1", .listen_port = 8080, .time_scale = 1.0, .heartbeat_ms = 1000 };
    mallopt(M_ARENA_MAX, 2); /* few threads allocate much: one arena each would be memory for nothing */
    if (argc > 1 && !strcmp(argv[1], "--simulate"))
        return simulate_command(!strcmp(argv[0], "memlane simulate") ? argv[0] : "memlaned --simulate", argc - 1,
                                argv + 1);
    parse_options(&o, argc, argv);
    if (o.restore)
        return restore(&o);
    if (o.place_only)
        return offline_place_only(o.place_only, stdin, stdout) < 0 ? 1 : 0;
    return serve(&o);
}
