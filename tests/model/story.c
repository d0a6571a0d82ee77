#include "story.h"

#include "core/rackcheck.h"
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests -----------------------------------------------------------------------------------------------------
 */
static uint32_t some_attachment(const struct lab *r, unsigned pick)
{
    uint32_t n = model_count(r->m, MODEL_ATTACHMENT);
    for (uint32_t i = 0; i < n; i++)
        if (model_attachment(r->m, (pick + i) % n))
            return (pick + i) % n;
    return NONE;
}

static unsigned next_id;

static bool attach(struct lab *r, unsigned node, unsigned blocks, unsigned channels, struct err *e)
{
    struct place_request q = {
        .compute_node = lab_row(r, node), .requested_bytes = blocks * BLOCK, .donor = NONE, .channels = channels
    };
    char id[ID_SIZE];
    uint32_t out = NONE;
    if (q.compute_node == NONE)
        return false;
    snprintf(id, sizeof id, "a%06u", next_id++);
    lab_begin(r);
    int rc = lifecycle_attach(r->m, r->t, &q, id, &out, e);
    if (rc < 0)
        model_rollback(r->m);
    lab_commit(r);
    return rc == 0;
}

static void on_attach(struct lab *r, struct move s)
{
    struct err e;
    attach(r, s.a % SERVERS, 1 + s.b % 4, s.c % 6 ? 1 : 2, &e);
}

static void on_detach(struct lab *r, struct move s)
{
    uint32_t at = some_attachment(r, s.a);
    if (at == NONE)
        return;
    lab_begin(r);
    lifecycle_detach(r->m, at);
    lab_commit(r);
}

static void on_retry(struct lab *r, struct move s)
{
    uint32_t at = some_attachment(r, s.a);
    struct err e;
    if (at == NONE)
        return;
    lab_begin(r);
    if (lifecycle_retry(r->m, at, &e) < 0)
        model_rollback(r->m);
    lab_commit(r);
}

static void on_cancel(struct lab *r, struct move s)
{
    uint32_t at = some_attachment(r, s.a);
    struct err e;
    if (at == NONE)
        return;
    lab_begin(r);
    if (lifecycle_cancel(r->m, at, &e) < 0)
        model_rollback(r->m);
    lab_commit(r);
}

static void on_cordon(struct lab *r, struct move s)
{
    uint32_t at = lab_row(r, s.a % SERVERS);
    if (at == NONE)
        return;
    lab_begin(r);
    model_edit_node(r->m, at)->cordoned = s.b % 4 == 0;
    lab_commit(r);
}

/* An operator keeps his word: what he calls off is off. */
static void fence(struct lab *r, unsigned node)
{
    uint32_t at = lab_row(r, node);
    struct err e;
    char boot[ID_SIZE];
    if (at == NONE)
        return;
    snprintf(boot, sizeof boot, "%s", model_node(r->m, at)->boot_id);
    lab_begin(r);
    if (lifecycle_fence(r->m, at, boot, &e) < 0)
        model_rollback(r->m);
    lab_commit(r);
}

static void on_fence(struct lab *r, struct move s)
{
    if (r->world.machines[s.a % SERVERS].power)
        return;
    if (s.b % 2)
        lab_pass(r, 11000);
    fence(r, s.a % SERVERS);
}

static void on_forget(struct lab *r, struct move s)
{
    uint32_t at = lab_row(r, s.a % SERVERS);
    struct err e;
    if (at == NONE || r->agents[s.a % SERVERS].registered)
        return;
    lab_begin(r);
    if (model_forget_node(r->m, at, &e) < 0) {
        model_rollback(r->m);
    } else {
        r->book.node_told[s.a % SERVERS][0] = '\0';
        r->forgotten++;
    }
    lab_commit(r);
}

static void on_backup(struct lab *r, struct move s)
{
    (void)s;
    lab_backup(r);
}

static void on_restore(struct lab *r, struct move s)
{
    (void)s;
    lab_restore(r);
}

