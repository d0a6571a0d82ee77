/* main.c - memlane-agent: options, the node's lock, start, stop; and --check. */
#include "agent.h"
#include "inventory.h"
#include "log.h"
#include "ocxl.h"
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
    { "check", no_argument, NULL, 'k' },
    { "log-level", required_argument, NULL, 'l' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    /* Each of these sets the key of the configuration that has its name. */
    { "url", required_argument, NULL, 'o' },
    { "ca-file", required_argument, NULL, 'o' },
    { "join-token-file", required_argument, NULL, 'o' },
    { "name", required_argument, NULL, 'o' },
    { "state-dir", required_argument, NULL, 'o' },
    { "run-dir", required_argument, NULL, 'o' },
    { "sysfs-root", required_argument, NULL, 'o' },
    { "procfs-root", required_argument, NULL, 'o' },
    { "ocxl-library", required_argument, NULL, 'o' },
    { "platform", required_argument, NULL, 'o' },
    { "settle-ms", required_argument, NULL, 'o' },
    { "time-scale", required_argument, NULL, 'o' },
    { 0 },
};

static const char usage[] =
    "Usage: memlane-agent [--config FILE] [OPTION...]\n"
    "Registers this node with the orchestrator, and carries out what it wants: adapters, buffers, memory blocks.\n"
    "\n"
    "  --config FILE           an INI file with [agent], [adapter NAME] and [switch NAME]\n"
    "  --check                 print what an operator should know about this node, and end\n"
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
    bool check;
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
    while ((c = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        switch (c) {
        case 'c':
            run->config_file = optarg;
            break;
        case 'k':
            run->check = true;
            break;
        case 'l':
            if (!log_level_parse(optarg, &level)) {
                fprintf(stderr, "memlane-agent: unknown log level %s\n", optarg);
                exit(DIE_OPTIONS);
            }
            log_set_level(level);
            break;
        case 'o':
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

static int print_check(const struct agent_config *c)
{
    static const char *const severities[] = { "info", "warning", "error" };
    static struct wire_finding findings[WIRE_MAX_FINDINGS];
    struct sysfs sys;
    struct ocxl_library ocxl;
    struct err e = { 0 }, no_ocxl = { 0 };
    struct inventory_borrowed none = { 0 };
    struct inventory_memory m;
    char total[UNITS_SIZE_MAX], free_text[UNITS_SIZE_MAX];
    bool errors = false;
    if (sysfs_init(&sys, c->sysfs_root, &e) < 0)
        die(1, &e);
    bool loaded = ocxl_library_load(&ocxl, c->ocxl_library, &no_ocxl) == 0;
    printf("node      %s (platform %s)\norchestrator  %s\n", c->name, c->platform, c->url);
    if (inventory_memory(&sys, &none, &m, &e) == 0)
        printf("memory    %s, %s free\n", units_format_size(m.memory_bytes, total),
               units_format_size(m.free_bytes, free_text));
    else
        printf("memory    unknown: %s\n", e.detail);
    for (unsigned i = 0; i < c->n_adapters; i++)
        printf("adapter   %s, %s, %u ports, %s\n", c->adapters[i].wire.name,
               c->adapters[i].wire.role == WIRE_MEMORY ? "lends memory" : "borrows memory", c->adapters[i].wire.ports,
               c->adapters[i].device);
    for (unsigned i = 0; i < c->n_switches; i++)
        printf("switch    %s at %s\n", c->switches[i].name, c->switches[i].address);
    unsigned n = inventory_findings(c, &sys, loaded ? NULL : no_ocxl.detail, findings);
    for (unsigned i = 0; i < n; i++) {
        printf("%-9s %s: %s\n          -> %s\n", severities[findings[i].severity], findings[i].code, findings[i].detail,
               findings[i].advice);
        errors = errors || findings[i].severity == WIRE_ERROR;
    }
    if (n == 0)
        printf("ok        nothing to be done\n");
    if (loaded)
        ocxl_library_unload(&ocxl);
    sysfs_done(&sys);
    return errors ? 1 : 0;
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
    return run.check ? print_check(&config) : serve(&config, &signals);
}
