/* model_changes.c - which rows changed: a ring of (kind, slot), for whoever keeps something derived from the rows.
 *
 * A reader remembers the position up to which it has read, and derives anew what depends on the rows since.  That works
 * for roll-backs too: a restored row is one more change.  Any number of readers may share a model; the model knows
 * none of them.  A reader that fell behind by more than the ring has to derive everything, which costs about as
 * much as the changes that it missed.  Attachments, circuits and bans are left out: what placement needs of them is in
 * ports, adapters and nodes. */
#include "model_internal.h"

#include <stdlib.h>

#define KIND_BITS 3
#define RING_MIN 4096

_Static_assert(MODEL_KINDS <= 1 << KIND_BITS, "a kind has to fit");

/* A quarter of the rows or more, a power of two. */
static uint32_t ring_wanted(const struct model *m)
{
    uint32_t n_rows = m->tables[MODEL_NODE].n + m->tables[MODEL_ADAPTER].n + m->tables[MODEL_PORT].n, size = RING_MIN;
    while (size < n_rows / 4)
        size *= 2;
    return size;
}

void model_note_change(struct model *m, enum model_kind kind, uint32_t i)
{
    struct model_changes *c = &m->changes;
    if (kind == MODEL_ATTACHMENT || kind == MODEL_CIRCUIT || kind == MODEL_BAN)
        return;
    if (c->end - c->begin == c->size) {
        uint32_t wanted = ring_wanted(m);
        if (wanted > c->size) { /* nobody reads across a change of size */
            c->ring = model_alloc(c->ring, wanted * sizeof *c->ring);
            c->size = wanted;
            c->begin = c->end;
        } else {
            c->begin++;
        }
    }
    c->ring[c->end++ & (c->size - 1)] = i << KIND_BITS | (uint32_t)kind;
}

void model_forget_changes(struct model *m)
{
    m->changes.begin = ++m->changes.end;
}

uint64_t model_changes_end(const struct model *m)
{
    return m->changes.end;
}

bool model_changes_known(const struct model *m, uint64_t from)
{
    return from >= m->changes.begin && from <= m->changes.end;
}

enum model_kind model_change_at(const struct model *m, uint64_t at, uint32_t *index)
{
    uint32_t c = m->changes.ring[at & (m->changes.size - 1)];
    *index = c >> KIND_BITS;
    return (enum model_kind)(c & ((1u << KIND_BITS) - 1));
}
