/* The kernel's files, and the agent's own: any content in any of them.  The first byte says which file, the rest is put
 * into it; then everything that reads files reads.  Whatever they hold: no crash, no number out of bounds, and text
 * that ends. */
#include "block.h"
#include "findings.h"
#include "hotplug.h"
#include "inventory.h"
#include "labels.h"
#include "log.h"
#include "platform.h"
#include "state.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODE "devices/system/node/node0/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const char *path, *text; /* what it holds while another one is at odds */
} files[] = {
    { BLOCK_DIR "/block_size_bytes", "10000000\n" },
    { BLOCK_DIR "/auto_online_blocks", "offline\n" },
    { BLOCK_DIR "/memory7/state", "online\n" },
    { BLOCK_DIR "/memory7/valid_zones", "Movable\n" },
    { NODE "meminfo", "Node 0 MemTotal: 67108864 kB\nNode 0 MemFree: 33554432 kB\nNode 0 Inactive(file): 12 kB\n" },
    { NODE "hugepages/hugepages-2048kB/nr_hugepages", "8\n" },
    { NODE "hugepages/hugepages-2048kB/free_hugepages", "4\n" },
    { "devices/system/node/has_cpu", "0\n" },
    { "module/memory_hotplug/parameters/memmap_on_memory", "N\n" },
    { "cmdline", "quiet memhp_default_state=offline movable_node\n" },
    { "sys/kernel/osrelease", "6.1\n" },
    { "sys/kernel/random/boot_id", "boot-1\n" },
    { "sys/vm/min_free_kbytes", "1024\n" },
    { "config-6.1", "CONFIG_MEMORY_HOTPLUG=y\n# CONFIG_MEMORY_HOTREMOVE is not set\n" },
    { "machine-id", "0123456789abcdef0123456789abcdef\n" },
    { "epoch", "7 instance-1\n" },
    { "credential", "secret\n" },
    { "labels/a1", "boot-1 afu0 0 0x0 0x10000000 touched\n" },
    { "proc/config.gz", "CONFIG_MEMORY_HOTREMOVE=y\n" }, /* of another /proc: it goes before /boot */
    { "devices/system/cpu/cpu0/cache/index3/size", "10240K\n" },
};
enum { FILES = ARRAY_LEN(files), NAMES = 4 };

/* Folders that are listed: an entry of any name in one of them, while that lasts. */
static const char *const folders[NAMES] = { BLOCK_DIR, BLOCK_DIR "/memory7", "devices/system/node", "labels" };

static char dir[] = "/dev/shm/memlane-fuzz-XXXXXX";
static struct sysfs root;
static struct agent_config config;

static void put(size_t file, const void *text, size_t size)
{
    int fd = openat(root.root_fd, files[file].path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        abort();
    close(fd);
}

static void make_directories(const char *path)
{
    char part[128];
    for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
        memcpy(part, path, (size_t)(slash - path));
        part[slash - path] = '\0';
        mkdirat(root.root_fd, part, 0700);
    }
}

static void end(void)
{
    char command[80];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    if (system(command) != 0)
        abort();
}

static void set(const char *key, const char *suffix)
{
    char value[128];
    struct err e = { 0 };
    snprintf(value, sizeof value, "%s%s", dir, suffix);
    if (agent_config_set(&config, key, value, &e) < 0)
        abort();
}

static void begin(void)
{
    struct err e = { 0 };
    log_set_level(LOG_LEVEL_ERROR);
    if (!mkdtemp(dir) || sysfs_init(&root, dir, &e) < 0 || agent_config_load(&config, NULL, &e) < 0)
        abort();
    atexit(end);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        make_directories(files[i].path);
        put(i, files[i].text, strlen(files[i].text));
    }
    set("state_dir", "");
    set("run_dir", "");
    set("boot_dir", "");
    set("machine_id_file", "/machine-id");
    config.n_adapters = 1;
    strcpy(config.adapters[0].wire.name, "afu0");
}

/* What a folder is listed for: blocks in a window, the NUMA node of one. */
static void on_block(void *arg, uint64_t addr, bool movable UNUSED)
{
    if (addr % *(const uint64_t *)arg != 0)
        abort();
}

static bool is_known(void *arg UNUSED, uint64_t addr UNUSED)
{
    return false;
}

static void read_folders(struct hotplug *hp, uint64_t block)
{
    struct err e = { 0 };
    struct platform p;
    const struct range window = { 0, UINT64_C(1) << 51 };
    (void)!hotplug_scan(hp, window, is_known, on_block, &block, &e);
    if (platform_init(&p, "linux", &root, NULL, 1, &e) < 0)
        abort();
    int node = p.ops->numa_node(&p, 0, 7);
    if (node < -1 || node >= 1024)
        abort();
    if (platform_cache_bytes(&p) == 0 || platform_cache_bytes(&p) > UINT64_C(1) << 30)
        abort();
    platform_done(&p);
}

/* As the child does it, in files that take what is written. */
static void order_block(void)
{
    struct err e = { 0 };
    (void)!block_kernel.online(&root, 7, UINT64_C(1) << 28, false, 0, &e);
    (void)!block_kernel.offline(&root, 7, &e);
    put(2, files[2].text, strlen(files[2].text));
}

