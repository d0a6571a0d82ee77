/* findings.c - see findings.h.  One function a subject; a subject that does not concern this node's roles is left out.
 */
#include "findings.h"

#include "block.h"
#include "inventory.h"
#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OCXL_DEVICES "/dev/ocxl"
#define OCXL_AFU_NAME "IBM,RMEM."

struct findings {
    const struct findings_source *from;
    struct wire_finding *list;
    size_t n;
};

void findings_append(struct wire_finding *list, size_t *n, const char *code, enum wire_severity severity,
                     const char *advice, const char *fmt, va_list args)
{
    if (*n == WIRE_MAX_FINDINGS)
        return;
    struct wire_finding *w = &list[(*n)++];
    memset(w, 0, sizeof *w);
    w->severity = severity;
    snprintf(w->code, sizeof w->code, "%s", code);
    snprintf(w->advice, sizeof w->advice, "%s", advice);
    vsnprintf(w->detail, sizeof w->detail, fmt, args);
}

static PRINTF(5, 6) void add(struct findings *f, const char *code, enum wire_severity severity, const char *advice,
                             const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    findings_append(f->list, &f->n, code, severity, advice, fmt, args);
    va_end(args);
}

static bool has_role(const struct agent_config *c, enum wire_role role)
{
    for (unsigned i = 0; i < c->n_adapters; i++)
        if (c->adapters[i].wire.role == role)
            return true;
    return false;
}

static bool is_emulated(const struct findings *f)
{
    return strcmp(f->from->config->platform, "emulated") == 0;
}

static bool on_power(void)
{
    struct utsname u;
    return uname(&u) == 0 && strncmp(u.machine, "ppc64", 5) == 0;
}

/* ---- where the kernel's files come from ---------------------------------------------------------------------------
 */
static void check_platform(struct findings *f)
{
    struct statfs fs;
    bool real = fstatfs(f->from->sys->root_fd, &fs) == 0 && fs.f_type == SYSFS_MAGIC;
    if (!is_emulated(f)) {
        if (!real)
            add(f, "sysfs_not_real", WIRE_WARNING, "take sysfs_root out of the configuration, or set platform=emulated",
                "the platform is linux, but %.120s is not this kernel's own", f->from->config->sysfs_root);
        return;
    }
    if (real)
        add(f, "emulated_on_real_kernel", WIRE_ERROR, "set platform=linux, or sysfs_root to the emulator's",
            "the platform is emulated, but %.120s is this kernel's own", f->from->config->sysfs_root);
    add(f, "emulated", WIRE_INFO, "nothing to do in an emulated rack; on a server set platform=linux",
        "memlane-emulator plays this node's hardware: adapters, cables and memory blocks are not real, nor are its "
        "counters and latencies");
}

/* A real kernel, in a virtual machine say, with emulated adapters. */
static void check_emulated_adapters(struct findings *f)
{
    if (f->from->ocxl_emulated && !is_emulated(f))
        add(f, "emulated_adapters", WIRE_INFO, "nothing to do in an emulated rack; on a server correct ocxl_library",
            "memlane-emulator plays this node's adapters: they and their cables are not real, nor are their counters "
            "and latencies");
}

static void check_identity(struct findings *f)
{
    char id[ID_SIZE];
    struct err e = { 0 };
    if (inventory_machine_id(f->from->config->machine_id_file, id, &e) < 0)
        add(f, "no_machine_id", WIRE_ERROR, "make one: systemd-machine-id-setup",
            "this machine has no identity: %.140s", e.detail);
    if (inventory_boot_id(f->from->proc, id, &e) < 0)
        add(f, "no_boot_id", WIRE_ERROR, "mount /proc, or correct procfs_root", "this boot has no identity: %.140s",
            e.detail);
}

/* ---- memory hot-plug ----------------------------------------------------------------------------------------------
 */
static void check_policy(struct findings *f)
{
    static const char *const advice = "write offline to /sys/devices/system/memory/auto_online_blocks, and boot with "
                                      "memhp_default_state=offline";
    const char *now = f->from->kernel->policy, *boot = f->from->kernel->boot_policy;
    if (strcmp(now, "online") == 0 || strcmp(now, "online_kernel") == 0)
        add(f, "auto_online_policy", WIRE_WARNING, advice,
            "the kernel onlines new memory blocks by itself (%.40s), where they may never come back", now);
    else if (strcmp(now, "online_movable") == 0)
        add(f, "auto_online_policy", WIRE_INFO, advice,
            "the kernel onlines new memory blocks by itself, as movable: before their first page was touched");
    else if (now[0] != '\0' && strcmp(now, "offline") != 0)
        add(f, "auto_online_policy", WIRE_WARNING, advice, "unknown auto-online policy %.40s", now);
    else if (boot[0] != '\0' && strcmp(boot, "offline") != 0)
        add(f, "boot_policy", WIRE_WARNING, "boot with memhp_default_state=offline",
            "after the next boot the kernel onlines new memory blocks by itself (memhp_default_state=%.31s)", boot);
}

