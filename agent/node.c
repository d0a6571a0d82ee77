/* node.c - see node.h. */
#include "node.h"

#include "findings.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SWITCH_TIMEOUT_MS 5000

static int init_adapter(struct node *n, const struct adapter_config *ac, unsigned compute_index, struct err *e)
{
    const struct agent_config *c = n->config;
    struct node_adapter *a = &n->adapters[n->n_adapters];
    struct afu_options o = {
        .wire = ac->wire,
        .device = ac->device,
        .ocxl = n->ocxl_loaded ? &n->ocxl : NULL,
        .emulated = strcmp(c->platform, "emulated") == 0,
        .lender = {
            .adapter = ac->wire.name,
            .run_dir = c->run_dir,
            .program = c->lender_program[0] ? c->lender_program : NULL,
            .device = ac->device,
            .ocxl_library = c->ocxl_library,
            .backing = c->lender_backing,
            .backing_dir = c->lender_backing_dir[0] ? c->lender_backing_dir : NULL,
            .numa_nodes = c->lender_numa_nodes[0] ? c->lender_numa_nodes : NULL,
        },
    };
    memset(a, 0, sizeof *a);
    a->config = ac;
    a->compute_index = compute_index;
    if (afu_new(&a->afu, &o, e) < 0)
        return -1;
    n->n_adapters++;
    return 0;
}

static int init_parts(struct node *n, struct err *e)
{
    const struct agent_config *c = n->config;
    unsigned compute = 0;
    struct err ocxl = { 0 };
    n->ocxl_loaded = ocxl_library_load(&n->ocxl, c->ocxl_library, &ocxl) == 0;
    n->ocxl.pulse = &n->pulse;
    if (!n->ocxl_loaded)
        snprintf(n->ocxl_error, sizeof n->ocxl_error, "%.199s", ocxl.detail);
    for (unsigned i = 0; i < c->n_adapters; i++) {
        if (init_adapter(n, &c->adapters[i], compute, e) < 0)
            return -1;
        compute += c->adapters[i].wire.role == WIRE_COMPUTE;
    }
    for (unsigned i = 0; i < c->n_switches; i++) {
        struct node_switch *s = &n->switches[n->n_switches];
        s->config = &c->switches[i];
        if (crossconnect_new(&s->x, s->config->name, s->config->address, agent_config_ms(c, SWITCH_TIMEOUT_MS), e) < 0)
            return -1;
        n->n_switches++;
    }
    return labels_open(&n->labels, c->run_dir, n->boot_id, e);
}

static int init_kernel(struct node *n, struct err *e)
{
    const struct agent_config *c = n->config;
    if (sysfs_init(&n->sys, c->sysfs_root, e) < 0 || sysfs_init(&n->proc, c->procfs_root, e) < 0 ||
        platform_init(&n->platform, c->platform, &n->sys, c->emulator_dir, (long)c->quiesce_ms, e) < 0 ||
        inventory_machine_id(c->machine_id_file, n->machine_id, e) < 0 ||
        inventory_boot_id(&n->proc, n->boot_id, e) < 0)
        return -1;
    n->sys.pulse = n->proc.pulse = n->platform.emulator.pulse = &n->pulse;
    n->children.kill_wait_ms = agent_config_ms(c, n->children.kill_wait_ms);
    n->children.keep[1] = n->sys.root_fd;
    n->children.keep[2] = n->platform.emulator.root_fd;
    struct hotplug_options o = {
        .sys = &n->sys,
        .platform = &n->platform,
        .children = &n->children,
        .block_timeout_ms = agent_config_ms(c, c->block_timeout_ms),
    };
    struct err none = { 0 };
    if (hotplug_new(&n->hotplug, &o, &none) < 0)
        log_warn("hotplug.none", "%s: this node can lend, but not borrow", none.detail);
    return 0;
}

struct foreign { /* blocks that are online in a window before anything was borrowed */
    uint64_t first_addr;
    unsigned count;
};

static void on_foreign(void *arg, uint64_t addr, bool movable)
{
    struct foreign *f = arg;
    if (movable)
        return; /* may come and go */
    if (f->count++ == 0 || addr < f->first_addr)
        f->first_addr = addr;
}

static bool nothing_is_known(void *arg UNUSED, uint64_t addr UNUSED)
{
    return false;
}

/* Before the first agent of a boot ran, nothing is borrowed: memory that is online in a window, for good, is the
 * server's own, and the window is wrong. */
static int check_windows(struct node *n, struct err *e)
{
    const struct agent_config *c = n->config;
    char path[CONFIG_PATH + 8];
    snprintf(path, sizeof path, "%s/labels", c->run_dir);
    if (!n->hotplug || strcmp(c->platform, "emulated") == 0 || access(path, F_OK) == 0)
        return 0;
    for (unsigned i = 0; i < c->n_adapters; i++) {
        const struct wire_adapter *w = &c->adapters[i].wire;
        struct foreign f = { 0 };
        if (w->role != WIRE_COMPUTE)
            continue;
        uint64_t block = hotplug_block_bytes(n->hotplug), start = w->window_addr / block * block;
        uint64_t bytes = w->window_addr - start + w->window_bytes; /* with the blocks that it only has a part of */
        struct range window = { start, (bytes + block - 1) / block * block };
        if (hotplug_scan(n->hotplug, window, nothing_is_known, on_foreign, &f, e) < 0)
            return -1;
        if (f.count > 0)
            return err_set(e, ERR_CONFLICT,
                           "the window of %s covers this server's own memory: %u block%s, the first one at 0x%" PRIx64,
                           w->name, f.count, f.count == 1 ? "" : "s", f.first_addr);
    }
    return 0;
}

