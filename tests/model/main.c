/* The model test (F26): model-check [--seeds N] [--first N] [--steps N] [--jobs N] [--no-shrink] [--tell].
 *
 * Each seed is a story of random requests, failures and restarts, run in a process of its own with the real core, its
 * real database and simulated machines.  A story that fails is cut down to a short one that still fails in the same
 * way, and printed; with --tell everything that happens in it is printed too.  The last line is "N passed, N failed".
 */
#include "story.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct options {
    unsigned long seeds, first, steps, jobs;
    bool shrink, tell;
};

struct outcome {
    bool failed;
    size_t at; /* the step under way */
    char why[400];
};

static volatile size_t *shared_at;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = { "rack.db",      "rack.db-wal",  "rack.db-shm",
                                         "rack.db.lock", "rack.db-lock", "backup.db" };
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* Runs a story in a child; what the child says last is the reason. */
static struct outcome run(const struct move *steps, size_t n)
{
    struct outcome o = { 0 };
    int out[2], status = 0;
    char dir[] = "/dev/shm/memlane-model-XXXXXX";
    if (!mkdtemp(dir) || pipe(out) < 0) {
        perror("model-check");
        exit(2);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        alarm(300);
        story_run(steps, n, dir, shared_at, false);
        _exit(0);
    }
    close(out[1]);
    char buf[4096];
    size_t have = 0;
    ssize_t got;
    while ((got = read(out[0], buf, sizeof buf)) > 0) { /* the last few hundred characters */
        size_t take = (size_t)got < sizeof o.why - 1 ? (size_t)got : sizeof o.why - 1;
        if (have + take > sizeof o.why - 1) {
            memmove(o.why, o.why + have + take - (sizeof o.why - 1), sizeof o.why - 1 - take);
            have = sizeof o.why - 1 - take;
        }
        memcpy(o.why + have, buf + got - take, take);
        have += take;
        o.why[have] = '\0';
    }
    close(out[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    o.failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    o.at = *shared_at;
    char *last = strrchr(o.why, '\n');
    if (last && last[1])
        memmove(o.why, last + 1, strlen(last + 1) + 1);
    if (o.failed && WIFSIGNALED(status))
        snprintf(o.why + strlen(o.why), sizeof o.why - strlen(o.why), " (signal %d)", WTERMSIG(status));
    remove_dir(dir);
    return o;
}

/* Once more, with all that happens in it. */
static void tell(const struct move *steps, size_t n)
{
    int status;
    char dir[] = "/dev/shm/memlane-model-XXXXXX";
    if (!mkdtemp(dir)) {
        perror("model-check");
        exit(2);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        story_run(steps, n, dir, shared_at, true);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    printf("\n");
    remove_dir(dir);
}

/* The same kind of failure: the words without names and numbers. */
static bool same_reason(const char *a, const char *b)
{
    while (*a || *b) {
        while (*a && strchr("0123456789abcdefn/:,", *a))
            a++;
        while (*b && strchr("0123456789abcdefn/:,", *b))
            b++;
        if (*a != *b)
            return false;
        if (*a) {
            a++;
            b++;
        }
    }
    return true;
}

/* Leaves out ever smaller pieces as long as it still fails. */
static size_t shrink(struct move *steps, size_t n, const char *why)
{
    struct move *less = malloc(n * sizeof *less);
    double end = seconds() + 90;
    for (size_t piece = n / 2; piece >= 1; piece /= 2) {
        bool again = true;
        while (again && seconds() < end) {
            again = false;
            for (size_t from = 0; from < n && seconds() < end;) {
                size_t cut = from + piece > n ? n - from : piece;
                memcpy(less, steps, from * sizeof *less);
                memcpy(less + from, steps + from + cut, (n - from - cut) * sizeof *less);
                struct outcome o = run(less, n - cut);
                if (o.failed && same_reason(o.why, why)) {
                    n -= cut;
                    memcpy(steps, less, n * sizeof *less);
                    again = piece == 1;
                } else {
                    from += piece;
                }
            }
        }
    }
    free(less);
    return n;
}

static bool run_seed(const struct options *o, unsigned long seed)
{
    struct move *steps = calloc(o->steps, sizeof *steps);
    double began = seconds();
    story_make(steps, o->steps, seed);
    struct outcome r = run(steps, o->steps);
    printf("   seed %-6lu %s  %lu steps in %.1f s: %s\n", seed, r.failed ? "FAILED" : "ok", o->steps, seconds() - began,
           r.failed ? "" : r.why);
    if (r.failed) {
        size_t n = r.at < o->steps ? r.at + 1 : o->steps;
        printf("      at step %zu: %s\n", r.at + 1, r.why);
        if (o->shrink) {
            n = shrink(steps, n, r.why);
            r = run(steps, n);
            printf("      %zu steps are enough: %s\n", n, r.why);
        }
        if (o->tell)
            tell(steps, n);
        else if (o->shrink)
            story_print(steps, n);
    }
    fflush(stdout);
    free(steps);
    return !r.failed;
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long v = text ? strtoul(text, &end, 10) : 0;
    if (!text || *end || end == text) {
        fprintf(stderr, "model-check: a number is needed\n");
        exit(2);
    }
    return v;
}

static void parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--no-shrink"))
            o->shrink = false;
        else if (!strcmp(argv[i], "--tell"))
            o->tell = true;
        else if (!strcmp(argv[i], "--seeds"))
            o->seeds = number(argv[++i]);
        else if (!strcmp(argv[i], "--first"))
            o->first = number(argv[++i]);
        else if (!strcmp(argv[i], "--steps"))
            o->steps = number(argv[++i]);
        else if (!strcmp(argv[i], "--jobs"))
            o->jobs = number(argv[++i]);
        else {
            fprintf(stderr,
                    "usage: model-check [--seeds N] [--first N] [--steps N] [--jobs N] [--no-shrink] [--tell]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options o = { .seeds = 20, .first = 1, .steps = 20000, .jobs = 2, .shrink = true };
    unsigned long failed = 0;
    parse(&o, argc, argv);
    for (unsigned long j = 0; j < o.jobs; j++) {
        if (fork() != 0)
            continue;
        shared_at = mmap(NULL, sizeof *shared_at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        unsigned long bad = 0;
        for (unsigned long s = j; s < o.seeds; s += o.jobs)
            bad += !run_seed(&o, o.first + s);
        _exit(bad > 250 ? 250 : (int)bad);
    }
    int status;
    while (wait(&status) > 0)
        failed += WIFEXITED(status) ? (unsigned long)WEXITSTATUS(status) : 1;
    printf("%lu passed, %lu failed\n", o.seeds - failed, failed);
    return failed != 0;
}
