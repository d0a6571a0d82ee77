/* ocxl.c - the drop-in libocxl.so: the calls of libocxl 1.2 (its names, its ABI), whose registers live in the emulator.
 *
 * A device file of an emulated node holds one line, "unix:SOCKET NODE ADAPTER" or "tcp:HOST:PORT NODE ADAPTER".  An
 * open adapter is one connection (linkproto.h).  Every call ends within 2 s; a connection that failed is made again,
 * and attached again, at the next call, so that an emulator may be restarted under a lender.  It links nothing of
 * Memlane.  Handles may be used from several threads: a mutex a handle.  What makes no sense without hardware
 * (interrupts, mapping the area by hand) is refused. */
#include "linkproto.h"

#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define DEADLINE_S 2
#define MMIO_AREAS 8
#define ADDRESS_MAX 512

typedef int ocxl_err;                                           /* its values: enum link_status */
enum { BIG_ENDIAN_AREA, LITTLE_ENDIAN_AREA, HOST_ENDIAN_AREA }; /* ocxl_endian */
enum { GLOBAL_AREA, PER_PASID_AREA };                           /* ocxl_mmio_type */

typedef struct {
    uint8_t afu_index;
    const char afu_name[25];
} ocxl_identifier;

struct ocxl_event {
    int type; /* 0: interrupt, 1: translation fault */
    union {
        struct {
            void *addr;
#ifdef _ARCH_PPC64
            uint64_t dsisr;
#endif
            uint64_t count;
        } translation_fault;
        uint64_t padding[16];
    };
};

struct ocxl_mmio_area {
    struct ocxl_afu *afu;
    int type;
    bool mapped;
};

struct ocxl_afu {
    pthread_mutex_t mutex;
    int fd; /* -1: to be connected again */
    bool attached, memory_role;
    uint32_t tag;
    uint64_t area_bytes;
    ocxl_identifier identifier;
    char device[ADDRESS_MAX], sysfs[ADDRESS_MAX + 16];
    char address[ADDRESS_MAX], node[LINK_NAME_BYTES], adapter[LINK_NAME_BYTES];
    struct ocxl_mmio_area areas[MMIO_AREAS];
};

/* ---- the connection
 * ------------------------------------------------------------------------------------------------------- */
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
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    }
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

