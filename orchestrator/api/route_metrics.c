/* route_metrics.c - GET /metrics: Prometheus text 0.0.4, base units, no label that grows without bound but the
 * adapter's. */
#include "api/checks.h"
#include "api/context.h"
#include "api/health.h"
#include "api/http.h"
#include "api/routes.h"
#include "api/views.h"
#include "units.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATES_MAX 8

struct page {
    FILE *out;
};

static void line(struct page *p, const char *fmt, ...) PRINTF(2, 3);
static void line(struct page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(p->out, fmt, ap);
    va_end(ap);
    fputc('\n', p->out);
}

static void head(struct page *p, const char *name, const char *type, const char *help)
{
    line(p, "# HELP %s %s", name, help);
    line(p, "# TYPE %s %s", name, type);
}

static void single(struct page *p, const char *name, const char *type, const char *help, uint64_t value)
{
    head(p, name, type, help);
    line(p, "%s %llu", name, (unsigned long long)value);
}

static void by_state(struct page *p, const char *name, const char *help, const char *const *names,
                     const unsigned *counts, unsigned n)
{
    head(p, name, "gauge", help);
    for (unsigned s = 0; s < n; s++)
        line(p, "%s{state=\"%s\"} %u", name, names[s], counts[s]);
}

static void rack_totals(struct page *p, const struct model *m)
{
    unsigned nodes[STATES_MAX] = { 0 }, attachments[STATES_MAX] = { 0 }, circuits[STATES_MAX] = { 0 };
    uint64_t lent = 0, lendable = 0, memory = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        if (!n)
            continue;
        nodes[n->state]++;
        memory += n->memory_bytes;
        lent += n->lent_bytes;
        if (n->state == NODE_READY && !n->cordoned)
            lendable += model_lendable_bytes(n);
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        if (model_attachment(m, i))
            attachments[model_attachment(m, i)->state]++;
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i))
            circuits[model_circuit(m, i)->state]++;
    by_state(p, "memlane_nodes", "Nodes by state.", node_state_names, nodes, NODE_INCOMPATIBLE + 1);
    head(p, "memlane_attachments", "gauge", "Live attachments by state.");
    for (unsigned s = 0; s <= ATT_LOST; s++)
        if (s != ATT_DETACHED && s != ATT_FAILED) /* those have ended */
            line(p, "memlane_attachments{state=\"%s\"} %u", attachment_state_names[s], attachments[s]);
    by_state(p, "memlane_circuits", "Circuits by state.", circuit_state_names, circuits, CIRCUIT_CLOSING + 1);
    single(p, "memlane_memory_bytes", "gauge", "Memory of all nodes.", memory);
    single(p, "memlane_lent_bytes", "gauge", "Memory that attachments hold or reserve.", lent);
    single(p, "memlane_lendable_bytes", "gauge", "Memory that ready nodes could lend.", lendable);
}

static void health_numbers(struct page *p, const struct model *m)
{
    struct health h;
    health_count(&h, m);
    single(p, "memlane_circuits_in_danger", "gauge", "Circuits with a link down or an adapter in error.",
           h.circuits_in_danger);
    single(p, "memlane_attachments_in_danger", "gauge", "Attachments over circuits in danger.",
           h.attachments_in_danger);
    single(p, "memlane_quarantined_attachments", "gauge", "Attachments whose donor is lost under a live borrower.",
           h.quarantined_attachments);
    single(p, "memlane_unowned_objects", "gauge", "Buffers and segments that agents hold for nobody we know.",
           h.unowned_objects);
    by_state(p, "memlane_adapters", "Adapters by state.", adapter_state_names, h.adapters, ADAPTER_ERROR + 1);
    by_state(p, "memlane_links", "Links by state.", link_state_names, h.links, LINK_DOWN + 1);
    head(p, "memlane_findings", "gauge", "Findings of all nodes by severity.");
    for (unsigned s = 0; s <= WIRE_ERROR; s++)
        line(p, "memlane_findings{severity=\"%s\"} %u", severity_names[s], h.findings[s]);
    single(p, "memlane_lenders_lost_total", "counter",
           "Lenders that died with what they had lent, of the adapters here.", h.lenders_lost);
}

static void each_adapter(struct page *p, const struct model *m, const char *name, const char *help, size_t offset)
{
    head(p, name, "counter", help);
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++) {
        const struct adapter *a = model_adapter(m, i);
        const struct node *n = a ? model_node(m, a->node) : NULL;
        if (n && a->seen && a->role == WIRE_COMPUTE) /* a memory adapter has no counters */
            line(p, "%s{node=\"%s\",adapter=\"%s\",emulated=\"%d\"} %llu", name, n->name, a->name, a->emulated,
                 (unsigned long long)*(const uint64_t *)((const char *)a + offset));
    }
}

