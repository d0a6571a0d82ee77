/* auth.h - who calls: the tokens in memory, one-time codes, and the brake on failed sign-ins.
 *
 * Holds hashes, never secrets.  The token table is the truth (store.h); this is its image as of the last commit,
 * changed only after a commit.  A browser's session is a token of its own whose id begins with "ses-" and ends with the
 * id of the token that it was made from, so that revoking that one ends it too; those that expired go when somebody
 * signs in.  Codes live here only, for ten minutes.  Thread-safe. */
#ifndef MEMLANE_AUTH_H
#define MEMLANE_AUTH_H

#include "api/secret.h"

#define AUTH_SESSION_PREFIX "ses-"
#define AUTH_SESSION_MS (INT64_C(12) * 3600 * 1000)
#define AUTH_SESSIONS_MAX 32 /* of one token: another sign-in ends the oldest */
#define AUTH_CODE_MS (INT64_C(10) * 60 * 1000)
#define AUTH_FAILURES_MAX 10 /* failed sign-ins of one address in a minute */

struct auth;

MUST_CHECK int auth_new(struct auth **out, struct err *e);
void auth_free(struct auth *a); /* ignores NULL */

/* 'used': of an agent's credential: it may have been used before (loaded at our start). */
MUST_CHECK int auth_put(struct auth *a, const struct token *t, bool used, struct err *e);
void auth_drop(struct auth *a, const char *id); /* and the sessions made from it */
void auth_drop_agent(struct auth *a, const char *node, const char *except_id);
/* All tokens, sessions left out, by creation and id; expired ones too.  The caller frees '*out'. */
MUST_CHECK int auth_list(struct auth *a, struct token **out, size_t *n, struct err *e);
/* The token of a secret.  Marks an agent's credential as used.  ERR_UNAUTHENTICATED when there is none or it has
 * expired; another error when memory was too short to tell. */
MUST_CHECK int auth_find(struct auth *a, const char *secret, int64_t wall_ms, struct token *out, struct err *e);
bool auth_alive(struct auth *a, const char *id, int64_t wall_ms);
/* Whether 'node' has a credential that was used, or that an earlier start left. */
bool auth_agent_used(struct auth *a, const char *node);
bool auth_is_session(const char *id);
bool auth_descends(const char *session_id, const char *token_id);
bool auth_is_admin(const struct token *t, int64_t wall_ms); /* an admin's token, no session, that has not expired */
bool auth_lives(const struct token *t, int64_t wall_ms);    /* it has not expired */
/* Which sessions end when a new one is made from the token 'maker': all that have expired, and the oldest of 'maker'
 * beyond its limit.  'list', all tokens by creation, is overwritten: its first entries are those that end; answers how
 * many. */
size_t auth_session_ends(struct token *list, size_t n, const char *maker, int64_t wall_ms);

/* One-time codes.  The code answers a token like the one that made it; errors as of auth_find(). */
MUST_CHECK int auth_code_add(struct auth *a, const char *code, const struct token *maker, int64_t wall_ms,
                             struct err *e);
MUST_CHECK int auth_code_take(struct auth *a, const char *code, int64_t wall_ms, struct token *maker, struct err *e);

/* 'remote': an address, or the network that one caller may have all addresses of (peers.h). */
bool auth_may_try(struct auth *a, const char *remote, int64_t now_ms);
void auth_failed(struct auth *a, const char *remote, int64_t now_ms);

#endif
