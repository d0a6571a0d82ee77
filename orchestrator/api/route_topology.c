/* route_topology.c - /v1/topology, /v1/links, /v1/circuits: the cabling, what it carries, and who changes it. */
#include "api/context.h"
#include "api/routes.h"
#include "api/views.h"
#include "core/lifecycle.h"
#include "rackfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void route_topology(struct request *rq)
{
    uint64_t declared = 0;
    struct err e;
    json_t *j = NULL;
    if (request_number(rq, "declared", 1, &declared, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    const struct model *m = writer_read_lock(rq->api->writer);
    int rc = view_topology_tag(m, rq->reply.etag_base, sizeof rq->reply.etag_base, &e);
    if (rc == 0)
        j = declared ? view_declared(m) : view_topology(m);
    writer_read_unlock(rq->api->writer);
    if (rc < 0)
        reply_err(rq, &e);
    else
        reply_json(rq, 200, j);
}

static void free_rack(void *data)
{
    rack_done(data);
    free(data);
}

static int apply_declare(struct request *rq, struct change *ch, struct err *e)
{
    char tag[64];
    if (view_topology_tag(ch->model, tag, sizeof tag, e) < 0 || request_if_match(rq, tag, true, e) < 0)
        return -1;
    return model_declare(ch->model, rq->data, e);
}

static int decode_cabling(struct request *rq, struct err *e)
{
    if (!rq->if_match)
        return err_set(e, ERR_PRECONDITION_REQUIRED, "this change needs an If-Match header");
    if (!rq->body)
        return err_set(e, ERR_BODY_INVALID, "an object with switches and links is needed");
    rq->data = calloc(1, sizeof(struct rack));
    if (!rq->data)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    rq->data_free = free;
    if (rack_decode_cabling(rq->data, rq->body, e) < 0)
        return -1;
    rq->data_free = free_rack;
    return 0;
}

void route_topology_put(struct request *rq)
{
    struct err e;
    if (decode_cabling(rq, &e) < 0)
        reply_err(rq, &e);
    else
        request_change(rq, "topology.declare", "topology", apply_declare, route_topology);
}

/* ---- links --------------------------------------------------------------------------------------------------------
 */

static int find_port(const struct model *m, const char *text, const char *field, uint32_t *out, struct err *e)
{
    struct port_name name;
    struct err why;
    if (port_name_parse(text, &name, &why) < 0)
        return err_field(e, ERR_FIELD_INVALID, field, "%.60s is not a port's name", text);
    *out = model_find_port(m, &name);
    return *out == NONE ? err_field(e, ERR_NOT_FOUND, field, "%s: there is no port %.100s", field, text) : 0;
}

static int apply_link(struct request *rq, struct change *ch, struct err *e)
{
    char a[PORT_NAME_SIZE] = "", b[PORT_NAME_SIZE] = "";
    bool down = false;
    uint32_t port_a, port_b;
    const struct json_field fields[] = {
        { "a", JSON_KIND_STRING, .required = true, .out = a, .size = sizeof a },
        { "b", JSON_KIND_STRING, .required = true, .out = b, .size = sizeof b },
        { "down", JSON_KIND_BOOL, .required = true, .out = &down },
    };
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0 || find_port(ch->model, a, "a", &port_a, e) < 0 ||
        find_port(ch->model, b, "b", &port_b, e) < 0)
        return -1;
    uint32_t link = model_find_link(ch->model, port_a, port_b);
    if (link == NONE)
        return err_set(e, ERR_NOT_FOUND, "no link joins %.80s and %.80s", a, b);
    model_set_link_down(ch->model, link, down);
    rq->answer = json_pack("{s:s, s:s, s:b}", "a", a, "b", b, "down", down);
    return 0;
}

static void link_changed(struct request *rq)
{
    reply_json(rq, 200, TAKE(rq->answer));
}

void route_link_patch(struct request *rq)
{
    struct err e;
    if (!rq->body) {
        (void)!err_set(&e, ERR_BODY_INVALID, "an object with a, b and down is needed");
        reply_err(rq, &e);
        return;
    }
    request_audit_detail(rq, rq->body); /* which one */
    request_change(rq, "link.patch", "link", apply_link, link_changed);
}

/* ---- an operator's word that a switch is off ------------------------------------------------------------------------
 */

static int apply_switch_fence(struct request *rq, struct change *ch, struct err *e)
{
    char name[NAME_SIZE] = "";
    const struct json_field fields[] = { { "name", JSON_KIND_NAME, .required = true, .out = name } };
    if (json_decode(rq->body, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    uint32_t at = model_find_switch(ch->model, rq->match.params[0]);
    if (at == NONE)
        return err_set(e, ERR_NOT_FOUND, "no switch %.63s", rq->match.params[0]);
    if (strcmp(name, rq->match.params[0]) != 0)
        return err_field(e, ERR_FIELD_INVALID, "name", "the name in the body is not that of switch %.63s",
                         rq->match.params[0]);
    return lifecycle_fence_switch(ch->model, at, e);
}

void route_switch_fence(struct request *rq)
{
    struct err e;
    char object[NAME_SIZE + 80];
    if (!rq->body) {
        (void)!err_set(&e, ERR_BODY_INVALID, "an object with the switch's name once more is needed");
        reply_err(rq, &e);
        return;
    }
    snprintf(object, sizeof object, "switch/%.63s", rq->match.params[0]);
    request_audit_detail(rq, rq->body);
    request_change(rq, "switch.fence", object, apply_switch_fence, route_topology);
}

/* ---- circuits -----------------------------------------------------------------------------------------------------
 */

static int compare_ids(const void *a, const void *b)
{
    const struct circuit *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static json_t *list_circuits(const struct model *m, const char *after, unsigned limit, char next[ID_SIZE])
{
    uint32_t count = model_count(m, MODEL_CIRCUIT);
    const struct circuit **list = calloc(count ? count : 1, sizeof(struct circuit *));
    json_t *items = json_array();
    size_t n = 0;
    for (uint32_t i = 0; list && i < count; i++)
        if (model_circuit(m, i) && (!after || strcmp(model_circuit(m, i)->id, after) > 0))
            list[n++] = model_circuit(m, i);
    if (list)
        qsort(list, n, sizeof *list, compare_ids);
    for (size_t i = 0; list && i < n && i < limit; i++)
        json_array_append_new(items, view_circuit(m, list[i]));
    if (list && n > limit)
        memcpy(next, list[limit - 1]->id, ID_SIZE);
    free(list);
    return items;
}

#define CURSOR "circuit."

void route_circuits(struct request *rq)
{
    unsigned limit;
    const char *after = NULL;
    char next[ID_SIZE] = "", cursor[ID_SIZE + 8];
    struct err e;
    if (request_limit(rq, &limit, &e) < 0 || request_cursor(rq, CURSOR, &after, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    uint64_t as_of = writer_published_event(rq->api->writer);
    json_t *items = list_circuits(writer_read_lock(rq->api->writer), after, limit, next);
    writer_read_unlock(rq->api->writer);
    snprintf(cursor, sizeof cursor, CURSOR "%s", next);
    reply_list(rq, items, next[0] ? cursor : NULL, as_of);
}

void route_circuit(struct request *rq)
{
    const struct model *m = writer_read_lock(rq->api->writer);
    const struct circuit *c = model_circuit(m, model_find_circuit(m, rq->match.params[0]));
    json_t *j = NULL;
    bool found = c != NULL;
    struct err e;
    if (found) {
        reply_etag(rq, c->id, c->row.changed);
        j = view_circuit(m, c);
    }
    writer_read_unlock(rq->api->writer);
    if (!found) {
        (void)!err_set(&e, ERR_NOT_FOUND, "no circuit %.63s", rq->match.params[0]);
        reply_err(rq, &e);
        return;
    }
    reply_json(rq, 200, j);
}
