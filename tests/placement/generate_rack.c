/* generate_rack.c - racks of every shape that the design names and of none, with equal latencies often, so that exact
 * ties happen.
 */
#include "generate.h"

#include <stdio.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define MAX_NODES 48
#define MAX_SWITCHES 24
#define SWITCH_PORTS 64

const char *const rack_kind_names[N_RACK_KINDS] = { "pair",      "ring",  "star",         "many adapters", "tree",
                                                    "dragonfly", "torus", "block design", "two tiers",     "no shape" };

/* ---- random numbers (splitmix64) */

uint64_t rng_next(struct rng *g)
{
    uint64_t z = g->state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

unsigned rng_below(struct rng *g, unsigned n)
{
    return (unsigned)(rng_next(g) % n);
}

unsigned rng_between(struct rng *g, unsigned a, unsigned b)
{
    return a + rng_below(g, b - a + 1);
}

bool rng_percent(struct rng *g, unsigned percent)
{
    return rng_below(g, 100) < percent;
}

/* ---- building */

enum names { PLAIN_NAMES, DASHED_NAMES, ODD_NAMES, N_NAMES };

struct builder {
    struct rng *g;
    json_t *nodes, *switches, *links;
    int n_nodes, n_switches;
    char node_names[MAX_NODES][40], switch_names[MAX_SWITCHES][40];
    unsigned name_order[MAX_NODES]; /* so that the order in the file is not the order of names */
    uint8_t switch_ports[MAX_SWITCHES][SWITCH_PORTS], used[MAX_SWITCHES]; /* numbers in random order */
    enum names names;
    unsigned latency_choices;      /* 0: any */
    uint64_t latency_base, memory; /* memory 0: each node its own */
    bool nearly_equal;             /* capacities, by a byte or two */
    bool crossed;                  /* port k may go to port 1-k */
    unsigned missing_percent;
    uint64_t window;
    unsigned gbps; /* 0: any */
};

static void shuffle(struct rng *g, unsigned *items, unsigned n)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned k = rng_below(g, i), x = items[i - 1];
        items[i - 1] = items[k];
        items[k] = x;
    }
}

static void name_of(const struct builder *b, unsigned i, const char *plain, char out[40])
{
    static const char odd[] = "-0b";
    switch (b->names) {
    case ODD_NAMES: { /* names that are each other's beginnings, with characters below and above '/' */
        int n = snprintf(out, 40, "%.1s", plain);
        for (i++; i && n < 39; i /= 3)
            out[n++] = odd[i % 3];
        out[n] = 0;
        break;
    }
    case DASHED_NAMES:
        snprintf(out, 40, "%s-%u", plain, i);
        break;
    default:
        snprintf(out, 40, "%s%u", plain, i);
    }
}

static uint64_t a_latency(struct builder *b)
{
    if (!b->latency_choices)
        return b->latency_base + rng_below(b->g, 200);
    return b->latency_base + 5 * rng_below(b->g, b->latency_choices);
}

static unsigned a_gbps(struct builder *b)
{
    static const unsigned rates[] = { 25, 40, 100, 100, 100, 200, 400 };
    return b->gbps ? b->gbps : rates[rng_below(b->g, 7)];
}

static uint64_t a_memory(struct builder *b)
{
    static const unsigned gib[] = { 1, 4, 16, 64, 256, 512, 1024, 3072, 6144, 12288 };
    return gib[rng_below(b->g, 10)] * GIB;
}

static json_t *labels(struct builder *b)
{
    json_t *j = json_object();
    if (rng_percent(b->g, 75))
        json_object_set_new(j, "feed", json_string(rng_percent(b->g, 50) ? "a" : "b"));
    if (rng_percent(b->g, 75))
        json_object_set_new(j, "rack_unit", json_sprintf("%u", rng_below(b->g, 6)));
    return j;
}

