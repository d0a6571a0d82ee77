/* The lender's protocol: a row of messages of any size and content.  Whatever comes, there is an answer, buffers never
 * overlap, and in the end everything can be released. */
#include "log.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct service service;
static struct arenas *arenas;

static int read64(struct ocxl_mmio_area *area UNUSED, off_t offset, int endian UNUSED, uint64_t *out)
{
    *out = offset == 0; /* control: enabled */
    return 0;
}

static int write64(struct ocxl_mmio_area *area UNUSED, off_t offset UNUSED, int endian UNUSED, uint64_t value UNUSED)
{
    return 0;
}

static int open_device(const char *path UNUSED, struct ocxl_afu **afu)
{
    *afu = (struct ocxl_afu *)&service;
    return 0;
}

static int attach(struct ocxl_afu *afu UNUSED, uint64_t flags UNUSED)
{
    return 0;
}

static int close_device(struct ocxl_afu *afu UNUSED)
{
    return 0;
}

static int map(struct ocxl_afu *afu UNUSED, int type UNUSED, struct ocxl_mmio_area **area)
{
    *area = (struct ocxl_mmio_area *)&service;
    return 0;
}

static void unmap(struct ocxl_mmio_area *area UNUSED)
{
}

static int events(struct ocxl_afu *afu UNUSED, int ms UNUSED, struct ocxl_abi_event *e UNUSED, uint16_t n UNUSED,
                  uint16_t version UNUSED)
{
    return 0;
}

static const char *text_of(int err UNUSED)
{
    return "failed";
}

static void begin(void)
{
    const struct arenas_options o = { .locked = false };
    log_set_level(LOG_LEVEL_ERROR); /* it would write more than it tries */
    struct err e;
    if (arenas_new(&arenas, &o, &e) < 0)
        abort();
    service = (struct service){ .arenas = arenas,
                                .device = "fuzz",
                                .lib = { .handle = &service,
                                         .afu_open_from_dev = open_device,
                                         .afu_attach = attach,
                                         .afu_close = close_device,
                                         .mmio_map = map,
                                         .mmio_unmap = unmap,
                                         .mmio_read64 = read64,
                                         .mmio_write64 = write64,
                                         .event_check = events,
                                         .err_to_string = text_of } };
}

static void check_no_overlap(void)
{
    size_t i = 0, k;
    for (const struct buffer *x; (x = arenas_next(arenas, &i));) {
        k = i;
        for (const struct buffer *y; (y = arenas_next(arenas, &k));)
            if (x->effective_addr < y->effective_addr + y->g.size_bytes &&
                y->effective_addr < x->effective_addr + x->g.size_bytes)
                abort();
    }
}

static void release_all(void)
{
    struct err e;
    size_t slot = 0;
    for (const struct buffer *b; (b = arenas_next(arenas, &slot));) {
        char id[ID_SIZE];
        memcpy(id, b->g.id, sizeof id);
        if (arenas_release(arenas, id, &e) < 0)
            abort();
    }
    if (arenas_totals(arenas).n_buffers)
        abort();
}

/* The first byte of each message says its form: a raw one of that size, or a well-formed request from few bytes. */
static size_t next_message(const uint8_t *data, size_t size, unsigned char out[600], size_t *length)
{
    memset(out, 0, 600);
    if (data[0] < 16) {
        size_t n = size - 1 < 600 ? size - 1 : 600;
        memcpy(out, data + 1, n);
        *length = n;
        return size;
    }
    uint8_t byte[8] = { 0 };
    size_t n = size < sizeof byte ? size : sizeof byte;
    memcpy(byte, data, n);
    struct lender_request r = { .magic = LENDER_MAGIC, .protocol = LENDER_PROTOCOL, .op = byte[0] % 10 };
    memcpy(r.id, "a0", 3);
    r.id[1] = (char)('0' + byte[1] % 4);
    memcpy(r.compute_node, "n1", 3);
    memcpy(r.compute_adapter, "afu0", 5);
    r.section = byte[2] % 9;
    r.offset = byte[3];
    r.offset_bytes = (uint64_t)byte[4] << byte[5] % 64;
    r.size_bytes = (uint64_t)byte[6] << byte[7] % 64;
    memcpy(out, &r, sizeof r);
    *length = sizeof r;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lender_answer answer;
    unsigned char message[600];
    size_t length;
    if (!arenas)
        begin();
    while (size) {
        size_t used = next_message(data, size, message, &length);
        service_answer(&service, message, length, &answer);
        if (answer.magic != LENDER_MAGIC)
            abort();
        data += used;
        size -= used;
    }
    check_no_overlap();
    release_all();
    return 0;
}
