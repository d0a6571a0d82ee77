/* store.h - the database: all SQL of memlaned.
 *
 * One SQLite file (WAL, synchronous=FULL, STRICT tables, foreign keys), migrated by schema/migrations/NNNN-*.sql (built
 * in) up to user_version.  Two handles: 'struct store' belongs to the writer thread; 'struct store_reader' is a
 * read-only connection of the history worker.  Model rows are upserted from the journal; partial unique indexes are the
 * last line of defence against lending anything twice.  sqlite3 types stay in store*.c. */
#ifndef MEMLANE_STORE_H
#define MEMLANE_STORE_H

#include "core/model.h"
#include "core/rackcheck.h"

#include <jansson.h>

struct store;
struct store_reader;

/* Opens (creates, migrates, integrity-checks) and takes the lock against a second orchestrator (ERR_BUSY).
 * Raises the epoch, makes a new instance id.  ERR_STORAGE with a clear message: damaged, newer than the program. */
MUST_CHECK int store_open(struct store **out, const char *path, struct err *e);
void store_close(struct store *s); /* ignores NULL */
uint64_t store_epoch(const struct store *s);
uint64_t store_next_epoch(const struct store *s); /* inside a batch: of its commit */
const char *store_instance(const struct store *s);
/* The epoch that is known to be ahead of this database, which is an old copy; 0: not recovering.  A database that
 * starts from a backup is recovering from the start, and it stays so over restarts. */
uint64_t store_recovering(const struct store *s);
uint64_t store_start_revision(const struct store *s); /* of the file when it was opened */
/* '*known' false: somebody obeyed orders that this file has never given: another instance had that epoch, or gave more
 * commits.  True too for an epoch older than what the file remembers.  Inside a batch. */
MUST_CHECK int store_knows(struct store *s, uint64_t epoch, const char *instance, uint64_t revision, bool *known,
                           struct err *e);
/* Both inside a batch: notes an epoch ahead; raises ours above 'known' and ends recovering (an operator adopted). */
MUST_CHECK int store_set_recovering(struct store *s, uint64_t known, struct err *e);
MUST_CHECK int store_raise_epoch(struct store *s, uint64_t known, struct err *e);
MUST_CHECK int store_load(struct store *s, struct model *m, struct err *e); /* durable rows, then model_rebuild() */
uint64_t store_revision(const struct store *s);                             /* of the last commit */
uint64_t store_last_event(const struct store *s);                           /* id */

/* A batch: begin; for each request savepoint, then keep or undo; at last commit (journal rows and events of 'm' are
 * written first; revision is m->revision) or rollback.  After an error of commit the outcome is unknown:
 * store_recover(). */
MUST_CHECK int store_begin(struct store *s, struct err *e);
bool store_has_changes(const struct store *s); /* anything written since store_begin(): audit rows, tokens, keys, ... */
MUST_CHECK int store_savepoint(struct store *s, struct err *e);
MUST_CHECK int store_keep(struct store *s, struct err *e);
void store_undo(struct store *s);
MUST_CHECK int store_commit(struct store *s, struct model *m, struct err *e);
void store_rollback(struct store *s);
/* Reopens; '*committed' says whether the commit of 'revision' is in the file.  -1: it cannot be read now, and the
 * commit counts as failed; each store_begin() tries to open it again. */
MUST_CHECK int store_recover(struct store *s, uint64_t revision, bool *committed, struct err *e);

/* The file is not what we hold: it has a commit after all that nobody could read and that counted as failed, or another
 * database was put in its place.  No store_begin() succeeds any more, only a new start brings program and file
 * together. */
bool store_is_ahead(const struct store *s);

/* ---- on the writer thread, inside a savepoint ---- */
struct audit {
    char actor[96], action[64], object[192], remote[64], request_id[64];
    char detail[512]; /* JSON text or empty; never a secret */
};
MUST_CHECK int store_audit(struct store *s, const struct audit *a, int64_t wall_ms, struct err *e);

