/* checkup.c - see checkup.h.  First everything is read into 'page', then one of two printers prints it. */
#include "checkup.h"

#include "block.h"
#include "client.h"
#include "findings.h"
#include "hotplug.h"
#include "inventory.h"
#include "json.h"
#include "ocxl.h"
#include "platform.h"
#include "units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ASK_TIMEOUT_MS 2000

struct page {
    const struct agent_config *config;
    struct kernel_facts kernel;
    bool running;           /* an agent of this configuration */
    char orchestrator[128]; /* what it answers */
    char memory_error[WIRE_TEXT];
    struct inventory_memory memory;
    uint64_t block_bytes; /* 0: no hot-plug */
    bool probe;
    char ocxl_error[WIRE_TEXT]; /* empty: loaded */
    bool ocxl_emulated;
    struct inventory_borrowed borrowed;
    unsigned n_online[WIRE_MAX_ADAPTERS]; /* blocks in a compute adapter's window */
    bool not_movable[WIRE_MAX_ADAPTERS];  /* one of them at least */
    uint64_t huge_page_bytes;             /* memory is lent in these; 0: in small pages */
    uint64_t huge_bytes, huge_free_bytes;
    unsigned n_findings, n_errors, n_warnings;
    struct wire_finding findings[WIRE_MAX_FINDINGS];
};

static const char *const severity_names[] = { "info", "warning", "error" };

/* ---- reading ------------------------------------------------------------------------------------------------------
 */
static void ask_orchestrator(struct page *p)
{
    struct client *client;
    struct client_answer answer = { 0 };
    struct err e = { 0 };
    const struct client_options o = { .url = p->config->url,
                                      .ca_file = p->config->ca_file[0] ? p->config->ca_file : NULL,
                                      .user_agent = "memlane-agent/" MEMLANE_VERSION,
                                      .connect_timeout_ms = ASK_TIMEOUT_MS };
    if (client_new(&client, &o, &e) == 0) {
        if (client_request(client, "GET", "/healthz", NULL, NULL, ASK_TIMEOUT_MS, &answer, &e) == 0) {
            snprintf(p->orchestrator, sizeof p->orchestrator, "%s",
                     answer.status == 200 ? "answers" : "answers, but is not well");
            client_answer_done(&answer);
        }
        client_free(client);
    }
    if (p->orchestrator[0])
        return;
    size_t url = strlen(p->config->url); /* which is printed already */
    bool again = strncmp(e.detail, p->config->url, url) == 0 && strncmp(e.detail + url, ": ", 2) == 0;
    snprintf(p->orchestrator, sizeof p->orchestrator, "does not answer: %.100s", e.detail + (again ? url + 2 : 0));
}

