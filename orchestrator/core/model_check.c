/* model_check.c - the oracle: every invariant of the model, checked from the rows alone, without the derived fields'
 * help. */
#include "model_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int check_links(const struct model *m, struct err *e)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_LINK); i++) {
        const struct link *l = model_link(m, i);
        if (!l)
            continue;
        const struct port *a = model_port(m, l->a), *b = model_port(m, l->b);
        if (!a || !b || l->a == l->b || a->link != i || b->link != i)
            return err_set(e, ERR_INTERNAL, "link %u and its ports disagree", i);
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_PORT); i++) {
        const struct port *p = model_port(m, i);
        if (!p)
            continue;
        if ((p->adapter == NONE) == (p->sw == NONE))
            return err_set(e, ERR_INTERNAL, "port %u has no owner, or two", i);
        if (p->link != NONE && !model_link(m, p->link))
            return err_set(e, ERR_INTERNAL, "port %u has a link that is gone", i);
        if (p->circuit != NONE && !model_circuit(m, p->circuit))
            return err_set(e, ERR_INTERNAL, "port %u has a circuit that is gone", i);
    }
    return 0;
}

/* A leg runs from the compute adapter's port over cables and through switches to the memory adapter's. */
static int check_leg(const struct model *m, const struct circuit *c, const struct leg *leg, struct err *e)
{
    const struct port *first = leg->n_ports ? model_port(m, leg->ports[0]) : NULL;
    const struct port *last = leg->n_ports ? model_port(m, leg->ports[leg->n_ports - 1]) : NULL;
    if (leg->n_ports < 2 || leg->n_ports % 2 || leg->n_ports > PATH_PORTS_MAX || !first || !last ||
        first->adapter != c->compute || last->adapter != c->memory)
        return err_set(e, ERR_INTERNAL, "circuit %s has a leg that does not join its adapters", c->id);
    for (unsigned i = 0; i < leg->n_ports; i += 2)
        if (model_port_peer(m, leg->ports[i]) != leg->ports[i + 1])
            return err_set(e, ERR_INTERNAL, "circuit %s runs where no cable is", c->id);
    for (unsigned i = 1; i + 1 < leg->n_ports; i += 2)
        if (model_port(m, leg->ports[i])->sw == NONE ||
            model_port(m, leg->ports[i])->sw != model_port(m, leg->ports[i + 1])->sw)
            return err_set(e, ERR_INTERNAL, "circuit %s leaves a switch where it did not enter it", c->id);
    return 0;
}

static int check_circuits(const struct model *m, uint32_t *users, struct err *e)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++) {
        const struct circuit *c = model_circuit(m, i);
        if (!c)
            continue;
        const struct adapter *ca = model_adapter(m, c->compute), *ma = model_adapter(m, c->memory);
        if (!ca || !ma || ca->role != WIRE_COMPUTE || ma->role != WIRE_MEMORY || c->channels < 1 || c->channels > 2)
            return err_set(e, ERR_INTERNAL, "circuit %s does not join a compute and a memory adapter", c->id);
        for (unsigned k = 0; k < c->channels; k++) {
            if (check_leg(m, c, &c->legs[k], e) < 0)
                return -1;
            for (unsigned j = 0; j < c->legs[k].n_ports; j++) {
                uint32_t p = c->legs[k].ports[j];
                if (users[p] != NONE || model_port(m, p)->circuit != i)
                    return err_set(e, ERR_INTERNAL, "port %u is in two circuits, or does not know its own", p);
                users[p] = i;
            }
        }
    }
    for (uint32_t p = 0; p < model_count(m, MODEL_PORT); p++)
        if (model_port(m, p) && model_port(m, p)->circuit != users[p])
            return err_set(e, ERR_INTERNAL, "port %u is taken by a circuit that does not use it", p);
    return 0;
}

