/* crossconnect.c - see crossconnect.h. */
#include "crossconnect.h"

#include "dial.h"
#include "log.h"
#include "units.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_SIZE 256

struct crossconnect {
    char name[NAME_SIZE];
    char *address;
    const char *rest; /* of 'address' */
    const struct crossconnect_ops *ops;
    long timeout_ms;
    int fd;    /* -1: not connected */
    pid_t pid; /* of a program that was started; 0: none */
    char buf[4096];
    size_t from, to; /* what was read and not yet taken from 'buf' */
    int64_t silent_until_ms;
    struct err silent; /* what it did, or rather did not, last time */
};

int crossconnect_new(struct crossconnect **out, const char *name, const char *address, long timeout_ms, struct err *e)
{
    CLEANUP(cleanup_free) struct crossconnect *x = calloc(1, sizeof *x);
    if (!x || !(x->address = strdup(address)))
        return err_set(e, ERR_INTERNAL, "out of memory");
    snprintf(x->name, sizeof x->name, "%s", name);
    x->timeout_ms = timeout_ms;
    x->fd = -1;
    x->ops = dial_find(x->address, &x->rest);
    if (!x->ops) {
        free(x->address);
        return err_set(e, ERR_FIELD_INVALID, "switch %s: %.100s is none of unix:PATH, tcp:HOST:PORT, exec:/PROGRAM",
                       name, address);
    }
    *out = TAKE(x);
    return 0;
}

static void hang_up(struct crossconnect *x)
{
    if (x->fd >= 0)
        close(x->fd);
    if (x->pid > 0) {
        kill(x->pid, SIGKILL);
        waitpid(x->pid, NULL, 0);
    }
    x->fd = -1;
    x->pid = 0;
    x->from = x->to = 0;
}

void crossconnect_free(struct crossconnect *x)
{
    if (!x)
        return;
    hang_up(x);
    free(x->address);
    free(x);
}

/* Waits until the switch can be read or written. */
static int wait_for(struct crossconnect *x, short events, int64_t deadline_ms, struct err *e)
{
    for (;;) {
        struct pollfd p = { .fd = x->fd, .events = events };
        int64_t left = deadline_ms - time_monotonic_ms();
        int n = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            return err_set(e, ERR_TIMEOUT, "switch %s does not answer within %ld ms", x->name, x->timeout_ms);
        if (errno != EINTR)
            return err_errno(e, ERR_IO, "cannot wait for switch %s", x->name);
    }
}

