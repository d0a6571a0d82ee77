/* main.c - the `memlane` command: which command, its options, the connection.
 *
 * MEMLANE_URL and MEMLANE_TOKEN say where and as whom; a token is never taken from the command line, where other users
 * could read it.  All options are in one table; a command names those that it takes. */
#include "args.h"
#include "cli.h"
#include "complete.h"

#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define URL_DEFAULT "http://127.0.0.1:8080"
#define TIMEOUT_DEFAULT_S 150 /* the orchestrator gives up after 120 s without progress */
#define WORDS_MAX 256

static const struct command {
    const char *words, *operands;
    size_t min, max;
    const char *options; /* beside the common ones */
    int (*run)(struct cli *c);
    const char *what;
} commands[] = {
    { "status", "[THING]", 0, 1, "", command_status,
      "the rack at a glance; or a node, a circuit, an attachment, a port's cable" },
    { "node list", "", 0, 0, "reasons", command_node_list, "nodes, their memory, what is wrong with them" },
    { "node show", "NODE", 1, 1, "", command_node_show, "one node: adapters, sections, findings, attachments" },
    { "node set", "NODE", 1, 1, "headroom label unlabel", command_node_set,
      "memory that it keeps for itself, and its labels" },
    { "node cordon", "NODE", 1, 1, "", command_node_cordon, "let a node lend nothing new" },
    { "node uncordon", "NODE", 1, 1, "", command_node_uncordon, "let it lend again" },
    { "node fence", "NODE [NODE|BOOT_ID]", 1, 2, "yes", command_node_fence,
      "state that a node is off for good; asks for its name again, unless it is given twice" },
    { "node forget", "NODE", 1, 1, "", command_node_forget,
      "forget a node that holds nothing, with its cables; its name is free then" },
    { "attach", "NODE SIZE", 2, 2, "donor avoid channels policy max-cost bandwidth anti-affinity wait timeout",
      command_attach, "borrow memory for a node" },
    { "detach", "ID", 1, 1, "wait timeout", command_detach, "give it back" },
    { "attachment list", "", 0, 0, "state node", command_attachment_list,
      "borrowed memory that is not given back, and all that was lost; the rest with --state detached,failed" },
    { "attachment show", "ID", 1, 1, "", command_attachment_show, "one attachment with its history" },
    { "attachment retry", "ID", 1, 1, "wait timeout", command_attachment_retry, "try a stuck attachment again now" },
    { "attachment cancel", "ID", 1, 1, "wait timeout", command_attachment_cancel,
      "give up a detach while that is possible" },
    { "place", "NODE SIZE", 2, 2, "donor avoid channels policy max-cost bandwidth anti-affinity why", command_place,
      "who would lend, over which path, and why not the others; reserves nothing" },
    { "simulate", "RACK TRACE", 1, 2, "", command_simulate,
      "replay a trace against a rack file, without a rack (simulate --help)" },
    { "topology show", "", 0, 0, "declared", command_topology_show, "switches and cables with their state" },
    { "topology apply", "FILE", 1, 1, "", command_topology_apply, "declare the cabling (a rack file does)" },
    { "link list", "", 0, 0, "node", command_link_list, "cables: state, what runs over them, what is lost with them" },
    { "link show", "PORT [PORT]", 1, 2, "", command_link_show, "one cable, by one of its ports or both" },
    { "link down", "PORT [PORT]", 1, 2, "", command_link_down,
      "take a cable out of use: nothing new goes over it; what is there stays" },
    { "link up", "PORT [PORT]", 1, 2, "", command_link_up, "take it back into use" },
    { "circuit list", "", 0, 0, "", command_circuit_list, "what is joined, and how many attachments share it" },
    { "circuit show", "CIRCUIT", 1, 1, "", command_circuit_show, "one circuit: path, attachments, danger" },
    { "switch fence", "SWITCH", 1, 1, "yes", command_switch_fence,
      "state that a circuit switch is off: what waits for it goes on" },
    { "event list", "", 0, 0, "after limit object all", command_event_list, "what happened" },
    { "event follow", "", 0, 0, "after", command_event_follow, "what happens" },
    { "token create", "", 0, 0, "role name expires needs-approval", command_token_create,
      "a new token; it is shown once" },
    { "token list", "", 0, 0, "", command_token_list, "tokens, without their secrets" },
    { "token revoke", "TOKEN", 1, 1, "", command_token_revoke, "end a token" },
    { "enrolment list", "", 0, 0, "", command_enrolment_list, "nodes that wait for approval" },
    { "enrolment approve", "NODE", 1, 1, "", command_enrolment_approve, "let it lend and borrow" },
    { "enrolment refuse", "NODE", 1, 1, "", command_enrolment_refuse, "refuse it, also when it comes again" },
    { "session show", "", 0, 0, "", command_session_show, "who this token is" },
    { "session code", "", 0, 0, "", command_session_code, "a one-time code that signs a browser in as this token" },
    { "audit", "", 0, 0, "after limit", command_audit, "who changed what" },
    { "check", "", 0, 0, "", command_check, "what must be so in a rack at rest; exit code 1 when something is not" },
    { "unowned", "", 0, 0, "", command_unowned, "what nodes hold and nobody owns" },
    { "recovery show", "", 0, 0, "", command_recovery_show, "whether the database is an old one, and who reported" },
    { "recovery adopt", "", 0, 0, "without", command_recovery_adopt, "go on with it: what both sides hold is kept" },
    { "backup", "FILE", 1, 1, "", command_backup, "a consistent copy of the orchestrator's database" },
};