static json_t *adapter(struct builder *b, unsigned i, bool compute, unsigned ports)
{
    json_t *j = json_pack("{s:s,s:i}", "role", compute ? "compute" : "memory", "ports", (int)ports);
    char name[40];
    static const uint64_t windows[] = { 256 * GIB, TIB, TIB, TIB + 512 * GIB, 2 * TIB, 4 * TIB };
    name_of(b, i, "afu", name);
    json_object_set_new(j, "name", json_string(name));
    if (compute) {
        json_object_set_new(j, "window_addr", json_sprintf("0x%016llx", 0x0002000000000000ull + i * (8ull << 40)));
        json_object_set_new(j, "window_bytes",
                            json_integer((json_int_t)(b->window ? b->window : windows[rng_below(b->g, 6)])));
    }
    return j;
}

/* Compute adapters are afu0 .., memory adapters follow.  Returns the node's number. */
static int add_node(struct builder *b, unsigned n_compute, unsigned n_memory, unsigned ports)
{
    static const unsigned block_mib[] = { 128, 256, 256, 512, 2048 };
    json_t *adapters = json_array();
    uint64_t memory = b->memory ? b->memory : a_memory(b), free = memory;
    char *name = b->node_names[b->n_nodes];
    name_of(b, b->name_order[b->n_nodes], "n", name);
    for (unsigned i = 0; i < n_compute + n_memory; i++)
        json_array_append_new(adapters, adapter(b, i, i < n_compute, ports));
    if (b->nearly_equal)
        free -= rng_below(b->g, 4); /* lendable / capacity differs behind the digits of a double */
    else if (!b->memory && rng_percent(b->g, 30))
        free -= rng_next(b->g) % (free / 2); /* no whole number of blocks */
    json_int_t block = (json_int_t)block_mib[rng_below(b->g, 5)] << 20;
    json_t *j = json_pack("{s:s,s:I,s:I,s:I,s:o,s:o}", "name", name, "memory_bytes", (json_int_t)memory, "free_bytes",
                          (json_int_t)free, "block_bytes", block, "labels", labels(b), "adapters", adapters);
    if (rng_percent(b->g, 10))
        json_object_set_new(j, "headroom_bytes", json_integer((json_int_t)(rng_next(b->g) % (memory + memory / 4))));
    json_array_append_new(b->nodes, j);
    return b->n_nodes++;
}

static int add_switch(struct builder *b)
{
    char *name = b->switch_names[b->n_switches];
    unsigned order[SWITCH_PORTS];
    name_of(b, (unsigned)b->n_switches, "s", name);
    for (unsigned i = 0; i < SWITCH_PORTS; i++)
        order[i] = i + 1;
    shuffle(b->g, order, SWITCH_PORTS);
    for (unsigned i = 0; i < SWITCH_PORTS; i++)
        b->switch_ports[b->n_switches][i] = (uint8_t)order[i];
    json_array_append_new(b->switches, json_pack("{s:s,s:s,s:i,s:I}", "name", name, "kind", "circuit", "ports",
                                                 SWITCH_PORTS, "latency_ns", (json_int_t)a_latency(b)));
    return b->n_switches++;
}

static json_t *adapter_port(const struct builder *b, int node, unsigned adapter_index, unsigned port)
{
    char name[40];
    name_of(b, adapter_index, "afu", name);
    return json_sprintf("%s/%s/%u", b->node_names[node], name, port);
}

static json_t *switch_port(struct builder *b, int sw)
{
    if (b->used[sw] == SWITCH_PORTS)
        return NULL;
    return json_sprintf("%s/%u", b->switch_names[sw], b->switch_ports[sw][b->used[sw]++]);
}

static void cable(struct builder *b, json_t *x, json_t *y)
{
    bool turned = rng_percent(b->g, 50);
    if (!x || !y || rng_percent(b->g, b->missing_percent)) {
        json_decref(x);
        json_decref(y);
        return;
    }
    uint64_t latency_ns = a_latency(b);
    json_array_append_new(b->links, json_pack("{s:o,s:o,s:I,s:i}", "a", turned ? y : x, "b", turned ? x : y,
                                              "latency_ns", (json_int_t)latency_ns, "gbps", (int)a_gbps(b)));
}

/* Both ports of a compute adapter straight (or crossed) to those of a memory adapter. */
static void cable_pair(struct builder *b, int node, unsigned compute, int donor, unsigned memory)
{
    unsigned cross = b->crossed && rng_percent(b->g, 30);
    for (unsigned k = 0; k < 2; k++)
        cable(b, adapter_port(b, node, compute, k), adapter_port(b, donor, memory, k ^ cross));
}

