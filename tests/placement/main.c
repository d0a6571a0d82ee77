/* main.c - engine against reference on random racks under random load.
 *
 * A session is a rack and some hundred lines.  The reference answers while the lines are made, so that they depend on
 * the load; then the engine gets all of them at once.  A session's seed is the run's seed and its number, so that any
 * one of them can be run alone.  Sessions are dealt out to processes. */
#include "compare.h"
#include "mix.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINES_PER_SESSION 150
#define MAX_DIFFERENT 50 /* then a process gives up */
#define MAX_SHOWN 5      /* differences that a process shrinks and prints; the others are counted */

struct options {
    uint64_t seed;
    unsigned cases, jobs;
    long only_session; /* -1: all */
    const char *program, *save_dir, *replay_rack, *replay_lines;
    bool node_lines;
};

struct worker {
    const struct options *o;
    struct engine engine;
    char dir[64];
    struct mix mix;
};

/* ---- a difference */

static void save(const struct worker *w, const json_t *rack, const json_t *lines, unsigned session, char path[512])
{
    size_t i;
    json_t *line;
    char lines_path[512];
    snprintf(lines_path, sizeof lines_path, "%s/%llu-%u.jsonl", w->o->save_dir, (unsigned long long)w->o->seed,
             session);
    FILE *f = fopen(lines_path, "w");
    json_array_foreach((json_t *)lines, i, line) if (f)
    {
        json_dumpf(line, f, JSON_COMPACT);
        fputc('\n', f);
    }
    if (f)
        fclose(f);
    snprintf(path, 512, "%s/%llu-%u.json", w->o->save_dir, (unsigned long long)w->o->seed, session);
    json_dump_file(rack, path, JSON_INDENT(1));
}