static struct cli cli = { .options = { .wait = true } };

static const struct known_option {
    struct arg_option option;
    bool common;
    const char *metavar, *help;
} known[] = {
    { { "output", 'o', &cli.options.output, NULL, NULL, 0 },
      true,
      "FORMAT",
      "table (default), wide, json, jsonl or csv" },
    { { "url", 0, &cli.options.url, NULL, NULL, 0 }, true, "URL", "the orchestrator (MEMLANE_URL; " URL_DEFAULT ")" },
    { { "ca-file", 0, &cli.options.ca_file, NULL, NULL, 0 },
      true,
      "FILE",
      "certificate authority to trust (MEMLANE_CA_FILE)" },
    { { "token-file", 0, &cli.options.token_file, NULL, NULL, 0 },
      true,
      "FILE",
      "reads the token from there (MEMLANE_TOKEN)" },
    { { "help", 'h', NULL, &cli.options.help, NULL, 0 }, true, NULL, "this text" },
    { { "version", 0, NULL, &cli.options.version, NULL, 0 }, true, NULL, "the version" },
    { { "donor", 0, &cli.options.donor, NULL, NULL, 0 }, false, "NODE", "only this node may lend" },
    { { "avoid", 0, NULL, NULL, cli.options.avoid, CLI_AVOID_MAX }, false, "NODE", "not this one; may be repeated" },
    { { "channels", 0, &cli.options.channels, NULL, NULL, 0 }, false, "1|2", "2: both ports bonded" },
    { { "policy", 0, &cli.options.policy, NULL, NULL, 0 }, false, "POLICY", "nearest, balanced, packed, least_loaded" },
    { { "max-cost", 0, &cli.options.max_cost, NULL, NULL, 0 }, false, "NS", "no path that costs more nanoseconds" },
    { { "bandwidth", 0, &cli.options.bandwidth, NULL, NULL, 0 }, false, "GBPS", "reserve so much on the path" },
    { { "anti-affinity", 0, &cli.options.anti_affinity, NULL, NULL, 0 },
      false,
      "LABEL",
      "donor differs in this label" },
    { { "wait", 0, NULL, &cli.options.wait, NULL, 0 },
      false,
      NULL,
      "show the steps until it is done (default); --no-wait" },
    { { "timeout", 0, &cli.options.timeout, NULL, NULL, 0 }, false, "SECONDS", "stop waiting after so long (150)" },
    { { "why", 0, &cli.options.why, NULL, NULL, 0 }, false, "NODE", "one node, rule by rule" },
    { { "state", 0, &cli.options.state, NULL, NULL, 0 }, false, "STATES", "only these, separated by commas" },
    { { "node", 0, &cli.options.node, NULL, NULL, 0 }, false, "NODE", "only what this node borrows or lends" },
    { { "reasons", 0, NULL, &cli.options.reasons, NULL, 0 }, false, NULL, "all findings with what to do about them" },
    { { "declared", 0, NULL, &cli.options.declared, NULL, 0 }, false, NULL, "as JSON that `topology apply` takes" },
    { { "after", 0, &cli.options.after, NULL, NULL, 0 }, false, "NUMBER", "events with a greater number" },
    { { "limit", 0, &cli.options.limit, NULL, NULL, 0 }, false, "NUMBER", "at most so many, the last ones" },
    { { "all", 0, NULL, &cli.options.all, NULL, 0 }, false, NULL, "each count of blocks and of free memory, too" },
    { { "object", 0, &cli.options.object, NULL, NULL, 0 }, false, "OBJECT", "only of this one, such as node/n1" },
    { { "role", 0, &cli.options.role, NULL, NULL, 0 }, false, "ROLE", "viewer, operator, admin, or join (for agents)" },
    { { "name", 0, &cli.options.name, NULL, NULL, 0 }, false, "NAME", "what the audit log calls its owner" },
    { { "expires", 0, &cli.options.expires, NULL, NULL, 0 }, false, "SECONDS", "ends by itself after so long" },
    { { "needs-approval", 0, NULL, &cli.options.needs_approval, NULL, 0 },
      false,
      NULL,
      "join tokens: an operator approves each node that comes with it" },
    { { "without", 0, NULL, NULL, cli.options.without, CLI_AVOID_MAX },
      false,
      "NODE",
      "do not wait for this one's report; may be repeated" },
    { { "headroom", 0, &cli.options.headroom, NULL, NULL, 0 },
      false,
      "SIZE",
      "so much of its memory is never lent (0: all may be)" },
    { { "label", 0, NULL, NULL, cli.options.labels, CLI_LABELS_MAX },
      false,
      "NAME=VALUE",
      "sets a label; may be repeated" },
    { { "unlabel", 0, NULL, NULL, cli.options.unlabels, CLI_LABELS_MAX },
      false,
      "NAME",
      "removes a label; may be repeated" },
    { { "yes", 0, NULL, &cli.options.yes, NULL, 0 }, false, NULL, "I know that it is off" },
};

