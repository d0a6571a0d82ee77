/* simulate_report.c - the figures of a study side by side: a table for people, JSON for programs. */
#include "json.h"
#include "simulate.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

void sim_study_compare(struct sim_study *s)
{
    size_t n = s->n ? s->results[0].n_requests : 0;
    s->n_common = 0;
    memset(s->common_cost_ns, 0, sizeof s->common_cost_ns);
    for (size_t i = 0; i < n; i++) {
        bool all = true;
        for (size_t k = 0; k < s->n; k++)
            all = all && s->results[k].costs[i] != SIM_REFUSED;
        for (size_t k = 0; all && k < s->n; k++)
            s->common_cost_ns[k] += (double)s->results[k].costs[i];
        s->n_common += all;
    }
    for (size_t k = 0; k < s->n; k++)
        s->common_cost_ns[k] /= s->n_common ? (double)s->n_common : 1;
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- table ----------------------------------------------------------------------------------------------------------
 */

static void print_head(const struct sim_study *s, FILE *out)
{
    const struct sim_result *r = &s->results[0];
    fprintf(out, "%s on %s: %zu requests in %.1f days", s->trace_name, s->rack_path, r->n_requests, r->window_days);
    if (s->options->trace->n_before)
        fprintf(out, " (%zu that began earlier are left out)", s->options->trace->n_before);
    fprintf(out, "; %zu donors; ram x %g GiB\n", r->n_donors, s->options->unit_gib);
    if (r->n_oversize)
        fprintf(out, "%zu of them ask for more than a section (1 TiB): refused by every policy\n", r->n_oversize);
}

static void print_reasons(const struct sim_result *r, FILE *out)
{
    const char *separator = "";
    if (!r->n_sampled)
        return;
    fprintf(out, "  %-13s ", chooser_names[r->chooser]);
    for (size_t i = 0; i < ARRAY_LEN(r->sampled_reasons); i++)
        if (r->sampled_reasons[i]) {
            fprintf(out, "%s%s %.0f %%", separator, place_reason_names[i],
                    percent((double)r->sampled_reasons[i], (double)r->n_sampled));
            separator = ", ";
        }
    fprintf(out, " (of %zu looked at)\n", r->n_sampled);
}

void sim_print_table(const struct sim_study *s, FILE *out)
{
    print_head(s, out);
    fprintf(out, "\n%-13s %9s %7s %9s %9s %6s %10s %11s %11s %8s %6s %11s %8s\n", "POLICY", "ACCEPTED", "MEMORY",
            "COST", "COST", "COST", "LENT", "IDLE", "IDLE", "STRANDED", "HOLES", "DECISIONS", "p99");
    fprintf(out, "%-13s %9s %7s %9s %9s %6s %10s %11s %11s %8s %6s %11s %8s\n", "", "requests", "asked", "mean ns",
            "common ns", "p99 ns", "mean TiB", "donor-hours", "donors mean", "", "", "a second", "us");
    for (size_t i = 0; i < s->n; i++) {
        const struct sim_result *r = &s->results[i];
        fprintf(out, "%-13s %8.2f%% %6.1f%% %9.1f %9.1f %6llu %10.2f %11.0f %11.1f %7.1f%% %5.1f%% %11.0f %8.0f\n",
                chooser_names[r->chooser], percent((double)r->n_accepted, (double)r->n_requests),
                percent(r->lent_byte_hours, r->asked_byte_hours), r->mean_cost_ns, s->common_cost_ns[i],
                (unsigned long long)r->p99_cost_ns, r->mean_lent_bytes / (double)TIB, r->idle_donor_hours,
                r->mean_idle_donors, 100 * r->mean_stranded, 100 * r->mean_holes, r->decisions_per_s,
                (double)r->p99_decision_ns / 1000);
    }
    fprintf(
        out,
        "\nMEMORY: GiB-hours lent of those asked for.  COST common: over the %zu requests that all of them accepted.\n"
        "IDLE: donors that lend nothing.  STRANDED: lendable memory of donors without a free port.  HOLES: gaps in "
        "the\n"
        "address range of sections in use.  Baselines ask the engine once for each donor that they try.\n",
        s->n_common);
    fputs("\nwhat stood in the way of refused requests, as far as any donor came:\n", out);
    for (size_t i = 0; i < s->n; i++)
        print_reasons(&s->results[i], out);
}

/* ---- JSON -----------------------------------------------------------------------------------------------------------
 */

static json_t *reasons_json(const struct sim_result *r)
{
    json_t *j = json_object();
    for (size_t i = 0; j && i < ARRAY_LEN(r->sampled_reasons); i++)
        if (r->sampled_reasons[i])
            json_object_set_new(j, place_reason_names[i], json_integer((json_int_t)r->sampled_reasons[i]));
    return j;
}

static json_t *curve_json(const struct sim_result *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < SIM_POINTS; i++)
        json_array_append_new(list, json_pack("{s:f, s:f, s:f}", "days",
                                              r->window_days * ((double)i + 0.5) / SIM_POINTS, "lent_bytes",
                                              r->points[i].lent_bytes, "idle_donors", r->points[i].idle_donors));
    return list;
}

static json_t *result_json(const struct sim_result *r, double common_cost_ns)
{
    json_t *j =
        json_pack("{s:s, s:I, s:I, s:I, s:f, s:f}", "policy", chooser_names[r->chooser], "requests",
                  (json_int_t)r->n_requests, "accepted", (json_int_t)r->n_accepted, "oversize",
                  (json_int_t)r->n_oversize, "acceptance", percent((double)r->n_accepted, (double)r->n_requests) / 100,
                  "memory_acceptance", percent(r->lent_byte_hours, r->asked_byte_hours) / 100);
    json_t *more =
        json_pack("{s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:o, s:o}", "mean_cost_ns", r->mean_cost_ns,
                  "common_cost_ns", common_cost_ns, "p99_cost_ns", (json_int_t)r->p99_cost_ns, "mean_lent_bytes",
                  r->mean_lent_bytes, "peak_lent_bytes", r->peak_lent_bytes, "idle_donor_hours", r->idle_donor_hours,
                  "mean_idle_donors", r->mean_idle_donors, "mean_stranded", r->mean_stranded, "mean_holes",
                  r->mean_holes, "decisions_per_s", r->decisions_per_s, "p99_decision_ns",
                  (json_int_t)r->p99_decision_ns, "refusals_sampled", reasons_json(r), "over_time", curve_json(r));
    if (!j || !more || json_object_update(j, more) < 0)
        json_freep(&j);
    json_freep(&more);
    return j;
}

json_t *sim_json(const struct sim_study *s)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->n; i++)
        if (json_array_append_new(list, result_json(&s->results[i], s->common_cost_ns[i])) < 0)
            json_freep(&list);
    const struct sim_result *r = &s->results[0];
    return json_pack("{s:s, s:s, s:f, s:f, s:I, s:I, s:I, s:o}", "rack", s->rack_path, "trace", s->trace_name,
                     "unit_gib", s->options->unit_gib, "window_days", r->window_days, "donors", (json_int_t)r->n_donors,
                     "left_out", (json_int_t)s->options->trace->n_before, "common_requests", (json_int_t)s->n_common,
                     "policies", list);
}
