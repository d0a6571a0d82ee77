/* cli.h - what the commands of `memlane` share: options, requests, errors, exit codes.
 *
 * A command is a function that talks to the REST API through the calls below, prints its result on standard output
 * (progress and errors go to standard error) and returns an exit code.  One thread. */
#ifndef MEMLANE_CLI_H
#define MEMLANE_CLI_H

#include "client.h"
#include "err.h"
#include "json.h"
#include "units.h"

#include <stdbool.h>
#include <stdint.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1, /* the operation failed */
    EXIT_USAGE = 2,  /* wrong use, or an ambiguous name */
    EXIT_NOT_FOUND = 3,
    EXIT_CONFLICT = 4,    /* the state forbids it, or a precondition failed */
    EXIT_UNREACHABLE = 5, /* no orchestrator there, or it is not ready */
    EXIT_DENIED = 6,
    EXIT_TIMEOUT = 7,
};

#define CLI_AVOID_MAX 64
#define CLI_LABELS_MAX 16
#define CLI_OPERANDS_MAX 4

struct cli_options {
    const char *output, *url, *ca_file, *token_file, *timeout;
    const char *donor, *avoid[CLI_AVOID_MAX + 1], *channels, *policy, *max_cost, *bandwidth, *anti_affinity, *why;
    const char *state, *node, *after, *limit, *object, *role, *name, *expires, *headroom;
    const char *without[CLI_AVOID_MAX + 1], *labels[CLI_LABELS_MAX + 1], *unlabels[CLI_LABELS_MAX + 1];
    bool needs_approval;
    bool wait, declared, yes, reasons, all, help, version;
};

enum cli_format { CLI_TABLE, CLI_WIDE, CLI_JSON, CLI_JSONL, CLI_CSV };

struct cli {
    struct cli_options options;
    const char *operands[CLI_OPERANDS_MAX];
    size_t n_operands;
    struct client *client;
    enum cli_format format;
    bool json;       /* for programs: -o json, jsonl, csv */
    bool colour;     /* on standard output */
    long timeout_ms; /* of waiting for an attach or a detach */
};

/* The commands: one file a group. */
int command_status(struct cli *c);
int command_node_list(struct cli *c);
int command_node_show(struct cli *c);
int command_node_set(struct cli *c);
int command_node_cordon(struct cli *c);
int command_node_uncordon(struct cli *c);
int command_node_fence(struct cli *c);
int command_node_forget(struct cli *c);
int command_switch_fence(struct cli *c);
int command_attach(struct cli *c);
int command_detach(struct cli *c);
int command_attachment_list(struct cli *c);
int command_attachment_show(struct cli *c);
int command_attachment_retry(struct cli *c);
int command_attachment_cancel(struct cli *c);
int command_place(struct cli *c);
int command_simulate(struct cli *c);
/* Becomes `memlaned --simulate` with these words, and -o 'output' before them (NULL: none); comes back only when
 * memlaned cannot be run. */
int cli_simulate(const char *output, int argc, char **argv);
int command_topology_show(struct cli *c);
int command_topology_apply(struct cli *c);
int command_link_list(struct cli *c);
int command_link_show(struct cli *c);
int command_link_down(struct cli *c);
int command_link_up(struct cli *c);
int command_circuit_list(struct cli *c);
int command_circuit_show(struct cli *c);
int command_event_list(struct cli *c);
int command_event_follow(struct cli *c);
int command_token_create(struct cli *c);
int command_token_list(struct cli *c);
int command_token_revoke(struct cli *c);
int command_session_show(struct cli *c);
int command_session_code(struct cli *c);
int command_backup(struct cli *c);
int command_check(struct cli *c);
int command_recovery_show(struct cli *c);
int command_recovery_adopt(struct cli *c);
int command_unowned(struct cli *c);
int command_enrolment_list(struct cli *c);
int command_enrolment_approve(struct cli *c);
int command_enrolment_refuse(struct cli *c);
int command_audit(struct cli *c);

/* ---- requests (rest.c).  Each answers EXIT_DONE, or prints what is wrong and answers the exit code. */
MUST_CHECK int cli_get(struct cli *c, const char *path, json_t **out); /* the caller owns '*out' */
/* The same for who waits: EXIT_DONE without a document, and nothing is printed, when nobody answers, or nobody can now.
 */
MUST_CHECK int cli_get_if_there(struct cli *c, const char *path, json_t **out);
/* The same of the event log, by cli_get_if_there() when 'waits': where the log begins later, the problem document, with
 * "oldest_index". */
MUST_CHECK int cli_get_or_gone(struct cli *c, const char *path, bool waits, json_t **out);
/* A list, page after page, as one document: "items", "next_cursor" (null), "as_of" of the first page. */
MUST_CHECK int cli_list(struct cli *c, const char *path, json_t **list);
const json_t *items_of(const json_t *list); /* its "items" */
/* POST, PUT, PATCH, DELETE.  A POST carries an Idempotency-Key and is sent again when the connection breaks. 'if_match'
 * and 'out' may be NULL. */
MUST_CHECK int cli_send(struct cli *c, const char *method, const char *path, const json_t *body, const char *if_match,
                        json_t **out);
/* The full id of the attachment that 'prefix' (at least 4 characters, or all) names.  EXIT_USAGE when it names several.
 */
MUST_CHECK int cli_attachment_id(struct cli *c, const char *prefix, char id[], size_t size);
/* Percent-encodes one segment of a path, or a query's value. */
char *cli_escape(const char *text, char *out, size_t size);
/* A random Idempotency-Key. */
#define CLI_KEY_SIZE 33
int cli_random_key(char key[CLI_KEY_SIZE], struct err *e);

/* ---- errors (fail.c) */
int cli_fail(const struct cli *c, const struct err *e);                       /* prints it with a hint */
int cli_fail_answer(const struct cli *c, const struct client_answer *answer); /* a problem document */
int cli_usage(const char *fmt, ...) PRINTF(1, 2);                             /* EXIT_USAGE */

/* ---- output (render.c) */
/* As -o says; EXIT_DONE.  Of a list, jsonl and csv print the items, one a line; csv leaves out what is no scalar. */
int cli_print_json(const struct cli *c, const json_t *j);
const char *text_of(const json_t *object, const char *name); /* "" when absent or null */
uint64_t number_of(const json_t *object, const char *name);  /* 0 when absent */
char *size_of(const json_t *object, const char *name, char buf[UNITS_SIZE_MAX]);
/* "n1/afu0/0 > ocs1/1 > ocs1/9 > n4/afu1/0"; the legs of a bonded path separated by " | ".  The caller frees. */
char *path_text(const json_t *path);
/* A list of texts, separated by 'separator'.  The caller frees. */
char *joined(const json_t *array, const char *separator);
#define SHORT_ID 8
char *short_id(const char *id, char buf[SHORT_ID + 1]);

/* Frees like json_decref(); for CLEANUP(). */
void json_cleanup(json_t **j);

#endif
