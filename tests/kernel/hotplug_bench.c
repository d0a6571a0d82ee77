/* hotplug_bench.c - the agent's hot-plug code against a shell loop that does the same writes, on this machine's real
 * kernel.
 *
 *   hotplug-bench START BYTES ROUNDS
 *
 * The blocks of the range have to be there, offline, and nobody else's.  Each round onlines and offlines all of them
 * twice: by hotplug.h (child, zones, touch, read back), and by `sh`; which of both is first alternates.  One more round
 * before them is not counted: it makes page tables and descriptors.  Prints a line a round and "ratio R": the quotient
 * of the medians over all rounds. */
#include "hotplug.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 32

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int order(struct hotplug *hp, struct range r, bool online, struct err *e)
{
    struct hotplug_result result;
    int rc = 0;
    if (hotplug_start(hp, r, online, 0, e) < 0)
        return -1;
    while (!hotplug_tend(hp, 1000, NULL, NULL, &result, &rc, e))
        continue;
    return rc;
}

static int by_agent(struct hotplug *hp, struct range r, struct err *e)
{
    return order(hp, r, true, e) < 0 ? -1 : order(hp, r, false, e);
}

static int by_shell(struct range r, uint64_t block_bytes)
{
    char script[512];
    uint64_t first = r.start_addr / block_bytes, last = first + r.size_bytes / block_bytes - 1;
    snprintf(script, sizeof script,
             "cd /sys/devices/system/memory; i=%" PRIu64 "; while [ $i -le %" PRIu64 " ]; do "
             "echo online_movable >memory$i/state || exit 1; i=$((i+1)); done; i=%" PRIu64 "; while [ $i -ge %" PRIu64
             " ]; do "
             "echo offline >memory$i/state || exit 1; i=$((i-1)); done",
             first, last, last, first);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, compare);
    return v[n / 2];
}

/* Carries out all of it once, and says how long that took. */
static int measure(struct hotplug *hp, struct range r, bool agent, double *took_ms, struct err *e)
{
    double began = now_ms();
    if (agent ? by_agent(hp, r, e) < 0 : by_shell(r, hotplug_block_bytes(hp)) != 0)
        return agent ? -1 : err_set(e, ERR_IO, "the shell loop failed");
    *took_ms = now_ms() - began;
    return 0;
}

static int run(struct hotplug *hp, struct range r, unsigned rounds, struct err *e)
{
    double agent[ROUNDS_MAX], shell[ROUNDS_MAX], a = 0, s = 0;
    for (unsigned i = 0; i <= rounds; i++) {
        bool agent_first = i % 2 == 0;
        if (measure(hp, r, agent_first, agent_first ? &a : &s, e) < 0 ||
            measure(hp, r, !agent_first, agent_first ? &s : &a, e) < 0)
            return -1;
        printf("agent %.0f ms, shell %.0f ms%s\n", a, s, i == 0 ? " (not counted)" : "");
        fflush(stdout);
        if (i == 0)
            continue;
        agent[i - 1] = a;
        shell[i - 1] = s;
    }
    printf("ratio %.3f\n", median(agent, rounds) / median(shell, rounds));
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = { 0 };
    struct sysfs sys;
    struct platform platform;
    struct children children;
    struct hotplug *hp;
    if (argc != 4)
        return 2;
    struct range r = { strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0) };
    unsigned rounds = (unsigned)strtoul(argv[3], NULL, 10);
    if (rounds == 0 || rounds > ROUNDS_MAX)
        return 2;
    children_init(&children);
    struct hotplug_options o = { .sys = &sys, .platform = &platform, .children = &children, .block_timeout_ms = 30000 };
    if (sysfs_init(&sys, "/sys", &e) == 0)
        children.keep[0] = sys.root_fd;
    if (e.code != 0 || platform_init(&platform, "linux", &sys, NULL, 1, &e) < 0 || hotplug_new(&hp, &o, &e) < 0 ||
        run(hp, r, rounds, &e) < 0) {
        fprintf(stderr, "hotplug-bench: %s\n", e.detail);
        return 1;
    }
    return 0;
}
