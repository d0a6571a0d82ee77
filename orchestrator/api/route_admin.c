/* route_admin.c - the audit log, the online backup, what agents hold that nobody owns, and the end of recovering. */
#include "api/context.h"
#include "api/routes.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- audit --------------------------------------------------------------------------------------------------------
 */

static void query_audit(struct request *rq, struct store_reader *r)
{
    rq->rc = store_reader_audit(r, rq->number, rq->limit, &rq->answer, &rq->err);
}

static void answer_audit(struct request *rq)
{
    char next[24] = "";
    size_t n = json_array_size(rq->answer);
    json_t *last = n ? json_object_get(json_array_get(rq->answer, n - 1), "id") : NULL;
    if (n == rq->limit && last)
        snprintf(next, sizeof next, "%lld", (long long)json_integer_value(last));
    reply_list(rq, TAKE(rq->answer), next[0] ? next : NULL, writer_published_event(rq->api->writer));
}

void route_audit(struct request *rq)
{
    static const char *const known[] = { "after", "cursor", "limit", NULL };
    struct err e;
    if (request_query_only(rq, known, &e) < 0 || request_limit(rq, &rq->limit, &e) < 0 ||
        request_number(rq, "after", INT64_MAX, &rq->number, &e) < 0 ||
        request_number(rq, "cursor", INT64_MAX, &rq->number, &e) < 0)
        reply_err(rq, &e);
    else
        request_history(rq, query_audit, answer_audit);
}

/* ---- backup: audited first, then made beside the database, opened, unlinked and sent
 * ----------------------------------- */

static void query_backup(struct request *rq, struct store_reader *r)
{
    char path[PATH_MAX];
    (void)r;
    if ((size_t)snprintf(path, sizeof path, "%s.backup-%.12s", rq->api->db_path, rq->id) >= sizeof path) {
        rq->rc = err_set(&rq->err, ERR_INTERNAL, "the database's path is too long");
        return;
    }
    rq->rc = store_backup(rq->api->db_path, path, &rq->err);
    if (rq->rc == 0) {
        rq->reply.fd = open(path, O_RDONLY | O_CLOEXEC);
        if (rq->reply.fd < 0)
            rq->rc = err_errno(&rq->err, ERR_IO, "the backup cannot be read");
    }
    unlink(path);
}

static void answer_backup(struct request *rq)
{
    int fd = rq->reply.fd;
    rq->reply.fd = -1;
    reply_header(rq, "Content-Disposition", "attachment; filename=\"memlane-%llu.db\"",
                 (unsigned long long)writer_published_revision(rq->api->writer));
    reply_file(rq, "application/vnd.sqlite3", fd);
}

static int apply_nothing(struct request *rq, struct change *ch, struct err *e)
{
    (void)rq;
    (void)ch;
    (void)e;
    return 0;
}

static void audited(struct request *rq)
{
    request_history(rq, query_backup, answer_backup);
}

void route_backup(struct request *rq)
{
    request_change(rq, "backup", "database", apply_nothing, audited);
}

/* ---- unowned ------------------------------------------------------------------------------------------------------
 */

static json_t *list_unowned(const struct model *m)
{
    json_t *items = json_array();
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        for (unsigned k = 0; n && k < n->n_unowned; k++) {
            const struct unowned *u = &n->unowned[k];
            json_array_append_new(items, json_pack("{s:s, s:s, s:o, s:o, s:o}", "node", n->name, "kind", u->kind, "id",
                                                   json_or_null(u->id), "detail", json_safe(u->detail), "size_bytes",
                                                   json_u64(u->size_bytes)));
        }
    }
    return items;
}

void route_unowned(struct request *rq)
{
    uint64_t as_of = writer_published_event(rq->api->writer);
    json_t *items = list_unowned(writer_read_lock(rq->api->writer));
    writer_read_unlock(rq->api->writer);
    reply_list(rq, items, NULL, as_of);
}

/* ---- adopt: an operator says that this database is the one to go on with
 * ------------------------------------------------ */

static int apply_adopt(struct request *rq, struct change *ch, struct err *e)
{
    uint64_t known = 0;
    (void)rq;
    if (!writer_recovering(ch->writer, &known))
        return err_set(e, ERR_CONFLICT, "the orchestrator is not recovering");
    return store_raise_epoch(ch->store, known, e);
}

static void adoption_committed(struct request *rq)
{
    writer_recovered(rq->api->writer);
}

void route_adopt(struct request *rq)
{
    rq->command.recovery = true;
    rq->committed = adoption_committed;
    request_change(rq, "recovery.adopt", "orchestrator", apply_adopt, route_status);
}
