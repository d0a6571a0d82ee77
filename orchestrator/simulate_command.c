#include "simulate_command.h"

#include "json.h"
#include "simulate.h"
#include "units.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "usage: %1$s RACK.json TRACE.csv[.gz] [options]\n"
    "       %1$s RACK.json --generate N [options]\n"
    "\n"
    "Replays requests for memory against a rack file, through the engine that places real ones, and compares "
    "policies.\n"
    "TRACE has the columns vmId,tenantId,cores,ram,vmTypeId,starttime,endtime; times in days; - is standard input.\n"
    "\n"
    "  --policy LIST      nearest, balanced, packed, least_loaded, random, round_robin, first_fit (all of them)\n"
    "  --unit-gib X       GiB for one unit of ram (1); a request is rounded up to 1 GiB\n"
    "  --generate N       no TRACE: N requests made from the seed\n"
    "  --days D           over which they are spread (14)\n"
    "  --seed N           of --generate and of the random baseline (1)\n"
    "  -o, --output FORM  table or json (table)\n"
    "  --html FILE        a page with the table and plots, readable without network\n"
    "  --refusals N       how many refusals of each policy are looked at closely (100)\n"
    "  --dump-refusals D  writes them with the state before each to D/POLICY.jsonl\n";

struct command {
    const char *name; /* as it was called: "memlane simulate" */
    const char *rack_path, *trace_path, *html_path, *dump_dir;
    bool json;
    bool wanted[CHOOSERS];
    uint64_t generate, seed, refusals;
    double days, unit_gib;
};

PRINTF(2, 3) static int wrong(const struct command *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: ", c->name);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "; %s --help shows the options\n", c->name);
    va_end(ap);
    return 2;
}

/* ---- options: 0, or the exit code plus one (so that --help can end with 0) ----------------------------------------
 */

static int parse_policies(struct command *c, const char *text)
{
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *one; (one = strsep(&rest, ","));) {
        size_t i = 0;
        while (i < CHOOSERS && strcmp(one, chooser_names[i]) != 0)
            i++;
        if (i == CHOOSERS && strcmp(one, "all") != 0)
            return wrong(c, "--policy: there is no policy '%.40s'", one);
        for (size_t k = 0; k < CHOOSERS; k++)
            c->wanted[k] = c->wanted[k] || k == i || i == CHOOSERS;
    }
    return 0;
}

static int parse_number(const struct command *c, const char *option, const char *text, uint64_t min, uint64_t max,
                        uint64_t *out)
{
    struct err e;
    uint64_t v;
    if (units_parse_u64(text, &v, &e) < 0 || v < min || v > max)
        return wrong(c, "--%s takes a whole number from %llu to %llu, not '%.40s'", option, (unsigned long long)min,
                     (unsigned long long)max, text);
    *out = v;
    return 0;
}

static int parse_above_zero(const struct command *c, const char *option, const char *text, double max, double *out)
{
    struct err e;
    if (units_parse_double(text, out, &e) < 0 || *out <= 0 || *out > max)
        return wrong(c, "--%s takes a number above 0, at most %g, not '%.40s'", option, max, text);
    return 0;
}

enum { OPT_POLICY = 256, OPT_UNIT, OPT_GENERATE, OPT_DAYS, OPT_SEED, OPT_HTML, OPT_REFUSALS, OPT_DUMP, OPT_HELP };

static int parse_one(struct command *c, int option)
{
    switch (option) {
    case OPT_POLICY:
        return parse_policies(c, optarg);
    case OPT_UNIT:
        return parse_above_zero(c, "unit-gib", optarg, 1024, &c->unit_gib);
    case OPT_GENERATE:
        return parse_number(c, "generate", optarg, 1, 10000000, &c->generate);
    case OPT_DAYS:
        return parse_above_zero(c, "days", optarg, 10000, &c->days);
    case OPT_SEED:
        return parse_number(c, "seed", optarg, 0, INT64_MAX, &c->seed);
    case OPT_REFUSALS:
        return parse_number(c, "refusals", optarg, 0, 100000, &c->refusals);
    case OPT_HTML:
        c->html_path = optarg;
        return 0;
    case OPT_DUMP:
        c->dump_dir = optarg;
        return 0;
    case 'o':
        c->json = !strcmp(optarg, "json");
        return c->json || !strcmp(optarg, "table") ? 0 : wrong(c, "-o takes table or json, not '%.40s'", optarg);
    default:
        return wrong(c, "unknown option, or one without its value");
    }
}