/* ---- shapes */

static void build_pair(struct builder *b)
{
    unsigned n = rng_between(b->g, 1, 2);
    for (unsigned i = rng_between(b->g, 1, 3); i; i--) {
        int x = add_node(b, n, n, 2), y = add_node(b, n, n, 2);
        for (unsigned k = 0; k < n; k++) {
            cable_pair(b, x, k, y, n + k);
            cable_pair(b, y, k, x, n + k);
        }
    }
}

static void build_ring(struct builder *b)
{
    int n = (int)rng_between(b->g, 3, 9), first = b->n_nodes;
    unsigned adapters = rng_between(b->g, 1, 2);
    for (int i = 0; i < n; i++)
        add_node(b, adapters, adapters, 2);
    for (int i = 0; i < n; i++) /* with two adapters: to both neighbours */
        for (unsigned k = 0; k < adapters; k++)
            cable_pair(b, first + i, k, first + (i + (k ? n - 1 : 1)) % n, adapters + k);
}

/* Plugs every port of a node: port k into sw[k % n_sw] ('rails') or into any of them. */
static void plug(struct builder *b, int node, unsigned n_adapters, unsigned ports, const int *sw, unsigned n_sw,
                 bool rails)
{
    for (unsigned a = 0; a < n_adapters; a++)
        for (unsigned k = 0; k < ports; k++)
            cable(b, adapter_port(b, node, a, k), switch_port(b, sw[rails ? k % n_sw : rng_below(b->g, n_sw)]));
}

static void plugged_node(struct builder *b, unsigned max_adapters, const int *sw, unsigned n_sw, bool rails)
{
    unsigned n_compute = rng_between(b->g, rng_percent(b->g, 88), max_adapters);
    unsigned n_memory = rng_between(b->g, rng_percent(b->g, 88), max_adapters);
    unsigned ports = rng_percent(b->g, 88) ? 2 : 1;
    int node = add_node(b, n_compute, n_memory, ports);
    plug(b, node, n_compute + n_memory, ports, sw, n_sw, rails);
}

static void build_star(struct builder *b, unsigned max_adapters)
{
    unsigned n_sw = rng_between(b->g, 1, max_adapters), n = rng_between(b->g, 3, max_adapters > 1 ? 8 : 14);
    int sw[4];
    for (unsigned i = 0; i < n_sw; i++)
        sw[i] = add_switch(b);
    while (n--)
        plugged_node(b, max_adapters, sw, n_sw, rng_percent(b->g, 60));
}

static void trunks(struct builder *b, int x, int y, unsigned n)
{
    while (n--)
        cable(b, switch_port(b, x), switch_port(b, y));
}

static void build_tree(struct builder *b)
{
    unsigned n_leaves = rng_between(b->g, 2, 4), n_spines = rng_between(b->g, 1, 3), n = rng_between(b->g, 4, 12);
    unsigned n_trunks = n_spines * n_leaves > 8 ? 1 : rng_between(b->g, 1, 2);
    int leaves[4];
    for (unsigned i = 0; i < n_leaves; i++)
        leaves[i] = add_switch(b);
    for (unsigned s = 0; s < n_spines; s++) {
        int spine = add_switch(b);
        for (unsigned i = 0; i < n_leaves; i++)
            trunks(b, spine, leaves[i], n_trunks);
    }
    bool two_homes = rng_percent(b->g, 40);
    unsigned adapters = rng_between(b->g, 1, 2);
    while (n--) {
        unsigned home = rng_below(b->g, n_leaves);
        int sw[2] = { leaves[home], leaves[(home + 1) % n_leaves] };
        plugged_node(b, adapters, sw, two_homes ? 2 : 1, rng_percent(b->g, 70));
    }
}

/* As in a datacenter: every leaf has a cable (or two) to every spine, every node one compute and one memory adapter on
 * its leaf; many more donors and ways than on the other racks. */
