/* model_lists.c - which attachments share a circuit, are lent by a node, are borrowed by a node: lists through the
 * attachments, so that a change costs what it touches; and the set of circuits that lifecycle_advance() has to look at.
 *
 * A circuit with its attachments is the unit of work: what one of them may do next depends on its nodes, its adapters
 * and the others on its circuit, and on nothing else. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists --------------------------------------------------------------------------------------------------------
 */
static const struct {
    size_t next, prev;
} members[] = {
    [LIST_CIRCUIT] = { offsetof(struct attachment, circuit_next), offsetof(struct attachment, circuit_prev) },
    [LIST_LENDS] = { offsetof(struct attachment, lend_next), offsetof(struct attachment, lend_prev) },
    [LIST_BORROWS] = { offsetof(struct attachment, borrow_next), offsetof(struct attachment, borrow_prev) },
};

static uint32_t *next_of(struct attachment *a, enum model_list list)
{
    return (uint32_t *)((char *)a + members[list].next);
}

static uint32_t *prev_of(struct attachment *a, enum model_list list)
{
    return (uint32_t *)((char *)a + members[list].prev);
}

static uint32_t *head_of(struct model *m, const struct attachment *a, enum model_list list)
{
    if (list == LIST_CIRCUIT)
        return &model_touch_circuit(m, a->circuit)->first_attachment;
    struct node *n = model_touch_node(m, list == LIST_LENDS ? a->donor : a->compute_node);
    return list == LIST_LENDS ? &n->first_lend : &n->first_borrow;
}

static void insert(struct model *m, uint32_t at, enum model_list list)
{
    struct attachment *a = model_touch_attachment(m, at);
    uint32_t *head = head_of(m, a, list);
    *prev_of(a, list) = NONE;
    *next_of(a, list) = *head;
    if (*head != NONE)
        *prev_of(model_touch_attachment(m, *head), list) = at;
    *head = at;
}

static void take_out(struct model *m, uint32_t at, enum model_list list)
{
    struct attachment *a = model_touch_attachment(m, at);
    uint32_t next = *next_of(a, list), prev = *prev_of(a, list);
    if (prev != NONE)
        *next_of(model_touch_attachment(m, prev), list) = next;
    else
        *head_of(m, a, list) = next;
    if (next != NONE)
        *prev_of(model_touch_attachment(m, next), list) = prev;
}

void model_list_attachment(struct model *m, uint32_t at)
{
    insert(m, at, LIST_CIRCUIT);
    insert(m, at, LIST_LENDS);
    insert(m, at, LIST_BORROWS);
}

void model_unlist_attachment(struct model *m, uint32_t at)
{
    take_out(m, at, LIST_CIRCUIT);
    take_out(m, at, LIST_LENDS);
    take_out(m, at, LIST_BORROWS);
}

/* ---- what is due --------------------------------------------------------------------------------------------------
 */
void model_mark_due(struct model *m, uint32_t circuit)
{
    struct index_set *s = &m->due;
    if (circuit == NONE)
        return;
    if (circuit >= s->n_member) {
        uint32_t n = m->tables[MODEL_CIRCUIT].cap > circuit ? m->tables[MODEL_CIRCUIT].cap : circuit + 1;
        s->member = model_alloc(s->member, n * sizeof *s->member);
        memset(s->member + s->n_member, 0, (n - s->n_member) * sizeof *s->member);
        s->n_member = n;
    }
    if (s->member[circuit])
        return;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->items = model_alloc(s->items, s->cap * sizeof *s->items);
    }
    s->items[s->n++] = circuit;
    s->member[circuit] = true;
}

bool model_take_due(struct model *m, uint32_t *circuit)
{
    struct index_set *s = &m->due;
    if (s->n == 0)
        return false;
    *circuit = s->items[--s->n];
    s->member[*circuit] = false;
    return true;
}

void model_mark_node_due(struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    for (uint32_t i = n->first_lend; i != NONE; i = model_attachment(m, i)->lend_next)
        model_mark_due(m, model_attachment(m, i)->circuit);
    for (uint32_t i = n->first_borrow; i != NONE; i = model_attachment(m, i)->borrow_next)
        model_mark_due(m, model_attachment(m, i)->circuit);
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++) {
        const struct sw *s = model_switch(m, i);
        for (unsigned k = 0; s && !strcmp(s->managed_by, n->name) && k < s->n_ports; k++)
            model_mark_due(m, model_port(m, s->first_port + k)->circuit);
    }
}
