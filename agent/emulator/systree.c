/* systree.c - see systree.h.  The table 'kinds' is the tree; memory blocks and NUMA nodes are its only repeated parts.
 */
#include "systree.h"

#include "blocks.h"
#include "donor.h"
#include "fabric.h"
#include "trace.h"
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind {
    NODE,
    SYS,
    DEVICES,
    SYSTEM,
    MEMORY,
    NUMA,
    NUMA_NODE, /* index: its number */
    BLOCK,     /* index: its number; so for its files */
    PROC,
    PROC_SYS,
    KERNEL,
    RANDOM,
    EMULATOR,
    /* files */
    BLOCK_SIZE,
    AUTO_ONLINE,
    PROBE,
    STATE,
    PHYS_INDEX,
    VALID_ZONES,
    ONLINE,
    PHYS_DEVICE,
    REMOVABLE,
    BLOCK_NODE, /* the link nodeK */
    NUMA_ONLINE,
    NUMA_POSSIBLE,
    NUMA_MEMINFO,
    MEMINFO,
    BOOT_ID,
    TOUCH,
    QUIESCE,
    N_KINDS
};

struct where { /* a decoded inode */
    struct box_node *node;
    enum kind kind;
    uint64_t index;
};

struct kind_info {
    const char *name; /* NULL: named by its index */
    enum kind parent;
    mode_t mode;
    int (*read)(const struct where *w, char *text); /* length or -errno */
    int (*write)(const struct where *w, const char *text);
};

#define INDEX_MASK ((UINT64_C(1) << 40) - 1)

static uint64_t encode(const struct box_node *n, enum kind kind, uint64_t index)
{
    return (uint64_t)(n->index + 1) << 48 | (uint64_t)kind << 40 | index;
}

static bool decode(struct box *b, uint64_t ino, struct where *out)
{
    uint64_t node = ino >> 48, kind = ino >> 40 & 0xff;

    if (node < 1 || node > b->n_nodes || kind >= N_KINDS)
        return false;
    *out = (struct where){ .node = &b->nodes[node - 1], .kind = (enum kind)kind, .index = ino & INDEX_MASK };
    return true;
}

/* ---- NUMA: node 0 is the local memory, then one for each compute adapter ---- */
static struct box_adapter *numa_adapter(const struct box_node *n, uint64_t numa)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (n->adapters[i].spec->role == WIRE_COMPUTE && --numa == 0)
            return &n->adapters[i];
    return NULL;
}

static unsigned numa_of(const struct box_adapter *a)
{
    unsigned numa = 1;

    for (unsigned i = 0; i < a->index; i++)
        numa += a->node->adapters[i].spec->role == WIRE_COMPUTE;
    return numa;
}

static unsigned numa_last(const struct box_node *n)
{
    unsigned last = 0;

    for (unsigned i = 0; i < n->n_adapters; i++)
        last += n->adapters[i].spec->role == WIRE_COMPUTE;
    return last;
}

static bool numa_exists(const struct box_node *n, uint64_t numa)
{
    return numa == 0 || numa_adapter(n, numa) != NULL;
}

static uint64_t free_bytes(struct box_node *n)
{
    uint64_t used = donor_used_bytes(n);

    return n->spec->free_bytes > used ? n->spec->free_bytes - used : 0;
}

static int read_numa_list(const struct where *w, char *text)
{
    unsigned last = numa_last(w->node);

    return last == 0 ? snprintf(text, SYSTREE_TEXT, "0\n") : snprintf(text, SYSTREE_TEXT, "0-%u\n", last);
}

static int read_numa_meminfo(const struct where *w, char *text)
{
    uint64_t total = w->node->spec->memory_bytes, available;

    if (w->index == 0) {
        available = free_bytes(w->node);
    } else {
        total = blocks_online_bytes(numa_adapter(w->node, w->index));
        available = total;
    }
    return snprintf(text, SYSTREE_TEXT,
                    "Node %" PRIu64 " MemTotal:       %8" PRIu64 " kB\nNode %" PRIu64 " MemFree:        %8" PRIu64
                    " kB\nNode %" PRIu64 " MemUsed:        %8" PRIu64 " kB\n",
                    w->index, total / KIB, w->index, available / KIB, w->index, (total - available) / KIB);
}

