#include "lenderclient.h"

#include "lender/protocol.h"
#include "lenderspawn.h"
#include "registers.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_MS 5000
#define RESTART_MS 1000
#define AGAIN_MS 20
#define LIST_MAX 65536 /* far above what a lender holds */
#define SPIN_NS 100000 /* most answers come within this: to be woken takes about as long */

struct lender {
    char *adapter, *program, *device, *ocxl_library, *backing, *backing_dir, *numa_nodes, *run_dir;
    struct sockaddr_un addr;
    unsigned timeout_ms, restart_ms;
    int fd; /* -1: not connected */
    uint64_t tag;
    int64_t started_ms;
};

static int copy(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -1 : 0;
}

int lender_new(struct lender **out, const struct lender_config *c, struct err *e)
{
    CLEANUP(lender_freep) struct lender *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_INTERNAL, "out of memory");
    l->fd = -1;
    l->timeout_ms = c->timeout_ms ? c->timeout_ms : TIMEOUT_MS;
    l->restart_ms = c->restart_ms ? c->restart_ms : RESTART_MS;
    l->started_ms = INT64_MIN / 2;
    l->addr.sun_family = AF_UNIX;
    int n = snprintf(l->addr.sun_path, sizeof l->addr.sun_path, "%s/lender-%s.sock", c->run_dir, c->adapter);
    if (n < 0 || (size_t)n >= sizeof l->addr.sun_path)
        return err_set(e, ERR_FIELD_INVALID, "the run directory's path is too long for a socket: %s", c->run_dir);
    if (copy(&l->adapter, c->adapter) < 0 || copy(&l->program, c->program) < 0 || copy(&l->device, c->device) < 0 ||
        copy(&l->ocxl_library, c->ocxl_library) < 0 || copy(&l->backing, c->backing) < 0 ||
        copy(&l->backing_dir, c->backing_dir) < 0 || copy(&l->numa_nodes, c->numa_nodes) < 0 ||
        copy(&l->run_dir, c->run_dir) < 0)
        return err_set(e, ERR_INTERNAL, "out of memory");
    *out = TAKE(l);
    return 0;
}

static void disconnect(struct lender *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

void lender_free(struct lender *l)
{
    if (!l)
        return;
    disconnect(l);
    free(l->adapter);
    free(l->program);
    free(l->device);
    free(l->ocxl_library);
    free(l->backing);
    free(l->backing_dir);
    free(l->numa_nodes);
    free(l->run_dir);
    free(l);
}

void lender_freep(struct lender **l)
{
    lender_free(*l);
}

/* ---- connection ---------------------------------------------------------------------------------------------------
 */
/* A connected socket; -1 and errno. */
static int connect_to(const struct lender *l)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&l->addr, sizeof l->addr) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* One starter at a time, of all threads and processes: each puts a socket of its own at the address, and would take the
 * place of the one whose lender has the adapter.  The caller closes '*out'. */
