#include "compare.h"

#include "reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one answer */

/* 'where' names the object in 'why'. */
static bool same(const json_t *engine, const json_t *reference, const char *key, const char *where, char why[WHY_SIZE])
{
    json_t *x = json_object_get(engine, key), *y = json_object_get(reference, key);
    if (x && y && json_equal(x, y))
        return true;
    char *a = x ? json_dumps(x, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    char *b = y ? json_dumps(y, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(why, WHY_SIZE, "%s%s%s: engine %.200s, reference %.200s", where, *where ? "." : "", key, a ? a : "nothing",
             b ? b : "nothing");
    free(a);
    free(b);
    return false;
}

static const json_t *of_node(const json_t *candidates, const char *name)
{
    size_t i;
    json_t *j;
    json_array_foreach((json_t *)candidates, i, j)
    {
        const char *node = json_string_value(json_object_get(j, "node"));
        if (node && !strcmp(node, name))
            return j;
    }
    return NULL;
}

/* 'place' is the index in the ranking; the order of refused donors is left open. */
static bool candidate_agrees(const json_t *engine, const json_t *reference, size_t place, char why[WHY_SIZE])
{
    const char *node = json_string_value(json_object_get(reference, "node"));
    char where[80];
    snprintf(where, sizeof where, "candidates[%zu]", place);
    if (!json_is_true(json_object_get(reference, "feasible"))) {
        snprintf(where, sizeof where, "%s", node);
        engine = of_node(engine, node);
        return same(engine, reference, "feasible", where, why) && same(engine, reference, "reason", where, why) &&
               same(engine, reference, "lendable_bytes", where, why);
    }
    engine = json_array_get(engine, place);
    return same(engine, reference, "node", where, why) && same(engine, reference, "feasible", node, why) &&
           same(engine, reference, "reason", node, why) && same(engine, reference, "cost_ns", node, why) &&
           same(engine, reference, "path", node, why) && same(engine, reference, "lendable_bytes", node, why);
}

static bool candidates_agree(const json_t *engine, const json_t *reference, char why[WHY_SIZE])
{
    size_t i;
    json_t *j;
    if (json_array_size(engine) != json_array_size(reference)) {
        snprintf(why, WHY_SIZE, "candidates: engine has %zu, reference %zu", json_array_size(engine),
                 json_array_size(reference));
        return false;
    }
    json_array_foreach((json_t *)reference, i, j) if (!candidate_agrees(engine, j, i, why)) return false;
    return true;
}

/* Section and offset are compared when the engine shows them. */
static bool shown(const json_t *engine, const json_t *reference, const char *key, char why[WHY_SIZE])
{
    return !json_object_get(engine, key) || same(engine, reference, key, "", why);
}

static bool refused_as_too_large(const json_t *engine, const json_t *reference)
{
    const char *code = json_string_value(json_object_get(json_object_get(engine, "error"), "code"));
    return code && !strcmp(code, "size_invalid") && json_is_null(json_object_get(reference, "chosen")) &&
           (uint64_t)json_integer_value(json_object_get(reference, "size_bytes")) > TIB;
}

bool answers_agree(const json_t *engine, const json_t *reference, char why[WHY_SIZE])
{
    bool engine_error = json_object_get(engine, "error") != NULL, error = json_object_get(reference, "error") != NULL;
    if (refused_as_too_large(engine, reference))
        return true;
    if (engine_error || error) {
        char *text = json_dumps(engine, JSON_ENCODE_ANY | JSON_COMPACT);
        snprintf(why, WHY_SIZE, "reference %s an error, engine: %.400s", error ? "says" : "does not say", text);
        free(text);
        return engine_error == error;
    }
    if (!json_object_get(reference, "candidates"))
        return json_equal((json_t *)engine, (json_t *)reference) || same(engine, reference, "released", "", why);
    return same(engine, reference, "reason", "", why) && same(engine, reference, "size_bytes", "", why) &&
           candidates_agree(json_object_get(engine, "candidates"), json_object_get(reference, "candidates"), why) &&
           same(engine, reference, "chosen", "", why) &&
           ((!json_object_get(engine, "reserved") && !json_object_get(reference, "reserved")) ||
            same(engine, reference, "reserved", "", why)) &&
           shown(engine, reference, "section", why) && shown(engine, reference, "offset_bytes", why);
}

/* ---- a list of lines */

json_t *reference_answers(json_t *rack, const json_t *lines)
{
    const char *why = NULL;
    struct rack *r = rack_new(rack, &why);
    json_t *answers = r ? json_array() : NULL, *line;
    size_t i;
    json_array_foreach((json_t *)lines, i, line) if (r) json_array_append_new(answers, reference_answer(r, line, NULL));
    rack_free(r);
    return answers;
}

int first_difference(const struct engine *e, json_t *rack, json_t *lines, char why[WHY_SIZE])
{
    json_t *reference = reference_answers(rack, lines), *engine = reference ? engine_answers(e, rack, lines) : NULL;
    int found = engine ? -1 : -2;
    for (size_t i = 0; engine && found == -1 && i < json_array_size(lines); i++)
        if (!answers_agree(json_array_get(engine, i), json_array_get(reference, i), why))
            found = (int)i;
    json_decref(reference);
    json_decref(engine);
    return found;
}

/* ---- shrinking */

static bool is_request(const json_t *line)
{
    return json_object_get(line, "compute_node") != NULL;
}

/* Without the lines [from, to): releases are renumbered, those of a dropped request go with it. */
static json_t *without(const json_t *lines, size_t from, size_t to)
{
    json_t *rest = json_array(), *line;
    json_int_t *renumbered = calloc(json_array_size(lines) + 1, sizeof *renumbered), n = 0, kept = 0;
    size_t i;
    json_array_foreach((json_t *)lines, i, line)
    {
        bool dropped = i >= from && i < to;
        json_int_t released = json_integer_value(json_object_get(line, "release"));
        if (is_request(line))
            renumbered[++n] = dropped ? 0 : ++kept;
        if (dropped || (released > 0 && released <= n && !renumbered[released]))
            continue;
        if (released > 0 && released <= n)
            json_array_append_new(rest, json_pack("{s:I}", "release", renumbered[released]));
        else
            json_array_append(rest, line);
    }
    free(renumbered);
    return rest;
}

static void replace(json_t *array, json_t *by)
{
    json_array_clear(array);
    json_array_extend(array, by);
    json_decref(by);
}

/* Cuts 'lines' behind the first difference; false when there is none. */
static bool still_differs(const struct engine *e, json_t *rack, json_t *lines)
{
    char why[WHY_SIZE];
    int first = first_difference(e, rack, lines, why);
    while (first >= 0 && json_array_size(lines) > (size_t)first + 1)
        json_array_remove(lines, json_array_size(lines) - 1);
    return first >= 0;
}

static void shrink_lines(const struct engine *e, json_t *rack, json_t *lines)
{
    for (size_t chunk = json_array_size(lines) / 2; chunk; chunk /= 2)
        for (size_t from = 0; from < json_array_size(lines);) {
            json_t *fewer = without(lines, from, from + chunk);
            if (still_differs(e, rack, fewer)) {
                replace(lines, fewer);
            } else {
                json_decref(fewer);
                from += chunk;
            }
        }
}

static bool starts_with_owner(const char *port, const char *owner)
{
    size_t n = strlen(owner);
    return !strncmp(port, owner, n) && port[n] == '/';
}

static void drop_cables_of(json_t *rack, const char *owner)
{
    json_t *links = json_object_get(rack, "links");
    for (size_t i = json_array_size(links); i--;) {
        const json_t *link = json_array_get(links, i);
        if (starts_with_owner(json_string_value(json_object_get(link, "a")), owner) ||
            starts_with_owner(json_string_value(json_object_get(link, "b")), owner))
            json_array_remove(links, i);
    }
}

/* Removes each item of one list of the rack that isn't needed; nodes and switches go with their cables. */
static void shrink_rack(const struct engine *e, json_t *rack, json_t *lines, const char *list)
{
    for (size_t i = json_array_size(json_object_get(rack, list)); i--;) {
        json_t *smaller = json_deep_copy(rack), *same_lines = json_copy(lines);
        const char *name = json_string_value(json_object_get(json_array_get(json_object_get(rack, list), i), "name"));
        if (name)
            drop_cables_of(smaller, name);
        json_array_remove(json_object_get(smaller, list), i);
        if (still_differs(e, smaller, same_lines)) {
            json_object_update(rack, smaller);
            replace(lines, json_incref(same_lines));
        }
        json_decref(smaller);
        json_decref(same_lines);
    }
}

void shrink(const struct engine *e, json_t *rack, json_t *lines)
{
    if (!still_differs(e, rack, lines))
        return;
    shrink_lines(e, rack, lines);
    shrink_rack(e, rack, lines, "nodes");
    shrink_rack(e, rack, lines, "switches");
    shrink_rack(e, rack, lines, "links");
    shrink_lines(e, rack, lines);
}
