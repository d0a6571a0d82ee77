/* dial.c - the three ways to a circuit switch (crossconnect.h): a Unix socket, TCP, a program. */
#include "dial.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int wait_connected(int fd, const char *what, int64_t deadline_ms, struct err *e)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int64_t left = deadline_ms - time_monotonic_ms();
    int n = poll(&p, 1, left > 0 ? (int)left : 0);
    int failed = 0;
    socklen_t len = sizeof failed;
    if (n == 0)
        return err_set(e, ERR_TIMEOUT, "%s does not answer", what);
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) < 0)
        return err_errno(e, ERR_UNREACHABLE, "cannot connect to %s", what);
    errno = failed;
    return failed == 0 ? 0 : err_errno(e, ERR_UNREACHABLE, "cannot connect to %s", what);
}

static int connect_to(int family, const struct sockaddr *addr, socklen_t len, const char *what, int64_t deadline_ms,
                      struct err *e)
{
    CLEANUP(cleanup_close) int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot make a socket");
    if (connect(fd, addr, len) < 0) {
        if (errno != EINPROGRESS)
            return err_errno(e, ERR_UNREACHABLE, "cannot connect to %s", what);
        if (wait_connected(fd, what, deadline_ms, e) < 0)
            return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

static int dial_unix(const char *rest, int64_t deadline_ms, pid_t *pid, struct err *e)
{
    (void)pid;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    size_t len = strlen(rest);
    if (len < sizeof addr.sun_path) {
        memcpy(addr.sun_path, rest, len + 1);
        return connect_to(AF_UNIX, (struct sockaddr *)&addr, sizeof addr, rest, deadline_ms, e);
    }
    /* Longer than a socket's address may be: reach it through a descriptor. */
    CLEANUP(cleanup_close) int link_fd = open(rest, O_PATH | O_CLOEXEC);
    if (link_fd < 0)
        return err_errno(e, ERR_UNREACHABLE, "cannot connect to %.160s", rest);
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d", link_fd);
    return connect_to(AF_UNIX, (struct sockaddr *)&addr, sizeof addr, rest, deadline_ms, e);
}

/* One address after the other; none takes more than its share of the time that is left. */
static int connect_to_one(const struct addrinfo *list, const char *what, int64_t deadline_ms, struct err *e)
{
    unsigned n_left = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        n_left++;
    if (n_left == 0)
        return err_set(e, ERR_UNREACHABLE, "%.100s has no address", what);
    int fd = -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        int64_t now = time_monotonic_ms(), share_ms = now < deadline_ms ? (deadline_ms - now) / n_left-- : 0;
        fd = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, what, now + share_ms, e);
    }
    return fd;
}

static int dial_tcp(const char *rest, int64_t deadline_ms, pid_t *pid, struct err *e)
{
    (void)pid;
    char host[256];
    const char *colon = strrchr(rest, ':');
    if (!colon || colon == rest || (size_t)(colon - rest) >= sizeof host)
        return err_set(e, ERR_FIELD_INVALID, "tcp:%.100s is no tcp:HOST:PORT", rest);
    memcpy(host, rest, (size_t)(colon - rest));
    host[colon - rest] = '\0';
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc != 0)
        return err_set(e, ERR_UNREACHABLE, "cannot resolve %.100s: %s", host, gai_strerror(rc));
    int fd = connect_to_one(list, rest, deadline_ms, e);
    freeaddrinfo(list);
    return fd;
}

static int dial_exec(const char *rest, int64_t deadline_ms, pid_t *pid, struct err *e)
{
    (void)deadline_ms;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return err_errno(e, ERR_IO, "cannot make a socket");
    pid_t child = fork();
    if (child < 0) {
        int rc = err_errno(e, ERR_IO, "cannot start %.160s", rest);
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(fds[1], 0) < 0 || dup2(fds[1], 1) < 0)
            _exit(127);
        close_range(3, ~0U, 0);
        execl(rest, rest, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *pid = child;
    return fds[0];
}

static const struct crossconnect_ops dials[] = {
    { "unix", dial_unix },
    { "tcp", dial_tcp },
    { "exec", dial_exec },
};

const struct crossconnect_ops *dial_find(const char *address, const char **rest)
{
    for (size_t i = 0; i < ARRAY_LEN(dials); i++) {
        size_t len = strlen(dials[i].name);
        if (strncmp(address, dials[i].name, len) == 0 && address[len] == ':' && address[len + 1] != '\0') {
            *rest = address + len + 1;
            return &dials[i];
        }
    }
    return NULL;
}
