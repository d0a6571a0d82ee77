/* confirm.c - are refusals of a simulation right?  placement-confirm RACK.json REFUSALS.jsonl...
 *
 * `memlaned --simulate --dump-refusals` writes each refusal with the state before it.  The brute-force reference gets
 * that state as it is, and has to refuse as well: every donor, each for the same reason. */
#include "reference.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SHOWN 10

struct named {
    const char *name;
    int port;
};

struct confirm {
    struct rack *r;
    struct named *ports; /* by name */
    unsigned passed, failed;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static int find_port(const struct confirm *c, const char *name)
{
    struct named key = { name ? name : "", 0 };
    const struct named *found = bsearch(&key, c->ports, (size_t)c->r->n_ports, sizeof key, by_name);
    return found ? found->port : NONE;
}

static bool add_circuit(struct confirm *c, const json_t *j)
{
    struct rack *r = c->r;
    const json_t *path = json_object_get(j, "path"), *leg, *name;
    size_t k, i;
    r->circuits = grown(r->circuits, r->n_circuits, sizeof *r->circuits);
    struct circuit *x = &r->circuits[r->n_circuits++];
    *x = (struct circuit){ .channels = (int)json_array_size(path) };
    if (x->channels < 1 || x->channels > 2)
        return false;
    json_array_foreach((json_t *)path, k, leg)
    {
        struct path *p = &x->legs[k];
        if (json_array_size(leg) < 2 || json_array_size(leg) > MAX_PATH_PORTS)
            return false;
        json_array_foreach((json_t *)leg, i, name)
        {
            p->ports[p->n_ports++] = find_port(c, json_string_value(name));
            if (p->ports[i] == NONE)
                return false;
            if (i % 2 == 1)
                p->cost_ns += r->links[r->ports[p->ports[i]].link].latency_ns;
            if (i % 2 == 1 && r->ports[p->ports[i]].sw != NONE)
                p->cost_ns += r->switches[r->ports[p->ports[i]].sw].latency_ns;
        }
    }
    x->compute = r->ports[x->legs[0].ports[0]].adapter;
    x->memory = r->ports[x->legs[0].ports[x->legs[0].n_ports - 1]].adapter;
    return x->compute != NONE && x->memory != NONE;
}

static bool add_attachment(struct rack *r, const json_t *j)
{
    json_int_t circuit = json_integer_value(json_object_get(j, "circuit"));
    if (circuit < 0 || circuit >= r->n_circuits)
        return false;
    const struct circuit *x = &r->circuits[circuit];
    r->attachments = grown(r->attachments, r->n_attachments, sizeof *r->attachments);
    r->attachments[r->n_attachments++] = (struct attachment){
        .live = true,
        .compute_node = r->adapters[x->compute].node,
        .donor = r->adapters[x->memory].node,
        .circuit = (int)circuit,
        .section = (int)json_integer_value(json_object_get(j, "section")),
        .offset_bytes = (uint64_t)json_integer_value(json_object_get(j, "offset_bytes")),
        .size_bytes = (uint64_t)json_integer_value(json_object_get(j, "size_bytes")),
    };
    return true;
}

static bool set_state(struct confirm *c, const json_t *refusal)
{
    const json_t *one;
    size_t i;
    free(c->r->circuits);
    free(c->r->attachments);
    c->r->circuits = NULL;
    c->r->attachments = NULL;
    c->r->n_circuits = c->r->n_attachments = 0;
    json_array_foreach(json_object_get(refusal, "circuits"), i, one) if (!add_circuit(c, one)) return false;
    json_array_foreach(json_object_get(refusal, "attachments"), i, one) if (!add_attachment(c->r, one)) return false;
    return true;
}

/* NULL: the reference refuses too, for the same reasons. */
static const char *judge(struct confirm *c, const json_t *refusal, char why[300])
{
    const json_t *reasons = json_object_get(refusal, "reasons"), *one;
    size_t i;
    if (!set_state(c, refusal))
        return "the state does not fit the rack";
    json_t *answer = reference_answer(c->r, json_object_get(refusal, "request"), NULL);
    const json_t *candidates = json_object_get(answer, "candidates");
    const char *wrong = NULL, *chosen = json_string_value(json_object_get(answer, "chosen"));
    if (!candidates || json_array_size(candidates) != json_object_size(reasons))
        wrong = "the reference has other candidates";
    else if (chosen)
        snprintf(why, 300, "the reference has a donor: %s", chosen), wrong = why;
    json_array_foreach(candidates, i, one)
    {
        const char *node = json_string_value(json_object_get(one, "node"));
        const char *mine = json_string_value(json_object_get(one, "reason"));
        const char *theirs = json_string_value(json_object_get(reasons, node));
        if (!wrong && (!mine || !theirs || strcmp(mine, theirs)))
            snprintf(why, 300, "%s: %s, the reference says %s", node, theirs ? theirs : "-", mine ? mine : "-"),
                wrong = why;
    }
    json_decref(answer);
    return wrong;
}

static void confirm_file(struct confirm *c, const char *path)
{
    FILE *f = fopen(path, "r");
    json_error_t error = { 0 };
    json_t *refusal;
    char why[300];
    unsigned line = 0;
    if (!f) {
        perror(path);
        c->failed++;
        return;
    }
    while ((refusal = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error))) {
        const char *wrong = judge(c, refusal, why);
        line++;
        c->passed += !wrong;
        c->failed += wrong != NULL;
        if (wrong && c->failed <= MAX_SHOWN)
            printf("%s:%u: %s\n", path, line, wrong);
        json_decref(refusal);
    }
    if (json_error_code(&error) != json_error_premature_end_of_input) {
        printf("%s:%u: %s\n", path, line + 1, error.text);
        c->failed++;
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    const char *why = "cannot be read";
    mallopt(M_TRIM_THRESHOLD, 1 << 30); /* millions of paths a refusal: their memory is kept for the next one */
    json_t *rack = argc > 2 ? json_load_file(argv[1], 0, NULL) : NULL;
    if (argc < 3) {
        puts("usage: placement-confirm RACK.json REFUSALS.jsonl...");
        return 2;
    }
    struct confirm c = { .r = rack ? rack_new(rack, &why) : NULL };
    if (!c.r) {
        fprintf(stderr, "%s: %s\n", argv[1], why);
        return 2;
    }
    c.ports = calloc((size_t)c.r->n_ports + 1, sizeof *c.ports);
    for (int i = 0; i < c.r->n_ports; i++)
        c.ports[i] = (struct named){ c.r->ports[i].name, i };
    qsort(c.ports, (size_t)c.r->n_ports, sizeof *c.ports, by_name);
    for (int i = 2; i < argc; i++)
        confirm_file(&c, argv[i]);
    printf("%u passed, %u failed\n", c.passed, c.failed);
    free(c.ports);
    rack_free(c.r);
    json_decref(rack);
    return c.failed > 0;
}
