/* status.c - see status.h */
#include "status.h"

#include "blocks.h"
#include "donor.h"
#include "fabric.h"
#include "json.h"

static json_t *segments_json(const struct box_adapter *a)
{
    json_t *list = json_array();

    for (const struct segment *s = a->segments; s; s = s->next)
        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:o, s:s, s:s, s:o}", "id", s->id, "addr",
                                        json_addr(a->spec->window_addr + s->window_offset), "size_bytes",
                                        json_u64(s->size_bytes), "donor", s->memory->node->spec->name, "adapter",
                                        s->memory->spec->name, "load_bytes_per_s", json_u64(s->load_bytes_per_s)));
    return list;
}

static void compute_fields(const struct box_adapter *a, json_t *j)
{
    json_t *sections = json_array();

    for (unsigned s = 0; s < ADAPTER_SECTIONS; s++)
        json_array_append_new(sections, json_addr(a->regs->section[s]));
    json_object_set_new(j, "sections", sections);
    json_object_set_new(j, "blocks_online", json_u64(a->n_online));
    json_object_set_new(j, "segments", segments_json(a));
}

static json_t *peers_json(const struct box_adapter *a)
{
    const struct box *b = a->node->box;
    json_t *peers = json_array();

    for (unsigned p = 0; p < a->spec->ports; p++) {
        int end = fabric_walk(b, a->first_port + (int)p);
        const struct box_adapter *peer = end >= 0 ? b->ports[end].adapter : NULL;
        char name[PORT_NAME_SIZE + NAME_SIZE];

        if (!peer) {
            json_array_append_new(peers, json_null());
            continue;
        }
        snprintf(name, sizeof name, "%s/%s/%u", peer->node->spec->name, peer->spec->name, b->ports[end].number);
        json_array_append_new(peers, json_string(name));
    }
    return peers;
}

static json_t *adapter_json(const struct box_adapter *a)
{
    json_t *j =
        json_pack("{s:s, s:s, s:b, s:I, s:o, s:o, s:o, s:I, s:o}", "name", a->spec->name, "role",
                  a->spec->role == WIRE_COMPUTE ? "compute" : "memory", "ok", !*a->error, "open", (json_int_t)a->n_open,
                  "control", json_addr(a->regs->control), "channels", json_addr(a->regs->channels), "error_capture",
                  json_addr(a->regs->error), "pid", (json_int_t)donor_pid(a), "peers", peers_json(a));

    if (j && a->spec->role == WIRE_COMPUTE)
        compute_fields(a, j);
    return j;
}

static json_t *node_json(struct box_node *n)
{
    json_t *adapters = json_array();

    for (unsigned i = 0; i < n->n_adapters; i++)
        json_array_append_new(adapters, adapter_json(&n->adapters[i]));
    return json_pack("{s:s, s:b, s:s, s:I, s:o, s:o}", "name", n->spec->name, "on", n->state->on, "boot_id",
                     n->state->boot_id, "slow_ms", (json_int_t)n->slow_ms, "lent_bytes", json_u64(donor_used_bytes(n)),
                     "adapters", adapters);
}

static json_t *switch_json(const struct box_switch *s)
{
    json_t *pairs = json_array();

    for (unsigned p = 1; p <= s->spec->ports; p++)
        if (s->cross[p - 1] > (int32_t)p)
            json_array_append_new(pairs, json_pack("[i,i]", (int)p, (int)s->cross[p - 1]));
    return json_pack("{s:s, s:o}", "name", s->spec->name, "pairs", pairs);
}

static json_t *links_json(const struct box *b)
{
    json_t *down = json_array();

    for (size_t i = 0; i < b->rack.n_links; i++) {
        char port_a[PORT_NAME_SIZE], port_b[PORT_NAME_SIZE];

        if (b->link_down[i])
            json_array_append_new(down, json_pack("{s:s, s:s}", "a", port_name_format(&b->rack.links[i].a, port_a), "b",
                                                  port_name_format(&b->rack.links[i].b, port_b)));
    }
    return down;
}

int status_fill(struct box *b, json_t *out, struct err *e)
{
    json_t *nodes = json_array(), *switches = json_array();

    for (size_t i = 0; i < b->n_nodes; i++)
        json_array_append_new(nodes, node_json(&b->nodes[i]));
    for (size_t i = 0; i < b->n_switches; i++)
        json_array_append_new(switches, switch_json(&b->switches[i]));
    if (json_object_set_new(out, "name", json_string(b->rack.name)) < 0 ||
        json_object_set_new(out, "nodes", nodes) < 0 || json_object_set_new(out, "switches", switches) < 0 ||
        json_object_set_new(out, "links_down", links_json(b)) < 0)
        return err_set(e, ERR_INTERNAL, "out of memory");
    return 0;
}