static bool receive_all(int fd, void *data, size_t len)
{
    char *p = data;

    while (len > 0) {
        ssize_t n = recv(fd, p, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static void hang_up(struct ocxl_afu *afu)
{
    if (afu->fd >= 0)
        close(afu->fd);
    afu->fd = -1;
}

/* One request and its answer.  The connection is given up when either is lost: an answer that comes late is nobody's.
 */
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

    if (op == LINK_HELLO) {
        memcpy(message.names[0], afu->node, LINK_NAME_BYTES);
        memcpy(message.names[1], afu->adapter, LINK_NAME_BYTES);
        len = sizeof message;
    }
    if (!send_all(afu->fd, &message, len) || !receive_all(afu->fd, answer, sizeof *answer) ||
        le32toh(answer->tag) != afu->tag) {
        hang_up(afu);
        return LINK_NO_DEV;
    }
    answer->value = le64toh(answer->value);
    answer->more = le64toh(answer->more);
    return (int32_t)le32toh((uint32_t)answer->status);
}

static ocxl_err open_connection(struct ocxl_afu *afu)
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
        hang_up(afu);
    return rc;
}

/* A request on a connection that may have died since the last one: then on a new one, once. */
static ocxl_err call(struct ocxl_afu *afu, enum link_op op, uint64_t offset, uint64_t value, struct link_answer *answer)
{
    bool fresh = afu->fd < 0;
    ocxl_err rc = fresh ? open_connection(afu) : LINK_OK;
    char byte;

    if (rc == LINK_OK && !fresh && recv(afu->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        hang_up(afu);
        rc = open_connection(afu);
    }
    return rc == LINK_OK ? exchange(afu, op, offset, value, answer) : rc;
}

/* ---- adapters
 * ------------------------------------------------------------------------------------------------------------- */
static bool read_device(struct ocxl_afu *afu, const char *path)
{
    FILE *f = fopen(path, "re");
    bool ok;

    if (!f)
        return false;
    ok = fscanf(f, "%511s %63s %63s", afu->address, afu->node, afu->adapter) == 3;
    fclose(f);
    return ok;
}

/* "IBM,RMEM.0000:00:00.1.0": name, PCI address, index. */
static void read_identifier(struct ocxl_afu *afu, const char *path)
{
    const char *base = strrchr(path, '/'), *dot, *last;
    size_t len;

    base = base ? base + 1 : path;
    dot = strchr(base, '.');
    last = strrchr(base, '.');
    len = dot ? (size_t)(dot - base) : strlen(base);
    if (len >= sizeof afu->identifier.afu_name)
        len = sizeof afu->identifier.afu_name - 1;
    memcpy((char *)afu->identifier.afu_name, base, len);
    afu->identifier.afu_index = last && last != dot && last[1] >= '0' && last[1] <= '9' ? (uint8_t)(last[1] - '0') : 0;
    snprintf(afu->sysfs, sizeof afu->sysfs, "/sys/class/ocxl/%.400s", base);
}

EXPORT ocxl_err ocxl_afu_open_from_dev(const char *path, struct ocxl_afu **out);
EXPORT ocxl_err ocxl_afu_open_from_dev(const char *path, struct ocxl_afu **out)
{
    struct ocxl_afu *afu;
    ocxl_err rc;

    if (!path || !out)
        return LINK_INVALID_ARGS;
    *out = NULL;
    afu = calloc(1, sizeof *afu);
    if (!afu)
        return LINK_NO_MEM;
    afu->fd = -1;
    pthread_mutex_init(&afu->mutex, NULL);
    snprintf(afu->device, sizeof afu->device, "%s", path);
    read_identifier(afu, path);
    rc = read_device(afu, path) ? open_connection(afu) : LINK_NO_DEV;
    if (rc != LINK_OK) {
        pthread_mutex_destroy(&afu->mutex);
        free(afu);
        return rc;
    }
    *out = afu;
    return LINK_OK;
}

EXPORT ocxl_err ocxl_afu_open_specific(const char *name, const char *physical_function, int16_t index,
                                       struct ocxl_afu **out);
EXPORT ocxl_err ocxl_afu_open_specific(const char *name, const char *physical_function, int16_t index,
                                       struct ocxl_afu **out)
{
    char path[ADDRESS_MAX];

    if (!name || !physical_function || !out)
        return LINK_INVALID_ARGS;
    snprintf(path, sizeof path, "/dev/ocxl/%.100s.%.100s.%d", name, physical_function, index < 0 ? 0 : (int)index);
    return ocxl_afu_open_from_dev(path, out);
}

EXPORT ocxl_err ocxl_afu_open(const char *name, struct ocxl_afu **out);
EXPORT ocxl_err ocxl_afu_open(const char *name, struct ocxl_afu **out)
{
    (void)name; /* emulated nodes share one /dev: only a path names an adapter */
    if (out)
        *out = NULL;
    return LINK_NO_DEV;
}

EXPORT ocxl_err ocxl_afu_close(struct ocxl_afu *afu);
EXPORT ocxl_err ocxl_afu_close(struct ocxl_afu *afu)
{
    if (!afu)
        return LINK_INVALID_ARGS;
    hang_up(afu);
    pthread_mutex_destroy(&afu->mutex);
    free(afu);
    return LINK_OK;
}

EXPORT ocxl_err ocxl_afu_attach(struct ocxl_afu *afu, uint64_t flags);
EXPORT ocxl_err ocxl_afu_attach(struct ocxl_afu *afu, uint64_t flags)
{
    struct link_answer answer;
    ocxl_err rc = LINK_ALREADY_DONE;

    if (!afu || flags != 0)
        return LINK_INVALID_ARGS;
    pthread_mutex_lock(&afu->mutex);
    if (!afu->attached)
        rc = call(afu, LINK_ATTACH, 0, 0, &answer);
    if (rc == LINK_OK)
        afu->attached = true;
    pthread_mutex_unlock(&afu->mutex);
    return rc;
}

EXPORT const ocxl_identifier *ocxl_afu_get_identifier(struct ocxl_afu *afu);
EXPORT const ocxl_identifier *ocxl_afu_get_identifier(struct ocxl_afu *afu)
{
    return &afu->identifier;
}

EXPORT const char *ocxl_afu_get_device_path(struct ocxl_afu *afu);
EXPORT const char *ocxl_afu_get_device_path(struct ocxl_afu *afu)
{
    return afu->device;
}

EXPORT const char *ocxl_afu_get_sysfs_path(struct ocxl_afu *afu);
EXPORT const char *ocxl_afu_get_sysfs_path(struct ocxl_afu *afu)
{
    return afu->sysfs;
}

EXPORT void ocxl_afu_get_version(struct ocxl_afu *afu, uint8_t *major, uint8_t *minor);
EXPORT void ocxl_afu_get_version(struct ocxl_afu *afu, uint8_t *major, uint8_t *minor)
{
    (void)afu;
    *major = 1;
    *minor = 1;
}

EXPORT uint32_t ocxl_afu_get_pasid(struct ocxl_afu *afu);
EXPORT uint32_t ocxl_afu_get_pasid(struct ocxl_afu *afu)
{
    (void)afu;
    return 0; /* hard-wired in this design */
}

/* ---- registers
 * ------------------------------------------------------------------------------------------------------------ */
EXPORT ocxl_err ocxl_mmio_map_advanced(struct ocxl_afu *afu, int type, size_t size, int prot, uint64_t flags,
                                       off_t offset, struct ocxl_mmio_area **out);
EXPORT ocxl_err ocxl_mmio_map_advanced(struct ocxl_afu *afu, int type, size_t size, int prot, uint64_t flags,
                                       off_t offset, struct ocxl_mmio_area **out)
{
    ocxl_err rc = LINK_NO_MEM;

    (void)size;
    (void)prot;
    if (!afu || !out || flags != 0 || offset != 0 || type < GLOBAL_AREA || type > PER_PASID_AREA)
        return LINK_INVALID_ARGS;
    pthread_mutex_lock(&afu->mutex);
    if (type == PER_PASID_AREA && !afu->attached)
        rc = LINK_NO_CONTEXT;
    for (int i = 0; rc == LINK_NO_MEM && i < MMIO_AREAS; i++)
        if (!afu->areas[i].mapped) {
            afu->areas[i] = (struct ocxl_mmio_area){ .afu = afu, .type = type, .mapped = true };
            *out = &afu->areas[i];
            rc = LINK_OK;
        }
    pthread_mutex_unlock(&afu->mutex);
    return rc;
}

EXPORT ocxl_err ocxl_mmio_map(struct ocxl_afu *afu, int type, struct ocxl_mmio_area **out);
EXPORT ocxl_err ocxl_mmio_map(struct ocxl_afu *afu, int type, struct ocxl_mmio_area **out)
{
    return ocxl_mmio_map_advanced(afu, type, 0, 0, 0, 0, out);
}

EXPORT void ocxl_mmio_unmap(struct ocxl_mmio_area *area);
EXPORT void ocxl_mmio_unmap(struct ocxl_mmio_area *area)
{
    if (area)
        area->mapped = false;
}

EXPORT int ocxl_mmio_get_fd(struct ocxl_afu *afu, int type);
EXPORT int ocxl_mmio_get_fd(struct ocxl_afu *afu, int type)
{
    (void)afu;
    (void)type;
    return -1;
}

EXPORT size_t ocxl_mmio_size(struct ocxl_afu *afu, int type);
EXPORT size_t ocxl_mmio_size(struct ocxl_afu *afu, int type)
{
    return type == GLOBAL_AREA || type == PER_PASID_AREA ? (size_t)afu->area_bytes : 0;
}

EXPORT ocxl_err ocxl_mmio_get_info(struct ocxl_mmio_area *area, void **address, size_t *size);
EXPORT ocxl_err ocxl_mmio_get_info(struct ocxl_mmio_area *area, void **address, size_t *size)
{
    (void)area;
    (void)address;
    (void)size;
    return LINK_INVALID_ARGS; /* there is no memory behind it */
}

static uint64_t convert(uint64_t value, int endian)
{
    switch (endian) {
    case BIG_ENDIAN_AREA: /* the registers are little endian: an access in the other order sees them swapped */
        return __builtin_bswap64(value);
    case HOST_ENDIAN_AREA:
        return le64toh(value);
    default:
        return value;
    }
}

static ocxl_err check_access(const struct ocxl_mmio_area *area, off_t offset)
{
    if (!area || !area->mapped || area->type != GLOBAL_AREA)
        return LINK_INVALID_ARGS;
    return offset < 0 || (uint64_t)offset + 8 > area->afu->area_bytes ? LINK_OUT_OF_BOUNDS : LINK_OK;
}

EXPORT ocxl_err ocxl_mmio_read64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t *out);
EXPORT ocxl_err ocxl_mmio_read64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t *out)
{
    struct link_answer answer;
    ocxl_err rc = check_access(area, offset);

    if (rc != LINK_OK)
        return rc;
    pthread_mutex_lock(&area->afu->mutex);
    rc = call(area->afu, LINK_READ, (uint64_t)offset, 0, &answer);
    pthread_mutex_unlock(&area->afu->mutex);
    if (rc == LINK_OK)
        *out = convert(answer.value, endian);
    return rc;
}

