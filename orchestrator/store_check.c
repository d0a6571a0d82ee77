/* store_check.c - the invariants about what is written: events, keys, the file, the audit log. */
#include "store_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Each row of 'sql' is a violation: its object, and what is wrong. */
static int note_rows(struct store_reader *r, const char *sql, struct check *c, struct err *e)
{
    CLEANUP(db_resetp) sqlite3_stmt *stmt = db_query(&r->db, e, sql, "");
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&r->db, stmt, e)) == 1)
        check_note(c, CHECK_VIOLATED, (const char *)sqlite3_column_text(stmt, 0), "%s: %s",
                   (const char *)sqlite3_column_text(stmt, 0), (const char *)sqlite3_column_text(stmt, 1));
    return rc;
}

static int count(struct store_reader *r, const char *sql, struct check *c, const char *what, struct err *e)
{
    int64_t n;
    if (db_read_int(&r->db, sql, &n, e) < 0)
        return -1;
    c->n_checked += (unsigned)n;
    if (c->result == CHECK_OK)
        snprintf(c->detail, sizeof c->detail, "%" PRId64 " %s", n, what);
    return 0;
}

/* Each state of an object begins where the one before it ended, as far back as the events are kept.  A name lives anew
 * when a node was forgotten, or when what an agent still had of an ended attachment was adopted or collected. */
#define CHAINS                                                                                                         \
    "SELECT object, 'event ' || id || ' begins at ' || from_state || ', the one before it ended at ' || before FROM"   \
    " (SELECT id, type, object, from_state, lag(to_state) OVER (PARTITION BY type, object ORDER BY id) AS before"      \
    " FROM events WHERE type IN ('attachment.state', 'node.state', 'circuit.state'))"                                  \
    " WHERE from_state <> before AND NOT (type = 'node.state' AND from_state = 'new')"                                 \
    " AND NOT (type = 'attachment.state' AND from_state = '' AND before IN ('detached', 'failed', 'lost')) LIMIT 16"

static int check_events(struct store_reader *r, uint64_t published, struct check *c, struct err *e)
{
    (void)published;
    if (note_rows(r,
                  "SELECT 'events', 'ids from ' || min(id) || ' to ' || max(id) || ', but ' || count(*) || ' events'"
                  " FROM events HAVING count(*) > 0 AND count(*) <> max(id) - min(id) + 1",
                  c, e) < 0 ||
        note_rows(r,
                  "SELECT 'attachment/' || a.id, 'is ' || a.state || ', its last event says ' || v.to_state"
                  " FROM attachments a JOIN events v ON v.id = (SELECT max(id) FROM events"
                  " WHERE object = 'attachment/' || a.id AND type = 'attachment.state') WHERE v.to_state <> a.state",
                  c, e) < 0 ||
        note_rows(r, CHAINS, c, e) < 0)
        return -1;
    return count(r, "SELECT count(*) FROM events", c, "events without a gap", e);
}

static int check_keys(struct store_reader *r, uint64_t published, struct check *c, struct err *e)
{
    (void)published;
    if (note_rows(r,
                  "SELECT 'attachment/' || attachment, count(*) || ' keys made it' FROM idempotency GROUP BY attachment"
                  " HAVING count(*) > 1",
                  c, e) < 0)
        return -1;
    return count(r, "SELECT count(*) FROM idempotency", c, "keys, each for one attachment", e);
}

static int check_file(struct store_reader *r, uint64_t published, struct check *c, struct err *e)
{
    int64_t revision;
    struct err damage;
    if (db_read_int(&r->db, "SELECT revision FROM store", &revision, e) < 0)
        return -1;
    bool behind = (uint64_t)revision < published;
    check_note(c, behind ? CHECK_VIOLATED : CHECK_OK, "database",
               "commit %" PRIu64 " was published, the file has %" PRId64, published, revision);
    bool good = db_check(&r->db, "", &damage) == 0;
    check_note(c, good ? CHECK_OK : CHECK_VIOLATED, "database", "%s", good ? "" : damage.detail);
    if (c->result == CHECK_OK)
        snprintf(c->detail, sizeof c->detail, "the file is whole and has commit %" PRId64, revision);
    return 0;
}

/* An event carries who asked for it; it is written in the transaction, and with the time, of that request's row in the
 * audit log.  Many may ask within a millisecond, so what was created is named in its row, too: by its own request, or
 * it is what that adoption took over.  A claim to a node's name that was refused changed nothing, and is an event only.
 * The log may go back less far than the events: what was written before its first row is not looked at. */
#define ASKED_FOR                                                                                                      \
    " FROM events v WHERE v.actor LIKE 'token:%' AND v.type <> 'node.identity_conflict' AND v.id > (SELECT CASE"       \
    " WHEN coalesce(min(id), 1) = 1 THEN 0 ELSE (SELECT coalesce(max(id), 0) FROM events WHERE at_ms <="               \
    " (SELECT at_ms FROM audit ORDER BY id LIMIT 1)) END FROM audit)"

static int check_audit(struct store_reader *r, uint64_t published, struct check *c, struct err *e)
{
    (void)published;
    /* the sets are made once: the log has no index of them */
    if (note_rows(
            r,
            "SELECT v.object, 'event ' || v.id || ' by ' || v.actor || ' has no row in the audit log'" ASKED_FOR
            " AND ((v.at_ms, v.actor) NOT IN (SELECT at_ms, actor FROM audit)"
            " OR (v.type = 'attachment.state' AND v.from_state = '' AND v.object NOT IN (SELECT object FROM audit)"
            " AND (v.at_ms, v.actor) NOT IN (SELECT at_ms, actor FROM audit WHERE action = 'recovery.adopt')))"
            " LIMIT 16",
            c, e) < 0)
        return -1;
    return count(r, "SELECT count(*) FROM audit", c, "rows", e);
}

int store_reader_check(struct store_reader *r, uint64_t published, struct check out[STORE_CHECKS], struct err *e)
{
    static const struct {
        const char *name;
        int (*run)(struct store_reader *r, uint64_t published, struct check *c, struct err *e);
    } all[STORE_CHECKS] = { { "events_without_gaps", check_events },
                            { "one_key_one_attachment", check_keys },
                            { "commits_are_in_the_file", check_file },
                            { "changes_are_audited", check_audit } };
    for (unsigned i = 0; i < STORE_CHECKS; i++) {
        memset(&out[i], 0, sizeof out[i]);
        out[i].invariant = i + 6;
        out[i].name = all[i].name;
        if (all[i].run(r, published, &out[i], e) < 0)
            return -1;
    }
    return 0;
}
