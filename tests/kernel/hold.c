/* hold.c - a program in a virtual machine that uses memory of one NUMA node and says which: for tests.
 *
 *   hold NODE BYTES SEED FILE [pin]
 *
 * Fills BYTES that prefer NODE, page by page: every 8 bytes of page N are SEED << 32 | N.  Writes FILE: a line
 * "PHYSICAL N" for each page, and "ready" at the end.  SIGUSR1: reads all of it back and writes FILE.check: "good", or
 * "bad N" and the first pages that differ.  `pin`: each page also lies in a pipe, so that the kernel cannot move it.
 * Ends by SIGTERM. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t page_bytes;

static int fail(const char *what)
{
    fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
    return 1;
}

static uint64_t word_of(uint64_t seed, size_t page)
{
    return seed << 32 | page;
}

static uint64_t *map_on(unsigned node, size_t bytes)
{
    unsigned long mask[16] = { 0 };
    mask[node / 64] = 1UL << node % 64;
    uint64_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || syscall(SYS_mbind, p, bytes, MPOL_PREFERRED, mask, 1025UL, 0) < 0)
        return NULL;
    madvise(p, bytes, MADV_NOHUGEPAGE);
    return p;
}

/* Physical addresses need root, and pages that are there. */
static int write_pages(const char *path, const uint64_t *p, size_t n_pages)
{
    FILE *out = fopen(path, "w");
    int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (!out || map < 0)
        return fail(path);
    for (size_t i = 0; i < n_pages; i++) {
        uint64_t entry = 0;
        off_t at = (off_t)(((uintptr_t)p / page_bytes + i) * sizeof entry);
        if (pread(map, &entry, sizeof entry, at) != sizeof entry)
            return fail("pagemap");
        fprintf(out, "%" PRIx64 " %zu\n", (entry & ((UINT64_C(1) << 55) - 1)) * page_bytes, i);
    }
    fprintf(out, "ready\n");
    close(map);
    return fclose(out) == 0 ? 0 : fail(path);
}

static int check(const char *path, const uint64_t *p, size_t n_pages, uint64_t seed)
{
    char name[256];
    size_t n_bad = 0, first = 0;
    for (size_t i = 0; i < n_pages; i++) {
        bool good = true;
        for (size_t k = 0; k < page_bytes / sizeof *p && good; k++)
            good = p[i * page_bytes / sizeof *p + k] == word_of(seed, i);
        if (!good && n_bad++ == 0)
            first = i;
    }
    snprintf(name, sizeof name, "%s.new", path);
    FILE *out = fopen(name, "w");
    if (!out)
        return fail(name);
    if (n_bad)
        fprintf(out, "bad %zu first %zu\n", n_bad, first);
    else
        fprintf(out, "good\n");
    fclose(out);
    char final[256];
    snprintf(final, sizeof final, "%s.check", path);
    return rename(name, final);
}

/* A pipe holds a reference to the page: it cannot be migrated. */
static int pin(uint64_t *p, size_t n_pages)
{
    enum { PIPE_PAGES = 16 };
    for (size_t i = 0; i < n_pages; i += PIPE_PAGES) {
        int fds[2];
        size_t n = n_pages - i < PIPE_PAGES ? n_pages - i : PIPE_PAGES;
        struct iovec v = { p + i * page_bytes / sizeof *p, n * page_bytes };
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 || vmsplice(fds[1], &v, 1, SPLICE_F_NONBLOCK) < 0)
            return fail("vmsplice");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = strtoull(argv[2], NULL, 0), n_pages = bytes / page_bytes;
    uint64_t seed = strtoull(argv[3], NULL, 0);
    uint64_t *p = map_on((unsigned)strtoul(argv[1], NULL, 0), bytes);
    sigset_t set;
    if (!p)
        return fail("mmap");
    for (size_t i = 0; i < n_pages; i++)
        for (size_t k = 0; k < page_bytes / sizeof *p; k++)
            p[i * page_bytes / sizeof *p + k] = word_of(seed, i);
    if ((argc > 5 && pin(p, n_pages)) || write_pages(argv[4], p, n_pages))
        return 1;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int sig = 0; sigwait(&set, &sig) == 0 && sig == SIGUSR1;)
        if (check(argv[4], p, n_pages, seed))
            return 1;
    return 0;
}
