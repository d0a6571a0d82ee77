/* request.h - the body of an attachment request or a preview, from the command line. */
#ifndef MEMLANE_CLI_REQUEST_H
#define MEMLANE_CLI_REQUEST_H

#include "cli.h"

/* From the operands NODE SIZE and the placement options.  The caller owns '*out'; answers an exit code. */
MUST_CHECK int request_body(struct cli *c, json_t **out);

#endif