EXPORT ocxl_err ocxl_mmio_write64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t value);
EXPORT ocxl_err ocxl_mmio_write64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t value)
{
    struct link_answer answer;
    ocxl_err rc = check_access(area, offset);

    if (rc != LINK_OK)
        return rc;
    pthread_mutex_lock(&area->afu->mutex);
    rc = call(area->afu, LINK_WRITE, (uint64_t)offset, convert(value, endian), &answer);
    pthread_mutex_unlock(&area->afu->mutex);
    return rc;
}

EXPORT ocxl_err ocxl_mmio_read32(struct ocxl_mmio_area *area, off_t offset, int endian, uint32_t *out);
EXPORT ocxl_err ocxl_mmio_read32(struct ocxl_mmio_area *area, off_t offset, int endian, uint32_t *out)
{
    (void)area;
    (void)offset;
    (void)endian;
    (void)out;
    return LINK_INVALID_ARGS; /* the registers answer to 8 bytes only */
}

EXPORT ocxl_err ocxl_mmio_write32(struct ocxl_mmio_area *area, off_t offset, int endian, uint32_t value);
EXPORT ocxl_err ocxl_mmio_write32(struct ocxl_mmio_area *area, off_t offset, int endian, uint32_t value)
{
    (void)area;
    (void)offset;
    (void)endian;
    (void)value;
    return LINK_INVALID_ARGS;
}

