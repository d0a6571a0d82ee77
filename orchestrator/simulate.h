/* simulate.h - replays requests against a rack without a running rack, through the engine that places real ones.
 *
 * A request wants ram x unit GiB, rounded up to 1 GiB, for the compute node that its vmId names (modulo the nodes
 * that have a compute adapter, in the order of the rack file), from its start to its end.  Ends come before starts of
 * the same moment.  A refused request is gone: nobody waits or tries again.  The window that is averaged over is from 0
 * to the start of the last request.  Pure but for the clock that times the decisions; one thread (igraph). */
#ifndef MEMLANE_SIMULATE_H
#define MEMLANE_SIMULATE_H

#include "rackfile.h"
#include "simulate_choice.h"
#include "simulate_trace.h"

#include <jansson.h>

#define SIM_POINTS 240 /* of a curve over time */
#define SIM_REFUSED UINT64_MAX

struct sim_options {
    const struct rack *rack;
    const struct trace *trace;
    double unit_gib;    /* of the trace's 'ram' */
    uint64_t seed;      /* of the chooser */
    unsigned n_samples; /* refusals that are looked at closely */
    bool keep_samples;  /* with the state before each (simulate_state.h) */
};

struct sim_point { /* means over its part of the window */
    double lent_bytes, idle_donors;
};

struct sim_result {
    enum chooser chooser;
    size_t n_requests, n_accepted;
    size_t n_oversize; /* refused because no section holds them, under every policy */
    size_t n_donors;   /* nodes with a memory adapter and memory to lend */
    double window_days;
    double asked_byte_hours, lent_byte_hours; /* inside the window */
    double mean_lent_bytes, peak_lent_bytes;
    double idle_donor_hours, mean_idle_donors;
    /* Share of the lendable memory whose donor has no free port: only who is joined to it already can borrow it. */
    double mean_stranded;
    /* Share of the address range of the sections in use, up to the highest segment, that is holes. */
    double mean_holes;
    double mean_cost_ns;
    uint64_t p99_cost_ns;
    uint64_t *costs; /* of each request, in the trace's order; SIM_REFUSED */
    double decision_s, decisions_per_s;
    uint64_t p99_decision_ns;
    size_t sampled_reasons[PLACE_COMPUTE_NOT_READY + 1]; /* the furthest rule that any donor reached */
    size_t n_sampled;
    char **samples; /* keep_samples: one JSON text each */
    struct sim_point points[SIM_POINTS];
};

MUST_CHECK int simulate(struct sim_result *out, const struct sim_options *o, enum chooser chooser, struct err *e);
void sim_result_done(struct sim_result *r);

/* A whole comparison, for the reports. */
struct sim_study {
    const char *rack_path, *trace_name;
    const struct sim_options *options;
    size_t n;
    struct sim_result results[CHOOSERS];
    /* Mean cost over the requests that every policy of the study accepted: the others' costs do not differ because one
     * accepted what another refused. */
    size_t n_common;
    double common_cost_ns[CHOOSERS];
};
void sim_study_compare(struct sim_study *s); /* fills the common costs */

void sim_print_table(const struct sim_study *s, FILE *out);
json_t *sim_json(const struct sim_study *s);               /* NULL: out of memory */
void sim_print_html(const struct sim_study *s, FILE *out); /* one page, nothing from outside */

#endif
