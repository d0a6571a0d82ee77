/* attachment.c - attach, detach, attachment list, show, retry, cancel. */
#include "cli.h"
#include "follow.h"
#include "list.h"
#include "names.h"
#include "request.h"

#include <stdio.h>
#include <string.h>

static int attachment_path(struct cli *c, const char *suffix, char id[ID_SIZE], char *path, size_t size)
{
    int rc = cli_attachment_id(c, c->operands[0], id, ID_SIZE);
    if (rc == EXIT_DONE)
        snprintf(path, size, "/v1/attachments/%s%s", id, suffix);
    return rc;
}

static bool held_by(const json_t *a, const char *node)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(a, "holds"), i,
                       one) if (json_is_string(one) && !strcmp(json_string_value(one), node)) return true;
    return false;
}

/* What a person can do about an attachment that does not go on, or not at once. */
static void print_hint(const json_t *a, const char *state)
{
    const char *id = text_of(a, "id"), *node = text_of(a, "compute_node");
    if (!strcmp(state, "stuck"))
        fprintf(stderr, "hint:  it is tried again by itself; `memlane attachment retry %s` does so at once\n", id);
    else if (!strcmp(state, "lost") && held_by(a, node))
        fprintf(
            stderr,
            "hint:  what it holds comes free by itself when %s has rebooted, or is declared off (`memlane node fence "
            "%s`)\n",
            node, node);
}

/* What became of an attach or a detach. */
static int print_outcome(const struct cli *c, const json_t *a, const char *hoped_for)
{
    char size[UNITS_SIZE_MAX];
    const char *state = text_of(a, "state"), *reason = text_of(a, "reason");
    bool good = !strcmp(state, hoped_for);
    if (c->json) {
        cli_print_json(c, a);
        return good ? EXIT_DONE : EXIT_FAILED;
    }
    printf("%s%s%s  %s  %s for %s from %s", c->colour ? table_state_colour(state) : "", state,
           c->colour ? "\033[0m" : "", text_of(a, "id"), size_of(a, "size_bytes", size), text_of(a, "compute_node"),
           text_of(a, "donor"));
    if (!strcmp(state, "attached") && json_is_integer(json_object_get(a, "numa_node")))
        printf(", NUMA node %d", (int)json_integer_value(json_object_get(a, "numa_node")));
    printf("%s%s\n", *reason ? ": " : "", reason);
    print_hint(a, state);
    return good ? EXIT_DONE : EXIT_FAILED;
}

static int follow_and_print(struct cli *c, const char *id, const struct follow_start *start, const char *hoped_for)
{
    CLEANUP(json_cleanup) json_t *end = NULL;
    int rc = follow_attachment(c, id, start, &end);
    return rc ? rc : print_outcome(c, end, hoped_for);
}

static int print_accepted(const struct cli *c, const json_t *a)
{
    if (c->json)
        return cli_print_json(c, a);
    printf("%s\n", text_of(a, "id"));
    return EXIT_DONE;
}

int command_attach(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *body = NULL, *made = NULL;
    char size[UNITS_SIZE_MAX];
    struct follow_start start;
    int rc = request_body(c, &body);
    if (rc == EXIT_DONE)
        rc = follow_begin(c, &start);
    if (rc == EXIT_DONE)
        rc = cli_send(c, "POST", "/v1/attachments", body, NULL, &made);
    if (rc || !c->options.wait)
        return rc ? rc : print_accepted(c, made);
    if (!c->json) {
        CLEANUP(cleanup_free) char *path = path_text(json_object_get(made, "path"));
        fprintf(stderr, "%s: %s for %s from %s\n  %s  (%llu ns)\n", text_of(made, "id"),
                size_of(made, "size_bytes", size), text_of(made, "compute_node"), text_of(made, "donor"), path,
                (unsigned long long)number_of(made, "cost_ns"));
    }
    return follow_and_print(c, text_of(made, "id"), &start, "attached");
}