static int read_meminfo(const struct where *w, char *text)
{
    uint64_t total = w->node->spec->memory_bytes, available = free_bytes(w->node);

    for (unsigned i = 0; i < w->node->n_adapters; i++) {
        total += blocks_online_bytes(&w->node->adapters[i]);
        available += blocks_online_bytes(&w->node->adapters[i]);
    }
    return snprintf(text, SYSTREE_TEXT,
                    "MemTotal:       %8" PRIu64 " kB\nMemFree:        %8" PRIu64 " kB\nMemAvailable:   %8" PRIu64
                    " kB\n",
                    total / KIB, available / KIB, available / KIB);
}

/* ---- memory blocks ---- */
static int read_block_size(const struct where *w, char *text)
{
    return snprintf(text, SYSTREE_TEXT, "%" PRIx64 "\n", w->node->spec->block_bytes);
}

static int read_auto_online(const struct where *w, char *text)
{
    return snprintf(text, SYSTREE_TEXT, "%s\n", blocks_policy_names[w->node->state->auto_online % BLOCKS_N_POLICIES]);
}

static int policy_by_name(const char *text)
{
    for (int p = 0; p < BLOCKS_N_POLICIES; p++)
        if (strcmp(text, blocks_policy_names[p]) == 0)
            return p;
    return -1;
}

static int write_auto_online(const struct where *w, const char *text)
{
    int policy = policy_by_name(text);

    if (policy < 0)
        return -EINVAL;
    w->node->state->auto_online = (uint8_t)policy;
    return 0;
}

/* As kstrtoull(text, 0): "0x..." is hex, anything else decimal. */
static bool parse_number(const char *text, uint64_t *out)
{
    struct err e = { 0 };

    return (strncmp(text, "0x", 2) == 0 ? units_parse_addr(text, out, &e) : units_parse_u64(text, out, &e)) == 0;
}

static int write_probe(const struct where *w, const char *text)
{
    uint64_t addr;

    return parse_number(text, &addr) ? blocks_probe(w->node, addr) : -EINVAL;
}

static int view(const struct where *w, struct block *out)
{
    return blocks_get(w->node, w->index, out) && out->state != BLOCKS_ABSENT ? 0 : -ENODEV;
}

static int read_state(const struct where *w, char *text)
{
    struct block b;

    if (view(w, &b) < 0)
        return -ENODEV;
    return snprintf(text, SYSTREE_TEXT, "%s\n", b.state == BLOCKS_ONLINE ? "online" : "offline");
}

static int write_state(const struct where *w, const char *text)
{
    int policy = policy_by_name(text);

    return policy < 0 ? -EINVAL : blocks_change(w->node, w->index, (enum blocks_policy)policy);
}

static int read_online(const struct where *w, char *text)
{
    struct block b;

    if (view(w, &b) < 0)
        return -ENODEV;
    return snprintf(text, SYSTREE_TEXT, "%d\n", b.state == BLOCKS_ONLINE);
}

static int write_online(const struct where *w, const char *text)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return -EINVAL;
    return blocks_change(w->node, w->index, *text == '1' ? BLOCKS_ON : BLOCKS_OFF);
}

static int read_zones(const struct where *w, char *text)
{
    struct block b;

    if (view(w, &b) < 0)
        return -ENODEV;
    if (b.state == BLOCKS_OFFLINE)
        return snprintf(text, SYSTREE_TEXT, "Normal Movable\n");
    return snprintf(text, SYSTREE_TEXT, "%s\n", b.movable ? "Movable" : "Normal");
}

static int read_removable(const struct where *w, char *text)
{
    struct block b;

    if (view(w, &b) < 0)
        return -ENODEV;
    return snprintf(text, SYSTREE_TEXT, "%d\n", b.adapter != NULL);
}

static int read_phys_index(const struct where *w, char *text)
{
    return snprintf(text, SYSTREE_TEXT, "%08" PRIx64 "\n", w->index);
}

