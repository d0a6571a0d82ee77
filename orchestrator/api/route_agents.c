/* route_agents.c - /v1/agents: enrolment, the long poll for the desired state, reports of the observed state.
 *
 * An agent's credential is good for its own node only (the route table says so).  A join token makes a credential, in
 * the same transaction as the registration; it cannot take over a name whose credential has been used. */
#include "api/context.h"
#include "api/routes.h"
#include "core/desired.h"
#include "core/observed.h"
#include "log.h"
#include "units.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MAX_S 60
#define POLL_DEFAULT_S 30
#define CONFLICT_AGAIN_MS 60000

/* ---- register -----------------------------------------------------------------------------------------------------
 */

struct enrolling { /* rq->data */
    struct wire_registration registration;
    struct token token; /* the new credential; role AGENT */
    char secret[SECRET_SIZE];
    char session[ID_SIZE];
    bool ahead;         /* it obeyed a later epoch than ours, or more of our commits than the file had at our start */
    bool name_is_taken; /* a join token for a name whose credential is in use */
    struct err refused; /* identity_conflict: noted, then answered */
};

static void free_enrolment(void *data)
{
    explicit_bzero(data, sizeof(struct enrolling));
    free(data);
}

static int check_name(const struct request *rq, struct enrolling *x, struct err *e)
{
    const char *name = x->registration.name;
    if (rq->who.role != TOKEN_AGENT)
        x->name_is_taken = auth_agent_used(rq->api->auth, name);
    else if (strcmp(rq->who.name, name) != 0)
        return err_set(e, ERR_FORBIDDEN, "the credential of %s is good for that node only", rq->who.name);
    return 0;
}