static int check_section(const struct model *m, uint32_t adapter, unsigned n, struct err *e)
{
    const struct adapter *a = model_adapter(m, adapter);
    const struct section *s = &a->sections[n];
    uint64_t end = 0, limit = a->window_bytes - n * SECTION_BYTES;
    if (limit > SECTION_BYTES)
        limit = SECTION_BYTES;
    if ((s->first_attachment == NONE) != (s->circuit == NONE))
        return err_set(e, ERR_INTERNAL, "section %s/%u is bound without an attachment", a->name, n);
    for (uint32_t i = s->first_attachment; i != NONE;) {
        const struct attachment *x = model_attachment(m, i);
        if (!x || x->compute_adapter != adapter || x->section != n || x->circuit != s->circuit)
            return err_set(e, ERR_INTERNAL, "section %s/%u lists what is not its own", a->name, n);
        if (x->offset_bytes < end || x->size_bytes == 0 || x->offset_bytes > limit ||
            x->size_bytes > limit - x->offset_bytes)
            return err_set(e, ERR_INTERNAL, "section %s/%u gives an address range twice (attachment %s)", a->name, n,
                           x->id);
        end = x->offset_bytes + x->size_bytes;
        i = x->section_next;
    }
    return 0;
}

/* What the life cycle says of an attachment has to hold together, and with its section and circuit (tests/README.md).
 */
static int check_life(const struct model *m, const struct attachment *a, struct err *e)
{
    const struct circuit *c = model_circuit(m, a->circuit);
    const struct section *s = &model_adapter(m, a->compute_adapter)->sections[a->section];
    bool present = a->goal == GOAL_PRESENT, mapped = a->step >= STEP_MAP && (present || a->undoing > STEP_MAP);
    const char *wrong = NULL;
    if (a->state == ATT_ATTACHED && (!present || a->step != STEP_ONLINE || !a->buffer_seen || !a->segment_seen))
        wrong = "is attached without all of it";
    else if (a->state == ATT_DETACHED || a->state == ATT_FAILED)
        wrong = "is over, and still there";
    else if ((a->state == ATT_STUCK || a->state == ATT_DETACHING || a->state == ATT_LOST) && present)
        wrong = "is being undone, and wanted";
    else if (a->release_published && (present || a->undoing != STEP_LEND))
        wrong = "had its release published, and goes on";
    else if (a->released)
        wrong = "is released, and still there";
    else if (a->quarantined && (present || a->undoing <= a->step))
        wrong = "is in quarantine, and undone";
    else if (mapped && (!s->used || !s->base || !a->buffer_seen))
        wrong = "is mapped to nowhere";
    else if (mapped && c->phase != PHASE_CHANNELS && c->phase != PHASE_JOIN)
        wrong = "is mapped over a circuit that closes";
    else if (mapped && s->park_revision)
        wrong = "is mapped in a section that is parked";
    return wrong ? err_set(e, ERR_INTERNAL, "attachment %s %s", a->id, wrong) : 0;
}

/* The lists through the attachments, both ways. */
static int check_lists(const struct model *m, struct err *e)
{
    uint32_t n[3] = { 0 }, live = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++)
        live += model_attachment(m, i) != NULL;
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        for (uint32_t k = model_circuit(m, i) ? model_circuit(m, i)->first_attachment : NONE; k != NONE && n[0] <= live;
             k = model_attachment(m, k)->circuit_next, n[0]++)
            if (!model_attachment(m, k) || model_attachment(m, k)->circuit != i)
                return err_set(e, ERR_INTERNAL, "circuit %u lists an attachment that is not its own", i);
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *x = model_node(m, i);
        for (uint32_t k = x ? x->first_lend : NONE; k != NONE && n[1] <= live;
             k = model_attachment(m, k)->lend_next, n[1]++)
            if (!model_attachment(m, k) || model_attachment(m, k)->donor != i)
                return err_set(e, ERR_INTERNAL, "node %s lists a loan that is not its own", x->name);
        for (uint32_t k = x ? x->first_borrow : NONE; k != NONE && n[2] <= live;
             k = model_attachment(m, k)->borrow_next, n[2]++)
            if (!model_attachment(m, k) || model_attachment(m, k)->compute_node != i)
                return err_set(e, ERR_INTERNAL, "node %s lists borrowed memory that is not its own", x->name);
    }
    if (n[0] != live || n[1] != live || n[2] != live)
        return err_set(e, ERR_INTERNAL, "%u attachments, but %u, %u and %u in the lists", live, n[0], n[1], n[2]);
    return 0;
}

struct totals {
    uint64_t lent, borrowed;
    uint32_t lends, borrows, listed;
};

