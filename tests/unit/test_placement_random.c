/* links: memlane-core */
/* Placement against a slow reference: random racks, load made by the engine's own decisions, random constraints, failed
 * links.
 *
 * The reference is written from the text of the design.  It shares nothing with the engine: it reads the rack file's
 * form, keeps its own list of reservations, walks every simple path, and compares names as text.  A case that differs
 * prints the rack and the requests so far, as memlaned --place-only reads them. */
#include "core/placement.h"
#include "json.h"
#include "rackfile.h"
#include "unit_main.h"
#include "units.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTS_MAX 200
#define HELD_MAX 128
#define PATHS_MAX 4096
#define NODES_MAX 8
#define SWITCHES_MAX 6

/* ---- the reference's own rack ---------------------------------------------------------------------------------------
 */

struct rport {
    char name[40];
    int node, adapter, sw, number; /* adapter: number in its node; sw: -1 on adapters */
    int peer;                      /* -1: no cable */
    unsigned ns, gbps;
    bool down;
};

struct rpath {
    int n, ports[8];
    uint64_t cost;
};

struct held {
    bool live;
    char id[16];
    int compute, donor, ca, ma;
    uint64_t size, offset;
    unsigned channels, gbps, section;
    struct rpath legs[2];
};

struct ref {
    struct rack rack;
    int n_ports, n_held;
    struct rport ports[PORTS_MAX];
    struct held held[HELD_MAX];
    bool cordoned[NODES_MAX], unready[NODES_MAX];
    uint64_t headroom[NODES_MAX];
};

struct want {           /* a request in the reference's terms */
    int compute, donor; /* -1: not pinned */
    int avoid;          /* -1: none */
    uint64_t bytes;
    unsigned channels, gbps;
    bool has_max;
    uint64_t max;
    int policy;
    const char *label; /* NULL: none */
};

struct answer { /* for one donor */
    const char *reason;
    uint64_t cost;
    int ca, ma;
    struct rpath legs[2];
    unsigned section;
    uint64_t offset;
};

static uint64_t seed;
static bool rich;        /* of this rack: mostly nodes of both roles with much memory, well cabled */
static unsigned bonding; /* percent of requests */

static unsigned roll(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((seed >> 33) % n);
}

static bool chance(unsigned percent)
{
    return roll(100) < percent;
}

/* ---- reference: numbers ---------------------------------------------------------------------------------------------
 */

static unsigned half(const struct want *w)
{
    return w->channels == 2 ? (w->gbps + 1) / 2 : w->gbps;
}

static uint64_t ref_capacity(const struct ref *r, int node)
{
    uint64_t free_bytes = r->rack.nodes[node].free_bytes;
    return free_bytes > r->headroom[node] ? free_bytes - r->headroom[node] : 0;
}

static uint64_t ref_lendable(const struct ref *r, int node)
{
    uint64_t lent = 0, capacity = ref_capacity(r, node);
    for (int i = 0; i < r->n_held; i++)
        if (r->held[i].live && r->held[i].donor == node)
            lent += r->held[i].size;
    return capacity > lent ? capacity - lent : 0;
}

static bool port_busy(const struct ref *r, int port)
{
    for (int i = 0; i < r->n_held; i++)
        for (unsigned k = 0; r->held[i].live && k < r->held[i].channels; k++)
            for (int p = 0; p < r->held[i].legs[k].n; p++)
                if (r->held[i].legs[k].ports[p] == port)
                    return true;
    return false;
}

static unsigned port_reserved(const struct ref *r, int port, unsigned *count)
{
    unsigned sum = 0;
    *count = 0;
    for (int i = 0; i < r->n_held; i++)
        for (unsigned k = 0; r->held[i].live && k < r->held[i].channels; k++)
            for (int p = 0; p < r->held[i].legs[k].n; p++)
                if (r->held[i].legs[k].ports[p] == port) {
                    sum += r->held[i].channels == 2 ? (r->held[i].gbps + 1) / 2 : r->held[i].gbps;
                    ++*count;
                }
    return sum;
}

static const struct held *joining(const struct ref *r, int compute, int ca, int donor, int ma)
{
    for (int i = 0; i < r->n_held; i++) {
        const struct held *h = &r->held[i];
        if (h->live && h->compute == compute && h->ca == ca && h->donor == donor && h->ma == ma)
            return h;
    }
    return NULL;
}

static bool mixed(const struct ref *r, int node, int adapter, unsigned channels)
{
    for (int i = 0; i < r->n_held; i++) {
        const struct held *h = &r->held[i];
        bool touches = (h->compute == node && h->ca == adapter) || (h->donor == node && h->ma == adapter);
        if (h->live && touches && h->channels != channels)
            return true;
    }
    return false;
}

/* ---- reference: paths -----------------------------------------------------------------------------------------------
 */

static int compare_names(const struct ref *r, const struct rpath *a, const struct rpath *b)
{
    for (int i = 0; i < a->n && i < b->n; i++) {
        int c = strcmp(r->ports[a->ports[i]].name, r->ports[b->ports[i]].name);
        if (c)
            return c;
    }
    return a->n - b->n;
}

