/* offline.c - see offline.h.
 *
 * A model made from the rack file, every node ready, and the very placement code that the orchestrator runs. */
#include "offline.h"

#include "core/placement.h"
#include "json.h"
#include "offline_rack.h"
#include "placement_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct offline {
    struct model *m;
    struct topology *t;
    uint64_t n_requests; /* placement requests so far, bad ones too: a file of requests can name them beforehand */
    uint64_t line;
};

static void offline_done(struct offline *o)
{
    topology_free(o->t);
    model_free(o->m);
}

static int build(struct offline *o, const char *rack_path, struct err *e)
{
    CLEANUP(rack_done) struct rack rack = { 0 };
    return rack_load(&rack, rack_path, e) < 0 ? -1 : offline_rack(&o->m, &o->t, &rack, "offline", e);
}

/* ---- one line -------------------------------------------------------------------------------------------------------
 */

/* What a request would get.  It is looked up, while the ranking judges every donor: they have to agree in everything.
 */
static bool legs_same(const struct leg *a, const struct leg *b)
{
    return a->n_ports == b->n_ports && a->cost_ns == b->cost_ns &&
           memcmp(a->ports, b->ports, a->n_ports * sizeof *a->ports) == 0;
}

static bool reservations_same(const struct reservation *a, const struct reservation *b)
{
    return a->donor == b->donor && a->compute_adapter == b->compute_adapter && a->memory_adapter == b->memory_adapter &&
           a->size_bytes == b->size_bytes && a->cost_ns == b->cost_ns && a->channels == b->channels &&
           a->section == b->section && a->offset_bytes == b->offset_bytes && legs_same(&a->legs[0], &b->legs[0]) &&
           (a->channels == 1 || legs_same(&a->legs[1], &b->legs[1]));
}

static int decide(struct offline *o, const struct place_request *r, const struct placement *p, struct reservation *best,
                  struct err *e)
{
    struct err why = { 0 };
    bool chosen = placement_best(best, o->m, o->t, r, &why) == 0;
    if (!topology_misled(o->t) && chosen == (p->n_feasible > 0) &&
        (!chosen || reservations_same(best, &p->candidates[0].best)))
        return 0;
    return err_set(e, ERR_INTERNAL, "the decision (%s) and the ranking (%s) differ",
                   chosen ? model_node(o->m, best->donor)->name : why.detail,
                   p->n_feasible ? model_node(o->m, p->candidates[0].node)->name : "nobody");
}

static int commit(struct offline *o, const struct reservation *best, json_t *answer, struct err *e)
{
    struct reservation r = *best;
    char id[ID_SIZE];
    uint32_t at;
    snprintf(id, sizeof id, "r%" PRIu64, o->n_requests);
    r.id = id;
    if (model_reserve(o->m, &r, &at, e) < 0)
        return -1;
    if (json_object_set_new(answer, "reserved", json_u64(o->n_requests)) < 0 ||
        json_object_set_new(answer, "section", json_integer(r.section)) < 0 ||
        json_object_set_new(answer, "offset_bytes", json_u64(r.offset_bytes)) < 0)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    return 0;
}

static int do_place(struct offline *o, const json_t *line, json_t **answer, struct err *e)
{
    CLEANUP(placement_done) struct placement p = { 0 };
    struct place_request r;
    struct reservation best;
    bool reserve;
    o->n_requests++;
    if (placement_request_decode(o->m, line, &r, &reserve, e) < 0 || placement_rank(&p, o->m, o->t, &r, e) < 0 ||
        decide(o, &r, &p, &best, e) < 0)
        return -1;
    CLEANUP(json_freep) json_t *j = placement_json(o->m, &p);
    if (!j)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (reserve && p.n_feasible && commit(o, &best, j, e) < 0)
        return -1;
    *answer = TAKE(j);
    return 0;
}

