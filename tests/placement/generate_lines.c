/* generate_lines.c - requests, releases, failures and recoveries on a rack in the state that the lines before made. */
#include "generate.h"

#include "reference.h"

#include <string.h>

#define GIB (UINT64_C(1) << 30)

void lines_init(struct lines *l, uint64_t seed, const struct rack *r, bool node_lines)
{
    *l = (struct lines){ .g = { seed }, .node_lines = node_lines };
    l->load = rng_between(&l->g, 1, r->n_nodes > 16 ? 64 : 24);
    l->commit_percent = rng_between(&l->g, 20, 80);
    l->limited_percent = rng_percent(&l->g, 30) ? 0 : rng_between(&l->g, 3, 25);
    l->bonded_percent = rng_percent(&l->g, 30) ? 0 : rng_between(&l->g, 10, 100);
    l->usual_bytes = rng_percent(&l->g, 35) ? rng_between(&l->g, 1, 8) * (GIB / 2) : 0;
    for (int i = 0; i < 3; i++)
        l->busy_nodes[i] = (int)rng_below(&l->g, (unsigned)r->n_nodes);
}

void lines_saw(struct lines *l, const json_t *answer)
{
    size_t i;
    json_t *candidate;
    json_array_foreach(json_object_get(answer, "candidates"), i, candidate)
    {
        const json_t *cost = json_object_get(candidate, "cost_ns");
        if (json_is_integer(cost) && rng_percent(&l->g, 40))
            l->costs_ns[l->n_costs++ % N_COSTS_KEPT] = (uint64_t)json_integer_value(cost);
    }
}

static const char *any_node(struct lines *l, const struct rack *r)
{
    return r->nodes[rng_below(&l->g, (unsigned)r->n_nodes)].name;
}

static uint64_t lendable(const struct rack *r, int node)
{
    uint64_t taken = r->nodes[node].headroom_bytes + node_lent_bytes(r, node);
    return r->nodes[node].free_bytes > taken ? r->nodes[node].free_bytes - taken : 0;
}

static uint64_t a_size(struct lines *l, const struct rack *r, int compute)
{
    uint64_t block = r->nodes[compute].block_bytes, donor = lendable(r, (int)rng_below(&l->g, (unsigned)r->n_nodes));
    unsigned one_or_none = rng_below(&l->g, 2);
    if (l->usual_bytes && rng_percent(&l->g, 75))
        return l->usual_bytes;
    switch (rng_below(&l->g, 12)) {
    case 0:
        return 1;
    case 1:
        return block + one_or_none;
    case 2:
        return donor / block * block + one_or_none;
    case 3:
        return donor / rng_between(&l->g, 2, 5) + 1;
    case 4:
        return rng_between(&l->g, 1, 4) * (TIB / 4) - one_or_none;
    case 5:
        return rng_percent(&l->g, 15) ? TIB + 1 + rng_next(&l->g) % (4 * TIB) : rng_between(&l->g, 1, 1024) * GIB;
    case 6:
        return rng_between(&l->g, 1, 64) * GIB;
    default:
        return rng_between(&l->g, 1, 12) * block - one_or_none;
    }
}

static uint64_t a_cost(struct lines *l)
{
    unsigned n = l->n_costs < N_COSTS_KEPT ? l->n_costs : N_COSTS_KEPT;
    uint64_t cost = n ? l->costs_ns[rng_below(&l->g, n)] : rng_below(&l->g, 500);
    unsigned to = rng_below(&l->g, 4);
    return to == 0 ? cost : to == 1 && cost ? cost - 1 : to == 2 ? cost + 1 : rng_below(&l->g, (unsigned)cost + 2);
}

static unsigned a_rate(struct lines *l)
{
    static const unsigned rates[] = { 1,  10, 13, 20, 25,  26,  33,  40,  41,  49,
                                      50, 51, 80, 99, 100, 101, 199, 200, 201, 400 };
    return rates[rng_below(&l->g, sizeof rates / sizeof *rates)];
}

static json_t *some_nodes(struct lines *l, const struct rack *r)
{
    json_t *names = json_array();
    for (unsigned n = rng_between(&l->g, 0, 3); n; n--)
        json_array_append_new(names, json_string(any_node(l, r)));
    return names;
}

static void limit(struct lines *l, const struct rack *r, json_t *line)
{
    unsigned p = l->limited_percent;
    if (rng_percent(&l->g, p / 2))
        json_object_set_new(line, "donor", json_string(any_node(l, r)));
    if (rng_percent(&l->g, p))
        json_object_set_new(line, "avoid", some_nodes(l, r));
    if (rng_percent(&l->g, p / 2))
        json_object_set_new(line, "anti_affinity",
                            json_string(rng_percent(&l->g, 45)   ? "feed"
                                        : rng_percent(&l->g, 90) ? "rack_unit"
                                                                 : "zone"));
    if (rng_percent(&l->g, p))
        json_object_set_new(line, "max_cost_ns", json_integer((json_int_t)a_cost(l)));
    if (rng_percent(&l->g, 2 * p))
        json_object_set_new(line, "bandwidth_gbps", json_integer(a_rate(l)));
}

