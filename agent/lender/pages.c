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

/* Twice as much, of which the aligned half is kept. */
int pages_reserve(uint64_t *base, uint64_t size, struct err *e)
{
    void *p = mmap(NULL, 2 * size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot reserve %" PRIu64 " bytes of address space", size);
    uint64_t start = (uint64_t)(uintptr_t)p, aligned = (start + size - 1) & ~(size - 1);
    if (aligned > start)
        munmap(p, aligned - start);
    munmap(at(aligned + size), start + size - aligned);
    *base = aligned;
    return 0;
}

void pages_drop(uint64_t base, uint64_t size)
{
    munmap(at(base), size);
}

void *pages_table(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    madvise(p, size, MADV_NOHUGEPAGE); /* EINVAL of a kernel that has none is as good */
    return p;
}

int pages_map(uint64_t addr, uint64_t size, int fd, uint64_t file_offset, struct err *e)
{
    int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
    if (mmap(at(addr), size, PROT_READ | PROT_WRITE, flags, fd, (off_t)file_offset) == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot map memory at 0x%" PRIx64, addr);
    madvise(at(addr), size, MADV_DONTDUMP); /* other servers' memory is in no core dump */
    return 0;
}

int pages_zero(uint64_t addr, uint64_t size, struct err *e)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (mmap(at(addr), size, PROT_READ, flags, -1, 0) == MAP_FAILED)
        return err_errno(e, ERR_IO, "cannot map the zero page at 0x%" PRIx64, addr);
    return 0;
}

struct lines {
    int fd;
    size_t used, n; /* of 'text': taken, read */
    char text[4096];
};

/* The next line, without its end; NULL after the last one.  Of a line that does not fit, the pieces. */
static const char *next_line(struct lines *l)
{
    char *line = l->text + l->used, *end = memchr(line, '\n', l->n - l->used);
    if (!end) {
        memmove(l->text, line, l->n -= l->used);
        l->used = 0;
        ssize_t n = read(l->fd, l->text + l->n, sizeof l->text - 1 - l->n);
        l->n += n > 0 ? (size_t)n : 0;
        line = l->text;
        end = memchr(line, '\n', l->n);
        if (!end && !l->n)
            return NULL;
        if (!end)
            end = line + l->n;
    }
    l->used = (size_t)(end - l->text) + (end < l->text + l->n);
    *end = '\0';
    return line;
}

int pages_prove_zero(int maps_fd, uint64_t addr, uint64_t size, struct err *e)
{
    uint64_t proved = addr; /* up to here */
    struct lines lines = { .fd = maps_fd };
    if (lseek(maps_fd, 0, SEEK_SET) < 0)
        return err_errno(e, ERR_IO, "cannot read /proc/self/maps");
    for (const char *line; proved < addr + size && (line = next_line(&lines));) {
        uint64_t start, end, inode;
        char mode[5];
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64, &start, &end, mode, &inode) != 4 ||
            end <= proved)
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
    CLEANUP(cleanup_close) int fd = open(NODES_WITH_PROCESSORS, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    if ((fd < 0 && errno != ENOENT) || n < 0)
        return err_errno(e, ERR_IO, "cannot read " NODES_WITH_PROCESSORS);
    text[n] = '\0';
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

uint64_t pages_bound(void)
{
    unsigned long mask[NODES_MAX / (8 * sizeof(unsigned long))] = { 0 };
    int mode;
    if (syscall(SYS_get_mempolicy, &mode, mask, (unsigned long)NODES_MAX, NULL, 0) < 0 || mode != MPOL_BIND)
        return 0;
    for (size_t i = 1; i < ARRAY_LEN(mask); i++)
        if (mask[i])
            return 0;
    return mask[0];
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
