/* lab.c - transactions, the database, and what a client that follows the events may rely on. */
#include "lab.h"

#include "rackfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc, const struct err *e, const char *what)
{
    if (rc < 0)
        world_fail("%s: %s", what, e->detail);
}

void lab_begin(struct lab *r)
{
    r->m->revision = store_revision(r->store) + 1;
    r->m->epoch = store_epoch(r->store);
    r->m->now_ms = ++r->clock_ms;
    r->m->wall_ms = r->clock_ms;
    r->m->time_scale = 1.0;
    model_savepoint(r->m);
}

/* ---- what is told -------------------------------------------------------------------------------------------------
 */
static struct promise *find_promise(struct lab *r, const char *id)
{
    for (size_t i = r->n_promises; i-- > 0;)
        if (!strcmp(r->promises[i].id, id))
            return &r->promises[i];
    return NULL;
}

static char *told_of(struct lab *r, const struct model_event *ev)
{
    const char *name = strchr(ev->object, '/') + 1;
    if (!strcmp(ev->type, "attachment.state")) {
        struct promise *p = find_promise(r, name);
        if (p)
            return p->told;
        if (r->n_promises == r->cap_promises) {
            r->cap_promises = r->cap_promises ? r->cap_promises * 2 : 256;
            r->promises = realloc(r->promises, r->cap_promises * sizeof *r->promises);
        }
        p = &r->promises[r->n_promises++];
        *p = (struct promise){ 0 };
        snprintf(p->id, sizeof p->id, "%s", name);
        return p->told;
    }
    if (!strcmp(ev->type, "node.state"))
        return r->node_told[!strcmp(name, "mgmt") ? MANAGER : (unsigned)(name[1] - '1')];
    if (strcmp(ev->type, "circuit.state") != 0)
        return NULL;
    for (unsigned i = 0; i < r->n_circuits; i++)
        if (!strcmp(r->circuits[i].id, name))
            return r->circuits[i].told;
    unsigned at = r->n_circuits < 64 ? r->n_circuits++ : 0;
    for (unsigned i = 0; r->n_circuits == 64 && i < 64; i++)
        if (model_find_circuit(r->m, r->circuits[i].id) == NONE && !strcmp(r->circuits[i].told, "planned"))
            at = i; /* over; one that closes and goes in one commit has its last event still before it */
    snprintf(r->circuits[at].id, ID_SIZE, "%s", name);
    snprintf(r->circuits[at].told, 16, "planned");
    return r->circuits[at].told;
}

/* Each event begins where the one before it ended. */
static void follow_events(struct lab *r)
{
    for (size_t i = 0; i < r->m->n_events; i++) {
        const struct model_event *ev = &r->m->events[i];
        char *told = told_of(r, ev);
        if (!told)
            continue;
        if (strcmp(told, ev->from) != 0 && !(ev->from[0] == 'n' && !told[0]))
            world_fail("%s went from %s to %s, but it was %s", ev->object, ev->from, ev->to, told);
        snprintf(told, 16, "%.15s", ev->to);
        for (unsigned k = 0; !strcmp(ev->type, "attachment.state") && attachment_state_names[k]; k++)
            r->counts[k] += !strcmp(ev->to, attachment_state_names[k]);
        for (unsigned k = 0; !strcmp(ev->type, "node.state") && node_state_names[k]; k++)
            r->counts[8 + k] += !strcmp(ev->to, node_state_names[k]);
    }
}

void lab_print_counts(const struct lab *r)
{
    for (unsigned k = ATT_ATTACHED; attachment_state_names[k]; k++)
        printf("%u %s, ", r->counts[k], attachment_state_names[k]);
    printf("%u boots, %u fenced", r->counts[8 + NODE_NEW], r->counts[8 + NODE_FENCED]);
    fflush(stdout);
}

