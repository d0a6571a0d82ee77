/* health.c - counts what is not well. */
#include "api/health.h"

#include "api/views.h"

const char *const adapter_state_names[] = { "unknown", "ok", "error", NULL };

static void count_nodes(struct health *h, const struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        if (!n)
            continue;
        h->unowned_objects += n->n_unowned;
        view_count_findings(m, n, h->findings);
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++) {
        const struct adapter *a = model_adapter(m, i);
        if (!a)
            continue;
        h->adapters[a->failed ? ADAPTER_ERROR : a->seen ? ADAPTER_OK : ADAPTER_UNKNOWN]++;
        h->lenders_lost += a->lenders_lost;
    }
}

static void count_circuit(struct health *h, const struct model *m, uint32_t circuit)
{
    const struct circuit *c = model_circuit(m, circuit);
    if (!c || !model_circuit_in_danger(m, c))
        return;
    h->circuits_in_danger++;
    for (uint32_t i = NONE; (i = model_circuit_next(m, circuit, i)) != NONE;)
        h->attachments_in_danger += !model_attachment(m, i)->compute_gone;
}

void health_count(struct health *h, const struct model *m)
{
    *h = (struct health){ 0 };
    count_nodes(h, m);
    for (uint32_t i = 0; i < model_count(m, MODEL_LINK); i++)
        if (model_link(m, i))
            h->links[model_link_state(m, model_link(m, i))]++;
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        count_circuit(h, m, i);
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        h->quarantined_attachments += model_attachment(m, i) && model_attachment(m, i)->quarantined;
}
