/* box.c - builds the emulated rack from the rack file; see box.h */
#include "box.h"

#include <stdlib.h>
#include <string.h>

static size_t count_ports(const struct rack *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_nodes; i++)
        for (unsigned a = 0; a < r->nodes[i].n_adapters; a++)
            n += r->nodes[i].adapters[a].ports;
    for (size_t i = 0; i < r->n_switches; i++)
        n += r->switches[i].ports;
    return n;
}

static uint64_t window_blocks(const struct rack_node *n, const struct wire_adapter *a)
{
    return a->role == WIRE_COMPUTE ? a->window_bytes / n->block_bytes : 0;
}

static size_t state_size(const struct rack *r)
{
    size_t size = 0;

    for (size_t i = 0; i < r->n_nodes; i++) {
        size += state_piece(sizeof(struct state_node));
        for (unsigned a = 0; a < r->nodes[i].n_adapters; a++)
            size += state_piece(sizeof(struct adapter)) + state_piece(1) +
                    state_piece(window_blocks(&r->nodes[i], &r->nodes[i].adapters[a]));
    }
    for (size_t i = 0; i < r->n_switches; i++)
        size += state_piece(r->switches[i].ports * sizeof(int32_t));
    return size + state_piece(r->n_links);
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    return hash_bytes(h, text, strlen(text) + 1);
}

/* Of everything that decides what a piece of the state file means. */
static uint64_t rack_hash(const struct rack *r)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < r->n_nodes; i++) {
        const struct rack_node *n = &r->nodes[i];

        h = hash_text(h, n->name);
        h = hash_bytes(h, &n->block_bytes, sizeof n->block_bytes);
        for (unsigned a = 0; a < n->n_adapters; a++) {
            h = hash_text(h, n->adapters[a].name);
            h = hash_bytes(h, &n->adapters[a].role, sizeof n->adapters[a].role);
            h = hash_bytes(h, &n->adapters[a].window_addr, sizeof n->adapters[a].window_addr);
            h = hash_bytes(h, &n->adapters[a].window_bytes, sizeof n->adapters[a].window_bytes);
        }
    }
    for (size_t i = 0; i < r->n_switches; i++)
        h = hash_text(h, r->switches[i].name);
    for (size_t i = 0; i < r->n_links; i++) {
        char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];

        h = hash_text(hash_text(h, port_name_format(&r->links[i].a, a)), port_name_format(&r->links[i].b, b));
    }
    return h;
}

static void add_port(struct box *b, struct box_adapter *a, struct box_switch *s, unsigned number)
{
    b->ports[b->n_ports++] = (struct box_port){ .adapter = a, .sw = s, .number = number, .peer = -1, .link = -1 };
}

static void add_adapter(struct box *b, struct box_node *n, unsigned index)
{
    struct box_adapter *a = &n->adapters[index];

    a->node = n;
    a->spec = &n->spec->adapters[index];
    a->index = index;
    a->regs = state_take(&b->state, sizeof *a->regs);
    a->error = state_take(&b->state, 1);
    a->n_blocks = window_blocks(n->spec, a->spec);
    a->blocks = state_take(&b->state, a->n_blocks);
    a->first_port = (int)b->n_ports;
    for (unsigned p = 0; p < a->spec->ports; p++)
        add_port(b, a, NULL, p);
    if (!b->state.resumed)
        adapter_reset(a->regs, a->spec->role == WIRE_MEMORY);
}

static int add_node(struct box *b, size_t index, struct err *e)
{
    struct box_node *n = &b->nodes[index];

    n->box = b;
    n->spec = &b->rack.nodes[index];
    n->index = (unsigned)index;
    n->state = state_take(&b->state, sizeof *n->state);
    n->n_local_blocks = n->spec->memory_bytes / n->spec->block_bytes;
    n->adapters = calloc(n->spec->n_adapters + 1, sizeof *n->adapters);
    if (!n->adapters)
        return err_set(e, ERR_INTERNAL, "out of memory");
    n->n_adapters = n->spec->n_adapters;
    for (unsigned a = 0; a < n->n_adapters; a++)
        add_adapter(b, n, a);
    return 0;
}