static bool takes(const struct command *command, const char *option)
{
    size_t len = strlen(option);
    for (const char *p = command->options; (p = strstr(p, option)); p += len)
        if ((p == command->options || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
            return true;
    return false;
}

static void print_options(const struct command *command)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const struct known_option *k = &known[i];
        if (command ? !takes(command, k->option.name) : !k->common)
            continue;
        char left[48];
        snprintf(left, sizeof left, "%s--%s%s%s",
                 k->option.letter == 'o' ? "-o, "
                 : k->option.letter      ? "-h, "
                                         : "",
                 k->option.name, k->metavar ? " " : "", k->metavar ? k->metavar : "");
        printf("  %-26s %s\n", left, k->help);
    }
}

static void print_help(const struct command *command)
{
    if (command) {
        printf("memlane %s%s%s: %s\n", command->words, *command->operands ? " " : "", command->operands, command->what);
        print_options(command);
    } else {
        puts("memlane: memory lent between the servers of a rack\n\ncommands:");
        for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
            char left[48];
            snprintf(left, sizeof left, "%s %s", commands[i].words, commands[i].operands);
            printf("  %-26s %s\n", left, commands[i].what);
        }
    }
    puts("\ncommon options:");
    print_options(NULL);
    puts("\nexit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 conflict, 5 unreachable, 6 denied, 7 timeout\n"
         "sizes: 4096, 256MiB, 16G, 1.5TiB (K, M, G, T are binary)");
}

/* The command that argv[*at...] names; '*at' moves behind its words. */
static const struct command *find_command(int argc, char **argv, int *at)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const char *rest = commands[i].words;
        int word = *at;
        for (; *rest && word < argc; word++) {
            size_t len = strcspn(rest, " ");
            if (strlen(argv[word]) != len || strncmp(argv[word], rest, len))
                break;
            rest += len + (rest[len] == ' ');
        }
        if (!*rest) {
            *at = word;
            return &commands[i];
        }
    }
    return NULL;
}

