/* child.c - see child.h. */
#include "child.h"

#include "log.h"
#include "units.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_WAIT_MS 2000

/* What a waiting child is told to do. */
struct child_order {
    child_body *body;
    size_t arg_size;
    char arg[CHILD_ARG_MAX];
};

static const struct child no_child = { .pid = 0, .order_fd = -1, .tell_fd = -1 };

void children_init(struct children *c)
{
    *c = (struct children){ .waiting = no_child, .running = no_child, .kill_wait_ms = KILL_WAIT_MS };
    for (size_t i = 0; i < CHILD_KEEP; i++)
        c->keep[i] = -1;
}

bool child_tell(int pipe_fd, const struct child_message *m)
{
    ssize_t n;
    do
        n = write(pipe_fd, m, sizeof *m);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *m;
}

static int compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes all but the standard three, the two pipes and what is to be kept: connections of the agent end with the agent.
 */
static void close_others(const struct children *c, int order_fd, int tell_fd)
{
    int fds[CHILD_KEEP + 2];
    memcpy(fds, c->keep, sizeof c->keep);
    fds[CHILD_KEEP] = order_fd;
    fds[CHILD_KEEP + 1] = tell_fd;
    qsort(fds, ARRAY_LEN(fds), sizeof fds[0], compare_fds);
    unsigned from = 3;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] < (int)from)
            continue;
        if ((unsigned)fds[i] > from)
            close_range(from, (unsigned)fds[i] - 1, 0);
        from = (unsigned)fds[i] + 1;
    }
    close_range(from, ~0U, 0);
}

/* Carries out one order after the other.  Ends when no more can come (the agent ended, or does not want it any more),
 * or nobody listens. */
static NORETURN void child_main(const struct children *c, int order_fd, int tell_fd, pid_t parent)
{
    struct child_order o;
    struct child_message end = { .kind = CHILD_END };
    sigset_t none;
    ssize_t n;
    sigemptyset(&none);
    signal(SIGBUS, SIG_DFL); /* dead memory ends the child, whatever the agent would make of it */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close_others(c, order_fd, tell_fd);
    do {
        do
            n = read(order_fd, &o, sizeof o); /* at most PIPE_BUF: it comes whole */
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t)sizeof o)
            _exit(0);
        o.body(o.arg, tell_fd);
    } while (child_tell(tell_fd, &end));
    _exit(0);
}

/* Waits up to 'ms' for the child's end.  False: it still is there. */
static bool reap(pid_t pid, long ms, int *status)
{
    int64_t until = time_monotonic_ms() + ms;
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid || (got < 0 && errno == ECHILD))
            return true;
        if (time_monotonic_ms() >= until)
            return false;
        poll(NULL, 0, 1);
    }
}

enum heard { HEARD_NOTHING, HEARD_END, HEARD_DEATH };

/* Reads messages until the child says that it is done, closes its end, or 'until_ms'. */
static enum heard listen_to(struct children *c, child_listener *listener, void *arg, int64_t until_ms)
{
    for (;;) {
        struct pollfd p = { .fd = c->running.tell_fd, .events = POLLIN };
        int64_t left = until_ms - time_monotonic_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n < 0 && errno == EINTR && left > 0)
            continue;
        if (n <= 0)
            return HEARD_NOTHING;
        struct child_message batch[16];
        ssize_t got = read(p.fd, batch, sizeof batch);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return HEARD_DEATH;
        c->heard_ms = time_monotonic_ms();
        for (size_t i = 0; i < (size_t)got / sizeof batch[0]; i++) {
            if (batch[i].kind == CHILD_END)
                return HEARD_END;
            batch[i].text[sizeof batch[i].text - 1] = '\0';
            listener(arg, &batch[i]);
        }
        if (left <= 0)
            return HEARD_NOTHING;
    }
}

/* A child that does not end, although it was killed or is at its end. */
static int wedge(struct children *c, pid_t pid, struct err *e)
{
    char since[UNITS_TIME_MAX];
    kill(pid, SIGKILL);
    c->wedged = pid;
    units_format_time(time_wall_ms() - (time_monotonic_ms() - c->heard_ms), since);
    log_error("child.wedged", "pid=%d since=%s: a hot-plug child does not end; nothing is hot-plugged until it does",
              (int)pid, since);
    return err_set(e, ERR_TIMEOUT, "process %d hangs in the kernel since %s", (int)pid, since);
}

static int end_of(struct children *c, pid_t pid, bool silent, long silence_ms, struct err *e)
{
    int status = 0;
    if (silent)
        kill(pid, SIGKILL);
    if (!reap(pid, c->kill_wait_ms, &status))
        return wedge(c, pid, e);
    if (silent)
        return err_set(e, ERR_TIMEOUT, "no progress for %ld ms", silence_ms);
    if (WIFSIGNALED(status))
        return err_set(e, ERR_HARDWARE, "the hot-plug child died of signal %d", WTERMSIG(status));
    return 0;
}

/* Dismissed children end by themselves: nobody waits for that. */
static void reap_leaving(struct children *c)
{
    int status;
    for (size_t i = 0; i < CHILD_LEAVING; i++)
        if (c->leaving[i] && reap(c->leaving[i], 0, &status))
            c->leaving[i] = 0;
}

