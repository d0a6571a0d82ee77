#include "lenderspawn.h"

#include "unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTEN_FD 3
#define HIGH_FD 16 /* ours are above, so that dup2() onto 0, 1 and 3 overwrites none of them */
#define PID_PREFIX "LISTEN_PID="

struct plan { /* all that the child needs, made before fork(): it may only call what is async-signal-safe */
    char *const *argv;
    char **envp;
    char listen_pid[sizeof PID_PREFIX + 12];
    int listen_fd, null_fd, report_fd;
};

static int high(int fd)
{
    int other = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (fd >= 0)
        close(fd);
    return other;
}

static int make_environment(struct plan *p, struct err *e)
{
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    if (!(p->envp = calloc(n + 3, sizeof *p->envp)))
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "LISTEN_", strlen("LISTEN_")) != 0)
            p->envp[k++] = environ[i];
    memcpy(p->listen_pid, PID_PREFIX, sizeof PID_PREFIX);
    p->envp[k++] = p->listen_pid;
    p->envp[k] = (char *)"LISTEN_FDS=1";
    return 0;
}

/* snprintf() is not async-signal-safe. */
static void write_pid(char *out, unsigned pid)
{
    char digits[12];
    int n = 0;
    do
        digits[n++] = (char)('0' + pid % 10);
    while (pid /= 10);
    while (n)
        *out++ = digits[--n];
    *out = '\0';
}

static void fail(const struct plan *p)
{
    int why = errno;
    ssize_t n = write(p->report_fd, &why, sizeof why);
    (void)n; /* nobody left to tell */
    _exit(1);
}

static void grandchild(struct plan *p)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    write_pid(p->listen_pid + strlen(PID_PREFIX), (unsigned)getpid());
    if (dup2(p->null_fd, 0) < 0 || dup2(p->null_fd, 1) < 0 || dup2(p->listen_fd, LISTEN_FD) < 0)
        fail(p);
    close_range(LISTEN_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC); /* a lender outlives us: it inherits nothing else */
    execve(p->argv[0], p->argv, p->envp);
    fail(p);
}

static void child(struct plan *p)
{
    if (setsid() < 0)
        fail(p);
    pid_t pid = fork();
    if (pid < 0)
        fail(p);
    if (pid == 0)
        grandchild(p);
    _exit(0);
}

/* Waits for the exec: the report pipe closes then, or brings the errno. */
static int await(pid_t pid, int report_fd, const char *program, struct err *e)
{
    int why = 0;
    ssize_t n;
    while ((n = read(report_fd, &why, sizeof why)) < 0 && errno == EINTR)
        ;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (n == 0)
        return 0;
    errno = n == sizeof why ? why : EIO;
    return err_errno(e, ERR_IO, "cannot start %s", program);
}

int lenderspawn(char *const argv[], const struct sockaddr_un *addr, struct err *e)
{
    int pipe_fds[2];
    CLEANUP(cleanup_close) int listen_fd = -1;
    CLEANUP(cleanup_close) int null_fd = high(open("/dev/null", O_RDWR | O_CLOEXEC));
    CLEANUP(cleanup_free) char **envp = NULL;
    struct plan p = { .argv = argv };
    if (null_fd < 0)
        return err_errno(e, ERR_IO, "cannot open /dev/null");
    if (unixsock_listen(&listen_fd, SOCK_SEQPACKET, addr->sun_path, e) < 0 || make_environment(&p, e) < 0)
        return -1;
    listen_fd = high(listen_fd);
    if (listen_fd < 0)
        return err_errno(e, ERR_IO, "no descriptor for the lender's socket");
    envp = p.envp;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_errno(e, ERR_IO, "no pipe");
    CLEANUP(cleanup_close) int read_fd = high(pipe_fds[0]);
    CLEANUP(cleanup_close) int write_fd = high(pipe_fds[1]);
    if (read_fd < 0 || write_fd < 0)
        return err_errno(e, ERR_IO, "no pipe");
    p.listen_fd = listen_fd;
    p.null_fd = null_fd;
    p.report_fd = write_fd;
    pid_t pid = fork();
    if (pid < 0)
        return err_errno(e, ERR_IO, "cannot fork");
    if (pid == 0)
        child(&p);
    close(write_fd);
    write_fd = -1;
    return await(pid, read_fd, argv[0], e);
}
