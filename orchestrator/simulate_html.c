/* simulate_html.c - a study as one page: the table, and plots of what a table cannot show.  No script, nothing from
 * outside; light or dark as the reader's system is. */
#include "simulate.h"
#include "simulate_plot.h"
#include "units.h"

#include <math.h>
#include <stdlib.h>

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1b2530;--faint:#5b6876;--line:#dfe4ea;--c0:#1668c7;--c1:#c2410c;"
    "--c2:#15803d;--c3:#8b2fc9;--c4:#6b7280;--c5:#a16207;--c6:#be185d}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#12181f;--ink:#e6ebf1;--faint:#9aa7b4;--line:#2a343f;--c0:#6cb2ff;"
    "--c1:#ff9a62;--c2:#5fd48a;--c3:#c99bff;--c4:#aab4bf;--c5:#e0c060;--c6:#ff8fc0}}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "main{max-width:1360px;margin:0 auto;padding:24px}h1{font-size:24px;margin:0}p{max-width:90ch;color:var(--faint)}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    "th,td{padding:5px 12px;text-align:right;border-bottom:1px solid "
    "var(--line)}th{vertical-align:bottom;font-weight:600}\n"
    "th small{display:block;font-weight:400;color:var(--faint)}th:first-child,td:first-child{text-align:left}\n"
    "td svg{width:34px;height:10px;margin-right:8px}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,540px),1fr));gap:24px;margin-top:28px}\n"
    "figure{margin:0}figcaption{font-weight:600;margin-bottom:4px}figure svg{width:100%;height:auto}\n"
    "text{fill:var(--faint);font-size:12px}.label{fill:var(--ink)}.grid{stroke:var(--line);fill:none}\n"
    ".axis{stroke:var(--faint);fill:none}.curve{fill:none;stroke-width:1.8;stroke-linejoin:round}\n"
    ".c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}\n"
    ".c4{--c:var(--c4);stroke-dasharray:2 3}.c5{--c:var(--c5);stroke-dasharray:6 "
    "3}.c6{--c:var(--c6);stroke-dasharray:8 3 2 3}\n"
    ".curve{stroke:var(--c)}.point{fill:var(--c);stroke:none}\n";

static void put_text(const char *text, FILE *out)
{
    for (; *text; text++)
        if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
            fprintf(out, "&#%d;", *text);
        else
            putc(*text, out);
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- head and table -------------------------------------------------------------------------------------------------
 */

static void put_head(const struct sim_study *s, FILE *out)
{
    const struct sim_result *r = &s->results[0];
    fprintf(
        out,
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport "
        "content=\"width=device-width\">\n<title>Memlane: who lends, simulated</title>\n<style>\n%s</style></head>\n"
        "<body><main>\n<h1>Who lends, simulated</h1>\n<p>",
        style);
    put_text(s->trace_name, out);
    fputs(" on ", out);
    put_text(s->rack_path, out);
    fprintf(out, ": %zu requests in %.1f days, %zu donors, %g GiB for one unit of ram.", r->n_requests, r->window_days,
            r->n_donors, s->options->unit_gib);
    if (r->n_oversize)
        fprintf(out, " %zu requests ask for more than a section (1 TiB) and are refused by every policy.",
                r->n_oversize);
    fputs("</p>\n", out);
}

static void put_row(const struct sim_study *s, size_t i, FILE *out)
{
    const struct sim_result *r = &s->results[i];
    fprintf(
        out,
        "<tr><td><svg viewBox=\"0 0 34 10\" aria-hidden=true><path class=\"curve c%d\" d=\"M0 5H34\"/></svg>%s</td>",
        (int)r->chooser, chooser_names[r->chooser]);
    fprintf(out, "<td>%.2f %%</td><td>%.1f %%</td><td>%.1f</td><td>%.1f</td><td>%llu</td>",
            percent((double)r->n_accepted, (double)r->n_requests), percent(r->lent_byte_hours, r->asked_byte_hours),
            r->mean_cost_ns, s->common_cost_ns[i], (unsigned long long)r->p99_cost_ns);
    fprintf(out, "<td>%.2f</td><td>%.0f</td><td>%.1f</td><td>%.1f %%</td><td>%.1f %%</td><td>%.0f</td></tr>\n",
            r->mean_lent_bytes / (double)TIB, r->idle_donor_hours, r->mean_idle_donors, 100 * r->mean_stranded,
            100 * r->mean_holes, r->decisions_per_s);
}

static void put_table(const struct sim_study *s, FILE *out)
{
    fputs(
        "<div "
        "class=wide><table><thead><tr><th>Policy<th>Accepted<small>requests</small><th>Accepted<small>GiB-hours</small>"
        "<th>Path cost<small>mean ns</small><th>Path cost<small>common ns</small><th>Path cost<small>p99 ns</small>"
        "<th>Lent<small>mean TiB</small><th>Idle<small>donor-hours</small><th>Idle donors<small>mean</small>"
        "<th>Stranded<small>of lendable</small><th>Holes<small>of sections</small><th>Decisions<small>a second</small>"
        "</tr></thead><tbody>\n",
        out);
    for (size_t i = 0; i < s->n; i++)
        put_row(s, i, out);
    fprintf(
        out,
        "</tbody></table></div>\n<p>Common: over the %zu requests that every policy here accepted. An idle donor lends "
        "nothing. Stranded: lendable memory of donors without a free port, which only those who are joined to them "
        "already can borrow. Holes: gaps in the address range of sections in use. The baselines (dashed) choose the "
        "donor only; path, section and all rules are the engine's.</p>\n",
        s->n_common);
}

/* ---- plots ----------------------------------------------------------------------------------------------------------
 */

static void put_curves(const struct sim_study *s, bool idle, FILE *out)
{
    double x[SIM_POINTS], y[SIM_POINTS], unit = idle ? 1 : (double)TIB;
    struct plot p = { .out = out,
                      .title = idle ? "Donors that lend nothing" : "Memory lent",
                      .x_label = "days",
                      .y_label = idle ? "idle donors" : "lent, TiB",
                      .x_max = s->results[0].window_days };
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < SIM_POINTS; k++) {
            const struct sim_point *one = &s->results[i].points[k];
            p.y_max = fmax(p.y_max, (idle ? one->idle_donors : one->lent_bytes) / unit);
        }
    plot_begin(&p);
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; k < SIM_POINTS; k++) {
            const struct sim_point *one = &s->results[i].points[k];
            x[k] = s->results[i].window_days * ((double)k + 0.5) / SIM_POINTS;
            y[k] = (idle ? one->idle_donors : one->lent_bytes) / unit;
        }
        plot_curve(&p, s->results[i].chooser, x, y, SIM_POINTS);
    }
    plot_end(&p);
}