static void read_blocks(void)
{
    struct err e = { 0 };
    struct hotplug *hp = NULL;
    struct hotplug_counts counts;
    const struct hotplug_options o = { .sys = &root };
    if (hotplug_new(&hp, &o, &e) < 0)
        return;
    uint64_t block = hotplug_block_bytes(hp);
    if (block == 0 || (block & (block - 1)) != 0)
        abort();
    if (hotplug_read(hp, (struct range){ 7 * block, block }, &counts, &e) == 0 &&
        (counts.total != 1 || counts.online > 1 || (counts.movable && counts.online == 0)))
        abort();
    read_folders(hp, block);
    hotplug_free(hp);
}

static void read_memory(void)
{
    struct err e = { 0 };
    struct inventory_borrowed none = { 0 };
    struct inventory_memory m;
    if (inventory_memory(&root, &root, &none, &m, &e) < 0)
        return;
    if (m.memory_bytes == 0 || m.memory_bytes > INT64_MAX || m.nodes[0].local_free_bytes > m.free_bytes)
        abort();
    uint64_t unused = 0;
    if (inventory_huge_pages(&root, NULL, UINT64_C(2) << 20, &unused) > INT64_MAX || unused > INT64_MAX)
        abort();
    if (inventory_lendable(&root, &config, &m) > INT64_MAX || inventory_reserve(&root) > 4 * (UINT64_C(1) << 40))
        abort();
    (void)!inventory_room(&m, 0, UINT64_C(1) << 30, inventory_reserve(&root), &e);
}

static void check_text(const char *text, size_t size)
{
    if (!memchr(text, '\0', size))
        abort();
}

static void read_findings(void)
{
    static struct wire_finding found[WIRE_MAX_FINDINGS];
    struct kernel_facts kernel;
    struct sysfs proc;
    struct err e = { 0 };
    char path[64];
    snprintf(path, sizeof path, "%s/proc", dir);
    if (sysfs_init(&proc, path, &e) < 0)
        abort();
    kernel_facts_read(&kernel, &root, &proc, config.boot_dir);
    sysfs_done(&proc);
    kernel_facts_read(&kernel, &root, &root, config.boot_dir);
    check_text(kernel.release, sizeof kernel.release);
    check_text(kernel.policy, sizeof kernel.policy);
    check_text(kernel.boot_policy, sizeof kernel.boot_policy);
    const struct findings_source from = { .config = &config, .sys = &root, .proc = &root, .kernel = &kernel };
    unsigned n = findings_read(&from, found);
    if (n > WIRE_MAX_FINDINGS)
        abort();
    for (unsigned i = 0; i < n; i++) {
        check_text(found[i].detail, sizeof found[i].detail);
        if (!found[i].code[0] || !found[i].detail[0] || !found[i].advice[0])
            abort();
    }
}

static void on_label(void *arg UNUSED, const struct label *l)
{
    if (!name_valid(l->adapter) || l->section >= WIRE_SECTIONS || l->size_bytes == 0)
        abort();
}

static void read_own(void)
{
    struct err e = { 0 };
    struct state s;
    struct labels *l;
    char id[ID_SIZE];
    if (state_open(&s, dir, &e) == 0) {
        check_text(s.credential, sizeof s.credential);
        check_text(s.instance, sizeof s.instance);
        state_close(&s);
    }
    if (inventory_machine_id(config.machine_id_file, id, &e) == 0 && strlen(id) != 32)
        abort();
    if (inventory_boot_id(&root, id, &e) == 0 && !id_valid(id))
        abort();
    if (labels_open(&l, dir, "boot-1", &e) == 0) {
        (void)!labels_each(l, on_label, NULL, &e);
        labels_close(l);
    }
}

/* A folder of that name, which need not be one that the kernel would give. */
static bool make_entry(const char *folder, const uint8_t *name, size_t size, char out[300])
{
    size_t len = strlen(folder);
    if (size == 0 || size > 200 || memchr(name, '\0', size) || memchr(name, '/', size))
        return false;
    memcpy(out, folder, len);
    out[len] = '/';
    memcpy(out + len + 1, name, size);
    out[len + 1 + size] = '\0';
    return mkdirat(root.root_fd, out, 0700) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!dir[0] || root.root == NULL)
        begin();
    if (size == 0)
        return 0;
    size_t what = data[0] % (FILES + NAMES + 1);
    char entry[300];
    if (what < FILES)
        put(what, data + 1, size - 1);
    else if (what < FILES + NAMES && !make_entry(folders[what - FILES], data + 1, size - 1, entry))
        return 0;
    else if (what == FILES + NAMES)
        unlinkat(root.root_fd, files[data[size - 1] % FILES].path, 0); /* one that is missing */
    read_blocks();
    read_memory();
    read_findings();
    read_own();
    order_block();
    if (what < FILES)
        put(what, files[what].text, strlen(files[what].text));
    else if (what < FILES + NAMES)
        unlinkat(root.root_fd, entry, AT_REMOVEDIR);
    else
        put(data[size - 1] % FILES, files[data[size - 1] % FILES].text, strlen(files[data[size - 1] % FILES].text));
    return 0;
}