/* The node's lock is held as long as an agent, or a child of one, lives. */
static bool agent_runs(const struct agent_config *c)
{
    char path[CONFIG_PATH + 8];
    snprintf(path, sizeof path, "%s/lock", c->run_dir);
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

static void read_ocxl(struct page *p)
{
    struct ocxl_library lib;
    struct err e = { 0 };
    if (ocxl_library_load(&lib, p->config->ocxl_library, &e) == 0) {
        p->ocxl_emulated = lib.emulated;
        ocxl_library_unload(&lib);
    } else
        snprintf(p->ocxl_error, sizeof p->ocxl_error, "%.199s", e.detail);
}

static bool nothing_is_known(void *arg, uint64_t addr)
{
    (void)arg;
    (void)addr;
    return false;
}

struct window { /* being searched for blocks */
    struct page *page;
    const struct platform *platform;
    unsigned adapter, compute_index;
};

static void count_online(void *arg, uint64_t addr, bool movable)
{
    struct window *w = arg;
    struct page *p = w->page;
    int node = w->platform->ops->numa_node(w->platform, w->compute_index, addr / p->block_bytes);
    p->n_online[w->adapter]++;
    p->not_movable[w->adapter] |= !movable;
    if (node >= 0 && node < INVENTORY_NODES_MAX)
        p->borrowed.bytes[node] += p->block_bytes;
}

/* What is borrowed now: the blocks that are online in the adapters' windows. */
static void read_borrowed(struct page *p, const struct sysfs *sys)
{
    struct hotplug *hp;
    struct err e = { 0 };
    const struct hotplug_options o = { .sys = sys };
    struct platform platform;
    if (platform_init(&platform, p->config->platform, sys, p->config->emulator_dir, 0, &e) < 0)
        return;
    if (hotplug_new(&hp, &o, &e) < 0) {
        platform_done(&platform);
        return;
    }
    p->block_bytes = hotplug_block_bytes(hp);
    p->probe = hotplug_has_probe(hp);
    struct window at = { .page = p, .platform = &platform };
    for (at.adapter = 0; at.adapter < p->config->n_adapters; at.adapter++) {
        const struct wire_adapter *w = &p->config->adapters[at.adapter].wire;
        struct range window = { w->window_addr, w->window_bytes };
        if (w->role != WIRE_COMPUTE)
            continue;
        if (hotplug_scan(hp, window, nothing_is_known, count_online, &at, &e) < 0)
            p->n_online[at.adapter] = 0; /* the blocks cannot be read: findings say so */
        at.compute_index++;
    }
    hotplug_free(hp);
    platform_done(&platform);
}

static void read_huge_pages(struct page *p, const struct sysfs *sys)
{
    struct statfs fs;
    if (!p->config->lender_backing_dir[0] || statfs(p->config->lender_backing_dir, &fs) < 0 ||
        fs.f_type != HUGETLBFS_MAGIC)
        return;
    p->huge_page_bytes = (uint64_t)fs.f_bsize;
    struct inventory_nodes nodes = inventory_lending_nodes(sys, p->config);
    p->huge_bytes = inventory_huge_pages(sys, &nodes, p->huge_page_bytes, &p->huge_free_bytes);
}

static void count_findings(struct page *p)
{
    for (unsigned i = 0; i < p->n_findings; i++) {
        p->n_errors += p->findings[i].severity == WIRE_ERROR;
        p->n_warnings += p->findings[i].severity == WIRE_WARNING;
    }
}

static int read_page(struct page *p, struct err *e)
{
    struct sysfs sys = { .root_fd = -1 }, proc = { .root_fd = -1 };
    struct err failed = { 0 };
    if (sysfs_init(&sys, p->config->sysfs_root, e) < 0)
        return -1;
    if (sysfs_init(&proc, p->config->procfs_root, e) < 0) {
        sysfs_done(&sys);
        return -1;
    }
    kernel_facts_read(&p->kernel, &sys, &proc, p->config->boot_dir);
    p->running = agent_runs(p->config);
    ask_orchestrator(p);
    read_borrowed(p, &sys);
    if (inventory_memory(&sys, &proc, &p->borrowed, &p->memory, &failed) < 0)
        snprintf(p->memory_error, sizeof p->memory_error, "%.199s", failed.detail);
    read_huge_pages(p, &sys);
    read_ocxl(p);
    const struct findings_source from = {
        .config = p->config,
        .sys = &sys,
        .proc = &proc,
        .kernel = &p->kernel,
        .ocxl_error = p->ocxl_error[0] ? p->ocxl_error : NULL,
        .ocxl_emulated = p->ocxl_emulated,
        .borrowed = &p->borrowed,
        .not_movable = p->not_movable,
    };
    p->n_findings = findings_read(&from, p->findings);
    count_findings(p);
    sysfs_done(&sys);
    sysfs_done(&proc);
    return 0;
}

/* ---- text ---------------------------------------------------------------------------------------------------------
 */
static void print_kernel(const struct page *p)
{
    static const char *const says[] = { "?", "=n", "=y" };
    const struct kernel_facts *k = &p->kernel;
    printf("kernel        %s%s%s%s\n", k->release[0] ? k->release : "unknown",
           k->boot_policy[0] ? ", memhp_default_state=" : "", k->boot_policy, k->movable_node ? ", movable_node" : "");
    if (!k->release[0])
        return; /* an emulated node's /proc does not say */
    if (k->options[0] == KERNEL_UNKNOWN) {
        printf("              its build configuration cannot be read (neither /proc/config.gz nor %s/config-%s)\n",
               p->config->boot_dir, k->release);
        return;
    }
    for (unsigned i = 0; i < KERNEL_N_OPTIONS; i++)
        printf("%s%s%s", i ? " " : "              ", kernel_option_names[i], says[k->options[i]]);
    printf("\n");
}

static void print_memory(const struct page *p)
{
    char total[UNITS_SIZE_MAX], unused[UNITS_SIZE_MAX];
    if (p->memory_error[0]) {
        printf("memory        unknown: %s\n", p->memory_error);
        return;
    }
    printf("memory        %s, %s free\n", units_format_size(p->memory.memory_bytes, total),
           units_format_size(p->memory.free_bytes, unused));
    for (unsigned i = 0; i < INVENTORY_NODES_MAX; i++) {
        char borrowed[UNITS_SIZE_MAX];
        if (p->memory.nodes[i].total_bytes == 0)
            continue;
        printf("              NUMA node %u: %s, %s free", i, units_format_size(p->memory.nodes[i].total_bytes, total),
               units_format_size(p->memory.nodes[i].free_bytes, unused));
        if (p->memory.nodes[i].borrowed_bytes > 0)
            printf(", %s of it borrowed", units_format_size(p->memory.nodes[i].borrowed_bytes, borrowed));
        printf("\n");
    }
}

static void print_blocks(const struct page *p)
{
    char size[UNITS_SIZE_MAX];
    if (p->block_bytes == 0)
        printf("hot-plug      none in this kernel\n");
    else
        printf("hot-plug      blocks of %s, %s; auto-online policy: %s\n", units_format_size(p->block_bytes, size),
               p->probe ? "created through probe" : "awaited from the platform",
               p->kernel.policy[0] ? p->kernel.policy : "unknown");
}

/* What an adapter is used for now. */
static void print_use(const struct page *p, unsigned adapter)
{
    char a[UNITS_SIZE_MAX], b[UNITS_SIZE_MAX];
    if (p->config->adapters[adapter].wire.role == WIRE_MEMORY) {
        if (p->huge_page_bytes > 0)
            printf("              lends in huge pages of %s: %" PRIu64 " reserved, %" PRIu64 " of them free\n",
                   units_format_size(p->huge_page_bytes, a), p->huge_bytes / p->huge_page_bytes,
                   p->huge_free_bytes / p->huge_page_bytes);
        return;
    }
    if (p->n_online[adapter] == 0) {
        printf("              borrows nothing now\n");
        return;
    }
    printf("              borrows %s now: %u memory block%s of %s\n",
           units_format_size(p->n_online[adapter] * p->block_bytes, a), p->n_online[adapter],
           p->n_online[adapter] == 1 ? "" : "s", units_format_size(p->block_bytes, b));
}

static void print_parts(const struct page *p)
{
    const struct agent_config *c = p->config;
    char size[UNITS_SIZE_MAX];
    printf("libocxl       %s\n", p->ocxl_error[0]   ? "does not load"
                                 : p->ocxl_emulated ? "loads: an emulator's"
                                                    : "loads");
    for (unsigned i = 0; i < c->n_adapters; i++) {
        const struct wire_adapter *w = &c->adapters[i].wire;
        printf("adapter       %s: %s, %u ports, %s", w->name,
               w->role == WIRE_MEMORY ? "lends memory" : "borrows memory", w->ports, c->adapters[i].device);
        if (w->role == WIRE_COMPUTE)
            printf(", window of %s at 0x%llx", units_format_size(w->window_bytes, size),
                   (unsigned long long)w->window_addr);
        printf("\n");
        print_use(p, i);
    }
    for (unsigned i = 0; i < c->n_switches; i++)
        printf("switch        %s at %s\n", c->switches[i].name, c->switches[i].address);
}

/* Gravest first. */
static void print_findings(const struct page *p)
{
    for (int severity = WIRE_ERROR; severity >= WIRE_INFO; severity--)
        for (unsigned i = 0; i < p->n_findings; i++)
            if ((int)p->findings[i].severity == severity)
                printf("\n%-8s %s: %s\n         -> %s\n", severity_names[severity], p->findings[i].code,
                       p->findings[i].detail, p->findings[i].advice);
    if (p->n_errors + p->n_warnings == 0)
        printf("\nok: nothing is wrong\n");
    else
        printf("\n%u error%s, %u warning%s\n", p->n_errors, p->n_errors == 1 ? "" : "s", p->n_warnings,
               p->n_warnings == 1 ? "" : "s");
}

static void print_text(const struct page *p)
{
    printf("node          %s, platform %s, memlane-agent " MEMLANE_VERSION " %s\n", p->config->name,
           p->config->platform, p->running ? "is running" : "is not running");
    printf("orchestrator  %s %s\n", p->config->url, p->orchestrator);
    print_kernel(p);
    print_memory(p);
    print_blocks(p);
    print_parts(p);
    print_findings(p);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------
 */
static json_t *options_of(const struct kernel_facts *k)
{
    json_t *j = json_object();
    for (unsigned i = 0; i < KERNEL_N_OPTIONS; i++)
        json_object_set_new(j, kernel_option_names[i],
                            k->options[i] == KERNEL_UNKNOWN ? json_null() : json_boolean(k->options[i] == KERNEL_YES));
    return j;
}

static json_t *findings_of(const struct page *p)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < p->n_findings; i++) {
        const struct wire_finding *w = &p->findings[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "code", w->code, "severity",
                                              severity_names[w->severity], "detail", w->detail, "advice", w->advice));
    }
    return list;
}