static int by_cost(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Of the accepted requests, how many per cent cost at most so much: a step a point of the curve. */
static void put_cost(const struct sim_result *r, struct plot *p, uint64_t *costs)
{
    double x[SIM_POINTS], y[SIM_POINTS];
    size_t n = 0;
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->costs[i] != SIM_REFUSED)
            costs[n++] = r->costs[i];
    qsort(costs, n, sizeof *costs, by_cost);
    for (size_t k = 0; n && k < SIM_POINTS; k++) {
        size_t rank = k * (n - 1) / (SIM_POINTS - 1);
        x[k] = (double)costs[rank];
        y[k] = percent((double)(rank + 1), (double)n);
    }
    if (n)
        plot_curve(p, r->chooser, x, y, SIM_POINTS);
}

static void put_costs(const struct sim_study *s, FILE *out)
{
    struct plot p = { .out = out,
                      .title = "Path cost of accepted requests",
                      .x_label = "path cost, ns",
                      .y_label = "requests that cost at most so much, %",
                      .y_max = 100 };
    uint64_t *costs = calloc(s->results[0].n_requests + 1, sizeof *costs), max = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->results[i].n_requests; k++)
            if (s->results[i].costs[k] != SIM_REFUSED && s->results[i].costs[k] > max)
                max = s->results[i].costs[k];
    p.x_max = (double)max;
    plot_begin(&p);
    for (size_t i = 0; costs && i < s->n; i++)
        put_cost(&s->results[i], &p, costs);
    plot_end(&p);
    free(costs);
}

static void put_trade(const struct sim_study *s, FILE *out)
{
    struct plot p = { .out = out,
                      .title = "Idle donors against path cost",
                      .x_label = "mean path cost, ns",
                      .y_label = "idle donors, mean" };
    for (size_t i = 0; i < s->n; i++) {
        p.x_max = fmax(p.x_max, s->results[i].mean_cost_ns);
        p.y_max = fmax(p.y_max, s->results[i].mean_idle_donors);
    }
    plot_begin(&p);
    for (size_t i = 0; i < s->n; i++)
        plot_point(&p, s->results[i].chooser, s->results[i].mean_cost_ns, s->results[i].mean_idle_donors,
                   chooser_names[s->results[i].chooser]);
    plot_end(&p);
}

void sim_print_html(const struct sim_study *s, FILE *out)
{
    put_head(s, out);
    put_table(s, out);
    fputs("<div class=plots>\n", out);
    put_curves(s, false, out);
    put_curves(s, true, out);
    put_costs(s, out);
    put_trade(s, out);
    fputs("</div>\n</main></body></html>\n", out);
}
