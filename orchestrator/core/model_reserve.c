/* model_reserve.c - what is in use: circuits, sections, attachments, and the totals that follow from them. */
#include "model_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t model_capacity_bytes(const struct node *n)
{
    uint64_t have = n->free_bytes + n->locked_bytes;
    return have > n->headroom_bytes ? have - n->headroom_bytes : 0;
}

uint64_t model_unowned_bytes(const struct node *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->n_unowned; i++)
        if (!strcmp(n->unowned[i].kind, "buffer") && __builtin_add_overflow(sum, n->unowned[i].size_bytes, &sum))
            return UINT64_MAX;
    return sum;
}

uint64_t model_lendable_bytes(const struct node *n)
{
    uint64_t capacity = model_capacity_bytes(n), taken;
    if (__builtin_add_overflow(n->lent_bytes, model_unowned_bytes(n), &taken))
        return 0;
    return capacity > taken ? capacity - taken : 0;
}

bool model_port_free(const struct port *p)
{
    return p->circuit == NONE && !p->suspect;
}

/* A bonded pair carries half of the reservation on each leg, rounded up. */
static unsigned leg_gbps(unsigned gbps, unsigned channels)
{
    return channels == 2 ? gbps / 2 + gbps % 2 : gbps;
}

static void circuit_ports(struct model *m, const struct circuit *c, uint32_t value)
{
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 0; i < c->legs[k].n_ports; i++)
            model_edit_port(m, c->legs[k].ports[i])->circuit = value;
}

static void circuit_count(struct model *m, const struct circuit *c, int by)
{
    uint32_t ends[2] = { c->compute, c->memory };
    for (int i = 0; i < 2; i++) {
        struct adapter *a = model_edit_adapter(m, ends[i]);
        a->n_circuits += (uint32_t)by;
        if (c->channels == 2)
            a->bonded_circuits += (unsigned)by;
    }
}

static uint32_t add_circuit(struct model *m, const struct reservation *r)
{
    uint32_t at = model_add_row(m, MODEL_CIRCUIT);
    struct circuit *c = model_edit_circuit(m, at);
    snprintf(c->id, sizeof c->id, "c%" PRIu64, m->next_circuit++);
    c->compute = r->compute_adapter;
    c->memory = r->memory_adapter;
    c->channels = r->channels;
    memcpy(c->legs, r->legs, sizeof c->legs);
    c->cost_ns = r->cost_ns;
    c->state = CIRCUIT_PLANNED;
    c->first_attachment = NONE;
    name_index_add(m, MODEL_CIRCUIT, at);
    struct circuit copy = *c;
    circuit_ports(m, &copy, at);
    circuit_count(m, &copy, 1);
    return at;
}

static void remove_circuit(struct model *m, uint32_t at)
{
    struct circuit copy = *model_circuit(m, at);
    circuit_ports(m, &copy, NONE);
    circuit_count(m, &copy, -1);
    model_remove_row(m, MODEL_CIRCUIT, at);
}

/* Links the attachment into its section's list, which is in order of offset. */
static void section_insert(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    struct section *s = &model_touch_adapter(m, a->compute_adapter)->sections[a->section];
    uint32_t next = s->first_attachment, before = NONE;
    while (next != NONE && model_attachment(m, next)->offset_bytes < a->offset_bytes) {
        before = next;
        next = model_attachment(m, next)->section_next;
    }
    model_touch_attachment(m, at)->section_next = next;
    if (before == NONE)
        s->first_attachment = at;
    else
        model_touch_attachment(m, before)->section_next = at;
    s->circuit = a->circuit;
}

static void section_remove(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    struct section *s = &model_edit_adapter(m, a->compute_adapter)->sections[a->section];
    if (s->first_attachment == at) {
        s->first_attachment = a->section_next;
    } else {
        uint32_t before = s->first_attachment;
        while (model_attachment(m, before)->section_next != at)
            before = model_attachment(m, before)->section_next;
        model_touch_attachment(m, before)->section_next = a->section_next;
    }
    if (s->first_attachment == NONE) {
        s->circuit = NONE;
        s->base = 0;
    }
}

static bool port_fits(const struct port *p, const struct reservation *r)
{
    return p && (r->only_undone ? p->circuit == NONE : model_port_free(p));
}