static void add_switch(struct box *b, size_t index)
{
    struct box_switch *s = &b->switches[index];

    s->spec = &b->rack.switches[index];
    s->cross = state_take(&b->state, s->spec->ports * sizeof *s->cross);
    s->first_port = (int)b->n_ports;
    for (unsigned p = 1; p <= s->spec->ports; p++)
        add_port(b, NULL, s, p);
}

static int add_link(struct box *b, size_t index, struct err *e)
{
    const struct rack_link *l = &b->rack.links[index];
    int ends[2] = { box_port_find(b, &l->a), box_port_find(b, &l->b) };

    if (ends[0] < 0 || ends[1] < 0)
        return err_set(e, ERR_FIELD_INVALID, "link %zu ends at a port that does not exist", index);
    for (int i = 0; i < 2; i++) {
        b->ports[ends[i]].peer = ends[1 - i];
        b->ports[ends[i]].link = (int)index;
    }
    return 0;
}

static void box_freep(struct box **b)
{
    box_free(*b);
}

int box_new(struct box **out, struct rack *rack, const char *state_path, bool resume, struct err *e)
{
    CLEANUP(box_freep) struct box *b = calloc(1, sizeof *b);

    if (!b)
        return err_set(e, ERR_INTERNAL, "out of memory");
    b->rack = *rack;
    memset(rack, 0, sizeof *rack);
    b->nodes = calloc(b->rack.n_nodes + 1, sizeof *b->nodes);
    b->switches = calloc(b->rack.n_switches + 1, sizeof *b->switches);
    b->ports = calloc(count_ports(&b->rack) + 1, sizeof *b->ports);
    if (!b->nodes || !b->switches || !b->ports)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (state_open(&b->state, state_path, state_size(&b->rack), rack_hash(&b->rack), resume, e) < 0)
        return -1;
    for (; b->n_nodes < b->rack.n_nodes; b->n_nodes++)
        if (add_node(b, b->n_nodes, e) < 0)
            return -1;
    for (; b->n_switches < b->rack.n_switches; b->n_switches++)
        add_switch(b, b->n_switches);
    b->link_down = state_take(&b->state, b->rack.n_links);
    for (size_t i = 0; i < b->rack.n_links; i++)
        if (add_link(b, i, e) < 0)
            return -1;
    *out = TAKE(b);
    return 0;
}

void box_free(struct box *b)
{
    if (!b)
        return;
    for (size_t i = 0; b->nodes && i < b->rack.n_nodes; i++)
        free(b->nodes[i].adapters);
    free(b->nodes);
    free(b->switches);
    free(b->ports);
    state_close(&b->state);
    rack_done(&b->rack);
    free(b);
}

struct box_node *box_node_find(struct box *b, const char *name)
{
    for (size_t i = 0; i < b->n_nodes; i++)
        if (strcmp(b->nodes[i].spec->name, name) == 0)
            return &b->nodes[i];
    return NULL;
}

struct box_switch *box_switch_find(struct box *b, const char *name)
{
    for (size_t i = 0; i < b->n_switches; i++)
        if (strcmp(b->switches[i].spec->name, name) == 0)
            return &b->switches[i];
    return NULL;
}

struct box_adapter *box_adapter_find(struct box_node *n, const char *name)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (strcmp(n->adapters[i].spec->name, name) == 0)
            return &n->adapters[i];
    return NULL;
}

int box_port_find(struct box *b, const struct port_name *name)
{
    struct box_node *n;
    struct box_adapter *a;

    if (!name->adapter[0]) {
        const struct box_switch *s = box_switch_find(b, name->owner);

        return s && name->number >= 1 && name->number <= s->spec->ports ? s->first_port + (int)name->number - 1 : -1;
    }
    n = box_node_find(b, name->owner);
    a = n ? box_adapter_find(n, name->adapter) : NULL;
    return a && name->number < a->spec->ports ? a->first_port + (int)name->number : -1;
}

struct box_adapter *box_window_find(struct box_node *n, uint64_t addr)
{
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct wire_adapter *s = n->adapters[i].spec;

        if (s->role == WIRE_COMPUTE && addr >= s->window_addr && addr - s->window_addr < s->window_bytes)
            return &n->adapters[i];
    }
    return NULL;
}

void box_changed(struct box *b, struct box_adapter *only)
{
    if (b->changed)
        b->changed(b, only);
}
