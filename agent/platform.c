/* platform.c - see platform.h. */
#include "platform.h"

#include "touch.h"
#include "units.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define EVICT_SILENCE_MS 60000
#define EVICT_FALLBACK_BYTES (16 * MIB) /* last-level cache per core, where the kernel does not say */
#define EVICT_FACTOR 4
#define CACHE_LINE 128

/* ---- linux --------------------------------------------------------------------------------------------------------
 */
static int linux_numa_node(const struct platform *p, unsigned adapter, uint64_t block)
{
    (void)adapter;
    char path[96];
    snprintf(path, sizeof path, "devices/system/memory/memory%" PRIu64, block);
    int fd = openat(p->sys->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int node = -1;
    uint64_t n;
    for (struct dirent *d; node < 0 && (d = readdir(dir));)
        if (sysfs_name_number(d->d_name, "node", &n) && n < 1024)
            node = (int)n;
    closedir(dir);
    return node;
}

static int linux_touch(const struct platform *p UNUSED, uint64_t addr, uint64_t size_bytes, int numa_node,
                       struct err *e)
{
    const struct touch_range block = { addr, size_bytes, numa_node };
    return touch_range(&block, NULL, NULL, e);
}

struct eviction {
    const struct platform *p;
    bool done;
};

size_t platform_cache_bytes(const struct platform *p)
{
    char text[SYSFS_TEXT];
    struct err e = { 0 };
    uint64_t bytes = 0;
    if (sysfs_read(p->sys, "devices/system/cpu/cpu0/cache/index3/size", text, sizeof text, &e) < 0 ||
        units_parse_size(text, &bytes, &e) < 0 || bytes == 0 || bytes > GIB)
        return EVICT_FALLBACK_BYTES;
    return (size_t)bytes;
}

/* Streams over 'area' on every processor of 'all'; says after each one that it goes on. */
static bool stream_everywhere(volatile char *area, size_t size, const cpu_set_t *all, int pipe_fd)
{
    struct child_message m = { .kind = CHILD_END + 1 };
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, all))
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) < 0)
            return false;
        for (size_t i = 0; i < size; i += CACHE_LINE)
            area[i]++;
        m.index = cpu;
        if (!child_tell(pipe_fd, &m))
            return false;
    }
    return true;
}

/* In a child, which other orders follow in: streams over local memory on every processor, so that each cache gives up
 * what it held. */
static void evict_body(void *arg, int pipe_fd)
{
    struct eviction *ev = arg;
    struct child_message done = { .kind = CHILD_END + 1, .value = 1 };
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) < 0)
        return;
    size_t size = platform_cache_bytes(ev->p) * EVICT_FACTOR;
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (area == MAP_FAILED)
        return;
    bool good = stream_everywhere(area, size, &all, pipe_fd);
    munmap(area, size);
    if (sched_setaffinity(0, sizeof all, &all) == 0 && good)
        child_tell(pipe_fd, &done);
}

static void evict_message(void *arg, const struct child_message *m)
{
    struct eviction *ev = arg;
    pulse_at(ev->p->sys->pulse, "the eviction of caches");
    pulse_headway(ev->p->sys->pulse);
    ev->done = ev->done || m->value == 1;
}

static int linux_quiesce(const struct platform *p, struct children *children, const char *adapter, struct err *e)
{
    (void)adapter;
    struct utsname u;
    if (uname(&u) < 0 || strncmp(u.machine, "ppc64", 5) != 0)
        return 0; /* other machines flush what they take offline */
    struct eviction ev = { .p = p };
    if (child_run(children, evict_body, evict_message, &ev, sizeof ev, EVICT_SILENCE_MS, e) < 0)
        return -1;
    if (!ev.done)
        return err_set(e, ERR_HARDWARE, "the caches could not be evicted");
    poll(NULL, 0, (int)p->quiesce_ms);
    return 0;
}

static const struct platform_ops linux_ops = { "linux", linux_touch, linux_quiesce, linux_numa_node };

/* ---- emulated -----------------------------------------------------------------------------------------------------
 */
static int emulated_touch(const struct platform *p, uint64_t addr, uint64_t size_bytes UNUSED, int numa_node UNUSED,
                          struct err *e)
{
    char text[UNITS_ADDR_MAX + 1];
    snprintf(text, sizeof text, "0x%" PRIx64 "\n", addr);
    return sysfs_write(&p->emulator, "touch", text, e);
}

static int emulated_quiesce(const struct platform *p, struct children *children, const char *adapter, struct err *e)
{
    (void)children;
    char text[80];
    snprintf(text, sizeof text, "%.64s\n", adapter);
    return sysfs_write(&p->emulator, "quiesce", text, e);
}

static int emulated_numa_node(const struct platform *p, unsigned adapter, uint64_t block)
{
    (void)p;
    (void)block;
    return 1 + (int)adapter;
}

static const struct platform_ops emulated_ops = { "emulated", emulated_touch, emulated_quiesce, emulated_numa_node };

int platform_init(struct platform *out, const char *name, const struct sysfs *sys, const char *emulator_dir,
                  long quiesce_ms, struct err *e)
{
    struct platform p = { .ops = &linux_ops, .sys = sys, .emulator = { .root_fd = -1 }, .quiesce_ms = quiesce_ms };
    if (strcmp(name, emulated_ops.name) == 0) {
        p.ops = &emulated_ops;
        if (sysfs_init(&p.emulator, emulator_dir, e) < 0)
            return -1;
    }
    *out = p;
    return 0;
}

void platform_done(struct platform *p)
{
    sysfs_done(&p->emulator);
}
