/* loop.c - see loop.h */
#include "loop.h"

#include "log.h"
#include "units.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS_MAX 64
#define OUT_MAX (4u << 20)
#define SPIN_NS 100000

struct loop {
    int fd;
    bool stop;
    struct loop_timer *timers; /* by due time */
    struct conn *graveyard;
};

int loop_new(struct loop **out, struct err *e)
{
    CLEANUP(cleanup_free) struct loop *l = calloc(1, sizeof *l);

    if (!l)
        return err_set(e, ERR_INTERNAL, "out of memory");
    l->fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->fd < 0)
        return err_errno(e, ERR_IO, "epoll");
    *out = TAKE(l);
    return 0;
}

static void bury(struct loop *l)
{
    while (l->graveyard) {
        struct conn *c = l->graveyard;

        l->graveyard = c->next;
        free(c->out);
        free(c);
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    bury(l);
    close(l->fd);
    free(l);
}

int loop_add(struct loop *l, struct loop_source *s, uint32_t events, struct err *e)
{
    struct epoll_event ev = { .events = events, .data.ptr = s };

    if (epoll_ctl(l->fd, EPOLL_CTL_ADD, s->fd, &ev) < 0)
        return err_errno(e, ERR_IO, "epoll_ctl");
    return 0;
}

void loop_watch(struct loop *l, struct loop_source *s, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = s };

    if (epoll_ctl(l->fd, EPOLL_CTL_MOD, s->fd, &ev) < 0)
        log_error("loop.watch", "errno=%d", errno);
}

void loop_remove(struct loop *l, struct loop_source *s)
{
    if (epoll_ctl(l->fd, EPOLL_CTL_DEL, s->fd, NULL) < 0)
        log_error("loop.remove", "errno=%d", errno);
}

void loop_cancel(struct loop *l, struct loop_timer *t)
{
    for (struct loop_timer **at = &l->timers; t->armed && *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    t->armed = false;
}

void loop_after(struct loop *l, struct loop_timer *t, int64_t delay_ms)
{
    struct loop_timer **at = &l->timers;

    loop_cancel(l, t);
    t->due_ms = time_monotonic_ms() + delay_ms;
    while (*at && (*at)->due_ms <= t->due_ms)
        at = &(*at)->next;
    t->next = *at;
    t->armed = true;
    *at = t;
}

static void fire_due(struct loop *l)
{
    int64_t now_ms = l->timers ? time_monotonic_ms() : 0;

    while (l->timers && l->timers->due_ms <= now_ms) {
        struct loop_timer *t = l->timers;

        l->timers = t->next;
        t->armed = false;
        t->fire(t);
    }
}

static int timeout_ms(const struct loop *l)
{
    int64_t left_ms;

    if (!l->timers)
        return -1;
    left_ms = l->timers->due_ms - time_monotonic_ms();
    if (left_ms < 0)
        return 0;
    return left_ms > 60000 ? 60000 : (int)left_ms;
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

/* Hardware answers within a microsecond; to be woken from sleep takes a hundred.  So after the last event the loop
 * looks for the next one a little while, giving way to whoever else wants the processor, before it sleeps. */
static int wait_events(struct loop *l, struct epoll_event *events)
{
    int64_t until = time_monotonic_ns() + SPIN_NS;

    do {
        int n = epoll_wait(l->fd, events, EVENTS_MAX, 0);

        if (n != 0)
            return n;
        sched_yield();
    } while (time_monotonic_ns() < until);
    return epoll_wait(l->fd, events, EVENTS_MAX, timeout_ms(l));
}

int loop_run(struct loop *l, struct err *e)
{
    struct epoll_event events[EVENTS_MAX];

    while (!l->stop) {
        int n = wait_events(l, events);

        if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_IO, "epoll_wait");
        for (int i = 0; i < n; i++) {
            struct loop_source *s = events[i].data.ptr;

            if (s->fd >= 0)
                s->ready(s, events[i].events);
        }
        fire_due(l);
        bury(l);
    }
    l->stop = false;
    return 0;
}

/* ---- connections ---- */
void conn_close(struct conn *c)
{
    if (c->closed)
        return;
    c->closed = true;
    loop_remove(c->loop, &c->source);
    loop_cancel(c->loop, &c->pause);
    close(c->source.fd);
    c->source.fd = -1;
    if (c->ops->closed)
        c->ops->closed(c);
    c->next = c->loop->graveyard;
    c->loop->graveyard = c;
}

static void watch(struct conn *c)
{
    uint32_t in = c->paused || c->n_in == sizeof c->in ? 0 : EPOLLIN;

    loop_watch(c->loop, &c->source, in | (c->n_out > c->sent ? EPOLLOUT : 0) | EPOLLRDHUP * !c->paused);
}

static bool reserve(struct conn *c, size_t len)
{
    size_t size = c->out_size ? c->out_size : 1024;
    char *more;

    if (c->n_out + len > OUT_MAX)
        return false;
    while (size < c->n_out + len)
        size *= 2;
    if (size == c->out_size)
        return true;
    more = realloc(c->out, size);
    if (!more)
        return false;
    c->out = more;
    c->out_size = size;
    return true;
}

static void flush_out(struct conn *c)
{
    while (c->sent < c->n_out) {
        ssize_t n = send(c->source.fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch(c);
            return;
        }
        if (n < 0) {
            conn_close(c);
            return;
        }
        c->sent += (size_t)n;
    }
    c->sent = c->n_out = 0;
}

void conn_send(struct conn *c, const void *data, size_t len)
{
    if (c->closed)
        return;
    if (!reserve(c, len)) {
        log_warn("conn.overflow", "pid=%d", (int)c->pid);
        conn_close(c);
        return;
    }
    memcpy(c->out + c->n_out, data, len);
    c->n_out += len;
    if (c->n_out == len)
        flush_out(c);
}

bool conn_waited(struct conn *c, unsigned delay_ms)
{
    if (delay_ms == 0 || c->resumed) {
        c->resumed = false;
        return true;
    }
    c->paused = true;
    loop_after(c->loop, &c->pause, delay_ms);
    watch(c);
    return false;
}

static void take_input(struct conn *c)
{
    while (!c->closed && !c->paused && c->n_in > 0) {
        ssize_t used = c->ops->input(c, c->in, c->n_in);

        if (c->closed)
            return;
        if (used < 0 || (used == 0 && !c->paused && c->n_in == sizeof c->in)) {
            conn_close(c);
            return;
        }
        if (used == 0)
            return;
        memmove(c->in, c->in + used, c->n_in - (size_t)used);
        c->n_in -= (size_t)used;
    }
}

static void resume(struct loop_timer *t)
{
    struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, pause));

    c->paused = false;
    c->resumed = true;
    take_input(c);
    if (!c->closed)
        watch(c);
}

