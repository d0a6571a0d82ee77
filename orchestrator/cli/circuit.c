/* circuit.c - circuit list, show: what is joined at the moment, and whose memory runs over it. */
#include "list.h"

#include <inttypes.h>
#include <stdio.h>

static void circuit_row(const struct cli *c, const json_t *circuit, struct table *t)
{
    char channels[24], cost[32], reserved[24], attachments[24];
    CLEANUP(cleanup_free) char *compute = joined(json_object_get(circuit, "compute"), " ");
    CLEANUP(cleanup_free) char *memory = joined(json_object_get(circuit, "memory"), " ");
    CLEANUP(cleanup_free) char *ids = joined(json_object_get(circuit, "attachments"), " ");
    snprintf(channels, sizeof channels, "%" PRIu64, number_of(circuit, "channels"));
    snprintf(cost, sizeof cost, "%" PRIu64 " ns", number_of(circuit, "cost_ns"));
    snprintf(reserved, sizeof reserved, "%" PRIu64, number_of(circuit, "reserved_gbps"));
    snprintf(attachments, sizeof attachments, "%zu", json_array_size(json_object_get(circuit, "attachments")));
    table_add(t, (const char *[]){ text_of(circuit, "id"), text_of(circuit, "state"), compute, memory, channels, cost,
                                   reserved, c->format == CLI_WIDE ? ids : attachments,
                                   json_is_object(json_object_get(circuit, "danger")) ? "yes" : "no" });
}

int command_circuit_list(struct cli *c)
{
    static const struct table_column columns[] = {
        { "ID", TABLE_TEXT },         { "STATE", TABLE_STATE },        { "COMPUTE", TABLE_TEXT },
        { "MEMORY", TABLE_TEXT },     { "CHANNELS", TABLE_NUMBER },    { "COST", TABLE_NUMBER },
        { "RESERVED", TABLE_NUMBER }, { "ATTACHMENTS", TABLE_NUMBER }, { "DANGER", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), circuit_row };
    return list_show(c, "/v1/circuits", &view);
}

static void print_danger(const json_t *danger)
{
    char size[UNITS_SIZE_MAX];
    const json_t *link, *adapter;
    size_t i;
    if (!json_is_object(danger))
        return;
    CLEANUP(cleanup_free) char *nodes = joined(json_object_get(danger, "compute_nodes"), " ");
    printf("\nin danger: %s of %s\n", size_of(danger, "size_bytes", size), *nodes ? nodes : "nobody");
    json_array_foreach(json_object_get(danger, "links"), i, link)
        printf("  %s - %s is down\n", text_of(link, "a"), text_of(link, "b"));
    json_array_foreach(json_object_get(danger, "adapters"), i, adapter)
        printf("  adapter %s/%s is in error%s%s\n", text_of(adapter, "node"), text_of(adapter, "adapter"),
               *text_of(adapter, "error") ? ": " : "", text_of(adapter, "error"));
}

static void print_circuit(const struct cli *c, const json_t *circuit)
{
    const char *state = text_of(circuit, "state");
    CLEANUP(cleanup_free) char *path = path_text(json_object_get(circuit, "path"));
    CLEANUP(cleanup_free) char *ids = joined(json_object_get(circuit, "attachments"), " ");
    printf("%s  %s%s%s\n", text_of(circuit, "id"), c->colour ? table_state_colour(state) : "", state,
           c->colour ? "\033[0m" : "");
    printf("  %-12s %s  (%" PRIu64 " ns, %" PRIu64 " channel%s)\n", "path", path ? path : "",
           number_of(circuit, "cost_ns"), number_of(circuit, "channels"),
           number_of(circuit, "channels") == 1 ? "" : "s");
    printf("  %-12s %" PRIu64 " Gbit/s\n", "reserved", number_of(circuit, "reserved_gbps"));
    printf("  %-12s %s\n", "attachments", *ids ? ids : "-");
    print_danger(json_object_get(circuit, "danger"));
}

int command_circuit_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *circuit = NULL;
    char path[256], id[160];
    snprintf(path, sizeof path, "/v1/circuits/%s", cli_escape(c->operands[0], id, sizeof id));
    int rc = cli_get(c, path, &circuit);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, circuit);
    print_circuit(c, circuit);
    return EXIT_DONE;
}