static int parse(struct command *c, int argc, char **argv)
{
    static const struct option known[] = {
        { "policy", 1, NULL, OPT_POLICY },
        { "unit-gib", 1, NULL, OPT_UNIT },
        { "generate", 1, NULL, OPT_GENERATE },
        { "days", 1, NULL, OPT_DAYS },
        { "seed", 1, NULL, OPT_SEED },
        { "html", 1, NULL, OPT_HTML },
        { "refusals", 1, NULL, OPT_REFUSALS },
        { "dump-refusals", 1, NULL, OPT_DUMP },
        { "output", 1, NULL, 'o' },
        { NULL, 0, NULL, 0 },
    };
    int rc = 0;
    opterr = 0;
    for (int option; rc == 0 && (option = getopt_long(argc, argv, "o:", known, NULL)) != -1;)
        rc = parse_one(c, option);
    if (rc)
        return rc;
    int n = argc - optind, expected = c->generate ? 1 : 2;
    if (n < expected)
        return wrong(c, "--simulate needs %s", n == 0 ? "RACK.json and a trace" : "a trace, or --generate N");
    if (n > expected)
        return wrong(c, "one argument too many: '%.60s'", argv[optind + expected]);
    c->rack_path = argv[optind];
    c->trace_path = c->generate ? NULL : argv[optind + 1];
    bool any = false;
    for (size_t i = 0; i < CHOOSERS; i++)
        any = any || c->wanted[i];
    return any ? 0 : parse_policies(c, "all");
}

/* ---- work -----------------------------------------------------------------------------------------------------------
 */

static int write_samples(const struct command *c, const struct sim_result *r, struct err *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.jsonl", c->dump_dir, chooser_names[r->chooser]);
    if (mkdir(c->dump_dir, 0777) < 0 && errno != EEXIST)
        return err_errno(e, ERR_IO, "%.150s", c->dump_dir);
    FILE *f = fopen(path, "w");
    bool ok = f != NULL;
    for (size_t i = 0; ok && i < r->n_sampled; i++)
        ok = fprintf(f, "%s\n", r->samples[i]) > 0;
    if (f && fclose(f) != 0)
        ok = false;
    return ok ? 0 : err_errno(e, ERR_IO, "%.150s", path);
}

static int write_html(const char *path, const struct sim_study *s, struct err *e)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return err_errno(e, ERR_IO, "%.150s", path);
    sim_print_html(s, f);
    bool failed = ferror(f) != 0;
    return fclose(f) != 0 || failed ? err_errno(e, ERR_IO, "%.150s", path) : 0;
}

static int print(const struct command *c, const struct sim_study *s, struct err *e)
{
    if (c->json) {
        CLEANUP(json_freep) json_t *j = sim_json(s);
        if (!j)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
        putchar('\n');
    } else {
        sim_print_table(s, stdout);
    }
    return fflush(stdout) || ferror(stdout) ? err_errno(e, ERR_IO, "standard output") : 0;
}

static void study_done(struct sim_study *s)
{
    for (size_t i = 0; i < s->n; i++)
        sim_result_done(&s->results[i]);
}

static int study(const struct command *c, const struct sim_options *o, struct err *e)
{
    char name[160];
    CLEANUP(study_done) struct sim_study s = { .rack_path = c->rack_path, .trace_name = c->trace_path, .options = o };
    if (c->generate) {
        snprintf(name, sizeof name, "generated (seed %llu)", (unsigned long long)c->seed);
        s.trace_name = name;
    }
    for (size_t i = 0; i < CHOOSERS; i++) {
        if (!c->wanted[i])
            continue;
        if (simulate(&s.results[s.n], o, (enum chooser)i, e) < 0)
            return -1;
        s.n++;
        if (c->dump_dir && write_samples(c, &s.results[s.n - 1], e) < 0)
            return -1;
    }
    sim_study_compare(&s);
    if (c->html_path && write_html(c->html_path, &s, e) < 0)
        return -1;
    return print(c, &s, e);
}

static int run(const struct command *c, struct err *e)
{
    CLEANUP(rack_done) struct rack rack = { 0 };
    CLEANUP(trace_done) struct trace trace = { 0 };
    struct sim_options o = { .rack = &rack,
                             .trace = &trace,
                             .unit_gib = c->unit_gib,
                             .seed = c->seed,
                             .n_samples = (unsigned)c->refusals,
                             .keep_samples = c->dump_dir != NULL };
    if (rack_load(&rack, c->rack_path, e) < 0)
        return -1;
    if ((c->generate ? trace_generate(&trace, c->seed, c->generate, c->days, e)
                     : trace_read(&trace, c->trace_path, e)) < 0)
        return -1;
    return study(c, &o, e);
}

int simulate_command(const char *name, int argc, char **argv)
{
    struct command c = { .name = name, .seed = 1, .refusals = 100, .days = 14, .unit_gib = 1 };
    struct err e = { 0 };
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            printf(usage, name);
            return 0;
        }
    int rc = parse(&c, argc, argv);
    if (rc)
        return rc;
    if (run(&c, &e) < 0) {
        fprintf(stderr, "%s: %s\n", name, e.detail);
        return 1;
    }
    return 0;
}