int command_detach(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *answer = NULL;
    char id[ID_SIZE], path[128];
    struct follow_start start;
    int rc = attachment_path(c, "", id, path, sizeof path);
    if (rc == EXIT_DONE)
        rc = follow_begin(c, &start);
    if (rc == EXIT_DONE)
        rc = cli_send(c, "DELETE", path, NULL, NULL, &answer);
    if (rc)
        return rc;
    const char *state = text_of(answer, "state");
    bool over = !strcmp(state, "detached") || !strcmp(state, "failed");
    bool lost = !strcmp(state, "lost"); /* there is nothing to wait for: it may hold what it holds for days */
    if (over || lost)
        return print_outcome(c, answer,
                             over || !json_array_size(json_object_get(answer, "holds")) ? state : "detached");
    if (!c->options.wait)
        return print_accepted(c, answer);
    return follow_and_print(c, id, &start, "detached");
}

/* POST .../retry or /cancel of the attachment that the operand names. */
static int steer(struct cli *c, const char *suffix, char id[ID_SIZE], struct follow_start *start, json_t **answer)
{
    char path[128];
    int rc = attachment_path(c, suffix, id, path, sizeof path);
    if (rc == EXIT_DONE)
        rc = follow_begin(c, start);
    return rc ? rc : cli_send(c, "POST", path, NULL, NULL, answer);
}

/* An undo that is tried again ends as the detach or the failed attach that it belongs to. */
static const char *end_of_undo(const char *state)
{
    return !strcmp(state, "failed") || !strcmp(state, "lost") ? state : "detached";
}

int command_attachment_retry(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *answer = NULL, *end = NULL;
    char id[ID_SIZE];
    struct follow_start start;
    int rc = steer(c, "/retry", id, &start, &answer);
    if (rc || !c->options.wait)
        return rc ? rc : print_accepted(c, answer);
    rc = follow_attachment(c, id, &start, &end);
    return rc ? rc : print_outcome(c, end, end_of_undo(text_of(end, "state")));
}

int command_attachment_cancel(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *answer = NULL;
    char id[ID_SIZE];
    struct follow_start start;
    int rc = steer(c, "/cancel", id, &start, &answer);
    if (rc || !c->options.wait)
        return rc ? rc : print_accepted(c, answer);
    return follow_and_print(c, id, &start, "attached");
}

static void attachment_row(const struct cli *c, const json_t *a, struct table *t)
{
    char id[SHORT_ID + 1], size[UNITS_SIZE_MAX], blocks[48], section[16];
    const char *full = text_of(a, "id");
    snprintf(blocks, sizeof blocks, "%u/%u", (unsigned)number_of(a, "blocks_online"),
             (unsigned)number_of(a, "blocks_total"));
    snprintf(section, sizeof section, "%u", (unsigned)number_of(a, "section"));
    table_add(t,
              (const char *[]){ c->format == CLI_WIDE ? full : short_id(full, id), text_of(a, "state"),
                                text_of(a, "compute_node"), text_of(a, "donor"), size_of(a, "size_bytes", size), blocks,
                                section, text_of(a, "circuit"), text_of(a, "created_at"), text_of(a, "reason") });
}

int command_attachment_list(struct cli *c)
{
    static const struct table_column columns[] = {
        { "ID", TABLE_TEXT },      { "STATE", TABLE_STATE },   { "NODE", TABLE_TEXT },      { "DONOR", TABLE_TEXT },
        { "SIZE", TABLE_NUMBER },  { "BLOCKS", TABLE_NUMBER }, { "SECTION", TABLE_NUMBER }, { "CIRCUIT", TABLE_TEXT },
        { "CREATED", TABLE_TEXT }, { "REASON", TABLE_TEXT },
    };
    static const struct list_view view = { columns, ARRAY_LEN(columns), attachment_row };
    char path[512], state[256], node[256];
    snprintf(path, sizeof path, "/v1/attachments?state=%s%s%s",
             cli_escape(c->options.state ? c->options.state : "live,lost", state, sizeof state),
             c->options.node ? "&node=" : "", cli_escape(c->options.node ? c->options.node : "", node, sizeof node));
    return list_show(c, path, &view);
}

static void print_field(const char *name, const char *text)
{
    if (text && *text)
        printf("%-16s %s\n", name, text);
}

/* How far it came, and how much of that is undone: "lend done, connect being undone, map undone, online never begun".
 */
