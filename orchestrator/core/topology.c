/* topology.c - see topology.h.
 *
 * Two graphs.  The one of reasons and previews has everything.  Vertices: adapters, then ports, then switches (the
 * model's slots, in this order).  Edges are directed, so that no path runs through a node: compute adapter -> its
 * ports, memory port -> its adapter, both ways over links and between a switch and its ports.  From adapter to adapter
 * over n switches it is 3 n + 3 edges.  The weight of a link is its latency; a switch's latency is on the edge from
 * port to switch.  It is made when it is first asked for in a topology_version.
 *
 * The one of decisions has the switches, and one vertex for all memory ports: its distances to the switches are the
 * lower bounds that guide reach.h.  Every cable counts, also one that is down, so that it is made once a
 * cabling_version, and links may fail and return without any of it. */
#include "topology.h"

#include "donors.h"
#include "paths.h"
#include "reach.h"

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
    bool has_ns;
    uint8_t *hops;         /* UINT8_MAX: too far or never */
    uint64_t *distance_ns; /* only when asked for */
};

struct topology {
    /* for decisions: kept from change to change */
    const struct model *m;             /* of the last topology_refresh() */
    uint64_t cabling_version, changes; /* of 'm'; changes: what has been taken in */
    uint64_t n_made, n_misled;
    struct fabric *fabric; /* NULL: nothing is made yet, nor the three below */
    struct paths *paths;
    struct donors *donors;
    struct reach *reach;
    /* for reasons: made when first asked for */
    uint64_t version;
    bool made;
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

static igraph_integer_t vertex_of_port(const struct topology *t, uint32_t port)
{
    return (igraph_integer_t)t->n_adapters + port;
}

static igraph_integer_t vertex_of_switch(const struct topology *t, uint32_t sw)
{
    return (igraph_integer_t)t->n_adapters + t->n_ports + sw;
}

/* ---- life -----------------------------------------------------------------------------------------------------------
 */

static void forget_graph(struct topology *t)
{
    if (t->made) {
        igraph_destroy(&t->graph);
        igraph_vector_destroy(&t->weights);
    }
    for (unsigned i = 0; i < ROWS_MAX; i++) {
        free(t->rows[i].hops);
        free(t->rows[i].distance_ns);
    }
    memset(t->rows, 0, sizeof t->rows);
    free(t->component);
    free(t->switch_splits);
    free(t->link_splits);
    free(t->edge_link);
    t->component = NULL;
    t->switch_splits = t->link_splits = NULL;
    t->edge_link = NULL;
    t->made = false;
}

static void forget_index(struct topology *t)
{
    reach_free(t->reach);
    donors_free(t->donors);
    paths_free(t->paths);
    fabric_free(t->fabric);
    t->reach = NULL;
    t->donors = NULL;
    t->paths = NULL;
    t->fabric = NULL;
}

int topology_new(struct topology **out, struct err *e)
{
    struct topology *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    igraph_set_error_handler(free_and_go_on);
    *out = t;
    return 0;
}

void topology_free(struct topology *t)
{
    if (!t)
        return;
    forget_graph(t);
    forget_index(t);
    free(t);
}

const struct fabric *topology_fabric(const struct topology *t)
{
    return t->fabric;
}

struct paths *topology_paths(struct topology *t)
{
    return t->paths;
}

const struct donors *topology_donors(const struct topology *t)
{
    return t->donors;
}

struct reach *topology_reach(struct topology *t)
{
    return t->reach;
}

void topology_note_misled(struct topology *t)
{
    t->n_misled++;
}

uint64_t topology_misled(const struct topology *t)
{
    return t->n_misled;
}

uint64_t topology_index_made(const struct topology *t)
{
    return t->n_made;
}

size_t topology_index_bytes(const struct topology *t)
{
    return t->fabric ? fabric_bytes(t->fabric) + donors_bytes(t->donors) : 0;
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

static int add_port(const struct topology *t, const struct model *m, struct edges *x, uint32_t i, struct err *e)
{
    const struct port *p = model_port(m, i);
    const struct sw *s = model_switch(m, p->sw);
    igraph_integer_t v = vertex_of_port(t, i);
    if (s) {
        igraph_integer_t w = vertex_of_switch(t, p->sw);
        return add_edge(x, v, w, s->latency_ns, NONE, e) < 0 ? -1 : add_edge(x, w, v, 0, NONE, e);
    }
    const struct adapter *a = model_adapter(m, p->adapter);
    if (!a)
        return 0;
    return a->role == WIRE_COMPUTE ? add_edge(x, p->adapter, v, 0, NONE, e) : add_edge(x, v, p->adapter, 0, NONE, e);
}

static int add_all(const struct topology *t, const struct model *m, struct edges *x, struct err *e)
{
    for (uint32_t i = 0; i < t->n_ports; i++)
        if (model_port(m, i) && add_port(t, m, x, i, e) < 0)
            return -1;
    for (uint32_t i = 0; i < t->n_links; i++) {
        const struct link *l = model_link(m, i);
        if (!l || !model_link_usable(m, l))
            continue;
        igraph_integer_t a = vertex_of_port(t, l->a), b = vertex_of_port(t, l->b);
        if (add_edge(x, a, b, l->latency_ns, i, e) < 0 || add_edge(x, b, a, l->latency_ns, i, e) < 0)
            return -1;
    }
    return 0;
}

static int make_graph(struct topology *t, const struct model *m, struct err *e)
{
    CLEANUP(edges_done) struct edges x;
    igraph_integer_t n = vertex_of_switch(t, t->n_switches);
    if (edges_init(&x, e) < 0)
        return -1; /* edges_done() of zeroed vectors does nothing */
    if (add_all(t, m, &x, e) < 0 ||
        check(igraph_vector_init_copy(&t->weights, &x.weights), "igraph_vector_init_copy", e) < 0)
        return -1;
    if (check(igraph_create(&t->graph, &x.ends, n, IGRAPH_DIRECTED), "igraph_create", e) < 0) {
        igraph_vector_destroy(&t->weights);
        return -1;
    }
    t->edge_link = TAKE(x.links);
    t->made = true;
    return 0;
}

/* ---- what follows from it -------------------------------------------------------------------------------------------
 */

static int find_components(struct topology *t, struct err *e)
{
    igraph_vector_int_t membership;
    if (check(igraph_vector_int_init(&membership, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    int rc = check(igraph_connected_components(&t->graph, &membership, NULL, NULL, IGRAPH_WEAK),
                   "igraph_connected_components", e);
    for (uint32_t i = 0; rc == 0 && i < t->n_adapters; i++)
        t->component[i] = (uint32_t)VECTOR(membership)[i];
    igraph_vector_int_destroy(&membership);
    return rc;
}

/* Switches that are articulation points, and links that are bridges. */
static int find_splits(struct topology *t, struct err *e)
{
    igraph_vector_int_t list;
    if (check(igraph_vector_int_init(&list, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    int rc = check(igraph_articulation_points(&t->graph, &list), "igraph_articulation_points", e);
    for (igraph_integer_t i = 0; rc == 0 && i < igraph_vector_int_size(&list); i++)
        if (VECTOR(list)[i] >= vertex_of_switch(t, 0))
            t->switch_splits[VECTOR(list)[i] - vertex_of_switch(t, 0)] = 1;
    igraph_vector_int_destroy(&list);
    return rc;
}

/* A link is two directed edges, which hide each other from igraph_bridges(): asked of an undirected copy. */
static int find_bridges(struct topology *t, struct err *e)
{
    igraph_t plain;
    igraph_vector_int_t list, ends;
    if (check(igraph_vector_int_init(&ends, 0), "igraph_vector_int_init", e) < 0)
        return -1;
    int rc = 0;
    CLEANUP(cleanup_free) uint32_t *link = calloc((size_t)igraph_ecount(&t->graph) + 1, sizeof *link);
    size_t n = 0;
    if (!link)
        rc = err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (igraph_integer_t i = 0; rc == 0 && i < igraph_ecount(&t->graph); i++) {
        igraph_integer_t from = IGRAPH_FROM(&t->graph, i), to = IGRAPH_TO(&t->graph, i);
        bool twin = t->edge_link[i] != NONE || from >= vertex_of_switch(t, 0) || to >= vertex_of_switch(t, 0);
        if (twin && from > to)
            continue;
        link[n++] = t->edge_link[i];
        if (igraph_vector_int_push_back(&ends, from) || igraph_vector_int_push_back(&ends, to))
            rc = err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    if (rc == 0)
        rc = check(igraph_create(&plain, &ends, igraph_vcount(&t->graph), IGRAPH_UNDIRECTED), "igraph_create", e);
    igraph_vector_int_destroy(&ends);
    if (rc < 0)
        return -1;
    rc = check(igraph_vector_int_init(&list, 0), "igraph_vector_int_init", e);
    if (rc == 0) {
        rc = check(igraph_bridges(&plain, &list), "igraph_bridges", e);
        for (igraph_integer_t i = 0; rc == 0 && i < igraph_vector_int_size(&list); i++)
            if (link[VECTOR(list)[i]] != NONE)
                t->link_splits[link[VECTOR(list)[i]]] = 1;
        igraph_vector_int_destroy(&list);
    }
    igraph_destroy(&plain);
    return rc;
}

static int make_reasons(struct topology *t, const struct model *m, struct err *e)
{
    t->n_adapters = model_count(m, MODEL_ADAPTER);
    t->n_ports = model_count(m, MODEL_PORT);
    t->n_switches = model_count(m, MODEL_SWITCH);
    t->n_links = model_count(m, MODEL_LINK);
    t->component = calloc(t->n_adapters + 1, sizeof *t->component);
    t->switch_splits = calloc(t->n_switches + 1, 1);
    t->link_splits = calloc(t->n_links + 1, 1);
    if (!t->component || !t->switch_splits || !t->link_splits)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (make_graph(t, m, e) < 0 || find_components(t, e) < 0 || find_splits(t, e) < 0)
        return -1;
    return find_bridges(t, e);
}

/* The graph of reasons, of the model of the last refresh. */
static bool graph_ready(struct topology *t)
{
    struct err ignored;
    if (!t->m)
        return false;
    if (t->made && t->version == t->m->topology_version)
        return true;
    forget_graph(t);
    if (make_reasons(t, t->m, &ignored) < 0) {
        forget_graph(t);
        return false;
    }
    t->version = t->m->topology_version;
    return true;
}

bool topology_splits(struct topology *t, enum model_kind kind, uint32_t index)
{
    if (!graph_ready(t))
        return false;
    if (kind == MODEL_SWITCH)
        return index < t->n_switches && t->switch_splits && t->switch_splits[index];
    return kind == MODEL_LINK && index < t->n_links && t->link_splits && t->link_splits[index];
}

/* ---- what decisions stand on ----------------------------------------------------------------------------------------
 */

/* From the vertex behind all memory ports backwards: its cables, then trunks against their direction. */
static int bound_edges(const struct topology *t, struct edges *x, struct err *e)
{
    const struct fabric *f = t->fabric;
    const struct donors *d = t->donors;
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

static int make_bounds(struct topology *t, struct err *e)
{
    CLEANUP(edges_done) struct edges x;
    igraph_t graph;
    igraph_matrix_t row;
    igraph_integer_t n = (igraph_integer_t)t->fabric->n_switches;
    if (edges_init(&x, e) < 0 || bound_edges(t, &x, e) < 0 ||
        check(igraph_create(&graph, &x.ends, n + 1, IGRAPH_DIRECTED), "igraph_create", e) < 0)
        return -1;
    int rc = check(igraph_matrix_init(&row, 0, 0), "igraph_matrix_init", e);
    if (rc == 0) {
        rc = check(dijkstra(&graph, &x.weights, n, igraph_vss_all(), &row), "igraph_distances_dijkstra", e);
        if (rc == 0)
            take_bounds(t->fabric, &row);
        igraph_matrix_destroy(&row);
    }
    igraph_destroy(&graph);
    return rc;
}

static int make_index(struct topology *t, const struct model *m, struct err *e)
{
    if (fabric_new(&t->fabric, m, e) < 0 || donors_new(&t->donors, t->fabric, m, e) < 0 ||
        paths_new(&t->paths, t->fabric, e) < 0 || reach_new(&t->reach, t->fabric, t->donors, e) < 0)
        return -1;
    return make_bounds(t, e);
}

/* A port's cable may lead to a memory adapter: that one has the exit. */
static void update_port(struct topology *t, const struct model *m, uint32_t port)
{
    uint32_t ends[2] = { port, model_port_peer(m, port) };
    fabric_update_port(t->fabric, m, port);
    for (int i = 0; i < 2; i++)
        if (ends[i] != NONE && t->donors->port_exit[ends[i]] != NONE)
            donors_update_node(t->donors, t->fabric, m, t->donors->exits[t->donors->port_exit[ends[i]]].node);
}

static void update_row(struct topology *t, const struct model *m, enum model_kind kind, uint32_t i)
{
    if (kind == MODEL_NODE)
        donors_update_node(t->donors, t->fabric, m, i);
    else if (kind == MODEL_ADAPTER && model_adapter(m, i))
        donors_update_node(t->donors, t->fabric, m, model_adapter(m, i)->node);
    else if (kind == MODEL_PORT && model_port(m, i))
        update_port(t, m, i);
    else if (kind == MODEL_LINK && model_link(m, i))
        update_port(t, m, model_link(m, i)->a);
}

/* Too many changes to take them one by one, over the same cabling. */
static void update_all(struct topology *t, const struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_LINK); i++)
        if (model_link(m, i))
            fabric_update_port(t->fabric, m, model_link(m, i)->a);
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        donors_update_node(t->donors, t->fabric, m, i);
}

static void update_changed(struct topology *t, const struct model *m)
{
    for (uint64_t at = t->changes; at < model_changes_end(m); at++) {
        uint32_t index;
        enum model_kind kind = model_change_at(m, at, &index);
        update_row(t, m, kind, index);
    }
}

int topology_refresh(struct topology *t, const struct model *m, struct err *e)
{
    if (!t->fabric || t->m != m || t->cabling_version != m->cabling_version) {
        t->m = NULL;
        t->n_made++;
        forget_graph(t);
        forget_index(t);
        if (make_index(t, m, e) < 0) {
            forget_index(t);
            return -1;
        }
    } else if (!model_changes_known(m, t->changes)) {
        update_all(t, m);
    } else {
        update_changed(t, m);
    }
    t->m = m;
    t->cabling_version = m->cabling_version;
    t->changes = model_changes_end(m);
    return 0;
}

bool topology_same(const struct topology *a, const struct topology *b)
{
    return fabric_same(a->fabric, b->fabric) && donors_same(a->donors, b->donors);
}

/* ---- distances ------------------------------------------------------------------------------------------------------
 */

static struct row_cache *row_of(struct topology *t, uint32_t source)
{
    struct row_cache *oldest = &t->rows[0];
    t->tick++;
    for (unsigned i = 0; i < ROWS_MAX; i++) {
        struct row_cache *r = &t->rows[i];
        if (r->hops && r->source == source) {
            r->used = t->tick;
            return r;
        }
        if (r->used < oldest->used)
            oldest = r;
    }
    free(oldest->hops);
    free(oldest->distance_ns);
    *oldest = (struct row_cache){ .source = source, .used = t->tick };
    return oldest;
}

/* One row of igraph's distances, to the adapters; 'weights' NULL: number of edges. */
static int distances(struct topology *t, uint32_t source, const igraph_vector_t *weights, igraph_matrix_t *out)
{
    igraph_vs_t to;
    struct err ignored;
    if (igraph_vs_range(&to, 0, (igraph_integer_t)t->n_adapters))
        return -1;
    igraph_error_t rc = weights ? dijkstra(&t->graph, weights, source, to, out)
                                : igraph_distances(&t->graph, out, igraph_vss_1(source), to, IGRAPH_OUT);
    igraph_vs_destroy(&to);
    return check(rc, "distances", &ignored);
}

static int fill_hops(struct topology *t, struct row_cache *r)
{
    igraph_matrix_t row;
    uint8_t *hops = malloc(t->n_adapters + 1);
    if (!hops)
        return -1;
    if (igraph_matrix_init(&row, 0, 0)) {
        free(hops);
        return -1;
    }
    int rc = distances(t, r->source, NULL, &row);
    for (uint32_t i = 0; rc == 0 && i < t->n_adapters; i++)
        hops[i] = MATRIX(row, 0, i) <= HOPS_MAX ? (uint8_t)MATRIX(row, 0, i) : UINT8_MAX;
    igraph_matrix_destroy(&row);
    if (rc == 0)
        r->hops = hops;
    else
        free(hops);
    return rc;
}

static int fill_distance(struct topology *t, struct row_cache *r)
{
    igraph_matrix_t row;
    uint64_t *ns = calloc(t->n_adapters + 1, sizeof *ns);
    if (!ns)
        return -1;
    if (igraph_matrix_init(&row, 0, 0)) {
        free(ns);
        return -1;
    }
    int rc = distances(t, r->source, &t->weights, &row);
    for (uint32_t i = 0; rc == 0 && i < t->n_adapters; i++)
        ns[i] = isfinite(MATRIX(row, 0, i)) ? (uint64_t)MATRIX(row, 0, i) : UINT64_MAX;
    igraph_matrix_destroy(&row);
    if (rc == 0)
        r->distance_ns = ns;
    else
        free(ns);
    return rc;
}

bool topology_reaches(struct topology *t, const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter,
                      unsigned channels)
{
    struct path_rules all_free = { .m = m, .all_free = true };
    struct leg legs[2];
    struct err ignored;
    bool found = false;
    if (!graph_ready(t) || compute_adapter >= t->n_adapters || memory_adapter >= t->n_adapters ||
        t->component[compute_adapter] != t->component[memory_adapter])
        return false;
    struct row_cache *r = row_of(t, compute_adapter);
    if ((!r->hops && fill_hops(t, r) < 0) || r->hops[memory_adapter] == UINT8_MAX)
        return false;
    if (channels == 1)
        return true;
    return paths_bonded(t->paths, &all_free, compute_adapter, memory_adapter, legs, &found, &ignored) == 0 && found;
}

uint64_t topology_distance_ns(struct topology *t, uint32_t compute_adapter, uint32_t memory_adapter)
{
    if (!graph_ready(t) || compute_adapter >= t->n_adapters || memory_adapter >= t->n_adapters)
        return UINT64_MAX;
    struct row_cache *r = row_of(t, compute_adapter);
    if ((!r->hops && fill_hops(t, r) < 0) || (!r->distance_ns && fill_distance(t, r) < 0))
        return 0; /* still a lower bound */
    return r->distance_ns[memory_adapter];
}

/* ---- what dies ------------------------------------------------------------------------------------------------------
 */

static bool leg_uses(const struct model *m, const struct leg *leg, enum model_kind kind, uint32_t index)
{
    for (unsigned i = 0; i < leg->n_ports; i++) {
        const struct port *p = model_port(m, leg->ports[i]);
        if (p && (kind == MODEL_LINK ? p->link == index : p->sw == index))
            return true;
    }
    return false;
}

static bool attachment_dies(const struct model *m, const struct attachment *a, enum model_kind kind, uint32_t index)
{
    const struct circuit *c = model_circuit(m, a->circuit);
    if (a->compute_gone) /* nobody reads it any more */
        return false;
    if (kind == MODEL_NODE)
        return a->donor == index;
    for (unsigned k = 0; c && k < c->channels; k++)
        if (leg_uses(m, &c->legs[k], kind, index))
            return true;
    return false;
}

int topology_loss(struct topology_loss *out, const struct model *m, enum model_kind kind, uint32_t index, struct err *e)
{
    size_t n = model_count(m, MODEL_ATTACHMENT);
    struct topology_loss l = { 0 };
    CLEANUP(cleanup_free) bool *seen = calloc(model_count(m, MODEL_NODE) + 1, sizeof *seen);
    l.attachments = calloc(n + 1, sizeof *l.attachments);
    l.compute_nodes = calloc(n + 1, sizeof *l.compute_nodes);
    if (!seen || !l.attachments || !l.compute_nodes) {
        topology_loss_done(&l);
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a || !attachment_dies(m, a, kind, index))
            continue;
        l.attachments[l.n_attachments++] = i;
        if (!seen[a->compute_node])
            l.compute_nodes[l.n_compute_nodes++] = a->compute_node;
        seen[a->compute_node] = true;
    }
    *out = l;
    return 0;
}

void topology_loss_done(struct topology_loss *l)
{
    free(l->attachments);
    free(l->compute_nodes);
    memset(l, 0, sizeof *l);
}