/* ---- agents and the network ---------------------------------------------------------------------------------------
 */
static void on_round(struct lab *r, struct move s)
{
    agent_round(r, s.a % NODES);
}

static void on_breath(struct lab *r, struct move s)
{
    for (unsigned i = 0; i < NODES; i++)
        agent_round(r, (s.a + i) % NODES);
}

static void on_fetch(struct lab *r, struct move s)
{
    agent_fetch(r, s.a % NODES);
}

static void on_act(struct lab *r, struct move s)
{
    agent_act(r, s.a % NODES, s.b % 2 ? UINT32_MAX : s.c % 12);
}

/* Orders are changed just after they were fetched; a report from before they were carried out comes first. */
static void on_late(struct lab *r, struct move s)
{
    unsigned node = s.a % NODES;
    agent_fetch(r, node);
    on_detach(r, (struct move){ .a = s.b });
    size_t before = r->n_letters;
    agent_send(r, node);
    if (r->n_letters > before)
        lab_deliver(r, before, s.c % 2);
    agent_act(r, node, UINT32_MAX);
}

static void on_send(struct lab *r, struct move s)
{
    agent_send(r, s.a % NODES);
}

static void on_deliver(struct lab *r, struct move s)
{
    if (r->n_letters)
        lab_deliver(r, s.a % r->n_letters, s.b % 4 == 0);
}

static void on_drop(struct lab *r, struct move s)
{
    if (r->n_letters)
        lab_drop(r, s.a % r->n_letters);
}

static void on_kill(struct lab *r, struct move s)
{
    agent_kill(r, s.a % NODES);
}

static void on_start(struct lab *r, struct move s)
{
    if (r->world.machines[s.a % NODES].power)
        r->agents[s.a % NODES].alive = true;
}

static void on_register(struct lab *r, struct move s)
{
    agent_register(r, s.a % NODES);
}

static void on_hang(struct lab *r, struct move s)
{
    r->agents[s.a % NODES].hang = s.b % 4 == 0;
}

/* ---- failures -----------------------------------------------------------------------------------------------------
 */
static void on_power_off(struct lab *r, struct move s)
{
    agent_kill(r, s.a % NODES);
    if (s.a % NODES != MANAGER)
        world_power(&r->world, s.a % NODES, false);
}

static void on_power_on(struct lab *r, struct move s)
{
    unsigned node = s.a % NODES;
    if (node != MANAGER && !r->world.machines[node].power) {
        agent_kill(r, node); /* it may have died of its memory */
        world_power(&r->world, node, true);
    }
    r->agents[node].alive = true;
}

static void on_lender(struct lab *r, struct move s)
{
    if (r->world.machines[s.a % SERVERS].power)
        world_kill_lender(&r->world, s.a % SERVERS);
}

static void on_refuse(struct lab *r, struct move s)
{
    r->agents[s.a % SERVERS].refuse_offline = s.b % 4 == 0;
}

static void on_fail(struct lab *r, struct move s)
{
    struct agent *a = &r->agents[s.a % SERVERS];
    bool *flags[] = { &a->fail_online, &a->fail_lend, &a->fail_release };
    *flags[s.b % 3] = s.c % 5 == 0;
}

static void on_link(struct lab *r, struct move s)
{
    r->world.machines[s.a % SERVERS].link_down[s.b % 4] = s.c % 6 == 0;
}

static void on_adapter(struct lab *r, struct move s)
{
    r->world.machines[s.a % SERVERS].adapter_error[s.b % 2] = s.c % 5 == 0;
}

/* Somebody takes blocks offline by hand. */
static void on_hand(struct lab *r, struct move s)
{
    struct machine *m = &r->world.machines[s.a % SERVERS];
    if (!m->n_segments)
        return;
    struct segment *g = &m->segments[s.b % m->n_segments];
    g->by_hand = true;
    world_offline(&r->world, s.a % SERVERS, g, s.c % 3);
}