static bool is_group(const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (!strncmp(commands[i].words, word, len) && commands[i].words[len] == ' ')
            return true;
    return false;
}

static int usage_of_group(const char *word)
{
    fprintf(stderr, "error: \"%s\" needs one of these words behind it:\n", word);
    size_t len = strlen(word);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (!strncmp(commands[i].words, word, len) && commands[i].words[len] == ' ')
            fprintf(stderr, "  %-10s %s\n", commands[i].words + len + 1, commands[i].what);
    return EXIT_USAGE;
}

/* Words of common options before the command: their number. */
static int leading_options(int argc, char **argv)
{
    int i = 0;
    while (i < argc && argv[i][0] == '-') {
        bool has_value = !strcmp(argv[i], "-o");
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            has_value |=
                known[k].option.value && !strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, known[k].option.name);
        i += has_value ? 2 : 1;
    }
    return i < argc ? i : argc;
}

static int parse(int argc, char **argv, const struct command *command)
{
    struct arg_option allowed[ARRAY_LEN(known)];
    struct err e = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].common || (command && takes(command, known[i].option.name)))
            allowed[n++] = known[i].option;
    if (args_parse(argc, argv, allowed, n, cli.operands, command ? command->max : 0, &cli.n_operands, &e) < 0)
        return cli_usage("%s", e.detail);
    if (command && !cli.options.help && cli.n_operands < command->min)
        return cli_usage("memlane %s needs %s", command->words, command->operands);
    return EXIT_DONE;
}

static int read_token_file(const char *path, char *token, size_t size, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, token, size - 1);
    if (n < 0)
        return err_errno(e, ERR_FIELD_INVALID, "%s", path);
    token[n] = '\0';
    token[strcspn(token, " \t\r\n")] = '\0';
    return 0;
}

static int connect_client(struct err *e)
{
    char token[256];
    struct client_options o = { .url = cli.options.url ? cli.options.url : getenv("MEMLANE_URL"),
                                .token = getenv("MEMLANE_TOKEN"),
                                .ca_file = cli.options.ca_file ? cli.options.ca_file : getenv("MEMLANE_CA_FILE"),
                                .user_agent = "memlane/" MEMLANE_VERSION };
    if (cli.options.token_file) {
        if (read_token_file(cli.options.token_file, token, sizeof token, e) < 0)
            return -1;
        o.token = token;
    }
    if (!o.url || !*o.url)
        o.url = URL_DEFAULT;
    return client_new(&cli.client, &o, e);
}

static int set_up(void)
{
    struct err e = { 0 };
    uint64_t seconds = TIMEOUT_DEFAULT_S;
    static const char *const formats[] = { "table", "wide", "json", "jsonl", "csv" };
    const char *output = cli.options.output ? cli.options.output : formats[CLI_TABLE];
    unsigned format = 0;
    while (format < ARRAY_LEN(formats) && strcmp(output, formats[format]) != 0)
        format++;
    if (format == ARRAY_LEN(formats))
        return cli_usage("-o takes table, wide, json, jsonl or csv, not \"%.40s\"", output);
    cli.format = format;
    cli.json = format >= CLI_JSON;
    const char *no_color = getenv("NO_COLOR");
    cli.colour = !cli.json && isatty(STDOUT_FILENO) && !(no_color && *no_color);
    if (cli.options.timeout && (units_parse_u64(cli.options.timeout, &seconds, &e) < 0 || seconds > 86400))
        return cli_usage("--timeout takes seconds, at most 86400, not \"%.40s\"", cli.options.timeout);
    cli.timeout_ms = (long)seconds * 1000;
    return connect_client(&e) < 0 ? cli_fail(&cli, &e) : EXIT_DONE;
}

/* ---- completion ---------------------------------------------------------------------------------------------------
 */
static const struct known_option *option_named(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if ((!strncmp(word, "--", 2) && !strcmp(word + 2, known[i].option.name)) ||
            (known[i].option.letter && word[0] == '-' && word[1] == known[i].option.letter && !word[2]))
            return &known[i];
    return NULL;
}

