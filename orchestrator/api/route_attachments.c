/* route_attachments.c - /v1/attachments: borrow memory, give it back, look at one.  The list is in
 * route_attachment_list.c.
 *
 * Live attachments are in the model, ended ones in the history.  A change is answered after its commit; with ?wait=
 * when the attachment has settled or the time is over, whichever is first. */
#include "api/context.h"
#include "api/routes.h"
#include "attachment_json.h"
#include "core/lifecycle.h"
#include "placement_json.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MAX_S 60
#define KEY_MAX 255
#define TIMELINE_MAX 1000

/* ---- answers ------------------------------------------------------------------------------------------------------
 */

static const char *wanted_id(const struct request *rq)
{
    return rq->object[0] ? rq->object : rq->match.params[0];
}

/* The live attachment, as published; NULL when it is not live. */
static json_t *read_live(struct request *rq, enum attachment_state *state)
{
    const struct model *m = writer_read_lock(rq->api->writer);
    const struct attachment *a = model_attachment(m, model_find_attachment(m, wanted_id(rq)));
    json_t *j = a ? attachment_json(m, a) : NULL;
    if (a) {
        *state = a->state;
        reply_etag(rq, a->id, a->row.changed);
    }
    writer_read_unlock(rq->api->writer);
    return j;
}

static void query_ended(struct request *rq, struct store_reader *r)
{
    json_t *list = NULL;
    uint64_t next = 0;
    struct ended_query q = { .id = wanted_id(rq), .limit = 1 };
    rq->rc = store_reader_ended(r, &q, &list, &next, &rq->err);
    if (rq->rc == 0 && json_array_size(list) > 0)
        rq->answer = json_incref(json_array_get(list, 0));
    else if (rq->rc == 0)
        rq->rc = err_set(&rq->err, ERR_NOT_FOUND, "no attachment %.63s", wanted_id(rq));
    json_decref(list);
}

static void answer_ended(struct request *rq)
{
    reply_json(rq, strcmp(rq->method, "POST") == 0 ? 201 : 200, TAKE(rq->answer));
}

/* After a change or a wait.  A request for memory: 201 when it is settled, 202 when it is under way.  A detach: 200
 * says that the memory is given back, so a stuck or lost one that holds something is 202. */
static void answer_change(struct request *rq)
{
    enum attachment_state state = ATT_PENDING;
    json_t *j = read_live(rq, &state);
    if (!j) {
        request_history(rq, query_ended, answer_ended);
        return;
    }
    bool post = strcmp(rq->method, "POST") == 0;
    bool holds = state != ATT_LOST || json_array_size(json_object_get(j, "holds")) > 0;
    bool under_way = post ? state == ATT_PENDING : state != ATT_DETACHED && state != ATT_FAILED && holds;
    reply_json(rq, under_way ? 202 : post ? 201 : 200, j);
}

static bool attach_settled(struct request *rq, const struct model *m)
{
    const struct attachment *a = model_attachment(m, model_find_attachment(m, wanted_id(rq)));
    return !a || a->state != ATT_PENDING;
}

static bool detach_settled(struct request *rq, const struct model *m)
{
    const struct attachment *a = model_attachment(m, model_find_attachment(m, wanted_id(rq)));
    return !a || a->state != ATT_DETACHING;
}

static void answer_or_wait(struct request *rq, bool (*settled)(struct request *rq, const struct model *m))
{
    if (rq->deadline_ms > 0)
        request_wait(rq, settled, rq->deadline_ms, answer_change);
    else
        answer_change(rq);
}

/* ?wait=SECONDS to a deadline; 0 without. */
static int take_wait(struct request *rq, struct err *e)
{
    uint64_t wait_s = 0;
    if (request_number(rq, "wait", WAIT_MAX_S, &wait_s, e) < 0)
        return -1;
    rq->deadline_ms = wait_s ? time_monotonic_ms() + (int64_t)wait_s * 1000 : 0;
    return 0;
}

/* ---- attach -------------------------------------------------------------------------------------------------------
 */

struct attach { /* rq->data */
    char id[ID_SIZE], key[KEY_MAX + 1], body_hash[HASH_SIZE];
};

