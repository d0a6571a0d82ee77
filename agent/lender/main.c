/* main.c - memlane-lender: owns the memory that one memory adapter lends.  Options, lock, signals, loop.
 *
 * Other servers' memory lives in this process, so it does as little as possible and dies of nothing that it can
 * survive: no thread, no child, no heap after the start, no curl, no JSON; SIGPIPE and SIGHUP are ignored, SIGTERM and
 * SIGINT are refused while it holds a buffer, and the kernel's out-of-memory killer passes it by. arena    address
 * space and buffers      service  one request -> one answer, the adapter pages    mmap and friends               server
 * socket, peers                            protocol.h  the messages */
#include "log.h"
#include "pages.h"
#include "server.h"

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
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_FD 3 /* as systemd passes it */

struct options {
    const char *adapter, *device, *library, *run_dir, *backing_dir, *arena_file, *numa_nodes;
    bool locked;
};

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

static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        { "adapter", required_argument, NULL, 'a' },
        { "device", required_argument, NULL, 'd' },
        { "ocxl-library", required_argument, NULL, 'o' },
        { "run-dir", required_argument, NULL, 'r' },
        { "backing", required_argument, NULL, 'b' },
        { "backing-dir", required_argument, NULL, 'B' },
        { "arena-file", required_argument, NULL, 'A' },
        { "numa-nodes", required_argument, NULL, 'N' },
        { "log-level", required_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    enum log_level level;
    *o = (struct options){ .locked = true };
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'a')
            o->adapter = optarg;
        else if (c == 'd')
            o->device = optarg;
        else if (c == 'o')
            o->library = optarg;
        else if (c == 'r')
            o->run_dir = optarg;
        else if (c == 'B')
            o->backing_dir = optarg;
        else if (c == 'A')
            o->arena_file = optarg;
        else if (c == 'N')
            o->numa_nodes = optarg;
        else if (c == 'b' && (!strcmp(optarg, "locked") || !strcmp(optarg, "sparse")))
            o->locked = !strcmp(optarg, "locked");
        else if (c == 'l' && log_level_parse(optarg, &level))
            log_set_level(level);
        else if (c == 'h' || c == 'V') {
            fputs(c == 'h' ? usage : "memlane-lender " MEMLANE_VERSION "\n", stdout);
            exit(0);
        } else
            return -1;
    }
    return o->adapter && name_valid(o->adapter) && o->device && o->run_dir && optind == argc ? 0 : -1;
}

/* One lender for an adapter: the lock is held until the process ends. */
static int take_lock(const struct options *o, struct err *e)
{
    char path[512];
    snprintf(path, sizeof path, "%s/lender-%s.lock", o->run_dir, o->adapter);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open %.120s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    close(fd);
    return err_set(e, ERR_BUSY, "another lender serves adapter %s", o->adapter);
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
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
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
    snprintf(path, sizeof path, "%s/lender-%s.sock", o->run_dir, o->adapter);
    return server_listen(out, path, e);
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
    if (!arenas_count(arenas))
        return true;
    log_error("lender.refuses", "signal=%u from=%u buffers=%zu: other servers' memory lives here", info.ssi_signo,
              info.ssi_pid, arenas_count(arenas));
    return false;
}

static int loop(struct server *server, struct arenas *arenas, int signal_fd, struct err *e)
{
    struct pollfd fds[SERVER_POLLFDS + 1];
    for (bool busy = false;;) {
        server_poll(server, fds);
        fds[SERVER_POLLFDS] = (struct pollfd){ .fd = signal_fd, .events = POLLIN };
        int n = poll(fds, SERVER_POLLFDS + 1, busy ? 0 : -1);
        if (n < 0 && errno != EINTR && errno != ENOMEM && errno != EAGAIN)
            return err_errno(e, ERR_INTERNAL, "poll");
        if (n > 0)
            server_handle(server, fds);
        if (n > 0 && fds[SERVER_POLLFDS].revents && may_end(signal_fd, arenas))
            return 0;
        busy = arenas_commit(arenas);
    }
}

static int run(const struct options *o, struct err *e)
{
    struct arenas *arenas = NULL;
    struct service service;
    struct server server;
    int listen_fd = -1, signal_fd = -1;
    const struct arenas_options memory = { .backing_dir = o->backing_dir,
                                           .arena_file = o->arena_file,
                                           .locked = o->locked };
    if (take_lock(o, e) < 0 || get_signals(&signal_fd, e) < 0 || (o->locked && pages_bind(o->numa_nodes, e) < 0) ||
        arenas_new(&arenas, &memory, e) < 0 || get_socket(o, &listen_fd, e) < 0 ||
        service_init(&service, arenas, o->device, o->library, e) < 0 ||
        server_init(&server, &service, listen_fd, e) < 0)
        return -1; /* the process ends */
    log_info("lender.start", "adapter=%s lender_id=%s", o->adapter, service.lender_id);
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
    harden();
    if (run(&o, &e) < 0) {
        log_error("lender.failed", "adapter=%s %s", o.adapter, e.detail);
        return 1;
    }
    log_info("lender.end", "adapter=%s", o.adapter);
    return 0;
}
