/* main.c - memlane-emulator: options, wiring, start, stop; and the ctl client. */
#include "blocks.h"
#include "control.h"
#include "donor.h"
#include "emulator.h"
#include "log.h"
#include "power.h"
#include "segments.h"
#include "setup.h"
#include "units.h"
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define VMS_MAX 16

struct options {
    struct setup_options setup;
    const char *dir;
    bool resume;
    const char *vms[VMS_MAX];
    unsigned n_vms;
    bool link_tcp;
    uint16_t link_port;
    char lender[PATH_MAX], library[PATH_MAX];
};

static int usage(FILE *f, int status)
{
    fprintf(
        f,
        "usage: memlane-emulator run --rack FILE --dir DIR [--resume] [--agent-url URL] [--join-token-file FILE]\n"
        "           [--lender-program PATH] [--ocxl-library PATH] [--lender-backing sparse|locked] [--settle-ms N]\n"
        "           [--vm NODE,qmp=SOCKET[,window=FILE][,memory=FILE@ADDR][,numa=N][,counted=new]]...\n"
        "           [--link-port PORT] [--own-lenders NODE[,NODE...]]\n"
        "           [--log-level error|warn|info|debug]\n"
        "       memlane-emulator ctl --dir DIR COMMAND...\n"
        "       memlane-emulator --version\n\ncommands:\n%s",
        control_help);
    return status;
}

/* ---- run ---- */
static void emulator_done(struct emulator *em)
{
    control_free(em->control);
    vms_free(em);
    if (em->box)
        em->box->changed = NULL;
    switches_free(em->switches);
    link_free(em->link);
    for (size_t i = 0; em->box && i < em->box->n_nodes; i++)
        for (unsigned a = 0; a < em->box->nodes[i].n_adapters; a++) {
            segments_drop_all(&em->box->nodes[i].adapters[a]);
            donor_detach(&em->box->nodes[i].adapters[a]);
        }
    sysmem_free(em->sysmem);
    loop_free(em->loop);
    trace_free(em->trace);
    box_free(em->box);
}

static int load_box(struct emulator *em, const struct options *o, struct err *e)
{
    char path[PATH_MAX + 32];
    struct rack rack = { 0 };
    bool resumed;

    if (rack_load(&rack, o->setup.rack_path, e) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/emulator.state", o->dir);
    if (box_new(&em->box, &rack, path, o->resume, e) < 0) {
        rack_done(&rack);
        return -1;
    }
    snprintf(em->box->dir, sizeof em->box->dir, "%s", o->dir);
    em->box->memory = donor_memory;
    resumed = em->box->state.resumed;
    snprintf(path, sizeof path, "%s/trace.jsonl", o->dir);
    if (trace_new(&em->trace, path, &em->box->state.head->trace_seq, !resumed, TRACE_MAX_BYTES, e) < 0)
        return -1;
    em->box->trace = em->trace;
    for (size_t i = 0; i < em->box->n_nodes; i++)
        blocks_recount(&em->box->nodes[i]);
    return setup_make(em->box, &o->setup, !resumed, e);
}

/* The port that an earlier emulator of this rack chose: machines that run know no other.  0: none. */
static uint16_t earlier_port(const char *path)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[16] = "";
    uint64_t port = 0;
    struct err e = { 0 };

    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return units_parse_u64(text, &port, &e) == 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* The port stands in DIR/link.port. */
static int listen_to_machines(struct emulator *em, const struct options *o, struct err *e)
{
    char path[PATH_MAX + 32], text[16];
    uint16_t port = o->link_port;

    snprintf(path, sizeof path, "%s/link.port", o->dir);
    if (port == 0 && em->box->state.resumed)
        port = earlier_port(path);
    if (link_listen_tcp(em->link, em->loop, &port, e) < 0)
        return -1;
    int len = snprintf(text, sizeof text, "%u\n", port);
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, text, (size_t)len) == len ? 0 : err_errno(e, ERR_IO, "%s", path);
}