static void on_use(struct lab *r, struct move s)
{
    unsigned node = s.a % SERVERS;
    world_use(&r->world, node);
    if (!r->world.machines[node].power && r->agents[node].alive)
        agent_kill(r, node);
}

static void on_restart(struct lab *r, struct move s)
{
    (void)s;
    lab_restart(r);
}

static void on_pass(struct lab *r, struct move s)
{
    lab_pass(r, s.a * 3);
}

static void on_wait(struct lab *r, struct move s)
{
    lab_pass(r, s.a * 600);
}

static const struct {
    const char *name;
    void (*run)(struct lab *r, struct move s);
    unsigned weight;
} kinds[] = {
    { "round", on_round, 500 },      { "breath", on_breath, 120 },    { "fetch", on_fetch, 60 },
    { "act", on_act, 70 },           { "send", on_send, 60 },         { "deliver", on_deliver, 80 },
    { "drop", on_drop, 12 },         { "attach", on_attach, 60 },     { "detach", on_detach, 36 },
    { "retry", on_retry, 8 },        { "cancel", on_cancel, 14 },     { "cordon", on_cordon, 4 },
    { "fence", on_fence, 14 },       { "kill", on_kill, 8 },          { "start", on_start, 50 },
    { "register", on_register, 8 },  { "hang", on_hang, 8 },          { "power-off", on_power_off, 3 },
    { "power-on", on_power_on, 40 }, { "kill-lender", on_lender, 3 }, { "refuse", on_refuse, 10 },
    { "fail", on_fail, 12 },         { "link", on_link, 8 },          { "adapter", on_adapter, 5 },
    { "hand", on_hand, 3 },          { "use", on_use, 50 },           { "restart", on_restart, 3 },
    { "pass", on_pass, 60 },         { "wait", on_wait, 2 },          { "forget", on_forget, 6 },
    { "backup", on_backup, 1 },      { "restore", on_restore, 1 },    { "late", on_late, 24 },
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

void story_make(struct move *steps, size_t n, uint64_t seed)
{
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    unsigned total = 0;
    for (size_t k = 0; k < N_KINDS; k++)
        total += kinds[k].weight;
    for (unsigned i = 0; i < 16; i++)
        draw(&state);
    for (size_t i = 0; i < n; i++) {
        unsigned pick = (unsigned)(draw(&state) % total), k = 0;
        while (pick >= kinds[k].weight)
            pick -= kinds[k++].weight;
        uint64_t v = draw(&state);
        steps[i] = (struct move){ (uint8_t)k, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16) };
    }
}

static void print_step(size_t i, struct move s)
{
    printf("      %3zu  %-12s %u %u %u\n", i + 1, kinds[s.what].name, s.a, s.b, s.c);
}

void story_print(const struct move *steps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        print_step(i, steps[i]);
}

/* ---- peace --------------------------------------------------------------------------------------------------------
 */
static void heal(struct lab *r)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct agent *a = &r->agents[i];
        struct machine *m = &r->world.machines[i];
        a->refuse_offline = a->fail_online = a->fail_lend = a->fail_release = a->hang = false;
        memset(m->link_down, 0, sizeof m->link_down);
        memset(m->adapter_error, 0, sizeof m->adapter_error);
        on_power_on(r, (struct move){ .a = (uint8_t)i });
    }
}

/* Somebody took some blocks of it offline by hand: `memlane check` says so until it is detached. */
static void detach_halves(struct lab *r)
{
    lab_begin(r);
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(r->m, i);
        if (!a || a->state != ATT_ATTACHED || a->blocks_online == a->blocks_total)
            continue;
        const struct segment *g = world_segment(&r->world, lab_node(model_node(r->m, a->compute_node)->name), a->id);
        if (g && g->by_hand)
            lifecycle_detach(r->m, i);
    }
    lab_commit(r);
}

static void expect_all_alive(const struct lab *r)
{
    for (unsigned i = 0; i < NODES; i++)
        if (!r->world.machines[i].power)
            world_fail("n%u died though everything is well", i + 1);
}