int node_init(struct node *n, const struct agent_config *c, int lock_fd, struct err *e)
{
    memset(n, 0, sizeof *n);
    n->config = c;
    n->sys.root_fd = n->proc.root_fd = n->platform.emulator.root_fd = -1;
    children_init(&n->children);
    n->children.keep[0] = lock_fd;
    if (init_kernel(n, e) < 0 || check_windows(n, e) < 0 || init_parts(n, e) < 0)
        return -1;
    kernel_facts_read(&n->kernel, &n->sys, &n->proc, c->boot_dir);
    node_check(n);
    return 0;
}

void node_borrowed(const struct node *n, struct inventory_borrowed *b)
{
    memset(b, 0, sizeof *b);
    for (size_t i = 0; i < n->n_segments; i++) {
        const struct segment *s = &n->segments[i];
        bool named = s->numa_node >= 0 && s->numa_node < INVENTORY_NODES_MAX;
        if (s->counts.total > 0)
            *(named ? &b->bytes[s->numa_node] : &b->nowhere_bytes) +=
                s->label.size_bytes / s->counts.total * s->counts.online;
    }
    if (strcmp(n->config->platform, "emulated") != 0)
        return;
    for (unsigned i = 0; i < n->n_adapters; i++) {
        int node = n->platform.ops->numa_node(&n->platform, n->adapters[i].compute_index, 0);
        if (n->adapters[i].config->wire.role == WIRE_COMPUTE && node >= 0 && node < INVENTORY_NODES_MAX)
            b->only[node] = true;
    }
}

bool node_emulated_adapters(const struct node *n)
{
    return strcmp(n->config->platform, "emulated") == 0 || (n->ocxl_loaded && n->ocxl.emulated);
}

void node_check(struct node *n)
{
    struct inventory_borrowed borrowed;
    bool not_movable[WIRE_MAX_ADAPTERS] = { false };
    node_borrowed(n, &borrowed);
    for (size_t i = 0; i < n->n_segments; i++)
        not_movable[n->segments[i].adapter] |= n->segments[i].counts.online > 0 && !n->segments[i].counts.movable &&
                                               !n->segments[i].unread && !segments_job(n, &n->segments[i]);
    kernel_facts_refresh(&n->kernel, &n->sys);
    const struct findings_source from = {
        .config = n->config,
        .sys = &n->sys,
        .proc = &n->proc,
        .kernel = &n->kernel,
        .ocxl_error = n->ocxl_loaded ? NULL : n->ocxl_error,
        .ocxl_emulated = n->ocxl_loaded && n->ocxl.emulated,
        .borrowed = &borrowed,
        .not_movable = not_movable,
    };
    n->n_findings = findings_read(&from, n->findings);
}

void node_discover(struct node *n)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        afu_ops(n->adapters[i].afu)->start(n->adapters[i].afu);
    segments_discover(n);
}

int node_revive(struct node *n, struct err *e)
{
    pulse_at(&n->pulse, "a file of the kernel");
    if (sysfs_alive(&n->sys))
        return 0; /* one question before each pass: the others live and end with it */
    children_dismiss(&n->children);
    if (sysfs_revive(&n->sys, e) < 0 || sysfs_revive(&n->proc, e) < 0)
        return -1;
    return sysfs_revive(&n->platform.emulator, e);
}

void node_prepare(struct node *n)
{
    bool borrows = false;
    for (unsigned i = 0; i < n->n_adapters; i++)
        borrows |= n->adapters[i].config->wire.role == WIRE_COMPUTE;
    if (borrows && n->hotplug)
        children_prepare(&n->children);
}

void node_done(struct node *n)
{
    children_end(&n->children);
    for (unsigned i = 0; i < n->n_adapters; i++) {
        afu_free(n->adapters[i].afu);
        free(n->adapters[i].buffers);
    }
    for (unsigned i = 0; i < n->n_switches; i++)
        crossconnect_free(n->switches[i].x);
    labels_close(n->labels);
    hotplug_free(n->hotplug);
    platform_done(&n->platform);
    sysfs_done(&n->sys);
    sysfs_done(&n->proc);
    if (n->ocxl_loaded)
        ocxl_library_unload(&n->ocxl);
    free(n->segments);
    free(n->failed);
    memset(n, 0, sizeof *n);
}

struct node_adapter *node_adapter(struct node *n, const char *name)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (strcmp(n->adapters[i].config->wire.name, name) == 0)
            return &n->adapters[i];
    return NULL;
}
