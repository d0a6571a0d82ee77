/* afu.c - see afu.h. */
#include "afu.h"

#include "log.h"
#include "registers.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENDER_TIMEOUT_MS 2000
#define LENDER_START_MIN_MS 500 /* between two starts of a lender that does not stay; doubled up to ... */
#define LENDER_START_MAX_MS 30000
#define LENDER_SILENT_MS 10000 /* a lender that did not answer is not asked by heartbeats for that long */

struct afu {
    const struct afu_ops *ops;
    struct afu_options o;
    struct ocxl_device *device;       /* compute: NULL while it cannot be opened */
    uint64_t sections[WIRE_SECTIONS]; /* compute: as read last */
    bool read_all;                    /* compute: all of them were read since it was opened */
    uint64_t asked;                   /* compute: flits sent when afu_moved() was called last */
    bool was_quiet;                   /* compute: no flit left between the last two samples */
    int64_t reopen_at_ms;
    struct err open_error;
    struct lender *lender;              /* memory */
    char lender_id[ID_SIZE];            /* memory: of the lender that answered last; empty: none yet */
    int64_t start_at_ms, start_wait_ms; /* memory: when its lender may be started next */
    int64_t silent_until_ms;            /* memory: its lender hangs, for 'silent' */
    struct err silent;
    uint64_t locked_bytes;                    /* memory: what its lender holds, as last read */
    size_t n_buffers;                         /* memory: of its lender, as last read */
    struct afu_lender_facts facts;            /* of it, too */
    uint64_t sent, received, cycles, samples; /* running totals */
};

/* ---- compute ------------------------------------------------------------------------------------------------------
 */
static int compute_open(struct afu *a, struct err *e)
{
    if (a->device)
        return 0;
    if (!a->o.ocxl)
        return err_set(e, ERR_HARDWARE, "libocxl could not be loaded");
    int64_t now = time_monotonic_ms();
    if (now < a->reopen_at_ms) {
        *e = a->open_error;
        return -1;
    }
    if (ocxl_device_open(&a->device, a->o.ocxl, a->o.device, false, &a->open_error) == 0) {
        log_info("adapter.open", "adapter=%s device=%s", a->o.wire.name, a->o.device);
        return 0;
    }
    a->reopen_at_ms = now + AFU_REOPEN_MS;
    log_warn("adapter.open", "adapter=%s: %s", a->o.wire.name, a->open_error.detail);
    *e = a->open_error;
    return -1;
}

/* An access failed: whatever the reason, the next call opens the adapter anew. */
static int compute_failed(struct afu *a)
{
    ocxl_device_close(a->device);
    a->device = NULL;
    a->read_all = false;
    a->reopen_at_ms = 0;
    return -1;
}

static int compute_get(struct afu *a, uint64_t offset, uint64_t *value, struct err *e)
{
    if (compute_open(a, e) < 0)
        return -1;
    return ocxl_device_read(a->device, offset, value, e) == 0 ? 0 : compute_failed(a);
}

/* Whoever sent nothing received nothing, and waited for nothing; what comes late is counted with the next. */
static int compute_count(struct afu *a, struct err *e)
{
    uint64_t sent, received, latency;
    if (compute_get(a, REG_FLITS_SENT, &sent, e) < 0)
        return -1;
    bool quiet = sent == 0 && a->was_quiet;
    a->sent += sent; /* at once: the read has cleared it */
    a->was_quiet = sent == 0;
    if (quiet)
        return 0;
    if (compute_get(a, REG_FLITS_RECEIVED, &received, e) < 0)
        return -1;
    a->received += received;
    if (compute_get(a, REG_LATENCY, &latency, e) < 0)
        return -1;
    a->samples += REG_LATENCY_SAMPLES(latency);
    a->cycles += REG_LATENCY_CYCLES(latency);
    return 0;
}

static int compute_channels(struct afu *a, unsigned *out, struct err *e)
{
    uint64_t v;
    if (compute_get(a, REG_CHANNELS, &v, e) < 0)
        return -1;
    *out = (unsigned)(v & REG_CHANNELS_MASK);
    return 0;
}

static int compute_read_section(struct afu *a, unsigned section, uint64_t *value, struct err *e)
{
    return compute_get(a, REG_SECTION(section), value, e);
}

