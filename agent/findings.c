/* findings.c - what an operator should know, and do, before memory travels (inventory_findings() of inventory.h). */
#include "block.h"
#include "inventory.h"
#include "units.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct findings {
    struct wire_finding *list;
    unsigned n;
};

static PRINTF(5, 6) void add(struct findings *f, const char *code, enum wire_severity severity, const char *advice,
                             const char *fmt, ...)
{
    if (f->n == WIRE_MAX_FINDINGS)
        return;
    struct wire_finding *w = &f->list[f->n++];
    memset(w, 0, sizeof *w);
    w->severity = severity;
    snprintf(w->code, sizeof w->code, "%s", code);
    snprintf(w->advice, sizeof w->advice, "%s", advice);
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->detail, sizeof w->detail, fmt, args);
    va_end(args);
}

static bool has_role(const struct agent_config *c, enum wire_role role)
{
    for (unsigned i = 0; i < c->n_adapters; i++)
        if (c->adapters[i].wire.role == role)
            return true;
    return false;
}

static void check_policy(struct findings *f, const struct sysfs *sys)
{
    char policy[SYSFS_TEXT];
    struct err e = { 0 };
    if (sysfs_read(sys, BLOCK_DIR "/auto_online_blocks", policy, sizeof policy, &e) < 0)
        return;
    static const char *const advice = "write offline to /sys/devices/system/memory/auto_online_blocks, and boot with "
                                      "memhp_default_state=offline";
    if (strcmp(policy, "online") == 0 || strcmp(policy, "online_kernel") == 0)
        add(f, "auto_online_policy", WIRE_WARNING, advice,
            "the kernel onlines new memory blocks by itself (%.40s), where they may never come back", policy);
    else if (strcmp(policy, "online_movable") == 0)
        add(f, "auto_online_policy", WIRE_INFO, advice,
            "the kernel onlines new memory blocks by itself, as movable: before their first page was touched");
    else if (strcmp(policy, "offline") != 0)
        add(f, "auto_online_policy", WIRE_WARNING, advice, "unknown auto-online policy %.40s", policy);
}

static void check_blocks(struct findings *f, const struct sysfs *sys)
{
    uint64_t size = 0;
    struct err e = { 0 };
    char text[UNITS_SIZE_MAX];
    if (sysfs_read_hex(sys, BLOCK_DIR "/block_size_bytes", &size, &e) < 0) {
        add(f, "no_memory_hotplug", WIRE_ERROR, "use a kernel with CONFIG_MEMORY_HOTPLUG and CONFIG_MEMORY_HOTREMOVE",
            "this kernel cannot hot-plug memory (%.120s)", e.detail);
        return;
    }
    if (size > GIB)
        add(f, "block_size", WIRE_WARNING, "expect every request to be rounded up to this size",
            "memory blocks are large here: %s", units_format_size(size, text));
    if (faccessat(sys->root_fd, BLOCK_DIR "/probe", F_OK, 0) < 0)
        add(f, "no_probe", WIRE_INFO, "none is needed where the platform adds the blocks (ACPI, virtio, CXL)",
            "the kernel has no probe file: memory blocks are awaited, not created");
}

static void check_memlock(struct findings *f, const struct agent_config *c)
{
    struct rlimit limit;
    char text[UNITS_SIZE_MAX];
    if (strcmp(c->lender_backing, "locked") != 0 || c->lender_program[0] == '\0' || geteuid() == 0)
        return; /* a lender in a unit of its own has its own limit */
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        add(f, "memlock_limit", WIRE_WARNING, "raise it: LimitMEMLOCK=infinity, or ulimit -l unlimited",
            "lent memory is locked, and the limit for that is %s", units_format_size(limit.rlim_cur, text));
}

static void check_devices(struct findings *f, const struct agent_config *c)
{
    for (unsigned i = 0; i < c->n_adapters; i++) {
        const struct adapter_config *a = &c->adapters[i];
        if (access(a->device, R_OK | W_OK) < 0)
            add(f, errno == ENOENT ? "device_missing" : "device_permission", WIRE_ERROR,
                errno == ENOENT ? "is the card seated, its bitstream loaded, the ocxl driver there?"
                                : "give the agent's and the lender's user read and write access (a udev rule)",
                "adapter %s: %s: %.90s", a->wire.name, strerror(errno), a->device);
    }
}

static void check_directories(struct findings *f, const struct agent_config *c)
{
    const char *const dirs[] = { c->state_dir, c->run_dir };
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        if (access(dirs[i], W_OK | X_OK) < 0)
            add(f, "directory_permission", WIRE_ERROR, "create it for the agent's user, mode 0700", "%s: %.140s",
                strerror(errno), dirs[i]);
}

unsigned inventory_findings(const struct agent_config *c, const struct sysfs *sys, const char *ocxl_error,
                            struct wire_finding out[WIRE_MAX_FINDINGS])
{
    struct findings f = { .list = out };
    if (has_role(c, WIRE_COMPUTE)) {
        check_blocks(&f, sys);
        check_policy(&f, sys);
        if (ocxl_error)
            add(&f, "no_libocxl", WIRE_ERROR, "install libocxl1, or name the library with --ocxl-library", "%.190s",
                ocxl_error);
    }
    if (has_role(c, WIRE_MEMORY))
        check_memlock(&f, c);
    check_devices(&f, c);
    check_directories(&f, c);
    return f.n;
}