static int check_reservation(const struct model *m, const struct reservation *r, struct err *e)
{
    const struct adapter *ca = model_adapter(m, r->compute_adapter), *ma = model_adapter(m, r->memory_adapter);
    if (!id_valid(r->id) || model_find_attachment(m, r->id) != NONE)
        return err_set(e, ERR_CONFLICT, "attachment %s is there already", r->id);
    if (!ca || !ma || ca->node != r->compute_node || ma->node != r->donor || r->section >= ca->n_sections)
        return err_set(e, ERR_INTERNAL, "a reservation that does not fit the model");
    const struct circuit *c = model_circuit(m, model_find_pair_circuit(m, r->compute_adapter, r->memory_adapter));
    if (model_section_barred(m, r->compute_adapter, r->section) || (c && c->severed))
        return err_set(e, ERR_INTERNAL, "a reservation of what is in quarantine");
    if (c)
        return 0;
    for (unsigned k = 0; k < r->channels; k++)
        for (unsigned i = 0; i < r->legs[k].n_ports; i++)
            if (!port_fits(model_port(m, r->legs[k].ports[i]), r))
                return err_set(e, ERR_INTERNAL, "a reservation over a port that is taken");
    return 0;
}

int model_reserve(struct model *m, const struct reservation *r, uint32_t *out, struct err *e)
{
    if (check_reservation(m, r, e) < 0)
        return -1;
    uint32_t circuit = model_find_pair_circuit(m, r->compute_adapter, r->memory_adapter);
    if (circuit == NONE)
        circuit = add_circuit(m, r);
    struct circuit *c = model_edit_circuit(m, circuit);
    c->n_attachments++;
    c->reserved_gbps += leg_gbps(r->bandwidth_gbps, c->channels);
    uint64_t cost_ns = c->cost_ns;
    uint32_t at = model_add_row(m, MODEL_ATTACHMENT);
    struct attachment *a = model_edit_attachment(m, at);
    snprintf(a->id, sizeof a->id, "%s", r->id);
    name_index_add(m, MODEL_ATTACHMENT, at);
    a->compute_node = r->compute_node;
    a->donor = r->donor;
    a->compute_adapter = r->compute_adapter;
    a->memory_adapter = r->memory_adapter;
    a->size_bytes = r->size_bytes;
    a->requested_bytes = r->requested_bytes;
    a->channels = r->channels;
    a->bandwidth_gbps = r->bandwidth_gbps;
    a->created_ms = a->updated_ms = m->wall_ms;
    a->circuit = circuit;
    a->section = r->section;
    a->offset_bytes = r->offset_bytes;
    a->cost_ns = cost_ns;
    a->state = ATT_PENDING;
    a->goal = GOAL_PRESENT;
    a->physical_addr = model_adapter(m, r->compute_adapter)->window_addr + r->section * SECTION_BYTES + r->offset_bytes;
    a->numa_node = -1;
    a->section_next = NONE;
    section_insert(m, at);
    model_list_attachment(m, at);
    struct node *donor = model_edit_node(m, r->donor);
    donor->lent_bytes += r->size_bytes;
    donor->n_lends++;
    struct node *borrower = model_edit_node(m, r->compute_node);
    borrower->borrowed_bytes += r->size_bytes;
    borrower->n_borrows++;
    *out = at;
    return 0;
}

void model_release(struct model *m, uint32_t attachment)
{
    struct attachment a = *model_attachment(m, attachment);
    section_remove(m, attachment);
    model_unlist_attachment(m, attachment);
    struct circuit *c = model_edit_circuit(m, a.circuit);
    c->n_attachments--;
    c->reserved_gbps -= leg_gbps(a.bandwidth_gbps, c->channels);
    if (c->n_attachments == 0)
        remove_circuit(m, a.circuit);
    struct node *donor = model_edit_node(m, a.donor);
    donor->lent_bytes -= a.size_bytes;
    donor->n_lends--;
    struct node *borrower = model_edit_node(m, a.compute_node);
    borrower->borrowed_bytes -= a.size_bytes;
    borrower->n_borrows--;
    model_remove_row(m, MODEL_ATTACHMENT, attachment);
}

/* ---- after loading ------------------------------------------------------------------------------------------------
 */