static void print_list(const char *title, const json_t *list)
{
    size_t i;
    json_t *j;
    puts(title);
    json_array_foreach((json_t *)list, i, j)
    {
        fputs("  ", stdout);
        json_dumpf(j, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        putchar('\n');
    }
}

static void show(struct worker *w, unsigned session, json_t *rack, json_t *lines)
{
    char why[WHY_SIZE] = "", path[512];
    if (w->mix.different > MAX_SHOWN)
        return;
    shrink(&w->engine, rack, lines);
    int at = first_difference(&w->engine, rack, lines, why);
    save(w, rack, lines, session, path);
    json_t *engine = engine_answers(&w->engine, rack, lines), *reference = reference_answers(rack, lines);
    printf("DIFFERENT: --seed %llu --session %u, smallest form in %s and .jsonl\n  %s\n",
           (unsigned long long)w->o->seed, session, path, why);
    print_list(" nodes", json_object_get(rack, "nodes"));
    print_list(" switches", json_object_get(rack, "switches"));
    print_list(" links", json_object_get(rack, "links"));
    print_list(" lines", lines);
    fputs(" engine    ", stdout);
    json_dumpf(json_array_get(engine, (size_t)(at < 0 ? 0 : at)), stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    fputs("\n reference ", stdout);
    json_dumpf(json_array_get(reference, (size_t)(at < 0 ? 0 : at)), stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    fflush(stdout);
    json_decref(engine);
    json_decref(reference);
}

/* ---- a session */

static json_t *make_lines(struct worker *w, struct rack *r, uint64_t seed, json_t *answers, struct facts *facts)
{
    struct lines l;
    json_t *lines = json_array();
    lines_init(&l, seed, r, w->o->node_lines);
    for (int i = 0; i < LINES_PER_SESSION; i++) {
        json_t *line = lines_next(&l, r), *answer = reference_answer(r, line, &facts[i]);
        lines_saw(&l, answer);
        json_array_append_new(lines, line);
        json_array_append_new(answers, answer);
    }
    return lines;
}

/* After a difference the two may hold different load: the rest of the session says nothing. */
static void judge(struct worker *w, unsigned session, json_t *rack, json_t *lines, const json_t *reference,
                  const struct facts *facts)
{
    json_t *engine = engine_answers(&w->engine, rack, lines);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        char why[WHY_SIZE];
        if (!answers_agree(json_array_get(engine, i), json_array_get(reference, i), why)) {
            w->mix.different++;
            show(w, session, rack, lines);
            break;
        }
        mix_count(&w->mix, json_array_get(lines, i), json_array_get(reference, i), &facts[i]);
    }
    json_decref(engine);
}

static void run_session(struct worker *w, unsigned session)
{
    struct rng g = { w->o->seed * 1000003 + session };
    enum rack_kind kind = (enum rack_kind)(session % N_RACK_KINDS);
    const char *why = NULL;
    struct facts facts[LINES_PER_SESSION];
    json_t *rack = generate_rack(&g, kind), *answers = json_array();
    struct rack *r = rack_new(rack, &why);
    if (!r) {
        fprintf(stderr, "session %u: the generated rack is wrong: %s\n", session, why);
        exit(2);
    }
    json_t *lines = make_lines(w, r, rng_next(&g), answers, facts);
    w->mix.sessions++;
    w->mix.racks[kind]++;
    judge(w, session, rack, lines, answers, facts);
    rack_free(r);
    json_decref(rack);
    json_decref(lines);
    json_decref(answers);
}

/* ---- processes */

static void open_worker(struct worker *w, const struct options *o)
{
    *w = (struct worker){ .o = o };
    snprintf(w->dir, sizeof w->dir, "/tmp/placement-XXXXXX");
    if (!mkdtemp(w->dir)) {
        perror(w->dir);
        exit(2);
    }
    w->engine = (struct engine){ .program = o->program, .dir = w->dir };
}

static void close_worker(struct worker *w)
{
    static const char *const names[] = { "rack.json", "requests.jsonl", "answers.jsonl" };
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        unlink(path);
    }
    rmdir(w->dir);
}

static void work(const struct options *o, unsigned job, struct mix *shared)
{
    struct worker w;
    open_worker(&w, o);
    if (o->only_session >= 0)
        run_session(&w, (unsigned)o->only_session);
    else
        for (unsigned session = job; w.mix.cases < o->cases / o->jobs && w.mix.different < MAX_DIFFERENT;
             session += o->jobs)
            run_session(&w, session);
    shared[job] = w.mix;
    close_worker(&w);
}

static bool run_jobs(const struct options *o, struct mix *sum)
{
    size_t size = o->jobs * sizeof(struct mix);
    struct mix *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool ok = shared != MAP_FAILED;
    unsigned n = 0;
    fflush(stdout);
    for (; ok && n < o->jobs; n++) {
        pid_t pid = fork();
        if (pid == 0) {
            work(o, n, shared);
            exit(0);
        }
        ok = pid > 0;
    }
    for (int status; n && wait(&status) > 0; n--)
        ok = ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    for (unsigned i = 0; ok && i < o->jobs; i++)
        mix_add(sum, &shared[i]);
    return ok;
}

/* Does the engine take lines about nodes?  Without them some rules can't be shown from a rack file. */
static bool takes_node_lines(const struct options *o)
{
    struct worker w;
    open_worker(&w, o);
    json_t *rack = json_loads("{\"nodes\":[{\"name\":\"a\",\"memory_bytes\":1,\"free_bytes\":1,\"block_bytes\":4096,"
                              "\"adapters\":[]}],\"switches\":[],\"links\":[]}",
                              0, NULL);
    json_t *lines =
        json_loads("[{\"node\":\"a\",\"cordoned\":true},{\"node\":\"a\",\"state\":\"unreachable\"}]", 0, NULL);
    json_t *answers = engine_answers(&w.engine, rack, lines);
    if (!answers)
        exit(2);
    bool takes = json_array_size(answers) == 2 && !json_object_get(json_array_get(answers, 0), "error") &&
                 !json_object_get(json_array_get(answers, 1), "error");
    json_decref(rack);
    json_decref(lines);
    json_decref(answers);
    close_worker(&w);
    return takes;
}

/* ---- the reference alone, or both on files */

static json_t *load_lines(const char *path)
{
    json_t *lines = json_array(), *j;
    FILE *f = fopen(path, "r");
    while (f && (j = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)))
        json_array_append_new(lines, j);
    if (f)
        fclose(f);
    return lines;
}