#define HASH_SIZE 65 /* SHA-256 in hex */
enum token_role { TOKEN_VIEWER, TOKEN_OPERATOR, TOKEN_ADMIN, TOKEN_JOIN, TOKEN_AGENT };
extern const char *const token_role_names[]; /* NULL-terminated: "viewer", "operator", "admin", "join", "agent" */
struct token {
    char id[ID_SIZE]; /* shown to people */
    char hash[HASH_SIZE];
    enum token_role role;
    char name[NAME_SIZE];           /* of an agent's credential: the node */
    int64_t created_ms, expires_ms; /* Unix time; 0: never */
    bool waits;                     /* of a join token: who comes with it waits for an operator's approval */
};
MUST_CHECK int store_token_add(struct store *s, const struct token *t, struct err *e);
MUST_CHECK int store_token_remove(struct store *s, const char *id, struct err *e);          /* ERR_NOT_FOUND */
MUST_CHECK int store_tokens(struct store *s, struct token **out, size_t *n, struct err *e); /* caller frees */

/* Idempotency keys, kept for 24 hours: (actor, key) -> hash of method, path and body; attachment id. */
struct idem {
    char actor[96], key[256], body_hash[HASH_SIZE];
    char attachment[ID_SIZE];
    int64_t created_ms;
};
MUST_CHECK int store_idem_find(struct store *s, const char *actor, const char *key, struct idem *out, bool *found,
                               struct err *e);
MUST_CHECK int store_idem_add(struct store *s, const struct idem *i, struct err *e);
/* Deletes events, ended attachments, keys, audit rows and epochs beyond their count or age: twice what was written
 * since the last time, and a little more.  Own transaction. */
MUST_CHECK int store_prune(struct store *s, int64_t wall_ms, struct err *e);
/* So much was written since, or left over, that it should be called again, idle or not. */
bool store_prune_due(const struct store *s);
/* Commits what is there already: does the disk take it?  Own transaction. */
MUST_CHECK int store_probe(struct store *s, struct err *e);

/* ---- the history worker ---- */
MUST_CHECK int store_reader_open(struct store_reader **out, const char *path, struct err *e);
void store_reader_close(struct store_reader *r);
/* Each answers a JSON array as the API shows it (new reference). */
struct event_query {
    uint64_t after;     /* ids greater than this */
    const char *object; /* NULL: all */
    unsigned limit;
};
MUST_CHECK int store_reader_events(struct store_reader *r, const struct event_query *q, json_t **out, uint64_t *oldest,
                                   struct err *e);
struct ended_query { /* ended attachments: detached, failed, lost that holds nothing; newest first */
    const char *id, *state, *node, *compute_node, *donor; /* NULL: any */
    uint64_t before;                                      /* sequence number of the ended row; 0: newest */
    unsigned limit;
};
MUST_CHECK int store_reader_ended(struct store_reader *r, const struct ended_query *q, json_t **out, uint64_t *next,
                                  struct err *e);
/* Ascending; 'latest': the last 'limit' of them. */
MUST_CHECK int store_reader_audit(struct store_reader *r, uint64_t after, bool latest, unsigned limit, json_t **out,
                                  struct err *e);
/* The invariants 6 to 9 (rackcheck.h has 1 to 5); 'published' is the newest revision that anybody was told of. */
#define STORE_CHECKS 4
MUST_CHECK int store_reader_check(struct store_reader *r, uint64_t published, struct check out[STORE_CHECKS],
                                  struct err *e);
/* Online backup to a new file (mode 0600), checked afterwards.  It has a row in the table "backup": the manifest. */
struct backup_manifest {
    int64_t made_ms;
    uint64_t epoch, revision, last_event;
    char instance[ID_SIZE], version[32];
};
MUST_CHECK int store_backup(const char *db_path, const char *target, int64_t wall_ms, struct err *e);
/* Puts a backup in the place of a database that is not there, once it has been checked as store_open() checks.  The
 * next start is recovering.  For the offline program.  ERR_CONFLICT: the database or any file beside it is there, its
 * log above all; ERR_BUSY: an orchestrator runs on that path; ERR_STORAGE: damaged, empty, not whole. */
MUST_CHECK int store_restore(const char *backup, const char *db_path, struct backup_manifest *out, struct err *e);

#endif