static struct rpath found_paths[2][PATHS_MAX];

struct walk {
    const struct ref *r;
    bool all_free;
    int from, to_node, to_adapter, only_to; /* only_to: this port number, or -1 */
    struct rpath *out;
    int n;
    bool visited[SWITCHES_MAX];
};

/* 'port' is the last of 'so_far'; takes its cable. */
static void walk_on(struct walk *w, struct rpath so_far, int n_switches)
{
    const struct rport *p = &w->r->ports[so_far.ports[so_far.n - 1]];
    if (p->peer < 0 || p->down)
        return;
    const struct rport *q = &w->r->ports[p->peer];
    if (!w->all_free && (port_busy(w->r, so_far.ports[so_far.n - 1]) || port_busy(w->r, p->peer)))
        return;
    so_far.ports[so_far.n++] = p->peer;
    so_far.cost += p->ns;
    if (q->sw < 0) {
        if (q->node == w->to_node && q->adapter == w->to_adapter && (w->only_to < 0 || q->number == w->only_to)) {
            ck_assert_int_lt(w->n, PATHS_MAX);
            w->out[w->n++] = so_far;
        }
        return;
    }
    if (n_switches == 3 || w->visited[q->sw])
        return;
    w->visited[q->sw] = true;
    so_far.cost += w->r->rack.switches[q->sw].latency_ns;
    for (int i = 0; i < w->r->n_ports; i++)
        if (w->r->ports[i].sw == q->sw && i != p->peer) {
            struct rpath next = so_far;
            next.ports[next.n++] = i;
            if (next.n < 8)
                walk_on(w, next, n_switches + 1);
        }
    w->visited[q->sw] = false;
}

static int walk_all(const struct ref *r, bool all_free, int node, int ca, int donor, int ma, int port,
                    struct rpath *out)
{
    struct walk w = { .r = r, .all_free = all_free, .to_node = donor, .to_adapter = ma, .only_to = port, .out = out };
    for (int i = 0; i < r->n_ports; i++) {
        const struct rport *p = &r->ports[i];
        if (p->sw < 0 && p->node == node && p->adapter == ca && (port < 0 || p->number == port))
            walk_on(&w, (struct rpath){ .n = 1, .ports = { i } }, 0);
    }
    return w.n;
}

static bool wide_enough(const struct ref *r, const struct rpath *p, unsigned gbps)
{
    for (int i = 0; i < p->n; i++) {
        unsigned count, reserved = port_reserved(r, p->ports[i], &count);
        if (reserved + gbps > r->ports[p->ports[i]].gbps || (r->ports[p->ports[i]].sw < 0 && reserved + gbps > 100))
            return false;
    }
    return true;
}

static bool share_port(const struct rpath *a, const struct rpath *b)
{
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++)
            if (a->ports[i] == b->ports[k])
                return true;
    return false;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_legs(const struct ref *r, const struct rpath a[2], const struct rpath b[2])
{
    int c = order(max64(a[0].cost, a[1].cost), max64(b[0].cost, b[1].cost));
    c = c ? c : order(a[0].cost + a[1].cost, b[0].cost + b[1].cost);
    c = c ? c : a[0].n + a[1].n - b[0].n - b[1].n;
    c = c ? c : compare_names(r, &a[0], &b[0]);
    return c ? c : compare_names(r, &a[1], &b[1]);
}

/* The best way from adapter to adapter; gbps 0: any. */
static bool best_way(const struct ref *r, bool all_free, const struct want *w, unsigned gbps, int ca, int donor, int ma,
                     struct rpath out[2])
{
    bool found = false;
    if (w->channels == 1) {
        int n = walk_all(r, all_free, w->compute, ca, donor, ma, -1, found_paths[0]);
        for (int i = 0; i < n; i++) {
            struct rpath *p = &found_paths[0][i];
            if (gbps && !wide_enough(r, p, gbps))
                continue;
            int c = found ? order(p->cost, out[0].cost) : -1;
            c = c ? c : p->n - out[0].n;
            c = c ? c : compare_names(r, p, &out[0]);
            if (c < 0)
                out[0] = *p;
            found = true;
        }
        return found;
    }
    int n0 = walk_all(r, all_free, w->compute, ca, donor, ma, 0, found_paths[0]);
    int n1 = walk_all(r, all_free, w->compute, ca, donor, ma, 1, found_paths[1]);
    for (int i = 0; i < n0; i++)
        for (int k = 0; k < n1; k++) {
            struct rpath legs[2] = { found_paths[0][i], found_paths[1][k] };
            if (share_port(&legs[0], &legs[1]) ||
                (gbps && (!wide_enough(r, &legs[0], gbps) || !wide_enough(r, &legs[1], gbps))))
                continue;
            if (!found || compare_legs(r, legs, out) < 0)
                memcpy(out, legs, sizeof legs);
            found = true;
        }
    return found;
}

