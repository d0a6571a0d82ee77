/* simulate_trace.c - see simulate_trace.h. */
#include "simulate_trace.h"

#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define LINE_MAX_LEN 1024
#define REQUESTS_MAX 100000000u
#define DAYS_MAX 100000.0
#define RAM_MAX 1e9

enum column { VM_ID, TENANT_ID, CORES, RAM, VM_TYPE_ID, START, END, N_COLUMNS };
static const char *const columns[N_COLUMNS] = {
    "vmId", "tenantId", "cores", "ram", "vmTypeId", "starttime", "endtime"
};

struct reader {
    const char *path;
    gzFile file;
    uint64_t line;
    struct trace trace;
    size_t cap;
};

static void reader_done(struct reader *r)
{
    if (r->file)
        gzclose(r->file);
    trace_done(&r->trace);
}

PRINTF(4, 5) static int bad(const struct reader *r, const char *column, struct err *e, const char *fmt, ...)
{
    char what[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_field(e, ERR_FIELD_INVALID, column ? column : "", "%.60s:%llu: %s%s%s", r->path,
                     (unsigned long long)r->line, column ? column : "", column ? ": " : "", what);
}

static int add(struct trace *t, size_t *cap, struct trace_request q, struct err *e)
{
    if (t->n == *cap) {
        size_t more = *cap ? 2 * *cap : 4096;
        struct trace_request *list = reallocarray(t->requests, more, sizeof *list);
        if (!list)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        t->requests = list;
        *cap = more;
    }
    q.number = t->n;
    t->requests[t->n++] = q;
    return 0;
}

/* Text that comes from the file, fit to be shown: at most 32 characters, the rest as dots. */
static const char *shown(const char *text, char buf[40])
{
    size_t n = 0;
    for (; text[n] && n < 32; n++)
        buf[n] = text[n];
    for (size_t i = 0; i < n; i++)
        if (!isprint((unsigned char)buf[i]))
            buf[i] = '?';
    snprintf(buf + n, 40 - n, "%s", text[n] ? "..." : "");
    return buf;
}

/* Cuts the line at its commas. */
static int split(const struct reader *r, char *text, char *cells[N_COLUMNS], struct err *e)
{
    size_t n = 0;
    for (char *rest = text; rest; n++) {
        char *cell = strsep(&rest, ",");
        if (n < N_COLUMNS)
            cells[n] = cell;
    }
    if (n != N_COLUMNS)
        return bad(r, NULL, e, "%zu columns instead of %d", n, N_COLUMNS);
    return 0;
}

static int header(const struct reader *r, char *cells[N_COLUMNS], struct err *e)
{
    char buf[40];
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (strcmp(cells[i], columns[i]) != 0)
            return bad(r, columns[i], e, "the first line has '%s' in this column", shown(cells[i], buf));
    return 0;
}

static int number(const struct reader *r, char *cells[N_COLUMNS], enum column c, double min, double max, double *out,
                  struct err *e)
{
    char buf[40];
    struct err why;
    double v;
    if (c == END && !strcmp(cells[c], "inf"))
        v = INFINITY;
    else if (cells[c][strspn(cells[c], "0123456789.eE+-")] || units_parse_double(cells[c], &v, &why) < 0)
        return bad(r, columns[c], e, "'%s' is not a number", shown(cells[c], buf));
    else if (v < min || v > max)
        return bad(r, columns[c], e, "'%s' is not from %g to %g", shown(cells[c], buf), min, max);
    *out = v;
    return 0;
}

static int request(struct reader *r, char *cells[N_COLUMNS], struct err *e)
{
    char buf[40];
    struct err why;
    struct trace_request q;
    if (units_parse_u64(cells[VM_ID], &q.vm_id, &why) < 0)
        return bad(r, columns[VM_ID], e, "'%s' is not a whole number", shown(cells[VM_ID], buf));
    if (number(r, cells, RAM, 0, RAM_MAX, &q.ram, e) < 0 ||
        number(r, cells, START, -DAYS_MAX, DAYS_MAX, &q.start_days, e) < 0 ||
        number(r, cells, END, -DAYS_MAX, DAYS_MAX, &q.end_days, e) < 0)
        return -1;
    if (q.ram <= 0)
        return bad(r, columns[RAM], e, "'%s' is not more than 0", shown(cells[RAM], buf));
    if (q.end_days < q.start_days)
        return bad(r, columns[END], e, "'%s' is before the start", shown(cells[END], buf));
    if (q.start_days < 0) {
        r->trace.n_before++;
        return 0;
    }
    if (r->trace.n >= REQUESTS_MAX)
        return bad(r, NULL, e, "more than %u requests", REQUESTS_MAX);
    return add(&r->trace, &r->cap, q, e);
}

/* 1: a line, without its end; 0: the end of the file. */
static int next_line(struct reader *r, char text[LINE_MAX_LEN], struct err *e)
{
    int code = Z_OK;
    memset(text, 0, LINE_MAX_LEN);
    r->line++;
    if (!gzgets(r->file, text, LINE_MAX_LEN)) {
        const char *why = gzerror(r->file, &code);
        if (code != Z_OK && code != Z_STREAM_END)
            return bad(r, NULL, e, "cannot be read: %.80s", code == Z_ERRNO ? strerror(errno) : why);
        return 0;
    }
    size_t n = strlen(text);
    if (n == LINE_MAX_LEN - 1 && text[n - 1] != '\n')
        return bad(r, NULL, e, "a line of more than %d bytes", LINE_MAX_LEN - 2);
    if (n == 0 || (text[n - 1] != '\n' && !gzeof(r->file)))
        return bad(r, NULL, e, "a NUL byte");
    n -= text[n - 1] == '\n';
    n -= n && text[n - 1] == '\r';
    text[n] = '\0';
    return 1;
}

static int by_start(const void *a, const void *b)
{
    const struct trace_request *x = a, *y = b;
    int c = (x->start_days > y->start_days) - (x->start_days < y->start_days);
    return c ? c : (x->number > y->number) - (x->number < y->number);
}

static void sort(struct trace *t)
{
    qsort(t->requests, t->n, sizeof *t->requests, by_start);
}

static int read_all(struct reader *r, struct err *e)
{
    char text[LINE_MAX_LEN], *cells[N_COLUMNS];
    int more;
    while ((more = next_line(r, text, e)) > 0) {
        if (!text[0] && r->line > 1)
            continue;
        if (split(r, text, cells, e) < 0 || (r->line == 1 ? header(r, cells, e) : request(r, cells, e)) < 0)
            return -1;
    }
    if (more == 0 && r->trace.n == 0)
        return bad(r, NULL, e, "no request that begins at t >= 0");
    return more;
}

int trace_read(struct trace *out, const char *path, struct err *e)
{
    CLEANUP(reader_done) struct reader r = { .path = path };
    if (!strcmp(path, "-"))
        r.file = gzdopen(dup(STDIN_FILENO), "rb");
    else
        r.file = gzopen(path, "rb");
    if (!r.file)
        return err_errno(e, ERR_IO, "%.100s", path);
    if (read_all(&r, e) < 0)
        return -1;
    sort(&r.trace);
    *out = r.trace;
    r.trace = (struct trace){ 0 };
    return 0;
}

void trace_done(struct trace *t)
{
    free(t->requests);
    *t = (struct trace){ 0 };
}

/* ---- made from a seed -----------------------------------------------------------------------------------------------
 */

uint64_t trace_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static unsigned below(uint64_t *state, unsigned n)
{
    return (unsigned)(trace_random(state) % n);
}

/* From tables, not from logarithms, so that no machine's mathematics shows: minutes of life, equally likely. */
static double life_days(uint64_t *state)
{
    static const double minutes[] = { 1, 3, 5, 8, 12, 17, 23, 29, 34, 45, 65, 95, 150, 260, 500, 1200, 1900, 4000 };
    unsigned i = below(state, sizeof minutes / sizeof minutes[0] - 1);
    double share = below(state, 1000) / 1000.0;
    return (minutes[i] + share * (minutes[i + 1] - minutes[i])) / 1440;
}

static double size_units(uint64_t *state)
{
    static const struct {
        unsigned percent;
        double units;
    } classes[] = { { 5, 4 },   { 10, 8 },   { 17, 14 }, { 21, 28 }, { 15, 32 },
                    { 12, 56 }, { 10, 112 }, { 6, 128 }, { 4, 256 } };
    unsigned draw = below(state, 100);
    size_t i = 0;
    while (draw >= classes[i].percent)
        draw -= classes[i++].percent;
    return classes[i].units;
}

/* The day's rhythm: from 18:00 to 6:00 a request is thrown away half of the time. */
static double arrival_days(uint64_t *state, double days)
{
    for (;;) {
        double at = (double)(trace_random(state) >> 11) / (double)(UINT64_C(1) << 53) * days;
        double hour = (at - floor(at)) * 24;
        if ((hour >= 6 && hour < 18) || below(state, 2))
            return at;
    }
}

int trace_generate(struct trace *out, uint64_t seed, size_t n, double days, struct err *e)
{
    struct trace t = { 0 };
    size_t cap = 0;
    for (size_t i = 0; i < n; i++) {
        struct trace_request q = { .vm_id = trace_random(&seed) >> 32 };
        q.start_days = arrival_days(&seed, days);
        q.end_days = q.start_days + life_days(&seed);
        q.ram = size_units(&seed);
        if (add(&t, &cap, q, e) < 0) {
            trace_done(&t);
            return -1;
        }
    }
    sort(&t);
    *out = t;
    return 0;
}
