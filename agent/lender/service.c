#include "service.h"

#include "faultpoint.h"
#include "log.h"
#include "pages.h"
#include "registers.h"
#include "units.h"

#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RETRY_MS 1000

/* ---- the adapter --------------------------------------------------------------------------------------------------
 */
static int open_adapter(struct service *s, struct err *e)
{
    if (!s->lib.handle && ocxl_library_load(&s->lib, s->library, e) < 0)
        return -1;
    if (ocxl_device_open(&s->adapter, &s->lib, s->device, true, e) < 0)
        return -1;
    if (ocxl_device_write(s->adapter, REG_CONTROL, REG_CONTROL_ENABLE, e) < 0) {
        ocxl_device_close(s->adapter);
        s->adapter = NULL;
        return -1;
    }
    log_info("lender.attached", "device=%s", s->device);
    return 0;
}

/* Open, or why not: enough to read a register. */
static int need_open(struct service *s, struct err *e)
{
    if (!s->adapter && time_monotonic_ms() >= s->retry_ms) {
        s->retry_ms = time_monotonic_ms() + RETRY_MS;
        if (open_adapter(s, &s->why) < 0)
            log_warn("lender.adapter", "device=%s %s", s->device, s->why.detail);
    }
    if (s->adapter)
        return 0;
    *e = s->why;
    return -1;
}

/* Attached and enabled, or why not.  An adapter that lost its context is opened again only while nothing is lent. */
static int need_adapter(struct service *s, struct err *e)
{
    uint64_t control;
    if (need_open(s, e) < 0)
        return -1;
    int rc = ocxl_device_read(s->adapter, REG_CONTROL, &control, e);
    if (!rc && !(control & REG_CONTROL_ENABLE))
        rc = err_set(e, ERR_HARDWARE, "the adapter was reset");
    if (rc < 0 && !arenas_totals(s->arenas).n_buffers) {
        ocxl_device_close(s->adapter);
        s->adapter = NULL;
        s->why = *e;
    }
    return rc;
}

int service_init(struct service *s, struct arenas *arenas, const char *device, const char *library, struct err *e)
{
    unsigned char random[16];
    memset(s, 0, sizeof *s);
    s->arenas = arenas;
    s->device = device;
    s->library = library;
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_errno(e, ERR_IO, "no random numbers");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(s->lender_id + 2 * i, 3, "%02x", random[i]);
    struct err later; /* asked for again with each request */
    if (need_adapter(s, &later) < 0)
        log_warn("lender.not_attached", "device=%s %s", device, later.detail);
    return 0;
}

void service_done(struct service *s)
{
    ocxl_device_close(s->adapter);
    ocxl_library_unload(&s->lib);
}

/* ---- requests -----------------------------------------------------------------------------------------------------
 */
static void fill_buffer(struct lender_answer *out, const struct buffer *b)
{
    memcpy(out->id, b->g.id, ID_SIZE);
    memcpy(out->compute_node, b->g.compute_node, NAME_SIZE);
    memcpy(out->compute_adapter, b->g.compute_adapter, NAME_SIZE);
    out->section = b->g.section;
    out->offset_bytes = b->g.offset_bytes;
    out->size_bytes = b->g.size_bytes;
    out->effective_addr = b->effective_addr;
}

/* The limit, unless a capability passes it by. */
static uint64_t memlock_limit(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    struct rlimit limit;
    if (syscall(SYS_capget, &header, data) == 0 && data[CAP_IPC_LOCK / 32].effective & 1u << CAP_IPC_LOCK % 32)
        return UINT64_MAX;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return 0;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur > 0 ? limit.rlim_cur : 1;
}

static int do_info(struct service *s, const struct lender_request *r UNUSED, struct lender_answer *out,
                   struct err *e UNUSED)
{
    struct err why;
    uint64_t faults = 0;
    out->adapter_ok = need_adapter(s, &why) == 0;
    if (!out->adapter_ok)
        snprintf(out->text, sizeof out->text, "%.199s", why.detail);
    else if (ocxl_device_faults(s->adapter, &faults, &why) == 0)
        s->n_faults += faults;
    if (faults)
        log_error("lender.fault", "device=%s translation_faults=%llu", s->device, (unsigned long long)faults);
    out->value = s->n_faults;
    return 0;
}

static int do_alloc(struct service *s, const struct lender_request *r, struct lender_answer *out, struct err *e)
{
    const struct buffer *b = NULL;
    struct geometry g = { .offset_bytes = r->offset_bytes, .size_bytes = r->size_bytes };
    g.section = r->section < ARENA_SECTIONS ? (unsigned)r->section : ARENA_SECTIONS; /* refused there */
    memcpy(g.id, r->id, ID_SIZE);
    memcpy(g.compute_node, r->compute_node, NAME_SIZE);
    memcpy(g.compute_adapter, r->compute_adapter, NAME_SIZE);
    FAULT_POINT("alloc.before");
    if (need_adapter(s, e) < 0 || arenas_alloc(s->arenas, &g, &b, e) < 0)
        return -1;
    FAULT_POINT("alloc.after");
    fill_buffer(out, b);
    if (b->committed_bytes < b->g.size_bytes) {
        out->status = LENDER_AGAIN;
        out->value = b->committed_bytes;
    }
    return 0;
}

