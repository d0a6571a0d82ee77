/* main.c - memlane-lender: owns the memory that one memory adapter lends.  Options, lock, signals, loop.
 *
 * Other servers' memory lives in this process.  What it promises to the owner of this server, and where that is kept:
 *
 *   it lends only what it is told to, to one borrower at a time        arena.c: check_geometry(), check_overlap()
 *   memory comes from local NUMA nodes (or those you name), from       main.c: run() binds; pages.c: pages_bind(),
 *     huge pages where --backing-dir is hugetlbfs, zeroed, locked        pages_populate(); backing.c: open_dir()
 *   the adapter always finds something mapped in an arena, and         pages.c: pages_reserve(), pages_zero();
 *     nothing of yours: there is nothing else in an arena                arena.c: get_arena()
 *   memory that was given back is proved to be gone, and empty         arena.c: empty()
 *   only this user and root may speak to it; no message, and no        server.c: may_speak(), place(), serve();
 *     number of connections, does it harm                                service.c: well_formed()
 *   one lender for an adapter, which opens it first and once           main.c: take_locks(); service.c: open_adapter()
 *   it does not end, by signal, while it lends                         main.c: may_end()
 *   it survives its agent, a closed terminal, a peer or a log that     main.c: harden(), loop(); arena.c: arenas_new()
 *     nobody reads, the out-of-memory killer, a bad page, a full heap
 *   it does nothing else: one thread, no child, no network, no JSON,   all of it
 *     no heap after the start (but libocxl's)
 *
 * To read it: protocol.h (what it can be asked), this file, server.c (the socket), service.c (a request), arena.c (the
 * buffers), then backing.c and pages.c (the system calls).  --arena-file and --backing sparse are for emulated racks:
 * on a server, what is said of "the one file" need not be read. */
#include "log.h"
#include "names.h"
#include "pages.h"
#include "server.h"
#include "units.h"
#include "unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_FD 3 /* as systemd passes it */
#define TALK_MS 20  /* at most, between two pieces of a commit */

static const char usage[] =
    "usage: memlane-lender --adapter NAME --device PATH --run-dir DIR [--ocxl-library PATH]\n"
    "                      [--backing sparse|locked] [--backing-dir DIR | --arena-file FILE]\n"
    "                      [--numa-nodes LIST] [--log-level LEVEL]\n"
    "Lends this server's memory through one memory adapter.  Started by systemd (memlane-lender@ADAPTER.socket).\n"
    "  --backing locked   memory is populated and locked (default)\n"
    "  --backing sparse   memory is neither populated nor locked: emulated racks only\n"
    "  --backing-dir DIR  files of buffers, on tmpfs or hugetlbfs; without it they are anonymous\n"
    "  --arena-file FILE[@0xOFFSET]  one file for all of them, each at its offset in the arena, which can be one only\n"
    "  --numa-nodes LIST  locked memory comes from these NUMA nodes (0,2-5); without it from those with processors\n";

enum {
    ADAPTER,
    DEVICE,
    RUN_DIR,
    LIBRARY,
    BACKING,
    BACKING_DIR,
    ARENA_FILE,
    NUMA_NODES,
    LOG_LEVEL,
    HELP,
    VERSION,
    N_OPTIONS
};

struct options {
    const char *value[N_OPTIONS]; /* NULL: not given */
    bool locked;
};

static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        { "adapter", required_argument, NULL, ADAPTER },
        { "device", required_argument, NULL, DEVICE },
        { "run-dir", required_argument, NULL, RUN_DIR },
        { "ocxl-library", required_argument, NULL, LIBRARY },
        { "backing", required_argument, NULL, BACKING },
        { "backing-dir", required_argument, NULL, BACKING_DIR },
        { "arena-file", required_argument, NULL, ARENA_FILE },
        { "numa-nodes", required_argument, NULL, NUMA_NODES },
        { "log-level", required_argument, NULL, LOG_LEVEL },
        { "help", no_argument, NULL, HELP },
        { "version", no_argument, NULL, VERSION },
        { NULL, 0, NULL, 0 },
    };
    enum log_level level;
    *o = (struct options){ .value[BACKING] = "locked", .value[LOG_LEVEL] = "info" };
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c >= N_OPTIONS)
            return -1;
        o->value[c] = optarg ? optarg : "";
    }
    o->locked = strcmp(o->value[BACKING], "locked") == 0;
    if ((!o->locked && strcmp(o->value[BACKING], "sparse") != 0) || !log_level_parse(o->value[LOG_LEVEL], &level))
        return -1;
    log_set_level(level);
    if (o->value[HELP] || o->value[VERSION])
        return 0;
    return o->value[ADAPTER] && name_valid(o->value[ADAPTER]) && o->value[DEVICE] && o->value[RUN_DIR] && optind == argc
               ? 0
               : -1;
}

/* Held until the process ends. */
static int take_lock(const struct options *o, const char *kind, const char *name, struct err *e)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s-%s.lock", o->value[RUN_DIR], kind, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open %.120s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    close(fd);
    return err_set(e, ERR_BUSY, "another lender serves %.120s", name);
}

/* One lender for an adapter, whatever name it is given: the device is locked by its own name.  Its node itself is not
 * opened for this, which would make a context of the adapter. */
static int take_locks(const struct options *o, struct err *e)
{
    CLEANUP(cleanup_free) char *real = realpath(o->value[DEVICE], NULL);
    const char *device = real ? real : o->value[DEVICE], *slash = strrchr(device, '/');
    return take_lock(o, "lender", o->value[ADAPTER], e) < 0 || take_lock(o, "device", slash ? slash + 1 : device, e) < 0
               ? -1
               : 0;
}

