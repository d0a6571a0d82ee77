/* node.c - node list, show, set, cordon, uncordon, fence, forget. */
#include "cli.h"
#include "list.h"
#include "names.h"

#include <stdio.h>
#include <string.h>

static void node_path(const char *name, const char *suffix, char *path, size_t size)
{
    char escaped[3 * NAME_SIZE];
    snprintf(path, size, "/v1/nodes/%s%s", cli_escape(name, escaped, sizeof escaped), suffix);
}

/* "ready", or "ready cordoned" */
static const char *node_state(const json_t *node, char buf[64])
{
    snprintf(buf, 64, "%s%s", text_of(node, "state"),
             json_is_true(json_object_get(node, "cordoned")) ? " cordoned" : "");
    return buf;
}

static void roles_of(const json_t *node, char *buf, size_t size)
{
    const json_t *adapter;
    size_t i;
    unsigned compute = 0, memory = 0;
    json_array_foreach(json_object_get(node, "adapters"), i, adapter)
    {
        compute += !strcmp(text_of(adapter, "role"), "compute");
        memory += !strcmp(text_of(adapter, "role"), "memory");
    }
    snprintf(buf, size, "%s", compute && memory ? "both" : compute ? "compute" : memory ? "memory" : "");
}

/* The first thing that is wrong with the node: a broken adapter, else its gravest finding. */
static void trouble_of(const json_t *node, char *buf, size_t size)
{
    const json_t *one;
    size_t i;
    buf[0] = '\0';
    json_array_foreach(json_object_get(node, "adapters"), i, one) if (json_is_false(json_object_get(one, "ok")))
    {
        snprintf(buf, size, "%s: %s", text_of(one, "name"), text_of(one, "error"));
        return;
    }
    json_array_foreach(json_object_get(node, "findings"), i, one) if (strcmp(text_of(one, "severity"), "info"))
    {
        snprintf(buf, size, "%s", text_of(one, "detail"));
        return;
    }
}

static void print_reasons(const json_t *nodes)
{
    const json_t *node, *finding;
    size_t i, k;
    json_array_foreach(nodes, i, node)
    {
        json_array_foreach(json_object_get(node, "findings"), k, finding)
            printf("%s  %s  %s\n    %s\n", text_of(node, "name"), text_of(finding, "severity"),
                   text_of(finding, "detail"), text_of(finding, "advice"));
    }
}

static void node_row(const struct cli *c UNUSED, const json_t *n, struct table *t)
{
    char state[64], role[16], trouble[200], memory[UNITS_SIZE_MAX], free_[UNITS_SIZE_MAX], lendable[UNITS_SIZE_MAX];
    char lent[UNITS_SIZE_MAX], borrowed[UNITS_SIZE_MAX];
    roles_of(n, role, sizeof role);
    trouble_of(n, trouble, sizeof trouble);
    table_add(t, (const char *[]){ text_of(n, "name"), node_state(n, state), role, size_of(n, "memory_bytes", memory),
                                   size_of(n, "free_bytes", free_), size_of(n, "lendable_bytes", lendable),
                                   size_of(n, "lent_bytes", lent), size_of(n, "borrowed_bytes", borrowed),
                                   text_of(n, "version"), trouble });
}

int command_node_list(struct cli *c)
{
    static const struct table_column columns[] = {
        { "NAME", TABLE_TEXT },   { "STATE", TABLE_STATE },     { "ROLE", TABLE_TEXT },   { "MEMORY", TABLE_NUMBER },
        { "FREE", TABLE_NUMBER }, { "LENDABLE", TABLE_NUMBER }, { "LENT", TABLE_NUMBER }, { "BORROWED", TABLE_NUMBER },
        { "AGENT", TABLE_TEXT },  { "REASON", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), node_row };
    CLEANUP(json_cleanup) json_t *list = NULL;
    int rc = cli_list(c, "/v1/nodes", &list);
    if (rc || c->json || !c->options.reasons)
        return rc ? rc : list_print(c, list, &view);
    print_reasons(items_of(list));
    return EXIT_DONE;
}