/* ---- reference: sections --------------------------------------------------------------------------------------------
 */

static bool range_free(const struct ref *r, int node, int ca, unsigned section, uint64_t from, uint64_t size)
{
    for (int i = 0; i < r->n_held; i++) {
        const struct held *h = &r->held[i];
        if (h->live && h->compute == node && h->ca == ca && h->section == section && from < h->offset + h->size &&
            h->offset < from + size)
            return false;
    }
    return true;
}

static bool section_fit(const struct ref *r, int node, int ca, unsigned section, uint64_t size, uint64_t *offset)
{
    uint64_t window = r->rack.nodes[node].adapters[ca].window_bytes, best = UINT64_MAX;
    uint64_t end = window > (section + 1) * TIB ? TIB : window - section * TIB;
    if (size <= end && range_free(r, node, ca, section, 0, size))
        best = 0;
    for (int i = 0; i < r->n_held; i++) {
        const struct held *h = &r->held[i];
        uint64_t at = h->offset + h->size;
        if (h->live && h->compute == node && h->ca == ca && h->section == section && at + size <= end && at < best &&
            range_free(r, node, ca, section, at, size))
            best = at;
    }
    *offset = best;
    return best != UINT64_MAX;
}

static bool pick_section(const struct ref *r, const struct want *w, uint64_t size, int ca, int donor, int ma,
                         unsigned *section, uint64_t *offset)
{
    uint64_t window = r->rack.nodes[w->compute].adapters[ca].window_bytes;
    unsigned n = (unsigned)((window + TIB - 1) / TIB);
    for (int pass = 0; pass < 2; pass++)
        for (*section = 0; *section < n; ++*section) {
            bool mine = false, used = false;
            for (int i = 0; i < r->n_held; i++) {
                const struct held *h = &r->held[i];
                if (h->live && h->compute == w->compute && h->ca == ca && h->section == *section) {
                    used = true;
                    mine = h->donor == donor && h->ma == ma;
                }
            }
            if ((pass == 0 ? mine : !used) && section_fit(r, w->compute, ca, *section, size, offset))
                return true;
        }
    return false;
}

/* ---- reference: rules -----------------------------------------------------------------------------------------------
 */

static const char *const rule_names[] = {
    "not_ready",           "cordoned", "not_pinned", "avoided",   "anti_affinity", "no_memory_adapter",
    "insufficient_memory", "no_path",  "ports_busy", "bandwidth", "too_far",       "no_section"
};
#define N_RULES 12

static const char *ref_label(const struct ref *r, int node, const char *key)
{
    for (unsigned i = 0; i < r->rack.nodes[node].n_labels; i++)
        if (!strcmp(r->rack.nodes[node].labels[i].key, key))
            return r->rack.nodes[node].labels[i].value;
    return NULL;
}

/* How many rules the pair passes, one after the other. */
static int rules_passed(const struct ref *r, const struct want *w, uint64_t size, int ca, int donor, int ma,
                        struct answer *a)
{
    const struct held *h = joining(r, w->compute, ca, donor, ma);
    struct rpath any[2];
    bool alive = true;
    if (!best_way(r, true, w, 0, ca, donor, ma, any))
        return 7;
    if (h) {
        for (unsigned k = 0; k < h->channels; k++)
            for (int i = 0; i < h->legs[k].n; i++)
                alive = alive && !r->ports[h->legs[k].ports[i]].down;
        if (!alive || h->channels != w->channels)
            return 8;
        memcpy(a->legs, h->legs, sizeof a->legs);
        for (unsigned k = 0; k < h->channels; k++)
            if (!wide_enough(r, &h->legs[k], half(w)))
                return 9;
    } else {
        if (mixed(r, w->compute, ca, w->channels) || mixed(r, donor, ma, w->channels) ||
            !best_way(r, false, w, 0, ca, donor, ma, any))
            return 8;
        if (!best_way(r, false, w, half(w), ca, donor, ma, a->legs))
            return 9;
    }
    a->cost = w->channels == 2 ? max64(a->legs[0].cost, a->legs[1].cost) : a->legs[0].cost;
    if (w->has_max && a->cost > w->max)
        return 10;
    return pick_section(r, w, size, ca, donor, ma, &a->section, &a->offset) ? N_RULES : 11;
}

static int node_rules(const struct ref *r, const struct want *w, uint64_t size, int donor)
{
    bool memory = false;
    const char *mine = w->label ? ref_label(r, w->compute, w->label) : NULL;
    const char *theirs = w->label ? ref_label(r, donor, w->label) : NULL;
    for (unsigned i = 0; i < r->rack.nodes[donor].n_adapters; i++)
        memory = memory || r->rack.nodes[donor].adapters[i].role == WIRE_MEMORY;
    if (r->unready[donor])
        return 0;
    if (r->cordoned[donor])
        return 1;
    if (w->donor >= 0 && w->donor != donor)
        return 2;
    if (w->avoid == donor)
        return 3;
    if (w->label && (!mine || !theirs || !strcmp(mine, theirs)))
        return 4;
    if (!memory)
        return 5;
    return ref_lendable(r, donor) < size ? 6 : N_RULES;
}