/* What is borrowed is online in zone Movable, or not at all. */
static void check_windows(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    for (unsigned i = 0; f->from->not_movable && i < c->n_adapters; i++)
        if (f->from->not_movable[i])
            add(f, "window_not_movable", WIRE_ERROR,
                "if it is this server's own memory, correct window_addr and window_bytes; if it is borrowed, detach "
                "it, "
                "and let the kernel online nothing by itself",
                "memory blocks in the window of %s are online in a zone other than Movable: they may never come back",
                c->adapters[i].wire.name);
}

static void check_kernel_options(struct findings *f)
{
    const struct kernel_facts *k = f->from->kernel;
    if (k->options[KERNEL_HOTREMOVE] == KERNEL_NO)
        add(f, "no_memory_hot_remove", WIRE_ERROR, "use a kernel with CONFIG_MEMORY_HOTREMOVE",
            "this kernel cannot give memory back: it was built without hot-remove");
    if (k->memmap_on_memory == KERNEL_YES)
        add(f, "memmap_on_memory", WIRE_WARNING, "boot without memory_hotplug.memmap_on_memory",
            "the kernel keeps its descriptors of borrowed memory in that memory: it is used before its first touch");
}

static void check_writable(struct findings *f)
{
    const char *const files[] = { BLOCK_DIR "/probe", BLOCK_DIR "/auto_online_blocks" };
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (faccessat(f->from->sys->root_fd, files[i], W_OK, AT_EACCESS) < 0 && errno != ENOENT) {
            add(f, "hotplug_permission", WIRE_ERROR,
                "run the agent as root, in a unit that may write /sys (no ProtectKernelTunables)",
                "memory blocks cannot be changed by this user: %.80s", strerror(errno));
            return;
        }
}

static void check_probe(struct findings *f)
{
    if (faccessat(f->from->sys->root_fd, BLOCK_DIR "/probe", F_OK, 0) == 0)
        return;
    if (on_power() && !is_emulated(f))
        add(f, "no_probe", WIRE_ERROR, "use a kernel with CONFIG_ARCH_MEMORY_PROBE",
            "the kernel has no probe file: nobody adds memory blocks to this machine");
    else
        add(f, "no_probe", WIRE_INFO, "none is needed where the platform adds the blocks (ACPI, virtio, CXL)",
            "the kernel has no probe file: memory blocks are awaited, not created");
}

static void check_blocks(struct findings *f)
{
    uint64_t size = 0;
    struct err e = { 0 };
    char text[UNITS_SIZE_MAX];
    if (sysfs_read_hex(f->from->sys, BLOCK_DIR "/block_size_bytes", &size, &e) < 0) {
        add(f, "no_memory_hotplug", WIRE_ERROR, "use a kernel with CONFIG_MEMORY_HOTPLUG and CONFIG_MEMORY_HOTREMOVE",
            "this kernel cannot hot-plug memory (%.120s)", e.detail);
        return;
    }
    if (size > GIB)
        add(f, "block_size", WIRE_WARNING, "expect every request to be rounded up to this size",
            "memory blocks are large here: %s", units_format_size(size, text));
    check_probe(f);
    check_writable(f);
    check_windows(f);
    check_policy(f);
    check_kernel_options(f);
}

/* ---- lending ------------------------------------------------------------------------------------------------------
 */
static bool may_lock_anything(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    return syscall(SYS_capget, &header, data) == 0 && data[CAP_IPC_LOCK / 32].effective & 1u << CAP_IPC_LOCK % 32;
}

static void check_memlock(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    struct rlimit limit;
    char text[UNITS_SIZE_MAX];
    if (c->lender_program[0] == '\0' || may_lock_anything())
        return; /* a lender in a unit of its own has its own limit */
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        add(f, "memlock_limit", WIRE_WARNING, "raise it: LimitMEMLOCK=infinity, or ulimit -l unlimited",
            "lent memory is locked, and the limit for that is %s", units_format_size(limit.rlim_cur, text));
}

static void check_huge_pages(struct findings *f, const struct statfs *fs)
{
    struct inventory_nodes nodes = inventory_lending_nodes(f->from->sys, f->from->config);
    char size[UNITS_SIZE_MAX];
    if (inventory_huge_pages(f->from->sys, &nodes, (uint64_t)fs->f_bsize, NULL) == 0)
        add(f, "no_huge_pages", WIRE_ERROR, "reserve some: hugepages= at boot, or nr_hugepages of each of these nodes",
            "memory is lent in huge pages of %s, and none is reserved on the NUMA nodes that it is lent from",
            units_format_size((uint64_t)fs->f_bsize, size));
}