static int lock_start(const struct lender *l, int *out, struct err *e)
{
    char path[sizeof l->addr.sun_path + 8];
    snprintf(path, sizeof path, "%s.start", l->addr.sun_path);
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = -1;
    while (fd >= 0 && (rc = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
        ;
    if (rc < 0)
        return err_errno(e, ERR_IO, "cannot lock %.120s", path);
    *out = fd;
    fd = -1;
    return 0;
}

static int start(struct lender *l, struct err *e)
{
    char *argv[20];
    int n = 0;
    const struct {
        const char *option;
        char *value;
    } options[] = {
        { "--adapter", l->adapter },           { "--device", l->device },   { "--run-dir", l->run_dir },
        { "--ocxl-library", l->ocxl_library }, { "--backing", l->backing }, { "--backing-dir", l->backing_dir },
        { "--numa-nodes", l->numa_nodes },
    };
    if (time_monotonic_ms() - l->started_ms < l->restart_ms)
        return err_set(e, ERR_UNREACHABLE, "the lender of %s ended at once", l->adapter);
    CLEANUP(cleanup_close) int lock_fd = -1;
    if (lock_start(l, &lock_fd, e) < 0)
        return -1;
    CLEANUP(cleanup_close) int other_fd = connect_to(l);
    if (other_fd >= 0 || errno == EAGAIN)
        return 0; /* another one has started it meanwhile */
    l->started_ms = time_monotonic_ms();
    argv[n++] = l->program;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (options[i].value) {
            argv[n++] = (char *)options[i].option;
            argv[n++] = options[i].value;
        }
    argv[n] = NULL;
    return lenderspawn(argv, &l->addr, e);
}

static int open_connection(struct lender *l, int64_t deadline_ms, struct err *e)
{
    for (bool started = false; l->fd < 0;) {
        if ((l->fd = connect_to(l)) >= 0)
            return 0;
        if ((errno == ENOENT || errno == ECONNREFUSED) && l->program && !started) {
            if (start(l, e) < 0)
                return -1;
            started = true;
        } else if (errno != EAGAIN && errno != EINTR) {
            return err_errno(e, ERR_UNREACHABLE, "cannot reach the lender of %s", l->adapter);
        } else {
            if (time_monotonic_ms() >= deadline_ms)
                return err_set(e, ERR_TIMEOUT, "the lender of %s is too busy to connect", l->adapter);
            poll(NULL, 0, 5);
        }
    }
    return 0;
}

/* One answer with the request's tag; older ones belong to calls that ran out of time.  1: the connection is lost. */
static int receive(struct lender *l, uint64_t tag, struct lender_answer *a, int64_t deadline_ms, struct err *e)
{
    int64_t spin_until = time_monotonic_ns() + SPIN_NS;
    for (;;) {
        int64_t left = deadline_ms - time_monotonic_ms();
        bool spin = time_monotonic_ns() < spin_until;
        struct pollfd p = { .fd = l->fd, .events = POLLIN };
        int n = left > 0 ? poll(&p, 1, spin ? 0 : (int)left) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 && spin && left > 0) {
            sched_yield();
            continue;
        }
        if (n <= 0)
            return err_set(e, ERR_TIMEOUT, "the lender of %s does not answer", l->adapter);
        ssize_t size = recv(l->fd, a, sizeof *a, MSG_DONTWAIT | MSG_TRUNC);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (size <= 0)
            return 1;
        if (size != sizeof *a || a->magic != LENDER_MAGIC || a->protocol != LENDER_PROTOCOL ||
            a->status == LENDER_VERSION)
            return err_set(e, ERR_PROTOCOL, "the lender of %s speaks another protocol", l->adapter);
        if (a->tag == tag)
            return 0;
    }
}

static int answer_error(const struct lender *l, const struct lender_answer *a, struct err *e)
{
    static const enum err_code codes[] = {
        [LENDER_OK] = ERR_OK,
        [LENDER_AGAIN] = ERR_OK,
        [LENDER_END] = ERR_OK,
        [LENDER_INVALID] = ERR_FIELD_INVALID,
        [LENDER_CONFLICT] = ERR_CONFLICT,
        [LENDER_MEMORY] = ERR_IO,
        [LENDER_HARDWARE] = ERR_HARDWARE,
        [LENDER_VERSION] = ERR_PROTOCOL,
        [LENDER_FULL] = ERR_TOO_MANY,
    };
    enum err_code code = a->status < ARRAY_LEN(codes) ? codes[a->status] : ERR_PROTOCOL;
    if (code == ERR_OK)
        return 0;
    int rc = err_set(e, code, "lender of %s: %.*s", l->adapter, (int)sizeof a->text - 1, a->text);
    e->os_errno = a->os_errno;
    return rc;
}

/* One attempt on an open connection.  1: it is lost. */
static int exchange(struct lender *l, struct lender_request *r, struct lender_answer *a, size_t n, int64_t deadline_ms,
                    struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        r[i].magic = LENDER_MAGIC;
        r[i].protocol = LENDER_PROTOCOL;
        r[i].tag = ++l->tag;
        if (send(l->fd, &r[i], sizeof r[i], MSG_NOSIGNAL) != sizeof r[i])
            return 1;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = receive(l, r[i].tag, &a[i], deadline_ms, e);
    return rc;
}

/* Sends a few requests, then waits for the answer to each, whatever it says; connects, and once more when the
 * connection was lost: every request may be repeated. */
static int calls(struct lender *l, struct lender_request *r, struct lender_answer *a, size_t n, int64_t deadline_ms,
                 struct err *e)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (open_connection(l, deadline_ms, e) < 0)
            return -1;
        int rc = exchange(l, r, a, n, deadline_ms, e);
        if (!rc)
            return 0;
        disconnect(l);
        if (rc < 0)
            return -1;
    }
    return err_set(e, ERR_UNREACHABLE, "the lender of %s closes the connection", l->adapter);
}

