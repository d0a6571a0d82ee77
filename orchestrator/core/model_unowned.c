/* model_unowned.c - what agents hold and nobody here knows.  Its ranges are taken all the same: nothing is placed in a
 * section of a compute adapter that some lender's buffer, or some block that is online, names as its own. */
#include "model_internal.h"

#include <string.h>

/* The compute adapter whose section it is in; NONE when that is not known here (yet). */
static uint32_t adapter_of(const struct model *m, uint32_t node, const struct unowned *u)
{
    uint32_t at = !strcmp(u->kind, "buffer")
                      ? model_find_adapter(m, model_find_node(m, u->compute_node), u->compute_adapter)
                      : model_find_adapter(m, node, u->adapter);
    return at != NONE && u->section < WIRE_SECTIONS ? at : NONE;
}

static void count(struct model *m, uint32_t node, const struct unowned *list, unsigned n, bool add)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t at = adapter_of(m, node, &list[i]);
        if (at != NONE)
            model_touch_adapter(m, at)->sections[list[i].section].n_unowned += add ? 1 : UINT32_MAX;
    }
}

void model_count_unowned(struct model *m, uint32_t adapter)
{
    for (uint32_t node = 0; node < model_count(m, MODEL_NODE); node++) {
        const struct node *n = model_node(m, node);
        for (unsigned i = 0; n && i < n->n_unowned; i++)
            if (adapter_of(m, node, &n->unowned[i]) == adapter)
                model_touch_adapter(m, adapter)->sections[n->unowned[i].section].n_unowned++;
    }
}

int model_set_unowned(struct model *m, uint32_t node, const struct unowned *list, size_t n, struct err *e)
{
    if (n > WIRE_MAX_OBJECTS)
        return err_set(e, ERR_FIELD_INVALID, "more than %d things without an owner", WIRE_MAX_OBJECTS);
    const struct node *old = model_node(m, node);
    if (old->n_unowned == n && (!n || !memcmp(old->unowned, list, n * sizeof *list)))
        return 0;
    struct node *nd = model_touch_node(m, node);
    count(m, node, nd->unowned, nd->n_unowned, false);
    shared_release(nd->unowned);
    nd->unowned = NULL;
    if (n) {
        nd->unowned = shared_new(n * sizeof *list);
        memcpy(nd->unowned, list, n * sizeof *list);
    }
    nd->n_unowned = (unsigned)n;
    count(m, node, nd->unowned, nd->n_unowned, true);
    return 0;
}
