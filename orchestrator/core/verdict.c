/* verdict.c - see verdict.h. */
#include "verdict.h"

#include "units.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct candidate {                     /* a pair of adapters on its way through the rules */
    uint32_t compute, memory, circuit; /* circuit NONE: a new one would be made */
    struct leg legs[2];
    uint64_t cost_ns;
    bool has_cost;
    unsigned section;
    uint64_t offset_bytes;
};

static bool usable(const struct adapter *a, enum wire_role role)
{
    return a && a->role == role && a->seen && a->ok;
}

PRINTF(3, 4) static void explain(const struct question *q, char *detail, const char *fmt, ...)
{
    va_list ap;
    if (!q->explain)
        return;
    va_start(ap, fmt);
    vsnprintf(detail, WIRE_TEXT, fmt, ap);
    va_end(ap);
}

static const char *adapter_name(const struct model *m, uint32_t adapter, char buf[PORT_NAME_SIZE])
{
    const struct adapter *a = model_adapter(m, adapter);
    snprintf(buf, PORT_NAME_SIZE, "%s/%s", model_node(m, a->node)->name, a->name);
    return buf;
}

/* ---- the compute node -----------------------------------------------------------------------------------------------
 */

static int search_adapter(struct question *q, unsigned i, struct err *e)
{
    struct path_rules fits = { .m = q->m, .min_gbps = q->leg_gbps }, any = { .m = q->m };
    if (!q->all || q->r->channels != 1)
        return 0;
    if (paths_search(q->paths, 2 * i, &fits, q->adapters[i], e) < 0)
        return -1;
    return q->explain && q->leg_gbps ? paths_search(q->paths, 2 * i + 1, &any, q->adapters[i], e) : 0;
}

int verdict_prepare(struct question *q, enum place_reason *refused, struct err *e)
{
    const struct node *n = model_node(q->m, q->r->compute_node);
    unsigned n_compute = 0;
    q->n_adapters = 0;
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(q->m, n->adapters[i]);
        n_compute += a && a->role == WIRE_COMPUTE && n->block_bytes;
        if (usable(a, WIRE_COMPUTE))
            q->adapters[q->n_adapters++] = n->adapters[i];
    }
    *refused = !n_compute                                 ? PLACE_NO_COMPUTE_ADAPTER
               : n->state != NODE_READY || !q->n_adapters ? PLACE_COMPUTE_NOT_READY
                                                          : PLACE_OK;
    for (unsigned i = 0; *refused == PLACE_OK && i < q->n_adapters; i++)
        if (search_adapter(q, i, e) < 0)
            return -1;
    return 0;
}

/* ---- rules that look at the donor's node ----------------------------------------------------------------------------
 */

static const char *label_of(const struct node *n, const char *key)
{
    for (unsigned i = 0; i < n->n_labels; i++)
        if (!strcmp(n->labels[i].key, key))
            return n->labels[i].value;
    return NULL;
}

static bool ready(const struct question *q, const struct node *d, char *detail)
{
    unsigned n_memory = 0, n_usable = 0;
    if (d->state != NODE_READY) {
        explain(q, detail, "the node is %s", node_state_names[d->state]);
        return false;
    }
    for (unsigned i = 0; i < d->n_adapters; i++) {
        const struct adapter *a = model_adapter(q->m, d->adapters[i]);
        bool memory = a && a->role == WIRE_MEMORY;
        n_memory += memory;
        n_usable += usable(a, WIRE_MEMORY);
        if (memory && !usable(a, WIRE_MEMORY))
            explain(q, detail, "adapter %s is not ready%s%.100s", a->name, a->error[0] ? ": " : "", a->error);
    }
    if (n_memory && !n_usable)
        return false;
    detail[0] = '\0';
    return true;
}

static bool avoided(const struct place_request *r, uint32_t donor)
{
    for (unsigned i = 0; i < r->n_avoid; i++)
        if (r->avoid[i] == donor)
            return true;
    return false;
}