static void complete_options(const struct command *command, const char *begun)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char word[48];
        snprintf(word, sizeof word, "--%s", known[i].option.name);
        if (known[i].common || (command && takes(command, known[i].option.name)))
            complete_words(word, begun);
    }
}

/* The word that comes after 'group' ("" or "node") in a command's name; each once. */
static void complete_command(const char *group, const char *begun)
{
    size_t len = strlen(group);
    const char *before = "";
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const char *words = commands[i].words;
        if (len && (strncmp(words, group, len) != 0 || words[len] != ' '))
            continue;
        const char *next = words + (len ? len + 1 : 0);
        char word[32] = "";
        size_t n = strcspn(next, " ");
        memcpy(word, next, n < sizeof word ? n : sizeof word - 1);
        if (strncmp(before, next, strlen(word)) != 0 || (before[strlen(word)] && before[strlen(word)] != ' '))
            complete_words(word, begun);
        before = next;
    }
}

/* The operand number 'at' of the command, as in "NODE SIZE". */
static void complete_operand(const struct command *command, size_t at, const char *begun)
{
    const char *kind = command->operands;
    for (; at > 0 && *kind; at--)
        kind += strcspn(kind, " ") + (strchr(kind, ' ') != NULL);
    char name[32];
    kind += *kind == '[';
    snprintf(name, sizeof name, "%.*s", (int)strcspn(kind, " ]|"), kind);
    complete_value(&cli, name, begun);
}

/* What can stand in the place of the last word; the words before it are as typed. */
static int complete(int argc, char **argv)
{
    struct err ignored = { 0 };
    const char *words[WORDS_MAX], *begun = argc ? argv[argc - 1] : "";
    size_t n = 0;
    const struct known_option *option = argc > 1 ? option_named(argv[argc - 2]) : NULL;
    for (int i = 0; i + 1 < argc && n < WORDS_MAX; i++) {
        const struct known_option *o = argv[i][0] == '-' ? option_named(argv[i]) : NULL;
        if (argv[i][0] != '-' && (n || strcmp(argv[i], "help") != 0))
            words[n++] = argv[i];
        i += o && o->metavar;
    }
    int at = 0;
    const struct command *command = n ? find_command((int)n, (char **)words, &at) : NULL;
    if (connect_client(&ignored) < 0)
        return EXIT_DONE;
    if (option && option->metavar)
        complete_value(&cli, option->metavar, begun);
    else if (begun[0] == '-')
        complete_options(command, begun);
    else if (command)
        complete_operand(command, n - (size_t)at, begun);
    else if (n < 2)
        complete_command(n ? words[0] : "", begun);
    client_free(cli.client);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    char *words[WORDS_MAX];
    signal(SIGPIPE, SIG_IGN);
    argc--, argv++;
    if (argc && !strcmp(argv[0], "__complete"))
        return complete(argc - 1, argv + 1);
    int lead = leading_options(argc, argv), at = lead, n = 0, rc;
    bool help = at < argc && !strcmp(argv[at], "help");
    at += help;
    const struct command *command = find_command(argc, argv, &at);
    if (argc >= WORDS_MAX)
        return cli_usage("too many words");
    if (!command && at < argc && !is_group(argv[at]))
        return cli_usage("there is no command \"%.60s\"", argv[at]);
    if (!command && at < argc && !help)
        return usage_of_group(argv[at]);
    if (!help && command && command->run == command_simulate)
        return (rc = parse(lead, argv, NULL)) ? rc : cli_simulate(cli.options.output, argc - at, argv + at);
    for (int i = 0; i < lead; i++)
        words[n++] = argv[i];
    for (int i = at; command && i < argc; i++)
        words[n++] = argv[i];
    if (!help && (rc = parse(n, words, command)))
        return rc;
    if (cli.options.version)
        return printf("memlane %s\n", MEMLANE_VERSION) < 0;
    if (help || cli.options.help || !command) {
        print_help(command);
        return help || cli.options.help ? EXIT_DONE : EXIT_USAGE;
    }
    if ((rc = set_up()) == EXIT_DONE)
        rc = command->run(&cli);
    client_free(cli.client);
    return rc == EXIT_DONE && fflush(stdout) ? EXIT_FAILED : rc;
}