static json_t *adapters_of(const struct agent_config *c)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < c->n_adapters; i++) {
        const struct wire_adapter *w = &c->adapters[i].wire;
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:s}", "name", w->name, "role",
                                              w->role == WIRE_MEMORY ? "memory" : "compute", "ports", (int)w->ports,
                                              "device", c->adapters[i].device));
    }
    return list;
}

static int print_json(const struct page *p)
{
    json_t *j = json_pack("{s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:b, s:s, s:o, s:o, s:b}", "node", p->config->name,
                          "platform", p->config->platform, "agent_running", p->running, "orchestrator", p->orchestrator,
                          "kernel", p->kernel.release, "kernel_options", options_of(&p->kernel), "memory_bytes",
                          p->memory_error[0] ? json_null() : json_u64(p->memory.memory_bytes), "free_bytes",
                          p->memory_error[0] ? json_null() : json_u64(p->memory.free_bytes), "probe", p->probe,
                          "auto_online_policy", p->kernel.policy, "adapters", adapters_of(p->config), "findings",
                          findings_of(p), "ok", p->n_errors == 0);
    if (j)
        json_object_set_new(j, "block_bytes", json_u64(p->block_bytes));
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    if (text)
        puts(text);
    free(text);
    json_decref(j);
    return text ? 0 : -1;
}

int checkup_print(const struct agent_config *c, bool json)
{
    static struct page page; /* too large for the stack's liking */
    struct err e = { 0 };
    page.config = c;
    if (read_page(&page, &e) < 0) {
        fprintf(stderr, "memlane-agent: %s\n", e.detail);
        return 1;
    }
    if (!json)
        print_text(&page);
    else if (print_json(&page) < 0) {
        fprintf(stderr, "memlane-agent: out of memory\n");
        return 1;
    }
    return page.n_errors ? 1 : 0;
}
