/* topology_graph.c - see topology_graph.h.
 *
 * The graph of reasons has everything.  Vertices: adapters, then ports, then switches (the model's slots, in this
 * order).  Edges are directed, so that no path runs through a node: compute adapter -> its ports, memory port -> its
 * adapter, both ways over links and between a switch and its ports.  From adapter to adapter over n switches it is
 * 3 n + 3 edges.  The weight of a link is its latency; a switch's latency is on the edge from port to switch. */
#include "topology_graph.h"

#include "donors.h"
#include "paths.h"

#include <igraph/igraph.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define HOPS_MAX (3 * PATH_SWITCHES_MAX + 3)
#define ROWS_MAX 64 /* compute adapters whose distances are kept */

struct row_cache { /* distances from one compute adapter to every adapter */
    uint32_t source;
    uint64_t used;
    uint8_t *hops;         /* UINT8_MAX: too far or never */
    uint64_t *distance_ns; /* only when asked for */
};

struct graph {
    bool made; /* 'graph' and 'weights' are */
    igraph_t graph;
    igraph_vector_t weights;
    uint32_t n_adapters, n_ports, n_switches, n_links;
    uint32_t *component; /* by adapter */
    uint8_t *switch_splits, *link_splits;
    uint32_t *edge_link; /* by edge: the link, or NONE */
    uint64_t tick;
    struct row_cache rows[ROWS_MAX];
};

/* igraph aborts by default: every code is checked here instead.  The handler frees what igraph had allocated. */
static _Thread_local jmp_buf *way_out;

static void free_and_go_on(const char *reason UNUSED, const char *file UNUSED, int line UNUSED, igraph_error_t code)
{
    IGRAPH_FINALLY_FREE();
    if (way_out)
        longjmp(*way_out, code);
}

static int check(igraph_error_t code, const char *what, struct err *e)
{
    if (code == IGRAPH_SUCCESS)
        return 0;
    return err_set(e, code == IGRAPH_ENOMEM ? ERR_UNAVAILABLE : ERR_INTERNAL, "%s: %s", what, igraph_strerror(code));
}

/* Distances from 'source' along the weights.  When memory runs out, igraph_distances_dijkstra() of igraph 0.10 touches
 * what the handler has freed (in igraph_lazy_inclist_get()): so the handler jumps out of it, which igraph allows. */
static igraph_error_t dijkstra(const igraph_t *graph, const igraph_vector_t *weights, igraph_integer_t source,
                               igraph_vs_t to, igraph_matrix_t *row)
{
    jmp_buf here;
    volatile igraph_error_t code = (igraph_error_t)setjmp(here);
    if (code == IGRAPH_SUCCESS) {
        way_out = &here;
        code = igraph_distances_dijkstra(graph, row, igraph_vss_1(source), to, weights, IGRAPH_OUT);
    }
    way_out = NULL;
    return code;
}

static igraph_integer_t vertex_of_port(const struct graph *g, uint32_t port)
{
    return (igraph_integer_t)g->n_adapters + port;
}

static igraph_integer_t vertex_of_switch(const struct graph *g, uint32_t sw)
{
    return (igraph_integer_t)g->n_adapters + g->n_ports + sw;
}

/* ---- the graph ------------------------------------------------------------------------------------------------------
 */

struct edges {
    igraph_vector_int_t ends;
    igraph_vector_t weights;
    uint32_t *links;
    size_t n, cap;
};

