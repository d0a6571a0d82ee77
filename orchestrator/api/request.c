/* request.c - what routes ask of a request, and how it is parked; see request.h. */
#include "api/request.h"

#include "api/context.h"
#include "api/http.h"
#include "log.h"
#include "units.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OF(member, pointer) ((struct request *)((char *)(pointer)-offsetof(struct request, member)))

/* ---- what the request says ----------------------------------------------------------------------------------------
 */

const char *request_query(const struct request *rq, const char *name)
{
    return target_query(&rq->target, name);
}

int request_number(const struct request *rq, const char *name, uint64_t max, uint64_t *inout, struct err *e)
{
    const char *text = request_query(rq, name);
    uint64_t value;
    struct err ignored;
    if (!text)
        return 0;
    if (units_parse_u64(text, &value, &ignored) < 0 || value > max)
        return err_field(e, ERR_FIELD_INVALID, name, "%s has to be a whole number of at most %llu", name,
                         (unsigned long long)max);
    *inout = value;
    return 0;
}

int request_limit(const struct request *rq, unsigned *out, struct err *e)
{
    uint64_t limit = LIST_LIMIT;
    if (request_number(rq, "limit", LIST_LIMIT_MAX, &limit, e) < 0)
        return -1;
    if (limit == 0)
        return err_field(e, ERR_FIELD_INVALID, "limit", "limit has to be 1 to %d", LIST_LIMIT_MAX);
    *out = (unsigned)limit;
    return 0;
}

static bool takes(const char *names, const char *name)
{
    size_t len = strlen(name);
    while (*names) {
        size_t n = strcspn(names, " ");
        if (n == len && memcmp(names, name, n) == 0)
            return true;
        names += n + (names[n] == ' ');
    }
    return false;
}

int request_check_query(const struct request *rq, struct err *e)
{
    for (unsigned i = 0; i < rq->target.n_query; i++) {
        const char *name = rq->target.query[i].name;
        if (!takes(rq->match.route->query, name))
            return err_field(e, ERR_FIELD_UNKNOWN, name, "unknown query parameter %.60s", name);
    }
    return 0;
}

int request_cursor(const struct request *rq, const char *prefix, const char **out, struct err *e)
{
    const char *text = request_query(rq, "cursor");
    size_t len = strlen(prefix);
    if (text && strncmp(text, prefix, len) != 0)
        return err_field(e, ERR_FIELD_INVALID, "cursor", "the cursor is none that this list gave");
    *out = text ? text + len : NULL;
    return 0;
}

static bool tag_fits(const char *list, const char *base)
{
    size_t len = strlen(base);
    for (const char *tag = list; (tag = strchr(tag, '"')) != NULL;) {
        const char *end = strchr(tag + 1, '"');
        if (!end)
            return false;
        bool weak = tag - list >= 2 && tag[-1] == '/' && tag[-2] == 'W';
        size_t n = (size_t)(end - tag - 1);
        if (!weak && n >= len && memcmp(tag + 1, base, len) == 0 && (n == len || tag[1 + len] == '-'))
            return true;
        tag = end + 1;
    }
    return false;
}

int request_if_match(const struct request *rq, const char *etag_base, bool required, struct err *e)
{
    const char *list = rq->if_match;
    if (!list)
        return required ? err_set(e, ERR_PRECONDITION_REQUIRED, "this change needs an If-Match header") : 0;
    if (strcmp(list, "*") == 0 || tag_fits(list, etag_base))
        return 0;
    return err_set(e, ERR_PRECONDITION, "the resource is not what If-Match names");
}

/* ---- parking ------------------------------------------------------------------------------------------------------
 */

static void refuse_stopping(struct request *rq)
{
    struct err e;
    (void)!err_set(&e, ERR_UNAVAILABLE, "the orchestrator is stopping");
    reply_err(rq, &e);
}

/* The HTTP thread runs this instead of the route's 'next' when the change or query failed. */
static void next_failed(struct request *rq)
{
    reply_err(rq, &rq->err);
}

