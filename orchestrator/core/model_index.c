/* model_index.c - finds rows by name: chained hashing over (kind, slot), names stay in the rows. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint32_t hash, slot, next;
    enum model_kind kind;
};

struct name_index {
    uint32_t n_buckets, n_entries, cap_entries, free; /* buckets: a power of two */
    uint32_t *buckets;
    struct entry *entries;
};

static const char *row_name(const struct model *m, enum model_kind kind, uint32_t i)
{
    const struct row *r = model_row(m, kind, i);
    switch (kind) {
    case MODEL_NODE:
        return ((const struct node *)r)->name;
    case MODEL_SWITCH:
        return ((const struct sw *)r)->name;
    case MODEL_CIRCUIT:
        return ((const struct circuit *)r)->id;
    case MODEL_ATTACHMENT:
        return ((const struct attachment *)r)->id;
    default:
        return NULL;
    }
}

static uint32_t hash_name(enum model_kind kind, const char *name)
{
    uint32_t h = 2166136261u + (uint32_t)kind;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h ^ (h >> 15);
}

struct name_index *name_index_new(void)
{
    struct name_index *ix = model_alloc(NULL, sizeof *ix);
    *ix = (struct name_index){ .n_buckets = 64, .free = NONE };
    ix->buckets = model_alloc(NULL, ix->n_buckets * sizeof *ix->buckets);
    memset(ix->buckets, 0xff, ix->n_buckets * sizeof *ix->buckets);
    return ix;
}

void name_index_free(struct name_index *ix)
{
    if (!ix)
        return;
    free(ix->buckets);
    free(ix->entries);
    free(ix);
}

static void grow(struct name_index *ix)
{
    ix->n_buckets *= 2;
    ix->buckets = model_alloc(ix->buckets, ix->n_buckets * sizeof *ix->buckets);
    uint32_t *seen = ix->buckets;
    uint32_t *old = model_alloc(NULL, ix->n_buckets / 2 * sizeof *old);
    memcpy(old, seen, ix->n_buckets / 2 * sizeof *old);
    memset(seen, 0xff, ix->n_buckets * sizeof *seen);
    for (uint32_t b = 0; b < ix->n_buckets / 2; b++)
        for (uint32_t e = old[b], next; e != NONE; e = next) {
            struct entry *x = &ix->entries[e];
            next = x->next;
            x->next = seen[x->hash & (ix->n_buckets - 1)];
            seen[x->hash & (ix->n_buckets - 1)] = e;
        }
    free(old);
}

void name_index_add(struct model *m, enum model_kind kind, uint32_t i)
{
    struct name_index *ix = m->names;
    const char *name = row_name(m, kind, i);
    if (!name)
        return;
    if (ix->n_entries >= ix->n_buckets)
        grow(ix);
    uint32_t e = ix->free;
    if (e != NONE) {
        ix->free = ix->entries[e].next;
    } else {
        if (ix->n_entries == ix->cap_entries) {
            ix->cap_entries = ix->cap_entries ? ix->cap_entries * 2 : 64;
            ix->entries = model_alloc(ix->entries, ix->cap_entries * sizeof *ix->entries);
        }
        e = ix->n_entries++;
    }
    uint32_t h = hash_name(kind, name);
    ix->entries[e] = (struct entry){ .hash = h, .slot = i, .kind = kind, .next = ix->buckets[h & (ix->n_buckets - 1)] };
    ix->buckets[h & (ix->n_buckets - 1)] = e;
}

void name_index_remove(struct model *m, enum model_kind kind, uint32_t i)
{
    struct name_index *ix = m->names;
    const char *name = row_name(m, kind, i);
    if (!name)
        return;
    uint32_t *at = &ix->buckets[hash_name(kind, name) & (ix->n_buckets - 1)];
    for (; *at != NONE; at = &ix->entries[*at].next) {
        uint32_t e = *at;
        if (ix->entries[e].kind != kind || ix->entries[e].slot != i)
            continue;
        *at = ix->entries[e].next;
        ix->entries[e].next = ix->free;
        ix->free = e;
        return;
    }
}

uint32_t name_index_find(const struct model *m, enum model_kind kind, const char *name)
{
    const struct name_index *ix = m->names;
    uint32_t h = hash_name(kind, name);
    for (uint32_t e = ix->buckets[h & (ix->n_buckets - 1)]; e != NONE; e = ix->entries[e].next) {
        const struct entry *x = &ix->entries[e];
        if (x->hash == h && x->kind == kind && !strcmp(row_name(m, kind, x->slot), name))
            return x->slot;
    }
    return NONE;
}
