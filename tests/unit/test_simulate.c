/* links: memlane-orchestrator */
/* Input of the simulator that is damaged in every way that a seed finds, and the generator's promise. */
#include "json.h"
#include "simulate.h"
#include "unit_main.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DAMAGES 3000
#define EXPECTED_SUM UINT64_C(9350798672172691104)

/* A file in memory; its name is good until the next call. */
static const char *file_of(const char *text, size_t len)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("damaged", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, text, len, 0), (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

/* One to three damages: a byte changed, a piece cut out, doubled, or the end missing.  'out' has room for twice 'len'.
 */
static size_t damage(uint64_t *random, const char *text, size_t len, char *out)
{
    static const char odd[] = "\0\n\r,\"{}[]:-0eE.x\x80\xff ";
    memcpy(out, text, len);
    for (uint64_t n = 1 + trace_random(random) % 3; n && len > 4; n--) {
        size_t at = trace_random(random) % len, piece = 1 + trace_random(random) % 40;
        piece = piece > len - at ? len - at : piece;
        switch (trace_random(random) % 4) {
        case 0:
            out[at] = odd[trace_random(random) % (sizeof odd - 1)];
            break;
        case 1:
            memmove(out + at, out + at + piece, len - at - piece);
            len -= piece;
            break;
        case 2:
            memmove(out + at + piece, out + at, len - at);
            len += piece;
            break;
        default:
            len = at + 1;
        }
    }
    return len;
}

static char *read_rack(const char *name, size_t *len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/deploy/racks/%s.json", MEMLANE_SOURCE_DIR, name);
    FILE *f = fopen(path, "r");
    char *text = malloc(1 << 20);
    ck_assert(f && text);
    *len = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

START_TEST(a_damaged_rack_file_is_refused_with_words_or_makes_a_rack)
{
    uint64_t random = 11;
    size_t len, n_refused = 0;
    char *text = read_rack("ring3", &len), *bad = malloc(2 * len + 200);
    for (int i = 0; i < DAMAGES; i++) {
        struct rack r = { 0 };
        struct err e = { 0 };
        size_t n = damage(&random, text, len, bad);
        const char *path = file_of(bad, n);
        if (rack_load(&r, path, &e) < 0) {
            n_refused++;
            const char *behind = e.detail + strlen(path);
            ck_assert_msg(strncmp(e.detail, path, strlen(path)) == 0 && strncmp(behind, ": line ", 7) == 0 &&
                              strchr("123456789", behind[7]),
                          "%s", e.detail);
        }
        rack_done(&r);
    }
    ck_assert_uint_gt(n_refused, DAMAGES / 2);
    free(text);
    free(bad);
}
END_TEST

START_TEST(a_damaged_trace_is_refused_with_file_and_line_or_read)
{
    uint64_t random = 12;
    char text[4096], *bad = malloc(sizeof text * 2 + 200);
    size_t len = (size_t)snprintf(text, sizeof text, "vmId,tenantId,cores,ram,vmTypeId,starttime,endtime\n"),
           n_refused = 0;
    for (int i = 0; i < 40; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%d,%d,8.0,%d.0,0,%d.%d,%s\n", i * 7919, i, 1 + i % 64,
                                i / 10, i, i % 5 ? "7.25" : "inf");
    for (int i = 0; i < DAMAGES; i++) {
        struct trace t = { 0 };
        struct err e = { 0 };
        size_t n = damage(&random, text, len, bad);
        const char *path = file_of(bad, n);
        if (trace_read(&t, path, &e) < 0) {
            n_refused++;
            ck_assert_msg(strncmp(e.detail, path, strlen(path)) == 0 && e.detail[strlen(path)] == ':' &&
                              strchr("123456789", e.detail[strlen(path) + 1]),
                          "%s", e.detail);
        }
        for (size_t k = 0; k < t.n; k++)
            ck_assert(isfinite(t.requests[k].start_days) && t.requests[k].ram > 0 &&
                      t.requests[k].end_days >= t.requests[k].start_days);
        trace_done(&t);
    }
    ck_assert_uint_gt(n_refused, DAMAGES / 2);
    free(bad);
}
END_TEST

/* Written down once: the same on every machine, today and later, else figures in reports cannot be compared. */
START_TEST(a_seed_means_the_same_requests_everywhere)
{
    struct trace t = { 0 };
    struct err e;
    uint64_t sum = 0;
    ck_assert_int_eq(trace_generate(&t, 1, 1000, 14, &e), 0);
    for (size_t i = 0; i < t.n; i++) {
        const struct trace_request *q = &t.requests[i];
        sum = sum * 31 + q->vm_id + (uint64_t)q->ram + (uint64_t)(q->start_days * 1e6) + (uint64_t)(q->end_days * 1e6);
        ck_assert(q->start_days >= 0 && q->start_days < 14 && q->end_days > q->start_days);
    }
    ck_assert_uint_eq(t.n, 1000);
    ck_assert_msg(sum == EXPECTED_SUM, "%llu", (unsigned long long)sum);
    trace_done(&t);
}
END_TEST

START_TEST(every_policy_lends_nothing_twice_and_gives_all_back)
{
    struct rack rack = { 0 };
    struct trace trace = { 0 };
    struct sim_result r;
    struct err e;
    char path[512];
    snprintf(path, sizeof path, "%s/deploy/racks/star8.json", MEMLANE_SOURCE_DIR);
    ck_assert_int_eq(rack_load(&rack, path, &e), 0);
    ck_assert_int_eq(trace_generate(&trace, 5, 800, 2, &e), 0);
    struct sim_options o = { .rack = &rack, .trace = &trace, .unit_gib = 0.5, .seed = 1, .n_samples = 20 };
    ck_assert_msg(simulate(&r, &o, (enum chooser)_i, &e) == 0, "%s", e.detail);
    uint64_t capacity = 0;
    for (size_t i = 0; i < rack.n_nodes; i++)
        capacity += rack.nodes[i].free_bytes;
    ck_assert_uint_eq(r.n_requests, 800);
    ck_assert_uint_gt(r.n_accepted, 100);
    ck_assert_uint_lt(r.n_accepted, 800); /* tight enough to say something */
    ck_assert(r.peak_lent_bytes <= (double)capacity && r.lent_byte_hours <= r.asked_byte_hours * (1 + 1e-9));
    ck_assert(r.mean_idle_donors >= 0 && r.mean_idle_donors <= (double)r.n_donors);
    ck_assert_uint_eq(r.n_donors, 8);
    ck_assert_uint_eq(r.n_sampled, 20);
    double lent = 0;
    for (int i = 0; i < SIM_POINTS; i++)
        lent += r.points[i].lent_bytes / SIM_POINTS;
    ck_assert_double_eq_tol(lent / r.mean_lent_bytes, 1, 1e-6); /* the curve and the mean agree */
    sim_result_done(&r);
    trace_done(&trace);
    rack_done(&rack);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("simulate");
    TCase *c = tcase_create("simulate");
    tcase_set_timeout(c, 100);
    tcase_add_test(c, a_damaged_rack_file_is_refused_with_words_or_makes_a_rack);
    tcase_add_test(c, a_damaged_trace_is_refused_with_file_and_line_or_read);
    tcase_add_test(c, a_seed_means_the_same_requests_everywhere);
    tcase_add_loop_test(c, every_policy_lends_nothing_twice_and_gives_all_back, 0, CHOOSERS);
    suite_add_tcase(s, c);
    return unit_main(s);
}
