/* segments.c - see segments.h */
#include "segments.h"

#include "blocks.h"
#include "donor.h"
#include "fabric.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void link_path(const struct box_adapter *a, const char *id, char path[PATH_MAX + ID_SIZE + 16])
{
    snprintf(path, PATH_MAX + ID_SIZE + 16, "%s/segments/%s", a->node->dir, id);
}

static void make_link(struct box_adapter *compute, struct box_adapter *memory, const struct donor_buffer *b,
                      uint64_t offset)
{
    char path[PATH_MAX + ID_SIZE + 16], target[PATH_MAX + ID_SIZE];
    struct segment *s = calloc(1, sizeof *s);

    if (!s) {
        log_error("segment.link", "id=%s out of memory", b->id);
        return;
    }
    snprintf(s->id, sizeof s->id, "%s", b->id);
    s->window_offset = offset;
    s->size_bytes = b->end - b->start;
    s->memory = memory;
    s->next = compute->segments;
    compute->segments = s;
    link_path(compute, b->id, path);
    snprintf(target, sizeof target, "%s/%s", memory->node->buffers, b->id);
    if (symlink(target, path) < 0 && errno != EEXIST)
        log_error("segment.link", "path=%s errno=%d", path, errno);
}

static void drop(struct box_adapter *compute, struct segment **at)
{
    char path[PATH_MAX + ID_SIZE + 16];
    struct segment *s = *at;

    link_path(compute, s->id, path);
    if (unlink(path) < 0 && errno != ENOENT)
        log_error("segment.unlink", "path=%s errno=%d", path, errno);
    *at = s->next;
    free(s);
}

static bool is_online(const struct box_adapter *a, uint64_t block)
{
    return block < a->n_blocks && (a->blocks[block] & 3) == BLOCKS_ONLINE;
}

/* The last block first: blocks come online in rising order, so that it says no until the end. */
static bool all_online(const struct box_adapter *a, uint64_t offset, uint64_t size_bytes)
{
    uint64_t block_bytes = a->node->spec->block_bytes;

    if (size_bytes == 0 || offset % block_bytes != 0 || size_bytes % block_bytes != 0)
        return false;
    for (uint64_t k = (offset + size_bytes) / block_bytes; k > offset / block_bytes; k--)
        if (!is_online(a, k - 1))
            return false;
    return true;
}

/* Where the buffer lies in the window as the section register stands; false: not wholly within that section. */
static bool place(const struct box_adapter *compute, unsigned section, const struct donor_buffer *b, uint64_t *offset)
{
    uint64_t start = b->start - (compute->regs->section[section] & ~ADAPTER_NETID_MASK);

    if (start >> ADAPTER_SECTION_SHIFT != section ||
        (start + (b->end - b->start) - 1) >> ADAPTER_SECTION_SHIFT != section)
        return false;
    *offset = start;
    return true;
}

static bool has_segment(const struct box_adapter *compute, uint64_t offset)
{
    for (const struct segment *s = compute->segments; s; s = s->next)
        if (s->window_offset == offset)
            return true;
    return false;
}

static void consider(struct box_adapter *compute, struct box_adapter *memory, unsigned section,
                     const struct donor_buffer *b)
{
    uint64_t offset;

    if (place(compute, section, b, &offset) && !has_segment(compute, offset) &&
        all_online(compute, offset, b->end - b->start))
        make_link(compute, memory, b, offset);
}

static struct box_adapter *reach(const struct box_adapter *compute, uint64_t netid)
{
    struct box_adapter *memory = fabric_target(compute, netid);

    return memory && memory->donor && (memory->regs->control & ADAPTER_CONTROL_ENABLE) ? memory : NULL;
}

bool segments_answers(const struct box_adapter *compute, uint64_t block)
{
    struct box_adapter *memory;
    struct adapter_target t;
    struct donor_buffer b;

    if (!compute->node->box->changed)
        return true;
    if (!adapter_translate(compute->regs, block * compute->node->spec->block_bytes, &t))
        return false;
    memory = reach(compute, t.netid);
    return memory && donor_find(memory, t.effective_addr, &b);
}

void segments_block_online(struct box_adapter *compute, uint64_t block)
{
    struct box_adapter *memory;
    struct adapter_target t;
    struct donor_buffer b;

    if (!compute->node->box->changed || !adapter_translate(compute->regs, block * compute->node->spec->block_bytes, &t))
        return;
    memory = reach(compute, t.netid);
    if (memory && donor_find(memory, t.effective_addr, &b))
        consider(compute, memory, t.section, &b);
}

void segments_block_offline(struct box_adapter *compute, uint64_t block)
{
    uint64_t offset = block * compute->node->spec->block_bytes;

    for (struct segment **at = &compute->segments; *at;) {
        if (offset >= (*at)->window_offset && offset - (*at)->window_offset < (*at)->size_bytes)
            drop(compute, at);
        else
            at = &(*at)->next;
    }
}

static bool still_there(struct box_adapter *compute, const struct segment *s)
{
    struct adapter_target t;
    struct donor_buffer b;
    uint64_t offset;

    return compute->node->state->on && adapter_translate(compute->regs, s->window_offset, &t) &&
           reach(compute, t.netid) == s->memory && donor_find(s->memory, t.effective_addr, &b) &&
           strcmp(b.id, s->id) == 0 && place(compute, t.section, &b, &offset) && offset == s->window_offset;
}

struct search {
    struct box_adapter *compute;
    unsigned section;
};

static void consider_each(void *arg, struct box_adapter *memory, const struct donor_buffer *b)
{
    const struct search *s = arg;

    consider(s->compute, memory, s->section, b);
}

static void changed_one(struct box_adapter *compute)
{
    for (struct segment **at = &compute->segments; *at;) {
        if (still_there(compute, *at)) {
            at = &(*at)->next;
            continue;
        }
        compute->node->traffic_cut = compute->node->traffic_cut || (*at)->load_bytes_per_s > 0;
        drop(compute, at);
    }
    if (compute->n_online == 0 || !compute->node->state->on)
        return;
    for (unsigned section = 0; section < ADAPTER_SECTIONS; section++) {
        struct search s = { .compute = compute, .section = section };
        struct box_adapter *memory = reach(compute, compute->regs->section[section] & ADAPTER_NETID_MASK);

        if (memory)
            donor_each(memory, consider_each, &s);
    }
}

void segments_changed(struct box *b, struct box_adapter *only)
{
    if (only && only->spec->role == WIRE_COMPUTE) {
        changed_one(only);
        return;
    }
    for (size_t i = 0; i < b->n_nodes; i++)
        for (unsigned k = 0; k < b->nodes[i].n_adapters; k++)
            if (b->nodes[i].adapters[k].spec->role == WIRE_COMPUTE)
                changed_one(&b->nodes[i].adapters[k]);
}

void segments_drop_all(struct box_adapter *compute)
{
    while (compute->segments)
        drop(compute, &compute->segments);
}

struct segment *segments_find(struct box_node *n, const char *id, struct box_adapter **adapter)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        for (struct segment *s = n->adapters[i].segments; s; s = s->next)
            if (strcmp(s->id, id) == 0) {
                *adapter = &n->adapters[i];
                return s;
            }
    return NULL;
}