static int read_phys_device(const struct where *w, char *text)
{
    (void)w;
    return snprintf(text, SYSTREE_TEXT, "0\n");
}

static unsigned block_numa(const struct where *w)
{
    struct block b;

    return blocks_get(w->node, w->index, &b) && b.adapter ? numa_of(b.adapter) : 0;
}

static int read_block_link(const struct where *w, char *text)
{
    return snprintf(text, SYSTREE_TEXT, "../../node/node%u", block_numa(w));
}

/* ---- the emulator's own files ---- */
static int read_boot_id(const struct where *w, char *text)
{
    return snprintf(text, SYSTREE_TEXT, "%s\n", w->node->state->boot_id);
}

/* One store and one load of a line, and what was there is put back: its block may hold somebody's bytes. */
static int write_touch(const struct where *w, const char *text)
{
    unsigned char line[ADAPTER_LINE_BYTES];
    struct box_adapter *a;
    struct block b;
    uint64_t addr;
    bool ok;

    if (!parse_number(text, &addr) || addr % sizeof line != 0)
        return -EINVAL;
    a = box_window_find(w->node, addr);
    if (!a || !blocks_get(w->node, addr / w->node->spec->block_bytes, &b) || b.state != BLOCKS_ONLINE)
        return -ENXIO;
    ok = fabric_transfer(a, addr - a->spec->window_addr, line, sizeof line, false) == FABRIC_OK &&
         fabric_transfer(a, addr - a->spec->window_addr, line, sizeof line, true) == FABRIC_OK;
    trace_event(w->node->box->trace, w->node->spec->name, a->spec->name, "touch", 0, addr, ok);
    return ok ? 0 : -EIO;
}

static int write_quiesce(const struct where *w, const char *text)
{
    const struct box_adapter *a = box_adapter_find(w->node, text);

    if (!a)
        return -EINVAL;
    trace_event(w->node->box->trace, w->node->spec->name, a->spec->name, "quiesce", 0, 0, true);
    return 0;
}

#define DIRECTORY (S_IFDIR | 0755)
#define READ_ONLY (S_IFREG | 0444)
#define READ_WRITE (S_IFREG | 0644)
#define WRITE_ONLY (S_IFREG | 0200)

static const struct kind_info kinds[N_KINDS] = {
    [NODE] = { NULL, N_KINDS, DIRECTORY, NULL, NULL },
    [SYS] = { "sys", NODE, DIRECTORY, NULL, NULL },
    [DEVICES] = { "devices", SYS, DIRECTORY, NULL, NULL },
    [SYSTEM] = { "system", DEVICES, DIRECTORY, NULL, NULL },
    [MEMORY] = { "memory", SYSTEM, DIRECTORY, NULL, NULL },
    [NUMA] = { "node", SYSTEM, DIRECTORY, NULL, NULL },
    [NUMA_NODE] = { NULL, NUMA, DIRECTORY, NULL, NULL },
    [BLOCK] = { NULL, MEMORY, DIRECTORY, NULL, NULL },
    [PROC] = { "proc", NODE, DIRECTORY, NULL, NULL },
    [PROC_SYS] = { "sys", PROC, DIRECTORY, NULL, NULL },
    [KERNEL] = { "kernel", PROC_SYS, DIRECTORY, NULL, NULL },
    [RANDOM] = { "random", KERNEL, DIRECTORY, NULL, NULL },
    [EMULATOR] = { "emulator", NODE, DIRECTORY, NULL, NULL },
    [BLOCK_SIZE] = { "block_size_bytes", MEMORY, READ_ONLY, read_block_size, NULL },
    [AUTO_ONLINE] = { "auto_online_blocks", MEMORY, READ_WRITE, read_auto_online, write_auto_online },
    [PROBE] = { "probe", MEMORY, WRITE_ONLY, NULL, write_probe },
    [STATE] = { "state", BLOCK, READ_WRITE, read_state, write_state },
    [PHYS_INDEX] = { "phys_index", BLOCK, READ_ONLY, read_phys_index, NULL },
    [VALID_ZONES] = { "valid_zones", BLOCK, READ_ONLY, read_zones, NULL },
    [ONLINE] = { "online", BLOCK, READ_WRITE, read_online, write_online },
    [PHYS_DEVICE] = { "phys_device", BLOCK, READ_ONLY, read_phys_device, NULL },
    [REMOVABLE] = { "removable", BLOCK, READ_ONLY, read_removable, NULL },
    [BLOCK_NODE] = { NULL, BLOCK, S_IFLNK | 0777, read_block_link, NULL },
    [NUMA_ONLINE] = { "online", NUMA, READ_ONLY, read_numa_list, NULL },
    [NUMA_POSSIBLE] = { "possible", NUMA, READ_ONLY, read_numa_list, NULL },
    [NUMA_MEMINFO] = { "meminfo", NUMA_NODE, READ_ONLY, read_numa_meminfo, NULL },
    [MEMINFO] = { "meminfo", PROC, READ_ONLY, read_meminfo, NULL },
    [BOOT_ID] = { "boot_id", RANDOM, READ_ONLY, read_boot_id, NULL },
    [TOUCH] = { "touch", EMULATOR, WRITE_ONLY, NULL, write_touch },
    [QUIESCE] = { "quiesce", EMULATOR, WRITE_ONLY, NULL, write_quiesce },
};

