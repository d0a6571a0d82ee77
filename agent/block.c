/* block.c - see block.h. */
#include "block.h"

#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AWAIT_STEP_MS 10

static const char *block_path(char buf[BLOCK_PATH], uint64_t block, const char *file)
{
    snprintf(buf, BLOCK_PATH, BLOCK_DIR "/memory%" PRIu64 "/%s", block, file);
    return buf;
}

int block_state_parse(const char *text, enum block_state *out, struct err *e)
{
    if (strcmp(text, "online") == 0 || strcmp(text, "going-offline") == 0)
        *out = BLOCK_ONLINE;
    else if (strcmp(text, "offline") == 0)
        *out = BLOCK_OFFLINE;
    else
        return err_set(e, ERR_IO, "unknown state of a memory block: %.40s", text);
    return 0;
}

bool block_zones_contain(const char *text, const char *zone)
{
    size_t len = strlen(zone);
    for (const char *p = text; *p != '\0';) {
        size_t word = strcspn(p, " \t");
        if (word == len && strncmp(p, zone, len) == 0)
            return true;
        p += word;
        p += strspn(p, " \t");
    }
    return false;
}

/* Opens the block's state file.  '*fd' is -1 when there is no such block. */
static int open_state(const struct sysfs *fs, uint64_t block, int flags, int *fd, struct err *e)
{
    char path[BLOCK_PATH];
    *fd = openat(fs->root_fd, block_path(path, block, "state"), flags | O_CLOEXEC);
    if (*fd < 0 && errno != ENOENT)
        return err_errno(e, ERR_HARDWARE, "memory%" PRIu64 ": cannot open its state", block);
    return 0;
}

/* A block that the platform took away meanwhile is absent, even though its file is open. */
static int read_state(int fd, uint64_t block, enum block_state *out, struct err *e)
{
    char text[SYSFS_TEXT], what[40];
    struct err failed = { 0 };
    snprintf(what, sizeof what, "memory%" PRIu64 "/state", block);
    if (sysfs_read_fd(fd, what, text, sizeof text, &failed) == 0)
        return block_state_parse(text, out, e);
    if (failed.os_errno != ENODEV && failed.os_errno != ENOENT) {
        *e = failed;
        return -1;
    }
    *out = BLOCK_ABSENT;
    return 0;
}

static int write_state(int fd, uint64_t block, const char *state, struct err *e)
{
    size_t len = strlen(state);
    ssize_t n = pwrite(fd, state, len, 0);
    if (n < 0)
        return err_errno(e, errno == EBUSY ? ERR_BUSY : ERR_HARDWARE, "memory%" PRIu64, block);
    if ((size_t)n != len)
        return err_set(e, ERR_HARDWARE, "memory%" PRIu64 ": its state took only a part of what was written", block);
    return 0;
}

