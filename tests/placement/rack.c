#include "rack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *grown(void *items, int n, size_t size)
{
    if (n & (n - 1)) /* grows when 'n' is 0 or a power of two */
        return items;
    items = realloc(items, (n ? 2 * (size_t)n : 1) * size);
    if (!items) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    memset((char *)items + (size_t)n * size, 0, (n ? (size_t)n : 1) * size);
    return items;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static int add_port(struct rack *r, int adapter, int sw, const char *name)
{
    r->ports = grown(r->ports, r->n_ports, sizeof *r->ports);
    struct port *p = &r->ports[r->n_ports];
    *p = (struct port){ .adapter = adapter, .sw = sw, .link = NONE };
    snprintf(p->name, sizeof p->name, "%s", name);
    return r->n_ports++;
}

static void add_adapter(struct rack *r, int node, const json_t *j)
{
    const json_t *ports = json_object_get(j, "ports");
    r->adapters = grown(r->adapters, r->n_adapters, sizeof *r->adapters);
    struct adapter *a = &r->adapters[r->n_adapters];
    a->name = text_of(j, "name");
    a->node = node;
    a->compute = !strcmp(text_of(j, "role"), "compute");
    a->window_bytes = number_of(j, "window_bytes");
    a->n_ports = ports ? (int)json_integer_value(ports) : 2;
    for (int k = 0; k < a->n_ports; k++) {
        char name[200];
        snprintf(name, sizeof name, "%s/%s/%d", r->nodes[node].name, a->name, k);
        a->ports[k] = add_port(r, r->n_adapters, NONE, name);
    }
    r->n_adapters++;
}

static void add_node(struct rack *r, const json_t *j)
{
    size_t i;
    json_t *adapter;
    r->nodes = grown(r->nodes, r->n_nodes, sizeof *r->nodes);
    r->nodes[r->n_nodes] = (struct node){ .name = text_of(j, "name"),
                                          .free_bytes = number_of(j, "free_bytes"),
                                          .headroom_bytes = number_of(j, "headroom_bytes"),
                                          .block_bytes = number_of(j, "block_bytes"),
                                          .labels = json_object_get(j, "labels"),
                                          .ready = true };
    r->n_nodes++;
    json_array_foreach(json_object_get(j, "adapters"), i, adapter) add_adapter(r, r->n_nodes - 1, adapter);
}

static int find_port(const struct rack *r, const char *name)
{
    for (int i = 0; i < r->n_ports; i++)
        if (!strcmp(r->ports[i].name, name))
            return i;
    return NONE;
}

/* A switch's ports become known with the cable in them. */
static int cabled_port(struct rack *r, const char *name)
{
    int port = find_port(r, name);
    size_t owner = strcspn(name, "/");
    if (port != NONE)
        return r->ports[port].link == NONE ? port : NONE;
    for (int s = 0; s < r->n_switches; s++) {
        struct sw *sw = &r->switches[s];
        if (strlen(sw->name) != owner || strncmp(sw->name, name, owner) || strchr(name + owner + 1, '/'))
            continue;
        sw->ports = grown(sw->ports, sw->n_ports, sizeof *sw->ports);
        port = add_port(r, NONE, s, name);
        sw->ports[sw->n_ports++] = port;
    }
    return port;
}

static bool add_link(struct rack *r, const json_t *j)
{
    int a = cabled_port(r, text_of(j, "a"));
    int b = cabled_port(r, text_of(j, "b"));
    if (a == NONE || b == NONE || a == b)
        return false;
    r->links = grown(r->links, r->n_links, sizeof *r->links);
    r->links[r->n_links] =
        (struct link){ .a = a, .b = b, .latency_ns = number_of(j, "latency_ns"), .gbps = number_of(j, "gbps") };
    r->ports[a].link = r->ports[b].link = r->n_links++;
    return true;
}

struct rack *rack_new(json_t *json, const char **why)
{
    struct rack *r = grown(NULL, 0, sizeof *r);
    size_t i;
    json_t *j;
    r->json = json_incref(json);
    json_array_foreach(json_object_get(json, "nodes"), i, j) add_node(r, j);
    json_array_foreach(json_object_get(json, "switches"), i, j)
    {
        r->switches = grown(r->switches, r->n_switches, sizeof *r->switches);
        r->switches[r->n_switches++] =
            (struct sw){ .name = text_of(j, "name"), .latency_ns = number_of(j, "latency_ns") };
    }
    json_array_foreach(json_object_get(json, "links"), i, j) if (!add_link(r, j))
    {
        *why = "a link's port does not exist or has a cable already";
        rack_free(r);
        return NULL;
    }
    return r;
}

void rack_free(struct rack *r)
{
    if (!r)
        return;
    for (int s = 0; s < r->n_switches; s++)
        free(r->switches[s].ports);
    free(r->nodes);
    free(r->adapters);
    free(r->switches);
    free(r->ports);
    free(r->links);
    free(r->circuits);
    free(r->attachments);
    json_decref(r->json);
    free(r);
}

int rack_node(const struct rack *r, const char *name)
{
    for (int i = 0; name && i < r->n_nodes; i++)
        if (!strcmp(r->nodes[i].name, name))
            return i;
    return NONE;
}

int rack_link(const struct rack *r, const char *port, const char *far)
{
    int a = port ? find_port(r, port) : NONE;
    if (a == NONE || !far || rack_far_end(r, a) == NONE || strcmp(r->ports[rack_far_end(r, a)].name, far))
        return NONE;
    return r->ports[a].link;
}

int rack_far_end(const struct rack *r, int port)
{
    if (r->ports[port].link == NONE)
        return NONE;
    const struct link *l = &r->links[r->ports[port].link];
    return l->a == port ? l->b : l->a;
}

int circuit_attachments(const struct rack *r, int circuit)
{
    int n = 0;
    for (int i = 0; i < r->n_attachments; i++)
        n += r->attachments[i].live && r->attachments[i].circuit == circuit;
    return n;
}

bool circuit_live(const struct rack *r, int circuit)
{
    return circuit_attachments(r, circuit) > 0;
}

uint64_t circuit_leg_gbps(const struct rack *r, int circuit)
{
    uint64_t sum = 0;
    for (int i = 0; i < r->n_attachments; i++)
        if (r->attachments[i].live && r->attachments[i].circuit == circuit)
            sum += r->attachments[i].leg_gbps;
    return sum;
}

void rack_busy_ports(const struct rack *r, bool *busy)
{
    memset(busy, 0, (size_t)r->n_ports * sizeof *busy);
    for (int c = 0; c < r->n_circuits; c++) {
        if (!circuit_live(r, c))
            continue;
        for (int leg = 0; leg < r->circuits[c].channels; leg++)
            for (int i = 0; i < r->circuits[c].legs[leg].n_ports; i++)
                busy[r->circuits[c].legs[leg].ports[i]] = true;
    }
}

int rack_circuit(const struct rack *r, int compute_adapter, int memory_adapter)
{
    for (int c = 0; c < r->n_circuits; c++)
        if (r->circuits[c].compute == compute_adapter && r->circuits[c].memory == memory_adapter && circuit_live(r, c))
            return c;
    return NONE;
}

uint64_t node_lent_bytes(const struct rack *r, int node)
{
    uint64_t sum = 0;
    for (int i = 0; i < r->n_attachments; i++)
        if (r->attachments[i].live && r->attachments[i].donor == node)
            sum += r->attachments[i].size_bytes;
    return sum;
}