static int send_line(struct crossconnect *x, const char *line, int64_t deadline_ms, struct err *e)
{
    for (size_t len = strlen(line); len > 0;) {
        ssize_t n = send(x->fd, line, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_errno(e, ERR_UNREACHABLE, "cannot write to switch %s", x->name);
        if (n < 0 && wait_for(x, POLLOUT, deadline_ms, e) < 0)
            return -1;
        if (n > 0) {
            line += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int fill(struct crossconnect *x, int64_t deadline_ms, struct err *e)
{
    memmove(x->buf, x->buf + x->from, x->to - x->from);
    x->to -= x->from;
    x->from = 0;
    for (;;) {
        ssize_t n = recv(x->fd, x->buf + x->to, sizeof x->buf - x->to, 0);
        if (n > 0) {
            x->to += (size_t)n;
            return 0;
        }
        if (n == 0)
            return err_set(e, ERR_UNREACHABLE, "switch %s hung up", x->name);
        if (errno != EAGAIN && errno != EINTR)
            return err_errno(e, ERR_UNREACHABLE, "cannot read from switch %s", x->name);
        if (wait_for(x, POLLIN, deadline_ms, e) < 0)
            return -1;
    }
}

/* The next line without its end. */
static int read_line(struct crossconnect *x, char line[LINE_SIZE], int64_t deadline_ms, struct err *e)
{
    for (;;) {
        char *end = memchr(x->buf + x->from, '\n', x->to - x->from);
        size_t len = end ? (size_t)(end - (x->buf + x->from)) : x->to - x->from;
        if (len >= LINE_SIZE)
            return err_set(e, ERR_HARDWARE, "switch %s answers with a line of more than %d bytes", x->name,
                           LINE_SIZE - 1);
        if (end) {
            memcpy(line, x->buf + x->from, len);
            x->from += len + 1;
            if (len > 0 && line[len - 1] == '\r')
                len--;
            line[len] = '\0';
            return 0;
        }
        if (fill(x, deadline_ms, e) < 0)
            return -1;
    }
}

/* "error CODE text" */
static int refused(const struct crossconnect *x, const char *line, struct err *e)
{
    const char *code = line + strlen("error ");
    bool busy = strncmp(code, "busy", 4) == 0 && (code[4] == ' ' || code[4] == '\0');
    return err_set(e, busy ? ERR_BUSY : ERR_HARDWARE, "switch %s refuses: %.160s", x->name, code);
}

typedef int on_line(void *arg, const char *line); /* -1: not understood, or no memory */

/* One request and its answer.  '*kept' says whether the connection is still in step with the switch. */
static int talk(struct crossconnect *x, const char *request, on_line *line_fn, void *arg, bool *kept, struct err *e)
{
    int64_t deadline_ms = time_monotonic_ms() + x->timeout_ms;
    char line[LINE_SIZE];
    *kept = false;
    if (x->fd < 0 && (x->fd = x->ops->dial(x->rest, deadline_ms, &x->pid, e)) < 0)
        return -1;
    if (send_line(x, request, deadline_ms, e) < 0)
        return -1;
    for (;;) {
        if (read_line(x, line, deadline_ms, e) < 0)
            return -1;
        if (strcmp(line, "ok") == 0) {
            *kept = true;
            return 0;
        }
        if (strncmp(line, "error ", 6) == 0) {
            *kept = true;
            return refused(x, line, e);
        }
        if (!line_fn || line_fn(arg, line) < 0)
            return err_set(e, ERR_HARDWARE, "switch %s answers with what nobody understands: %.100s", x->name, line);
    }
}

/* A kept connection may have died unnoticed: then once more over a new one.  Every request may be repeated. */
static int ask_now(struct crossconnect *x, const char *request, on_line *line_fn, void (*reset)(void *arg), void *arg,
                   struct err *e)
{
    bool kept, was_connected = x->fd >= 0;
    if (talk(x, request, line_fn, arg, &kept, e) == 0)
        return 0;
    if (kept)
        return -1;
    hang_up(x);
    if (!was_connected || e->code != ERR_UNREACHABLE)
        return -1;
    err_clear(e);
    if (reset)
        reset(arg);
    int rc = talk(x, request, line_fn, arg, &kept, e);
    if (!kept)
        hang_up(x);
    return rc;
}

/* A switch that let its deadline pass, or whose name took that long to resolve, is not asked again for twice the time
 * that it took, so that it does not hold up the rest. */
static int ask(struct crossconnect *x, const char *request, on_line *line_fn, void (*reset)(void *arg), void *arg,
               struct err *e)
{
    int64_t start_ms = time_monotonic_ms();
    if (start_ms < x->silent_until_ms) {
        *e = x->silent;
        return -1;
    }
    if (ask_now(x, request, line_fn, reset, arg, e) == 0)
        return 0;
    int64_t now = time_monotonic_ms();
    int64_t took_ms = now - start_ms > x->timeout_ms ? now - start_ms : x->timeout_ms;
    if (e->code == ERR_TIMEOUT || now - start_ms >= x->timeout_ms) {
        x->silent = *e;
        x->silent_until_ms = now + 2 * took_ms;
    }
    return -1;
}

int crossconnect_connect(struct crossconnect *x, unsigned a, unsigned b, struct err *e)
{
    char line[64];
    snprintf(line, sizeof line, "connect %u %u\n", a, b);
    return ask(x, line, NULL, NULL, NULL, e);
}

int crossconnect_disconnect(struct crossconnect *x, unsigned a, unsigned b, struct err *e)
{
    char line[64];
    snprintf(line, sizeof line, "disconnect %u %u\n", a, b);
    return ask(x, line, NULL, NULL, NULL, e);
}

/* ---- lists --------------------------------------------------------------------------------------------------------
 */
struct gather { /* of pairs or of signals */
    void *items;
    size_t n, size;
};

static void gather_reset(void *arg)
{
    struct gather *g = arg;
    g->n = 0;
}

static void *gather_next(struct gather *g)
{
    if (g->n >= CROSSCONNECT_PORTS_MAX)
        return NULL;
    if (g->n % 64 == 0) {
        void *more = realloc(g->items, (g->n + 64) * g->size);
        if (!more)
            return NULL;
        g->items = more;
    }
    return (char *)g->items + g->n * g->size;
}

/* The number that the word at '*at' is; moves on behind it and one space. */
static int take_port(const char **at, unsigned *out)
{
    char word[12];
    size_t len = strcspn(*at, " ");
    struct err e = { 0 };
    uint64_t v = 0;
    if (len == 0 || len >= sizeof word)
        return -1;
    memcpy(word, *at, len);
    word[len] = '\0';
    if (units_parse_u64(word, &v, &e) < 0 || v == 0 || v > CROSSCONNECT_PORTS_MAX)
        return -1;
    *out = (unsigned)v;
    *at += len;
    *at += **at == ' ';
    return 0;
}

static int on_pair(void *arg, const char *line)
{
    struct gather *g = arg;
    struct crossconnect_pair p, *next;
    if (strncmp(line, "pair ", 5) != 0)
        return -1;
    line += 5;
    if (take_port(&line, &p.a) < 0 || take_port(&line, &p.b) < 0 || *line != '\0' || p.a == p.b ||
        !(next = gather_next(g)))
        return -1;
    *next = p.a < p.b ? p : (struct crossconnect_pair){ p.b, p.a };
    g->n++;
    return 0;
}

static int on_signal(void *arg, const char *line)
{
    struct gather *g = arg;
    struct crossconnect_signal s, *next;
    if (strncmp(line, "port ", 5) != 0)
        return -1;
    line += 5;
    if (take_port(&line, &s.port) < 0)
        return -1;
    s.up = strcmp(line, "up") == 0;
    if ((!s.up && strcmp(line, "down") != 0) || !(next = gather_next(g)))
        return -1;
    *next = s;
    g->n++;
    return 0;
}

static int gather_all(struct crossconnect *x, const char *request, on_line *line_fn, struct gather *g, struct err *e)
{
    if (ask(x, request, line_fn, gather_reset, g, e) == 0)
        return 0;
    free(g->items);
    return -1;
}

int crossconnect_list(struct crossconnect *x, struct crossconnect_pair **out, size_t *n, struct err *e)
{
    struct gather g = { .size = sizeof **out };
    if (gather_all(x, "list\n", on_pair, &g, e) < 0)
        return -1;
    *out = g.items;
    *n = g.n;
    return 0;
}

int crossconnect_signals(struct crossconnect *x, struct crossconnect_signal **out, size_t *n, struct err *e)
{
    struct gather g = { .size = sizeof **out };
    if (gather_all(x, "signal\n", on_signal, &g, e) < 0)
        return -1;
    *out = g.items;
    *n = g.n;
    return 0;
}
