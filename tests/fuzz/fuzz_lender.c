/* The lender's protocol: a row of messages of any size and content, to a lender with sparse buffers, with locked ones,
 * or with one file for all (the first byte says which).  Whatever comes, there is an answer, buffers never overlap, and
 * in the end everything can be released.  And /proc/self/maps, of any content: nothing proves what it does not say. */
#include "log.h"
#include "pages.h"
#include "service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define LARGEST (UINT64_C(4) << 20) /* locked memory is really taken */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum kind { SPARSE, LOCKED, ONE_FILE, MAPS, N_KINDS };

static struct lending {
    struct service service;
    struct arenas *arenas;
} lendings[MAPS];

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
    *afu = (struct ocxl_afu *)&lendings;
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
    *area = (struct ocxl_mmio_area *)&lendings;
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

static void begin_one(enum kind kind, const char *file)
{
    const struct arenas_options o = { .locked = kind == LOCKED, .arena_file = kind == ONE_FILE ? file : NULL };
    struct lending *l = &lendings[kind];
    struct err e;
    if (arenas_new(&l->arenas, &o, &e) < 0)
        abort();
    l->service = (struct service){ .arenas = l->arenas,
                                   .device = "fuzz",
                                   .lib = { .handle = &lendings,
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

static void begin(void)
{
    char file[] = "/dev/shm/memlane-fuzz-XXXXXX";
    int fd = mkstemp(file);
    if (fd < 0 || ftruncate(fd, 64 << 20) < 0)
        abort();
    log_set_level(LOG_LEVEL_ERROR); /* it would write more than it tries */
    signal(SIGXFSZ, SIG_IGN);       /* as the lender does */
    for (enum kind kind = SPARSE; kind < MAPS; kind++)
        begin_one(kind, file);
    unlink(file);
    close(fd);
}

/* Files, and so buffers, may be that large. */
static void limit_files(uint64_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();
}

static void check_no_overlap(const struct arenas *arenas)
{
    size_t i = 0, k;
    for (const struct buffer *x; (x = arenas_next(arenas, &i, NULL));) {
        if (x->committed_bytes != x->g.size_bytes)
            abort();
        k = i;
        for (const struct buffer *y; (y = arenas_next(arenas, &k, NULL));)
            if (x->effective_addr < y->effective_addr + y->g.size_bytes &&
                y->effective_addr < x->effective_addr + x->g.size_bytes)
                abort();
    }
}

static void release_all(struct arenas *arenas)
{
    struct err e;
    size_t slot = 0;
    while (arenas_commit(arenas))
        ;
    for (const struct buffer *b; (b = arenas_next(arenas, &slot, NULL));) {
        char id[ID_SIZE];
        memcpy(id, b->g.id, sizeof id);
        if (arenas_release(arenas, id, &e) < 0)
            abort();
    }
    struct arenas_totals t = arenas_totals(arenas);
    if (t.n_buffers || t.locked_bytes || t.lent_bytes)
        abort();
}

/* Only a private, read-only mapping of nothing is the zero page. */
static void read_maps(const uint8_t *data, size_t size)
{
    struct err e;
    const uint64_t start = UINT64_C(0x10000000000), bytes = UINT64_C(1) << 28;
    int fd = memfd_create("maps", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    if (pages_prove_zero(fd, start, bytes, &e) == 0 && !memmem(data, size, "r--p", 4))
        abort();
    close(fd);
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
    if (!lendings[SPARSE].arenas)
        begin();
    if (!size)
        return 0;
    enum kind kind = data[0] % N_KINDS;
    data++;
    size--;
    if (kind == MAPS) {
        read_maps(data, size);
        return 0;
    }
    struct lending *l = &lendings[kind];
    limit_files(kind == LOCKED ? LARGEST : UINT64_MAX);
    while (size) {
        size_t used = next_message(data, size, message, &length);
        service_answer(&l->service, message, length, &answer);
        if (answer.magic != LENDER_MAGIC)
            abort();
        if (answer.status == LENDER_AGAIN && kind != LOCKED)
            abort();
        (void)arenas_commit(l->arenas);
        data += used;
        size -= used;
    }
    limit_files(UINT64_MAX);
    check_no_overlap(l->arenas);
    release_all(l->arenas);
    return 0;
}