/* And they end where a reader of the model is. */
static void compare_told(struct lab *r)
{
    for (size_t i = r->first_open; i < r->n_promises; i++) {
        struct promise *p = &r->promises[i];
        const struct attachment *a = model_attachment(r->m, model_find_attachment(r->m, p->id));
        if (p->over)
            continue;
        if (a && strcmp(attachment_state_names[a->state], p->told) != 0)
            world_fail("%s is %s, and was told to be %s", p->id, attachment_state_names[a->state], p->told);
        if (!a && strcmp(p->told, "detached") != 0 && strcmp(p->told, "failed") != 0 && strcmp(p->told, "lost") != 0)
            world_fail("%s was acknowledged, and is gone as %s", p->id, p->told);
        p->over = !a;
    }
    while (r->first_open < r->n_promises && r->promises[r->first_open].over)
        r->first_open++;
    for (uint32_t i = 0; i < model_count(r->m, MODEL_NODE); i++) {
        const struct node *n = model_node(r->m, i);
        if (!n)
            continue;
        const char *told = r->node_told[!strcmp(n->name, "mgmt") ? MANAGER : (unsigned)(n->name[1] - '1')];
        if (told[0] && strcmp(told, node_state_names[n->state]) != 0)
            world_fail("%s is %s, and was told to be %s", n->name, node_state_names[n->state], told);
    }
}

void lab_commit(struct lab *r)
{
    struct err e = { 0 };
    lifecycle_advance(r->m);
    check(model_check(r->m, &e), &e, "an invariant is broken");
    follow_events(r);
    if (model_has_durable_changes(r->m)) {
        check(store_begin(r->store, &e), &e, "the database");
        check(store_commit(r->store, r->m, &e), &e, "the database");
    }
    model_commit_done(r->m);
    compare_told(r);
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */
static void open_database(struct lab *r)
{
    struct err e = { 0 };
    check(store_open(&r->store, r->db, &e), &e, "the database");
    check(model_new(&r->m, &e), &e, "the model");
    check(topology_new(&r->t, &e), &e, "the topology");
    check(store_load(r->store, r->m, &e), &e, "what was stored");
    lab_begin(r);
    lifecycle_start(r->m);
    lab_commit(r);
}

void lab_restart(struct lab *r)
{
    topology_free(r->t);
    model_free(r->m);
    store_close(r->store);
    open_database(r);
}

static void declare(struct lab *r)
{
    struct rack_switch sw = { .name = "ocs1", .ports = SWITCH_PORTS, .latency_ns = 30, .managed_by = "mgmt" };
    struct rack_link links[SWITCH_PORTS];
    struct rack cabling = { .n_switches = 1, .switches = &sw, .n_links = SWITCH_PORTS, .links = links };
    struct err e = { 0 };
    memset(links, 0, sizeof links);
    for (unsigned p = 0; p < SWITCH_PORTS; p++) {
        snprintf(links[p].a.owner, sizeof links[p].a.owner, "n%u", p / 4 + 1);
        snprintf(links[p].a.adapter, sizeof links[p].a.adapter, "afu%u", p % 4 / 2);
        links[p].a.number = p % 2;
        snprintf(links[p].b.owner, sizeof links[p].b.owner, "ocs1");
        links[p].b.number = p + 1;
        links[p].latency_ns = 20 + p / 4;
        links[p].gbps = 100;
    }
    lab_begin(r);
    check(model_declare(r->m, &cabling, &e), &e, "the cabling");
    lab_commit(r);
}

void lab_start(struct lab *r, const char *dir)
{
    memset(r, 0, sizeof *r);
    world_start(&r->world);
    snprintf(r->db, sizeof r->db, "%s/rack.db", dir);
    r->clock_ms = 1000000;
    open_database(r);
    for (unsigned i = 0; i < NODES; i++) {
        r->agents[i].alive = true;
        agent_register(r, i);
    }
    declare(r);
    for (unsigned i = 0; i < 2 * NODES; i++)
        agent_round(r, i % NODES);
}

void lab_done(struct lab *r)
{
    while (r->n_letters)
        lab_drop(r, 0);
    for (unsigned i = 0; i < NODES; i++)
        agent_kill(r, i);
    topology_free(r->t);
    model_free(r->m);
    store_close(r->store);
    free(r->promises);
    world_done(&r->world);
}

void lab_pass(struct lab *r, int64_t ms)
{
    r->clock_ms += ms;
    lab_begin(r);
    lifecycle_tick(r->m);
    lab_commit(r);
}
