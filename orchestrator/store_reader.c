/* store_reader.c - questions about the past, on a read-only connection of their own: they never hold up the writer. */
#include "events.h"
#include "json.h"
#include "store_internal.h"

#include <stdlib.h>

int store_reader_open(struct store_reader **out, const char *path, struct err *e)
{
    CLEANUP(cleanup_free) struct store_reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (db_open(&r->db, path, DB_READER, e) < 0)
        return -1;
    *out = TAKE(r);
    return 0;
}

void store_reader_close(struct store_reader *r)
{
    if (!r)
        return;
    db_close(&r->db);
    free(r);
}

static int append(json_t *list, json_t *item, struct err *e)
{
    return item && json_array_append_new(list, item) == 0 ? 0 : err_set(e, ERR_UNAVAILABLE, "out of memory");
}

static int read_event(sqlite3_stmt *stmt, struct model_event *ev, struct err *e)
{
    ev->id = (uint64_t)sqlite3_column_int64(stmt, 0);
    ev->at_ms = sqlite3_column_int64(stmt, 1);
    if (db_text(stmt, 2, ev->type, sizeof ev->type, e) < 0 || db_text(stmt, 3, ev->object, sizeof ev->object, e) < 0 ||
        db_text(stmt, 4, ev->from, sizeof ev->from, e) < 0 || db_text(stmt, 5, ev->to, sizeof ev->to, e) < 0 ||
        db_text(stmt, 6, ev->reason, sizeof ev->reason, e) < 0)
        return -1;
    return db_text(stmt, 7, ev->actor, sizeof ev->actor, e);
}

int store_reader_events(struct store_reader *r, const struct event_query *q, json_t **out, uint64_t *oldest,
                        struct err *e)
{
    static const char all[] = "SELECT * FROM events WHERE id > ?1 ORDER BY id LIMIT ?2";
    static const char of_object[] = "SELECT * FROM events WHERE object = ?3 AND id > ?1 ORDER BY id LIMIT ?2";
    int64_t after = q->after > INT64_MAX ? INT64_MAX : (int64_t)q->after, first;
    CLEANUP(json_freep) json_t *list = json_array();
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = q->object ? db_query(&r->db, e, of_object, "iit", after, (int64_t)q->limit, q->object)
                                   : db_query(&r->db, e, all, "ii", after, (int64_t)q->limit);
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&r->db, stmt, e)) == 1) {
        struct model_event ev;
        if (read_event(stmt, &ev, e) < 0 || append(list, event_json(&ev), e) < 0)
            return -1;
    }
    /* After the rows: what is pruned in between makes a gap too many, not one that nobody sees. */
    if (rc < 0 || db_read_int(&r->db, "SELECT coalesce(min(id), 0) FROM events", &first, e) < 0)
        return -1;
    *out = TAKE(list);
    *oldest = (uint64_t)first;
    return 0;
}

static int append_ended(json_t *list, sqlite3_stmt *stmt, struct err *e)
{
    json_t *item = NULL;
    const char *text = (const char *)sqlite3_column_text(stmt, 1);
    if (!text || json_parse(&item, text, (size_t)sqlite3_column_bytes(stmt, 1), e) < 0)
        return err_set(e, ERR_STORAGE, "the database is damaged: an ended attachment cannot be read");
    return append(list, item, e);
}

int store_reader_ended(struct store_reader *r, const struct ended_query *q, json_t **out, uint64_t *next, struct err *e)
{
    static const char by_id[] = "SELECT seq, json FROM ended_attachments WHERE id = ?1";
    static const char newest_first[] =
        "SELECT seq, json FROM ended_attachments WHERE seq < ?1 AND (?2 IS NULL OR state = ?2)"
        " AND (?3 IS NULL OR compute_node = ?3 OR donor = ?3) AND (?4 IS NULL OR compute_node = ?4)"
        " AND (?5 IS NULL OR donor = ?5) ORDER BY seq DESC LIMIT ?6";
    int64_t before = q->before && q->before < INT64_MAX ? (int64_t)q->before : INT64_MAX;
    CLEANUP(json_freep) json_t *list = json_array();
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = q->id ? db_query(&r->db, e, by_id, "t", q->id)
                               : db_query(&r->db, e, newest_first, "itttti", before, q->state, q->node, q->compute_node,
                                          q->donor, (int64_t)q->limit + 1);
    uint64_t last = 0, more = 0;
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&r->db, stmt, e)) == 1) {
        if (json_array_size(list) == q->limit) {
            more = last;
            break;
        }
        if (append_ended(list, stmt, e) < 0)
            return -1;
        last = (uint64_t)sqlite3_column_int64(stmt, 0);
    }
    if (rc < 0)
        return -1;
    *out = TAKE(list);
    *next = more;
    return 0;
}

static json_t *text_or_null(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return text && text[0] ? json_string(text) : json_null();
}

static json_t *audit_json(sqlite3_stmt *stmt)
{
    struct err ignored;
    json_t *detail = NULL;
    const char *text = (const char *)sqlite3_column_text(stmt, 7);
    if (!text || !text[0] || json_parse(&detail, text, (size_t)sqlite3_column_bytes(stmt, 7), &ignored) < 0)
        detail = text_or_null(stmt, 7);
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", (json_int_t)sqlite3_column_int64(stmt, 0), "at",
                     json_time(sqlite3_column_int64(stmt, 1)), "actor", text_or_null(stmt, 2), "action",
                     text_or_null(stmt, 3), "object", text_or_null(stmt, 4), "remote", text_or_null(stmt, 5),
                     "request_id", text_or_null(stmt, 6), "detail", detail);
}

int store_reader_audit(struct store_reader *r, uint64_t after, bool latest, unsigned limit, json_t **out, struct err *e)
{
    CLEANUP(json_freep) json_t *list = json_array();
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt =
        db_query(&r->db, e,
                 "SELECT id, at_ms, actor, action, object, remote, request_id, detail FROM audit"
                 " WHERE id > ?1 AND (?3 = 0 OR id IN (SELECT id FROM audit ORDER BY id DESC LIMIT ?2))"
                 " ORDER BY id LIMIT ?2",
                 "iii", after > INT64_MAX ? INT64_MAX : (int64_t)after, (int64_t)limit, (int64_t)latest);
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&r->db, stmt, e)) == 1)
        if (append(list, audit_json(stmt), e) < 0)
            return -1;
    if (rc < 0)
        return -1;
    *out = TAKE(list);
    return 0;
}
