/* topology.c - topology show, apply; switch fence. */
#include "link.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

#define FILE_MAX (1u << 20)

static void print_switches(const struct cli *c, const json_t *switches)
{
    static const struct table_column columns[] = {
        { "SWITCH", TABLE_TEXT },    { "KIND", TABLE_TEXT },       { "PORTS", TABLE_NUMBER },
        { "LATENCY", TABLE_NUMBER }, { "MANAGED BY", TABLE_TEXT }, { "LOST WITH IT", TABLE_TEXT },
    };
    CLEANUP(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns), c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(switches, i, one)
    {
        char ports[24], latency[32];
        snprintf(ports, sizeof ports, "%" PRIu64, number_of(one, "ports"));
        snprintf(latency, sizeof latency, "%" PRIu64 " ns", number_of(one, "latency_ns"));
        CLEANUP(cleanup_free) char *loss = loss_text(json_object_get(one, "blast_radius"));
        table_add(t, (const char *[]){ text_of(one, "name"), text_of(one, "kind"), ports, latency,
                                       text_of(one, "managed_by"), loss });
    }
    table_print(t);
}

int command_topology_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *topology = NULL;
    int rc = cli_get(c, c->options.declared ? "/v1/topology?declared=1" : "/v1/topology", &topology);
    if (rc || c->json || c->options.declared)
        return rc ? rc : cli_print_json(c, topology);
    const json_t *switches = json_object_get(topology, "switches");
    if (json_array_size(switches)) {
        print_switches(c, switches);
        puts("");
    }
    link_print_table(c, json_object_get(topology, "links"));
    return EXIT_DONE;
}

/* The members that PUT takes; a rack file has more. */
static int read_cabling(struct cli *c, const char *file, json_t **out)
{
    CLEANUP(json_cleanup) json_t *rack = NULL;
    struct err e = { 0 };
    if (json_parse_file(&rack, file, FILE_MAX, &e) < 0)
        return cli_fail(c, &e);
    json_t *switches = json_object_get(rack, "switches"), *links = json_object_get(rack, "links");
    if (!switches || !links)
        return cli_usage("%s has no \"%s\"", file, switches ? "links" : "switches");
    *out = json_pack("{s:O, s:O}", "switches", switches, "links", links);
    return EXIT_DONE;
}

int command_topology_apply(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *cabling = NULL, *now = NULL;
    struct client_answer before;
    struct err e = { 0 };
    char etag[sizeof before.etag];
    int rc = read_cabling(c, c->operands[0], &cabling);
    if (rc)
        return rc;
    if (client_request(c->client, "GET", "/v1/topology?declared=1", NULL, NULL, 30000, &before, &e) < 0)
        return cli_fail(c, &e);
    snprintf(etag, sizeof etag, "%s", before.etag);
    rc = cli_fail_answer(c, &before);
    client_answer_done(&before);
    if (rc == EXIT_DONE)
        rc = cli_send(c, "PUT", "/v1/topology", cabling, etag, &now);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, now);
    printf("declared: %zu switches, %zu cables\n", json_array_size(json_object_get(cabling, "switches")),
           json_array_size(json_object_get(cabling, "links")));
    return EXIT_DONE;
}

int command_switch_fence(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = json_pack("{s:s}", "name", c->operands[0]), *topology = NULL;
    char name[192], path[256];
    if (!c->options.yes)
        return cli_usage(
            "fencing states that switch %s is off and joins nothing: circuits that wait for it are closed, "
            "and nothing new goes over it until it is read again; if that is so, add --yes",
            c->operands[0]);
    snprintf(path, sizeof path, "/v1/switches/%s/fence", cli_escape(c->operands[0], name, sizeof name));
    int rc = cli_send(c, "POST", path, body, NULL, &topology);
    if (rc == EXIT_DONE && c->json)
        return cli_print_json(c, topology);
    if (rc == EXIT_DONE)
        printf("switch %s is fenced\n", c->operands[0]);
    return rc;
}