static int compute_read(struct afu *a, enum afu_depth depth, struct wire_seen_adapter *out, struct err *e)
{
    if (!a->read_all)
        depth = AFU_ALL;
    if (compute_channels(a, &out->channels, e) < 0)
        return -1;
    for (unsigned n = 0; n < WIRE_SECTIONS; n++)
        if ((depth == AFU_ALL || (depth == AFU_ORDERS && n * TIB < a->o.wire.window_bytes)) &&
            compute_get(a, REG_SECTION(n), &a->sections[n], e) < 0)
            return -1;
    if (compute_get(a, REG_ERROR_CAPTURE, &out->error_capture, e) < 0 ||
        (depth != AFU_ORDERS && compute_count(a, e) < 0))
        return -1;
    a->read_all = true;
    memcpy(out->sections, a->sections, sizeof out->sections);
    out->flits_sent = a->sent;
    out->flits_received = a->received;
    out->latency_cycles = a->cycles;
    out->latency_samples = a->samples;
    return 0;
}

static int compute_set_channel(struct afu *a, unsigned port, bool up, struct err *e)
{
    uint64_t bit = UINT64_C(1) << port;
    if (compute_open(a, e) < 0)
        return -1;
    return ocxl_device_update(a->device, REG_CHANNELS, bit, up ? bit : 0, e) == 0 ? 0 : compute_failed(a);
}

static int compute_write_section(struct afu *a, unsigned section, uint64_t value, struct err *e)
{
    uint64_t back;
    if (compute_open(a, e) < 0)
        return -1;
    if (ocxl_device_write(a->device, REG_SECTION(section), value, e) < 0)
        return compute_failed(a);
    if (compute_read_section(a, section, &back, e) < 0)
        return -1;
    if (back != value)
        return err_set(e, ERR_HARDWARE, "section %u of %s reads 0x%" PRIx64 " after 0x%" PRIx64 " was written", section,
                       a->o.wire.name, back, value);
    return 0;
}

static void compute_start(struct afu *a)
{
    struct err e = { 0 };
    if (compute_open(a, &e) < 0)
        log_debug("adapter.start", "adapter=%s: %s", a->o.wire.name, e.detail);
}

static const struct afu_ops compute_ops = {
    .name = "compute",
    .start = compute_start,
    .read = compute_read,
    .set_channel = compute_set_channel,
    .channels = compute_channels,
    .read_section = compute_read_section,
    .write_section = compute_write_section,
};

/* ---- memory -------------------------------------------------------------------------------------------------------
 */
static int memory_channels(struct afu *a, unsigned *out, struct err *e)
{
    uint64_t value;
    if (lender_read(a->lender, REG_CHANNELS, &value, e) < 0)
        return -1;
    *out = (unsigned)(value & REG_CHANNELS_MASK);
    return 0;
}

/* Is it another lender than the one that answered last?  Then that one is dead, and what it had lent is lost. */
static void note_lender(struct afu *a, const struct lender_info *info)
{
    if (strcmp(a->lender_id, info->lender_id) == 0)
        return;
    if (a->lender_id[0])
        log_error("lender.lost", "adapter=%s lender_id=%s: what it had lent is gone; pid %d serves the adapter now",
                  a->o.wire.name, a->lender_id, info->pid);
    snprintf(a->lender_id, sizeof a->lender_id, "%s", info->lender_id);
}

/* Starts the adapter's lender where nobody else does (emulated racks; on servers its socket's unit does), but not as
 * fast as it dies. */
static void memory_start(struct afu *a)
{
    struct err e = { 0 };
    struct lender_info info = { 0 };
    CLEANUP(lender_freep) struct lender *starter = NULL;
    int64_t now = time_monotonic_ms();
    if (!a->o.lender.program || now < a->start_at_ms || lender_info(a->lender, &info, &e) == 0)
        return;
    if (a->lender_id[0])
        log_error("lender.gone", "adapter=%s lender_id=%s: %s", a->o.wire.name, a->lender_id, e.detail);
    bool again = a->start_wait_ms > 0 && now < a->start_at_ms + LENDER_START_MAX_MS;
    a->start_wait_ms = again ? 2 * a->start_wait_ms : LENDER_START_MIN_MS;
    if (a->start_wait_ms > LENDER_START_MAX_MS)
        a->start_wait_ms = LENDER_START_MAX_MS;
    a->start_at_ms = now + a->start_wait_ms;
    if (lender_new(&starter, &a->o.lender, &e) < 0 || lender_info(starter, &info, &e) < 0)
        log_warn("lender.start", "adapter=%s: %s", a->o.wire.name, e.detail);
}

