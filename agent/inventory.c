/* inventory.c - see inventory.h. */
#include "inventory.h"

#include "block.h"
#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MEMINFO_SIZE 8192

/* ---- memory -------------------------------------------------------------------------------------------------------
 */
/* "  123 kB" -> bytes */
static int parse_kb(const char *text, size_t len, uint64_t *out)
{
    char number[24];
    uint64_t kb = 0;
    struct err e = { 0 };
    while (len > 0 && *text == ' ') {
        text++;
        len--;
    }
    if (len < 4 || len - 3 >= sizeof number || memcmp(text + len - 3, " kB", 3) != 0)
        return -1;
    memcpy(number, text, len - 3);
    number[len - 3] = '\0';
    if (units_parse_u64(number, &kb, &e) < 0 || kb > INT64_MAX / KIB)
        return -1;
    *out = kb * KIB;
    return 0;
}

int inventory_meminfo_field(const char *text, const char *field, uint64_t *out, struct err *e)
{
    size_t field_len = strlen(field);
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        const char *colon = memchr(line, ':', len);
        size_t name_len = colon ? (size_t)(colon - line) : 0;
        /* The field's name is the last word before the colon. */
        if (name_len >= field_len && memcmp(colon - field_len, field, field_len) == 0 &&
            (name_len == field_len || colon[-(ptrdiff_t)field_len - 1] == ' ')) {
            if (parse_kb(colon + 1, len - name_len - 1, out) < 0)
                return err_set(e, ERR_IO, "meminfo: %.60s", line);
            return 0;
        }
        line += len;
        line += *line == '\n';
    }
    return err_set(e, ERR_NOT_FOUND, "meminfo has no %s", field);
}

