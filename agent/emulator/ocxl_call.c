/* ocxl_call.c - see ocxl_call.h */
#include "ocxl_call.h"

#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 2
#define SPIN_NS 100000

static int connect_unix(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof addr.sun_path)
        return -1;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_tcp(char *host)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    char *port = strrchr(host, ':');
    int fd = -1;

    if (!port)
        return -1;
    *port++ = '\0';
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int dial(const char *address)
{
    struct timeval deadline = { .tv_sec = DEADLINE_S };
    char copy[ADDRESS_MAX];
    int fd = -1;

    memcpy(copy, address, sizeof copy);
    if (strncmp(copy, "unix:", 5) == 0)
        fd = connect_unix(copy + 5);
    else if (strncmp(copy, "tcp:", 4) == 0)
        fd = connect_tcp(copy + 4);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    return fd;
}

static bool send_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void ocxl_call_hang_up(struct ocxl_afu *afu)
{
    if (afu->fd >= 0)
        close(afu->fd);
    afu->fd = -1;
}

static int64_t to_ms(int64_t ns)
{
    return ns > 0 ? (ns + 999999) / 1000000 : 0;
}

/* How much of an answer arrived by the deadline; -1: the connection is over.  A register answers at once: the caller
 * looks for it a little while before it sleeps. */
static ssize_t receive(int fd, struct link_answer *answer, int64_t until_ns)
{
    int64_t spin_until = now_ns() + SPIN_NS;
    size_t have = 0;

    while (have < sizeof *answer) {
        ssize_t n = recv(fd, (char *)answer + have, sizeof *answer - have, MSG_DONTWAIT);
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t now;

        if (n > 0) {
            have += (size_t)n;
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            return -1;
        } else if ((now = now_ns()) < spin_until) {
            sched_yield();
        } else if (now >= until_ns) {
            break;
        } else {
            poll(&p, 1, (int)to_ms(until_ns - now));
        }
    }
    return (ssize_t)have;
}

/* Takes the answer to the request 'tag'; those to earlier ones, that came too late, are nobody's. */
static bool receive_answer(struct ocxl_afu *afu, struct link_answer *answer)
{
    int64_t until_ns = now_ns() + DEADLINE_S * INT64_C(1000000000);
    ssize_t n;

    do {
        n = receive(afu->fd, answer, until_ns);
        if (n == 0 && afu->attached)
            return false; /* it is late, that is all */
        if (n != (ssize_t)sizeof *answer) {
            ocxl_call_hang_up(afu);
            return false;
        }
    } while (le32toh(answer->tag) != afu->tag);
    return true;
}

/* One request and its answer. */
static ocxl_err exchange(struct ocxl_afu *afu, enum link_op op, uint64_t offset, uint64_t value,
                         struct link_answer *answer)
{
    struct {
        struct link_request request;
        char names[2][LINK_NAME_BYTES];
    } message = {
        .request = { .op = htole32(op), .tag = htole32(++afu->tag), .offset = htole64(offset), .value = htole64(value) }
    };
    size_t len = sizeof message.request;

    if (op == LINK_HELLO || op == LINK_TRANSLATOR) {
        memcpy(message.names[0], afu->node, LINK_NAME_BYTES);
        memcpy(message.names[1], afu->adapter, LINK_NAME_BYTES);
        len = sizeof message;
    }
    if (!send_all(afu->fd, &message, len)) {
        ocxl_call_hang_up(afu);
        return LINK_NO_DEV;
    }
    if (!receive_answer(afu, answer))
        return LINK_NO_DEV;
    answer->value = le64toh(answer->value);
    answer->more = le64toh(answer->more);
    return (int32_t)le32toh((uint32_t)answer->status);
}

ocxl_err ocxl_call_open(struct ocxl_afu *afu)
{
    struct link_answer answer;
    ocxl_err rc;

    afu->fd = dial(afu->address);
    if (afu->fd < 0)
        return LINK_NO_DEV;
    rc = exchange(afu, LINK_HELLO, LINK_VERSION, LINK_MAGIC, &answer);
    if (rc == LINK_OK) {
        afu->memory_role = answer.value == 1;
        afu->area_bytes = answer.more;
        if (afu->attached)
            rc = exchange(afu, LINK_ATTACH, 0, 0, &answer);
    }
    if (rc != LINK_OK)
        ocxl_call_hang_up(afu);
    return rc;
}

ocxl_err ocxl_call_open_translator(struct ocxl_afu *afu)
{
    struct link_answer answer;

    afu->fd = dial(afu->address);
    if (afu->fd < 0)
        return LINK_NO_DEV;
    return exchange(afu, LINK_TRANSLATOR, LINK_VERSION, LINK_MAGIC, &answer);
}

/* A request on a connection that may have died since the last one: then on a new one, once. */
ocxl_err ocxl_call(struct ocxl_afu *afu, enum link_op op, uint64_t offset, uint64_t value, struct link_answer *answer)
{
    bool fresh = afu->fd < 0;
    ocxl_err rc = fresh ? ocxl_call_open(afu) : LINK_OK;
    char byte;

    if (rc == LINK_OK && !fresh && recv(afu->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        ocxl_call_hang_up(afu);
        rc = ocxl_call_open(afu);
    }
    return rc == LINK_OK ? exchange(afu, op, offset, value, answer) : rc;
}
