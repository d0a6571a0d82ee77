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
                  c, e) < 0)
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

/* What operators asked for, as far back as the audit log goes. */
static int check_audit(struct store_reader *r, uint64_t published, struct check *c, struct err *e)
{
    (void)published;
    if (note_rows(
            r,
            "SELECT v.object, 'event ' || v.id || ' by ' || v.actor || ' has no row in the audit log' FROM events v"
            " WHERE v.type = 'attachment.state' AND v.from_state = '' AND v.actor LIKE 'token:%'"
            " AND v.at_ms >= (SELECT coalesce(min(at_ms), 0) FROM audit)"
            " AND v.object NOT IN (SELECT object FROM audit)" /* a set, made once: the log has no index of objects */
            " AND NOT EXISTS (SELECT 1 FROM audit WHERE action = 'recovery.adopt') LIMIT 16",
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