static int read_meminfo(const struct sysfs *fs, const char *path, uint64_t *total, uint64_t *free_bytes, struct err *e)
{
    CLEANUP(cleanup_free) char *text = malloc(MEMINFO_SIZE);
    if (!text)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (sysfs_read(fs, path, text, MEMINFO_SIZE, e) < 0 || inventory_meminfo_field(text, "MemTotal", total, e) < 0 ||
        inventory_meminfo_field(text, "MemFree", free_bytes, e) < 0)
        return -1;
    uint64_t cache = 0; /* clean pages of files that nobody used lately: as good as free */
    struct err none = { 0 };
    if (inventory_meminfo_field(text, "Inactive(file)", &cache, &none) == 0)
        *free_bytes += cache;
    return 0;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Adds what is local of NUMA node 'n', of whose memory the file tells. */
static int add_node(const struct sysfs *fs, const char *path, unsigned n, const struct inventory_borrowed *b,
                    struct inventory_memory *m, struct err *e)
{
    if (read_meminfo(fs, path, &m->nodes[n].total_bytes, &m->nodes[n].free_bytes, e) < 0)
        return -1;
    m->nodes[n].borrowed_bytes = b->bytes[n];
    uint64_t local = minus(m->nodes[n].total_bytes, b->bytes[n]);
    if (b->only[n] || (b->bytes[n] > 0 && local < 64 * MIB))
        return 0; /* nothing but borrowed memory */
    m->memory_bytes += local;
    m->nodes[n].local_free_bytes = minus(m->nodes[n].free_bytes, b->bytes[n]);
    m->free_bytes += m->nodes[n].local_free_bytes;
    return 0;
}

/* A kernel that knows of no NUMA nodes: all memory is one node's, what is borrowed too. */
static int add_machine(const struct sysfs *proc, const struct inventory_borrowed *b, struct inventory_memory *m,
                       struct err *e)
{
    struct inventory_borrowed all = { .bytes = { b->bytes[0] + b->nowhere_bytes } };
    return add_node(proc, "meminfo", 0, &all, m, e);
}

static int add_nodes(const struct sysfs *sys, const struct sysfs *proc, const struct inventory_borrowed *b,
                     struct inventory_memory *m, struct err *e)
{
    int fd = openat(sys->root_fd, "devices/system/node", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return add_machine(proc, b, m, e);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int rc = err_errno(e, ERR_IO, "cannot read devices/system/node");
        cleanup_close(&fd);
        return rc;
    }
    uint64_t n;
    int rc = 0;
    for (struct dirent *d; rc == 0 && (d = readdir(dir));) {
        char path[64];
        if (!sysfs_name_number(d->d_name, "node", &n) || n >= INVENTORY_NODES_MAX)
            continue;
        snprintf(path, sizeof path, "devices/system/node/node%u/meminfo", (unsigned)n);
        rc = add_node(sys, path, (unsigned)n, b, m, e);
    }
    closedir(dir);
    return rc;
}

int inventory_memory(const struct sysfs *sys, const struct sysfs *proc, const struct inventory_borrowed *b,
                     struct inventory_memory *out, struct err *e)
{
    struct inventory_memory m = { 0 };
    int rc = add_nodes(sys, proc, b, &m, e);
    if (rc == 0 && m.memory_bytes == 0)
        rc = err_set(e, ERR_IO, "no NUMA node has local memory");
    if (rc == 0)
        *out = m;
    return rc;
}

uint64_t inventory_reserve(const struct sysfs *proc)
{
    char text[SYSFS_TEXT];
    uint64_t kb = 0;
    struct err e = { 0 };
    if (sysfs_read(proc, "sys/vm/min_free_kbytes", text, sizeof text, &e) < 0 || units_parse_u64(text, &kb, &e) < 0 ||
        kb > TIB / KIB)
        return 0;
    return 2 * kb * KIB; /* it begins to reclaim, and to kill, somewhat above that */
}

/* Taking a range away takes its free pages too, so what matters is the whole machine's free memory, wherever it is. */
int inventory_room(const struct inventory_memory *m, int numa_node, uint64_t size_bytes, uint64_t reserve_bytes,
                   struct err *e)
{
    uint64_t free_bytes = 0, used = 0;
    for (int n = 0; n < INVENTORY_NODES_MAX; n++) {
        free_bytes += m->nodes[n].free_bytes;
        if (n == numa_node || numa_node < 0)
            used += minus(m->nodes[n].total_bytes, m->nodes[n].free_bytes);
    }
    if (free_bytes >= size_bytes + reserve_bytes)
        return 0;
    char a[UNITS_SIZE_MAX], b[UNITS_SIZE_MAX];
    used = used < size_bytes ? used : size_bytes;
    return err_set(e, ERR_CONFLICT, "up to %s are in use there, and the rest of this machine has %s free",
                   units_format_size(used, a),
                   units_format_size(minus(free_bytes, size_bytes - used + reserve_bytes), b));
}

static uint64_t huge_pages(const struct sysfs *sys, unsigned node, uint64_t page_bytes, const char *file)
{
    char path[128], text[SYSFS_TEXT];
    uint64_t n = 0;
    struct err e = { 0 };
    snprintf(path, sizeof path, "devices/system/node/node%u/hugepages/hugepages-%llukB/%s", node,
             (unsigned long long)(page_bytes / KIB), file);
    if (sysfs_read(sys, path, text, sizeof text, &e) < 0 || units_parse_u64(text, &n, &e) < 0 ||
        n > INT64_MAX / page_bytes)
        return 0;
    return n * page_bytes;
}

static bool has_node(const struct inventory_nodes *nodes, unsigned node)
{
    const unsigned bits = 8 * sizeof nodes->bits[0];
    return !nodes || (nodes->bits[node / bits] >> node % bits & 1);
}

uint64_t inventory_huge_pages(const struct sysfs *sys, const struct inventory_nodes *nodes, uint64_t page_bytes,
                              uint64_t *free_bytes)
{
    uint64_t total = 0, unused = 0;
    for (unsigned n = 0; n < INVENTORY_NODES_MAX; n++) {
        if (!has_node(nodes, n))
            continue;
        total += huge_pages(sys, n, page_bytes, "nr_hugepages");
        unused += huge_pages(sys, n, page_bytes, "free_hugepages");
    }
    if (free_bytes)
        *free_bytes = unused;
    return total;
}

struct inventory_nodes inventory_lending_nodes(const struct sysfs *sys, const struct agent_config *c)
{
    struct inventory_nodes all, set = { 0 };
    memset(&all, 0xff, sizeof all);
    char text[SYSFS_TEXT];
    struct err e = { 0 };
    if (c->lender_numa_nodes[0])
        snprintf(text, sizeof text, "%s", c->lender_numa_nodes);
    else if (sysfs_read(sys, "devices/system/node/has_cpu", text, sizeof text, &e) < 0)
        return all;
    return units_parse_set(text, set.bits, INVENTORY_NODES_MAX, &e) == 0 ? set : all;
}

static bool lends_huge_pages(const struct agent_config *c, uint64_t *page_bytes)
{
    struct statfs fs;
    if (!c->lender_backing_dir[0] || statfs(c->lender_backing_dir, &fs) < 0 || fs.f_type != HUGETLBFS_MAGIC)
        return false;
    *page_bytes = (uint64_t)fs.f_bsize;
    return true;
}

uint64_t inventory_lendable(const struct sysfs *sys, const struct agent_config *c, const struct inventory_memory *m)
{
    struct inventory_nodes nodes = inventory_lending_nodes(sys, c);
    uint64_t sum = 0, page_bytes;
    if (lends_huge_pages(c, &page_bytes)) {
        inventory_huge_pages(sys, &nodes, page_bytes, &sum);
        return sum;
    }
    for (unsigned n = 0; n < INVENTORY_NODES_MAX; n++)
        sum += has_node(&nodes, n) && m->nodes[n].borrowed_bytes == 0 ? m->nodes[n].local_free_bytes : 0;
    return sum;
}

uint64_t inventory_lending_page(const struct agent_config *c)
{
    uint64_t page_bytes;
    return lends_huge_pages(c, &page_bytes) ? page_bytes : (uint64_t)sysconf(_SC_PAGESIZE);
}

int inventory_lends_borrowed(const struct sysfs *sys, const struct agent_config *c, const struct inventory_borrowed *b)
{
    struct inventory_nodes nodes = inventory_lending_nodes(sys, c);
    uint64_t page_bytes;
    if (lends_huge_pages(c, &page_bytes))
        return -1; /* reserved before anything was borrowed: zone Movable gives none */
    for (unsigned n = 0; n < INVENTORY_NODES_MAX; n++)
        if (has_node(&nodes, n) && b->bytes[n] > 0 && !b->only[n])
            return (int)n;
    return -1;
}

/* ---- identity -----------------------------------------------------------------------------------------------------
 */
int inventory_machine_id(const char *path, char out[ID_SIZE], struct err *e)
{
    char text[SYSFS_TEXT];
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open %s", path);
    if (sysfs_read_fd(fd, path, text, sizeof text, e) < 0)
        return -1;
    if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
        return err_set(e, ERR_IO, "%s does not hold 32 hexadecimal digits", path);
    memcpy(out, text, 33);
    return 0;
}

int inventory_boot_id(const struct sysfs *proc, char out[ID_SIZE], struct err *e)
{
    char text[SYSFS_TEXT];
    if (sysfs_read(proc, "sys/kernel/random/boot_id", text, sizeof text, e) < 0)
        return -1;
    if (!id_valid(text))
        return err_set(e, ERR_IO, "sys/kernel/random/boot_id holds no id");
    memcpy(out, text, strlen(text) + 1);
    return 0;
}