static bool labels_differ(const struct question *q, const struct node *d, char *detail)
{
    const struct node *n = model_node(q->m, q->r->compute_node);
    const char *key = q->r->anti_affinity;
    if (!key[0])
        return true;
    const char *mine = label_of(n, key), *theirs = label_of(d, key);
    if (!mine || !theirs)
        explain(q, detail, "label %s is missing on %s", key, mine ? d->name : n->name);
    else if (!strcmp(mine, theirs))
        explain(q, detail, "label %s is %s on both nodes", key, mine);
    return mine && theirs && strcmp(mine, theirs) != 0;
}

bool verdict_allows(const struct question *q, uint32_t donor)
{
    struct question quiet = { .m = q->m, .r = q->r };
    char detail[WIRE_TEXT];
    return !avoided(q->r, donor) && labels_differ(&quiet, model_node(q->m, donor), detail);
}

static bool has_memory_adapter(const struct question *q, const struct node *d)
{
    for (unsigned i = 0; i < d->n_adapters; i++) {
        const struct adapter *a = model_adapter(q->m, d->adapters[i]);
        if (a && a->role == WIRE_MEMORY)
            return true;
    }
    return false;
}

char *verdict_memory(const struct question *q, const struct node *d, char text[WIRE_TEXT])
{
    char has[UNITS_SIZE_MAX], needs[UNITS_SIZE_MAX], capacity[UNITS_SIZE_MAX], lent[UNITS_SIZE_MAX],
        unowned[UNITS_SIZE_MAX] = "";
    uint64_t nobodys = model_unowned_bytes(d);
    if (nobodys)
        units_format_size(nobodys, unowned);
    snprintf(text, WIRE_TEXT, "lendable %s (capacity %s, lent %s%s%s), needs %s",
             units_format_size(model_lendable_bytes(d), has), units_format_size(model_capacity_bytes(d), capacity),
             units_format_size(d->lent_bytes, lent), nobodys ? ", held for nobody " : "", unowned,
             units_format_size(q->size_bytes, needs));
    return text;
}

static enum place_reason judge_node(const struct question *q, uint32_t donor, char *detail)
{
    const struct node *d = model_node(q->m, donor);
    char text[WIRE_TEXT];
    if (!ready(q, d, detail))
        return PLACE_NOT_READY;
    if (d->cordoned) {
        explain(q, detail, "the node is cordoned: it lends nothing new");
        return PLACE_CORDONED;
    }
    if (q->r->donor != NONE && q->r->donor != donor) {
        explain(q, detail, "the request asks for donor %s", model_node(q->m, q->r->donor)->name);
        return PLACE_NOT_PINNED;
    }
    if (avoided(q->r, donor)) {
        explain(q, detail, "the request avoids this donor");
        return PLACE_AVOIDED;
    }
    if (!labels_differ(q, d, detail))
        return PLACE_ANTI_AFFINITY;
    if (!has_memory_adapter(q, d)) {
        explain(q, detail, "none of its %u adapters has the role memory", d->n_adapters);
        return PLACE_NO_MEMORY_ADAPTER;
    }
    uint64_t lendable = model_lendable_bytes(d);
    if (lendable >= q->size_bytes)
        return PLACE_OK;
    if (q->explain)
        explain(q, detail, "%s: %" PRIu64 " bytes short", verdict_memory(q, d, text), q->size_bytes - lendable);
    return PLACE_INSUFFICIENT_MEMORY;
}

/* ---- rules that look at the path ------------------------------------------------------------------------------------
 */

/* The cost of a circuit's leg as the cabling is now; false when one of its links is down. */
static bool leg_alive(const struct model *m, struct leg *leg, uint32_t dead[2])
{
    leg->cost_ns = 0;
    for (unsigned i = 0; i + 1 < leg->n_ports; i += 2) {
        const struct port *p = model_port(m, leg->ports[i]);
        const struct link *l = p ? model_link(m, p->link) : NULL;
        dead[0] = leg->ports[i];
        dead[1] = leg->ports[i + 1];
        if (!l || !model_link_usable(m, l) || model_port_peer(m, leg->ports[i]) != leg->ports[i + 1])
            return false;
        leg->cost_ns += l->latency_ns + (p->sw != NONE ? model_switch(m, p->sw)->latency_ns : 0);
    }
    return true;
}