static int drop_credentials(struct store *s, const char *node, struct err *e)
{
    CLEANUP(cleanup_free) struct token *list = NULL;
    size_t n = 0;
    if (store_tokens(s, &list, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (list[i].role == TOKEN_AGENT && strcmp(list[i].name, node) == 0 && store_token_remove(s, list[i].id, e) < 0)
            return -1;
    return 0;
}

/* A boot that was refused, and after which the one before went on reporting: it is no later boot, both machines run. */
static bool is_copy(const struct node *n, const char *boot_id, int64_t heartbeat_ms)
{
    return !strcmp(n->conflict_boot, boot_id) && strcmp(n->boot_id, boot_id) != 0 && n->state != NODE_FENCED &&
           n->last_heard_ms - n->conflict_boot_ms >= 2 * heartbeat_ms; /* heard of, not excused */
}

/* A copy of a machine has its name, machine id and credential, but a boot of its own, and both report.  A boot is taken
 * for the node's next one only after the boot before has been silent for two heartbeats; one that is known to run
 * beside it would be taken for the proof that its memory is gone, and has to wait until the node is fenced. */
static int check_boot(const struct request *rq, const struct model *m, uint32_t node, const char *boot_id,
                      struct err *e)
{
    const struct node *n = model_node(m, node);
    int64_t silent_ms = n ? m->now_ms - n->last_seen_ms : 0;
    if (n && is_copy(n, boot_id, rq->api->heartbeat_ms))
        return err_set(
            e, ERR_IDENTITY_CONFLICT,
            "another boot of node %s reported while this one asked already: two machines run under its name; "
            "switch one off, and fence the node if it was the one that reported",
            n->name);
    if (!n || !n->reported || !n->session[0] || n->state != NODE_READY || strcmp(n->boot_id, boot_id) == 0 ||
        silent_ms >= 2 * (int64_t)rq->api->heartbeat_ms)
        return 0;
    return err_set(e, ERR_IDENTITY_CONFLICT, "another boot of node %s reported %lld ms ago", n->name,
                   (long long)silent_ms);
}

static int check_claim(const struct request *rq, const struct model *m, struct err *e)
{
    const struct enrolling *x = rq->data;
    uint32_t node = model_find_node(m, x->registration.name);
    const struct node *n = model_node(m, node);
    if (n && n->enrolment == ENROLMENT_REFUSED)
        return err_set(e, ERR_FORBIDDEN, "an operator refused node %s", n->name);
    if (x->name_is_taken)
        return err_set(e, ERR_IDENTITY_CONFLICT, "node %s has a credential of its own already", x->registration.name);
    return check_boot(rq, m, node, x->registration.boot_id, e);
}

/* The claim is refused, and said: on the node that it would take over, and as an event, once a minute. */
static void note_conflict(struct request *rq, struct model *m, const struct err *why)
{
    const struct enrolling *x = rq->data;
    uint32_t at = model_find_node(m, x->registration.name);
    for (uint32_t i = 0; at == NONE && i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i) && !strcmp(model_node(m, i)->machine_id, x->registration.machine_id))
            at = i;
    rq->command.audit.action[0] = '\0'; /* nothing was changed */
    if (at == NONE)
        return;
    const struct node *n = model_node(m, at);
    bool boot = strcmp(n->boot_id, x->registration.boot_id) != 0 && !strcmp(n->name, x->registration.name);
    struct node *t = model_touch_node(m, at);
    if (boot && strcmp(t->conflict_boot, x->registration.boot_id) != 0) {
        memcpy(t->conflict_boot, x->registration.boot_id, sizeof t->conflict_boot);
        t->conflict_boot_ms = m->now_ms;
    }
    /* One that has just booted knocks, too, for a moment. */
    bool young = boot && !x->name_is_taken && m->now_ms - t->conflict_boot_ms < 5 * (int64_t)rq->api->heartbeat_ms;
    if (young || (t->conflict[0] && m->now_ms - t->conflict_ms < CONFLICT_AGAIN_MS))
        return;
    char object[NAME_SIZE + 8];
    t->conflict_ms = m->now_ms;
    t->conflict_adapters = !strcmp(why->field, "adapters");
    snprintf(t->conflict, sizeof t->conflict, "%.150s (from %.40s)", why->detail, rq->remote);
    snprintf(object, sizeof object, "node/%s", t->name);
    model_emit(m, "node.identity_conflict", object, "", "refused", t->conflict);
    model_edit_node(m, at); /* an event is worth a commit */
}

static uint64_t known_epoch(const struct enrolling *x)
{
    return x->registration.known_epoch ? x->registration.known_epoch : 1;
}

static void note_ahead(struct request *rq, const struct enrolling *x)
{
    const struct wire_registration *r = &x->registration;
    struct writer *w = rq->api->writer;
    log_error("api.recovering", "node=%s knows=%llu.%llu ours=%llu.%llu", r->name, (unsigned long long)r->known_epoch,
              (unsigned long long)r->known_revision, (unsigned long long)writer_epoch(w),
              (unsigned long long)writer_start_revision(w));
    writer_set_recovering(w, known_epoch(x), r->known_revision);
}

static int take_in(struct request *rq, struct change *ch, bool stranger, struct err *e)
{
    struct enrolling *x = rq->data;
    bool is_new = model_find_node(ch->model, x->registration.name) == NONE;
    uint32_t node;
    if (observed_register(ch->model, &x->registration, x->session, &node, e) < 0)
        return -1;
    if (is_new && rq->who.role == TOKEN_JOIN && (rq->who.waits || stranger))
        model_edit_node(ch->model, node)->enrolment = ENROLMENT_WAITING;
    model_touch_node(ch->model, node)->ahead_epoch = stranger ? known_epoch(x) : 0;
    if (x->ahead && !stranger && store_set_recovering(ch->store, known_epoch(x), e) < 0)
        return -1;
    if (rq->who.role == TOKEN_AGENT)
        return 0;
    return drop_credentials(ch->store, x->token.name, e) < 0 ? -1 : store_token_add(ch->store, &x->token, e);
}

/* An agent that knows a later orchestrator than us, or more of this one's commits than the file had at our start: an
 * old database was restored.  Nothing is changed until an operator adopts what the agents have.  What follows is
 * decided when the claim was looked at (take_in_or_recover).  In the turn of the registration: what was adopted before
 * it, in this batch too, is known. */
static void check_epoch(struct request *rq, const struct change *ch)
{
    struct enrolling *x = rq->data;
    const struct wire_registration *r = &x->registration;
    struct writer *w = rq->api->writer;
    uint64_t epoch = store_next_epoch(ch->store);
    uint64_t first = epoch == writer_epoch(w) ? writer_start_revision(w) : ch->model->revision;
    bool other = r->known_epoch == epoch && r->known_instance[0] && strcmp(r->known_instance, writer_instance(w)) != 0;
    bool behind = r->known_epoch < epoch && r->known_revision > first;
    x->ahead = r->known_epoch > epoch || other || behind;
}

/* The same for an epoch that this file has lived through, or so it believes: its orders are compared with what the
 * agent obeyed, however often the old copy was started since. */
static int check_past(struct request *rq, struct change *ch, struct err *e)
{
    struct enrolling *x = rq->data;
    const struct wire_registration *r = &x->registration;
    bool known = true;
    if (x->ahead || !r->known_epoch)
        return 0;
    if (store_knows(ch->store, r->known_epoch, r->known_instance, r->known_revision, &known, e) < 0)
        return -1;
    x->ahead = !known;
    return 0;
}

static bool knows_nodes(const struct model *m)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i) && model_node(m, i)->enrolment == ENROLMENT_APPROVED)
            return true;
    return false;
}