static int apply_change(struct command *c, struct change *ch, struct err *e)
{
    struct request *rq = OF(command, c);
    (void)json_starved();
    if (rq->apply(rq, ch, e) < 0)
        return -1;
    return json_starved() ? err_set(e, ERR_UNAVAILABLE, "out of memory") : 0;
}

static void change_done(struct command *c, int rc, const struct err *e)
{
    struct request *rq = OF(command, c);
    rq->rc = rc;
    if (rc < 0) {
        rq->err = *e;
        rq->next = next_failed;
    } else if (rq->committed) {
        rq->committed(rq);
        rq->starved = json_starved();
    }
    http_wake(rq);
}

static void fill_audit(struct request *rq, const char *action, const char *object)
{
    struct audit *a = &rq->command.audit;
    if (!rq->signed_in)
        snprintf(a->actor, sizeof a->actor, "anonymous");
    else
        snprintf(a->actor, sizeof a->actor, "%s:%s", rq->who.role == TOKEN_AGENT ? "agent" : "token", rq->who.name);
    snprintf(a->action, sizeof a->action, "%s", action ? action : "");
    snprintf(a->object, sizeof a->object, "%s", object ? object : "");
    snprintf(a->remote, sizeof a->remote, "%s", rq->remote);
    snprintf(a->request_id, sizeof a->request_id, "%s", rq->id);
}

void request_audit_detail(struct request *rq, const json_t *detail)
{
    struct audit *a = &rq->command.audit;
    char *text = json_text(detail);
    if (text && strlen(text) < sizeof a->detail)
        memcpy(a->detail, text, strlen(text) + 1);
    free(text);
}

void request_change(struct request *rq, const char *action, const char *object,
                    int (*apply)(struct request *rq, struct change *ch, struct err *e),
                    void (*next)(struct request *rq))
{
    fill_audit(rq, action, object);
    rq->apply = apply;
    rq->next = next;
    rq->command.apply = apply_change;
    rq->command.done = change_done;
    rq->command.read_only = action == NULL;
    rq->command.next = NULL;
    if (!http_park(rq)) {
        refuse_stopping(rq);
        return;
    }
    if (writer_submit(rq->api->writer, &rq->command, &rq->err) < 0) {
        rq->next = next_failed;
        http_wake(rq);
    }
}

static void run_query(struct job *j, struct store_reader *r, const struct err *why)
{
    struct request *rq = OF(job, j);
    rq->rc = 0;
    (void)json_starved();
    if (r) {
        rq->query(rq, r);
        if (rq->rc == 0 && json_starved())
            rq->rc = err_set(&rq->err, ERR_UNAVAILABLE, "out of memory");
    } else {
        rq->rc = -1;
        rq->err = *why;
    }
    if (rq->rc < 0)
        rq->next = next_failed;
    http_wake(rq);
}

void request_history(struct request *rq, void (*query)(struct request *rq, struct store_reader *r),
                     void (*next)(struct request *rq))
{
    rq->query = query;
    rq->next = next;
    rq->job.run = run_query;
    if (!http_park(rq)) {
        refuse_stopping(rq);
        return;
    }
    if (history_submit(rq->api->history, &rq->job, &rq->err) < 0) {
        rq->next = next_failed;
        http_wake(rq);
    }
}

static bool waiter_ready(struct waiter *w, const struct model *m)
{
    struct request *rq = OF(waiter, w);
    return rq->ready(rq, m);
}

static bool waiter_gone(struct waiter *w)
{
    return http_client_gone(OF(waiter, w));
}

static void waiter_wake(struct waiter *w)
{
    http_wake(OF(waiter, w));
}

void request_wait(struct request *rq, bool (*ready)(struct request *rq, const struct model *m), int64_t deadline_ms,
                  void (*next)(struct request *rq))
{
    rq->ready = ready;
    rq->next = next;
    rq->waiter =
        (struct waiter){ .ready = waiter_ready, .gone = waiter_gone, .wake = waiter_wake, .deadline_ms = deadline_ms };
    if (!http_park(rq)) {
        refuse_stopping(rq);
        return;
    }
    if (!waits_add(rq->api->waits, &rq->waiter))
        http_wake(rq);
}