static bool circuit_quarantined(const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    if (c->severed)
        return true;
    for (const struct attachment *x = model_attachment(m, c->first_attachment); x;
         x = model_attachment(m, x->circuit_next))
        if (x->quarantined)
            return true;
    return false;
}

/* Whether the circuit that joins the pair can carry the request as far as rule ports_busy goes. */
static bool circuit_open(const struct question *q, struct candidate *c, char *detail)
{
    const struct circuit *x = model_circuit(q->m, c->circuit);
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
    uint32_t dead[2];
    if (x->channels != q->r->channels) {
        explain(q, detail, "circuit %s joins %s and %s with %u channel%s, the request asks for %u", x->id,
                adapter_name(q->m, c->compute, a), adapter_name(q->m, c->memory, b), x->channels,
                x->channels == 1 ? "" : "s", q->r->channels);
        return false;
    }
    if (circuit_quarantined(q->m, c->circuit)) {
        explain(q, detail, "circuit %s holds memory in quarantine", x->id);
        return false;
    }
    memcpy(c->legs, x->legs, sizeof c->legs);
    for (unsigned k = 0; k < x->channels; k++)
        if (!leg_alive(q->m, &c->legs[k], dead)) {
            explain(q, detail, "circuit %s runs over the link %s to %s, which is down", x->id,
                    model_port_name(q->m, dead[0], a), model_port_name(q->m, dead[1], b));
            return false;
        }
    return true;
}

static bool circuit_carries(const struct question *q, const struct candidate *c, char *detail)
{
    const struct circuit *x = model_circuit(q->m, c->circuit);
    unsigned limit = ADAPTER_PORT_GBPS;
    for (unsigned k = 0; k < x->channels; k++)
        for (unsigned i = 0; i + 1 < x->legs[k].n_ports; i += 2) {
            const struct link *l = model_link(q->m, model_port(q->m, x->legs[k].ports[i])->link);
            limit = l->gbps < limit ? l->gbps : limit;
        }
    if ((uint64_t)x->reserved_gbps + q->leg_gbps <= limit)
        return true;
    explain(q, detail, "circuit %s has %u of %u Gbit/s reserved%s, %u more are asked for", x->id, x->reserved_gbps,
            limit, x->channels == 2 ? " on each leg" : "", q->leg_gbps);
    return false;
}

/* Bonded and single circuits never share an adapter. */
static bool mixes(const struct question *q, const struct candidate *c, char *detail)
{
    uint32_t ends[2] = { c->compute, c->memory };
    char name[PORT_NAME_SIZE];
    for (int i = 0; i < 2; i++) {
        const struct adapter *a = model_adapter(q->m, ends[i]);
        if (q->r->channels == 2 ? a->n_circuits > a->bonded_circuits : a->bonded_circuits > 0) {
            explain(q, detail, "%s has a %s circuit, the request asks for a %s one", adapter_name(q->m, ends[i], name),
                    q->r->channels == 2 ? "single" : "bonded", q->r->channels == 2 ? "bonded" : "single");
            return true;
        }
    }
    return false;
}

static unsigned busy_ports(const struct model *m, const struct adapter *a)
{
    unsigned n = 0;
    for (unsigned i = 0; i < a->n_ports; i++)
        n += !model_port_free(model_port(m, a->ports[i]));
    return n;
}

static void explain_busy(const struct question *q, const struct candidate *c, char *detail)
{
    uint32_t ends[2] = { c->compute, c->memory };
    char name[PORT_NAME_SIZE], other[PORT_NAME_SIZE];
    for (int i = 0; q->explain && i < 2; i++) {
        const struct adapter *a = model_adapter(q->m, ends[i]);
        unsigned busy = busy_ports(q->m, a);
        if (busy == a->n_ports || (busy && q->r->channels == 2)) {
            explain(q, detail, "%u of the %u ports of %s are in use by other circuits", busy, a->n_ports,
                    adapter_name(q->m, ends[i], name));
            return;
        }
    }
    explain(q, detail, "every path from %s to %s runs over ports that other circuits use",
            adapter_name(q->m, c->compute, name), adapter_name(q->m, c->memory, other));
}