static void forget_derived(struct model *m)
{
    for (uint32_t i = 0; i < m->tables[MODEL_NODE].n; i++) {
        struct node *n = (struct node *)model_row(m, MODEL_NODE, i);
        n->lent_bytes = n->borrowed_bytes = 0;
        n->n_lends = n->n_borrows = 0;
        n->first_lend = n->first_borrow = NONE;
    }
    for (uint32_t i = 0; i < m->tables[MODEL_PORT].n; i++) {
        struct port *p = (struct port *)model_row(m, MODEL_PORT, i);
        p->link = p->circuit = p->seen_peer = NONE;
    }
    for (uint32_t i = 0; i < m->tables[MODEL_ADAPTER].n; i++) {
        struct adapter *a = (struct adapter *)model_row(m, MODEL_ADAPTER, i);
        a->n_circuits = a->bonded_circuits = 0;
        for (unsigned k = 0; k < WIRE_SECTIONS; k++) {
            a->sections[k].first_attachment = NONE;
            a->sections[k].circuit = NONE;
        }
    }
    for (uint32_t i = 0; i < m->tables[MODEL_CIRCUIT].n; i++) {
        struct circuit *c = (struct circuit *)model_row(m, MODEL_CIRCUIT, i);
        c->n_attachments = 0;
        c->reserved_gbps = 0;
        c->first_attachment = NONE;
    }
}

static int rebuild_links_circuits(struct model *m, struct err *e)
{
    for (uint32_t i = 0; i < m->tables[MODEL_LINK].n; i++) {
        const struct link *l = model_link(m, i);
        if (!l)
            continue;
        struct port *a = (struct port *)model_row(m, MODEL_PORT, l->a),
                    *b = (struct port *)model_row(m, MODEL_PORT, l->b);
        if (!a || !b || !a->row.live || !b->row.live || a->link != NONE || b->link != NONE)
            return err_set(e, ERR_STORAGE, "link %u does not join two free ports", i);
        a->link = b->link = i;
    }
    for (uint32_t i = 0; i < m->tables[MODEL_CIRCUIT].n; i++) {
        const struct circuit *c = model_circuit(m, i);
        if (!c)
            continue;
        if (!model_adapter(m, c->compute) || !model_adapter(m, c->memory) || c->channels < 1 || c->channels > 2)
            return err_set(e, ERR_STORAGE, "circuit %s does not join two adapters", c->id);
        for (unsigned k = 0; k < c->channels; k++)
            for (unsigned j = 0; j < c->legs[k].n_ports; j++) {
                struct port *p = (struct port *)model_row(m, MODEL_PORT, c->legs[k].ports[j]);
                if (!p || !p->row.live || p->circuit != NONE)
                    return err_set(e, ERR_STORAGE, "circuit %s uses a port that is missing or taken", c->id);
                p->circuit = i;
            }
        uint32_t ends[2] = { c->compute, c->memory };
        for (int k = 0; k < 2; k++) {
            struct adapter *a = (struct adapter *)model_row(m, MODEL_ADAPTER, ends[k]);
            a->n_circuits++;
            a->bonded_circuits += c->channels == 2;
        }
    }
    return 0;
}

static int rebuild_attachments(struct model *m, struct err *e)
{
    for (uint32_t i = 0; i < m->tables[MODEL_ATTACHMENT].n; i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a)
            continue;
        struct circuit *c = (struct circuit *)model_row(m, MODEL_CIRCUIT, a->circuit);
        struct node *donor = (struct node *)model_row(m, MODEL_NODE, a->donor);
        struct node *borrower = (struct node *)model_row(m, MODEL_NODE, a->compute_node);
        if (!c || !c->row.live || c->compute != a->compute_adapter || !donor || !donor->row.live || !borrower ||
            !borrower->row.live || a->section >= WIRE_SECTIONS)
            return err_set(e, ERR_STORAGE, "attachment %s refers to what is not there", a->id);
        section_insert(m, i);
        model_list_attachment(m, i);
        c->n_attachments++;
        c->reserved_gbps += leg_gbps(a->bandwidth_gbps, c->channels);
        donor->lent_bytes += a->size_bytes;
        donor->n_lends++;
        borrower->borrowed_bytes += a->size_bytes;
        borrower->n_borrows++;
    }
    return 0;
}

int model_rebuild(struct model *m, struct err *e)
{
    name_index_free(m->names);
    m->names = name_index_new();
    static const enum model_kind named[] = { MODEL_NODE, MODEL_SWITCH, MODEL_CIRCUIT, MODEL_ATTACHMENT };
    for (unsigned k = 0; k < ARRAY_LEN(named); k++)
        for (uint32_t i = 0; i < m->tables[named[k]].n; i++)
            if (model_row(m, named[k], i)->live)
                name_index_add(m, named[k], i);
    forget_derived(m);
    if (rebuild_links_circuits(m, e) < 0 || rebuild_attachments(m, e) < 0)
        return -1;
    model_forget_changes(m);
    m->cabling_version++;
    model_commit_done(m);
    return model_check(m, e);
}
