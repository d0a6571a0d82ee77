/* status.c - the rack at a glance. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "8 ready, 1 unreachable" from {"ready": 8, "unreachable": 1, "new": 0} */
static void print_counts(const char *title, const json_t *counts)
{
    const char *state;
    json_t *n;
    bool any = false;
    printf("%-12s ", title);
    json_object_foreach((json_t *)counts, state, n) if (json_integer_value(n))
    {
        printf("%s%" JSON_INTEGER_FORMAT " %s", any ? ", " : "", json_integer_value(n), state);
        any = true;
    }
    puts(any ? "" : "none");
}

static void print_one(uint64_t n, const char *one, const char *many, bool *any)
{
    if (n)
        printf("%s%" PRIu64 " %s", *any ? ", " : "", n, n == 1 ? one : many);
    *any |= n != 0;
}

/* What somebody should look at, or that there is nothing. */
static void print_attention(const json_t *status)
{
    const json_t *adapters = json_object_get(status, "adapters"), *links = json_object_get(status, "links");
    const json_t *findings = json_object_get(status, "findings");
    bool any = false;
    printf("%-12s ", "attention");
    print_one(number_of(status, "circuits_in_danger"), "circuit in danger", "circuits in danger", &any);
    print_one(number_of(status, "attachments_in_danger"), "attachment in danger", "attachments in danger", &any);
    print_one(number_of(status, "quarantined_attachments"), "attachment in quarantine", "attachments in quarantine",
              &any);
    print_one(number_of(adapters, "error"), "adapter in error", "adapters in error", &any);
    print_one(number_of(links, "down"), "link down", "links down", &any);
    print_one(number_of(status, "unowned_objects"), "object of nobody", "objects of nobody", &any);
    print_one(number_of(findings, "error"), "error found", "errors found", &any);
    print_one(number_of(findings, "warning"), "warning", "warnings", &any);
    puts(any ? "" : "nothing");
}

/* Whether one of the list's items is called so. */
static int is_listed(struct cli *c, const char *path, const char *field, bool *found)
{
    CLEANUP(json_cleanup) json_t *list = NULL;
    const json_t *one;
    size_t i;
    int rc = cli_list(c, path, &list);
    *found = false;
    json_array_foreach(items_of(list), i, one) *found |= !strcmp(text_of(one, field), c->operands[0]);
    return rc;
}

/* Whatever has this name: a port's cable, a node, a circuit, or an attachment whose id begins so. */
static int show_thing(struct cli *c)
{
    bool found;
    if (strchr(c->operands[0], '/'))
        return command_link_show(c);
    int rc = is_listed(c, "/v1/nodes", "name", &found);
    if (rc || found)
        return rc ? rc : command_node_show(c);
    rc = is_listed(c, "/v1/circuits", "id", &found);
    if (rc || found)
        return rc ? rc : command_circuit_show(c);
    return command_attachment_show(c);
}

int command_status(struct cli *c)
{
    if (c->n_operands)
        return show_thing(c);

    CLEANUP(json_cleanup) json_t *status = NULL;
    char lendable[UNITS_SIZE_MAX], lent[UNITS_SIZE_MAX];
    int rc = cli_get(c, "/v1/status", &status);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, status);
    uint64_t up = number_of(status, "uptime_s");
    printf("%-12s %s, epoch %" PRIu64 ", up %" PRIu64 "d %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "\n", "memlaned",
           text_of(status, "version"), number_of(status, "epoch"), up / 86400, up / 3600 % 24, up / 60 % 60, up % 60);
    print_counts("nodes", json_object_get(status, "nodes"));
    print_counts("attachments", json_object_get(status, "attachments"));
    printf("%-12s %s lendable, %s lent\n", "memory", size_of(status, "lendable_bytes", lendable),
           size_of(status, "lent_bytes", lent));
    print_attention(status);
    return EXIT_DONE;
}
