#include "offline_rack.h"

#include <stdio.h>

static int add_node(struct model *m, const struct rack_node *r, struct err *e)
{
    uint32_t i;
    if (model_add_node(m, r->name, &i, e) < 0 || model_set_adapters(m, i, r->adapters, r->n_adapters, e) < 0 ||
        model_set_labels(m, i, r->labels, r->n_labels, e) < 0)
        return -1;
    struct node *n = model_edit_node(m, i);
    n->memory_bytes = r->memory_bytes;
    n->free_bytes = r->free_bytes;
    n->block_bytes = r->block_bytes;
    n->headroom_bytes = r->headroom_bytes;
    n->state = NODE_READY;
    for (unsigned k = 0; k < n->n_adapters; k++) {
        struct adapter *a = model_touch_adapter(m, n->adapters[k]);
        a->seen = a->ok = true;
    }
    return 0;
}

int offline_rack(struct model **m, struct topology **t, const struct rack *rack, const char *actor, struct err *e)
{
    if (model_new(m, e) < 0 || topology_new(t, e) < 0)
        return -1;
    (*m)->time_scale = 1;
    snprintf((*m)->actor, sizeof(*m)->actor, "%s", actor);
    model_savepoint(*m);
    for (size_t i = 0; i < rack->n_nodes; i++)
        if (add_node(*m, &rack->nodes[i], e) < 0)
            return -1;
    if (model_declare(*m, rack, e) < 0)
        return -1;
    model_commit_done(*m);
    return 0;
}
