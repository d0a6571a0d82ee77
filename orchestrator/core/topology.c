/* topology.c - see topology.h.
 *
 * Two graphs (topology_graph.h), and when each is made.  The one of reasons and previews has everything, and is made
 * when it is first asked for in a topology_version.  The one of decisions gives the lower bounds of the index, which is
 * kept from change to change and made anew once a cabling_version. */
#include "topology.h"

#include "donors.h"
#include "paths.h"
#include "reach.h"
#include "topology_graph.h"

#include <stdlib.h>

struct topology {
    /* for decisions: kept from change to change */
    const struct model *m;             /* of the last topology_refresh() */
    uint64_t cabling_version, changes; /* of 'm'; changes: what has been taken in */
    uint64_t n_made, n_misled;
    struct fabric *fabric; /* NULL: nothing is made yet, nor the three below */
    struct paths *paths;
    struct donors *donors;
    struct reach *reach;
    /* for reasons: made when first asked for in a topology_version */
    struct graph *graph; /* NULL: not made */
    uint64_t version;
};

/* ---- life -----------------------------------------------------------------------------------------------------------
 */

static void forget_graph(struct topology *t)
{
    graph_free(t->graph);
    t->graph = NULL;
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

/* ---- what decisions stand on ----------------------------------------------------------------------------------------
 */

static int make_index(struct topology *t, const struct model *m, struct err *e)
{
    if (fabric_new(&t->fabric, m, e) < 0 || donors_new(&t->donors, t->fabric, m, e) < 0 ||
        paths_new(&t->paths, t->fabric, e) < 0 || reach_new(&t->reach, t->fabric, t->donors, e) < 0)
        return -1;
    return graph_bounds(t->fabric, t->donors, e);
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

/* ---- reasons --------------------------------------------------------------------------------------------------------
 */

/* The graph of reasons, of the model of the last refresh. */
static bool graph_ready(struct topology *t)
{
    struct err ignored;
    if (!t->m)
        return false;
    if (t->graph && t->version == t->m->topology_version)
        return true;
    forget_graph(t);
    if (graph_new(&t->graph, t->m, &ignored) < 0)
        return false;
    t->version = t->m->topology_version;
    return true;
}

bool topology_splits(struct topology *t, enum model_kind kind, uint32_t index)
{
    return graph_ready(t) && graph_splits(t->graph, kind, index);
}

bool topology_reaches(struct topology *t, const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter,
                      unsigned channels)
{
    struct path_rules all_free = { .m = m, .all_free = true };
    struct leg legs[2];
    struct err ignored;
    bool found = false;
    if (!graph_ready(t) || !graph_reaches(t->graph, compute_adapter, memory_adapter))
        return false;
    if (channels == 1)
        return true;
    return paths_bonded(t->paths, &all_free, compute_adapter, memory_adapter, legs, &found, &ignored) == 0 && found;
}

uint64_t topology_distance_ns(struct topology *t, uint32_t compute_adapter, uint32_t memory_adapter)
{
    return graph_ready(t) ? graph_distance_ns(t->graph, compute_adapter, memory_adapter) : UINT64_MAX;
}