static int call(struct lender *l, struct lender_request *r, struct lender_answer *a, int64_t deadline_ms, struct err *e)
{
    return calls(l, r, a, 1, deadline_ms, e) < 0 ? -1 : answer_error(l, a, e);
}

static int64_t deadline_of(const struct lender *l)
{
    return time_monotonic_ms() + l->timeout_ms;
}

/* ---- operations ---------------------------------------------------------------------------------------------------
 */
static void take_info(const struct lender_answer *a, struct lender_info *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->lender_id, sizeof out->lender_id, "%.*s", ID_SIZE - 1, a->lender_id);
    snprintf(out->error, sizeof out->error, "%.*s", (int)sizeof a->text - 1, a->text);
    out->pid = a->pid;
    out->adapter_ok = a->adapter_ok;
    out->n_buffers = a->n_buffers;
    out->lent_bytes = a->lent_bytes;
    out->locked_bytes = a->locked_bytes;
    out->faults = a->value;
    out->memlock_bytes = a->memlock_bytes;
    out->page_bytes = a->page_bytes;
    out->numa_nodes = a->numa_nodes;
}

int lender_info(struct lender *l, struct lender_info *out, struct err *e)
{
    struct lender_request r = { .op = LENDER_OP_INFO };
    struct lender_answer a;
    if (call(l, &r, &a, deadline_of(l), e) < 0)
        return -1;
    take_info(&a, out);
    return 0;
}

int lender_look(struct lender *l, struct lender_info *out, unsigned *channels, uint64_t *error_capture, struct err *e)
{
    struct lender_request r[] = { { .op = LENDER_OP_INFO },
                                  { .op = LENDER_OP_READ, .offset = REG_CHANNELS },
                                  { .op = LENDER_OP_READ, .offset = REG_ERROR_CAPTURE } };
    struct lender_answer a[ARRAY_LEN(r)];
    if (calls(l, r, a, ARRAY_LEN(r), deadline_of(l), e) < 0 || answer_error(l, &a[0], e) < 0)
        return -1;
    take_info(&a[0], out);
    if (!out->adapter_ok)
        return 0;
    if (answer_error(l, &a[1], e) < 0 || answer_error(l, &a[2], e) < 0)
        return -1;
    *channels = (unsigned)(a[1].value & REG_CHANNELS_MASK);
    *error_capture = a[2].value;
    return 0;
}