/* ---- events and the rest
 * -------------------------------------------------------------------------------------------------- */
static int fetch_event(struct ocxl_afu *afu, struct ocxl_event *event)
{
    struct link_answer answer;
    ocxl_err rc;

    pthread_mutex_lock(&afu->mutex);
    rc = call(afu, LINK_EVENT, 0, 0, &answer);
    pthread_mutex_unlock(&afu->mutex);
    if (rc != LINK_OK)
        return -1;
    if (answer.more == 0)
        return 0;
    memset(event, 0, sizeof *event);
    event->type = 1;
    event->translation_fault.addr = (void *)(uintptr_t)answer.value;
    event->translation_fault.count = answer.more;
    return 1;
}

EXPORT int ocxl_afu_event_check_versioned(struct ocxl_afu *afu, int timeout_ms, struct ocxl_event *events, uint16_t n,
                                          uint16_t version);
EXPORT int ocxl_afu_event_check_versioned(struct ocxl_afu *afu, int timeout_ms, struct ocxl_event *events, uint16_t n,
                                          uint16_t version)
{
    static const struct timespec tick = { .tv_nsec = 10000000 };
    int found;

    if (!afu || !events || n == 0 || version != 0)
        return -1;
    while ((found = fetch_event(afu, events)) == 0 && timeout_ms != 0) {
        nanosleep(&tick, NULL);
        if (timeout_ms > 0)
            timeout_ms = timeout_ms > 10 ? timeout_ms - 10 : 0;
    }
    return found;
}