/* Only a node of this rack shows that an old database was restored: its name, machine and credential were looked at by
 * now.  Whoever is new may come from another rack, or be anybody with a join token: it waits until an operator knows
 * it. While recovering, what it holds has to be seen, too.  An orchestrator that knows no node at all has lost its
 * database: whoever comes first and is ahead shows it. */
static bool is_stranger(const struct enrolling *x, const struct model *m)
{
    const struct node *n = model_node(m, model_find_node(m, x->registration.name));
    return x->ahead && !m->recovering && knows_nodes(m) && (!n || n->enrolment != ENROLMENT_APPROVED);
}

static int take_in_or_recover(struct request *rq, struct change *ch, struct err *e)
{
    struct enrolling *x = rq->data;
    bool stranger = is_stranger(x, ch->model), recovering = ch->model->recovering;
    ch->model->recovering |= x->ahead && !stranger; /* from this turn on */
    if (take_in(rq, ch, stranger, e) < 0) {
        ch->model->recovering = recovering;
        return -1;
    }
    if (x->ahead && !stranger)
        note_ahead(rq, x);
    return 0;
}

static int apply_register(struct request *rq, struct change *ch, struct err *e)
{
    struct enrolling *x = rq->data;
    check_epoch(rq, ch);
    int rc = check_claim(rq, ch->model, e);
    if (rc == 0)
        rc = observed_check(ch->model, &x->registration, e);
    if (rc == 0)
        rc = check_past(rq, ch, e);
    if (rc == 0)
        rc = take_in_or_recover(rq, ch, e);
    if (rc == 0 || e->code != ERR_IDENTITY_CONFLICT)
        return rc;
    x->refused = *e; /* identity is looked at before anything is changed */
    note_conflict(rq, ch->model, e);
    return 0;
}

/* In the order of the commits, as with every token. */
static void put_credential(struct request *rq)
{
    struct enrolling *x = rq->data;
    if (rq->who.role != TOKEN_JOIN || x->refused.code != ERR_OK)
        return;
    auth_drop_agent(rq->api->auth, x->token.name, "");
    rq->rc = auth_put(rq->api->auth, &x->token, false, &rq->err);
}

static void registered(struct request *rq)
{
    struct enrolling *x = rq->data;
    if (x->refused.code != ERR_OK || rq->rc < 0) {
        reply_err(rq, x->refused.code != ERR_OK ? &x->refused : &rq->err);
        return;
    }
    struct wire_registered r = { .epoch = writer_epoch(rq->api->writer),
                                 .protocol = WIRE_PROTOCOL_MAX,
                                 .heartbeat_ms = rq->api->heartbeat_ms,
                                 .poll_wait_s = POLL_DEFAULT_S };
    if (rq->who.role == TOKEN_JOIN)
        snprintf(r.credential, sizeof r.credential, "%s", x->secret);
    snprintf(r.session, sizeof r.session, "%s", x->session);
    snprintf(r.instance, sizeof r.instance, "%s", writer_instance(rq->api->writer));
    reply_json(rq, 200, wire_registered_encode(&r));
    explicit_bzero(&r, sizeof r);
}

