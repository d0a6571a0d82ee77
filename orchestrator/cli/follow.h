/* follow.h - watches one attachment over the event stream until it settled, and tells a person how it goes. */
#ifndef MEMLANE_CLI_FOLLOW_H
#define MEMLANE_CLI_FOLLOW_H

#include "cli.h"

/* The number of the latest event, from where a watch may begin. */
MUST_CHECK int follow_position(struct cli *c, uint64_t *after);
/* Prints steps and blocks on standard error (not with -o json) until 'id' is in a state where nothing goes on by
 * itself,
 * '*out' is then the attachment.  EXIT_TIMEOUT when that takes longer than cli.timeout_ms, or after Ctrl-C. */
MUST_CHECK int follow_attachment(struct cli *c, const char *id, uint64_t after, json_t **out);

#endif