static void print_adapter(const json_t *adapter)
{
    const json_t *one;
    size_t i;
    const char *error = text_of(adapter, "error");
    printf("\nadapter %s  %s%s%s\n", text_of(adapter, "name"), text_of(adapter, "role"), *error ? "  ERROR: " : "",
           error);
    json_array_foreach(json_object_get(adapter, "ports"), i, one)
        printf("  port %-20s cable to %-14s %s%s\n", text_of(one, "name"),
               *text_of(one, "link_peer") ? text_of(one, "link_peer") : "-", *text_of(one, "circuit") ? "circuit " : "",
               text_of(one, "circuit"));
    json_array_foreach(json_object_get(adapter, "sections"), i, one) if (strcmp(text_of(one, "state"), "free"))
        printf("  section %u  %-8s %s  %s\n", (unsigned)number_of(one, "section"), text_of(one, "state"),
               text_of(one, "register"), text_of(one, "circuit"));
}

/* Whose memory dies with a node, and what a manager of switches leaves behind. */
static void print_loss(FILE *out, const json_t *loss)
{
    const json_t *carried = json_object_get(loss, "carried");
    char size[UNITS_SIZE_MAX];
    CLEANUP(cleanup_free) char *dies = joined(json_object_get(loss, "compute_nodes"), " ");
    CLEANUP(cleanup_free) char *switches = joined(json_object_get(loss, "switches"), " ");
    CLEANUP(cleanup_free) char *others = joined(json_object_get(carried, "compute_nodes"), " ");
    if (*dies)
        fprintf(out, "lost with it: %s borrowed by %s\n", size_of(loss, "size_bytes", size), dies);
    else
        fputs("lost with it: nobody's memory\n", out);
    if (*switches)
        fprintf(out, "manages %s: without it nothing is joined or cleared there; %s of %s lives on\n", switches,
                size_of(carried, "size_bytes", size), *others ? others : "nobody");
}

static void print_node(const struct cli *c, const json_t *n)
{
    static const char *const sizes[] = { "memory_bytes",   "free_bytes",     "locked_bytes",
                                         "headroom_bytes", "capacity_bytes", "lendable_bytes",
                                         "lent_bytes",     "borrowed_bytes", "block_bytes" };
    char state[64], size[UNITS_SIZE_MAX];
    const char *key;
    const json_t *value;
    size_t i;
    node_state(n, state);
    printf("%s  %s%s%s  boot %s  agent %s\n", text_of(n, "name"), c->colour ? table_state_colour(state) : "", state,
           c->colour ? "\033[0m" : "", text_of(n, "boot_id"), text_of(n, "version"));
    for (i = 0; i < ARRAY_LEN(sizes); i++)
        printf("  %-10.*s %12s\n", (int)(strlen(sizes[i]) - strlen("_bytes")), sizes[i], size_of(n, sizes[i], size));
    json_object_foreach(json_object_get(n, "labels"), key, value)
        printf("  label      %s=%s\n", key, json_is_string(value) ? json_string_value(value) : "");
    json_array_foreach(json_object_get(n, "adapters"), i, value) print_adapter(value);
    json_array_foreach(json_object_get(n, "findings"), i, value)
        printf("\n%s: %s\n  %s\n", text_of(value, "severity"), text_of(value, "detail"), text_of(value, "advice"));
    CLEANUP(cleanup_free) char *lends = joined(json_object_get(n, "lends"), " ");
    CLEANUP(cleanup_free) char *borrows = joined(json_object_get(n, "borrows"), " ");
    printf("\nlends    %s\nborrows  %s\n", *lends ? lends : "-", *borrows ? borrows : "-");
    print_loss(stdout, json_object_get(n, "blast_radius"));
}

