/* session.c - see session.h. */
#include "session.h"

#include "client.h"
#include "faultpoint.h"
#include "log.h"
#include "state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 3000
#define POLL_WAIT_DEFAULT_S 20
#define POLL_WAIT_MAX_S 60
#define HEARTBEAT_DEFAULT_MS 1000
#define POLL_GRACE_MS 10000 /* more than the wait, until an answer is missed */

struct session {
    const struct agent_config *config;
    struct state state;           /* poll thread */
    struct client *poll, *report; /* one thread each */
    uint64_t reported_number;     /* report thread: the session that its credential and sequence belong to */
    uint64_t sequence;
    /* For what follows, and for when 'poll' is interrupted and resumed: an interrupt that came after the registration
     * that answers to it would leave a session that never asks for its orders. */
    pthread_mutex_t lock;
    struct session_info info;
    char id[ID_SIZE];
    char credential[STATE_TOKEN_SIZE];
    bool stopped;
};

static int new_client(struct client **out, const struct agent_config *c, struct err *e)
{
    struct client_options o = {
        .url = c->url,
        .ca_file = c->ca_file[0] ? c->ca_file : NULL,
        .user_agent = "memlane-agent/" MEMLANE_VERSION,
        .connect_timeout_ms = agent_config_ms(c, CONNECT_TIMEOUT_MS),
    };
    return client_new(out, &o, e);
}

int session_new(struct session **out, const struct agent_config *c, struct err *e)
{
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_INTERNAL, "out of memory");
    s->config = c;
    s->state.dir_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    if (state_open(&s->state, c->state_dir, e) < 0 || new_client(&s->poll, c, e) < 0 ||
        new_client(&s->report, c, e) < 0) {
        session_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    client_free(s->poll);
    client_free(s->report);
    state_close(&s->state);
    pthread_mutex_destroy(&s->lock);
    explicit_bzero(s->credential, sizeof s->credential);
    free(s);
}

void session_get(struct session *s, struct session_info *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->info;
    pthread_mutex_unlock(&s->lock);
}

void session_lost(struct session *s, uint64_t number)
{
    pthread_mutex_lock(&s->lock);
    bool mine = s->info.registered && s->info.number == number;
    if (mine) {
        s->info.registered = false;
        client_interrupt(s->poll);
    }
    pthread_mutex_unlock(&s->lock);
}

void session_stop(struct session *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    client_interrupt(s->poll);
    client_interrupt(s->report);
    pthread_mutex_unlock(&s->lock);
}

/* ---- registration -------------------------------------------------------------------------------------------------
 */
static int post_registration(struct session *s, const struct wire_registration *r, struct wire_registered *out,
                             struct err *e)
{
    struct client_answer answer = { 0 };
    json_t *body = wire_registration_encode(r);
    if (!body)
        return err_set(e, ERR_INTERNAL, "out of memory");
    int rc = client_request(s->poll, "POST", "/v1/agents/register", body, NULL, REQUEST_TIMEOUT_MS, &answer, e);
    json_decref(body);
    if (rc < 0)
        return -1;
    rc = client_check(&answer, e);
    if (rc == 0)
        rc = answer.body ? wire_registered_decode(out, answer.body, e)
                         : err_set(e, ERR_BODY_INVALID, "the orchestrator's answer is no JSON");
    client_answer_done(&answer);
    return rc;
}

/* With the credential; with the join token when there is none, or when it is not accepted (any more). */
static int register_somehow(struct session *s, const struct wire_registration *r, struct wire_registered *out,
                            struct err *e)
{
    char join[STATE_TOKEN_SIZE];
    if (s->state.credential[0]) {
        if (client_set_token(s->poll, s->state.credential, e) < 0)
            return -1;
        if (post_registration(s, r, out, e) == 0)
            return 0;
        if (e->code != ERR_UNAUTHENTICATED || s->config->join_token_file[0] == '\0')
            return -1;
        log_warn("session.credential", "the orchestrator does not know this node's credential: joining again");
    }
    err_clear(e);
    if (s->config->join_token_file[0] == '\0')
        return err_set(e, ERR_UNAUTHENTICATED, "no credential in %.100s and no join_token_file", s->config->state_dir);
    if (state_read_token(s->config->join_token_file, join, e) < 0)
        return -1;
    int rc = client_set_token(s->poll, join, e);
    explicit_bzero(join, sizeof join);
    return rc < 0 ? -1 : post_registration(s, r, out, e);
}