static int new_credential(struct enrolling *x, struct err *e)
{
    struct token *t = &x->token;
    *t = (struct token){ .role = TOKEN_AGENT, .created_ms = time_wall_ms() };
    memcpy(t->name, x->registration.name, sizeof t->name);
    if (secret_new("tok-", 6, t->id, sizeof t->id, e) < 0 || secret_new("ml_", 32, x->secret, sizeof x->secret, e) < 0)
        return -1;
    return secret_hash(x->secret, strlen(x->secret), t->hash, e);
}

/* A number that no orchestrator of this rack can have given is refused before it stops all changes, and before anybody
 * adopts beyond it: from 2^63 on nothing would be newer, and no proof would ever hold again. */
static int check_reach(struct request *rq, const struct wire_registration *r, struct err *e)
{
    uint64_t epoch = writer_epoch(rq->api->writer), revision = writer_published_revision(rq->api->writer);
    const char *field = NULL;
    if (r->known_epoch > epoch + WIRE_EPOCHS_AHEAD)
        (void)!err_field(e, ERR_FIELD_INVALID, field = "known_epoch",
                         "known_epoch is out of reach from %llu: the file epoch of the agent's state is damaged",
                         (unsigned long long)epoch);
    else if (r->known_revision > revision + WIRE_REVISIONS_AHEAD)
        (void)!err_field(e, ERR_FIELD_INVALID, field = "known_revision",
                         "known_revision is out of reach from %llu: the agent is to be started again",
                         (unsigned long long)revision);
    if (!field)
        return 0;
    log_error("api.out_of_reach", "node=%s knows=%llu.%llu: %s", r->name, (unsigned long long)r->known_epoch,
              (unsigned long long)r->known_revision, e->detail);
    return -1;
}

static int take_registration(struct request *rq, struct err *e)
{
    struct enrolling *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    rq->data = x;
    rq->data_free = free_enrolment;
    if (!rq->body)
        return err_set(e, ERR_BODY_INVALID, "a registration is needed");
    if (wire_registration_decode(&x->registration, rq->body, e) < 0 || check_name(rq, x, e) < 0 ||
        check_reach(rq, &x->registration, e) < 0 || secret_new("", 12, x->session, sizeof x->session, e) < 0)
        return -1;
    return rq->who.role == TOKEN_AGENT ? 0 : new_credential(x, e);
}

