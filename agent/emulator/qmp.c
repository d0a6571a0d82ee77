/* qmp.c - see qmp.h */
#include "qmp.h"

#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536

struct qmp {
    struct loop_source source; /* fd -1: not connected */
    struct loop_timer retry;
    struct loop *loop;
    const struct qmp_ops *ops;
    void *arg;
    bool up, refused; /* refused: QEMU would not negotiate */
    char path[108];
    size_t n_in;
    char in[LINE_MAX_BYTES];
};

static void hang_up(struct qmp *q)
{
    bool was_up = q->up;

    loop_remove(q->loop, &q->source);
    close(q->source.fd);
    q->source.fd = -1;
    q->up = q->refused = false;
    q->n_in = 0;
    loop_after(q->loop, &q->retry, QMP_RETRY_MS);
    if (was_up)
        q->ops->down(q->arg);
}

static void send_json(struct qmp *q, json_t *message)
{
    CLEANUP(cleanup_free) char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t len = text ? strlen(text) : 0;

    json_decref(message);
    if (!text)
        return;
    text[len] = '\n'; /* in place of its end: QEMU needs a delimiter */
    if (send(q->source.fd, text, len + 1, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)(len + 1))
        log_warn("qmp.send", "%s: %s", q->path, strerror(errno)); /* a machine that reads nothing is about to end */
}

void qmp_send(struct qmp *q, const char *id, const char *command, json_t *arguments)
{
    json_t *message = json_pack("{s:s, s:s}", "execute", command, "id", id);

    if (message && arguments)
        json_object_set(message, "arguments", arguments);
    json_decref(arguments);
    if (q->up)
        send_json(q, message);
    else
        json_decref(message);
}

static void take_answer(struct qmp *q, const json_t *message)
{
    const json_t *error = json_object_get(message, "error");
    const char *id = json_string_value(json_object_get(message, "id"));
    const char *why = json_string_value(json_object_get(error, "desc"));

    if (!q->up) { /* to the negotiation: nothing else was sent */
        q->up = !error;
        q->refused = error != NULL;
        if (q->up)
            q->ops->up(q->arg);
        return;
    }
    q->ops->answer(q->arg, id ? id : "", json_object_get(message, "return"), error ? why ? why : "refused" : NULL);
}

static void take_line(struct qmp *q, const char *line, size_t len)
{
    CLEANUP(json_freep) json_t *message = NULL;
    struct err e = { 0 };
    const char *event;

    if (json_parse(&message, line, len, &e) < 0) {
        log_warn("qmp.message", "%s: %s", q->path, e.detail);
        return;
    }
    event = json_string_value(json_object_get(message, "event"));
    if (json_object_get(message, "QMP"))
        send_json(q, json_pack("{s:s}", "execute", "qmp_capabilities"));
    else if (event && q->up)
        q->ops->event(q->arg, event, json_object_get(message, "data"));
    else if (!event)
        take_answer(q, message);
}

static void ready(struct loop_source *s, uint32_t events)
{
    struct qmp *q = (struct qmp *)s;
    ssize_t n = recv(q->source.fd, q->in + q->n_in, sizeof q->in - q->n_in, MSG_DONTWAIT);
    char *end;

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    q->n_in += n > 0 ? (size_t)n : 0;
    while (q->source.fd >= 0 && !q->refused && (end = memchr(q->in, '\n', q->n_in))) {
        size_t used = (size_t)(end - q->in) + 1;

        take_line(q, q->in, used - 1);
        memmove(q->in, q->in + used, q->n_in - used);
        q->n_in -= used;
    }
    if (n <= 0 || q->n_in == sizeof q->in || q->refused)
        hang_up(q);
}

static void try_connect(struct loop_timer *t)
{
    struct qmp *q = (struct qmp *)((char *)t - offsetof(struct qmp, retry));
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct err e = { 0 };

    memcpy(addr.sun_path, q->path, sizeof addr.sun_path);
    q->source.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->source.fd >= 0 && connect(q->source.fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
        loop_add(q->loop, &q->source, EPOLLIN | EPOLLRDHUP, &e) == 0)
        return;
    if (q->source.fd >= 0)
        close(q->source.fd);
    q->source.fd = -1;
    loop_after(q->loop, &q->retry, QMP_RETRY_MS);
}

int qmp_new(struct qmp **out, struct loop *l, const char *path, const struct qmp_ops *ops, void *arg, struct err *e)
{
    struct qmp *q;

    if (strlen(path) >= sizeof q->path)
        return err_set(e, ERR_FIELD_INVALID, "%s is too long for a socket", path);
    q = calloc(1, sizeof *q);
    if (!q)
        return err_set(e, ERR_INTERNAL, "out of memory");
    *q =
        (struct qmp){ .source = { .fd = -1, .ready = ready }, .retry = { .fire = try_connect }, .loop = l, .ops = ops };
    q->arg = arg;
    memcpy(q->path, path, strlen(path) + 1);
    loop_after(l, &q->retry, 0);
    *out = q;
    return 0;
}

void qmp_free(struct qmp *q)
{
    if (!q)
        return;
    loop_cancel(q->loop, &q->retry);
    if (q->source.fd >= 0) {
        loop_remove(q->loop, &q->source);
        close(q->source.fd);
    }
    free(q);
}

pid_t qmp_pid(const struct qmp *q)
{
    struct ucred peer = { 0 };
    socklen_t size = sizeof peer;

    return q->source.fd >= 0 && getsockopt(q->source.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

bool qmp_is_up(const struct qmp *q)
{
    return q->up;
}
