/* power.c - see power.h */
#include "power.h"

#include "blocks.h"
#include "donor.h"
#include "log.h"
#include "segments.h"
#include "setup.h"
#include "units.h"
#include "vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define KILL_ROUNDS 200
#define KILL_PAUSE_MS 2

static void kill_process(void *arg, pid_t pid)
{
    (void)arg;
    if (pid > 1 && pid != getpid() && kill(pid, SIGKILL) < 0 && errno != ESRCH)
        log_warn("power.kill", "pid=%d errno=%d", (int)pid, errno);
}

static size_t read_proc(const char *pid, const char *file, char *buf, size_t size)
{
    char path[300];
    CLEANUP(cleanup_close) int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%.20s/%s", pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, buf, size - 1) : -1;
    if (n < 0)
        n = 0;
    buf[n] = '\0';
    return (size_t)n;
}

enum owner { OWNER_OTHER, OWNER_NODE, OWNER_ENDED, OWNER_UNKNOWN };

/* One of our programs without arguments is in execve(); or it has ended, and has no memory either. */
static enum owner who_is_without_arguments(const char *pid)
{
    char pages[64];

    read_proc(pid, "statm", pages, sizeof pages);
    return strncmp(pages, "0 ", 2) == 0 ? OWNER_ENDED : OWNER_UNKNOWN;
}

/* The node's is one of our programs that is run with something of the node's own directory.  One that was listed and is
 * gone may have been anybody's. */
static enum owner find_owner(const char *pid, const char *dir)
{
    char comm[64], args[4096];
    size_t len, dir_len = strlen(dir);

    if (read_proc(pid, "comm", comm, sizeof comm) == 0)
        return OWNER_UNKNOWN;
    if (strncmp(comm, "memlane-", 8) != 0 || strncmp(comm, "memlane-emulat", 14) == 0)
        return OWNER_OTHER;
    len = read_proc(pid, "cmdline", args, sizeof args);
    if (len == 0)
        return who_is_without_arguments(pid);
    for (const char *at = args; at < args + len; at += strlen(at) + 1) {
        const char *found = strstr(at, dir);

        if (found && (found[dir_len] == '/' || found[dir_len] == '\0'))
            return OWNER_NODE;
    }
    return OWNER_OTHER;
}

/* Agents whose node has no adapter open, and what an agent started: found by their arguments.  Answers how many were
 * or may have been there; '*ended' stands for those that have ended and wait for their parents. */
static unsigned kill_by_arguments(const struct box_node *n, uint64_t *ended)
{
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    unsigned left = 0;

    *ended = 0;
    if (!proc)
        return 0;
    while ((entry = readdir(proc)) != NULL) {
        struct err e = { 0 };
        enum owner owner;
        uint64_t pid;

        if (units_parse_u64(entry->d_name, &pid, &e) < 0)
            continue;
        owner = find_owner(entry->d_name, n->dir);
        if (owner == OWNER_NODE)
            kill_process(NULL, (pid_t)pid);
        if (owner == OWNER_NODE || owner == OWNER_UNKNOWN)
            left++;
        if (owner == OWNER_ENDED)
            *ended += pid;
    }
    closedir(proc);
    return left;
}

/* Until none is left: who lives on would hold a lock in the directory that the next boot finds empty.  An agent forks a
 * lender while /proc is read, by a child that ends at once: it may be listed and have ended when it is looked at, and
 * the lender may not be listed yet.  So none may have ended meanwhile, either. */
static void kill_all(const struct box_node *n)
{
    uint64_t ended = 0, before;
    unsigned left;

    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        before = ended;
        left = kill_by_arguments(n, &ended);
        if (left == 0 && ended == before)
            return;
        poll(NULL, 0, KILL_PAUSE_MS);
    }
    log_warn("power.kill", "node=%s: somebody may live on", n->spec->name);
}

static void reset_adapter(struct box_adapter *a)
{
    segments_drop_all(a);
    donor_detach(a);
    adapter_reset(a->regs, a->spec->role == WIRE_MEMORY);
    a->n_faults = 0;
    /* The value is the role, for whoever reads the trace. */
    trace_event(a->node->box->trace, a->node->spec->name, a->spec->name, "reset", 0, a->spec->role == WIRE_MEMORY,
                true);
}

void power_off(struct emulator *em, struct box_node *n, const char *why)
{
    if (!n->state->on)
        return;
    log_warn("node.off", "node=%s reason=%s", n->spec->name, why);
    n->state->on = false;
    if (n->vm)
        vm_power_off(n->vm);
    trace_event(em->trace, n->spec->name, "", "power_off", 0, 0, true);
    link_drop_node(em->link, n, kill_process, NULL);
    switches_drop_node(em->switches, n, kill_process, NULL);
    kill_all(n);
    for (unsigned i = 0; i < n->n_adapters; i++)
        reset_adapter(&n->adapters[i]);
    blocks_reboot(n);
    setup_forget_node(n);
    box_changed(em->box, NULL);
    sysmem_retry(em->sysmem);
}

static int new_boot_id(struct box_node *n, struct err *e)
{
    unsigned char r[16];

    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        return err_errno(e, ERR_IO, "getrandom");
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40); /* a random UUID, as Linux makes them */
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    snprintf(n->state->boot_id, sizeof n->state->boot_id,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3], r[4], r[5],
             r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
    return 0;
}

int power_on(struct emulator *em, struct box_node *n, struct err *e)
{
    if (n->state->on)
        return 0;
    if (new_boot_id(n, e) < 0)
        return -1;
    n->state->on = true;
    n->used_mtime_ns = -1;
    trace_event(em->trace, n->spec->name, "", "power_on", 0, 0, true);
    log_info("node.on", "node=%s boot_id=%s", n->spec->name, n->state->boot_id);
    return 0;
}

int power_cold_start(struct emulator *em, struct err *e)
{
    for (size_t i = 0; i < em->box->n_nodes; i++) {
        struct box_node *n = &em->box->nodes[i];

        for (unsigned a = 0; a < n->n_adapters; a++)
            reset_adapter(&n->adapters[a]);
        if (power_on(em, n, e) < 0)
            return -1;
    }
    return 0;
}