static void leave(struct children *c, pid_t pid)
{
    int status;
    for (size_t i = 0; i < CHILD_LEAVING; i++)
        if (!c->leaving[i]) {
            c->leaving[i] = pid;
            return;
        }
    if (!reap(pid, c->kill_wait_ms, &status))
        log_warn("child.late", "pid=%d: a hot-plug child is done, but does not end", (int)pid);
}

static int start(struct children *c, struct err *e)
{
    CLEANUP(cleanup_close) int order_read = -1;
    CLEANUP(cleanup_close) int order_write = -1;
    CLEANUP(cleanup_close) int tell_read = -1;
    CLEANUP(cleanup_close) int tell_write = -1;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, ERR_IO, "cannot make a pipe");
    order_read = fds[0];
    order_write = fds[1];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, ERR_IO, "cannot make a pipe");
    tell_read = fds[0];
    tell_write = fds[1];
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return err_errno(e, ERR_IO, "cannot start a child");
    if (pid == 0)
        child_main(c, order_read, tell_write, parent);
    c->waiting = (struct child){ pid, order_write, tell_read };
    order_write = tell_read = -1;
    return 0;
}

static void hang_up(struct child *child)
{
    close(child->order_fd);
    close(child->tell_fd);
    *child = no_child;
}

void children_dismiss(struct children *c)
{
    pid_t pid = c->waiting.pid;
    if (!pid)
        return;
    hang_up(&c->waiting);
    leave(c, pid);
}

void children_end(struct children *c)
{
    children_dismiss(c);
    if (c->running.pid)
        hang_up(&c->running);
}

void children_prepare(struct children *c)
{
    struct err e;
    reap_leaving(c);
    if (!c->waiting.pid && !c->running.pid && start(c, &e) < 0)
        log_warn("child.prepare", "%s", e.detail); /* child_run() tries again, and says so */
}

static bool give_order(struct children *c, const struct child_order *o)
{
    ssize_t n;
    do
        n = write(c->waiting.order_fd, o, sizeof *o);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *o;
}

/* A waiting child takes the order; one that died meanwhile is replaced, once. */
static int send_order(struct children *c, const struct child_order *o, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        if (!c->waiting.pid && start(c, e) < 0)
            return -1;
        if (give_order(c, o))
            return 0;
        children_dismiss(c);
    }
    return err_set(e, ERR_IO, "no child takes the order");
}

int child_start(struct children *c, child_body *body, const void *arg, size_t arg_size, struct err *e)
{
    struct child_order o = { .body = body, .arg_size = arg_size };
    assert(arg_size <= sizeof o.arg);
    memcpy(o.arg, arg, arg_size);
    if (c->running.pid)
        return err_set(e, ERR_BUSY, "process %d is at another order", (int)c->running.pid);
    if (children_wedged(c))
        return err_set(e, ERR_BUSY, "process %d of an earlier order still hangs in the kernel", (int)c->wedged);
    reap_leaving(c);
    if (send_order(c, &o, e) < 0)
        return -1;
    c->running = c->waiting;
    c->waiting = no_child;
    c->heard_ms = time_monotonic_ms();
    return 0;
}

enum child_state child_listen(struct children *c, child_listener *listener, void *arg, long wait_ms, long silence_ms,
                              struct err *e)
{
    int64_t until = time_monotonic_ms() + wait_ms;
    for (;;) {
        int64_t silent_at = c->heard_ms + silence_ms;
        enum heard heard = listen_to(c, listener, arg, silent_at < until ? silent_at : until);
        int64_t now = time_monotonic_ms();
        if (heard == HEARD_END) { /* it waits for the next order */
            c->waiting = c->running;
            c->running = no_child;
            return CHILD_DONE;
        }
        bool silent = heard == HEARD_NOTHING && now >= c->heard_ms + silence_ms;
        if (heard == HEARD_DEATH || silent) {
            pid_t pid = c->running.pid;
            hang_up(&c->running);
            return end_of(c, pid, silent, silence_ms, e) < 0 ? CHILD_FAILED : CHILD_DONE;
        }
        if (now >= until)
            return CHILD_RUNNING;
    }
}

int children_abort(struct children *c, struct err *e)
{
    pid_t pid = c->running.pid;
    int status = 0;
    if (!pid)
        return 0;
    kill(pid, SIGKILL);
    hang_up(&c->running);
    return reap(pid, c->kill_wait_ms, &status) ? 0 : wedge(c, pid, e);
}

pid_t children_wedged(struct children *c)
{
    int status = 0;
    if (c->wedged && reap(c->wedged, 0, &status)) {
        log_info("child.ended", "pid=%d: the kernel came back", (int)c->wedged);
        c->wedged = 0;
    }
    return c->wedged;
}

int child_run(struct children *c, child_body *body, child_listener *listener, void *arg, size_t arg_size,
              long silence_ms, struct err *e)
{
    if (child_start(c, body, arg, arg_size, e) < 0)
        return -1;
    for (;;) {
        enum child_state state = child_listen(c, listener, arg, silence_ms, silence_ms, e);
        if (state != CHILD_RUNNING)
            return state == CHILD_DONE ? 0 : -1;
    }
}