/* ---- the tree ---- */
struct box_node *systree_node(struct box *b, uint64_t ino)
{
    struct where w;

    return decode(b, ino, &w) ? w.node : NULL;
}

bool systree_stable(uint64_t ino)
{
    return (ino >> 40 & 0xff) != BLOCK;
}

static bool exists(const struct where *w)
{
    if (w->kind == NUMA_NODE || kinds[w->kind].parent == NUMA_NODE)
        return numa_exists(w->node, w->index);
    if (w->kind == BLOCK || kinds[w->kind].parent == BLOCK)
        return blocks_exists(w->node, w->index);
    return true;
}

static bool has_power(const struct where *w)
{
    return w->kind == NODE || w->node->state->on;
}

static bool numbered(const char *name, const char *prefix, uint64_t *out)
{
    size_t len = strlen(prefix);
    struct err e = { 0 };

    return strncmp(name, prefix, len) == 0 && units_parse_u64(name + len, out, &e) == 0 && *out <= INDEX_MASK &&
           (name[len] != '0' || !name[len + 1]);
}

/* The names that the table cannot hold. */
static uint64_t lookup_numbered(const struct where *dir, const char *name)
{
    uint64_t number;

    if (dir->kind == MEMORY && numbered(name, "memory", &number) && blocks_exists(dir->node, number))
        return encode(dir->node, BLOCK, number);
    if (dir->kind == NUMA && numbered(name, "node", &number) && numa_exists(dir->node, number))
        return encode(dir->node, NUMA_NODE, number);
    if (dir->kind == BLOCK && numbered(name, "node", &number) && number == block_numa(dir))
        return encode(dir->node, BLOCK_NODE, dir->index);
    return 0;
}

uint64_t systree_lookup(struct box *b, uint64_t ino, const char *name, int *error)
{
    struct box_node *n;
    struct where dir;
    uint64_t found;

    *error = ENOENT;
    if (ino == SYSTREE_ROOT) {
        n = box_node_find(b, name);
        return n ? encode(n, NODE, 0) : 0;
    }
    if (!decode(b, ino, &dir))
        return 0;
    if (!dir.node->state->on) {
        *error = EIO;
        return 0;
    }
    found = exists(&dir) ? lookup_numbered(&dir, name) : 0;
    for (int k = 0; !found && k < N_KINDS; k++)
        if (kinds[k].parent == dir.kind && kinds[k].name && strcmp(kinds[k].name, name) == 0)
            found = exists(&dir) ? encode(dir.node, (enum kind)k, dir.index) : 0;
    return found;
}