static int do_release(struct service *s, const struct lender_request *r, struct lender_answer *out UNUSED,
                      struct err *e)
{
    if (!id_valid(r->id))
        return err_set(e, ERR_FIELD_INVALID, "not a valid id");
    FAULT_POINT("release.before");
    if (arenas_release(s->arenas, r->id, e) < 0)
        return -1;
    FAULT_POINT("release.after");
    return 0;
}

static int do_list(struct service *s, const struct lender_request *r, struct lender_answer *out, struct err *e UNUSED)
{
    size_t slot = r->offset < ARENA_MAX_BUFFERS ? (size_t)r->offset : ARENA_MAX_BUFFERS;
    const struct err *why = NULL;
    const struct buffer *b = arenas_next(s->arenas, &slot, r->section ? &why : NULL);
    if (b)
        fill_buffer(out, b);
    else
        out->status = LENDER_END;
    if (b && why) {
        out->failed = 1;
        snprintf(out->text, sizeof out->text, "%.199s", why->detail);
    }
    out->value = slot;
    return 0;
}

static int do_channel(struct service *s, const struct lender_request *r, struct lender_answer *out UNUSED,
                      struct err *e)
{
    if (r->section > 1 || r->offset > 1)
        return err_set(e, ERR_FIELD_INVALID, "there is no such port");
    uint64_t bit = UINT64_C(1) << r->section;
    if (need_adapter(s, e) < 0)
        return -1;
    return ocxl_device_update(s->adapter, REG_CHANNELS, bit, r->offset ? bit : 0, e);
}

static int do_read(struct service *s, const struct lender_request *r, struct lender_answer *out, struct err *e)
{
    if (!reg_exists(r->offset))
        return err_set(e, ERR_FIELD_INVALID, "there is no such register");
    return need_open(s, e) < 0 ? -1 : ocxl_device_read(s->adapter, r->offset, &out->value, e);
}

typedef int (*operation)(struct service *s, const struct lender_request *r, struct lender_answer *out, struct err *e);
static const operation operations[] = {
    [LENDER_OP_INFO] = do_info, [LENDER_OP_ALLOC] = do_alloc,     [LENDER_OP_RELEASE] = do_release,
    [LENDER_OP_LIST] = do_list, [LENDER_OP_CHANNEL] = do_channel, [LENDER_OP_READ] = do_read,
};

static enum lender_status status_of(enum err_code code)
{
    switch (code) {
    case ERR_FIELD_INVALID:
        return LENDER_INVALID;
    case ERR_CONFLICT:
        return LENDER_CONFLICT;
    case ERR_HARDWARE:
        return LENDER_HARDWARE;
    case ERR_TOO_MANY:
        return LENDER_FULL;
    default:
        return LENDER_MEMORY;
    }
}

/* Strings end within their field, and what is reserved is zero. */
static bool well_formed(const struct lender_request *r)
{
    for (size_t i = 0; i < ARRAY_LEN(r->reserved); i++)
        if (r->reserved[i])
            return false;
    return memchr(r->id, '\0', sizeof r->id) && memchr(r->compute_node, '\0', sizeof r->compute_node) &&
           memchr(r->compute_adapter, '\0', sizeof r->compute_adapter);
}

static int perform(struct service *s, const struct lender_request *r, struct lender_answer *out, struct err *e)
{
    if (!well_formed(r) || r->op >= ARRAY_LEN(operations) || !operations[r->op])
        return err_set(e, ERR_FIELD_INVALID, "a request that nobody knows");
    return operations[r->op](s, r, out, e);
}

void service_answer(struct service *s, const void *request, size_t size, struct lender_answer *out)
{
    struct lender_request r;
    struct err e;
    memset(out, 0, sizeof *out);
    out->magic = LENDER_MAGIC;
    out->protocol = LENDER_PROTOCOL;
    out->pid = getpid();
    memcpy(out->lender_id, s->lender_id, ID_SIZE);
    if (size != sizeof r) {
        out->status = LENDER_VERSION;
        return;
    }
    memcpy(&r, request, sizeof r);
    out->op = r.op;
    out->tag = r.tag;
    if (r.magic != LENDER_MAGIC || r.protocol != LENDER_PROTOCOL) {
        out->status = LENDER_VERSION;
        return;
    }
    err_clear(&e);
    if (perform(s, &r, out, &e) < 0) {
        out->status = status_of(e.code);
        out->os_errno = e.os_errno;
        snprintf(out->text, sizeof out->text, "%.199s", e.detail);
    }
    const struct arenas_totals totals = arenas_totals(s->arenas);
    out->n_buffers = totals.n_buffers;
    out->lent_bytes = totals.lent_bytes;
    out->locked_bytes = totals.locked_bytes;
    out->memlock_bytes = memlock_limit();
    out->page_bytes = totals.page_bytes;
    out->numa_nodes = pages_bound();
}