static int start(struct emulator *em, const struct options *o, struct err *e)
{
    char path[PATH_MAX + 32];

    if (load_box(em, o, e) < 0 || loop_new(&em->loop, e) < 0)
        return -1;
    if (!em->box->state.resumed && power_cold_start(em, e) < 0)
        return -1;
    em->box->changed = segments_changed;
    snprintf(path, sizeof path, "%s/sys", o->dir);
    if (sysmem_new(&em->sysmem, em->box, em->loop, path, e) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/emulator.sock", o->dir);
    if (link_new(&em->link, em->box, em->loop, path, e) < 0 || switches_new(&em->switches, em->box, em->loop, e) < 0)
        return -1;
    for (unsigned i = 0; i < o->n_vms; i++)
        if (vm_add(em, o->vms[i], e) < 0)
            return -1;
    if (o->link_tcp && listen_to_machines(em, o, e) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/ctl.sock", o->dir);
    return control_new(&em->control, em, path, e);
}

struct signals {
    struct loop_source source;
    struct loop *loop;
};

static void signal_ready(struct loop_source *s, uint32_t events)
{
    struct signalfd_siginfo info;

    (void)events;
    if (read(s->fd, &info, sizeof info) == (ssize_t)sizeof info)
        loop_stop(((struct signals *)s)->loop);
}

static int catch_signals(struct signals *s, struct loop *l, struct err *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->loop = l;
    s->source = (struct loop_source){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .ready = signal_ready };
    if (s->source.fd < 0)
        return err_errno(e, ERR_IO, "signalfd");
    return loop_add(l, &s->source, EPOLLIN, e);
}

static int serve(const struct options *o, struct err *e)
{
    struct emulator em = { 0 };
    struct signals signals = { 0 };
    size_t n_adapters = 0;
    int rc = start(&em, o, e);

    if (rc == 0)
        rc = catch_signals(&signals, em.loop, e);
    for (size_t i = 0; rc == 0 && i < em.box->n_nodes; i++)
        n_adapters += em.box->nodes[i].n_adapters;
    if (rc == 0) {
        printf("ready rack=%s nodes=%zu adapters=%zu switches=%zu\n", em.box->rack.name, em.box->n_nodes, n_adapters,
               em.box->n_switches);
        fflush(stdout);
        rc = loop_run(em.loop, e);
        setup_remove(em.box);
    }
    emulator_done(&em);
    return rc;
}

/* One emulator a directory. */
static int lock_dir(const char *dir, struct err *e)
{
    char path[PATH_MAX + 32];
    int fd;

    snprintf(path, sizeof path, "%s/emulator.lock", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* kept until the process ends */
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_BUSY, "another emulator runs in %s", dir);
    return 0;
}

static void default_programs(struct options *o)
{
    ssize_t n = readlink("/proc/self/exe", o->lender, sizeof o->lender - 64);
    char *slash;

    o->lender[n > 0 ? n : 0] = '\0';
    slash = strrchr(o->lender, '/');
    if (!slash)
        return;
    *slash = '\0';
    memcpy(o->library, o->lender, strlen(o->lender) + 1);
    strcat(o->lender, "/memlane-lender");
    slash = strrchr(o->library, '/');
    if (slash)
        *slash = '\0';
    strcat(o->library, "/lib/emulated/libocxl.so");
    if (!o->setup.lender_program)
        o->setup.lender_program = o->lender;
    if (!o->setup.ocxl_library)
        o->setup.ocxl_library = o->library;
}

static int parse_run(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        { "rack", required_argument, NULL, 'r' },
        { "dir", required_argument, NULL, 'd' },
        { "resume", no_argument, NULL, 'R' },
        { "agent-url", required_argument, NULL, 'u' },
        { "join-token-file", required_argument, NULL, 'j' },
        { "lender-program", required_argument, NULL, 'p' },
        { "ocxl-library", required_argument, NULL, 'o' },
        { "lender-backing", required_argument, NULL, 'b' },
        { "settle-ms", required_argument, NULL, 's' },
        { "log-level", required_argument, NULL, 'l' },
        { "vm", required_argument, NULL, 'v' },
        { "link-port", required_argument, NULL, 'L' },
        { "own-lenders", required_argument, NULL, 'O' },
        { NULL, 0, NULL, 0 },
    };
    enum log_level level;
    struct err e = { 0 };
    uint64_t ms;
    int c;

    o->setup.settle_ms = 1;
    o->setup.lender_backing = "sparse";
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'r':
            o->setup.rack_path = optarg;
            break;
        case 'd':
            o->dir = optarg;
            break;
        case 'R':
            o->resume = true;
            break;
        case 'u':
            o->setup.agent_url = optarg;
            break;
        case 'j':
            o->setup.join_token_file = optarg;
            break;
        case 'p':
            o->setup.lender_program = optarg;
            break;
        case 'o':
            o->setup.ocxl_library = optarg;
            break;
        case 'b':
            if (strcmp(optarg, "sparse") != 0 && strcmp(optarg, "locked") != 0)
                return -1;
            o->setup.lender_backing = optarg;
            break;
        case 's':
            if (units_parse_u64(optarg, &ms, &e) < 0 || ms > 60000)
                return -1;
            o->setup.settle_ms = (unsigned)ms;
            break;
        case 'v':
            if (o->n_vms == VMS_MAX)
                return -1;
            o->vms[o->n_vms++] = optarg;
            break;
        case 'O':
            o->setup.own_lenders = optarg;
            break;
        case 'L':
            if (units_parse_u64(optarg, &ms, &e) < 0 || ms > UINT16_MAX)
                return -1;
            o->link_tcp = true;
            o->link_port = (uint16_t)ms;
            break;
        case 'l':
            if (!log_level_parse(optarg, &level))
                return -1;
            log_set_level(level);
            break;
        default:
            return -1;
        }
    }
    return o->setup.rack_path && o->dir && optind == argc ? 0 : -1;
}

