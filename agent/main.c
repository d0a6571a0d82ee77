/* main.c - memlane-agent: options, the node's lock, start, stop. */
#include "agent.h"
#include "checkup.h"
#include "log.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_WAIT_MS 3000
#define DIE_OPTIONS 2

static const struct option long_options[] = {
    { "config", required_argument, NULL, 'c' },
    { "check", no_argument, NULL, 'C' },
    { "output", required_argument, NULL, 'o' },
    { "log-level", required_argument, NULL, 'l' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    /* Each of these sets the key of the configuration that has its name. */
    { "url", required_argument, NULL, 'k' },
    { "ca-file", required_argument, NULL, 'k' },
    { "join-token-file", required_argument, NULL, 'k' },
    { "name", required_argument, NULL, 'k' },
    { "state-dir", required_argument, NULL, 'k' },
    { "run-dir", required_argument, NULL, 'k' },
    { "sysfs-root", required_argument, NULL, 'k' },
    { "procfs-root", required_argument, NULL, 'k' },
    { "ocxl-library", required_argument, NULL, 'k' },
    { "platform", required_argument, NULL, 'k' },
    { "settle-ms", required_argument, NULL, 'k' },
    { "time-scale", required_argument, NULL, 'k' },
    { 0 },
};

static const char usage[] =
    "Usage: memlane-agent [--config FILE] [OPTION...]\n"
    "Registers this node with the orchestrator, and carries out what it wants: adapters, buffers, memory blocks.\n"
    "\n"
    "  --config FILE           an INI file with [agent], [adapter NAME] and [switch NAME]\n"
    "  --check                 print what an operator should know about this node, and end: 0 nothing is wrong,\n"
    "                          1 something is; touches no adapter, no memory, and no lender\n"
    "  -o, --output json       with --check: JSON instead of text\n"
    "  --url URL               the orchestrator (http://127.0.0.1:8080)\n"
    "  --ca-file FILE          the certificate authority that the orchestrator's certificate has to come from\n"
    "  --join-token-file FILE  the token to enrol with, while there is no credential in the state directory\n"
    "  --name NAME             this node's name (the host's)\n"
    "  --state-dir DIR         credential and newest epoch (/var/lib/memlane)\n"
    "  --run-dir DIR           lock, labels, lender sockets (/run/memlane)\n"
    "  --sysfs-root DIR        /sys          --procfs-root DIR  /proc\n"
    "  --ocxl-library FILE     libocxl.so.1  --platform NAME    linux or emulated\n"
    "  --settle-ms N           how long a channel trains (5000)\n"
    "  --time-scale F          multiplies every timeout\n"
    "  --log-level LEVEL       error, warn, info, debug\n"
    "  --help, --version\n";

struct run {
    const char *config_file;
    bool check, json;
    const char *overrides[32][2];
    size_t n_overrides;
};

static NORETURN void die(int status, const struct err *e)
{
    log_error("agent.end", "%s", e->detail);
    exit(status);
}

static void read_options(int argc, char **argv, struct run *run)
{
    int c, index = 0;
    enum log_level level;
    while ((c = getopt_long(argc, argv, "o:", long_options, &index)) != -1) {
        switch (c) {
        case 'o':
            if (strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0) {
                fprintf(stderr, "memlane-agent: the output is text or json, not %s\n", optarg);
                exit(DIE_OPTIONS);
            }
            run->json = strcmp(optarg, "json") == 0;
            break;
        case 'c':
            run->config_file = optarg;
            break;
        case 'C':
            run->check = true;
            break;
        case 'l':
            if (!log_level_parse(optarg, &level)) {
                fprintf(stderr, "memlane-agent: unknown log level %s\n", optarg);
                exit(DIE_OPTIONS);
            }
            log_set_level(level);
            break;
        case 'k':
            if (run->n_overrides == ARRAY_LEN(run->overrides)) {
                fprintf(stderr, "memlane-agent: too many options\n");
                exit(DIE_OPTIONS);
            }
            run->overrides[run->n_overrides][0] = long_options[index].name;
            run->overrides[run->n_overrides++][1] = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case 'v':
            puts("memlane-agent " MEMLANE_VERSION);
            exit(0);
        default:
            fputs("Try memlane-agent --help\n", stderr);
            exit(DIE_OPTIONS);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "memlane-agent: what is %s?\n", argv[optind]);
        exit(DIE_OPTIONS);
    }
}

static int load_config(const struct run *run, struct agent_config *c, struct err *e)
{
    if (agent_config_load(c, run->config_file, e) < 0)
        return -1;
    for (size_t i = 0; i < run->n_overrides; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s", run->overrides[i][0]);
        for (char *p = key; *p; p++)
            if (*p == '-')
                *p = '_';
        if (agent_config_set(c, key, run->overrides[i][1], e) < 0)
            return -1;
    }
    return agent_config_finish(c, e);
}

/* Creates the last component of 'path', for this user only. */
static int make_dir(const char *path, struct err *e)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_IO, "cannot make %s", path);
    return 0;
}

/* The node's lock: whoever touches kernel, adapters or lenders has it; hot-plug children of an agent that died keep it.
 */
static int take_lock(const struct agent_config *c, struct err *e)
{
    char path[CONFIG_PATH + 8];
    snprintf(path, sizeof path, "%s/lock", c->run_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open %s", path);
    for (int64_t told_at = time_monotonic_ms() + 500; flock(fd, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            int rc = err_errno(e, ERR_IO, "cannot lock %s", path);
            close(fd);
            return rc;
        }
        if (time_monotonic_ms() >= told_at) {
            log_warn("lock.wait", "%s is held by another agent, or by a child of one that ended", path);
            told_at = time_monotonic_ms() + 10000;
        }
        poll(NULL, 0, 5);
    }
    return fd;
}

static int serve(const struct agent_config *c, const sigset_t *signals)
{
    struct err e = { 0 };
    struct agent *a;
    if (make_dir(c->state_dir, &e) < 0 || make_dir(c->run_dir, &e) < 0)
        die(1, &e);
    int lock_fd = take_lock(c, &e);
    if (lock_fd < 0 || agent_new(&a, c, lock_fd, &e) < 0 || agent_start(a, &e) < 0)
        die(1, &e);
    log_info("agent.start", "name=%s version=%s url=%s", c->name, MEMLANE_VERSION, c->url);
    int sig = 0;
    while (sigwait(signals, &sig) != 0)
        ;
    log_info("agent.stop", "signal=%d", sig);
    if (!agent_stop(a, STOP_WAIT_MS)) {
        log_warn("agent.stop", "an order is still under way: the next agent waits for its end");
        _exit(0);
    }
    agent_free(a);
    close(lock_fd);
    return 0;
}

int main(int argc, char **argv)
{
    static struct agent_config config; /* too large for the stack's liking */
    struct run run = { 0 };
    struct err e = { 0 };
    sigset_t signals;
    mallopt(M_ARENA_MAX, 1); /* three threads that mostly wait: one heap is enough */
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    umask(077);
    read_options(argc, argv, &run);
    if (load_config(&run, &config, &e) < 0)
        die(DIE_OPTIONS, &e);
    return run.check ? checkup_print(&config, run.json) : serve(&config, &signals);
}
