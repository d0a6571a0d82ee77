/* route_nodes.c - /v1/nodes: what a node is, has, lends and borrows; cordon, head-room, labels; forgetting one. */
#include "api/context.h"
#include "api/routes.h"
#include "api/views.h"
#include "core/lifecycle.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *list_nodes(const struct model *m, const char *after, const char *state, unsigned limit,
                          const char **next)
{
    json_t *items = json_array();
    size_t n = 0;
    const struct node **list = view_nodes_after(m, after, state, &n);
    int64_t now_ms = time_monotonic_ms(), wall_ms = time_wall_ms();
    for (size_t i = 0; list && i < n && i < limit; i++)
        json_array_append_new(items, view_node(m, model_find_node(m, list[i]->name), now_ms, wall_ms));
    *next = list && n > limit ? list[limit - 1]->name : NULL;
    free(list);
    return items;
}

#define CURSOR "node."

static int take_state(const struct request *rq, const char **out, struct err *e)
{
    const char *state = request_query(rq, "state");
    bool known = !state;
    for (unsigned s = 0; s <= NODE_INCOMPATIBLE && !known; s++)
        known = strcmp(node_state_names[s], state) == 0;
    if (!known)
        return err_field(e, ERR_FIELD_INVALID, "state", "%.40s is not a state", state);
    *out = state;
    return 0;
}

void route_nodes(struct request *rq)
{
    unsigned limit;
    struct err e;
    char next[NAME_SIZE + 8] = "";
    const char *more, *after = NULL, *state = NULL;
    if (request_limit(rq, &limit, &e) < 0 || request_cursor(rq, CURSOR, &after, &e) < 0 ||
        take_state(rq, &state, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    uint64_t as_of = writer_published_event(rq->api->writer);
    json_t *items = list_nodes(writer_read_lock(rq->api->writer), after, state, limit, &more);
    if (more)
        snprintf(next, sizeof next, CURSOR "%s", more);
    writer_read_unlock(rq->api->writer);
    reply_list(rq, items, next[0] ? next : NULL, as_of);
}

static void node_unknown(struct request *rq)
{
    struct err e;
    (void)!err_set(&e, ERR_NODE_UNKNOWN, "no node %.63s", rq->match.params[0]);
    reply_err(rq, &e);
}

void route_node(struct request *rq)
{
    const struct model *m = writer_read_lock(rq->api->writer);
    uint32_t at = model_find_node(m, rq->match.params[0]);
    json_t *j = NULL;
    if (at != NONE) {
        reply_etag(rq, model_node(m, at)->name, model_node(m, at)->row.changed);
        j = view_node(m, at, time_monotonic_ms(), time_wall_ms());
    }
    writer_read_unlock(rq->api->writer);
    if (at == NONE)
        node_unknown(rq);
    else
        reply_json(rq, 200, j);
}

/* ---- changes; writer thread ---------------------------------------------------------------------------------------
 */

static int find_matching(struct request *rq, const struct model *m, uint32_t *at, struct err *e)
{
    char base[NAME_SIZE + 24];
    *at = model_find_node(m, rq->match.params[0]);
    if (*at == NONE)
        return err_set(e, ERR_NODE_UNKNOWN, "no node %.63s", rq->match.params[0]);
    snprintf(base, sizeof base, "%s-%llu", model_node(m, *at)->name,
             (unsigned long long)model_node(m, *at)->row.changed);
    return request_if_match(rq, base, false, e);
}

/* Sets one label of the list, or takes it out of it when 'value' is null. */
static int merge_label(const char *key, const json_t *value, struct wire_label *list, size_t *n, struct err *e)
{
    char field[64];
    const char *text = json_string_value(value);
    size_t at = 0;
    if (!label_key_valid(key))
        return err_field(e, ERR_FIELD_INVALID, "labels", "a label's name is 1 to 39 letters, digits, '.', '_' or '-'");
    snprintf(field, sizeof field, "labels.%s", key);
    if (!json_is_null(value) && (!text || !label_valid(text)))
        return err_field(e, ERR_FIELD_INVALID, field,
                         "label %s has to be 1 to 63 printable characters, or null to remove it", key);
    while (at < *n && strcmp(list[at].key, key) != 0)
        at++;
    if (!text) {
        if (at < *n)
            list[at] = list[--*n];
        return 0;
    }
    if (at == WIRE_MAX_LABELS)
        return err_field(e, ERR_FIELD_INVALID, "labels", "more than %d labels", WIRE_MAX_LABELS);
    memcpy(list[at].key, key, strlen(key) + 1);
    memcpy(list[at].value, text, strlen(text) + 1);
    *n += at == *n;
    return 0;
}

/* A JSON merge patch of the node's labels. */
static int merge_labels(const struct node *node, const json_t *patch, struct wire_label *list, size_t *n, struct err *e)
{
    const char *key;
    json_t *value;
    *n = node->n_labels;
    for (size_t i = 0; i < *n; i++)
        list[i] = node->labels[i];
    json_object_foreach((json_t *)patch, key, value) if (merge_label(key, value, list, n, e) < 0) return -1;
    return 0;
}

/* From and to speak of the cordon, when that moved; the rest is in the reason. */
static void emit_changed(struct model *m, const struct node *n, bool was_cordoned, bool headroom, bool labels)
{
    static const char *const names[] = { "open", "cordoned" };
    char object[NAME_SIZE + 8], reason[UNITS_SIZE_MAX + 32] = "", size[UNITS_SIZE_MAX];
    bool moved = was_cordoned != n->cordoned;
    snprintf(object, sizeof object, "node/%s", n->name);
    if (headroom)
        snprintf(reason, sizeof reason, "head-room %s%s", units_format_size(n->headroom_bytes, size),
                 labels ? ", labels" : "");
    else if (labels)
        snprintf(reason, sizeof reason, "labels");
    model_emit(m, "node.changed", object, moved ? names[was_cordoned] : "", moved ? names[n->cordoned] : "", reason);
}

static int apply_patch(struct request *rq, struct change *ch, struct err *e)
{
    bool cordoned = false, has_cordoned, has_headroom, has_labels;
    uint64_t headroom = 0;
    const json_t *labels = NULL;
    struct wire_label list[WIRE_MAX_LABELS];
    size_t n_labels = 0;
    uint32_t at;
    const struct json_field fields[] = {
        { "cordoned", JSON_KIND_BOOL, .out = &cordoned, .present = &has_cordoned },
        { "headroom_bytes", JSON_KIND_U64, .out = &headroom, .present = &has_headroom },
        { "labels", JSON_KIND_OBJECT, .out = &labels, .present = &has_labels },
    };
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0 || find_matching(rq, ch->model, &at, e) < 0)
        return -1;
    if (has_labels && merge_labels(model_node(ch->model, at), labels, list, &n_labels, e) < 0)
        return -1;
    if (has_labels && model_set_labels(ch->model, at, list, n_labels, e) < 0)
        return -1;
    struct node *n = model_edit_node(ch->model, at);
    bool was = n->cordoned;
    n->cordoned = has_cordoned ? cordoned : n->cordoned;
    n->headroom_bytes = has_headroom ? headroom : n->headroom_bytes;
    n->labels_set |= has_labels;
    emit_changed(ch->model, n, was, has_headroom, has_labels);
    return 0;
}

void route_node_patch(struct request *rq)
{
    struct err e;
    char object[NAME_SIZE + 80];
    if (!rq->body) {
        (void)!err_set(&e, ERR_BODY_INVALID, "an object with what to change is needed");
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "node/%.63s", rq->match.params[0]);
    request_audit_detail(rq, rq->body);
    request_change(rq, "node.patch", object, apply_patch, route_node);
}

/* ---- fence: the only way past missing proof -----------------------------------------------------------------------
 */

static int apply_fence(struct request *rq, struct change *ch, struct err *e)
{
    char boot_id[ID_SIZE] = "";
    uint32_t at;
    const struct json_field fields[] = { { "boot_id", JSON_KIND_ID, .required = true, .out = boot_id } };
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0 || find_matching(rq, ch->model, &at, e) < 0)
        return -1;
    return lifecycle_fence(ch->model, at, boot_id, e);
}