static struct answer ref_donor(const struct ref *r, const struct want *w, uint64_t size, int donor)
{
    struct answer best = { 0 };
    int furthest = node_rules(r, w, size, donor);
    bool first = true;
    const struct rack_node *c = &r->rack.nodes[w->compute], *d = &r->rack.nodes[donor];
    for (int ca = 0; furthest == N_RULES && ca < (int)c->n_adapters; ca++)
        for (int ma = 0; ma < (int)d->n_adapters; ma++) {
            struct answer a = { .ca = ca, .ma = ma };
            if (c->adapters[ca].role != WIRE_COMPUTE || d->adapters[ma].role != WIRE_MEMORY)
                continue;
            int passed = rules_passed(r, w, size, ca, donor, ma, &a);
            a.reason = passed == N_RULES ? "ok" : rule_names[passed];
            int had = first ? -1 : !strcmp(best.reason, "ok") ? N_RULES : 0;
            for (int i = 0; had == 0 && i < N_RULES; i++)
                if (!strcmp(best.reason, rule_names[i])) {
                    had = i;
                    break;
                }
            int links_a = a.legs[0].n + a.legs[1].n, links_b = best.legs[0].n + best.legs[1].n;
            int o = order(a.cost, best.cost);
            o = o ? o : links_a - links_b;
            o = o ? o : compare_names(r, &a.legs[0], &best.legs[0]);
            o = o ? o : compare_names(r, &a.legs[1], &best.legs[1]);
            if (passed > had || (passed == N_RULES && had == N_RULES && o < 0))
                best = a;
            first = false;
        }
    if (first)
        best.reason = furthest == N_RULES ? "ok" : rule_names[furthest];
    return best;
}

/* ---- reference: order -----------------------------------------------------------------------------------------------
 */

static unsigned worst_port(const struct ref *r, const struct answer *a, bool count)
{
    unsigned worst = 0;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < a->legs[k].n; i++) {
            unsigned n, reserved = port_reserved(r, a->legs[k].ports[i], &n);
            unsigned v = count ? n : reserved;
            worst = v > worst ? v : worst;
        }
    return worst;
}

static bool lends(const struct ref *r, int donor, int compute)
{
    for (int i = 0; i < r->n_held; i++)
        if (r->held[i].live && r->held[i].donor == donor && (compute < 0 || r->held[i].compute == compute))
            return true;
    return false;
}

static int ref_order(const struct ref *r, const struct want *w, int x, const struct answer *a, int y,
                     const struct answer *b)
{
    int c = 0;
    uint64_t lx = ref_lendable(r, x), ly = ref_lendable(r, y), cx = ref_capacity(r, x), cy = ref_capacity(r, y);
    if (w->policy == PLACE_NEAREST) {
        c = order(a->cost, b->cost);
        c = c ? c : order(ly, lx);
    } else if (w->policy == PLACE_BALANCED) {
        long double fx = (long double)(lx / MIB) * (long double)(cy / MIB),
                    fy = (long double)(ly / MIB) * (long double)(cx / MIB);
        c = fx > fy ? -1 : fx < fy; /* sizes here are whole MiB: exact */
        c = c ? c : order(a->cost, b->cost);
    } else if (w->policy == PLACE_PACKED) {
        c = lends(r, y, w->compute) - lends(r, x, w->compute);
        c = c ? c : lends(r, y, -1) - lends(r, x, -1);
        c = c ? c : order(cy, cx);
        c = c ? c : order(a->cost, b->cost);
    } else {
        c = order(worst_port(r, a, false), worst_port(r, b, false));
        c = c ? c : order(worst_port(r, a, true), worst_port(r, b, true));
        c = c ? c : order(a->cost, b->cost);
    }
    return c ? c : strcmp(r->rack.nodes[x].name, r->rack.nodes[y].name);
}

/* ---- random racks ---------------------------------------------------------------------------------------------------
 */

struct text {
    char s[1 << 16];
    size_t n;
};

PRINTF(2, 3) static void put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    t->n += (size_t)vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, ap);
    va_end(ap);
    ck_assert_uint_lt(t->n, sizeof t->s);
}

struct cabling { /* the free ports while a rack is made */
    char adapter[64][40], sw[128][40];
    int n_adapter, n_sw, n_links;
};

static void take(char list[][40], int *n, int i, char out[40])
{
    memcpy(out, list[i], 40);
    memmove(list[i], list[--*n], 40);
}