static void explain_no_path(const struct question *q, char *detail)
{
    char down[48] = "";
    if (q->links_down)
        snprintf(down, sizeof down, "; %u cable%s of the fabric %s down", q->links_down, q->links_down == 1 ? "" : "s",
                 q->links_down == 1 ? "is" : "are");
    explain(q, detail, "no %s of at most %d switches, not even with all ports free%s",
            q->r->channels == 2 ? "two disjoint paths" : "path", PATH_SWITCHES_MAX, down);
}

/* Over free ports; 'any': whatever its bandwidth. */
static int find_path(const struct question *q, unsigned slot, struct candidate *c, bool any, bool *found, struct err *e)
{
    struct path_rules rules = { .m = q->m, .min_gbps = any ? 0 : q->leg_gbps };
    if (q->r->channels == 2)
        return paths_bonded(q->paths, &rules, c->compute, c->memory, c->legs, found, e);
    *found = q->all ? paths_best(q->paths, any ? slot + 1 : slot, c->memory, &c->legs[0])
                    : paths_between(q->f, &rules, c->compute, c->memory, &c->legs[0]);
    return 0;
}

/* Rules no_path, ports_busy and bandwidth for a pair that no circuit joins.  Without 'explain' any of the three will
 * do. */
static int judge_new(const struct question *q, unsigned slot, struct candidate *c, enum place_reason *reason,
                     char *detail, struct err *e)
{
    bool found = false, other = false;
    bool mixed = mixes(q, c, detail);
    if (!mixed && find_path(q, slot, c, false, &found, e) < 0)
        return -1;
    *reason = found ? PLACE_OK : PLACE_PORTS_BUSY;
    if (found || !q->explain)
        return 0;
    if (!topology_reaches(q->t, q->m, c->compute, c->memory, q->r->channels)) {
        *reason = PLACE_NO_PATH;
        explain_no_path(q, detail);
        return 0;
    }
    if (mixed)
        return 0;
    if (q->leg_gbps && find_path(q, slot, c, true, &other, e) < 0)
        return -1;
    if (other) {
        *reason = PLACE_BANDWIDTH;
        explain(q, detail, "no free path carries %u Gbit/s%s", q->leg_gbps, q->r->channels == 2 ? " on each leg" : "");
    } else {
        explain_busy(q, c, detail);
    }
    return 0;
}

static enum place_reason judge_circuit(const struct question *q, struct candidate *c, char *detail)
{
    if (q->explain && !topology_reaches(q->t, q->m, c->compute, c->memory, q->r->channels)) {
        explain_no_path(q, detail);
        return PLACE_NO_PATH;
    }
    if (!circuit_open(q, c, detail))
        return PLACE_PORTS_BUSY;
    return circuit_carries(q, c, detail) ? PLACE_OK : PLACE_BANDWIDTH;
}

/* ---- section --------------------------------------------------------------------------------------------------------
 */

static uint64_t section_size(const struct adapter *a, unsigned section)
{
    uint64_t left = a->window_bytes - section * SECTION_BYTES;
    return left < SECTION_BYTES ? left : SECTION_BYTES;
}

/* The lowest gap of a section; its attachments are listed by offset. */
static bool find_gap(const struct model *m, const struct adapter *a, unsigned section, uint64_t size, uint64_t *offset)
{
    uint64_t at = 0;
    const struct attachment *x = model_attachment(m, a->sections[section].first_attachment);
    for (; x; x = model_attachment(m, x->section_next)) {
        if (x->offset_bytes - at >= size)
            break;
        at = x->offset_bytes + x->size_bytes;
    }
    if (!x && (at > section_size(a, section) || section_size(a, section) - at < size))
        return false;
    *offset = at;
    return true;
}

/* The lowest one that nothing is bound to; n_sections when there is none. */
static unsigned free_section(const struct model *m, uint32_t adapter, uint64_t size)
{
    const struct adapter *a = model_adapter(m, adapter);
    unsigned s = 0;
    while (s < a->n_sections && (!model_section_free(m, adapter, s) || section_size(a, s) < size))
        s++;
    return s;
}