static int do_release(struct offline *o, const json_t *line, json_t **answer, struct err *e)
{
    uint64_t number = 0;
    char id[ID_SIZE];
    const struct json_field fields[] = {
        { .name = "release", .kind = JSON_KIND_U64, .required = true, .out = &number, .min = 1 },
    };
    if (json_decode(line, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    snprintf(id, sizeof id, "r%" PRIu64, number);
    uint32_t at = model_find_attachment(o->m, id);
    if (at == NONE)
        return err_field(e, ERR_NOT_FOUND, "release", "request %" PRIu64 " of %" PRIu64 " holds nothing", number,
                         o->n_requests);
    model_release(o->m, at);
    *answer = json_pack("{s:I}", "released", (json_int_t)number);
    return 0;
}

static int find_end(const struct offline *o, const json_t *ends, size_t i, uint32_t *port, struct err *e)
{
    const char *text = json_string_value(json_array_get(ends, i));
    struct port_name name;
    struct err why;
    char field[16];
    snprintf(field, sizeof field, "link[%zu]", i);
    if (!text)
        return err_field(e, ERR_FIELD_INVALID, field, "%s has to be the name of a port", field);
    if (port_name_parse(text, &name, &why) < 0)
        return err_field(e, ERR_FIELD_INVALID, field, "%s: %s", field, why.detail);
    *port = model_find_port(o->m, &name);
    return *port != NONE ? 0 : err_field(e, ERR_NOT_FOUND, field, "%s: there is no port '%.150s'", field, text);
}

static int do_link(struct offline *o, const json_t *line, json_t **answer, struct err *e)
{
    const json_t *ends = NULL;
    bool down = false;
    uint32_t a, b;
    const struct json_field fields[] = {
        { .name = "link", .kind = JSON_KIND_ARRAY, .required = true, .out = &ends, .max = 2 },
        { .name = "down", .kind = JSON_KIND_BOOL, .required = true, .out = &down },
    };
    if (json_decode(line, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    if (json_array_size(ends) != 2)
        return err_field(e, ERR_FIELD_INVALID, "link", "link has to be a list of two port names");
    if (find_end(o, ends, 0, &a, e) < 0 || find_end(o, ends, 1, &b, e) < 0)
        return -1;
    uint32_t link = model_find_link(o->m, a, b);
    if (link == NONE)
        return err_field(e, ERR_NOT_FOUND, "link", "no link joins these two ports");
    model_set_link_down(o->m, link, down);
    *answer = json_pack("{s:O,s:b}", "link", ends, "down", down);
    return 0;
}

/* {"node":"n2","cordoned":true} or {"node":"n2","state":"unreachable"}: what an operator or a heartbeat would change.
 */
static int do_node(struct offline *o, const json_t *line, json_t **answer, struct err *e)
{
    static const char *const states[] = { "ready", "unreachable", NULL };
    char name[NAME_SIZE] = "";
    bool cordoned = false, has_cordoned, has_state;
    int state = 0;
    const struct json_field fields[] = {
        { .name = "node", .kind = JSON_KIND_NAME, .required = true, .out = name },
        { .name = "cordoned", .kind = JSON_KIND_BOOL, .out = &cordoned, .present = &has_cordoned },
        { .name = "state", .kind = JSON_KIND_ENUM, .out = &state, .names = states, .present = &has_state },
    };
    if (json_decode(line, fields, ARRAY_LEN(fields), "", e) < 0)
        return -1;
    if (!has_cordoned && !has_state)
        return err_field(e, ERR_FIELD_MISSING, "cordoned", "node needs cordoned or state beside it");
    uint32_t at = model_find_node(o->m, name);
    if (at == NONE)
        return err_field(e, ERR_BODY_NODE_UNKNOWN, "node", "there is no node '%s'", name);
    if (has_cordoned)
        model_edit_node(o->m, at)->cordoned = cordoned;
    if (has_state)
        model_set_node_state(o->m, at, state ? NODE_UNREACHABLE : NODE_READY, "a line said so");
    *answer = json_deep_copy(line);
    return 0;
}

static int do_line(struct offline *o, const char *text, size_t len, json_t **answer, struct err *e)
{
    CLEANUP(json_freep) json_t *line = NULL;
    int rc;
    if (len > JSON_BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "a line of more than %u bytes", JSON_BODY_MAX);
    if (json_parse(&line, text, len, e) < 0)
        return -1;
    model_savepoint(o->m);
    if (json_object_get(line, "release"))
        rc = do_release(o, line, answer, e);
    else if (json_object_get(line, "link"))
        rc = do_link(o, line, answer, e);
    else if (json_object_get(line, "node"))
        rc = do_node(o, line, answer, e);
    else
        rc = do_place(o, line, answer, e);
    if (rc == 0 && !*answer)
        rc = err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (rc < 0)
        model_rollback(o->m);
    model_commit_done(o->m);
    return rc;
}

/* Where a line is no JSON, the reader counts from the line's own beginning. */
static void name_line(struct err *e, uint64_t line)
{
    static const char first[] = "line 1, ";
    char detail[sizeof e->detail];
    if (e->code != ERR_BODY_INVALID || strncmp(e->detail, first, sizeof first - 1) != 0)
        return;
    snprintf(detail, sizeof detail, "line %" PRIu64 ", %.*s", line, (int)sizeof detail - 32,
             e->detail + sizeof first - 1);
    memcpy(e->detail, detail, sizeof detail);
}

static json_t *error_json(struct err *e, uint64_t line)
{
    name_line(e, line);
    return json_pack("{s:{s:s,s:s,s:s?,s:I}}", "error", "code", err_name(e->code), "detail", e->detail, "field",
                     e->field[0] ? e->field : NULL, "line", (json_int_t)line);
}

static int answer_line(struct offline *o, const char *text, size_t len, FILE *out, struct err *e)
{
    CLEANUP(json_freep) json_t *answer = NULL;
    struct err why = { 0 };
    if (do_line(o, text, len, &answer, &why) < 0)
        answer = error_json(&why, o->line);
    if (!answer)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (json_dumpf(answer, out, JSON_COMPACT) < 0 || putc('\n', out) == EOF || fflush(out) == EOF)
        return err_errno(e, ERR_IO, "cannot write the answers");
    return 0;
}

static bool blank(const char *text, size_t len)
{
    return strspn(text, " \t\r\n") >= len;
}

static int run(struct offline *o, FILE *in, FILE *out, struct err *e)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t size = 0;
    ssize_t n;
    while ((n = getline(&text, &size, in)) >= 0) {
        o->line++;
        if (n > 0 && text[n - 1] == '\n')
            n--;
        if (!blank(text, (size_t)n) && answer_line(o, text, (size_t)n, out, e) < 0)
            return -1;
    }
    return ferror(in) ? err_errno(e, ERR_IO, "cannot read the requests") : 0;
}

int offline_place_only(const char *rack_path, FILE *in, FILE *out)
{
    CLEANUP(offline_done) struct offline o = { 0 };
    struct err e = { 0 };
    if (build(&o, rack_path, &e) < 0 || run(&o, in, out, &e) < 0) {
        fprintf(stderr, "memlaned: %s\n", e.detail);
        return -1;
    }
    return 0;
}
