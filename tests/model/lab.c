/* lab.c - transactions, the database, and what a client that follows the events may rely on. */
#include "lab.h"

#include "rackfile.h"
#include "unit/model_same.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    r->m->recovering = store_recovering(r->store) != 0;
    model_savepoint(r->m);
}

/* ---- what is told -------------------------------------------------------------------------------------------------
 */
unsigned lab_node(const char *name)
{
    return !strcmp(name, "mgmt") ? MANAGER : (unsigned)(name[1] - '1');
}

static struct promise *find_promise(struct lab *r, const char *id)
{
    for (size_t i = r->book.n_promises; i-- > 0;)
        if (!strcmp(r->book.promises[i].id, id))
            return &r->book.promises[i];
    return NULL;
}

static char *told_of(struct lab *r, const struct model_event *ev)
{
    const char *name = strchr(ev->object, '/') + 1;
    if (!strcmp(ev->type, "attachment.state")) {
        struct promise *p = find_promise(r, name);
        if (p)
            return p->told;
        if (r->book.n_promises == r->book.cap_promises) {
            r->book.cap_promises = r->book.cap_promises ? r->book.cap_promises * 2 : 256;
            r->book.promises = realloc(r->book.promises, r->book.cap_promises * sizeof *r->book.promises);
        }
        p = &r->book.promises[r->book.n_promises++];
        *p = (struct promise){ 0 };
        snprintf(p->id, sizeof p->id, "%s", name);
        return p->told;
    }
    if (!strcmp(ev->type, "node.state"))
        return r->book.node_told[lab_node(name)];
    if (strcmp(ev->type, "circuit.state") != 0)
        return NULL;
    for (unsigned i = 0; i < r->book.n_circuits; i++)
        if (!strcmp(r->book.circuits[i].id, name))
            return r->book.circuits[i].told;
    unsigned at = r->book.n_circuits < 64 ? r->book.n_circuits++ : 0;
    for (unsigned i = 0; r->book.n_circuits == 64 && i < 64; i++)
        if (model_find_circuit(r->m, r->book.circuits[i].id) == NONE &&
            (!strcmp(r->book.circuits[i].told, "planned") || !strcmp(r->book.circuits[i].told, "closed")))
            at = i; /* it is over, and was told so */
    snprintf(r->book.circuits[at].id, ID_SIZE, "%s", name);
    snprintf(r->book.circuits[at].told, 16, "planned");
    return r->book.circuits[at].told;
}