static int make_dir(struct options *o, char real[PATH_MAX], struct err *e)
{
    if (setup_mkdir(o->dir, e) < 0)
        return -1;
    if (!realpath(o->dir, real))
        return err_errno(e, ERR_IO, "%s", o->dir);
    o->dir = real;
    return lock_dir(real, e);
}

static int run(int argc, char **argv)
{
    static struct options o;
    struct rlimit files;
    char real[PATH_MAX];
    struct err e = { 0 };

    if (parse_run(argc, argv, &o) < 0)
        return usage(stderr, 2);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    umask(077);
    default_programs(&o);
    if (make_dir(&o, real, &e) < 0 || serve(&o, &e) < 0) {
        log_error("emulator.failed", "%s", e.detail);
        return 1;
    }
    return 0;
}

/* ---- ctl ---- */
static int ctl_connect(const char *dir)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd;

    if (snprintf(addr.sun_path, sizeof addr.sun_path, "%s/ctl.sock", dir) >= (int)sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int ctl_ask(int fd, int n, char **words)
{
    CLEANUP(cleanup_free) char *answer = NULL;
    size_t size = 0;
    FILE *f = fdopen(fd, "r+");
    bool refused;

    if (!f)
        return 1;
    for (int i = 0; i < n; i++)
        fprintf(f, "%s%s", i ? " " : "", words[i]);
    fputc('\n', f);
    fflush(f);
    if (getline(&answer, &size, f) <= 0) {
        fprintf(stderr, "memlane-emulator: the emulator gave no answer\n");
        fclose(f);
        return 1;
    }
    fclose(f);
    refused = strncmp(answer, "{\"error\"", 8) == 0;
    fputs(answer, stdout);
    return refused;
}

static int ctl(int argc, char **argv)
{
    int fd;

    if (argc < 4 || strcmp(argv[1], "--dir") != 0)
        return usage(stderr, 2);
    fd = ctl_connect(argv[2]);
    if (fd < 0) {
        fprintf(stderr, "memlane-emulator: no emulator runs in %s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    return ctl_ask(fd, argc - 3, argv + 3);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "run") == 0)
        return run(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "ctl") == 0)
        return ctl(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("memlane-emulator %s\n", MEMLANE_VERSION);
        return 0;
    }
    return usage(argc > 1 && strcmp(argv[1], "--help") == 0 ? stdout : stderr,
                 argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2);
}