static int check_totals(const struct model *m, struct totals *per_node, uint32_t *per_circuit, struct err *e)
{
    uint32_t n_attachments = 0, n_listed = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a)
            continue;
        n_attachments++;
        const struct circuit *c = model_circuit(m, a->circuit);
        if (!c || c->compute != a->compute_adapter || c->memory != a->memory_adapter || !model_node(m, a->donor) ||
            !model_node(m, a->compute_node) || model_find_attachment(m, a->id) != i)
            return err_set(e, ERR_INTERNAL, "attachment %s refers to what is not there", a->id);
        if (check_life(m, a, e) < 0)
            return -1;
        per_circuit[a->circuit]++;
        per_node[a->donor].lent += a->size_bytes;
        per_node[a->donor].lends++;
        per_node[a->compute_node].borrowed += a->size_bytes;
        per_node[a->compute_node].borrows++;
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++) {
        const struct adapter *a = model_adapter(m, i);
        for (unsigned k = 0; a && k < WIRE_SECTIONS; k++)
            for (uint32_t x = a->sections[k].first_attachment; x != NONE; x = model_attachment(m, x)->section_next)
                n_listed++;
    }
    if (n_listed != n_attachments)
        return err_set(e, ERR_INTERNAL, "%u attachments, but %u in the sections' lists", n_attachments, n_listed);
    for (uint32_t i = 0; i < model_count(m, MODEL_CIRCUIT); i++)
        if (model_circuit(m, i) && (!per_circuit[i] || model_circuit(m, i)->n_attachments != per_circuit[i]))
            return err_set(e, ERR_INTERNAL, "circuit %s counts its attachments wrongly", model_circuit(m, i)->id);
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        const struct totals *t = &per_node[i];
        if (n && (n->lent_bytes != t->lent || n->borrowed_bytes != t->borrowed || n->n_lends != t->lends ||
                  n->n_borrows != t->borrows))
            return err_set(e, ERR_INTERNAL, "node %s: lent %" PRIu64 ", but its attachments sum to %" PRIu64, n->name,
                           n->lent_bytes, t->lent);
    }
    return 0;
}

/* What nobody owns is counted in its sections. */
static int check_unowned(const struct model *m, struct err *e)
{
    uint64_t listed = 0, counted = 0;
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        for (unsigned k = 0; n && k < n->n_unowned; k++) {
            const struct unowned *u = &n->unowned[k];
            bool buffer = !strcmp(u->kind, "buffer");
            uint32_t compute = buffer ? model_find_node(m, u->compute_node) : i;
            listed += u->section < WIRE_SECTIONS &&
                      model_find_adapter(m, compute, buffer ? u->compute_adapter : u->adapter) != NONE;
        }
    }
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++)
        for (unsigned k = 0; model_adapter(m, i) && k < WIRE_SECTIONS; k++)
            counted += model_adapter(m, i)->sections[k].n_unowned;
    return listed == counted ? 0
                             : err_set(e, ERR_INTERNAL, "%" PRIu64 " things are nobody's, the sections count %" PRIu64,
                                       listed, counted);
}

int model_check(const struct model *m, struct err *e)
{
    uint32_t n_ports = model_count(m, MODEL_PORT);
    CLEANUP(cleanup_free) uint32_t *users = model_alloc(NULL, (n_ports + 1) * sizeof *users);
    memset(users, 0xff, (n_ports + 1) * sizeof *users);
    if (check_links(m, e) < 0 || check_circuits(m, users, e) < 0 || check_unowned(m, e) < 0)
        return -1;
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++)
        for (unsigned k = 0; model_adapter(m, i) && k < model_adapter(m, i)->n_sections; k++)
            if (check_section(m, i, k, e) < 0)
                return -1;
    CLEANUP(cleanup_free) struct totals *per_node = calloc(model_count(m, MODEL_NODE) + 1, sizeof *per_node);
    CLEANUP(cleanup_free) uint32_t *per_circuit = calloc(model_count(m, MODEL_CIRCUIT) + 1, sizeof *per_circuit);
    if (!per_node || !per_circuit)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    return check_totals(m, per_node, per_circuit, e) < 0 ? -1 : check_lists(m, e);
}
