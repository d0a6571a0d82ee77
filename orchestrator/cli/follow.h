/* follow.h - watches one attachment over the event stream until it settled, and tells a person how it goes. */
#ifndef MEMLANE_CLI_FOLLOW_H
#define MEMLANE_CLI_FOLLOW_H

#include "cli.h"

/* Where and when a watch begins: to be taken before the request that it watches. */
struct follow_start {
    uint64_t after; /* the latest event's number */
    int64_t at_ms;  /* monotonic */
};
MUST_CHECK int follow_begin(struct cli *c, struct follow_start *start);
/* Prints steps and blocks on standard error (not with -o json) until 'id' is in a state where nothing goes on by
 * itself,
 * '*out' is then the attachment.  EXIT_TIMEOUT when that takes longer than cli.timeout_ms, or after Ctrl-C. */
MUST_CHECK int follow_attachment(struct cli *c, const char *id, const struct follow_start *start, json_t **out);

#endif