static void random_nodes(struct text *t, struct cabling *c, int n_nodes)
{
    static const char *const windows[] = { "4398046511104", "4398046511104", "3221225472", "1100585369600" };
    static const uint64_t frees[] = { 0, 4 * GIB, 16 * GIB, 16 * GIB, 64 * GIB, 3 * TIB };
    for (int i = 0; i < n_nodes; i++) {
        int name = i < 2 ? i + 1 : i + 8,
            n_adapters = rich ? 2 + (int)roll(2) : (int)roll(4); /* n1, n2, n10, n11: bytes, not numbers */
        bool ports_one = chance(10);
        put(t, "%s{\"name\":\"n%d\",\"memory_bytes\":%llu,\"free_bytes\":%llu,\"block_bytes\":268435456,", i ? "," : "",
            name, (unsigned long long)(8 * TIB),
            (unsigned long long)(frees[rich ? 2 + roll(4) : roll(6)] + roll(3) * 256 * MIB));
        if (chance(80))
            put(t, "\"labels\":{\"feed\":\"%c\"},", 'a' + (int)roll(2));
        put(t, "\"adapters\":[");
        n_adapters = n_adapters ? n_adapters : (int)roll(2);
        for (int k = 0; k < n_adapters; k++) {
            bool compute = n_adapters > 1 && k < 2 ? k == 0 : chance(40);
            put(t, "%s{\"name\":\"x%d\",\"role\":\"%s\",\"ports\":%d", k ? "," : "", k, compute ? "compute" : "memory",
                ports_one ? 1 : 2);
            if (compute)
                put(t, ",\"window_addr\":\"0x%x00000000000\",\"window_bytes\":%s", 1 + k, windows[roll(4)]);
            put(t, "}");
            for (int p = 0; p < (ports_one ? 1 : 2); p++)
                snprintf(c->adapter[c->n_adapter++], 40, "n%d/x%d/%d", name, k, p);
        }
        put(t, "]}");
    }
}

static void random_switches(struct text *t, struct cabling *c)
{
    int n = rich ? 1 + (int)roll(SWITCHES_MAX - 1) : (int)roll(SWITCHES_MAX);
    put(t, "],\"switches\":[");
    for (int i = 0; i < n; i++) {
        int ports = rich ? 14 + (int)roll(8) : 6 + (int)roll(10);
        put(t, "%s{\"name\":\"s%d\",\"kind\":\"circuit\",\"ports\":%d,\"latency_ns\":%u}", i ? "," : "", i + 9, ports,
            roll(3) * 10);
        for (int p = 1; p <= ports; p++)
            snprintf(c->sw[c->n_sw++], 40, "s%d/%d", i + 9, p);
    }
}

static void link_text(struct text *t, struct cabling *c, const char *a, const char *b)
{
    static const unsigned gbps[] = { 100, 100, 100, 40, 50, 200 };
    put(t, "%s{\"a\":\"%s\",\"b\":\"%s\",\"latency_ns\":%u,\"gbps\":%u}", c->n_links++ ? "," : "", a, b, roll(3) * 5,
        gbps[roll(6)]);
}

static void random_links(struct text *t, struct cabling *c)
{
    char a[40], b[40];
    int trunks = rich ? 6 + (int)roll(16) : (int)roll(12);
    put(t, "],\"links\":[");
    for (; trunks > 0 && c->n_sw > 2; trunks--) {
        take(c->sw, &c->n_sw, (int)roll((unsigned)c->n_sw), a);
        take(c->sw, &c->n_sw, (int)roll((unsigned)c->n_sw), b);
        link_text(t, c, a, b);
    }
    while (c->n_adapter > 1) {
        take(c->adapter, &c->n_adapter, (int)roll((unsigned)c->n_adapter), a);
        if (c->n_sw && chance(85)) {
            take(c->sw, &c->n_sw, (int)roll((unsigned)c->n_sw), b);
            link_text(t, c, a, b);
        } else if (chance(80)) {
            take(c->adapter, &c->n_adapter, (int)roll((unsigned)c->n_adapter), b);
            link_text(t, c, a, b);
        }
    }
    put(t, "]}");
}

static void random_rack(struct text *t)
{
    struct cabling c = { 0 };
    t->n = 0;
    put(t, "{\"name\":\"random\",\"nodes\":[");
    random_nodes(t, &c, 3 + (int)roll(NODES_MAX - 2));
    random_switches(t, &c);
    random_links(t, &c);
}

/* ---- engine and reference side by side ------------------------------------------------------------------------------
 */

struct rig {
    struct model *m;
    struct topology *t;
    struct ref r;
    struct text rack, log;
    unsigned n_ids;
};

static unsigned counts[N_RULES + 1], n_bonded, n_shared, n_compared, n_ties;

static void ref_add_port(struct ref *r, const char *name, int node, int adapter, int sw, int number)
{
    struct rport *p = &r->ports[r->n_ports++];
    ck_assert_int_lt(r->n_ports, PORTS_MAX);
    *p = (struct rport){ .node = node, .adapter = adapter, .sw = sw, .number = number, .peer = -1 };
    snprintf(p->name, sizeof p->name, "%s", name);
}