/* On servers systemd listens for a lender; the agent starts none. */
static void check_lender_sockets(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    char path[CONFIG_PATH + NAME_SIZE + 16], advice[NAME_SIZE + 64];
    if (c->lender_program[0] != '\0')
        return;
    for (unsigned i = 0; i < c->n_adapters; i++) {
        if (c->adapters[i].wire.role != WIRE_MEMORY)
            continue;
        snprintf(path, sizeof path, "%s/lender-%s.sock", c->run_dir, c->adapters[i].wire.name);
        snprintf(advice, sizeof advice, "systemctl enable --now memlane-lender@%s.socket", c->adapters[i].wire.name);
        if (access(path, F_OK) < 0)
            add(f, "no_lender_socket", WIRE_ERROR, advice, "nobody listens for the lender of %s: %.120s",
                c->adapters[i].wire.name, path);
    }
}

/* Never lent on: the kernel would take a lender's small pages from the borrowed blocks first. */
static void check_lent_on(struct findings *f)
{
    int node = f->from->borrowed ? inventory_lends_borrowed(f->from->sys, f->from->config, f->from->borrowed) : -1;
    if (node >= 0)
        add(f, "borrowed_on_lending_node", WIRE_WARNING,
            "lend from reserved huge pages (lender_backing_dir), or from NUMA nodes without borrowed memory "
            "(lender_numa_nodes)",
            "borrowed memory is on NUMA node %d, which memory is lent from: nothing of it is lent meanwhile", node);
}

static void check_backing(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    struct statfs fs;
    if (strcmp(c->lender_backing, "locked") != 0) {
        if (!is_emulated(f))
            add(f, "sparse_backing", WIRE_ERROR, "set lender_backing=locked: sparse is for emulated racks",
                "lent memory is neither populated nor locked: a borrower may reach pages that nobody has");
        return;
    }
    check_memlock(f);
    check_lent_on(f);
    if (c->lender_backing_dir[0] == '\0') {
        add(f, "small_pages", WIRE_INFO, "mount a hugetlbfs with reserved pages, and set lender_backing_dir to it",
            "memory is lent in small pages: the adapter translates faster with huge ones");
        return;
    }
    if (statfs(c->lender_backing_dir, &fs) < 0)
        add(f, "no_backing_dir", WIRE_ERROR, "make the directory, or correct lender_backing_dir", "%.150s: %s",
            c->lender_backing_dir, strerror(errno));
    else if (fs.f_type == HUGETLBFS_MAGIC)
        check_huge_pages(f, &fs);
    else if (fs.f_type != TMPFS_MAGIC)
        add(f, "backing_not_memory", WIRE_ERROR, "use a directory on hugetlbfs or tmpfs",
            "%.150s is on no file system of memory", c->lender_backing_dir);
}

/* ---- adapters -----------------------------------------------------------------------------------------------------
 */
static void check_devices(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    for (unsigned i = 0; i < c->n_adapters; i++) {
        const struct adapter_config *a = &c->adapters[i];
        if (access(a->device, R_OK | W_OK) < 0)
            add(f, errno == ENOENT ? "device_missing" : "device_permission", WIRE_ERROR,
                errno == ENOENT ? "is the card seated, its bitstream loaded, the ocxl driver there?"
                                : "give the agent's and the lender's user read and write access (a udev rule)",
                "adapter %s: %s: %.90s", a->wire.name, strerror(errno), a->device);
    }
}

static bool is_configured(const struct agent_config *c, const char *name)
{
    for (unsigned i = 0; i < c->n_adapters; i++) {
        const char *slash = strrchr(c->adapters[i].device, '/');
        if (slash && strcmp(slash + 1, name) == 0)
            return true;
    }
    return false;
}

/* Cards of ours that the configuration does not name. */
static void check_unused_devices(struct findings *f)
{
    if (is_emulated(f))
        return;
    DIR *dir = opendir(OCXL_DEVICES);
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (strncmp(d->d_name, OCXL_AFU_NAME, strlen(OCXL_AFU_NAME)) == 0 && !is_configured(f->from->config, d->d_name))
            add(f, "adapter_unused", WIRE_WARNING, "add a section [adapter NAME] with its role and device",
                OCXL_DEVICES "/%.120s is there, but not configured", d->d_name);
    if (dir)
        closedir(dir);
}

static void check_ocxl(struct findings *f)
{
    if (!f->from->ocxl_error)
        return;
    add(f, "no_libocxl", WIRE_ERROR, "install libocxl1, or name the library with --ocxl-library", "%.190s",
        f->from->ocxl_error);
    if (!is_emulated(f) && f->from->kernel->options[KERNEL_OCXL] == KERNEL_NO)
        add(f, "no_ocxl_driver", WIRE_ERROR, "use a kernel with CONFIG_OCXL (POWER only)",
            "this kernel was built without the driver for OpenCAPI adapters");
}