static void settle(struct lab *r, unsigned rounds)
{
    for (unsigned k = 0; k < rounds; k++) {
        for (unsigned i = 0; i < NODES; i++)
            agent_round(r, i);
        world_check(&r->world);
        lab_pass(r, 1000);
    }
}

static void reboot(struct lab *r, unsigned node)
{
    on_power_off(r, (struct move){ .a = (uint8_t)node });
    lab_pass(r, 4000);
    on_power_on(r, (struct move){ .a = (uint8_t)node });
}

static void expect_nothing(struct lab *r)
{
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(r->m, i);
        if (a)
            world_fail("%s never ends: it is %s, step %s, undoing %d, goal %d, quarantined %d, %u/%u blocks online: %s",
                       a->id, attachment_state_names[a->state], step_names[a->step], (int)a->undoing, (int)a->goal,
                       a->quarantined, a->blocks_online, a->blocks_total, a->reason);
    }
    for (uint32_t i = 0; i < model_count(r->m, MODEL_CIRCUIT); i++)
        if (model_circuit(r->m, i))
            world_fail("circuit %s never goes: phase %d", model_circuit(r->m, i)->id,
                       (int)model_circuit(r->m, i)->phase);
    world_check_empty(&r->world);
}

/* `memlane check` accuses nobody of the first 'n' invariants.  After a restore what is there, and nobody's, may well be
 * where the database has something. */
static void expect_check(const struct lab *r, unsigned n)
{
    struct check all[RACKCHECK_N];
    if (r->m->recovering)
        return;
    rackcheck(r->m, all);
    for (unsigned i = r->restored ? 1 : 0; i < n; i++)
        if (all[i].result == CHECK_VIOLATED)
            world_fail("memlane check: %s is violated: %s", all[i].name, all[i].detail);
}

/* What was not detached is attached or lost once everything is well; nothing is on its way for ever. */
static void expect_rest(struct lab *r)
{
    expect_check(r, RACKCHECK_N);
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(r->m, i);
        if (a && a->state != ATT_ATTACHED && !(a->state == ATT_LOST && a->quarantined))
            world_fail("%s finds no rest: it is %s, step %s, undoing %d, goal %d: %s", a->id,
                       attachment_state_names[a->state], step_names[a->step], (int)a->undoing, (int)a->goal, a->reason);
    }
}

/* Reboots one server that has memory in quarantine; what it lends is then in quarantine elsewhere.  false: there is
 * none. */
static bool end_quarantine(struct lab *r)
{
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(r->m, i);
        if (!a || !a->quarantined)
            continue;
        reboot(r, lab_node(model_node(r->m, a->compute_node)->name));
        settle(r, 6);
        return true;
    }
    return false;
}

/* Joins that no circuit of the database makes, and over which nothing can be in use: an operator parts them at the
 * switch, as `memlane check` tells him. */
static void part_joins_of_nobody(struct lab *r)
{
    uint32_t sw = model_find_switch(r->m, "ocs1");
    for (unsigned p = 1; p <= SWITCH_PORTS; p++) {
        unsigned peer = r->world.joins[p];
        bool up = false;
        for (unsigned end = p; peer; end = end == p ? peer : 0) {
            if (!end)
                break;
            up |= r->world.machines[(end - 1) / 4].channels[(end - 1) % 4 / 2] & 1u << (end - 1) % 2;
            up |= model_port(r->m, model_switch(r->m, sw)->first_port + end - 1)->circuit != NONE;
        }
        if (peer && !up)
            world_join(&r->world, p, peer, false);
    }
}