static int open_zones(const struct sysfs *fs, uint64_t block, int *fd, struct err *e)
{
    char path[BLOCK_PATH];
    *fd = openat(fs->root_fd, block_path(path, block, "valid_zones"), O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? 0 : err_errno(e, ERR_HARDWARE, "memory%" PRIu64 ": cannot open its valid_zones", block);
}

static int read_zones(int fd, uint64_t block, char text[SYSFS_TEXT], struct err *e)
{
    char what[48];
    snprintf(what, sizeof what, "memory%" PRIu64 "/valid_zones", block);
    return sysfs_read_fd(fd, what, text, SYSFS_TEXT, e);
}

static int block_read(const struct sysfs *fs, uint64_t block, enum block_state *state, bool *movable, struct err *e)
{
    CLEANUP(cleanup_close) int fd = -1;
    CLEANUP(cleanup_close) int zones_fd = -1;
    enum block_state now = BLOCK_ABSENT;
    char zones[SYSFS_TEXT] = "";
    if (open_state(fs, block, O_RDONLY, &fd, e) < 0)
        return -1;
    if (fd >= 0 && read_state(fd, block, &now, e) < 0)
        return -1;
    if (now == BLOCK_ONLINE && (open_zones(fs, block, &zones_fd, e) < 0 || read_zones(zones_fd, block, zones, e) < 0))
        return -1;
    *state = now;
    *movable = strcmp(zones, "Movable") == 0; /* an online block names its one zone */
    return 0;
}

static int create(const struct sysfs *fs, uint64_t block, uint64_t block_bytes, struct err *e)
{
    char text[UNITS_ADDR_MAX + 1];
    snprintf(text, sizeof text, "0x%" PRIx64 "\n", block * block_bytes);
    struct err probe = { 0 };
    if (sysfs_write(fs, BLOCK_DIR "/probe", text, &probe) == 0 || probe.os_errno == EEXIST)
        return 0;
    return err_set(e, ERR_HARDWARE, "memory%" PRIu64 " cannot be created: %.120s", block, probe.detail);
}

/* Whether the kernel is done with making the block.  One that the platform adds (ACPI) can be seen before it has its
 * NUMA node, and a look at its valid_zones then makes the kernel follow a null pointer (zone_for_pfn_range() of node
 * -1; seen on 6.1). Its link to the node comes right after the number is set.  `probe` returns when all is done. */
static bool is_made(const struct sysfs *fs, uint64_t block, bool probe)
{
    char path[BLOCK_PATH];
    uint64_t node;
    bool found = false;
    if (probe || faccessat(fs->root_fd, "devices/system/node", F_OK, 0) < 0)
        return true;
    snprintf(path, sizeof path, BLOCK_DIR "/memory%" PRIu64, block);
    int fd = openat(fs->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        cleanup_close(&fd);
        return false;
    }
    for (struct dirent *d; !found && (d = readdir(dir));)
        found = sysfs_name_number(d->d_name, "node", &node);
    closedir(dir);
    return found;
}

/* Opens the state of a block that may have to be created, or that the platform adds after a while. */
static int open_or_create(const struct sysfs *fs, uint64_t block, uint64_t block_bytes, bool probe, long await_ms,
                          int *fd, struct err *e)
{
    if (open_state(fs, block, O_RDWR, fd, e) < 0)
        return -1;
    if (*fd < 0 && probe && create(fs, block, block_bytes, e) < 0)
        return -1;
    int64_t until = time_monotonic_ms() + await_ms;
    for (;;) {
        if (*fd < 0 && open_state(fs, block, O_RDWR, fd, e) < 0)
            return -1;
        if (*fd >= 0 && is_made(fs, block, probe))
            return 0;
        if (time_monotonic_ms() >= until)
            return err_set(e, ERR_TIMEOUT, "memory%" PRIu64 " %s within %ld ms", block,
                           *fd < 0 ? "does not appear" : "gets no NUMA node", await_ms);
        poll(NULL, 0, AWAIT_STEP_MS);
    }
}

static int offline_fd(int fd, uint64_t block, struct err *e)
{
    enum block_state state;
    struct err refused = { 0 };
    int rc = write_state(fd, block, "offline\n", &refused);
    if (read_state(fd, block, &state, e) < 0)
        return -1;
    if (state != BLOCK_ONLINE)
        return 0;
    if (rc == 0)
        return err_set(e, ERR_HARDWARE, "memory%" PRIu64 ": still online after it was taken offline", block);
    *e = refused;
    return -1;
}

/* A block that is online in a zone where it might stay for ever.  0: it is offline again. */
static int take_back(int fd, uint64_t block, const char *zone, struct err *e)
{
    struct err refused = { 0 };
    if (offline_fd(fd, block, &refused) == 0)
        return 0;
    int rc = err_set(e, refused.code, "memory%" PRIu64 " is online in zone %.20s, and cannot be taken offline: %.80s",
                     block, zone, refused.os_errno ? strerror(refused.os_errno) : refused.detail);
    e->os_errno = refused.os_errno;
    return rc;
}

/* Onlines an offline block and reads back what came of it. */
static int online_fd(int fd, int zones_fd, uint64_t block, struct err *e)
{
    char zones[SYSFS_TEXT];
    enum block_state state;
    if (read_zones(zones_fd, block, zones, e) < 0)
        return -1;
    if (!block_zones_contain(zones, "Movable"))
        return err_set(e, ERR_HARDWARE, "memory%" PRIu64 ": zone Movable is not open to it (valid_zones: %.60s)", block,
                       zones);
    if (write_state(fd, block, "online_movable\n", e) < 0 || read_state(fd, block, &state, e) < 0 ||
        read_zones(zones_fd, block, zones, e) < 0)
        return -1;
    if (state != BLOCK_ONLINE)
        return err_set(e, ERR_HARDWARE, "memory%" PRIu64 ": still offline after it was onlined", block);
    if (strcmp(zones, "Movable") == 0)
        return 0;
    return take_back(fd, block, zones, e) < 0
               ? -1
               : err_set(e, ERR_HARDWARE, "memory%" PRIu64 ": the kernel put it into zone %.40s", block, zones);
}

/* A block that is online already: an earlier call of ours, an operator, or the kernel's auto-online policy, which may
 * also be faster than we are (EINVAL): then once more. */
static int block_online(const struct sysfs *fs, uint64_t block, uint64_t block_bytes, bool probe, long await_ms,
                        struct err *e)
{
    CLEANUP(cleanup_close) int fd = -1;
    CLEANUP(cleanup_close) int zones_fd = -1;
    enum block_state state;
    char zones[SYSFS_TEXT];
    if (open_or_create(fs, block, block_bytes, probe, await_ms, &fd, e) < 0 || open_zones(fs, block, &zones_fd, e) < 0)
        return -1;
    for (int round = 0;; round++) {
        if (read_state(fd, block, &state, e) < 0)
            return -1;
        if (state == BLOCK_ONLINE) {
            if (read_zones(zones_fd, block, zones, e) < 0)
                return -1;
            if (strcmp(zones, "Movable") == 0)
                return 0;
            if (take_back(fd, block, zones, e) < 0)
                return -1;
        }
        if (online_fd(fd, zones_fd, block, e) == 0)
            return 0;
        if (e->os_errno != EINVAL || round == 1)
            return -1;
        err_clear(e);
    }
}

static int block_offline(const struct sysfs *fs, uint64_t block, struct err *e)
{
    CLEANUP(cleanup_close) int fd = -1;
    enum block_state state;
    if (open_state(fs, block, O_RDWR, &fd, e) < 0)
        return -1;
    if (fd < 0)
        return 0;
    if (read_state(fd, block, &state, e) < 0)
        return -1;
    return state != BLOCK_ONLINE ? 0 : offline_fd(fd, block, e);
}

const struct block_ops block_kernel = { block_read, block_online, block_offline };
