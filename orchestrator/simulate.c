/* simulate.c - see simulate.h: one run.
 *
 * The state is the model; beside it are only sums over it.  They are kept by taking a node's share out and putting its
 * new one in, for the two nodes that a decision touches. */
#include "simulate.h"

#include "json.h"
#include "offline_rack.h"
#include "simulate_state.h"
#include "units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct share { /* of a node, or the sum over all */
    uint64_t idle, lendable, stranded, span, holes;
};

struct ending {
    double at_days;
    uint32_t attachment;
};

struct sample {
    enum place_reason reason;
    char *text; /* NULL unless kept */
};

struct samples { /* every 'stride'-th refusal; when there are twice as many as wanted, every second one goes */
    struct sample *list;
    size_t n, wanted, stride, seen;
};

struct run {
    const struct sim_options *o;
    struct sim_result *out;
    struct model *m;
    struct topology *t;
    struct choice choice;
    uint32_t *compute_nodes;
    size_t n_compute;
    struct ending *endings; /* a heap, the earliest first */
    size_t n_endings;
    struct share *shares, sum;
    uint64_t lent_bytes;
    double now_days;
    double lent_days, idle_days, stranded_days, holes_days; /* integrals so far */
    uint64_t *decision_ns;
    struct samples samples;
};

static int no_memory(struct err *e)
{
    return err_set(e, ERR_UNAVAILABLE, "out of memory");
}

/* ---- sums over the state --------------------------------------------------------------------------------------------
 */

static bool any_port_free(const struct model *m, const struct adapter *a)
{
    for (unsigned i = 0; i < a->n_ports; i++) {
        const struct port *p = model_port(m, a->ports[i]);
        if (p->circuit == NONE && p->link != NONE)
            return true;
    }
    return false;
}

static void add_sections(const struct model *m, const struct adapter *a, struct share *s)
{
    for (unsigned k = 0; k < a->n_sections; k++) {
        const struct attachment *x = model_attachment(m, a->sections[k].first_attachment);
        uint64_t end = 0, used = 0;
        for (; x; x = model_attachment(m, x->section_next)) {
            end = x->offset_bytes + x->size_bytes;
            used += x->size_bytes;
        }
        s->span += end;
        s->holes += end - used;
    }
}

static struct share share_of(const struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    struct share s = { 0 };
    bool donor = false, reachable = false;
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(m, n->adapters[i]);
        donor = donor || a->role == WIRE_MEMORY;
        reachable = reachable || (a->role == WIRE_MEMORY && any_port_free(m, a));
        if (a->role == WIRE_COMPUTE)
            add_sections(m, a, &s);
    }
    donor = donor && model_capacity_bytes(n) > 0;
    s.idle = donor && n->n_lends == 0;
    s.lendable = donor ? model_lendable_bytes(n) : 0;
    s.stranded = reachable ? 0 : s.lendable;
    return s;
}

static void update(struct run *r, uint32_t node)
{
    struct share *was = &r->shares[node], is = share_of(r->m, node);
    r->sum.idle += is.idle - was->idle;
    r->sum.lendable += is.lendable - was->lendable;
    r->sum.stranded += is.stranded - was->stranded;
    r->sum.span += is.span - was->span;
    r->sum.holes += is.holes - was->holes;
    *was = is;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

/* Time goes on to 'to_days' with the state as it is. */
static void advance(struct run *r, double to_days)
{
    struct sim_result *out = r->out;
    double width = out->window_days / SIM_POINTS, days = to_days - r->now_days;
    if (days <= 0)
        return;
    r->lent_days += (double)r->lent_bytes * days;
    r->idle_days += (double)r->sum.idle * days;
    r->stranded_days += share(r->sum.stranded, r->sum.lendable) * days;
    r->holes_days += share(r->sum.holes, r->sum.span) * days;
    for (size_t i = (size_t)(r->now_days / width); i < SIM_POINTS && (double)i * width < to_days; i++) {
        double from = fmax(r->now_days, (double)i * width), to = fmin(to_days, (double)(i + 1) * width);
        if (to > from) {
            out->points[i].lent_bytes += (double)r->lent_bytes * (to - from) / width;
            out->points[i].idle_donors += (double)r->sum.idle * (to - from) / width;
        }
    }
    r->now_days = to_days;
}

/* ---- who ends when --------------------------------------------------------------------------------------------------
 */

static void heap_push(struct run *r, struct ending x)
{
    size_t i = r->n_endings++;
    for (; i > 0 && r->endings[(i - 1) / 2].at_days > x.at_days; i = (i - 1) / 2)
        r->endings[i] = r->endings[(i - 1) / 2];
    r->endings[i] = x;
}

static struct ending heap_pop(struct run *r)
{
    struct ending top = r->endings[0], last = r->endings[--r->n_endings];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < r->n_endings) {
        if (child + 1 < r->n_endings && r->endings[child + 1].at_days < r->endings[child].at_days)
            child++;
        if (r->endings[child].at_days >= last.at_days)
            break;
        r->endings[i] = r->endings[child];
        i = child;
    }
    r->endings[i] = last;
    return top;
}

