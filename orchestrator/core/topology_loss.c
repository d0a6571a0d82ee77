/* topology_loss.c - whose memory dies with what: see topology.h. */
#include "topology.h"

#include <stdlib.h>
#include <string.h>

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
