/* bootstrap.h - before the first request: the tokens of the database, and the first admin token of a new one. */
#ifndef MEMLANE_API_BOOTSTRAP_H
#define MEMLANE_API_BOOTSTRAP_H

#include "api/auth.h"
#include "writer.h"

/* Fills 'auth'.  When there is no token at all, an admin token is written to 'admin_file' (0600, made new) and then
 * committed; a private file of ours that is there already (a start that was cut short) is taken as it is.  Waits for
 * the writer. */
MUST_CHECK int bootstrap_tokens(struct auth *auth, struct writer *w, const char *admin_file, struct err *e);

#endif