/* The body as JSON, whatever its spaces and the order of its fields. */
static int hash_body(const struct request *rq, char out[HASH_SIZE], struct err *e)
{
    CLEANUP(cleanup_free) char *text = json_dumps(rq->body, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    return secret_hash(text, strlen(text), out, e);
}

static int take_key(struct request *rq, struct attach *at, struct err *e)
{
    const char *key = request_header(rq, "Idempotency-Key");
    if (!key)
        return 0;
    if (!*key || strlen(key) > KEY_MAX || !utf8_valid(key, strlen(key)))
        return err_set(e, ERR_BAD_REQUEST, "Idempotency-Key has to be 1 to %d characters", KEY_MAX);
    memcpy(at->key, key, strlen(key) + 1);
    return hash_body(rq, at->body_hash, e);
}

/* Whether the key was used before: '*replay'; ERR_KEY_REUSED when for another body. */
static int look_up_key(struct request *rq, struct change *ch, bool *replay, struct err *e)
{
    const struct attach *at = rq->data;
    struct idem have;
    *replay = false;
    if (!at->key[0])
        return 0;
    if (store_idem_find(ch->store, rq->command.audit.actor, at->key, &have, replay, e) < 0)
        return -1;
    if (*replay && strcmp(have.body_hash, at->body_hash) != 0)
        return err_set(e, ERR_KEY_REUSED, "this Idempotency-Key came with another body before");
    if (*replay)
        memcpy(rq->object, have.attachment, sizeof rq->object);
    return 0;
}

static int remember_key(struct request *rq, struct change *ch, struct err *e)
{
    const struct attach *at = rq->data;
    struct idem i = { .created_ms = time_wall_ms() };
    if (!at->key[0])
        return 0;
    memcpy(i.actor, rq->command.audit.actor, sizeof i.actor);
    memcpy(i.key, at->key, strlen(at->key) + 1);
    memcpy(i.body_hash, at->body_hash, sizeof i.body_hash);
    memcpy(i.attachment, at->id, sizeof i.attachment);
    return store_idem_add(ch->store, &i, e);
}

/* Why nobody could: every candidate with its reason, for the problem document. */
static void explain(struct request *rq, struct change *ch, const struct place_request *r)
{
    struct placement p;
    struct err ignored;
    if (placement_rank(&p, ch->model, ch->topology, r, &ignored) < 0)
        return;
    rq->extra = json_pack("{s:o, s:o}", "candidates", placement_candidates_json(ch->model, &p), "size_bytes",
                          json_u64(p.size_bytes));
    placement_done(&p);
}

static void nothing_changed(struct request *rq)
{
    rq->command.audit.action[0] = '\0';
    rq->flag = true;
}

static int apply_attach(struct request *rq, struct change *ch, struct err *e)
{
    const struct attach *at = rq->data;
    struct place_request r;
    bool replay;
    uint32_t index;
    if (look_up_key(rq, ch, &replay, e) < 0)
        return -1;
    if (replay) {
        nothing_changed(rq);
        return 0;
    }
    if (placement_request_decode(ch->model, rq->body, &r, NULL, e) < 0)
        return -1;
    if (lifecycle_attach(ch->model, ch->topology, &r, at->id, &index, e) < 0) {
        if (e->code == ERR_NO_DONOR)
            explain(rq, ch, &r);
        return -1;
    }
    memcpy(rq->object, at->id, sizeof rq->object);
    return remember_key(rq, ch, e);
}

static void attach_placed(struct request *rq)
{
    reply_header(rq, "Location", "/v1/attachments/%s", rq->object);
    if (rq->flag)
        reply_header(rq, "Idempotency-Replayed", "true");
    answer_or_wait(rq, attach_settled);
}

static int take_attach(struct request *rq, struct err *e)
{
    struct attach *at = calloc(1, sizeof *at);
    if (!at)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    rq->data = at;
    rq->data_free = free;
    if (!rq->body)
        return err_set(e, ERR_BODY_INVALID, "an object with compute_node and size_bytes is needed");
    if (take_wait(rq, e) < 0 || take_key(rq, at, e) < 0)
        return -1;
    return secret_new("", 8, at->id, sizeof at->id, e);
}

void route_attach(struct request *rq)
{
    struct err e;
    char object[ID_SIZE + 16];
    if (take_attach(rq, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "attachment/%s", ((struct attach *)rq->data)->id);
    request_audit_detail(rq, rq->body);
    request_change(rq, "attachment.create", object, apply_attach, attach_placed);
}

/* ---- detach, retry, cancel ----------------------------------------------------------------------------------------
 */

static int find_matching(struct request *rq, const struct model *m, uint32_t *at, struct err *e)
{
    char base[ID_SIZE + 24];
    *at = model_find_attachment(m, rq->match.params[0]);
    const struct attachment *a = model_attachment(m, *at);
    if (!a)
        return err_set(e, ERR_NOT_FOUND, "no attachment %.63s", rq->match.params[0]);
    snprintf(base, sizeof base, "%s-%llu", a->id, (unsigned long long)a->row.changed);
    return request_if_match(rq, base, false, e);
}

static int apply_detach(struct request *rq, struct change *ch, struct err *e)
{
    uint32_t at = model_find_attachment(ch->model, rq->match.params[0]);
    if (at == NONE) { /* ended, or never was: the history knows */
        nothing_changed(rq);
        return 0;
    }
    if (find_matching(rq, ch->model, &at, e) < 0)
        return -1;
    lifecycle_detach(ch->model, at);
    return 0;
}

static void detach_begun(struct request *rq)
{
    answer_or_wait(rq, detach_settled);
}

static void change_one(struct request *rq, const char *action,
                       int (*apply)(struct request *rq, struct change *ch, struct err *e),
                       void (*next)(struct request *rq))
{
    struct err e;
    char object[80];
    if (take_wait(rq, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "attachment/%.63s", rq->match.params[0]);
    request_change(rq, action, object, apply, next);
}

void route_detach(struct request *rq)
{
    change_one(rq, "attachment.delete", apply_detach, detach_begun);
}

/* One that has ended is a conflict, its detach is too late to be given up; one that never was is unknown. */
static void query_gone(struct request *rq, struct store_reader *r)
{
    query_ended(rq, r);
    if (rq->rc < 0)
        return;
    const char *state = json_string_value(json_object_get(rq->answer, "state"));
    if (rq->match.route->handle == route_cancel && state && strcmp(state, attachment_state_names[ATT_DETACHED]) == 0)
        rq->rc = err_set(&rq->err, ERR_TOO_LATE, "the memory of attachment %.39s is given back", wanted_id(rq));
    else
        rq->rc = err_set(&rq->err, ERR_CONFLICT, "attachment %.39s has ended", wanted_id(rq));
}

static void answer_steered(struct request *rq)
{
    enum attachment_state state;
    if (rq->flag) {
        request_history(rq, query_gone, answer_ended);
        return;
    }
    json_t *j = read_live(rq, &state);
    if (j)
        reply_json(rq, 202, j);
    else
        request_history(rq, query_ended, answer_ended);
}

static int apply_retry(struct request *rq, struct change *ch, struct err *e)
{
    uint32_t at = model_find_attachment(ch->model, rq->match.params[0]);
    if (at == NONE) {
        nothing_changed(rq);
        return 0;
    }
    return find_matching(rq, ch->model, &at, e) < 0 ? -1 : lifecycle_retry(ch->model, at, e);
}

static int apply_cancel(struct request *rq, struct change *ch, struct err *e)
{
    uint32_t at = model_find_attachment(ch->model, rq->match.params[0]);
    if (at == NONE) {
        nothing_changed(rq);
        return 0;
    }
    return find_matching(rq, ch->model, &at, e) < 0 ? -1 : lifecycle_cancel(ch->model, at, e);
}

void route_retry(struct request *rq)
{
    change_one(rq, "attachment.retry", apply_retry, answer_steered);
}

void route_cancel(struct request *rq)
{
    change_one(rq, "attachment.cancel", apply_cancel, answer_steered);
}

/* ---- one attachment with its timeline -----------------------------------------------------------------------------
 */

static json_t *timeline_entry(const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    bool step = type && strcmp(type, "attachment.step") == 0;
    return json_pack("{s:O, s:O, s:O, s:O, s:O, s:o}", "at", json_object_get(event, "at"), "type",
                     json_object_get(event, "type"), "from", json_object_get(event, "from"), "to",
                     json_object_get(event, "to"), "reason", json_object_get(event, "reason"), "step",
                     step ? json_incref(json_object_get(event, "to")) : json_null());
}

static void query_timeline(struct request *rq, struct store_reader *r)
{
    char object[NAME_SIZE + 16];
    json_t *events = NULL, *event, *timeline;
    uint64_t oldest = 0;
    size_t i;
    struct event_query q = { .object = object, .limit = TIMELINE_MAX };
    if (!rq->answer)
        query_ended(rq, r);
    if (rq->rc < 0)
        return;
    snprintf(object, sizeof object, "attachment/%.63s", wanted_id(rq));
    rq->rc = store_reader_events(r, &q, &events, &oldest, &rq->err);
    timeline = json_array();
    json_array_foreach(events, i, event) json_array_append_new(timeline, timeline_entry(event));
    json_object_set_new(rq->answer, "timeline", timeline);
    json_decref(events);
}

static void answer_one(struct request *rq)
{
    reply_json(rq, 200, TAKE(rq->answer));
}

void route_attachment(struct request *rq)
{
    enum attachment_state state;
    rq->answer = read_live(rq, &state);
    request_history(rq, query_timeline, answer_one);
}