static int ref_port(const struct ref *r, const char *name)
{
    for (int i = 0; i < r->n_ports; i++)
        if (!strcmp(r->ports[i].name, name))
            return i;
    ck_abort_msg("no port %s", name);
}

static void ref_make(struct ref *r)
{
    char name[PORT_NAME_SIZE];
    for (int i = 0; i < (int)r->rack.n_nodes; i++)
        for (int k = 0; k < (int)r->rack.nodes[i].n_adapters; k++)
            for (int p = 0; p < (int)r->rack.nodes[i].adapters[k].ports; p++) {
                snprintf(name, sizeof name, "%s/%s/%d", r->rack.nodes[i].name, r->rack.nodes[i].adapters[k].name, p);
                ref_add_port(r, name, i, k, -1, p);
            }
    for (int i = 0; i < (int)r->rack.n_switches; i++)
        for (int p = 1; p <= (int)r->rack.switches[i].ports; p++) {
            snprintf(name, sizeof name, "%s/%d", r->rack.switches[i].name, p);
            ref_add_port(r, name, -1, -1, i, p);
        }
    for (size_t i = 0; i < r->rack.n_links; i++) {
        const struct rack_link *l = &r->rack.links[i];
        int a = ref_port(r, port_name_format(&l->a, name));
        int b = ref_port(r, port_name_format(&l->b, name));
        r->ports[a].peer = b;
        r->ports[b].peer = a;
        r->ports[a].ns = r->ports[b].ns = (unsigned)l->latency_ns;
        r->ports[a].gbps = r->ports[b].gbps = l->gbps;
    }
}

static void rig_make(struct rig *g)
{
    json_t *j;
    struct err e = { 0 };
    memset(&g->r, 0, sizeof g->r);
    g->log.n = g->n_ids = 0;
    rich = chance(70);
    bonding = chance(50) ? 75 : 15;
    random_rack(&g->rack);
    ck_assert_msg(json_parse(&j, g->rack.s, g->rack.n, &e) == 0, "%s", e.detail);
    ck_assert_msg(rack_decode(&g->r.rack, j, &e) == 0, "%s\n%s", e.detail, g->rack.s);
    json_decref(j);
    ref_make(&g->r);
    ck_assert_int_eq(model_new(&g->m, &e), 0);
    ck_assert_int_eq(topology_new(&g->t, &e), 0);
    g->m->time_scale = 1;
    model_savepoint(g->m);
    for (size_t i = 0; i < g->r.rack.n_nodes; i++) {
        const struct rack_node *n = &g->r.rack.nodes[i];
        uint32_t at;
        ck_assert_int_eq(model_add_node(g->m, n->name, &at, &e), 0);
        ck_assert_uint_eq(at, i);
        ck_assert_msg(model_set_adapters(g->m, at, n->adapters, n->n_adapters, &e) == 0, "%s", e.detail);
        ck_assert_int_eq(model_set_labels(g->m, at, n->labels, n->n_labels, &e), 0);
        struct node *x = model_edit_node(g->m, at);
        x->free_bytes = n->free_bytes;
        x->block_bytes = n->block_bytes;
        x->state = NODE_READY;
        for (unsigned k = 0; k < x->n_adapters; k++) {
            struct adapter *a = model_touch_adapter(g->m, x->adapters[k]);
            a->seen = a->ok = true;
        }
    }
    ck_assert_msg(model_declare(g->m, &g->r.rack, &e) == 0, "%s", e.detail);
    model_commit_done(g->m);
}

static void rig_done(struct rig *g)
{
    topology_free(g->t);
    model_free(g->m);
    rack_done(&g->r.rack);
}

static void wrong(const struct rig *g, const char *what, const char *donor)
{
    fprintf(stderr, "%s\nrequests:\n%s", g->rack.s, g->log.s);
    ck_abort_msg("%s: donor %s", what, donor);
}

static void log_request(struct rig *g, const struct want *w, bool commit)
{
    const struct rack_node *nodes = g->r.rack.nodes;
    put(&g->log, "{\"compute_node\":\"%s\",\"size_bytes\":%llu,\"channels\":%u,\"bandwidth_gbps\":%u,\"policy\":\"%s\"",
        nodes[w->compute].name, (unsigned long long)w->bytes, w->channels, w->gbps, place_policy_names[w->policy]);
    if (w->donor >= 0)
        put(&g->log, ",\"donor\":\"%s\"", nodes[w->donor].name);
    if (w->avoid >= 0)
        put(&g->log, ",\"avoid\":[\"%s\"]", nodes[w->avoid].name);
    if (w->has_max)
        put(&g->log, ",\"max_cost_ns\":%llu", (unsigned long long)w->max);
    if (w->label)
        put(&g->log, ",\"anti_affinity\":\"%s\"", w->label);
    put(&g->log, ",\"commit\":%s}\n", commit ? "true" : "false");
}

