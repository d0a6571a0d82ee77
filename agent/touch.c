/* touch.c - see touch.h. */
#include "touch.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEARCH_BYTES (16 * MIB)
#define SEARCH_MS 300
#define BATCH 64 /* pages */
#define NEW_NODE_MS 1000
#define NEW_NODE_STEP_MS 5
#define NODES_MAX 1024
#define PATTERN UINT64_C(0x6d656d6c616e6531)

/* proc(5): bit 63 says that the page is there, bits 0 to 54 where. */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FRAME ((UINT64_C(1) << 55) - 1)

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static int locate_by_kernel(void *arg UNUSED, const char *pages, size_t n, uint64_t *addrs, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    off_t at = (off_t)((uintptr_t)pages / page_bytes() * sizeof *addrs);
    if (fd < 0 || pread(fd, addrs, n * sizeof *addrs, at) != (ssize_t)(n * sizeof *addrs))
        return err_errno(e, ERR_UNAVAILABLE, "cannot read /proc/self/pagemap");
    for (size_t i = 0; i < n; i++)
        addrs[i] = addrs[i] & PAGEMAP_PRESENT ? (addrs[i] & PAGEMAP_FRAME) * page_bytes() : 0;
    return 0;
}

/* Preferred, not bound: pages that the node has not got come from elsewhere, instead of from somebody who is killed for
 * them.  A node whose first memory came just now is in a process's set of nodes only after the kernel's worker was
 * there: until then EINVAL. */
static int prefer_node(char *area, size_t size, int node, struct err *e)
{
    unsigned long mask[NODES_MAX / (8 * sizeof(unsigned long))] = { 0 };
    int64_t until_ms = time_monotonic_ms() + NEW_NODE_MS;
    if (node < 0 || node >= NODES_MAX)
        return 0; /* borrowed memory is movable, and such memory is taken first */
    mask[(unsigned)node / (8 * sizeof mask[0])] = 1UL << ((unsigned)node % (8 * sizeof mask[0]));
    while (syscall(SYS_mbind, area, size, MPOL_PREFERRED, mask, NODES_MAX + 1UL, 0) < 0) {
        if (errno != EINVAL || time_monotonic_ms() >= until_ms)
            return err_errno(e, ERR_UNAVAILABLE, "cannot take a page of node %d", node);
        poll(NULL, 0, NEW_NODE_STEP_MS);
    }
    return 0;
}

static int touch_page(char *page, uint64_t addr, struct err *e)
{
    volatile uint64_t *word = (volatile uint64_t *)(void *)page;
    *word = PATTERN;
    return *word == PATTERN ? 0
                            : err_set(e, ERR_HARDWARE, "the page at 0x%" PRIx64 " does not keep what is written", addr);
}

/* Looks at pages that were taken just now; '*found' is one in the range, or NULL. */
static int look(char *pages, size_t n, const struct touch_range *r, touch_locate *locate, void *arg, char **found,
                uint64_t *found_addr, struct err *e)
{
    uint64_t addrs[BATCH];
    bool told = false;
    *found = NULL;
    if (locate(arg, pages, n, addrs, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        told = told || addrs[i] != 0;
        if (addrs[i] != 0 && addrs[i] >= r->start_addr && addrs[i] - r->start_addr < r->size_bytes) {
            *found = pages + i * page_bytes();
            *found_addr = addrs[i];
            return 0;
        }
    }
    return told ? 0 : err_set(e, ERR_UNAVAILABLE, "the kernel does not tell where pages are: that needs CAP_SYS_ADMIN");
}

/* One page first, which is enough on a node that had none before. */
static int search(char *area, size_t size, const struct touch_range *r, touch_locate *locate, void *arg, struct err *e)
{
    const size_t page = page_bytes(), n_pages = size / page;
    int64_t until_ms = time_monotonic_ms() + SEARCH_MS;
    char *found;
    uint64_t addr;
    for (size_t i = 0, n = 1; i < n_pages && (i == 0 || time_monotonic_ms() < until_ms); i += n, n = BATCH) {
        n = n_pages - i < n ? n_pages - i : n;
        for (size_t k = i; k < i + n; k++)
            *(volatile char *)(area + k * page) = 1;
        if (look(area + i * page, n, r, locate, arg, &found, &addr, e) < 0)
            return -1;
        if (found)
            return touch_page(found, addr, e);
    }
    return err_set(e, ERR_UNAVAILABLE, "no page of the new memory was to be had: the node has other free memory");
}

/* The pages are shared memory of this process alone: they count nowhere as its private memory. */
int touch_range(const struct touch_range *r, touch_locate *locate, void *arg, struct err *e)
{
    size_t size = r->size_bytes / 4 < SEARCH_BYTES ? (size_t)r->size_bytes / 4 : SEARCH_BYTES;
    if (size < page_bytes())
        size = page_bytes();
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot map a page");
    int rc = prefer_node(area, size, r->numa_node, e);
    if (rc == 0)
        rc = search(area, size, r, locate ? locate : locate_by_kernel, arg, e);
    munmap(area, size);
    return rc;
}