void route_node_fence(struct request *rq)
{
    struct err e;
    char object[NAME_SIZE + 80];
    if (!rq->body) {
        (void)!err_set(&e, ERR_BODY_INVALID, "an object with boot_id is needed");
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "node/%.63s", rq->match.params[0]);
    request_audit_detail(rq, rq->body);
    request_change(rq, "node.fence", object, apply_fence, route_node);
}

/* The node's credentials go with it. */
static int forget_credentials(struct request *rq, struct store *s, struct err *e)
{
    CLEANUP(cleanup_free) struct token *list = NULL;
    size_t n = 0;
    if (store_tokens(s, &list, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (list[i].role == TOKEN_AGENT && strcmp(list[i].name, rq->match.params[0]) == 0 &&
            store_token_remove(s, list[i].id, e) < 0)
            return -1;
    return 0;
}

/* A node that reports would be enrolled again at once, without its cables. */
static int refuse_cabled(const struct model *m, const struct node *n, struct err *e)
{
    unsigned cables = 0;
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(m, n->adapters[i]);
        for (unsigned k = 0; a && k < a->n_ports; k++)
            cables += model_port(m, a->ports[k])->link != NONE;
    }
    if (n->state != NODE_READY || !cables)
        return 0;
    return err_set(e, ERR_CONFLICT,
                   "node %s reports, and would come back without its %u cables: stop its agent and wait until the node "
                   "is unreachable, or take the cables out of the topology",
                   n->name, cables);
}

static int apply_forget(struct request *rq, struct change *ch, struct err *e)
{
    uint32_t at;
    if (find_matching(rq, ch->model, &at, e) < 0 || refuse_cabled(ch->model, model_node(ch->model, at), e) < 0)
        return -1;
    uint32_t before = ch->model->tables[MODEL_LINK].n_live;
    if (model_forget_node(ch->model, at, e) < 0)
        return -1;
    rq->answer = json_pack("{s:s, s:I}", "name", rq->match.params[0], "links_dropped",
                           (json_int_t)(before - ch->model->tables[MODEL_LINK].n_live));
    return forget_credentials(rq, ch->store, e);
}

/* In the order of the commits: the node may register anew at once. */
static void drop_credentials(struct request *rq)
{
    auth_drop_agent(rq->api->auth, rq->match.params[0], "");
}

static void forgotten(struct request *rq)
{
    reply_json(rq, 200, TAKE(rq->answer));
}

void route_node_forget(struct request *rq)
{
    char object[NAME_SIZE + 80];
    snprintf(object, sizeof object, "node/%.63s", rq->match.params[0]);
    rq->committed = drop_credentials;
    request_change(rq, "node.forget", object, apply_forget, forgotten);
}
