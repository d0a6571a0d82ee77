/* store_auth.c - tokens, idempotency keys and the audit log: small tables that are written together with a change. */
#include "store_internal.h"

#include <stdlib.h>
#include <string.h>

const char *const token_role_names[] = { "viewer", "operator", "admin", "join", "agent", NULL };

int store_audit(struct store *s, const struct audit *a, int64_t wall_ms, struct err *e)
{
    if (store_in_batch(s, e) < 0)
        return -1;
    return db_run(&s->db, e,
                  "INSERT INTO audit (at_ms, actor, action, object, remote, request_id, detail)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                  "itttttt", wall_ms, a->actor, a->action, a->object, a->remote, a->request_id, a->detail);
}

int store_token_add(struct store *s, const struct token *t, struct err *e)
{
    if (store_in_batch(s, e) < 0)
        return -1;
    return db_run(&s->db, e,
                  "INSERT INTO tokens (id, hash, role, name, created_ms, expires_ms, approves)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                  "ttttiii", t->id, t->hash, token_role_names[t->role], t->name, t->created_ms, t->expires_ms,
                  (int64_t)!t->waits);
}

int store_token_remove(struct store *s, const char *id, struct err *e)
{
    if (store_in_batch(s, e) < 0 || db_run(&s->db, e, "DELETE FROM tokens WHERE id = ?1", "t", id) < 0)
        return -1;
    return sqlite3_changes(s->db.handle) ? 0 : err_set(e, ERR_NOT_FOUND, "there is no token %.60s", id);
}

static int read_token(sqlite3_stmt *stmt, struct token *t, struct err *e)
{
    char role[16];
    if (db_text(stmt, 0, t->id, sizeof t->id, e) < 0 || db_text(stmt, 1, t->hash, sizeof t->hash, e) < 0 ||
        db_text(stmt, 2, role, sizeof role, e) < 0 || db_text(stmt, 3, t->name, sizeof t->name, e) < 0)
        return -1;
    unsigned i = 0;
    while (token_role_names[i] && strcmp(token_role_names[i], role))
        i++;
    if (!token_role_names[i])
        return err_set(e, ERR_STORAGE, "the database is damaged: token %s has role '%s'", t->id, role);
    t->role = (enum token_role)i;
    t->created_ms = sqlite3_column_int64(stmt, 4);
    t->expires_ms = sqlite3_column_int64(stmt, 5);
    t->waits = !sqlite3_column_int(stmt, 6);
    return 0;
}

int store_tokens(struct store *s, struct token **out, size_t *n, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = db_query(
        &s->db, e, "SELECT id, hash, role, name, created_ms, expires_ms, approves FROM tokens ORDER BY created_ms, id",
        "");
    if (!stmt)
        return -1;
    CLEANUP(cleanup_free) struct token *list = NULL;
    size_t have = 0, cap = 0;
    int rc;
    while ((rc = db_step(&s->db, stmt, e)) == 1) {
        if (have == cap) {
            cap = cap ? cap * 2 : 16;
            struct token *more = reallocarray(list, cap, sizeof *list);
            if (!more)
                return err_set(e, ERR_UNAVAILABLE, "out of memory");
            list = more;
        }
        memset(&list[have], 0, sizeof *list);
        if (read_token(stmt, &list[have], e) < 0)
            return -1;
        have++;
    }
    if (rc < 0)
        return -1;
    *out = TAKE(list);
    *n = have;
    return 0;
}

int store_idem_find(struct store *s, const char *actor, const char *key, struct idem *out, bool *found, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt =
        db_query(&s->db, e,
                 "SELECT actor, key, body_hash, attachment, created_ms FROM idempotency WHERE actor = ?1 AND key = ?2",
                 "tt", actor, key);
    int rc = stmt ? db_step(&s->db, stmt, e) : -1;
    if (rc < 0)
        return -1;
    struct idem i = { 0 };
    if (rc == 1) {
        if (db_text(stmt, 0, i.actor, sizeof i.actor, e) < 0 || db_text(stmt, 1, i.key, sizeof i.key, e) < 0 ||
            db_text(stmt, 2, i.body_hash, sizeof i.body_hash, e) < 0 ||
            db_text(stmt, 3, i.attachment, sizeof i.attachment, e) < 0)
            return -1;
        i.created_ms = sqlite3_column_int64(stmt, 4);
        *out = i;
    }
    *found = rc == 1;
    return 0;
}

int store_idem_add(struct store *s, const struct idem *i, struct err *e)
{
    if (store_in_batch(s, e) < 0)
        return -1;
    return db_run(&s->db, e,
                  "INSERT OR REPLACE INTO idempotency (actor, key, body_hash, attachment, created_ms)"
                  " VALUES (?1, ?2, ?3, ?4, ?5)",
                  "tttti", i->actor, i->key, i->body_hash, i->attachment, i->created_ms);
}
