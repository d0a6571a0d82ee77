#include "two_tier.h"

#include "rackfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define SWITCH_NS 30

/* splitmix64 */
uint64_t two_tier_random(struct two_tier_random *g)
{
    uint64_t z = g->state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t two_tier_below(struct two_tier_random *g, uint32_t n)
{
    return (uint32_t)(two_tier_random(g) % n);
}

static int add_node(struct model *m, uint32_t i, struct two_tier_random *g, struct err *e)
{
    static const struct wire_adapter adapters[] = {
        { .name = "afu0", .role = WIRE_COMPUTE, .ports = 2, .window_addr = 1, .window_bytes = 4 * SECTION_BYTES },
        { .name = "afu1", .role = WIRE_MEMORY, .ports = 2 },
    };
    char name[NAME_SIZE];
    uint32_t at;
    snprintf(name, sizeof name, "n%u", i);
    if (model_add_node(m, name, &at, e) < 0 || model_set_adapters(m, at, adapters, 2, e) < 0)
        return -1;
    struct node *n = model_edit_node(m, at);
    n->block_bytes = 256 << 20;
    n->memory_bytes = n->free_bytes = (256 + two_tier_below(g, 768)) * GIB;
    n->state = NODE_READY;
    for (unsigned k = 0; k < n->n_adapters; k++) {
        struct adapter *a = model_touch_adapter(m, n->adapters[k]);
        a->seen = a->ok = true;
    }
    if (i % 1024 == 1023) /* the journal would hold every row twice */
        model_commit_done(m);
    return 0;
}

static struct port_name node_port(uint32_t node, unsigned adapter, unsigned port)
{
    struct port_name p = { .number = port };
    snprintf(p.owner, sizeof p.owner, "n%u", node);
    snprintf(p.adapter, sizeof p.adapter, "afu%u", adapter);
    return p;
}

static struct port_name switch_port(const char *kind, uint32_t sw, unsigned port)
{
    struct port_name p = { .number = port };
    snprintf(p.owner, sizeof p.owner, "%s%u", kind, sw);
    return p;
}

static void add_switch(struct rack *r, const char *kind, uint32_t i, unsigned ports)
{
    struct rack_switch *s = &r->switches[r->n_switches++];
    *s = (struct rack_switch){ .ports = ports, .latency_ns = SWITCH_NS };
    snprintf(s->name, sizeof s->name, "%s%u", kind, i);
}

static void add_cables(struct rack *r, const struct two_tier *x, uint32_t n_leaves, struct two_tier_random *g)
{
    uint32_t n_spines = 2 * x->nodes_per_leaf;
    for (uint32_t i = 0; i < x->n_nodes; i++)
        for (unsigned k = 0; k < 4; k++)
            r->links[r->n_links++] = (struct rack_link){
                .a = node_port(i, k / 2, k % 2),
                .b = switch_port("leaf", i / x->nodes_per_leaf, 1 + i % x->nodes_per_leaf * 4 + k),
                .latency_ns = 25 + two_tier_below(g, x->node_choices_ns),
                .gbps = 100,
            };
    for (uint32_t leaf = 0; leaf < n_leaves; leaf++)
        for (uint32_t s = 0; s < n_spines; s++)
            r->links[r->n_links++] = (struct rack_link){
                .a = switch_port("leaf", leaf, 1 + 4 * x->nodes_per_leaf + s),
                .b = switch_port("spine", s, 1 + leaf),
                .latency_ns = 50 + two_tier_below(g, x->trunk_choices_ns),
                .gbps = 100,
            };
}

static int declare(struct model *m, const struct two_tier *x, struct two_tier_random *g, struct err *e)
{
    uint32_t n_leaves = x->n_nodes / x->nodes_per_leaf, n_spines = 2 * x->nodes_per_leaf;
    CLEANUP(rack_done) struct rack r = { 0 };
    r.switches = calloc(n_leaves + n_spines, sizeof *r.switches);
    r.links = calloc(4 * (size_t)x->n_nodes + (size_t)n_leaves * n_spines, sizeof *r.links);
    if (!r.switches || !r.links)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (uint32_t i = 0; i < n_leaves; i++)
        add_switch(&r, "leaf", i, 6 * x->nodes_per_leaf);
    for (uint32_t i = 0; i < n_spines; i++)
        add_switch(&r, "spine", i, n_leaves);
    add_cables(&r, x, n_leaves, g);
    return model_declare(m, &r, e);
}

int two_tier_new(struct model **out, const struct two_tier *x, struct two_tier_random *g, struct err *e)
{
    struct model *m;
    if (model_new(&m, e) < 0)
        return -1;
    m->time_scale = 1;
    model_savepoint(m);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < x->n_nodes; i++)
        rc = add_node(m, i, g, e);
    if (rc < 0 || declare(m, x, g, e) < 0) {
        model_free(m);
        return -1;
    }
    model_commit_done(m);
    *out = m;
    return 0;
}