int lender_alloc(struct lender *l, struct lender_buffer *b, unsigned timeout_ms, struct err *e)
{
    struct lender_request r = {
        .op = LENDER_OP_ALLOC, .section = b->section, .offset_bytes = b->offset_bytes, .size_bytes = b->size_bytes
    };
    struct lender_answer a;
    snprintf(r.id, sizeof r.id, "%s", b->id);
    snprintf(r.compute_node, sizeof r.compute_node, "%s", b->compute_node);
    snprintf(r.compute_adapter, sizeof r.compute_adapter, "%s", b->compute_adapter);
    int64_t end_ms = time_monotonic_ms() + timeout_ms;
    for (;;) {
        if (call(l, &r, &a, deadline_of(l), e) < 0)
            return -1;
        if (a.status != LENDER_AGAIN)
            break;
        if (time_monotonic_ms() >= end_ms)
            return err_set(e, ERR_BUSY, "%s: %llu of %llu bytes are committed", b->id, (unsigned long long)a.value,
                           (unsigned long long)b->size_bytes);
        poll(NULL, 0, AGAIN_MS);
    }
    b->effective_addr = a.effective_addr;
    return 0;
}

int lender_release(struct lender *l, const char *id, struct err *e)
{
    struct lender_request r = { .op = LENDER_OP_RELEASE };
    struct lender_answer a;
    snprintf(r.id, sizeof r.id, "%s", id);
    return call(l, &r, &a, deadline_of(l), e);
}

static int check_listed(const struct lender *l, struct lender_answer *a, struct err *e)
{
    a->id[ID_SIZE - 1] = a->compute_node[NAME_SIZE - 1] = a->compute_adapter[NAME_SIZE - 1] = '\0';
    if (!id_valid(a->id) || !name_valid(a->compute_node) || !name_valid(a->compute_adapter) || a->section > UINT32_MAX)
        return err_set(e, ERR_PROTOCOL, "the lender of %s lists nonsense", l->adapter);
    return 0;
}

static int append(struct lender_buffer **list, size_t *n, const struct lender_answer *a, struct err *e)
{
    if (!(*n & (*n - 1))) { /* full at each power of two */
        struct lender_buffer *more = realloc(*list, (*n ? 2 * *n : 1) * sizeof **list);
        if (!more)
            return err_set(e, ERR_INTERNAL, "out of memory");
        *list = more;
    }
    struct lender_buffer *b = &(*list)[(*n)++];
    *b = (struct lender_buffer){ .section = (unsigned)a->section,
                                 .offset_bytes = a->offset_bytes,
                                 .size_bytes = a->size_bytes,
                                 .effective_addr = a->effective_addr,
                                 .failed = a->failed == 1 };
    memcpy(b->id, a->id, ID_SIZE);
    memcpy(b->compute_node, a->compute_node, NAME_SIZE);
    memcpy(b->compute_adapter, a->compute_adapter, NAME_SIZE);
    return 0;
}

int lender_list(struct lender *l, struct lender_buffer **out, size_t *n, struct err *e)
{
    CLEANUP(cleanup_free) struct lender_buffer *list = NULL;
    struct lender_answer a;
    size_t count = 0;
    int64_t deadline = deadline_of(l);
    for (uint64_t slot = 0;; slot = a.value) {
        struct lender_request r = { .op = LENDER_OP_LIST, .section = 1, .offset = slot };
        if (call(l, &r, &a, deadline, e) < 0)
            return -1;
        if (a.status == LENDER_END)
            break;
        if (a.value <= slot || a.value > LIST_MAX)
            return err_set(e, ERR_PROTOCOL, "the lender of %s lists without end", l->adapter);
        if (check_listed(l, &a, e) < 0 || append(&list, &count, &a, e) < 0)
            return -1;
        if (count == a.n_buffers)
            break;
    }
    *out = TAKE(list);
    *n = count;
    return 0;
}

int lender_set_channel(struct lender *l, unsigned port, bool up, struct err *e)
{
    struct lender_request r = { .op = LENDER_OP_CHANNEL, .section = port, .offset = up };
    struct lender_answer a;
    return call(l, &r, &a, deadline_of(l), e);
}

int lender_read(struct lender *l, uint64_t offset, uint64_t *value, struct err *e)
{
    struct lender_request r = { .op = LENDER_OP_READ, .offset = offset };
    struct lender_answer a;
    if (call(l, &r, &a, deadline_of(l), e) < 0)
        return -1;
    *value = a.value;
    return 0;
}
