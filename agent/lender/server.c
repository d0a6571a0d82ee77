#include "server.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int server_init(struct server *s, struct service *service, int listen_fd, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->service = service;
    s->listen_fd = listen_fd;
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        s->connections[i].fd = -1;
    int flags = fcntl(listen_fd, F_GETFL);
    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(listen_fd, F_SETFD, FD_CLOEXEC) < 0)
        return err_errno(e, ERR_IO, "cannot use the socket");
    return 0;
}

static void drop(struct server *s, size_t i)
{
    if (s->connections[i].fd >= 0)
        close(s->connections[i].fd);
    s->connections[i].fd = -1;
}

void server_done(struct server *s)
{
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        drop(s, i);
    close(s->listen_fd);
}

void server_poll(const struct server *s, struct pollfd fds[SERVER_POLLFDS])
{
    fds[SERVER_CONNECTIONS] = (struct pollfd){ .fd = s->listen_fd, .events = POLLIN };
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        fds[i] = (struct pollfd){ .fd = s->connections[i].fd, .events = POLLIN };
}

static bool may_speak(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

/* The connection that was silent longest is closed; its place, which is free now. */
static size_t drop_oldest(struct server *s)
{
    size_t oldest = 0;
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        if (s->connections[i].fd >= 0 &&
            (s->connections[oldest].fd < 0 || s->connections[i].last_use < s->connections[oldest].last_use))
            oldest = i;
    drop(s, oldest);
    return oldest;
}

/* No descriptor is left, for whatever reason: one is made free, or, when there is none to close, time is given to those
 * who could, because poll would come back at once. */
static void make_room(struct server *s)
{
    size_t i = 0;
    while (i < SERVER_CONNECTIONS && s->connections[i].fd < 0)
        i++;
    if (i < SERVER_CONNECTIONS)
        drop_oldest(s);
    else
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
}

static size_t place(struct server *s)
{
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        if (s->connections[i].fd < 0)
            return i;
    return drop_oldest(s);
}

static void welcome(struct server *s)
{
    for (int n = 0; n < 64; n++) { /* bounded: those who are connected come first */
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            make_room(s);
        if (fd < 0)
            return;
        if (!may_speak(fd)) {
            log_warn("lender.refused", "a peer of another user");
            close(fd);
            continue;
        }
        size_t i = place(s);
        s->connections[i].fd = fd;
        s->connections[i].last_use = ++s->clock;
    }
}

static void serve(struct server *s, size_t i)
{
    char request[sizeof(struct lender_request) + 1]; /* a longer message shows as one byte too many */
    struct lender_answer answer;
    ssize_t n = recv(s->connections[i].fd, request, sizeof request, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(s, i);
        return;
    }
    s->connections[i].last_use = ++s->clock;
    service_answer(s->service, request, (size_t)n, &answer);
    if (send(s->connections[i].fd, &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof answer)
        drop(s, i);
}

void server_handle(struct server *s, const struct pollfd fds[SERVER_POLLFDS])
{
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        if (fds[i].fd >= 0 && fds[i].revents && s->connections[i].fd == fds[i].fd)
            serve(s, i);
    if (fds[SERVER_CONNECTIONS].revents)
        welcome(s);
}