int command_node_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *node = NULL;
    char path[256];
    node_path(c->operands[0], "", path, sizeof path);
    int rc = cli_get(c, path, &node);
    if (rc == EXIT_DONE && c->json)
        return cli_print_json(c, node);
    if (rc == EXIT_DONE)
        print_node(c, node);
    return rc;
}

/* ---- changes ------------------------------------------------------------------------------------------------------
 */

/* {"feed": "b", "old": null} of --label feed=b --unlabel old; NULL and '*rc' when one is no NAME=VALUE. */
static json_t *label_patch(const struct cli_options *o, int *rc)
{
    json_t *labels = json_object();
    for (const char *const *p = o->labels; *p; p++) {
        const char *value = strchr(*p, '=');
        char name[ID_SIZE];
        if (!value || value == *p || (size_t)(value - *p) >= sizeof name || !value[1]) {
            *rc = cli_usage("--label takes NAME=VALUE, not \"%.80s\"%s", *p,
                            value && !value[1] ? "; --unlabel removes one" : "");
            json_decref(labels);
            return NULL;
        }
        snprintf(name, sizeof name, "%.*s", (int)(value - *p), *p);
        json_object_set_new(labels, name, json_string(value + 1));
    }
    for (const char *const *p = o->unlabels; *p; p++)
        json_object_set_new(labels, *p, json_null());
    return labels;
}

static int patch_body(const struct cli_options *o, json_t **out)
{
    struct err e = { 0 };
    uint64_t bytes;
    int rc = EXIT_DONE;
    CLEANUP(json_cleanup) json_t *body = json_object();
    if (!o->headroom && !o->labels[0] && !o->unlabels[0])
        return cli_usage("memlane node set needs --headroom, --label or --unlabel");
    if (o->headroom && units_parse_size(o->headroom, &bytes, &e) < 0)
        return cli_usage("--headroom: %s", e.detail);
    if (o->headroom)
        json_object_set_new(body, "headroom_bytes", json_integer((json_int_t)bytes));
    if (o->labels[0] || o->unlabels[0])
        json_object_set_new(body, "labels", label_patch(o, &rc));
    if (rc == EXIT_DONE)
        *out = TAKE(body);
    return rc;
}

static void print_settings(const json_t *node)
{
    char headroom[UNITS_SIZE_MAX], lendable[UNITS_SIZE_MAX];
    const char *key;
    json_t *value;
    bool any = false;
    printf("%s: head-room %s, lendable %s, labels", text_of(node, "name"), size_of(node, "headroom_bytes", headroom),
           size_of(node, "lendable_bytes", lendable));
    json_object_foreach(json_object_get(node, "labels"), key, value)
    {
        printf(" %s=%s", key, json_is_string(value) ? json_string_value(value) : "");
        any = true;
    }
    puts(any ? "" : " none");
}

int command_node_set(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = NULL, *node = NULL;
    char path[256];
    int rc = patch_body(&c->options, &body);
    node_path(c->operands[0], "", path, sizeof path);
    if (rc == EXIT_DONE)
        rc = cli_send(c, "PATCH", path, body, NULL, &node);
    if (rc || c->json)
        return rc ? rc : cli_print_json(c, node);
    print_settings(node);
    return EXIT_DONE;
}

static int set_cordon(struct cli *c, bool cordoned)
{
    CLEANUP(json_cleanup) json_t *body = json_pack("{s:b}", "cordoned", cordoned), *node = NULL;
    char path[256];
    node_path(c->operands[0], "", path, sizeof path);
    int rc = cli_send(c, "PATCH", path, body, NULL, &node);
    if (rc == EXIT_DONE && c->json)
        return cli_print_json(c, node);
    if (rc == EXIT_DONE)
        printf("%s %s\n", c->operands[0], cordoned ? "is cordoned: it lends nothing new" : "lends again");
    return rc;
}

