#include "pages.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODES_MAX 1024
#define NODES_WITH_PROCESSORS "/sys/devices/system/node/has_cpu"

static void *at(uint64_t addr)
{
    return (void *)(uintptr_t)addr;
}

static uint64_t reserve(uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? 0 : (uint64_t)(uintptr_t)p;
}

int pages_reserve(uint64_t *base, uint64_t size, struct err *e)
{
    uint64_t twice = reserve(2 * size);
    if (twice) {
        uint64_t aligned = (twice + size - 1) & ~(size - 1);
        if (aligned > twice)
            munmap(at(twice), aligned - twice);
        munmap(at(aligned + size), twice + size - aligned);
        *base = aligned;
        return 0;
    }
    uint64_t once = reserve(size);
    if (!once)
        return err_errno(e, ERR_IO, "cannot reserve %" PRIu64 " bytes of address space", size);
    *base = once;
    return 0;
}

void pages_drop(uint64_t base, uint64_t size)
{
    munmap(at(base), size);
}

int pages_zero(uint64_t addr, uint64_t size, struct err *e)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (mmap(at(addr), size, PROT_READ, flags, -1, 0) == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot map the zero page at 0x%" PRIx64, addr);
    return 0;
}

static void close_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

int pages_prove_zero(uint64_t addr, uint64_t size, struct err *e)
{
    CLEANUP(close_file) FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return err_errno(e, ERR_IO, "cannot open /proc/self/maps");
    uint64_t proved = addr; /* up to here */
    char line[512];         /* a longer one goes on in pieces, which do not begin like a line */
    while (proved < addr + size && fgets(line, sizeof line, maps)) {
        uint64_t start, end, inode;
        char mode[5];
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64, &start, &end, mode, &inode) != 4)
            continue;
        if (end <= proved)
            continue;
        if (start > proved || inode || strcmp(mode, "r--p") != 0)
            break;
        proved = end;
    }
    if (proved < addr + size)
        return err_set(e, ERR_IO, "0x%" PRIx64 " is not the zero page after the release", proved);
    return 0;
}

/* The kernel's list of nodes with processors; empty where there is no NUMA. */
static int read_local_nodes(char *text, size_t size, struct err *e)
{
    CLEANUP(close_file) FILE *f = fopen(NODES_WITH_PROCESSORS, "re");
    text[0] = '\0';
    if (!f)
        return errno == ENOENT ? 0 : err_errno(e, ERR_IO, "cannot open " NODES_WITH_PROCESSORS);
    if (!fgets(text, (int)size, f))
        return err_set(e, ERR_IO, "cannot read " NODES_WITH_PROCESSORS);
    text[strcspn(text, "\n")] = '\0';
    return 0;
}

int pages_bind(const char *nodes, struct err *e)
{
    unsigned long mask[NODES_MAX / (8 * sizeof(unsigned long))] = { 0 };
    char local[256];
    if (!nodes && read_local_nodes(local, sizeof local, e) < 0)
        return -1;
    if (!nodes)
        nodes = local;
    if (nodes[0] == '\0')
        return 0;
    if (units_parse_set(nodes, mask, NODES_MAX, e) < 0)
        return -1;
    if (syscall(SYS_set_mempolicy, MPOL_BIND, mask, (unsigned long)NODES_MAX + 1) < 0 && errno != ENOSYS)
        return err_errno(e, ERR_IO, "cannot bind this process to the NUMA nodes %.60s", nodes);
    return 0;
}

int pages_populate(int fd, uint64_t file_offset, uint64_t addr, uint64_t size, struct err *e)
{
    int rc;
    /* fallocate() says when there is no memory; a touch would be a SIGBUS. */
    while ((rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)file_offset, (off_t)size)) < 0 && errno == EINTR)
        ;
    if (rc < 0)
        return err_errno(e, ERR_IO, "cannot commit %" PRIu64 " bytes", size);
    if (mlock(at(addr), size) < 0)
        return err_errno(e, ERR_IO, "cannot lock %" PRIu64 " bytes", size);
    return 0;
}