int systree_stat(struct box *b, uint64_t ino, struct stat *out)
{
    struct where w = { 0 };

    if (ino != SYSTREE_ROOT) {
        if (!decode(b, ino, &w) || !exists(&w))
            return ENOENT;
        if (!has_power(&w))
            return EIO;
    }
    *out = (struct stat){ .st_ino = ino,
                          .st_mode = ino == SYSTREE_ROOT ? DIRECTORY : kinds[w.kind].mode,
                          .st_uid = geteuid(),
                          .st_gid = getegid(),
                          .st_blksize = 4096 };
    out->st_nlink = S_ISDIR(out->st_mode) ? 2 : 1;
    out->st_size = S_ISREG(out->st_mode) ? 4096 : 0;
    return 0;
}

static void fill(struct systree_entry *out, const struct box_node *n, enum kind kind, uint64_t index)
{
    out->ino = encode(n, kind, index);
    out->mode = kinds[kind].mode;
}

/* Positions: the table's kinds first, then numbered entries from N_KINDS on. */
static bool next_numbered(const struct where *dir, uint64_t *at, struct systree_entry *out)
{
    uint64_t k = *at - N_KINDS;
    struct box_node *n = dir->node;

    if (dir->kind == BLOCK && k == 0) {
        fill(out, n, BLOCK_NODE, dir->index);
        snprintf(out->name, sizeof out->name, "node%u", block_numa(dir));
        *at += 1;
        return true;
    }
    if (dir->kind == NUMA && numa_exists(n, k)) {
        fill(out, n, NUMA_NODE, k);
        snprintf(out->name, sizeof out->name, "node%" PRIu64, k);
        *at += 1;
        return true;
    }
    if (dir->kind != MEMORY)
        return false;
    if (k < n->n_local_blocks) {
        fill(out, n, BLOCK, k);
        snprintf(out->name, sizeof out->name, "memory%" PRIu64, k);
        *at += 1;
        return true;
    }
    k -= n->n_local_blocks;
    for (unsigned i = 0; i < n->n_adapters; k -= n->adapters[i++].n_blocks) {
        const struct box_adapter *a = &n->adapters[i];

        if (k >= a->n_blocks)
            continue;
        for (; k < a->n_blocks; k++, (*at)++)
            if ((a->blocks[k] & 3) != BLOCKS_ABSENT) {
                fill(out, n, BLOCK, blocks_number(a, k));
                snprintf(out->name, sizeof out->name, "memory%" PRIu64, blocks_number(a, k));
                *at += 1;
                return true;
            }
    }
    return false;
}

bool systree_next(struct box *b, uint64_t ino, uint64_t *at, struct systree_entry *out)
{
    struct where dir;

    if (ino == SYSTREE_ROOT) {
        if (*at >= b->n_nodes)
            return false;
        fill(out, &b->nodes[*at], NODE, 0);
        snprintf(out->name, sizeof out->name, "%s", b->nodes[*at].spec->name);
        *at += 1;
        return true;
    }
    if (!decode(b, ino, &dir) || !dir.node->state->on)
        return false;
    for (; *at < N_KINDS; (*at)++)
        if (kinds[*at].parent == dir.kind && kinds[*at].name) {
            fill(out, dir.node, (enum kind) * at, dir.index);
            snprintf(out->name, sizeof out->name, "%s", kinds[*at].name);
            *at += 1;
            return true;
        }
    return next_numbered(&dir, at, out);
}

static int usable(struct box *b, uint64_t ino, struct where *w)
{
    if (!decode(b, ino, w) || !exists(w))
        return -ENODEV;
    return has_power(w) ? 0 : -EIO;
}

int systree_read(struct box *b, uint64_t ino, char text[SYSTREE_TEXT])
{
    struct where w;
    int rc = usable(b, ino, &w);

    if (rc < 0)
        return rc;
    return kinds[w.kind].read ? kinds[w.kind].read(&w, text) : -EIO;
}

int systree_readlink(struct box *b, uint64_t ino, char text[SYSTREE_TEXT])
{
    return systree_read(b, ino, text);
}

int systree_write(struct box *b, uint64_t ino, const char *text)
{
    struct where w;
    int rc = usable(b, ino, &w);

    if (rc < 0)
        return rc;
    return kinds[w.kind].write ? kinds[w.kind].write(&w, text) : -EIO;
}