int command_node_cordon(struct cli *c)
{
    return set_cordon(c, true);
}

int command_node_uncordon(struct cli *c)
{
    return set_cordon(c, false);
}

/* ---- fence: an operator's word, so its node is named twice --------------------------------------------------------
 */

/* For people, so on standard error in each format: what is stated of which boot, and what ends by it. */
static void show_what_ends(const json_t *node)
{
    char state[64], size[UNITS_SIZE_MAX];
    const char *name = text_of(node, "name"), *boot = text_of(node, "boot_id"), *seen = text_of(node, "last_seen_at");
    CLEANUP(cleanup_free) char *borrows = joined(json_object_get(node, "borrows"), " ");
    fprintf(stderr, "%s  %s  boot %s  last heard %s\n", name, node_state(node, state), *boot ? boot : "-",
            *seen ? seen : "-");
    if (*borrows)
        fprintf(stderr, "taken back without its word: %s that it borrows (%s)\n", size_of(node, "borrowed_bytes", size),
                borrows);
    else
        fputs("taken back without its word: nothing, it borrows nothing\n", stderr);
    print_loss(stderr, json_object_get(node, "blast_radius"));
    fprintf(stderr,
            "Fencing it states that this boot of %s is OFF and stays off. If it runs, it writes to memory that is lent "
            "to others.\n",
            name);
}

/* The line on standard input, a terminal or not, is 'name' and nothing else. */
static bool typed_again(const char *name)
{
    CLEANUP(cleanup_free) char *line = NULL;
    size_t size = 0;
    fprintf(stderr, "Type its name again: ");
    ssize_t n = getline(&line, &size, stdin);
    if (n > 0 && line[n - 1] == '\n')
        n--;
    return n > 0 && (size_t)n == strlen(name) && !memcmp(line, name, (size_t)n);
}

static int fence(struct cli *c, const char *boot_id)
{
    CLEANUP(json_cleanup) json_t *body = json_pack("{s:s}", "boot_id", boot_id), *node = NULL;
    char path[256];
    node_path(c->operands[0], "/fence", path, sizeof path);
    int rc = cli_send(c, "POST", path, body, NULL, &node);
    if (rc == EXIT_DONE && c->json)
        return cli_print_json(c, node);
    if (rc == EXIT_DONE)
        printf("%s is fenced\n", c->operands[0]);
    return rc;
}

/* The boot that was shown is the one that is fenced: a reboot in between makes the operator's word void (409). */
int command_node_fence(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *node = NULL;
    const char *name = c->operands[0], *second = c->n_operands > 1 ? c->operands[1] : "";
    bool twice = !strcmp(name, second), asks = !twice && !c->options.yes;
    char path[256];
    if (*second && asks)
        return cli_usage("\"%s\" is not \"%s\" again; a boot id needs --yes, which states that this boot is off",
                         second, name);
    if (*second && !twice)
        return fence(c, second);
    node_path(name, "", path, sizeof path);
    int rc = cli_get(c, path, &node);
    if (rc)
        return rc;
    if (asks || !c->json)
        show_what_ends(node);
    if (asks && !typed_again(name)) {
        fprintf(stderr, "\nerror: that is not \"%s\": nothing was done\n", name);
        return EXIT_USAGE;
    }
    return fence(c, text_of(node, "boot_id"));
}

int command_node_forget(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *gone = NULL;
    char path[256];
    node_path(c->operands[0], "", path, sizeof path);
    int rc = cli_send(c, "DELETE", path, NULL, NULL, &gone);
    if (rc == EXIT_DONE && c->json)
        return cli_print_json(c, gone);
    if (rc == EXIT_DONE)
        printf("%s is forgotten, and its cables (%llu) are dropped; what was fenced of it stays refused\n",
               c->operands[0], (unsigned long long)number_of(gone, "links_dropped"));
    return rc;
}
