/* fake_ocxl.c - the smallest libocxl: one adapter whose registers are this process's memory, for the lender's tests.
 * A device path that ends with "broken" cannot be opened; a channel register begins with analogue settings in its upper
 * bits. */
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct ocxl_afu {
    int attached;
};
struct ocxl_mmio_area {
    int unused;
};

int ocxl_afu_open_from_dev(const char *path, struct ocxl_afu **afu);
int ocxl_afu_attach(struct ocxl_afu *afu, uint64_t flags);
int ocxl_afu_close(struct ocxl_afu *afu);
int ocxl_mmio_map(struct ocxl_afu *afu, int type, struct ocxl_mmio_area **area);
void ocxl_mmio_unmap(struct ocxl_mmio_area *area);
int ocxl_mmio_read64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t *out);
int ocxl_mmio_write64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t value);
int ocxl_afu_event_check_versioned(struct ocxl_afu *afu, int timeout, void *events, uint16_t n, uint16_t version);
const char *ocxl_err_to_string(int err);
unsigned fake_ocxl_reads(void);
void fake_ocxl_capture(uint64_t value);

static struct ocxl_afu the_afu;
static struct ocxl_mmio_area the_area;
static unsigned n_reads;
static uint64_t registers[0x300 / 8] = { [0x78 / 8] = UINT64_C(0x0123456789abcdec) };

int ocxl_afu_open_from_dev(const char *path, struct ocxl_afu **afu)
{
    size_t n = strlen(path);
    if (n >= 6 && !strcmp(path + n - 6, "broken"))
        return -2;
    *afu = &the_afu;
    return 0;
}

int ocxl_afu_attach(struct ocxl_afu *afu, uint64_t flags)
{
    (void)flags;
    if (afu->attached++)
        return -6;
    return 0;
}

int ocxl_afu_close(struct ocxl_afu *afu)
{
    afu->attached = 0;
    return 0;
}

int ocxl_mmio_map(struct ocxl_afu *afu, int type, struct ocxl_mmio_area **area)
{
    (void)afu;
    *area = &the_area;
    return type == 0 ? 0 : -9;
}

void ocxl_mmio_unmap(struct ocxl_mmio_area *area)
{
    (void)area;
}

int ocxl_mmio_read64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t *out)
{
    n_reads++;
    (void)area;
    if (endian != 1 || offset < 0 || (size_t)offset / 8 >= sizeof registers / 8)
        return -7;
    *out = registers[offset / 8];
    return 0;
}

int ocxl_mmio_write64(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t value)
{
    (void)area;
    if (endian != 1 || offset < 0 || (size_t)offset / 8 >= sizeof registers / 8)
        return -7;
    registers[offset / 8] = offset == 0x108 ? 0 : value; /* error capture: a write clears */
    return 0;
}

int ocxl_afu_event_check_versioned(struct ocxl_afu *afu, int timeout, void *events, uint16_t n, uint16_t version)
{
    (void)afu, (void)timeout, (void)events, (void)n, (void)version;
    return 0;
}

const char *ocxl_err_to_string(int err)
{
    return err == -2 ? "no such device" : "failed";
}

void fake_ocxl_capture(uint64_t value) /* as if the adapter had seen an error */
{
    registers[0x108 / 8] = value;
}

unsigned fake_ocxl_reads(void)
{
    return n_reads;
}