static bool needs_reboot(const struct lab *r, unsigned node, bool at_the_end)
{
    const struct node *n = model_node(r->m, lab_row(r, node));
    for (unsigned k = 0; n && k < n->n_unowned; k++)
        if (!strcmp(n->unowned[k].kind, "segment"))
            return true;
    for (uint32_t i = n ? n->first_borrow : NONE; i != NONE; i = model_attachment(r->m, i)->borrow_next)
        if (model_attachment(r->m, i)->quarantined)
            return true; /* what it bars may be where something of nobody is */
    for (unsigned k = 0; at_the_end && n && !n->n_lends && k < n->n_unowned; k++) {
        uint32_t c = model_find_adapter(r->m, model_find_node(r->m, n->unowned[k].compute_node), "afu0");
        if (c != NONE && model_section_barred(r->m, c, n->unowned[k].section))
            return true; /* nothing is done in a barred section before the donor rebooted too */
    }
    return at_the_end && n && !n->n_lends && !n->n_borrows &&
           (r->world.machines[node].channels[0] | r->world.machines[node].channels[1]);
}

/* What a restored database does not know: an operator adopts once more, detaches what was taken over, reboots the
 * borrowers of what could not be or is in quarantine, and parts what is still joined; the rest is collected. */
static void end_unowned(struct lab *r)
{
    lab_adopt(r);
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++)
        on_detach(r, (struct move){ .a = (uint8_t)i });
    settle(r, 30);
    for (unsigned pass = 0; pass < 5; pass++) {
        for (unsigned i = 0; i < SERVERS; i++)
            if (needs_reboot(r, i, pass > 2))
                reboot(r, i);
        settle(r, 10);
        part_joins_of_nobody(r);
        lab_pass(r, 700000);
        settle(r, 30);
    }
}

/* A server that was fenced and forgotten, and came again as another one, often enough (model_forget.c). */
static bool all_barred(const struct lab *r, unsigned node)
{
    const struct adapter *a = model_adapter(r->m, model_find_adapter(r->m, lab_row(r, node), "afu0"));
    unsigned n = 0;
    while (n < SECTIONS && a->sections[n].barred_compute_boot == BARRED_FOR_EVER)
        n++;
    return r->forgotten && n == SECTIONS;
}

static void peace(struct lab *r)
{
    struct err e = { 0 };
    lab_check_file(r);
    heal(r);
    settle(r, 2);
    heal(r); /* who died of what was ordered before */
    settle(r, 30);
    detach_halves(r);
    lab_pass(r, 400000); /* the longest backoff */
    settle(r, 30);
    expect_all_alive(r);
    if (r->restored)
        end_unowned(r);
    expect_rest(r);
    for (unsigned pass = 0; end_quarantine(r); pass++)
        if (pass > 2 * SERVERS)
            world_fail("quarantine never ends");
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++)
        on_detach(r, (struct move){ .a = (uint8_t)i });
    settle(r, 30);
    lab_pass(r, 400000);
    for (uint32_t i = 0; i < model_count(r->m, MODEL_ATTACHMENT); i++)
        on_detach(r, (struct move){ .a = (uint8_t)i });
    settle(r, 30);
    expect_nothing(r);
    /* And nothing was used up: after a reboot of all, every server can borrow again over each of its ports. */
    for (unsigned i = 0; i < SERVERS; i++) {
        reboot(r, i);
        lab_begin(r);
        model_edit_node(r->m, lab_row(r, i))->cordoned = false;
        lab_commit(r);
    }
    settle(r, 4);
    for (unsigned i = 0; i < SERVERS; i++)
        if (!attach(r, i, 2, 1, &e) && !all_barred(r, i))
            world_fail("n%u cannot borrow any more: %s", i + 1, e.detail);
    settle(r, 12);
    expect_rest(r);
}

void story_run(const struct move *steps, size_t n, const char *dir, volatile size_t *at, bool tell)
{
    static struct lab r;
    next_id = 0;
    lab_start(&r, dir);
    r.world.tell = tell;
    for (*at = 0; *at < n; (*at)++) {
        if (tell)
            print_step(*at, steps[*at]);
        kinds[steps[*at].what].run(&r, steps[*at]);
        world_check(&r.world);
        expect_check(&r, 3);
    }
    peace(&r);
    lab_check_file(&r);
    lab_print_counts(&r);
    lab_done(&r);
}
