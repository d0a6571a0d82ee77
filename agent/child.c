/* child.c - see child.h. */
#include "child.h"

#include "log.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_WAIT_MS 2000 /* for a killed child to end */

void children_init(struct children *c)
{
    c->wedged = 0;
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

/* Closes all but the standard three, 'pipe_fd' and what is to be kept: connections of the agent end with the agent. */
static void close_others(const struct children *c, int pipe_fd)
{
    int fds[CHILD_KEEP + 1];
    memcpy(fds, c->keep, sizeof c->keep);
    fds[CHILD_KEEP] = pipe_fd;
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

static NORETURN void child_main(const struct children *c, child_body *body, void *arg, int pipe_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGBUS, SIG_DFL); /* dead memory ends the child, whatever the agent would make of it */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close_others(c, pipe_fd);
    body(arg, pipe_fd);
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

/* Reads messages until the child closes its end (true) or is silent for too long (false). */
static bool listen_to(int fd, child_listener *listener, void *arg, long silence_ms)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t until = time_monotonic_ms() + silence_ms;
        int n;
        while ((n = poll(&p, 1, (int)(until - time_monotonic_ms()))) < 0 && errno == EINTR)
            if (time_monotonic_ms() >= until)
                break;
        if (n <= 0)
            return false;
        struct child_message batch[16];
        ssize_t got = read(fd, batch, sizeof batch);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return true;
        for (size_t i = 0; i < (size_t)got / sizeof batch[0]; i++) {
            batch[i].text[sizeof batch[i].text - 1] = '\0';
            listener(arg, &batch[i]);
        }
    }
}

static int end_of(struct children *c, pid_t pid, bool silent, long silence_ms, struct err *e)
{
    int status = 0;
    if (silent)
        kill(pid, SIGKILL);
    if (!reap(pid, KILL_WAIT_MS, &status)) {
        kill(pid, SIGKILL);
        c->wedged = pid;
        log_error("child.wedged", "pid=%d: a hot-plug child does not end; nothing is hot-plugged until it does",
                  (int)pid);
        return err_set(e, ERR_TIMEOUT, "the kernel does not come back, and process %d cannot be ended", (int)pid);
    }
    if (silent)
        return err_set(e, ERR_TIMEOUT, "no progress for %ld ms", silence_ms);
    if (WIFSIGNALED(status))
        return err_set(e, ERR_HARDWARE, "the hot-plug child died of signal %d", WTERMSIG(status));
    return 0;
}

int child_run(struct children *c, child_body *body, child_listener *listener, void *arg, long silence_ms, struct err *e)
{
    int status = 0;
    if (c->wedged != 0) {
        if (!reap(c->wedged, 0, &status))
            return err_set(e, ERR_BUSY, "process %d of an earlier order still hangs in the kernel", (int)c->wedged);
        c->wedged = 0;
    }
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, ERR_IO, "cannot make a pipe");
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        int rc = err_errno(e, ERR_IO, "cannot start a child");
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    if (pid == 0) {
        close(fds[0]);
        child_main(c, body, arg, fds[1], parent);
    }
    close(fds[1]);
    bool finished = listen_to(fds[0], listener, arg, silence_ms);
    close(fds[0]);
    return end_of(c, pid, !finished, silence_ms, e);
}