static json_t *request(struct lines *l, const struct rack *r)
{
    int compute =
        rng_percent(&l->g, 70) ? l->busy_nodes[rng_below(&l->g, 3)] : (int)rng_below(&l->g, (unsigned)r->n_nodes);
    json_t *line =
        json_pack("{s:s,s:I}", "compute_node", r->nodes[compute].name, "size_bytes", (json_int_t)a_size(l, r, compute));
    if (rng_percent(&l->g, l->bonded_percent))
        json_object_set_new(line, "channels", json_integer(2));
    else if (rng_percent(&l->g, 10))
        json_object_set_new(line, "channels", json_integer(1));
    if (rng_percent(&l->g, 85))
        json_object_set_new(line, "policy", json_string(policy_names[rng_below(&l->g, N_POLICIES)]));
    limit(l, r, line);
    if (rng_percent(&l->g, l->commit_percent))
        json_object_set_new(line, "commit", json_true());
    return line;
}

static unsigned n_live(const struct rack *r)
{
    unsigned n = 0;
    for (int i = 0; i < r->n_attachments; i++)
        n += r->attachments[i].live;
    return n;
}

static json_t *release(struct lines *l, const struct rack *r)
{
    unsigned which = rng_below(&l->g, n_live(r));
    int i = 0;
    while (!r->attachments[i].live || which--)
        i++;
    return json_pack("{s:i}", "release", i + 1);
}

/* A cable of a live circuit now and then; those that are down come back sooner than others fail. */
static int some_link(struct lines *l, const struct rack *r)
{
    int link = (int)rng_below(&l->g, (unsigned)r->n_links);
    if (r->n_circuits && rng_percent(&l->g, 40)) {
        const struct path *leg = &r->circuits[rng_below(&l->g, (unsigned)r->n_circuits)].legs[0];
        return r->ports[leg->ports[rng_below(&l->g, (unsigned)leg->n_ports)]].link;
    }
    for (int i = 0; i < r->n_links && rng_percent(&l->g, 98); i++)
        if (r->links[i].down && rng_percent(&l->g, 35))
            return i;
    return link;
}

static json_t *link_line(struct lines *l, const struct rack *r)
{
    const struct link *k = &r->links[some_link(l, r)];
    bool turned = rng_percent(&l->g, 50);
    return json_pack("{s:[s,s],s:b}", "link", r->ports[turned ? k->b : k->a].name, r->ports[turned ? k->a : k->b].name,
                     "down", rng_percent(&l->g, 95) ? !k->down : k->down);
}

static json_t *node_line(struct lines *l, const struct rack *r)
{
    int node = (int)rng_below(&l->g, (unsigned)r->n_nodes);
    for (int i = 0; i < r->n_nodes; i++) /* most are fine most of the time */
        if ((r->nodes[i].cordoned || !r->nodes[i].ready) && rng_percent(&l->g, 40))
            node = i;
    const struct node *n = &r->nodes[node];
    if (n->cordoned || (n->ready && rng_percent(&l->g, 60)))
        return json_pack("{s:s,s:b}", "node", n->name, "cordoned", !n->cordoned);
    return json_pack("{s:s,s:s}", "node", n->name, "state", n->ready ? "unreachable" : "ready");
}

static json_t *bad_line(struct lines *l, const struct rack *r)
{
    const char *name = any_node(l, r);
    switch (rng_below(&l->g, 7)) {
    case 0:
        return json_pack("{s:s,s:i}", "compute_node", "nobody", "size_bytes", 4096);
    case 1:
        return json_pack("{s:s,s:i,s:b}", "compute_node", name, "size_bytes", 0, "commit", 1);
    case 2:
        return json_pack("{s:s,s:i,s:s}", "compute_node", name, "size_bytes", 1, "donor", "nobody");
    case 3:
        return json_pack("{s:s,s:i,s:i,s:b}", "compute_node", name, "size_bytes", 1, "channels", 3, "commit", 1);
    case 4:
        return json_pack("{s:s,s:i,s:s}", "compute_node", name, "size_bytes", 1, "policy", "cheapest");
    case 5:
        return json_pack("{s:i}", "release", r->n_attachments + (int)rng_below(&l->g, 3));
    default:
        return json_pack("{s:[s,s],s:b}", "link", "nobody/1", "nobody/2", "down", 1);
    }
}

json_t *lines_next(struct lines *l, const struct rack *r)
{
    unsigned live = n_live(r), dice = rng_below(&l->g, 100);
    if (dice < 1)
        return bad_line(l, r);
    if (dice < 6 && r->n_links)
        return link_line(l, r);
    if (dice < 9 && l->node_lines)
        return node_line(l, r);
    if (live && dice < (live > l->load ? 40u : 15u))
        return release(l, r);
    return request(l, r);
}