/* Writes down what was agreed, then makes it known to both threads. */
static int begin(struct session *s, const struct wire_registered *a, struct err *e)
{
    struct err older = { 0 };
    if (a->credential[0] && state_set_credential(&s->state, a->credential, e) < 0)
        return -1;
    bool obeyed = state_check_epoch(&s->state, a->epoch, a->instance, &older) == 0;
    if (!obeyed)
        log_error("session.epoch", "%s: its orders are refused", older.detail);
    else if (state_set_epoch(&s->state, a->epoch, a->instance, e) < 0)
        return -1;
    if (client_set_token(s->poll, s->state.credential, e) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    s->info.registered = true;
    s->info.obeyed = obeyed;
    s->info.number++;
    s->info.epoch = a->epoch;
    s->info.heartbeat_ms = a->heartbeat_ms ? a->heartbeat_ms : HEARTBEAT_DEFAULT_MS;
    s->info.poll_wait_s = a->poll_wait_s && a->poll_wait_s <= POLL_WAIT_MAX_S ? a->poll_wait_s : POLL_WAIT_DEFAULT_S;
    memcpy(s->info.instance, a->instance, sizeof s->info.instance);
    memcpy(s->id, a->session, sizeof s->id);
    memcpy(s->credential, s->state.credential, sizeof s->credential);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int session_register(struct session *s, struct wire_registration *r, struct err *e)
{
    struct wire_registered answer;
    pthread_mutex_lock(&s->lock);
    s->info.registered = false;
    if (!s->stopped)
        client_resume(s->poll);
    pthread_mutex_unlock(&s->lock);
    r->known_epoch = s->state.epoch;
    memcpy(r->known_instance, s->state.instance, sizeof r->known_instance);
    r->known_revision = s->state.revision;
    memset(&answer, 0, sizeof answer);
    FAULT_POINT("register.before");
    int rc = register_somehow(s, r, &answer, e);
    FAULT_POINT("register.after");
    if (rc == 0)
        rc = begin(s, &answer, e);
    explicit_bzero(&answer, sizeof answer);
    return rc;
}

/* ---- desired ------------------------------------------------------------------------------------------------------
 */
static int read_desired(struct session *s, const struct client_answer *a, bool *fresh, struct wire_desired *out,
                        struct err *e)
{
    struct wire_desired d;
    if (client_check(a, e) < 0)
        return -1;
    *fresh = false;
    if (a->status == 204)
        return 0;
    if (!a->body)
        return err_set(e, ERR_BODY_INVALID, "the desired state is no JSON");
    if (wire_desired_decode(&d, a->body, e) < 0)
        return -1;
    if (d.epoch != s->info.epoch || strcmp(d.instance, s->info.instance) != 0) { /* written by this thread only */
        wire_desired_done(&d);
        return err_set(e, ERR_SESSION_STALE, "the desired state is of another epoch than this session");
    }
    if (s->info.obeyed)
        state_obeyed(&s->state, d.revision);
    *out = d;
    *fresh = true;
    FAULT_POINT("desired.taken");
    return 0;
}

int session_poll(struct session *s, uint64_t epoch, uint64_t revision, bool *fresh, struct wire_desired *out,
                 struct err *e)
{
    char path[160], cursor[WIRE_CURSOR_MAX];
    struct client_answer answer = { 0 };
    unsigned wait_s = s->info.poll_wait_s;
    snprintf(path, sizeof path, "/v1/agents/%s/desired?after=%s&wait=%u", s->config->name,
             wire_cursor_format(epoch, revision, cursor), wait_s);
    if (client_request(s->poll, "GET", path, NULL, NULL, (long)wait_s * 1000 + POLL_GRACE_MS, &answer, e) < 0)
        return -1;
    int rc = answer.status == 304 ? (*fresh = false, 0) : read_desired(s, &answer, fresh, out, e);
    client_answer_done(&answer);
    return rc;
}

/* ---- reports ------------------------------------------------------------------------------------------------------
 */
/* The report thread takes over a new session: its credential, and a sequence that starts anew. */
static int adopt(struct session *s, struct wire_observed *o, struct session_info *info, struct err *e)
{
    char credential[STATE_TOKEN_SIZE];
    pthread_mutex_lock(&s->lock);
    *info = s->info;
    memcpy(o->session, s->id, sizeof o->session);
    memcpy(credential, s->credential, sizeof credential);
    pthread_mutex_unlock(&s->lock);
    int rc = 0;
    if (!info->registered)
        rc = err_set(e, ERR_UNREACHABLE, "not registered");
    else if (s->reported_number != info->number && (rc = client_set_token(s->report, credential, e)) == 0) {
        s->reported_number = info->number;
        s->sequence = 0;
    }
    explicit_bzero(credential, sizeof credential);
    return rc;
}

int session_report(struct session *s, const struct wire_observed *o, uint64_t taken_in, struct err *e)
{
    struct session_info info;
    char path[160];
    struct client_answer answer = { 0 };
    struct wire_observed sent = *o; /* the job thread may be reading it: what is ours goes into the copy */
    if (adopt(s, &sent, &info, e) < 0)
        return -1;
    sent.sequence = ++s->sequence;
    if (o->epoch != info.epoch || taken_in != info.number || strcmp(o->instance, info.instance) != 0) {
        sent.revision = 0; /* true, but proves nothing in this session */
        sent.epoch = info.epoch;
        memcpy(sent.instance, info.instance, sizeof sent.instance);
    }
    json_t *body = wire_observed_encode(&sent);
    if (!body)
        return err_set(e, ERR_INTERNAL, "out of memory");
    snprintf(path, sizeof path, "/v1/agents/%s/observed", s->config->name);
    FAULT_POINT("report.before");
    int rc = client_request(s->report, "PUT", path, body, NULL, REQUEST_TIMEOUT_MS, &answer, e);
    json_decref(body);
    FAULT_POINT("report.after");
    if (rc < 0)
        return -1;
    rc = client_check(&answer, e);
    client_answer_done(&answer);
    if (rc < 0 && (e->code == ERR_SESSION_STALE || e->code == ERR_UNAUTHENTICATED))
        session_lost(s, info.number);
    return rc;
}