static void release(struct run *r, uint32_t attachment)
{
    struct attachment a = *model_attachment(r->m, attachment);
    model_savepoint(r->m);
    model_release(r->m, attachment);
    model_commit_done(r->m);
    r->lent_bytes -= a.size_bytes;
    update(r, a.donor);
    update(r, a.compute_node);
}

static void release_until(struct run *r, double days)
{
    while (r->n_endings && r->endings[0].at_days <= days) {
        struct ending x = heap_pop(r);
        advance(r, x.at_days);
        release(r, x.attachment);
    }
    advance(r, days);
}

/* ---- refusals that are looked at closely ----------------------------------------------------------------------------
 */

static void thin(struct samples *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++)
        if (i % 2 == 0)
            s->list[kept++] = s->list[i];
        else
            free(s->list[i].text);
    s->n = kept;
    s->stride *= 2;
}

static int sample_refusal(struct run *r, const struct place_request *q, struct err *e)
{
    struct samples *s = &r->samples;
    CLEANUP(placement_done) struct placement p = { 0 };
    if (!s->wanted || s->seen++ % s->stride)
        return 0;
    if (s->n == 2 * s->wanted)
        thin(s);
    struct sample x = { PLACE_NOT_READY, NULL };
    if (placement_rank(&p, r->m, r->t, q, e) < 0)
        return -1;
    if (p.n_feasible)
        return err_set(e, ERR_INTERNAL, "request %zu was refused, and the ranking has a donor", r->out->n_requests);
    for (size_t i = 0; i < p.n; i++)
        x.reason = p.candidates[i].reason > x.reason ? p.candidates[i].reason : x.reason;
    if (r->o->keep_samples) {
        CLEANUP(json_freep) json_t *j = sim_state_json(r->m, q, &p);
        if (!j || !(x.text = json_text(j)))
            return no_memory(e);
    }
    s->list[s->n++] = x;
    return 0;
}

/* As many as are wanted, evenly spread over those at hand. */
static int take_samples(struct run *r, struct err *e)
{
    struct samples *s = &r->samples;
    size_t n = s->n < s->wanted ? s->n : s->wanted;
    r->out->samples = calloc(n + 1, sizeof *r->out->samples);
    if (!r->out->samples)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        struct sample *x = &s->list[i * s->n / n];
        r->out->sampled_reasons[x->reason]++;
        r->out->samples[i] = TAKE(x->text);
    }
    r->out->n_sampled = n;
    return 0;
}

/* ---- a request ------------------------------------------------------------------------------------------------------
 */

static int accept(struct run *r, struct reservation *x, const struct trace_request *q, struct err *e)
{
    char id[ID_SIZE];
    uint32_t at;
    snprintf(id, sizeof id, "s%zu", r->out->n_requests);
    x->id = id;
    model_savepoint(r->m);
    if (model_reserve(r->m, x, &at, e) < 0)
        return -1;
    model_commit_done(r->m);
    r->lent_bytes += x->size_bytes;
    if ((double)r->lent_bytes > r->out->peak_lent_bytes)
        r->out->peak_lent_bytes = (double)r->lent_bytes;
    update(r, x->donor);
    update(r, x->compute_node);
    heap_push(r, (struct ending){ q->end_days, at });
    r->out->n_accepted++;
    return 0;
}

static uint64_t wanted_bytes(const struct sim_options *o, const struct trace_request *q)
{
    double gib = ceil(q->ram * o->unit_gib - 1e-9); /* 20 x 0.05 is 1 */
    return gib < 1 ? GIB : gib > 1e9 ? UINT64_C(1000000000) * GIB : (uint64_t)gib * GIB;
}

static int decide(struct run *r, const struct trace_request *q, struct err *e)
{
    struct sim_result *out = r->out;
    struct place_request want = { .compute_node = r->compute_nodes[q->vm_id % r->n_compute],
                                  .requested_bytes = wanted_bytes(r->o, q),
                                  .donor = NONE,
                                  .channels = 1 };
    struct reservation x;
    struct err why = { 0 };
    int64_t began = time_monotonic_ns();
    int rc = choice_make(&r->choice, &x, r->m, r->t, &want, &why);
    r->decision_ns[out->n_requests] = (uint64_t)(time_monotonic_ns() - began);
    out->asked_byte_hours += (double)want.requested_bytes * (fmin(q->end_days, out->window_days) - q->start_days) * 24;
    out->costs[out->n_requests] = rc == 0 ? x.cost_ns : SIM_REFUSED;
    if (rc == 0)
        rc = accept(r, &x, q, e);
    else if (why.code == ERR_SIZE_INVALID)
        out->n_oversize++, rc = 0;
    else if (why.code == ERR_NO_DONOR)
        rc = sample_refusal(r, &want, e);
    else
        *e = why;
    out->n_requests++;
    return rc;
}