static int edges_init(struct edges *x, struct err *e)
{
    memset(x, 0, sizeof *x);
    if (check(igraph_vector_int_init(&x->ends, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    if (check(igraph_vector_init(&x->weights, 0), "igraph_vector_init", e) < 0) {
        igraph_vector_int_destroy(&x->ends);
        return -1;
    }
    return 0;
}

static void edges_done(struct edges *x)
{
    igraph_vector_int_destroy(&x->ends);
    igraph_vector_destroy(&x->weights);
    free(x->links);
}

static int add_edge(struct edges *x, igraph_integer_t from, igraph_integer_t to, uint64_t ns, uint32_t link,
                    struct err *e)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? 2 * x->cap : 1024;
        uint32_t *links = reallocarray(x->links, cap, sizeof *links);
        if (!links)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        x->links = links;
        x->cap = cap;
    }
    x->links[x->n++] = link;
    if (check(igraph_vector_int_push_back(&x->ends, from), "igraph_vector_int_push_back", e) < 0 ||
        check(igraph_vector_int_push_back(&x->ends, to), "igraph_vector_int_push_back", e) < 0)
        return -1;
    return check(igraph_vector_push_back(&x->weights, (igraph_real_t)ns), "igraph_vector_push_back", e);
}

static int add_port(const struct graph *g, const struct model *m, struct edges *x, uint32_t i, struct err *e)
{
    const struct port *p = model_port(m, i);
    const struct sw *s = model_switch(m, p->sw);
    igraph_integer_t v = vertex_of_port(g, i);
    if (s) {
        igraph_integer_t w = vertex_of_switch(g, p->sw);
        return add_edge(x, v, w, s->latency_ns, NONE, e) < 0 ? -1 : add_edge(x, w, v, 0, NONE, e);
    }
    const struct adapter *a = model_adapter(m, p->adapter);
    if (!a)
        return 0;
    return a->role == WIRE_COMPUTE ? add_edge(x, p->adapter, v, 0, NONE, e) : add_edge(x, v, p->adapter, 0, NONE, e);
}

static int add_all(const struct graph *g, const struct model *m, struct edges *x, struct err *e)
{
    for (uint32_t i = 0; i < g->n_ports; i++)
        if (model_port(m, i) && add_port(g, m, x, i, e) < 0)
            return -1;
    for (uint32_t i = 0; i < g->n_links; i++) {
        const struct link *l = model_link(m, i);
        if (!l || !model_link_usable(m, l))
            continue;
        igraph_integer_t a = vertex_of_port(g, l->a), b = vertex_of_port(g, l->b);
        if (add_edge(x, a, b, l->latency_ns, i, e) < 0 || add_edge(x, b, a, l->latency_ns, i, e) < 0)
            return -1;
    }
    return 0;
}

static int make_graph(struct graph *g, const struct model *m, struct err *e)
{
    CLEANUP(edges_done) struct edges x;
    igraph_integer_t n = vertex_of_switch(g, g->n_switches);
    if (edges_init(&x, e) < 0)
        return -1; /* edges_done() of zeroed vectors does nothing */
    if (add_all(g, m, &x, e) < 0 ||
        check(igraph_vector_init_copy(&g->weights, &x.weights), "igraph_vector_init_copy", e) < 0)
        return -1;
    if (check(igraph_create(&g->graph, &x.ends, n, IGRAPH_DIRECTED), "igraph_create", e) < 0) {
        igraph_vector_destroy(&g->weights);
        return -1;
    }
    g->edge_link = TAKE(x.links);
    g->made = true;
    return 0;
}

/* ---- what follows from it -------------------------------------------------------------------------------------------
 */

static int find_components(struct graph *g, struct err *e)
{
    igraph_vector_int_t membership;
    if (check(igraph_vector_int_init(&membership, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    int rc = check(igraph_connected_components(&g->graph, &membership, NULL, NULL, IGRAPH_WEAK),
                   "igraph_connected_components", e);
    for (uint32_t i = 0; rc == 0 && i < g->n_adapters; i++)
        g->component[i] = (uint32_t)VECTOR(membership)[i];
    igraph_vector_int_destroy(&membership);
    return rc;
}

/* Switches that are articulation points, and links that are bridges. */
static int find_splits(struct graph *g, struct err *e)
{
    igraph_vector_int_t list;
    if (check(igraph_vector_int_init(&list, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    int rc = check(igraph_articulation_points(&g->graph, &list), "igraph_articulation_points", e);
    for (igraph_integer_t i = 0; rc == 0 && i < igraph_vector_int_size(&list); i++)
        if (VECTOR(list)[i] >= vertex_of_switch(g, 0))
            g->switch_splits[VECTOR(list)[i] - vertex_of_switch(g, 0)] = 1;
    igraph_vector_int_destroy(&list);
    return rc;
}

/* A link is two directed edges, which hide each other from igraph_bridges(): asked of an undirected copy. */
static int find_bridges(struct graph *g, struct err *e)
{
    igraph_t plain;
    igraph_vector_int_t list, ends;
    if (check(igraph_vector_int_init(&ends, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    int rc = 0;
    CLEANUP(cleanup_free) uint32_t *link = calloc((size_t)igraph_ecount(&g->graph) + 1, sizeof *link);
    size_t n = 0;
    if (!link)
        rc = err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (igraph_integer_t i = 0; rc == 0 && i < igraph_ecount(&g->graph); i++) {
        igraph_integer_t from = IGRAPH_FROM(&g->graph, i), to = IGRAPH_TO(&g->graph, i);
        bool twin = g->edge_link[i] != NONE || from >= vertex_of_switch(g, 0) || to >= vertex_of_switch(g, 0);
        if (twin && from > to)
            continue;
        link[n++] = g->edge_link[i];
        if (igraph_vector_int_push_back(&ends, from) || igraph_vector_int_push_back(&ends, to))
            rc = err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    if (rc == 0)
        rc = check(igraph_create(&plain, &ends, igraph_vcount(&g->graph), IGRAPH_UNDIRECTED), "igraph_create", e);
    igraph_vector_int_destroy(&ends);
    if (rc < 0)
        return -1;
    rc = check(igraph_vector_int_init(&list, 0), "igraph_vector_int_init", e);
    if (rc == 0) {
        rc = check(igraph_bridges(&plain, &list), "igraph_bridges", e);
        for (igraph_integer_t i = 0; rc == 0 && i < igraph_vector_int_size(&list); i++)
            if (link[VECTOR(list)[i]] != NONE)
                g->link_splits[link[VECTOR(list)[i]]] = 1;
        igraph_vector_int_destroy(&list);
    }
    igraph_destroy(&plain);
    return rc;
}

static int fill(struct graph *g, const struct model *m, struct err *e)
{
    g->n_adapters = model_count(m, MODEL_ADAPTER);
    g->n_ports = model_count(m, MODEL_PORT);
    g->n_switches = model_count(m, MODEL_SWITCH);
    g->n_links = model_count(m, MODEL_LINK);
    g->component = calloc(g->n_adapters + 1, sizeof *g->component);
    g->switch_splits = calloc(g->n_switches + 1, 1);
    g->link_splits = calloc(g->n_links + 1, 1);
    if (!g->component || !g->switch_splits || !g->link_splits)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (make_graph(g, m, e) < 0 || find_components(g, e) < 0 || find_splits(g, e) < 0)
        return -1;
    return find_bridges(g, e);
}

int graph_new(struct graph **out, const struct model *m, struct err *e)
{
    struct graph *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    igraph_set_error_handler(free_and_go_on);
    if (fill(g, m, e) < 0) {
        graph_free(g);
        return -1;
    }
    *out = g;
    return 0;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    if (g->made) {
        igraph_destroy(&g->graph);
        igraph_vector_destroy(&g->weights);
    }
    for (unsigned i = 0; i < ROWS_MAX; i++) {
        free(g->rows[i].hops);
        free(g->rows[i].distance_ns);
    }
    free(g->component);
    free(g->switch_splits);
    free(g->link_splits);
    free(g->edge_link);
    free(g);
}

bool graph_splits(const struct graph *g, enum model_kind kind, uint32_t index)
{
    if (kind == MODEL_SWITCH)
        return index < g->n_switches && g->switch_splits[index];
    return kind == MODEL_LINK && index < g->n_links && g->link_splits[index];
}

/* ---- distances ------------------------------------------------------------------------------------------------------
 */

static struct row_cache *row_of(struct graph *g, uint32_t source)
{
    struct row_cache *oldest = &g->rows[0];
    g->tick++;
    for (unsigned i = 0; i < ROWS_MAX; i++) {
        struct row_cache *r = &g->rows[i];
        if (r->hops && r->source == source) {
            r->used = g->tick;
            return r;
        }
        if (r->used < oldest->used)
            oldest = r;
    }
    free(oldest->hops);
    free(oldest->distance_ns);
    *oldest = (struct row_cache){ .source = source, .used = g->tick };
    return oldest;
}

/* One row of igraph's distances, to the adapters; 'weights' NULL: number of edges. */
static int distances(struct graph *g, uint32_t source, const igraph_vector_t *weights, igraph_matrix_t *out)
{
    igraph_vs_t to;
    struct err ignored;
    if (igraph_vs_range(&to, 0, (igraph_integer_t)g->n_adapters))
        return -1;
    igraph_error_t rc = weights ? dijkstra(&g->graph, weights, source, to, out)
                                : igraph_distances(&g->graph, out, igraph_vss_1(source), to, IGRAPH_OUT);
    igraph_vs_destroy(&to);
    return check(rc, "distances", &ignored);
}

static int fill_hops(struct graph *g, struct row_cache *r)
{
    igraph_matrix_t row;
    uint8_t *hops = malloc(g->n_adapters + 1);
    if (!hops)
        return -1;
    if (igraph_matrix_init(&row, 0, 0)) {
        free(hops);
        return -1;
    }
    int rc = distances(g, r->source, NULL, &row);
    for (uint32_t i = 0; rc == 0 && i < g->n_adapters; i++)
        hops[i] = MATRIX(row, 0, i) <= HOPS_MAX ? (uint8_t)MATRIX(row, 0, i) : UINT8_MAX;
    igraph_matrix_destroy(&row);
    if (rc == 0)
        r->hops = hops;
    else
        free(hops);
    return rc;
}

static int fill_distance(struct graph *g, struct row_cache *r)
{
    igraph_matrix_t row;
    uint64_t *ns = calloc(g->n_adapters + 1, sizeof *ns);
    if (!ns)
        return -1;
    if (igraph_matrix_init(&row, 0, 0)) {
        free(ns);
        return -1;
    }
    int rc = distances(g, r->source, &g->weights, &row);
    for (uint32_t i = 0; rc == 0 && i < g->n_adapters; i++)
        ns[i] = isfinite(MATRIX(row, 0, i)) ? (uint64_t)MATRIX(row, 0, i) : UINT64_MAX;
    igraph_matrix_destroy(&row);
    if (rc == 0)
        r->distance_ns = ns;
    else
        free(ns);
    return rc;
}

bool graph_reaches(struct graph *g, uint32_t compute_adapter, uint32_t memory_adapter)
{
    if (compute_adapter >= g->n_adapters || memory_adapter >= g->n_adapters ||
        g->component[compute_adapter] != g->component[memory_adapter])
        return false;
    struct row_cache *r = row_of(g, compute_adapter);
    return (r->hops || fill_hops(g, r) == 0) && r->hops[memory_adapter] != UINT8_MAX;
}

uint64_t graph_distance_ns(struct graph *g, uint32_t compute_adapter, uint32_t memory_adapter)
{
    if (compute_adapter >= g->n_adapters || memory_adapter >= g->n_adapters)
        return UINT64_MAX;
    struct row_cache *r = row_of(g, compute_adapter);
    if ((!r->hops && fill_hops(g, r) < 0) || (!r->distance_ns && fill_distance(g, r) < 0))
        return 0; /* still a lower bound */
    return r->distance_ns[memory_adapter];
}

/* ---- lower bounds for decisions -------------------------------------------------------------------------------------
 */

/* From the vertex behind all memory ports backwards: its cables, then trunks against their direction. */
static int bound_edges(const struct fabric *f, const struct donors *d, struct edges *x, struct err *e)
{
    for (uint32_t s = 0; s < f->n_switches; s++) {
        if (d->first_exit[s] < d->first_exit[s + 1] &&
            add_edge(x, f->n_switches, s, d->exits[d->first_exit[s]].ns, NONE, e) < 0)
            return -1;
        for (uint32_t i = f->first_trunk[s], to = NONE; i < f->first_trunk[s + 1]; i++) {
            const struct trunk *k = &f->trunks[i];
            if (k->to != to && add_edge(x, k->to, s, k->ns + f->switch_ns[k->to], NONE, e) < 0)
                return -1;
            to = k->to; /* its parallels are no shorter */
        }
    }
    return 0;
}

static void take_bounds(struct fabric *f, const igraph_matrix_t *row)
{
    for (uint32_t s = 0; s < f->n_switches; s++)
        f->bound_ns[s] = isfinite(MATRIX(*row, 0, s)) ? (uint64_t)MATRIX(*row, 0, s) : UINT64_MAX;
    for (uint32_t s = 0; s < f->n_switches; s++) {
        f->beyond_ns[s] = UINT64_MAX;
        for (uint32_t i = f->first_trunk[s]; i < f->first_trunk[s + 1]; i++)
            if (f->bound_ns[f->hops[i].to] < f->beyond_ns[s])
                f->beyond_ns[s] = f->bound_ns[f->hops[i].to];
    }
}

int graph_bounds(struct fabric *f, const struct donors *d, struct err *e)
{
    CLEANUP(edges_done) struct edges x;
    igraph_t graph;
    igraph_matrix_t row;
    igraph_integer_t n = (igraph_integer_t)f->n_switches;
    igraph_set_error_handler(free_and_go_on);
    if (edges_init(&x, e) < 0 || bound_edges(f, d, &x, e) < 0 ||
        check(igraph_create(&graph, &x.ends, n + 1, IGRAPH_DIRECTED), "igraph_create", e) < 0)
        return -1;
    int rc = check(igraph_matrix_init(&row, 0, 0), "igraph_matrix_init", e);
    if (rc == 0) {
        rc = check(dijkstra(&graph, &x.weights, n, igraph_vss_all(), &row), "igraph_distances_dijkstra", e);
        if (rc == 0)
            take_bounds(f, &row);
        igraph_matrix_destroy(&row);
    }
    igraph_destroy(&graph);
    return rc;
}