static struct want random_want(const struct rig *g)
{
    static const uint64_t sizes[] = { 1, GIB, GIB + 1, 2 * GIB, 5 * GIB, 16 * GIB, 700 * GIB, TIB };
    static const unsigned gbps[] = { 20, 40, 50, 60, 81, 100, 101, 200 };
    unsigned n = (unsigned)g->r.rack.n_nodes;
    struct want w = { .compute = (int)roll(n), .donor = -1, .avoid = -1, .channels = chance(bonding) ? 2 : 1 };
    w.bytes = sizes[chance(70) ? roll(4) : roll(8)];
    w.policy = (int)roll(4);
    for (int tries = 0; tries < 8; tries++) /* mostly nodes that can borrow */
        if (!g->r.rack.nodes[w.compute].n_adapters || g->r.rack.nodes[w.compute].adapters[0].role != WIRE_COMPUTE)
            w.compute = (int)roll(n);
    if (chance(8))
        w.donor = (int)roll(n);
    if (chance(8))
        w.avoid = (int)roll(n);
    if (chance(35))
        w.gbps = gbps[roll(8)];
    if (chance(15)) {
        w.has_max = true;
        w.max = roll(70);
    }
    if (chance(12))
        w.label = chance(90) ? "feed" : "rack";
    return w;
}

static struct place_request to_request(const struct want *w)
{
    struct place_request r = {
        .compute_node = (uint32_t)w->compute,
        .requested_bytes = w->bytes,
        .donor = w->donor < 0 ? NONE : (uint32_t)w->donor,
        .channels = w->channels,
        .has_max_cost = w->has_max,
        .max_cost_ns = w->max,
        .bandwidth_gbps = w->gbps,
        .policy = (enum place_policy)w->policy,
    };
    if (w->avoid >= 0)
        r.avoid[r.n_avoid++] = (uint32_t)w->avoid;
    if (w->label)
        snprintf(r.anti_affinity, sizeof r.anti_affinity, "%s", w->label);
    return r;
}

static void compare_feasible(const struct rig *g, const struct want *w, const struct place_candidate *c,
                             const struct answer *a)
{
    const char *donor = model_node(g->m, c->node)->name;
    char name[PORT_NAME_SIZE];
    if (c->cost_ns != a->cost || c->best.cost_ns != a->cost)
        wrong(g, "cost", donor);
    for (unsigned k = 0; k < w->channels; k++) {
        if ((int)c->best.legs[k].n_ports != a->legs[k].n)
            wrong(g, "length of the path", donor);
        for (int i = 0; i < a->legs[k].n; i++)
            if (strcmp(model_port_name(g->m, c->best.legs[k].ports[i], name), g->r.ports[a->legs[k].ports[i]].name) !=
                0)
                wrong(g, "ports of the path", donor);
    }
    if (c->best.section != a->section || c->best.offset_bytes != a->offset)
        wrong(g, "section", donor);
}

static const char *compute_fault(const struct ref *r, int node)
{
    const struct rack_node *n = &r->rack.nodes[node];
    bool compute = false;
    for (unsigned i = 0; i < n->n_adapters; i++)
        compute = compute || n->adapters[i].role == WIRE_COMPUTE;
    return !compute ? "no_compute_adapter" : r->unready[node] ? "compute_not_ready" : NULL;
}

static void compare_all(const struct rig *g, const struct want *w, const struct placement *p, struct answer *answers)
{
    const char *fault = compute_fault(&g->r, w->compute);
    for (size_t i = 0; i < p->n; i++) {
        const struct place_candidate *c = &p->candidates[i];
        struct answer *a = &answers[c->node];
        if (fault)
            a->reason = fault;
        else
            *a = ref_donor(&g->r, w, p->size_bytes, (int)c->node);
        if (strcmp(a->reason, place_reason_names[c->reason]) != 0) {
            fprintf(stderr, "reference: %s, engine: %s (%s)\n", a->reason, place_reason_names[c->reason], c->detail);
            wrong(g, "reason", model_node(g->m, c->node)->name);
        }
        n_compared++;
        for (int k = 0; k < N_RULES; k++)
            counts[k] += !strcmp(a->reason, rule_names[k]);
        counts[N_RULES] += c->reason == PLACE_OK;
        if (c->reason == PLACE_OK) {
            compare_feasible(g, w, c, a);
            n_bonded += w->channels == 2;
            n_shared += joining(&g->r, w->compute, a->ca, (int)c->node, a->ma) != NULL;
        }
        if (i && i < p->n_feasible) {
            const struct place_candidate *b = &p->candidates[i - 1];
            if (ref_order(&g->r, w, (int)b->node, &answers[b->node], (int)c->node, a) >= 0)
                wrong(g, "order", model_node(g->m, c->node)->name);
            n_ties += b->cost_ns == c->cost_ns;
        }
    }
}