static void adapters(struct page *p, const struct model *m)
{
    each_adapter(p, m, "memlane_adapter_sent_flits_total", "Flits sent since the agent's start.",
                 offsetof(struct adapter, flits_sent));
    each_adapter(p, m, "memlane_adapter_received_flits_total", "Flits received since the agent's start.",
                 offsetof(struct adapter, flits_received));
    each_adapter(p, m, "memlane_adapter_latency_cycles_total", "Sum of measured latencies in adapter cycles.",
                 offsetof(struct adapter, latency_cycles));
    each_adapter(p, m, "memlane_adapter_latency_samples_total", "Measured latencies.",
                 offsetof(struct adapter, latency_samples));
}

static void writer_numbers(struct page *p, struct writer *w)
{
    struct writer_metrics wm;
    uint64_t known_epoch;
    writer_read_metrics(w, &wm);
    single(p, "memlane_commits_total", "counter", "Transactions committed.", wm.commits);
    single(p, "memlane_commands_total", "counter", "Commands taken by the writer.", wm.commands);
    single(p, "memlane_failed_batches_total", "counter", "Batches whose commit failed.", wm.batches_failed);
    head(p, "memlane_commit_seconds_total", "counter", "Time spent in commits.");
    line(p, "memlane_commit_seconds_total %.6f", (double)wm.commit_ns_total / 1e9);
    single(p, "memlane_revision", "gauge", "Revision of the last commit.", writer_published_revision(w));
    single(p, "memlane_epoch", "gauge", "Epoch of this orchestrator.", writer_epoch(w));
    single(p, "memlane_read_only", "gauge", "1 while the database takes no changes.", writer_read_only(w));
    single(p, "memlane_recovering", "gauge", "1 while the database is an old one that no operator has adopted.",
           writer_recovering(w, &known_epoch));
}

static void http_numbers(struct page *p, const struct api *a)
{
    static const char *const classes[] = { "", "1xx", "2xx", "3xx", "4xx", "5xx" };
    head(p, "memlane_http_requests_total", "counter", "Requests answered, by class of status.");
    for (unsigned c = 2; c < ARRAY_LEN(classes); c++)
        line(p, "memlane_http_requests_total{class=\"%s\"} %llu", classes[c],
             (unsigned long long)a->counters.requests[c]);
    single(p, "memlane_http_malformed_requests_total", "counter", "Requests that the gate refused.",
           a->counters.refused_by_gate);
    single(p, "memlane_http_refused_connections_total", "counter", "Connections beyond a limit.",
           a->counters.refused_connections);
    single(p, "memlane_http_connections", "gauge", "Open connections.", http_connections(a->http));
    single(p, "memlane_http_waiting_requests", "gauge", "Requests that wait for something.", http_parked(a->http));
    single(p, "memlane_checks_total", "counter", "Looks at all invariants.", checks_done(a->checks));
    single(p, "memlane_http_body_bytes", "gauge", "Memory that bodies of requests take.", a->counters.body_bytes);
    single(p, "memlane_event_streams", "gauge", "Open event streams.", a->counters.streams);
    single(p, "memlane_events", "gauge", "Id of the last event.", events_last(a->events));
    head(p, "memlane_uptime_seconds", "gauge", "Since the start.");
    line(p, "memlane_uptime_seconds %.3f", (double)(time_monotonic_ms() - a->started_ms) / 1000);
    head(p, "memlane_build_info", "gauge", "Version.");
    line(p, "memlane_build_info{version=\"%s\"} 1", MEMLANE_VERSION);
}

void route_metrics(struct request *rq)
{
    char *text = NULL;
    size_t len = 0;
    struct page p = { .out = open_memstream(&text, &len) };
    struct err e;
    if (!p.out) {
        (void)!err_set(&e, ERR_UNAVAILABLE, "out of memory");
        reply_err(rq, &e);
        return;
    }
    http_numbers(&p, rq->api);
    writer_numbers(&p, rq->api->writer);
    const struct model *m = writer_read_lock(rq->api->writer);
    rack_totals(&p, m);
    health_numbers(&p, m);
    adapters(&p, m);
    writer_read_unlock(rq->api->writer);
    if (fclose(p.out) != 0) {
        free(text);
        (void)!err_set(&e, ERR_UNAVAILABLE, "out of memory");
        reply_err(rq, &e);
        return;
    }
    reply_text(rq, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
}