void route_register(struct request *rq)
{
    struct err e;
    char object[NAME_SIZE + 8];
    if (take_registration(rq, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "node/%s", ((struct enrolling *)rq->data)->registration.name);
    rq->command.recovery = true;
    rq->committed = put_credential;
    request_change(rq, "agent.register", object, apply_register, registered);
}

/* ---- desired ------------------------------------------------------------------------------------------------------
 */

enum poll { POLL_ANSWER, POLL_WAIT, POLL_UNKNOWN, POLL_STALE };

/* rq->number: the agent's revision; rq->flag: its epoch is ours. */
static enum poll look(const struct request *rq, const struct model *m)
{
    const struct node *n = model_node(m, model_find_node(m, rq->match.params[0]));
    if (!n)
        return POLL_UNKNOWN;
    if (!n->session[0])
        return POLL_STALE;
    if (n->state == NODE_INCOMPATIBLE || n->enrolment != ENROLMENT_APPROVED || writer_recovering(rq->api->writer, NULL))
        return POLL_WAIT; /* there are no orders for it */
    return !rq->flag || n->desired_revision > rq->number ? POLL_ANSWER : POLL_WAIT;
}

static bool desired_ready(struct request *rq, const struct model *m)
{
    return look(rq, m) != POLL_WAIT;
}

static int build(struct request *rq, const struct model *m, uint64_t revision, struct err *e)
{
    struct wire_desired d;
    if (desired_build(m, model_find_node(m, rq->match.params[0]), &d, e) < 0)
        return -1;
    d.epoch = writer_epoch(rq->api->writer);
    d.revision = revision;
    snprintf(d.instance, sizeof d.instance, "%s", writer_instance(rq->api->writer));
    rq->answer = wire_desired_encode(&d);
    wire_desired_done(&d);
    return rq->answer ? 0 : err_set(e, ERR_UNAVAILABLE, "out of memory");
}

static void answer_desired(struct request *rq)
{
    struct err e;
    int rc = 0;
    /* Read before the model: an older revision than the snapshot's only means that it is sent once more. */
    uint64_t revision = writer_published_revision(rq->api->writer);
    const struct model *m = writer_read_lock(rq->api->writer);
    enum poll p = look(rq, m);
    if (p == POLL_ANSWER)
        rc = build(rq, m, revision, &e);
    writer_read_unlock(rq->api->writer);
    if (p == POLL_UNKNOWN)
        rc = err_set(&e, ERR_SESSION_STALE, "node %.63s is not registered", rq->match.params[0]);
    else if (p == POLL_STALE)
        rc = err_set(&e, ERR_SESSION_STALE, "node %.63s has not registered since the orchestrator's start",
                     rq->match.params[0]);
    if (rc < 0)
        reply_err(rq, &e);
    else if (p == POLL_ANSWER)
        reply_json(rq, 200, TAKE(rq->answer));
    else
        reply_empty(rq, 204);
}

static int take_cursor(struct request *rq, uint64_t *wait_s, struct err *e)
{
    const char *after = request_query(rq, "after");
    uint64_t epoch = 0;
    if (request_number(rq, "wait", POLL_MAX_S, wait_s, e) < 0)
        return -1;
    if (after && wire_cursor_parse(after, &epoch, &rq->number, e) < 0)
        return -1;
    rq->flag = after && epoch == writer_epoch(rq->api->writer);
    return 0;
}

void route_desired(struct request *rq)
{
    struct err e;
    uint64_t wait_s = 0;
    if (take_cursor(rq, &wait_s, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    const struct model *m = writer_read_lock(rq->api->writer);
    enum poll p = look(rq, m);
    writer_read_unlock(rq->api->writer);
    if (p == POLL_WAIT && wait_s > 0)
        request_wait(rq, desired_ready, time_monotonic_ms() + (int64_t)wait_s * 1000, answer_desired);
    else
        answer_desired(rq);
}

/* ---- observed -----------------------------------------------------------------------------------------------------
 */

static void free_observed(void *data)
{
    wire_observed_done(data);
    free(data);
}

static int apply_observed(struct request *rq, struct change *ch, struct err *e)
{
    uint32_t node = model_find_node(ch->model, rq->match.params[0]);
    bool changed = true;
    if (node == NONE)
        return err_set(e, ERR_SESSION_STALE, "node %.63s is not registered", rq->match.params[0]);
    if (observed_report(ch->model, node, rq->data, &changed, e) < 0)
        return -1;
    rq->command.read_only = !changed; /* a heartbeat needs no commit */
    return 0;
}

static void observed_taken(struct request *rq)
{
    reply_empty(rq, 204);
}

void route_observed(struct request *rq)
{
    struct err e;
    if (!rq->body) {
        (void)!err_set(&e, ERR_BODY_INVALID, "a report is needed");
        reply_err(rq, &e);
        return;
    }
    rq->data = calloc(1, sizeof(struct wire_observed));
    rq->data_free = free;
    if (!rq->data || wire_observed_decode(rq->data, rq->body, &e) < 0) {
        if (!rq->data)
            (void)!err_set(&e, ERR_UNAVAILABLE, "out of memory");
        reply_err(rq, &e);
        return;
    }
    rq->data_free = free_observed;
    rq->command.recovery = true;
    request_change(rq, "", "", apply_observed, observed_taken);
}