static void hold(struct rig *g, const struct want *w, const struct placement *p, const struct answer *answers)
{
    struct reservation r = p->candidates[0].best;
    const struct answer *a = &answers[r.donor];
    struct err e = { 0 };
    uint32_t at;
    if (g->r.n_held == HELD_MAX)
        return;
    struct held *h = &g->r.held[g->r.n_held++];
    *h = (struct held){ .live = true,
                        .compute = w->compute,
                        .donor = (int)r.donor,
                        .ca = a->ca,
                        .ma = a->ma,
                        .size = p->size_bytes,
                        .offset = a->offset,
                        .channels = w->channels,
                        .gbps = w->gbps,
                        .section = a->section };
    memcpy(h->legs, a->legs, sizeof h->legs);
    snprintf(h->id, sizeof h->id, "r%u", ++g->n_ids);
    r.id = h->id;
    model_savepoint(g->m);
    ck_assert_msg(model_reserve(g->m, &r, &at, &e) == 0, "%s", e.detail);
    model_commit_done(g->m);
    if (model_check(g->m, &e) < 0)
        wrong(g, e.detail, "-");
}

static void do_request(struct rig *g)
{
    struct want w = random_want(g);
    struct place_request r = to_request(&w);
    struct placement p = { 0 };
    struct answer answers[NODES_MAX] = { 0 };
    struct reservation best;
    struct err e = { 0 };
    bool commit = chance(60);
    log_request(g, &w, commit);
    ck_assert_msg(placement_rank(&p, g->m, g->t, &r, &e) == 0, "%s", e.detail);
    ck_assert_uint_eq(p.n, g->r.rack.n_nodes - 1);
    compare_all(g, &w, &p, answers);
    int rc = placement_best(&best, g->m, g->t, &r, &e);
    if ((rc == 0) != (p.n_feasible > 0) || (rc == 0 && memcmp(&best, &p.candidates[0].best, sizeof best) != 0))
        wrong(g, "preview and request differ", "-");
    ck_assert_uint_eq(topology_misled(g->t), 0);
    if (commit && p.n_feasible)
        hold(g, &w, &p, answers);
    placement_done(&p);
}

static void do_release(struct rig *g)
{
    if (!g->r.n_held)
        return;
    struct held *h = &g->r.held[roll((unsigned)g->r.n_held)];
    struct err e = { 0 };
    if (!h->live)
        return;
    h->live = false;
    put(&g->log, "{\"release\":%s}\n", h->id + 1);
    model_savepoint(g->m);
    model_release(g->m, model_find_attachment(g->m, h->id));
    model_commit_done(g->m);
    if (model_check(g->m, &e) < 0)
        wrong(g, e.detail, "-");
}

static void do_link(struct rig *g)
{
    const struct rack *k = &g->r.rack;
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
    if (!k->n_links)
        return;
    const struct rack_link *l = &k->links[roll((unsigned)k->n_links)];
    int x = ref_port(&g->r, port_name_format(&l->a, a)), y = ref_port(&g->r, port_name_format(&l->b, b));
    bool down = chance(40);
    g->r.ports[x].down = g->r.ports[y].down = down;
    put(&g->log, "{\"link\":[\"%s\",\"%s\"],\"down\":%s}\n", a, b, down ? "true" : "false");
    model_savepoint(g->m);
    model_set_link_down(g->m, model_find_link(g->m, model_find_port(g->m, &l->a), model_find_port(g->m, &l->b)), down);
    model_commit_done(g->m);
}

static void do_node(struct rig *g)
{
    unsigned i = roll((unsigned)g->r.rack.n_nodes);
    struct node *n = model_edit_node(g->m, i);
    switch (roll(3)) {
    case 0:
        g->r.cordoned[i] = n->cordoned = chance(25);
        break;
    case 1:
        g->r.unready[i] = chance(25);
        n->state = g->r.unready[i] ? NODE_UNREACHABLE : NODE_READY;
        break;
    default:
        g->r.headroom[i] = n->headroom_bytes = roll(4) * GIB;
    }
    put(&g->log, "(%s: cordoned %d, unready %d, head-room %llu)\n", n->name, g->r.cordoned[i], g->r.unready[i],
        (unsigned long long)g->r.headroom[i]);
    model_commit_done(g->m);
}

START_TEST(engine_equals_reference)
{
    static struct rig g;
    seed = (uint64_t)_i * 1000003 + 17;
    for (int rack = 0; rack < 60; rack++) {
        rig_make(&g);
        for (int i = 0; i < 50; i++) {
            unsigned what = roll(100);
            if (what < 70)
                do_request(&g);
            else if (what < 84)
                do_release(&g);
            else if (what < 92)
                do_link(&g);
            else if (what < 97)
                do_node(&g);
        }
        rig_done(&g);
    }
    printf("seed %d: %u donors judged alike;", _i, n_compared);
    for (int i = 0; i < N_RULES; i++)
        printf(" %s %u", rule_names[i], counts[i]);
    printf(" ok %u (bonded %u, shared %u, equal cost %u)\n", counts[N_RULES], n_bonded, n_shared, n_ties);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("placement_random");
    TCase *c = tcase_create("random");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, engine_equals_reference, 0, 6);
    suite_add_tcase(s, c);
    return unit_main(s);
}
