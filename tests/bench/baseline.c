#include "baseline.h"

#include <igraph/igraph.h>
#include <stdlib.h>

struct baseline {
    uint32_t n_nodes;
    igraph_t graph;
    igraph_vector_t weights;
    igraph_matrix_t row;
};

static igraph_integer_t vertex_of(const struct model *m, uint32_t n_nodes, uint32_t port)
{
    const struct port *p = model_port(m, port);
    return p->sw != NONE ? (igraph_integer_t)(n_nodes + p->sw) : (igraph_integer_t)model_adapter(m, p->adapter)->node;
}

/* Of the cables from a node to a switch: only the shortest one of its adapters counts. */
static bool shortest(const struct model *m, const struct link *l)
{
    const struct port *p = model_port(m, l->a);
    const struct node *n = p->adapter == NONE ? NULL : model_node(m, model_adapter(m, p->adapter)->node);
    for (unsigned i = 0; n && i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(m, n->adapters[i]);
        for (unsigned k = 0; k < a->n_ports; k++) {
            const struct link *other = model_link(m, model_port(m, a->ports[k])->link);
            if (other->latency_ns < l->latency_ns || (other->latency_ns == l->latency_ns && other < l))
                return false;
        }
    }
    return true;
}

struct baseline *baseline_new(const struct model *m)
{
    struct baseline *b = calloc(1, sizeof *b);
    igraph_vector_int_t ends;
    if (!b || igraph_vector_int_init(&ends, 0) || igraph_vector_init(&b->weights, 0) ||
        igraph_matrix_init(&b->row, 0, 0))
        return NULL;
    b->n_nodes = model_count(m, MODEL_NODE);
    for (uint32_t i = 0; i < model_count(m, MODEL_LINK); i++) {
        const struct link *l = model_link(m, i);
        if (!shortest(m, l))
            continue;
        if (igraph_vector_int_push_back(&ends, vertex_of(m, b->n_nodes, l->a)) ||
            igraph_vector_int_push_back(&ends, vertex_of(m, b->n_nodes, l->b)) ||
            igraph_vector_push_back(&b->weights, (igraph_real_t)l->latency_ns))
            return NULL;
    }
    igraph_integer_t n = (igraph_integer_t)(b->n_nodes + model_count(m, MODEL_SWITCH));
    if (igraph_create(&b->graph, &ends, n, IGRAPH_UNDIRECTED))
        return NULL;
    igraph_vector_int_destroy(&ends);
    return b;
}

void baseline_free(struct baseline *b)
{
    igraph_destroy(&b->graph);
    igraph_vector_destroy(&b->weights);
    igraph_matrix_destroy(&b->row);
    free(b);
}

uint32_t baseline_place(struct baseline *b, const struct model *m, uint32_t compute_node, uint64_t size_bytes)
{
    uint32_t best = NONE;
    if (igraph_distances_dijkstra(&b->graph, &b->row, igraph_vss_1(compute_node), igraph_vss_all(), &b->weights,
                                  IGRAPH_ALL))
        return NONE;
    for (uint32_t i = 0; i < b->n_nodes; i++)
        if (i != compute_node && model_lendable_bytes(model_node(m, i)) >= size_bytes &&
            (best == NONE || MATRIX(b->row, 0, i) < MATRIX(b->row, 0, best)))
            best = i;
    return best;
}