/* A lender that died is started again; one that hangs is left alone for a while, so that the rest is served. */
static int look(struct afu *a, struct lender_info *info, struct wire_seen_adapter *out, uint64_t *errors, struct err *e)
{
    if (time_monotonic_ms() < a->silent_until_ms) {
        *e = a->silent;
        return -1;
    }
    int rc = lender_look(a->lender, info, &out->channels, errors, e);
    if (rc < 0 && e->code == ERR_UNREACHABLE && a->o.lender.program) {
        memory_start(a);
        err_clear(e);
        rc = lender_look(a->lender, info, &out->channels, errors, e);
    }
    if (rc < 0 && e->code == ERR_TIMEOUT) {
        log_error("lender.silent", "adapter=%s: %s", a->o.wire.name, e->detail);
        a->silent = *e;
        a->silent_until_ms = time_monotonic_ms() + LENDER_SILENT_MS;
    }
    return rc;
}

static int memory_read(struct afu *a, enum afu_depth depth, struct wire_seen_adapter *out, struct err *e)
{
    (void)depth; /* a memory adapter has no sections and no counters */
    struct lender_info info = { 0 };
    uint64_t errors = 0;
    int rc = look(a, &info, out, &errors, e);
    if (rc == 0 || e->code != ERR_TIMEOUT) /* one that hangs still holds what it had */
        a->locked_bytes = 0;
    a->n_buffers = 0;
    memcpy(out->lender_id, info.lender_id, sizeof out->lender_id); /* whatever else failed: its buffers are there */
    if (!info.lender_id[0])
        return rc < 0 ? -1 : err_set(e, ERR_PROTOCOL, "the lender of %s has no name", a->o.wire.name);
    note_lender(a, &info);
    a->n_buffers = info.n_buffers;
    a->facts = (struct afu_lender_facts){ info.memlock_bytes, info.page_bytes, info.numa_nodes };
    a->locked_bytes = a->o.emulated ? info.lent_bytes : info.locked_bytes;
    if (rc < 0)
        return -1;
    if (!info.adapter_ok)
        return err_set(e, ERR_HARDWARE, "%.190s", info.error);
    out->error_capture = errors;
    return 0;
}

static int memory_set_channel(struct afu *a, unsigned port, bool up, struct err *e)
{
    return lender_set_channel(a->lender, port, up, e);
}

static int memory_read_section(struct afu *a, unsigned section, uint64_t *value, struct err *e)
{
    (void)section;
    (void)value;
    return err_set(e, ERR_CONFLICT, "%s is a memory adapter: it has no sections", a->o.wire.name);
}

static int memory_write_section(struct afu *a, unsigned section, uint64_t value, struct err *e)
{
    return memory_read_section(a, section, &value, e);
}

static const struct afu_ops memory_ops = {
    .name = "memory",
    .start = memory_start,
    .read = memory_read,
    .set_channel = memory_set_channel,
    .channels = memory_channels,
    .read_section = memory_read_section,
    .write_section = memory_write_section,
};

/* ---- both ---------------------------------------------------------------------------------------------------------
 */
int afu_new(struct afu **out, const struct afu_options *o, struct err *e)
{
    CLEANUP(cleanup_free) struct afu *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_INTERNAL, "out of memory");
    a->o = *o;
    a->ops = o->wire.role == WIRE_MEMORY ? &memory_ops : &compute_ops;
    if (o->wire.role == WIRE_MEMORY) {
        struct lender_config passive = o->lender; /* only afu_ops.start starts a lender */
        passive.program = NULL;
        passive.timeout_ms = LENDER_TIMEOUT_MS;
        if (lender_new(&a->lender, &passive, e) < 0)
            return -1;
    }
    *out = TAKE(a);
    return 0;
}

void afu_free(struct afu *a)
{
    if (!a)
        return;
    ocxl_device_close(a->device);
    lender_free(a->lender);
    free(a);
}

const struct afu_ops *afu_ops(const struct afu *a)
{
    return a->ops;
}

struct lender *afu_lender(struct afu *a)
{
    return a->lender;
}

uint64_t afu_locked_bytes(const struct afu *a)
{
    return a->locked_bytes;
}

struct afu_lender_facts afu_lender_facts(const struct afu *a)
{
    return a->facts;
}

size_t afu_n_buffers(const struct afu *a)
{
    return a->n_buffers;
}

int afu_moved(struct afu *a, uint64_t *flits, struct err *e)
{
    uint64_t sent;
    if (a->ops != &compute_ops)
        return err_set(e, ERR_CONFLICT, "%s counts nothing", a->o.wire.name);
    if (compute_get(a, REG_FLITS_SENT, &sent, e) < 0)
        return -1;
    a->sent += sent;
    a->was_quiet = a->was_quiet && sent == 0; /* the answers to these are still to be counted */
    *flits = a->sent - a->asked;
    a->asked = a->sent;
    return 0;
}