static void conn_ready(struct loop_source *s, uint32_t events)
{
    struct conn *c = (struct conn *)s;

    if (events & EPOLLOUT) {
        flush_out(c);
        if (!c->closed)
            watch(c);
    }
    if (!c->closed && !c->paused && events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        ssize_t n = recv(c->source.fd, c->in + c->n_in, sizeof c->in - c->n_in, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            conn_close(c);
            return;
        }
        if (n > 0) {
            c->n_in += (size_t)n;
            take_input(c);
        }
    } else if (!c->closed && events & (EPOLLHUP | EPOLLERR)) {
        conn_close(c);
    }
}

static void accept_ready(struct loop_source *s, uint32_t events)
{
    struct listener *li = (struct listener *)s;
    struct ucred cred = { 0 };
    socklen_t len = sizeof cred;
    struct err e = { 0 };
    struct conn *c;
    int fd = accept4(li->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    c = calloc(1, sizeof *c);
    if (!c || (!li->tcp && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
                            (cred.uid != 0 && cred.uid != geteuid())))) {
        free(c);
        close(fd);
        return;
    }
    c->source = (struct loop_source){ .fd = fd, .ready = conn_ready };
    c->loop = li->loop;
    c->ops = li->ops;
    c->owner = li->owner;
    c->pid = cred.pid;
    c->remote = li->tcp;
    c->pause.fire = resume;
    if (loop_add(li->loop, &c->source, EPOLLIN | EPOLLRDHUP, &e) < 0) {
        log_warn("conn.accept", "%s", e.detail);
        free(c);
        close(fd);
    }
}

int listener_open(struct listener *out, struct loop *l, const char *path, const struct conn_ops *ops, void *owner,
                  struct err *e)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof addr.sun_path)
        return err_set(e, ERR_FIELD_INVALID, "%s is too long for a socket (%zu characters at most)", path,
                       sizeof addr.sun_path - 1);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    *out = (struct listener){ .source = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                                          .ready = accept_ready },
                              .loop = l,
                              .ops = ops,
                              .owner = owner };
    memcpy(out->path, addr.sun_path, sizeof out->path);
    if (out->source.fd < 0)
        return err_errno(e, ERR_IO, "socket");
    unlink(path);
    if (bind(out->source.fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chmod(path, 0600) < 0 ||
        listen(out->source.fd, 128) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    return loop_add(l, &out->source, EPOLLIN, e);
}

int listener_open_tcp(struct listener *out, struct loop *l, uint16_t *port, const struct conn_ops *ops, void *owner,
                      struct err *e)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(*port) };
    socklen_t len = sizeof addr;
    int on = 1;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *out = (struct listener){ .source = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                                          .ready = accept_ready },
                              .loop = l,
                              .ops = ops,
                              .owner = owner,
                              .tcp = true };
    if (out->source.fd < 0 || setsockopt(out->source.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(out->source.fd, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(out->source.fd, 128) < 0 ||
        getsockname(out->source.fd, (struct sockaddr *)&addr, &len) < 0)
        return err_errno(e, ERR_IO, "port %u of the loopback", *port);
    *port = ntohs(addr.sin_port);
    return loop_add(l, &out->source, EPOLLIN, e);
}

void listener_close(struct listener *li)
{
    if ((!li->path[0] && !li->tcp) || li->source.fd < 0)
        return;
    close(li->source.fd);
    li->source.fd = -1;
    if (!li->tcp)
        unlink(li->path);
}
