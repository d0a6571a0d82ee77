/* link.c - link list, show, down, up: the cables, and an operator's word that one is out of use.
 *
 * A port has at most one cable, so that one of its two ports names a link. */
#include "link.h"
#include "list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *loss_text(const json_t *loss)
{
    char size[UNITS_SIZE_MAX], *text = NULL;
    CLEANUP(cleanup_free) char *nodes = joined(json_object_get(loss, "compute_nodes"), " ");
    if (!json_array_size(json_object_get(loss, "attachments")) ||
        asprintf(&text, "%s of %s", size_of(loss, "size_bytes", size), nodes ? nodes : "?") < 0)
        return NULL;
    return text;
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

/* Whether a port's name, or the name of what the port belongs to, is meant. */
static bool port_is_of(const char *port, const char *owner)
{
    size_t len = strlen(owner);
    return !strncmp(port, owner, len) && (port[len] == '/' || !port[len]);
}

static bool link_is_at(const json_t *link, const char *owner)
{
    return port_is_of(text_of(link, "a"), owner) || port_is_of(text_of(link, "b"), owner);
}

static const char *link_state(const json_t *link)
{
    return is_true(link, "down") ? "down (operator)" : text_of(link, "state");
}

/* ---- list ---------------------------------------------------------------------------------------------------------
 */
static void link_row(const struct cli *c UNUSED, const json_t *link, struct table *t)
{
    char latency[32], gbps[24], reserved[24], circuit[80];
    CLEANUP(cleanup_free) char *loss = loss_text(json_object_get(link, "blast_radius"));
    snprintf(circuit, sizeof circuit, "%.60s%s", text_of(link, "circuit"),
             is_true(link, "in_danger") ? " in danger" : "");
    snprintf(latency, sizeof latency, "%" PRIu64 " ns", number_of(link, "latency_ns"));
    snprintf(gbps, sizeof gbps, "%" PRIu64, number_of(link, "gbps"));
    snprintf(reserved, sizeof reserved, "%" PRIu64, number_of(link, "reserved_gbps"));
    table_add(t, (const char *[]){ text_of(link, "a"), text_of(link, "b"), link_state(link), latency, gbps, reserved,
                                   circuit, loss });
}

static const struct list_view *link_view(void)
{
    static const struct table_column columns[] = {
        { "A", TABLE_TEXT },       { "B", TABLE_TEXT },
        { "STATE", TABLE_STATE },  { "LATENCY", TABLE_NUMBER },
        { "GBPS", TABLE_NUMBER },  { "RESERVED", TABLE_NUMBER },
        { "CIRCUIT", TABLE_TEXT }, { "LOST WITH IT", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), link_row };
    return &view;
}

/* The links of the topology that touch 'owner' (NULL: all), in the form of a list. */
static int get_links(struct cli *c, const char *owner, json_t **list)
{
    CLEANUP(json_cleanup) json_t *topology = NULL;
    int rc = cli_get(c, "/v1/topology", &topology);
    if (rc)
        return rc;
    json_t *items = json_array();
    json_t *link;
    size_t i;
    json_array_foreach(json_object_get(topology, "links"), i, link) if (!owner || link_is_at(link, owner))
        json_array_append(items, link);
    *list = json_pack("{s:o, s:n}", "items", items, "next_cursor");
    return EXIT_DONE;
}

void link_print_table(const struct cli *c, const json_t *links)
{
    const struct list_view *view = link_view();
    CLEANUP(table_freep) struct table *t = table_new(view->columns, view->n_columns, c->colour);
    const json_t *one;
    size_t i;
    json_array_foreach(links, i, one) view->row(c, one, t);
    table_print(t);
}

int command_link_list(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *list = NULL;
    int rc = get_links(c, c->options.node, &list);
    return rc ? rc : list_print(c, list, link_view());
}

/* ---- one link -----------------------------------------------------------------------------------------------------
 */

/* The link at the port(s) that the operands name; '*list' owns it. */
static int named_link(struct cli *c, json_t **list, const json_t **link)
{
    const char *a = c->operands[0], *b = c->n_operands > 1 ? c->operands[1] : NULL;
    struct err e = { 0 };
    const json_t *one;
    size_t i;
    int rc = get_links(c, NULL, list);
    if (rc)
        return rc;
    json_array_foreach(items_of(*list), i, one)
    {
        const char *x = text_of(one, "a"), *y = text_of(one, "b");
        const char *peer = !strcmp(x, a) ? y : !strcmp(y, a) ? x : NULL;
        if (peer && (!b || !strcmp(peer, b))) {
            *link = one;
            return EXIT_DONE;
        }
    }
    if (b)
        (void)!err_set(&e, ERR_NOT_FOUND, "no link joins %.80s and %.80s; `memlane link list` shows the links", a, b);
    else
        (void)!err_set(&e, ERR_NOT_FOUND,
                       "no link has a port %.80s; a port is NODE/ADAPTER/PORT or SWITCH/PORT, and `memlane link "
                       "list` shows the links",
                       a);
    return cli_fail(c, &e);
}

static void print_link(const struct cli *c, const json_t *link)
{
    const char *state = link_state(link), *circuit = text_of(link, "circuit");
    CLEANUP(cleanup_free) char *loss = loss_text(json_object_get(link, "blast_radius"));
    printf("%s - %s\n  %-12s %s%s%s\n", text_of(link, "a"), text_of(link, "b"), "state",
           c->colour ? table_state_colour(state) : "", state, c->colour ? "\033[0m" : "");
    printf("  %-12s %" PRIu64 " ns\n", "latency", number_of(link, "latency_ns"));
    printf("  %-12s %" PRIu64 " of %" PRIu64 " Gbit/s reserved\n", "bandwidth", number_of(link, "reserved_gbps"),
           number_of(link, "gbps"));
    printf("  %-12s %s%s\n", "circuit", *circuit ? circuit : "-", is_true(link, "in_danger") ? ", in danger" : "");
    printf("  %-12s %s\n", "lost with it", loss ? loss : "nobody's memory");
}

int command_link_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *list = NULL;
    const json_t *link = NULL;
    int rc = named_link(c, &list, &link);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, link);
    print_link(c, link);
    return EXIT_DONE;
}

static int set_down(struct cli *c, bool down)
{
    CLEANUP(json_cleanup) json_t *list = NULL, *body = NULL, *answer = NULL;
    const json_t *link = NULL;
    int rc = named_link(c, &list, &link);
    if (rc)
        return rc;
    const char *a = text_of(link, "a"), *b = text_of(link, "b");
    body = json_pack("{s:s, s:s, s:b}", "a", a, "b", b, "down", down);
    rc = cli_send(c, "PATCH", "/v1/links", body, NULL, &answer);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, answer);
    CLEANUP(cleanup_free) char *loss = loss_text(json_object_get(link, "blast_radius"));
    if (down && loss)
        printf("%s - %s is out of use: nothing new goes over it; %s over it (circuit %s) stays, in danger\n", a, b,
               loss, text_of(link, "circuit"));
    else
        printf("%s - %s is %s\n", a, b, down ? "out of use: nothing goes over it" : "in use again");
    return EXIT_DONE;
}

int command_link_down(struct cli *c)
{
    return set_down(c, true);
}

int command_link_up(struct cli *c)
{
    return set_down(c, false);
}
