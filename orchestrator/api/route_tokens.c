/* route_tokens.c - /v1/tokens and /v1/sessions: credentials of people and agents, sign-in of browsers.
 *
 * A secret is shown once, in the answer that made it; the database and auth.c know its hash. */
#include "api/access.h"
#include "api/context.h"
#include "api/routes.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRES_MAX_S (UINT64_C(10) * 365 * 24 * 3600)

struct fresh { /* rq->data: a token under way */
    struct token token;
    char secret[SECRET_SIZE];
    struct token *ends; /* sessions that end with it */
    size_t n_ends;
};

static void free_fresh(void *data)
{
    struct fresh *f = data;
    free(f->ends);
    explicit_bzero(f, sizeof *f);
    free(f);
}

static struct fresh *fresh_of(struct request *rq, struct err *e)
{
    struct fresh *f = calloc(1, sizeof *f);
    if (!f)
        (void)!err_set(e, ERR_UNAVAILABLE, "out of memory");
    rq->data = f;
    rq->data_free = free_fresh;
    return f;
}

static json_t *time_or_null(int64_t ms)
{
    return ms ? json_time(ms) : json_null();
}

static json_t *token_json(const struct token *t)
{
    json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:o}", "id", t->id, "role", token_role_names[t->role], "name",
                          json_string(t->name), "created_at", time_or_null(t->created_ms), "expires_at",
                          time_or_null(t->expires_ms));
    if (j && t->role == TOKEN_JOIN)
        json_object_set_new(j, "approves", json_boolean(!t->waits));
    return j;
}

/* ---- tokens -------------------------------------------------------------------------------------------------------
 */

#define CURSOR "token." /* then when the last one of the page was made, a dot, and its id */

struct place { /* in the order of the list */
    int64_t created_ms;
    const char *id;
};

static bool is_after(const struct token *t, const struct place *p)
{
    return t->created_ms != p->created_ms ? t->created_ms > p->created_ms : strcmp(t->id, p->id) > 0;
}

static int take_cursor(struct request *rq, struct place *out, struct err *e)
{
    const char *text = NULL;
    char number[24];
    uint64_t ms;
    struct err ignored;
    *out = (struct place){ .created_ms = INT64_MIN, .id = "" };
    if (request_cursor(rq, CURSOR, &text, e) < 0)
        return -1;
    if (!text)
        return 0;
    const char *dot = strchr(text, '.');
    snprintf(number, sizeof number, "%.*s", dot ? (int)(dot - text) : 0, text);
    if (!dot || units_parse_u64(number, &ms, &ignored) < 0 || ms > INT64_MAX)
        return err_field(e, ERR_FIELD_INVALID, "cursor", "the cursor is none that this list gave");
    *out = (struct place){ .created_ms = (int64_t)ms, .id = dot + 1 };
    return 0;
}