static bool find_section(const struct question *q, struct candidate *c)
{
    const struct adapter *a = model_adapter(q->m, c->compute);
    for (unsigned s = 0; c->circuit != NONE && s < a->n_sections; s++)
        if (a->sections[s].circuit == c->circuit && !a->sections[s].n_unowned &&
            !model_section_barred(q->m, c->compute, s) && find_gap(q->m, a, s, q->size_bytes, &c->offset_bytes)) {
            c->section = s;
            return true;
        }
    c->section = free_section(q->m, c->compute, q->size_bytes);
    c->offset_bytes = 0;
    return c->section < a->n_sections;
}

bool verdict_new_section(const struct question *q, uint32_t compute_adapter)
{
    const struct adapter *a = model_adapter(q->m, compute_adapter);
    return free_section(q->m, compute_adapter, q->size_bytes) < a->n_sections;
}

static void explain_section(const struct question *q, const struct candidate *c, char *detail)
{
    const struct adapter *a = model_adapter(q->m, c->compute);
    char name[PORT_NAME_SIZE], size[UNITS_SIZE_MAX];
    unsigned n_free = 0;
    for (unsigned s = 0; s < a->n_sections; s++)
        n_free += model_section_free(q->m, c->compute, s);
    explain(q, detail, "none of the %u sections of %s (%u free) has room for %s over this circuit", a->n_sections,
            adapter_name(q->m, c->compute, name), n_free, units_format_size(q->size_bytes, size));
}

/* ---- all rules of a pair, and the donor -----------------------------------------------------------------------------
 */

static int judge_pair(const struct question *q, unsigned slot, struct candidate *c, enum place_reason *reason,
                      char *detail, struct err *e)
{
    if (c->circuit != NONE)
        *reason = judge_circuit(q, c, detail);
    else if (judge_new(q, slot, c, reason, detail, e) < 0)
        return -1;
    if (*reason != PLACE_OK)
        return 0;
    c->cost_ns = c->legs[0].cost_ns;
    if (q->r->channels == 2 && c->legs[1].cost_ns > c->cost_ns)
        c->cost_ns = c->legs[1].cost_ns;
    c->has_cost = true;
    if (q->r->has_max_cost && c->cost_ns > q->r->max_cost_ns) {
        *reason = PLACE_TOO_FAR;
        explain(q, detail, "the cheapest path costs %" PRIu64 " ns, the request allows %" PRIu64 " ns", c->cost_ns,
                q->r->max_cost_ns);
    } else if (!find_section(q, c)) {
        *reason = PLACE_NO_SECTION;
        explain_section(q, c, detail);
    }
    return 0;
}

/* Whether 'c' is a better candidate than the one that 'v' holds: cost, links, port names. */
static bool better(const struct question *q, const struct candidate *c, const struct verdict *v)
{
    const struct leg *best = v->c.best.legs;
    unsigned n_ports = c->legs[0].n_ports + (q->r->channels == 2 ? c->legs[1].n_ports : 0);
    if (c->cost_ns != v->c.cost_ns)
        return c->cost_ns < v->c.cost_ns;
    if (n_ports != v->n_ports)
        return n_ports < v->n_ports;
    int order = path_compare_names(q->f, &c->legs[0], &best[0]);
    return order ? order < 0 : q->r->channels == 2 && path_compare_names(q->f, &c->legs[1], &best[1]) < 0;
}

static void accept(const struct question *q, const struct candidate *c, struct verdict *v, uint32_t donor)
{
    const struct circuit *x = model_circuit(q->m, c->circuit);
    v->n_ports = c->legs[0].n_ports + (q->r->channels == 2 ? c->legs[1].n_ports : 0);
    v->reserved_gbps = x ? x->reserved_gbps : 0;
    v->n_attachments = x ? x->n_attachments : 0;
    v->c.cost_ns = c->cost_ns;
    v->c.best = (struct reservation){
        .compute_node = q->r->compute_node,
        .donor = donor,
        .compute_adapter = c->compute,
        .memory_adapter = c->memory,
        .size_bytes = q->size_bytes,
        .requested_bytes = q->r->requested_bytes,
        .cost_ns = c->cost_ns,
        .channels = q->r->channels,
        .bandwidth_gbps = q->r->bandwidth_gbps,
        .section = c->section,
        .offset_bytes = c->offset_bytes,
    };
    memcpy(v->c.best.legs, c->legs, q->r->channels * sizeof *c->legs);
}

