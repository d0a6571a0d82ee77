/* ocxl.c - the drop-in libocxl.so: the calls of libocxl 1.2, by its names and its ABI, whose registers live in the
 * emulator.
 *
 * A device file of an emulated node holds one line, "unix:SOCKET NODE ADAPTER" or "tcp:HOST:PORT NODE ADAPTER"; an open
 * adapter is one connection (ocxl_call.h).  Handles may be used from several threads.  It links nothing of Memlane.
 * What makes no sense without hardware (interrupts, mapping the area by hand) is refused. */
#include "ocxl_translate.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum { BIG_ENDIAN_AREA, LITTLE_ENDIAN_AREA, HOST_ENDIAN_AREA }; /* ocxl_endian */
enum { GLOBAL_AREA, PER_PASID_AREA };                           /* ocxl_mmio_type */

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

/* ---- adapters ---- */
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
    rc = read_device(afu, path) ? ocxl_call_open(afu) : LINK_NO_DEV;
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
    ocxl_translator_stop(afu->translator);
    ocxl_call_hang_up(afu);
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
        rc = ocxl_call(afu, LINK_ATTACH, 0, 0, &answer);
    if (rc == LINK_OK)
        afu->attached = true;
    if (rc == LINK_OK && afu->memory_role && strncmp(afu->address, "tcp:", 4) == 0)
        afu->translator = ocxl_translator_start(afu);
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

/* ---- registers ---- */
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
    rc = ocxl_call(area->afu, LINK_READ, (uint64_t)offset, 0, &answer);
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
    rc = ocxl_call(area->afu, LINK_WRITE, (uint64_t)offset, convert(value, endian), &answer);
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

/* ---- events and the rest ---- */
static int fetch_event(struct ocxl_afu *afu, struct ocxl_event *event)
{
    struct link_answer answer;
    ocxl_err rc;

    pthread_mutex_lock(&afu->mutex);
    rc = ocxl_call(afu, LINK_EVENT, 0, 0, &answer);
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

/* No real library has it: who loads this one knows what it is. */
EXPORT void memlane_ocxl_emulated(void);
EXPORT void memlane_ocxl_emulated(void)
{
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
