/* bootstrap.h - before the first request: the tokens of the database, and an admin token where none lives. */
#ifndef MEMLANE_API_BOOTSTRAP_H
#define MEMLANE_API_BOOTSTRAP_H

#include "api/auth.h"
#include "writer.h"

/* Fills 'auth'.  When no admin token lives, one is written to 'admin_file' (0600, made new) and then committed; a
 * private file of ours that is there already (a start that was cut short, a token that has expired) is taken as it is.
 * Without a file, or when it fails in a database that has tokens, it is logged that no admin can sign in.  Waits for
 * the writer. */
MUST_CHECK int bootstrap_tokens(struct auth *auth, struct writer *w, const char *admin_file, struct err *e);

#endif