static const char *step_state(const json_t *a, int step, int reached, int undoing)
{
    const char *state = text_of(a, "state");
    bool over = !strcmp(state, "detached") || !strcmp(state, "failed") ||
                (!strcmp(state, "lost") && !json_array_size(json_object_get(a, "holds")));
    if (strcmp(text_of(a, "goal"), "absent") != 0)
        return step < reached || !strcmp(state, "attached") ? "done" : step == reached ? "under way" : "to come";
    if (step > reached)
        return "never begun";
    if (over || (undoing >= 0 && step > undoing))
        return "undone";
    return step != undoing ? "done" : !strcmp(state, "stuck") ? "undo stuck" : "being undone";
}

static void print_steps(const json_t *a)
{
    static const char *const steps[] = { "lend", "connect", "map", "online" };
    int reached = -1, undoing = -1;
    for (int i = 0; i < (int)ARRAY_LEN(steps); i++) {
        reached = strcmp(text_of(a, "step"), steps[i]) ? reached : i;
        undoing = strcmp(text_of(a, "undoing"), steps[i]) ? undoing : i;
    }
    printf("%-16s ", "steps");
    for (int i = 0; i < (int)ARRAY_LEN(steps); i++)
        printf("%s%s %s", i ? ", " : "", steps[i], step_state(a, i, reached, undoing));
    puts("");
}

static void print_timeline(const json_t *timeline)
{
    const json_t *one;
    size_t i;
    if (json_array_size(timeline))
        puts("\nhistory");
    json_array_foreach(timeline, i, one)
    {
        const char *from = text_of(one, "from"), *reason = text_of(one, "reason"), *type = text_of(one, "type");
        const char *arrow = !strcmp(type, "attachment.step") ? " " : " -> "; /* "undo map" */
        printf("  %s  %-20s %s%s%s%s%s\n", text_of(one, "at"), type, from, *from ? arrow : "", text_of(one, "to"),
               *reason ? ": " : "", reason);
    }
}

static void print_attachment(const struct cli *c, const json_t *a)
{
    static const char *const plain[] = { "reason",         "compute_node",  "donor",      "circuit",
                                         "effective_addr", "physical_addr", "created_at", "updated_at" };
    char size[UNITS_SIZE_MAX], asked[UNITS_SIZE_MAX], offset[UNITS_SIZE_MAX];
    const char *state = text_of(a, "state");
    CLEANUP(cleanup_free) char *path = path_text(json_object_get(a, "path"));
    CLEANUP(cleanup_free) char *holds = joined(json_object_get(a, "holds"), ", ");
    print_field("id", text_of(a, "id"));
    printf("%-16s %s%s%s (goal %s)\n", "state", c->colour ? table_state_colour(state) : "", state,
           c->colour ? "\033[0m" : "", text_of(a, "goal"));
    printf("%-16s %s (asked for %s)\n", "size", size_of(a, "size_bytes", size), size_of(a, "requested_bytes", asked));
    print_steps(a);
    printf("%-16s %u of %u online\n", "blocks", (unsigned)number_of(a, "blocks_online"),
           (unsigned)number_of(a, "blocks_total"));
    printf("%-16s %u, offset %s\n", "section", (unsigned)number_of(a, "section"), size_of(a, "offset_bytes", offset));
    if (json_is_integer(json_object_get(a, "numa_node")))
        printf("%-16s %d\n", "numa node", (int)json_integer_value(json_object_get(a, "numa_node")));
    printf("%-16s %s  (%llu ns, %u channel%s)\n", "path", path ? path : "", (unsigned long long)number_of(a, "cost_ns"),
           (unsigned)number_of(a, "channels"), number_of(a, "channels") == 1 ? "" : "s");
    print_field("held by", holds);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        print_field(plain[i], text_of(a, plain[i]));
    print_timeline(json_object_get(a, "timeline"));
}

int command_attachment_show(struct cli *c)
{
    CLEANUP(json_cleanup) json_t *a = NULL;
    char id[ID_SIZE], path[128];
    int rc = attachment_path(c, "", id, path, sizeof path);
    if (rc == EXIT_DONE)
        rc = cli_get(c, path, &a);
    if (rc == EXIT_DONE && c->json)
        return cli_print_json(c, a);
    if (rc == EXIT_DONE)
        print_attachment(c, a);
    return rc;
}
