/* route_admin.c - the audit log and the online backup. */
#include "api/context.h"
#include "api/routes.h"
#include "units.h"

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
    rq->rc = store_reader_audit(r, rq->number, rq->flag, rq->limit, &rq->answer, &rq->err);
}

static void answer_audit(struct request *rq)
{
    char next[24] = "";
    size_t n = json_array_size(rq->answer);
    json_t *last = n ? json_object_get(json_array_get(rq->answer, n - 1), "id") : NULL;
    if (n == rq->limit && last && !rq->flag)
        snprintf(next, sizeof next, "%lld", (long long)json_integer_value(last));
    reply_list(rq, TAKE(rq->answer), next[0] ? next : NULL, writer_published_event(rq->api->writer));
}

void route_audit(struct request *rq)
{
    struct err e;
    uint64_t latest = 0;
    if (request_limit(rq, &rq->limit, &e) < 0 || request_number(rq, "after", INT64_MAX, &rq->number, &e) < 0 ||
        request_number(rq, "cursor", INT64_MAX, &rq->number, &e) < 0 ||
        request_number(rq, "latest", 1, &latest, &e) < 0) {
        reply_err(rq, &e);
        return;
    }
    rq->flag = latest != 0;
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
    rq->rc = store_backup(rq->api->db_path, path, time_wall_ms(), &rq->err);
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
    rq->command.recovery = true; /* it changes nothing but the audit log */
    request_change(rq, "backup", "database", apply_nothing, audited);
}