static void write_file(const char *path, const char *text)
{
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        log_warn("lender.setup", "cannot write %s to %s: %s", text, path, strerror(errno));
}

/* What keeps this process alive. */
static void harden(void)
{
    /* A request to end, and what the processor says of our own faults; any other signal, and any limit, ends nothing.
     */
    static const char needed[] = { SIGTERM, SIGINT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };
    struct rlimit files;
    for (int s = 1; s < NSIG; s++)
        if (!memchr(needed, s, sizeof needed))
            signal(s, SIG_IGN); /* those that cannot be ignored fail */
    write_file("/proc/self/oom_score_adj", "-1000");
    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0,
          0); /* a bad page that we never touch is no reason to die */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* A log that nobody reads must not stop us: a pipe gets an open file of its own, which does not block. */
    struct stat st;
    int fd =
        fstat(2, &st) == 0 && S_ISFIFO(st.st_mode) ? open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd >= 0) {
        dup2(fd, 2);
        close(fd);
    }
}

static bool passed_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    char own[24];
    snprintf(own, sizeof own, "%d", getpid());
    return pid && n && !strcmp(pid, own) && !strcmp(n, "1");
}

static int get_socket(const struct options *o, int *out, struct err *e)
{
    char path[512];
    if (passed_socket()) {
        *out = LISTEN_FD;
        return 0;
    }
    snprintf(path, sizeof path, "%s/lender-%s.sock", o->value[RUN_DIR], o->value[ADAPTER]);
    return unixsock_listen(out, SOCK_SEQPACKET | SOCK_NONBLOCK, path, e);
}

static int get_signals(int *out, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *out = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *out < 0 ? err_errno(e, ERR_IO, "no signalfd") : 0;
}

/* Whether a signal asked for the end, and nothing is lent. */
static bool may_end(int signal_fd, const struct arenas *arenas)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) != sizeof info)
        return false;
    size_t n_buffers = arenas_totals(arenas).n_buffers;
    if (!n_buffers)
        return true;
    log_error("lender.refuses", "signal=%u from=%u buffers=%zu: other servers' memory lives here", info.ssi_signo,
              info.ssi_pid, n_buffers);
    return false;
}

/* No poll, no service; but what is lent stays. */
static int poll_failed(const struct arenas *arenas, struct err *e)
{
    int rc = err_errno(e, ERR_INTERNAL, "poll");
    if (!arenas_totals(arenas).n_buffers)
        return rc;
    log_error("lender.poll", "%s", e->detail);
    nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    return 0;
}

/* Between two pieces of memory that it commits, whoever speaks is heard out: until nobody has said anything for a
 * millisecond, or for TALK_MS. */
static int loop(struct server *server, struct arenas *arenas, int signal_fd, struct err *e)
{
    struct pollfd fds[SERVER_POLLFDS + 1];
    int64_t talk_until_ms = 0;
    for (bool busy = false, heard = false;;) {
        server_poll(server, fds);
        fds[SERVER_POLLFDS] = (struct pollfd){ .fd = signal_fd, .events = POLLIN };
        int n = poll(fds, SERVER_POLLFDS + 1, busy ? heard : -1);
        if (n < 0 && errno != EINTR && errno != ENOMEM && errno != EAGAIN)
            if (poll_failed(arenas, e) < 0)
                return -1;
        if (n > 0)
            server_handle(server, fds);
        if (n > 0 && fds[SERVER_POLLFDS].revents && may_end(signal_fd, arenas))
            return 0;
        heard = busy && n > 0 && time_monotonic_ms() < talk_until_ms;
        if (heard)
            continue;
        busy = arenas_commit(arenas);
        talk_until_ms = time_monotonic_ms() + TALK_MS;
    }
}

static int run(const struct options *o, struct err *e)
{
    struct arenas *arenas = NULL;
    struct service service;
    struct server server;
    int listen_fd = -1, signal_fd = -1;
    const struct arenas_options memory = { .backing_dir = o->value[BACKING_DIR],
                                           .arena_file = o->value[ARENA_FILE],
                                           .locked = o->locked };
    if (take_locks(o, e) < 0 || get_signals(&signal_fd, e) < 0 ||
        (o->locked && pages_bind(o->value[NUMA_NODES], e) < 0) || arenas_new(&arenas, &memory, e) < 0 ||
        get_socket(o, &listen_fd, e) < 0 ||
        service_init(&service, arenas, o->value[DEVICE], o->value[LIBRARY], e) < 0 ||
        server_init(&server, &service, listen_fd, e) < 0)
        return -1; /* the process ends */
    log_info("lender.start", "adapter=%s lender_id=%s", o->value[ADAPTER], service.lender_id);
    int rc = loop(&server, arenas, signal_fd, e);
    server_done(&server);
    service_done(&service);
    arenas_free(arenas);
    return rc;
}

int main(int argc, char **argv)
{
    struct options o;
    struct err e;
    if (parse_options(&o, argc, argv) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.value[HELP] || o.value[VERSION]) {
        fputs(o.value[HELP] ? usage : "memlane-lender " MEMLANE_VERSION "\n", stdout);
        return 0;
    }
    harden();
    if (run(&o, &e) < 0) {
        log_error("lender.failed", "adapter=%s %s", o.value[ADAPTER], e.detail);
        return 1;
    }
    log_info("lender.end", "adapter=%s", o.value[ADAPTER]);
    return 0;
}