static void build_two_tiers(struct builder *b)
{
    unsigned n_leaves = rng_between(b->g, 3, 6), n_spines = rng_between(b->g, 3, 8);
    unsigned per_leaf = rng_between(b->g, 4, 7), n_trunks = rng_percent(b->g, 25) ? 2 : 1;
    int leaves[6];
    for (unsigned i = 0; i < n_leaves; i++)
        leaves[i] = add_switch(b);
    for (unsigned s = 0; s < n_spines; s++) {
        int spine = add_switch(b);
        for (unsigned i = 0; i < n_leaves; i++)
            trunks(b, spine, leaves[i], n_trunks);
    }
    for (unsigned i = 0; i < n_leaves * per_leaf; i++)
        plug(b, add_node(b, 1, 1, 2), 2, 2, &leaves[i % n_leaves], 1, true);
}

static void build_dragonfly(struct builder *b)
{
    unsigned n_groups = rng_between(b->g, 2, 4), size = rng_between(b->g, 1, 3), adapters = rng_between(b->g, 1, 2);
    int sw[12];
    for (unsigned i = 0; i < n_groups * size; i++)
        sw[i] = add_switch(b);
    for (unsigned i = 0; i < n_groups * size; i++) {
        for (unsigned k = i + 1; k < (i / size + 1) * size; k++) /* inside the group: each to each */
            trunks(b, sw[i], sw[k], rng_between(b->g, 1, 2));
        for (unsigned n = rng_between(b->g, 1, 2); n; n--)
            plugged_node(b, adapters, &sw[i], 1, true);
    }
    for (unsigned x = 0; x < n_groups; x++) /* between groups: one cable or two, anywhere */
        for (unsigned y = x + 1; y < n_groups; y++)
            for (unsigned n = rng_between(b->g, 1, 2); n; n--) {
                unsigned from = x * size + rng_below(b->g, size);
                trunks(b, sw[from], sw[y * size + rng_below(b->g, size)], 1);
            }
}

static void build_torus(struct builder *b)
{
    int w = (int)rng_between(b->g, 2, 4), h = (int)rng_between(b->g, 2, 3), first = b->n_nodes;
    bool bonded = rng_percent(b->g, 50); /* an adapter for each direction, else a port */
    unsigned adapters = bonded ? 4 : 2;
    for (int i = 0; i < w * h; i++)
        add_node(b, adapters, adapters, 2);
    for (int i = 0; i < w * h; i++)
        for (unsigned d = 0; d < 4; d++) {
            int x = (i % w + (d == 0) - (d == 1) + w) % w, y = (i / w + (d == 2) - (d == 3) + h) % h;
            int far = first + y * w + x;
            if (bonded)
                cable_pair(b, first + i, d, far, adapters + d);
            else
                cable(b, adapter_port(b, first + i, d / 2, d % 2), adapter_port(b, far, adapters + d / 2, d % 2));
        }
}

/* Symmetric designs from difference sets: block i holds the points i + s; a point borrows from the blocks it is in. */
static void build_block_design(struct builder *b)
{
    static const struct design {
        int n, k, set[5];
    } designs[] = { { 7, 3, { 0, 1, 3 } }, { 13, 4, { 0, 1, 3, 9 } }, { 11, 5, { 1, 3, 4, 5, 9 } } };
    const struct design *d = &designs[rng_below(b->g, 3)];
    bool bonded = rng_percent(b->g, 50), apart = d->n < 11 && rng_percent(b->g, 40); /* donors of their own */
    unsigned adapters = bonded ? (unsigned)d->k : (unsigned)(d->k + 1) / 2;
    int first = b->n_nodes;
    for (int i = 0; i < d->n; i++)
        add_node(b, adapters, apart ? 0 : adapters, 2);
    for (int i = 0; i < d->n && apart; i++)
        add_node(b, 0, adapters, 2);
    for (int block = 0; block < d->n; block++)
        for (int s = 0; s < d->k; s++) {
            int point = first + (block + d->set[s]) % d->n, donor = first + block + (apart ? d->n : 0);
            unsigned memory = apart ? 0 : adapters, at = (unsigned)s;
            if (bonded)
                cable_pair(b, point, at, donor, memory + at);
            else
                cable(b, adapter_port(b, point, at / 2, at % 2), adapter_port(b, donor, memory + at / 2, at % 2));
        }
}