void route_tokens(struct request *rq)
{
    CLEANUP(cleanup_free) struct token *list = NULL;
    size_t n = 0, i = 0;
    struct place after;
    char cursor[ID_SIZE + 32] = "";
    struct err e;
    if (request_limit(rq, &rq->limit, &e) < 0 || take_cursor(rq, &after, &e) < 0 ||
        auth_list(rq->api->auth, &list, &n, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    json_t *items = json_array();
    while (i < n && !is_after(&list[i], &after))
        i++;
    for (; i < n && json_array_size(items) < rq->limit; i++)
        json_array_append_new(items, token_json(&list[i]));
    if (i > 0 && i < n)
        snprintf(cursor, sizeof cursor, CURSOR "%lld.%s", (long long)list[i - 1].created_ms, list[i - 1].id);
    reply_list(rq, items, cursor[0] ? cursor : NULL, writer_published_event(rq->api->writer));
}

static int apply_add(struct request *rq, struct change *ch, struct err *e)
{
    struct fresh *f = rq->data;
    return store_token_add(ch->store, &f->token, e);
}

/* The image in memory follows in the order of the commits: of a sign-in and a revocation, which ends its token, the
 * answers may go out in any order. */
static void put_fresh(struct request *rq)
{
    struct fresh *f = rq->data;
    for (size_t i = 0; i < f->n_ends; i++)
        auth_drop(rq->api->auth, f->ends[i].id);
    rq->rc = auth_put(rq->api->auth, &f->token, false, &rq->err);
}

static void token_added(struct request *rq)
{
    struct fresh *f = rq->data;
    if (rq->rc < 0) {
        reply_err(rq, &rq->err);
        return;
    }
    json_t *j = token_json(&f->token);
    if (j)
        json_object_set_new(j, "token", json_string(f->secret));
    reply_header(rq, "Location", "/v1/tokens/%s", f->token.id);
    reply_json(rq, 201, j);
}

static int take_token(struct request *rq, struct fresh *f, struct err *e)
{
    static const char *const roles[] = { "viewer", "operator", "admin", "join", NULL };
    int role = 0;
    bool approves = true, has_approves = false;
    uint64_t expires_s = 0;
    const struct json_field fields[] = {
        { "role", JSON_KIND_ENUM, .required = true, .out = &role, .names = roles },
        { "name", JSON_KIND_NAME, .required = true, .out = f->token.name },
        { "approves", JSON_KIND_BOOL, .out = &approves, .present = &has_approves },
        { "expires_in_s", JSON_KIND_U64, .out = &expires_s, .min = 1, .max = EXPIRES_MAX_S },
    };
    if (!rq->body)
        return err_set(e, ERR_BODY_INVALID, "an object with role and name is needed");
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    f->token.role = (enum token_role)role;
    f->token.waits = has_approves && !approves;
    if (has_approves && role != TOKEN_JOIN)
        return err_field(e, ERR_FIELD_INVALID, "approves", "only a join token approves nodes");
    f->token.created_ms = time_wall_ms();
    f->token.expires_ms = expires_s ? f->token.created_ms + (int64_t)expires_s * 1000 : 0;
    if (secret_new("tok-", 6, f->token.id, sizeof f->token.id, e) < 0 ||
        secret_new("ml_", 32, f->secret, sizeof f->secret, e) < 0)
        return -1;
    return secret_hash(f->secret, strlen(f->secret), f->token.hash, e);
}

void route_token_add(struct request *rq)
{
    struct err e;
    char object[ID_SIZE + 8];
    struct fresh *f = fresh_of(rq, &e);
    if (!f || take_token(rq, f, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "token/%s", f->token.id);
    request_audit_detail(rq, rq->body);
    rq->command.recovery = true; /* in the place of one that has to be revoked */
    rq->committed = put_fresh;
    request_change(rq, "token.create", object, apply_add, token_added);
}

/* Only an admin makes another one, so one stays; and one without expiry, once there is one. */
static int keep_an_admin(const struct token *list, size_t n, const char *id, struct err *e)
{
    int64_t wall_ms = time_wall_ms();
    bool gone = false, gone_lasting = false, left = false, left_lasting = false;
    for (size_t i = 0; i < n; i++) {
        bool it = strcmp(list[i].id, id) == 0, lasting = list[i].expires_ms == 0;
        if (!auth_is_admin(&list[i], wall_ms))
            continue;
        gone |= it;
        gone_lasting |= it && lasting;
        left |= !it;
        left_lasting |= !it && lasting;
    }
    if (gone && !left)
        return err_set(e, ERR_CONFLICT, "%.60s is the last admin token, and only an admin can make another", id);
    if (gone_lasting && !left_lasting)
        return err_set(e, ERR_CONFLICT,
                       "%.60s is the last admin token without expiry; when the others have expired,"
                       " nobody could make another",
                       id);
    return 0;
}

/* The token, and the sessions that were made from it. */
static int remove_with_sessions(struct store *s, const char *id, struct err *e)
{
    CLEANUP(cleanup_free) struct token *list = NULL;
    size_t n = 0;
    if (store_tokens(s, &list, &n, e) < 0 || keep_an_admin(list, n, id, e) < 0 || store_token_remove(s, id, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (auth_descends(list[i].id, id) && store_token_remove(s, list[i].id, e) < 0)
            return -1;
    return 0;
}

static int apply_revoke(struct request *rq, struct change *ch, struct err *e)
{
    return remove_with_sessions(ch->store, rq->match.params[0], e);
}

static void drop_revoked(struct request *rq)
{
    auth_drop(rq->api->auth, rq->match.params[0]);
}

static void token_revoked(struct request *rq)
{
    reply_empty(rq, 204);
}

void route_token_revoke(struct request *rq)
{
    char object[80];
    snprintf(object, sizeof object, "token/%.63s", rq->match.params[0]);
    rq->command.recovery = true; /* a backup brings back what was revoked after it was made */
    rq->committed = drop_revoked;
    request_change(rq, "token.revoke", object, apply_revoke, token_revoked);
}

/* ---- sessions -----------------------------------------------------------------------------------------------------
 */

static json_t *whoami(const struct token *t)
{
    return json_pack("{s:s, s:s, s:o}", "role", token_role_names[t->role], "name", t->name, "expires_at",
                     time_or_null(t->expires_ms));
}

void route_whoami(struct request *rq)
{
    reply_json(rq, 200, whoami(&rq->who));
}

static bool person(const struct token *t)
{
    return t->role == TOKEN_VIEWER || t->role == TOKEN_OPERATOR || t->role == TOKEN_ADMIN;
}

/* By a token, which is no session, or by a code that stands for who made it, while that lives. */
static int find_signer(struct auth *a, const char *token, const char *code, struct token *who, struct err *e)
{
    int64_t wall_ms = time_wall_ms();
    if (*token ? auth_find(a, token, wall_ms, who, e) < 0 : auth_code_take(a, code, wall_ms, who, e) < 0)
        return -1;
    bool good = *token ? !auth_is_session(who->id) : auth_alive(a, who->id, wall_ms);
    return good && person(who) ? 0 : err_set(e, ERR_UNAUTHENTICATED, "the token or code is wrong, used or expired");
}

static int take_sign_in(struct request *rq, struct token *who, struct err *e)
{
    char token[SECRET_SIZE + 1] = "", code[SECRET_SIZE + 1] = "";
    int64_t now_ms = time_monotonic_ms();
    const struct json_field fields[] = {
        { "token", JSON_KIND_STRING, .out = token, .size = sizeof token },
        { "code", JSON_KIND_STRING, .out = code, .size = sizeof code },
    };
    if (!rq->body)
        return err_set(e, ERR_BODY_INVALID, "an object with token or code is needed");
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    if (!token[0] == !code[0])
        return err_field(e, ERR_FIELD_MISSING, "token", "either token or code is needed");
    if (!auth_may_try(rq->api->auth, rq->network, now_ms))
        return err_set(e, ERR_TOO_MANY, "too many failed sign-ins from this address; wait a minute");
    int rc = find_signer(rq->api->auth, token, code, who, e);
    explicit_bzero(token, sizeof token);
    explicit_bzero(code, sizeof code);
    if (rc < 0 && e->code == ERR_UNAUTHENTICATED) /* another error: nobody knows whether it was right */
        auth_failed(rq->api->auth, rq->network, now_ms);
    return rc;
}

/* The token that 'who' is or, of a session, that it was made from. */
static const char *maker_of(const struct token *who)
{
    const char *maker = auth_is_session(who->id) ? strstr(who->id, "-tok-") : NULL;
    return maker ? maker + 1 : who->id;
}

static int new_session(struct fresh *f, const struct token *who, struct err *e)
{
    char prefix[ID_SIZE];
    struct token *t = &f->token;
    *t = (struct token){ .role = who->role, .created_ms = time_wall_ms() };
    memcpy(t->name, who->name, sizeof t->name);
    t->expires_ms = t->created_ms + AUTH_SESSION_MS;
    if (who->expires_ms && who->expires_ms < t->expires_ms)
        t->expires_ms = who->expires_ms;
    if (secret_new(AUTH_SESSION_PREFIX, 6, prefix, sizeof prefix, e) < 0)
        return -1;
    if ((size_t)snprintf(t->id, sizeof t->id, "%s-%s", prefix, maker_of(who)) >= sizeof t->id)
        return err_set(e, ERR_INTERNAL, "the token's id is too long");
    if (secret_new("mls_", 32, f->secret, sizeof f->secret, e) < 0)
        return -1;
    return secret_hash(f->secret, strlen(f->secret), t->hash, e);
}

/* What it comes from may have been revoked since it was looked at. */
static int still_there(const struct token *list, size_t n, const char *id, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].id, id) == 0)
            return 0;
    return err_set(e, ERR_UNAUTHENTICATED, "the token was revoked");
}

/* Old sessions go when a new one comes. */
static int apply_sign_in(struct request *rq, struct change *ch, struct err *e)
{
    struct fresh *f = rq->data;
    size_t n = 0;
    if (store_tokens(ch->store, &f->ends, &n, e) < 0 || still_there(f->ends, n, rq->who.id, e) < 0)
        return -1;
    f->n_ends = auth_session_ends(f->ends, n, maker_of(&rq->who), time_wall_ms());
    for (size_t i = 0; i < f->n_ends; i++)
        if (store_token_remove(ch->store, f->ends[i].id, e) < 0)
            return -1;
    return apply_add(rq, ch, e);
}

static void signed_in(struct request *rq)
{
    struct fresh *f = rq->data;
    int64_t age_s = (f->token.expires_ms - time_wall_ms()) / 1000;
    if (rq->rc < 0) {
        reply_err(rq, &rq->err);
        return;
    }
    reply_header(rq, "Set-Cookie", "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld", COOKIE_NAME, f->secret,
                 (long long)(age_s > 0 ? age_s : 0));
    reply_json(rq, 201, whoami(&f->token));
}

void route_sign_in(struct request *rq)
{
    struct token who;
    struct err e;
    struct fresh *f = fresh_of(rq, &e);
    if (!f || access_same_origin(rq, false, &e) < 0 || take_sign_in(rq, &who, &e) < 0 || new_session(f, &who, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    rq->who = who; /* for the audit row */
    rq->signed_in = true;
    rq->command.recovery = true; /* an operator has to get in to adopt */
    rq->committed = put_fresh;
    request_change(rq, "session.create", f->token.id, apply_sign_in, signed_in);
}

static int apply_sign_out(struct request *rq, struct change *ch, struct err *e)
{
    return store_token_remove(ch->store, rq->who.id, e);
}

static void drop_session(struct request *rq)
{
    auth_drop(rq->api->auth, rq->who.id);
}

static void signed_out(struct request *rq)
{
    reply_header(rq, "Set-Cookie", "%s=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", COOKIE_NAME);
    reply_empty(rq, 204);
}

void route_sign_out(struct request *rq)
{
    struct err e;
    if (auth_is_session(rq->who.id)) {
        rq->command.recovery = true;
        rq->committed = drop_session;
        request_change(rq, "session.delete", rq->who.id, apply_sign_out, signed_out);
        return;
    }
    (void)!err_set(&e, ERR_CONFLICT, "a token is no session; revoke it instead");
    reply_err(rq, &e);
}

/* A code stands for its maker until it is used; nothing of it is stored, so there is no change, only its audit row. */
static int apply_nothing(struct request *rq, struct change *ch, struct err *e)
{
    (void)rq;
    (void)ch;
    (void)e;
    return 0;
}

static void code_made(struct request *rq)
{
    char code[SECRET_SIZE];
    int64_t wall_ms = time_wall_ms();
    struct err e;
    if (secret_new("mlc_", 16, code, sizeof code, &e) < 0 ||
        auth_code_add(rq->api->auth, code, &rq->who, wall_ms, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    reply_json(rq, 201, json_pack("{s:s, s:o}", "code", code, "expires_at", json_time(wall_ms + AUTH_CODE_MS)));
    explicit_bzero(code, sizeof code);
}

void route_code(struct request *rq)
{
    rq->command.recovery = true;
    request_change(rq, "session.code", rq->who.id, apply_nothing, code_made);
}
