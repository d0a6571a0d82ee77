#include "paths.h"

#include <stdlib.h>
#include <string.h>

static bool visited(const struct rack *r, const struct path *p, int sw)
{
    for (int i = 0; i < p->n_ports; i++)
        if (r->ports[p->ports[i]].sw == sw)
            return true;
    return false;
}

static void keep(struct path_list *out, const struct path *p)
{
    out->items = grown(out->items, out->n, sizeof *out->items);
    out->items[out->n++] = *p;
}

/* 'so_far' ends at a port whose cable is taken next. */
static void walk(const struct rack *r, const struct path *so_far, int n_switches, struct path_list *to_port)
{
    struct path p = *so_far;
    int far = rack_far_end(r, p.ports[p.n_ports - 1]);
    if (far == NONE || r->links[r->ports[far].link].down)
        return;
    int sw = r->ports[far].sw;
    if (sw != NONE && (n_switches == MAX_SWITCHES_ON_PATH || visited(r, &p, sw)))
        return;
    p.ports[p.n_ports++] = far;
    p.cost_ns += r->links[r->ports[far].link].latency_ns;
    if (sw == NONE) {
        if (!r->adapters[r->ports[far].adapter].compute)
            keep(&to_port[far], &p);
        return;
    }
    p.cost_ns += r->switches[sw].latency_ns;
    p.n_ports++;
    for (int i = 0; i < r->switches[sw].n_ports; i++) {
        p.ports[p.n_ports - 1] = r->switches[sw].ports[i];
        if (r->switches[sw].ports[i] != far)
            walk(r, &p, n_switches + 1, to_port);
    }
}

struct path_list *paths_from(const struct rack *r, int port)
{
    struct path_list *to_port = calloc((size_t)r->n_ports, sizeof *to_port);
    struct path start = { .ports = { port }, .n_ports = 1 };
    walk(r, &start, 0, to_port);
    return to_port;
}

void paths_done(const struct rack *r, struct path_list *to_port)
{
    for (int i = 0; to_port && i < r->n_ports; i++)
        free(to_port[i].items);
    free(to_port);
}

bool path_usable(const struct rack *r, const struct path *p)
{
    for (int i = 0; i < p->n_ports; i++)
        if (r->links[r->ports[p->ports[i]].link].down)
            return false;
    return true;
}

bool paths_disjoint(const struct path *a, const struct path *b)
{
    for (int i = 0; i < a->n_ports; i++)
        for (int k = 0; k < b->n_ports; k++)
            if (a->ports[i] == b->ports[k])
                return false;
    return true;
}

int path_links(const struct path *p)
{
    return p->n_ports / 2;
}

int path_compare_names(const struct rack *r, const struct path *a, const struct path *b)
{
    for (int i = 0; i < a->n_ports && i < b->n_ports; i++) {
        int c = strcmp(r->ports[a->ports[i]].name, r->ports[b->ports[i]].name);
        if (c)
            return c;
    }
    return a->n_ports - b->n_ports;
}