/* Each event begins where the one before it ended. */
static void follow_events(struct lab *r)
{
    for (size_t i = 0; i < r->m->n_events; i++) {
        const struct model_event *ev = &r->m->events[i];
        char *told = told_of(r, ev);
        if (strcmp(ev->type, "node.memory") != 0 && strcmp(ev->type, "node.registered") != 0)
            world_tell(&r->world, "%s %s: %s -> %s %s", ev->type, ev->object, ev->from, ev->to, ev->reason);
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
    printf("%u boots, %u fenced, %u forgotten, %u restored", r->counts[8 + NODE_NEW], r->counts[8 + NODE_FENCED],
           r->forgotten, r->restores);
    fflush(stdout);
}

/* And they end where a reader of the model is. */
static void compare_told(struct lab *r)
{
    for (size_t i = r->book.first_open; i < r->book.n_promises; i++) {
        struct promise *p = &r->book.promises[i];
        const struct attachment *a = model_attachment(r->m, model_find_attachment(r->m, p->id));
        if (p->over)
            continue;
        if (a && strcmp(attachment_state_names[a->state], p->told) != 0)
            world_fail("%s is %s, and was told to be %s", p->id, attachment_state_names[a->state], p->told);
        if (!a && strcmp(p->told, "detached") != 0 && strcmp(p->told, "failed") != 0 && strcmp(p->told, "lost") != 0)
            world_fail("%s was acknowledged, and is gone as %s", p->id, p->told);
        p->over = !a;
    }
    while (r->book.first_open < r->book.n_promises && r->book.promises[r->book.first_open].over)
        r->book.first_open++;
    for (uint32_t i = 0; i < model_count(r->m, MODEL_NODE); i++) {
        const struct node *n = model_node(r->m, i);
        if (!n)
            continue;
        const char *told = r->book.node_told[lab_node(n->name)];
        if (told[0] && strcmp(told, node_state_names[n->state]) != 0)
            world_fail("%s is %s, and was told to be %s", n->name, node_state_names[n->state], told);
    }
}

void lab_commit(struct lab *r)
{
    struct err e = { 0 };
    if (!r->m->recovering)
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
    if (store_epoch(r->store) > r->last_epoch)
        r->last_epoch = store_epoch(r->store);
    memset(&r->heard, 0, sizeof r->heard);
    lab_begin(r);
    lifecycle_start(r->m);
    lab_commit(r);
}

/* F26: what a restart will make of the database is the model in all that is durable. */
static void expect_in_file(const struct lab *r)
{
    struct model *twin;
    struct err e = { 0 };
    char buf[120];
    check(model_new(&twin, &e), &e, "the model");
    check(store_load(r->store, twin, &e), &e, "what was stored");
    const char *other = model_difference(r->m, twin, buf);
    if (other)
        world_fail("the model and the database differ in %s", other);
    model_free(twin);
}

void lab_check_file(const struct lab *r)
{
    expect_in_file(r);
    struct check all[STORE_CHECKS];
    struct store_reader *reader;
    struct err e = { 0 };
    check(store_reader_open(&reader, r->db, &e), &e, "the database");
    check(store_reader_check(reader, store_revision(r->store), all, &e), &e, "the history");
    store_reader_close(reader);
    for (unsigned i = 0; i < STORE_CHECKS; i++)
        if (all[i].result != CHECK_OK)
            world_fail("memlane check: %s is %s: %s", all[i].name, check_result_names[all[i].result], all[i].detail);
}

void lab_restart(struct lab *r)
{
    expect_in_file(r);
    topology_free(r->t);
    model_free(r->m);
    store_close(r->store);
    open_database(r);
}

uint32_t lab_row(const struct lab *r, unsigned node)
{
    char name[8];
    snprintf(name, sizeof name, "n%u", node + 1);
    return model_find_node(r->m, node == MANAGER ? "mgmt" : name);
}

void lab_cable(struct lab *r)
{
    struct rack_switch sw = { .name = "ocs1", .ports = SWITCH_PORTS, .latency_ns = 30, .managed_by = "mgmt" };
    struct rack_link links[SWITCH_PORTS];
    struct rack cabling = { .n_switches = 1, .switches = &sw, .links = links };
    struct err e = { 0 };
    memset(links, 0, sizeof links);
    for (unsigned p = 0; p < SWITCH_PORTS; p++) {
        struct rack_link *l = &links[cabling.n_links];
        if (lab_row(r, p / 4) == NONE)
            continue;
        snprintf(l->a.owner, sizeof l->a.owner, "n%u", p / 4 + 1);
        snprintf(l->a.adapter, sizeof l->a.adapter, "afu%u", p % 4 / 2);
        l->a.number = p % 2;
        snprintf(l->b.owner, sizeof l->b.owner, "ocs1");
        l->b.number = p + 1;
        l->latency_ns = 20 + p / 4;
        l->gbps = 100;
        cabling.n_links++;
    }
    lab_begin(r);
    check(model_declare(r->m, &cabling, &e), &e, "the cabling");
    lab_commit(r);
}

/* ---- an old backup ------------------------------------------------------------------------------------------------
 */
static void copy_book(struct book *to, const struct book *from)
{
    free(to->promises);
    *to = *from;
    to->cap_promises = from->n_promises;
    to->promises = malloc((from->n_promises + 1) * sizeof *to->promises);
    if (from->n_promises)
        memcpy(to->promises, from->promises, from->n_promises * sizeof *to->promises);
}

void lab_backup(struct lab *r)
{
    struct err e = { 0 };
    if (r->m->recovering)
        return;
    unlink(r->backup);
    check(store_backup(r->db, r->backup, r->clock_ms, &e), &e, "the backup");
    copy_book(&r->book_of_backup, &r->book);
    r->has_backup = true;
}

void lab_adopt(struct lab *r)
{
    const char *without[NODES];
    size_t n_without = 0;
    struct adoption done;
    struct err e = { 0 };
    for (unsigned i = 0; i < NODES; i++)
        if (lab_row(r, i) != NONE && !r->agents[i].registered)
            without[n_without++] = model_node(r->m, lab_row(r, i))->name;
    lab_begin(r);
    check(adopt_all(r->m, without, n_without, &done, &e), &e, "the adoption");
    check(store_begin(r->store, &e), &e, "the database");
    check(store_raise_epoch(r->store, r->last_epoch, &e), &e, "the epoch");
    follow_events(r);
    check(model_check(r->m, &e), &e, "an invariant is broken by the adoption");
    check(store_commit(r->store, r->m, &e), &e, "the database");
    model_commit_done(r->m);
    r->last_epoch = store_epoch(r->store);
}

void lab_restore(struct lab *r)
{
    struct backup_manifest manifest;
    struct err e = { 0 };
    char path[160];
    if (!r->has_backup || r->m->recovering)
        return;
    topology_free(r->t);
    model_free(r->m);
    store_close(r->store);
    static const char *const tails[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", r->db, tails[i]);
        unlink(path);
    }
    check(store_restore(r->backup, r->db, &manifest, &e), &e, "the restore");
    copy_book(&r->book, &r->book_of_backup);
    r->restored = true;
    r->restores++;
    open_database(r);
    r->clock_ms += 4000; /* just after a start the boots that are known come first */
    for (unsigned i = 0; i < NODES; i++) {
        r->agents[i].registered = false;
        agent_register(r, i);
        if (r->agents[i].registered) {
            if (r->n_letters == IN_FLIGHT)
                lab_drop(r, 0);
            agent_send(r, i);
            lab_deliver(r, r->n_letters - 1, false);
        }
    }
    lab_adopt(r);
    lab_cable(r);
}

void lab_start(struct lab *r, const char *dir)
{
    memset(r, 0, sizeof *r);
    world_start(&r->world);
    snprintf(r->db, sizeof r->db, "%s/rack.db", dir);
    snprintf(r->backup, sizeof r->backup, "%s/backup.db", dir);
    r->clock_ms = 1000000;
    open_database(r);
    for (unsigned i = 0; i < NODES; i++) {
        r->agents[i].alive = true;
        agent_register(r, i);
    }
    lab_cable(r);
    r->n_cabled = NODES;
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
    free(r->book.promises);
    free(r->book_of_backup.promises);
    world_done(&r->world);
}

void lab_pass(struct lab *r, int64_t ms)
{
    r->clock_ms += ms;
    lab_begin(r);
    if (!r->m->recovering) {
        lifecycle_tick(r->m);
        adopt_collect(r->m);
    }
    lab_commit(r);
}