/* Takes one candidate's outcome into the donor's verdict. */
static void merge(const struct question *q, struct verdict *v, const struct candidate *c, enum place_reason reason,
                  const char *detail, uint32_t donor, bool first)
{
    if (reason == PLACE_OK) {
        if (first || v->c.reason != PLACE_OK || better(q, c, v))
            accept(q, c, v, donor);
        v->c.reason = PLACE_OK;
        v->c.detail[0] = '\0';
        return;
    }
    if (!first && (v->c.reason == PLACE_OK || v->c.reason > reason ||
                   (v->c.reason == reason && !(c->has_cost && c->cost_ns < v->c.cost_ns))))
        return;
    v->c.reason = reason;
    v->has_cost = c->has_cost;
    v->c.cost_ns = c->cost_ns;
    memcpy(v->c.detail, detail, WIRE_TEXT);
}

static int judge_adapter(const struct question *q, unsigned i, uint32_t donor, struct verdict *v, bool *first,
                         struct err *e)
{
    const struct node *d = model_node(q->m, donor);
    char detail[WIRE_TEXT] = "";
    for (unsigned k = 0; k < d->n_adapters; k++) {
        struct candidate c = { .compute = q->adapters[i], .memory = d->adapters[k] };
        enum place_reason reason;
        if (!usable(model_adapter(q->m, c.memory), WIRE_MEMORY))
            continue;
        c.circuit = model_find_pair_circuit(q->m, c.compute, c.memory);
        v->joined = v->joined || c.circuit != NONE;
        if (judge_pair(q, 2 * i, &c, &reason, detail, e) < 0)
            return -1;
        merge(q, v, &c, reason, detail, donor, *first);
        *first = false;
    }
    return 0;
}

int verdict_of(struct verdict *out, const struct question *q, uint32_t donor, struct err *e)
{
    bool first = true;
    memset(out, 0, sizeof *out);
    out->c.node = donor;
    out->c.lendable_bytes = model_lendable_bytes(model_node(q->m, donor));
    out->c.reason = judge_node(q, donor, out->c.detail);
    if (out->c.reason != PLACE_OK)
        return 0;
    for (unsigned i = 0; i < q->n_adapters; i++)
        if (judge_adapter(q, i, donor, out, &first, e) < 0)
            return -1;
    return 0;
}

enum place_reason verdict_node(const struct question *q, uint32_t donor, char detail[WIRE_TEXT])
{
    return judge_node(q, donor, detail);
}

int verdict_pairs(struct verdict_pair *list, size_t *n, const struct question *q, uint32_t donor, struct err *e)
{
    const struct node *d = model_node(q->m, donor);
    *n = 0;
    for (unsigned i = 0; i < q->n_adapters; i++)
        for (unsigned k = 0; k < d->n_adapters; k++) {
            struct candidate c = { .compute = q->adapters[i], .memory = d->adapters[k] };
            struct verdict_pair *p = &list[*n];
            if (!usable(model_adapter(q->m, c.memory), WIRE_MEMORY))
                continue;
            c.circuit = model_find_pair_circuit(q->m, c.compute, c.memory);
            *p = (struct verdict_pair){ .compute = c.compute, .memory = c.memory, .circuit = c.circuit };
            if (judge_pair(q, 2 * i, &c, &p->reason, p->detail, e) < 0)
                return -1;
            p->has_cost = c.has_cost;
            p->cost_ns = c.cost_ns;
            memcpy(p->legs, c.legs, sizeof p->legs);
            p->section = c.section;
            p->offset_bytes = c.offset_bytes;
            (*n)++;
        }
    return 0;
}