/* ---- the agent itself ---------------------------------------------------------------------------------------------
 */
/* The agent makes a directory that is missing, but not the one above it. */
static void check_directory(struct findings *f, const char *path)
{
    char parent[CONFIG_PATH];
    if (access(path, W_OK | X_OK) == 0)
        return;
    int why = errno;
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (why == ENOENT && slash) {
        slash[slash == parent] = '\0';
        if (access(parent, W_OK | X_OK) == 0)
            return;
    }
    add(f, "directory_permission", WIRE_ERROR, "create it for the agent's user, mode 0700", "%s: %.140s", strerror(why),
        path);
}

static void check_enrolment(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    char path[CONFIG_PATH + 16];
    snprintf(path, sizeof path, "%s/credential", c->state_dir);
    if (access(path, F_OK) == 0 || errno == EACCES)
        return;
    if (c->join_token_file[0] == '\0')
        add(f, "not_enrolled", WIRE_ERROR,
            "get one from the orchestrator (memlane token create), and name its file with --join-token-file",
            "this node has neither a credential nor a join token");
    else if (access(c->join_token_file, R_OK) < 0)
        add(f, "no_join_token", WIRE_ERROR, "put the join token there, readable by the agent's user", "%.150s: %s",
            c->join_token_file, strerror(errno));
}

static void check_parts(struct findings *f)
{
    const struct agent_config *c = f->from->config;
    if (c->n_adapters == 0 && c->n_switches == 0)
        add(f, "no_adapter", WIRE_INFO, "add [adapter NAME] or [switch NAME] to the agent's configuration",
            "neither an adapter nor a switch is configured: this node neither lends nor borrows");
}

/* "0,8" */
static const char *format_nodes(uint64_t nodes, char text[64])
{
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < 64 && len < 60; i++)
        if (nodes >> i & 1)
            len += (size_t)snprintf(text + len, 64 - len, "%s%u", len > 0 ? "," : "", i);
    return text;
}

/* Its limits and options are its own: what it says itself is what holds. */
void findings_of_lender(struct wire_finding *list, size_t *n, const struct agent_config *c, const struct sysfs *sys,
                        const char *adapter, const struct afu_lender_facts *facts)
{
    const uint64_t memlock_bytes = facts->memlock_bytes, page_bytes = facts->page_bytes;
    struct findings f = { .list = list, .n = *n };
    uint64_t expected = inventory_lending_page(c);
    char text[UNITS_SIZE_MAX], other[UNITS_SIZE_MAX], theirs[64], ours[64];
    if (c->lender_program[0] || strcmp(c->lender_backing, "locked") != 0)
        return;
    if (memlock_bytes != 0 && memlock_bytes != UINT64_MAX)
        add(&f, "memlock_limit", WIRE_WARNING, "raise it in the lender's unit: LimitMEMLOCK=infinity",
            "lent memory is locked, and the limit of the lender of %s is %s", adapter,
            units_format_size(memlock_bytes, text));
    if (page_bytes != 0 && page_bytes != expected)
        add(&f, "lender_differs", WIRE_WARNING,
            "make --backing-dir of the lender's unit and lender_backing_dir of the agent the same",
            "the lender of %s lends in pages of %s, the agent counts those of %s", adapter,
            units_format_size(page_bytes, text), units_format_size(expected, other));
    const struct inventory_nodes nodes = inventory_lending_nodes(sys, c);
    if (facts->numa_nodes != 0 && facts->numa_nodes != nodes.bits[0])
        add(&f, "lender_differs", WIRE_WARNING,
            "make --numa-nodes of the lender's unit and lender_numa_nodes of the agent the same",
            "the lender of %s takes memory from the NUMA nodes %s, the agent counts %s", adapter,
            format_nodes(facts->numa_nodes, theirs), format_nodes(nodes.bits[0], ours));
    *n = f.n;
}

unsigned findings_read(const struct findings_source *s, struct wire_finding out[WIRE_MAX_FINDINGS])
{
    struct findings f = { .from = s, .list = out };
    const struct agent_config *c = s->config;
    check_platform(&f);
    check_identity(&f);
    check_parts(&f);
    if (has_role(c, WIRE_COMPUTE))
        check_blocks(&f);
    if (has_role(c, WIRE_MEMORY)) {
        check_backing(&f);
        check_lender_sockets(&f);
    }
    if (c->n_adapters > 0)
        check_ocxl(&f);
    check_emulated_adapters(&f);
    check_devices(&f);
    check_unused_devices(&f);
    check_directory(&f, c->state_dir);
    check_directory(&f, c->run_dir);
    check_enrolment(&f);
    return (unsigned)f.n;
}