/* ---- a run ----------------------------------------------------------------------------------------------------------
 */

static void run_done(struct run *r)
{
    for (size_t i = 0; i < r->samples.n; i++)
        free(r->samples.list[i].text);
    free(r->samples.list);
    free(r->compute_nodes);
    free(r->endings);
    free(r->shares);
    free(r->decision_ns);
    choice_done(&r->choice);
    topology_free(r->t);
    model_free(r->m);
}

static int run_init(struct run *r, struct err *e)
{
    size_t n = r->o->trace->n;
    if (offline_rack(&r->m, &r->t, r->o->rack, "simulate", e) < 0 ||
        choice_init(&r->choice, r->out->chooser, r->o->seed, r->m, e) < 0)
        return -1;
    uint32_t n_nodes = model_count(r->m, MODEL_NODE);
    r->samples = (struct samples){ .wanted = r->o->n_samples, .stride = 1 };
    r->samples.list = calloc(2 * r->samples.wanted + 1, sizeof *r->samples.list);
    r->compute_nodes = calloc(n_nodes + 1, sizeof *r->compute_nodes);
    r->endings = calloc(n + 1, sizeof *r->endings);
    r->shares = calloc(n_nodes + 1, sizeof *r->shares);
    r->decision_ns = calloc(n + 1, sizeof *r->decision_ns);
    r->out->costs = calloc(n + 1, sizeof *r->out->costs);
    if (!r->samples.list || !r->compute_nodes || !r->endings || !r->shares || !r->decision_ns || !r->out->costs)
        return no_memory(e);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const struct node *x = model_node(r->m, i);
        bool computes = false;
        for (unsigned k = 0; k < x->n_adapters; k++)
            computes = computes || model_adapter(r->m, x->adapters[k])->role == WIRE_COMPUTE;
        if (computes)
            r->compute_nodes[r->n_compute++] = i;
        update(r, i);
        r->out->n_donors += r->shares[i].idle;
    }
    return r->n_compute ? 0 : err_set(e, ERR_FIELD_INVALID, "no node of the rack has a compute adapter");
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The smallest value that 99 of 100 do not exceed; sorts. */
static uint64_t p99(uint64_t *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n ? values[(n * 99 + 99) / 100 - 1] : 0;
}

static int sum_up(struct run *r, struct err *e)
{
    struct sim_result *out = r->out;
    CLEANUP(cleanup_free) uint64_t *costs = calloc(out->n_requests + 1, sizeof *costs);
    size_t n = 0;
    double total = 0, ns = 0;
    if (!costs)
        return no_memory(e);
    for (size_t i = 0; i < out->n_requests; i++) {
        ns += (double)r->decision_ns[i];
        if (out->costs[i] != SIM_REFUSED) {
            costs[n++] = out->costs[i];
            total += (double)out->costs[i];
        }
    }
    out->mean_cost_ns = n ? total / (double)n : 0;
    out->p99_cost_ns = p99(costs, n);
    out->decision_s = ns / 1e9;
    out->decisions_per_s = ns > 0 ? (double)out->n_requests / out->decision_s : 0;
    out->p99_decision_ns = p99(r->decision_ns, out->n_requests);
    out->lent_byte_hours = r->lent_days * 24;
    out->mean_lent_bytes = r->lent_days / out->window_days;
    out->idle_donor_hours = r->idle_days * 24;
    out->mean_idle_donors = r->idle_days / out->window_days;
    out->mean_stranded = r->stranded_days / out->window_days;
    out->mean_holes = r->holes_days / out->window_days;
    return take_samples(r, e);
}

static int replay(struct run *r, struct err *e)
{
    const struct trace *t = r->o->trace;
    double last = t->n ? t->requests[t->n - 1].start_days : 0;
    r->out->window_days = last > 0 ? last : 1e-9;
    for (size_t i = 0; i < t->n; i++) {
        release_until(r, t->requests[i].start_days);
        if (decide(r, &t->requests[i], e) < 0)
            return -1;
    }
    return sum_up(r, e);
}

int simulate(struct sim_result *out, const struct sim_options *o, enum chooser chooser, struct err *e)
{
    *out = (struct sim_result){ .chooser = chooser };
    CLEANUP(run_done) struct run r = { .o = o, .out = out };
    if (run_init(&r, e) < 0 || replay(&r, e) < 0) {
        sim_result_done(out);
        return -1;
    }
    return 0;
}

void sim_result_done(struct sim_result *r)
{
    for (size_t i = 0; r->samples && i < r->n_sampled; i++)
        free(r->samples[i]);
    free(r->samples);
    free(r->costs);
    *r = (struct sim_result){ 0 };
}