static int replay(const struct options *o)
{
    struct worker w;
    char why[WHY_SIZE];
    json_t *rack = json_load_file(o->replay_rack, 0, NULL), *lines = load_lines(o->replay_lines);
    json_t *reference = rack ? reference_answers(rack, lines) : NULL;
    if (!reference) {
        fprintf(stderr, "%s: no rack file\n", o->replay_rack);
        return 2;
    }
    print_list("the reference answers", reference);
    open_worker(&w, o);
    int at = first_difference(&w.engine, rack, lines, why);
    close_worker(&w);
    if (at >= 0)
        printf("line %d: %s\n", at + 1, why);
    printf("%d passed, %d failed\n", at == -1, at != -1);
    return at != -1;
}

/* ---- options */

static void usage(void)
{
    puts("usage: placement-check --engine MEMLANED [--seed N] [--session N] [--cases N] [--jobs N] [--save DIR]\n"
         "       placement-check --engine MEMLANED --replay RACK.json LINES.jsonl\n\n"
         "  --seed N     of the whole run (default 1); printed\n"
         "  --session N  this one alone, in place of --cases\n"
         "  --cases N    placement requests to compare (80000); the mix is judged from 20000 on\n"
         "  --jobs N     processes (2)\n"
         "  --save DIR   where differing cases go (default .)");
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = { { "engine", 1, NULL, 'e' },  { "seed", 1, NULL, 's' },
                                           { "session", 1, NULL, 'n' }, { "cases", 1, NULL, 'c' },
                                           { "jobs", 1, NULL, 'j' },    { "save", 1, NULL, 'd' },
                                           { "replay", 1, NULL, 'r' },  { NULL, 0, NULL, 0 } };
    *o = (struct options){ .seed = 1, .cases = 80000, .jobs = 2, .only_session = -1, .save_dir = "." };
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (c) {
        case 'e':
            o->program = optarg;
            break;
        case 's':
            o->seed = n;
            break;
        case 'n':
            o->only_session = (long)n;
            o->jobs = 1;
            break;
        case 'c':
            o->cases = (unsigned)n;
            break;
        case 'j':
            o->jobs = n ? (unsigned)n : 1;
            break;
        case 'd':
            o->save_dir = optarg;
            break;
        case 'r':
            o->replay_rack = optarg;
            break;
        default:
            return false;
        }
    }
    o->replay_lines = argv[optind];
    return o->program && !o->replay_rack == !o->replay_lines;
}

int main(int argc, char **argv)
{
    struct options o;
    struct mix mix = { 0 };
    time_t began = time(NULL);
    if (!parse(argc, argv, &o)) {
        usage();
        return 2;
    }
    if (o.replay_rack)
        return replay(&o);
    mkdir(o.save_dir, 0777);
    o.node_lines = takes_node_lines(&o);
    printf("seed %llu, %u processes\n", (unsigned long long)o.seed, o.jobs);
    if (!o.node_lines)
        puts("the engine takes no {\"node\": ...} lines: not_ready, cordoned and compute_not_ready can't be shown");
    bool ran = run_jobs(&o, &mix);
    unsigned thin = mix_print(&mix);
    if (o.cases < 20000 || o.only_session >= 0)
        thin = 0;
    unsigned failed = mix.different + thin + !ran;
    printf("%u sessions, %lld s, %u differences, %u floors of the mix not reached%s\n", mix.sessions,
           (long long)(time(NULL) - began), mix.different, thin, ran ? "" : ", a process failed");
    printf("%u passed, %u failed\n", mix.cases, failed);
    return failed > 0;
}
