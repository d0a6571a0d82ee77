/* route_attachment_list.c - GET /v1/attachments: live ones by id, then ended ones, newest first.
 *
 * The cursor is "live.ID" or "ended.SEQUENCE".  A page that the live ones do not fill goes on in the history. */
#include "api/context.h"
#include "api/routes.h"
#include "attachment_json.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_BIT(state) (1u << (state))
#define ENDED (STATE_BIT(ATT_DETACHED) | STATE_BIT(ATT_FAILED) | STATE_BIT(ATT_LOST))
#define ALL (STATE_BIT(ATT_LOST + 1) - 1)
#define LIVE (ALL & ~(STATE_BIT(ATT_DETACHED) | STATE_BIT(ATT_FAILED)))

struct filter { /* rq->data */
    unsigned states;
    bool history; /* ended ones are asked for */
    const char *node, *compute_node, *donor;
    const char *after_id; /* NULL: from the first */
    uint64_t before;      /* of the history; 0: from the newest */
    bool skip_live;
};

static int take_state(struct filter *f, const char *name, size_t len, struct err *e)
{
    if (len == 4 && memcmp(name, "live", 4) == 0) {
        f->states |= LIVE;
        return 0;
    }
    for (unsigned s = 0; s <= ATT_LOST; s++)
        if (strlen(attachment_state_names[s]) == len && memcmp(attachment_state_names[s], name, len) == 0) {
            f->states |= STATE_BIT(s);
            f->history |= (STATE_BIT(s) & ENDED) != 0;
            return 0;
        }
    return err_field(e, ERR_FIELD_INVALID, "state", "%.*s is not a state", (int)(len < 40 ? len : 40), name);
}

static int take_states(struct filter *f, const char *list, struct err *e)
{
    if (!list) {
        f->states = ALL;
        f->history = true;
        return 0;
    }
    while (*list) {
        size_t len = strcspn(list, ",");
        if (take_state(f, list, len, e) < 0)
            return -1;
        list += len + (list[len] == ',');
    }
    return 0;
}

static int take_cursor(struct filter *f, const char *cursor, struct err *e)
{
    struct err ignored;
    if (!cursor)
        return 0;
    if (strncmp(cursor, "live.", 5) == 0 && id_valid(cursor + 5)) {
        f->after_id = cursor + 5;
        return 0;
    }
    f->skip_live = true;
    if (strncmp(cursor, "ended.", 6) == 0 && units_parse_u64(cursor + 6, &f->before, &ignored) == 0)
        return 0;
    return err_field(e, ERR_FIELD_INVALID, "cursor", "the cursor is none that this list gave");
}

static int take_filter(struct request *rq, struct err *e)
{
    struct filter *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    rq->data = f;
    rq->data_free = free;
    f->node = request_query(rq, "node");
    f->compute_node = request_query(rq, "compute_node");
    f->donor = request_query(rq, "donor");
    if (request_limit(rq, &rq->limit, e) < 0 || take_states(f, request_query(rq, "state"), e) < 0)
        return -1;
    return take_cursor(f, request_query(rq, "cursor"), e);
}

static bool named(const struct model *m, uint32_t node, const char *name)
{
    const struct node *n = model_node(m, node);
    return !name || (n && strcmp(n->name, name) == 0);
}

static bool fits(const struct model *m, const struct attachment *a, const struct filter *f)
{
    if (!(f->states & STATE_BIT(a->state)) || (f->after_id && strcmp(a->id, f->after_id) <= 0))
        return false;
    return named(m, a->compute_node, f->compute_node) && named(m, a->donor, f->donor) &&
           (!f->node || named(m, a->compute_node, f->node) || named(m, a->donor, f->node));
}

static int compare_ids(const void *a, const void *b)
{
    const struct attachment *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* Up to the limit; 'next' gets the cursor when there are more. */
static json_t *list_live(const struct model *m, const struct filter *f, unsigned limit, char next[ID_SIZE + 8])
{
    uint32_t count = model_count(m, MODEL_ATTACHMENT);
    const struct attachment **list = calloc(count ? count : 1, sizeof(struct attachment *));
    json_t *items = json_array();
    size_t n = 0;
    for (uint32_t i = 0; list && i < count; i++)
        if (model_attachment(m, i) && fits(m, model_attachment(m, i), f))
            list[n++] = model_attachment(m, i);
    if (list)
        qsort(list, n, sizeof *list, compare_ids);
    for (size_t i = 0; list && i < n && i < limit; i++)
        json_array_append_new(items, attachment_json(m, list[i]));
    if (list && n > limit)
        snprintf(next, ID_SIZE + 8, "live.%s", list[limit - 1]->id);
    free(list);
    return items;
}

static bool state_wanted(const struct filter *f, const json_t *item)
{
    const char *state = json_string_value(json_object_get(item, "state"));
    for (unsigned s = 0; state && s <= ATT_LOST; s++)
        if (strcmp(attachment_state_names[s], state) == 0)
            return f->states & STATE_BIT(s);
    return false;
}

/* One state is the database's to choose; of several, the others are left out here. */
static const char *single_ended_state(const struct filter *f)
{
    for (unsigned s = 0; s <= ATT_LOST; s++)
        if ((f->states & ENDED) == STATE_BIT(s))
            return attachment_state_names[s];
    return NULL;
}

static void query_list(struct request *rq, struct store_reader *r)
{
    const struct filter *f = rq->data;
    json_t *list = NULL, *item;
    size_t i;
    struct ended_query q = { .state = single_ended_state(f),
                             .node = f->node,
                             .compute_node = f->compute_node,
                             .donor = f->donor,
                             .before = f->before,
                             .limit = rq->limit - (unsigned)json_array_size(rq->answer) };
    rq->rc = store_reader_ended(r, &q, &list, &rq->number, &rq->err);
    json_array_foreach(list, i, item) if (state_wanted(f, item)) json_array_append(rq->answer, item);
    json_decref(list);
}

static void answer_list(struct request *rq)
{
    char next[40] = "";
    if (rq->number)
        snprintf(next, sizeof next, "ended.%llu", (unsigned long long)rq->number);
    reply_list(rq, TAKE(rq->answer), next[0] ? next : NULL, writer_published_event(rq->api->writer));
}

void route_attachments(struct request *rq)
{
    struct err e;
    char next[ID_SIZE + 8] = "";
    const struct filter *f;
    if (take_filter(rq, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    f = rq->data;
    uint64_t as_of = writer_published_event(rq->api->writer);
    rq->answer = f->skip_live ? json_array() : list_live(writer_read_lock(rq->api->writer), f, rq->limit, next);
    if (!f->skip_live)
        writer_read_unlock(rq->api->writer);
    if (next[0] || !f->history)
        reply_list(rq, TAKE(rq->answer), next[0] ? next : NULL, as_of);
    else if (json_array_size(rq->answer) < rq->limit)
        request_history(rq, query_list, answer_list);
    else
        reply_list(rq, TAKE(rq->answer), "ended.0", as_of);
}