struct free_ports {
    json_t *names[8 * 4 * 2];
    unsigned n;
};

static json_t *take_any(struct builder *b, struct free_ports *f)
{
    unsigned i = f->n ? rng_below(b->g, f->n) : 0;
    json_t *name = f->n ? f->names[i] : NULL;
    if (name)
        f->names[i] = f->names[--f->n];
    return name;
}

/* What nobody would plan: any adapters, and any port cabled to any other, or to none: two compute adapters, two ports
 * of one adapter or of one switch.  Windows that end within a section. */
static void build_no_shape(struct builder *b)
{
    static const uint64_t windows[] = { 4 * TIB, 4 * GIB, TIB + 2 * GIB };
    struct free_ports f = { 0 };
    unsigned n_sw = rng_below(b->g, 6), n = rng_between(b->g, 3, 8);
    b->window = windows[rng_below(b->g, 3)];
    for (unsigned i = 0; i < n_sw; i++)
        add_switch(b);
    while (n--) {
        unsigned n_compute = rng_below(b->g, 3), n_memory = rng_below(b->g, 3), ports = rng_percent(b->g, 90) ? 2 : 1;
        int node = add_node(b, n_compute, n_memory, ports);
        for (unsigned i = 0; i < (n_compute + n_memory) * ports; i++)
            f.names[f.n++] = adapter_port(b, node, i / ports, i % ports);
    }
    for (unsigned i = n_sw ? rng_below(b->g, 22) : 0; i; i--)
        trunks(b, (int)rng_below(b->g, n_sw), (int)rng_below(b->g, n_sw), 1);
    for (json_t *port; (port = take_any(b, &f)) != NULL;)
        if (n_sw && rng_percent(b->g, 85))
            cable(b, port, switch_port(b, (int)rng_below(b->g, n_sw)));
        else
            cable(b, port, rng_percent(b->g, 80) ? take_any(b, &f) : NULL);
}

static void build(struct builder *b, enum rack_kind kind)
{
    switch (kind) {
    case PAIR:
        build_pair(b);
        break;
    case RING:
        build_ring(b);
        break;
    case STAR:
        build_star(b, 1);
        break;
    case MANY_ADAPTERS:
        build_star(b, 3);
        break;
    case TREE:
        build_tree(b);
        break;
    case DRAGONFLY:
        build_dragonfly(b);
        break;
    case TORUS:
        build_torus(b);
        break;
    case TWO_TIERS:
        build_two_tiers(b);
        break;
    case NO_SHAPE:
        build_no_shape(b);
        break;
    default:
        build_block_design(b);
    }
    if (rng_percent(b->g, 15)) /* a server without a cable, or without adapters */
        add_node(b, rng_below(b->g, 2), rng_below(b->g, 2), 2);
}

json_t *generate_rack(struct rng *g, enum rack_kind kind)
{
    struct builder b = { .g = g, .nodes = json_array(), .switches = json_array(), .links = json_array() };
    for (unsigned i = 0; i < MAX_NODES; i++)
        b.name_order[i] = i + 1;
    shuffle(g, b.name_order, MAX_NODES);
    b.names = rng_below(g, N_NAMES);
    b.latency_choices = rng_percent(g, 50) ? 1 : rng_below(g, 4);
    b.latency_base = rng_percent(g, 15) ? 0 : rng_between(g, 5, 40);
    b.memory = rng_percent(g, 40) ? a_memory(&b) : 0;
    b.nearly_equal = rng_percent(g, 15);
    if (b.nearly_equal)
        b.memory = 12288 * GIB;
    b.crossed = rng_percent(g, 30);
    b.missing_percent = rng_percent(g, 30) ? 10 : 0;
    b.window = rng_percent(g, 40) ? 4 * TIB : 0;
    b.gbps = rng_percent(g, 50) ? 100 : 0;
    build(&b, kind);
    return json_pack("{s:s,s:o,s:o,s:o}", "name", "random", "nodes", b.nodes, "switches", b.switches, "links", b.links);
}