EXPORT int ocxl_afu_get_event_fd(struct ocxl_afu *afu);
EXPORT int ocxl_afu_get_event_fd(struct ocxl_afu *afu)
{
    (void)afu;
    return -1;
}

EXPORT ocxl_err ocxl_irq_alloc(struct ocxl_afu *afu, void *info, uint16_t *irq);
EXPORT ocxl_err ocxl_irq_alloc(struct ocxl_afu *afu, void *info, uint16_t *irq)
{
    (void)afu;
    (void)info;
    (void)irq;
    return -4; /* OCXL_NO_IRQ */
}

EXPORT uint64_t ocxl_irq_get_handle(struct ocxl_afu *afu, uint16_t irq);
EXPORT uint64_t ocxl_irq_get_handle(struct ocxl_afu *afu, uint16_t irq)
{
    (void)afu;
    (void)irq;
    return 0;
}

EXPORT int ocxl_irq_get_fd(struct ocxl_afu *afu, uint16_t irq);
EXPORT int ocxl_irq_get_fd(struct ocxl_afu *afu, uint16_t irq)
{
    (void)afu;
    (void)irq;
    return -1;
}

EXPORT void ocxl_enable_messages(uint64_t sources);
EXPORT void ocxl_enable_messages(uint64_t sources)
{
    (void)sources;
}

EXPORT void ocxl_set_error_message_handler(void (*handler)(ocxl_err error, const char *message));
EXPORT void ocxl_set_error_message_handler(void (*handler)(ocxl_err error, const char *message))
{
    (void)handler;
}

EXPORT void ocxl_afu_enable_messages(struct ocxl_afu *afu, uint64_t sources);
EXPORT void ocxl_afu_enable_messages(struct ocxl_afu *afu, uint64_t sources)
{
    (void)afu;
    (void)sources;
}

EXPORT void ocxl_afu_set_error_message_handler(struct ocxl_afu *afu,
                                               void (*handler)(struct ocxl_afu *afu, ocxl_err error,
                                                               const char *message));
EXPORT void ocxl_afu_set_error_message_handler(struct ocxl_afu *afu,
                                               void (*handler)(struct ocxl_afu *afu, ocxl_err error,
                                                               const char *message))
{
    (void)afu;
    (void)handler;
}

EXPORT const char *ocxl_info(void);
EXPORT const char *ocxl_info(void)
{
    return "Memlane's emulated libocxl 1.2";
}

EXPORT const char *ocxl_err_to_string(ocxl_err error);
EXPORT const char *ocxl_err_to_string(ocxl_err error)
{
    static const char *const texts[] = {
        "success",          "out of memory",          "the adapter is not available",
        "no open context",  "no interrupt available", "internal error, or the adapter does not answer",
        "already done",     "no such register",       "another process has the adapter's context",
        "invalid arguments"
    };

    return error <= 0 && error > -10 ? texts[-error] : "unknown error";
}
