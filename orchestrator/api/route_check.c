/* route_check.c - GET /v1/check: the invariants of the rack, one after the other, belief against what agents report.
 *
 * The history worker looks at the file and then at the published model, for all who ask at once (checks.h); the tenth,
 * this process's own resources, has figures and no verdict but at the edge of a limit. */
#include "api/checks.h"
#include "api/context.h"
#include "api/routes.h"
#include "core/rackcheck.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define CHECKS (RACKCHECK_N + STORE_CHECKS + 1)

static unsigned long figure_of(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    unsigned long n = 0;
    for (at = at ? at + strlen(name) : ""; *at == ' ' || *at == '\t'; at++)
        ;
    for (; *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (unsigned long)(*at - '0');
    return n;
}

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static void check_self(struct check *c)
{
    char status[4096] = "";
    struct rlimit limit = { 0 };
    FILE *f = fopen("/proc/self/status", "re");
    if (f) {
        status[fread(status, 1, sizeof status - 1, f)] = '\0';
        fclose(f);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    unsigned fds = count_fds();
    memset(c, 0, sizeof *c);
    c->invariant = CHECKS;
    c->name = "resources_are_there";
    check_note(c, fds >= limit.rlim_cur - limit.rlim_cur / 10 ? CHECK_VIOLATED : CHECK_OK, "orchestrator",
               "%u of %llu file descriptors are open", fds, (unsigned long long)limit.rlim_cur);
    if (c->result == CHECK_OK)
        snprintf(c->detail, sizeof c->detail, "%u descriptors, %lu threads, %lu KiB of private memory", fds,
                 figure_of(status, "Threads:"), figure_of(status, "RssAnon:"));
}

static json_t *check_json(const struct check *c)
{
    json_t *objects = json_array();
    for (unsigned i = 0; i < c->n_objects; i++)
        json_array_append_new(objects, json_safe(c->objects[i]));
    return json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:o, s:o}", "invariant", (int)c->invariant, "name", c->name,
                     "result", check_result_names[c->result], "checked", (int)c->n_checked, "unknown",
                     (int)c->n_unknown, "violated", (int)c->n_violated, "detail", json_safe(c->detail), "objects",
                     objects);
}

static json_t *all_json(const struct check *all, uint64_t as_of)
{
    enum check_result worst = CHECK_OK;
    json_t *items = json_array();
    for (unsigned i = 0; i < CHECKS; i++) {
        worst = all[i].result > worst ? all[i].result : worst;
        json_array_append_new(items, check_json(&all[i]));
    }
    return json_pack("{s:s, s:o, s:o}", "result", check_result_names[worst], "items", items, "as_of", json_u64(as_of));
}

json_t *check_everything(struct api *a, struct store_reader *r, struct err *e)
{
    CLEANUP(cleanup_free) struct check *all = calloc(CHECKS, sizeof *all);
    uint64_t published = writer_published_revision(a->writer); /* before the file is looked at */
    if (!all) {
        (void)!err_set(e, ERR_UNAVAILABLE, "out of memory");
        return NULL;
    }
    if (store_reader_check(r, published, all + RACKCHECK_N, e) < 0)
        return NULL;
    rackcheck(writer_read_lock(a->writer), all);
    writer_read_unlock(a->writer);
    check_self(&all[CHECKS - 1]);
    json_t *answer = all_json(all, writer_published_event(a->writer));
    if (!answer)
        (void)!err_set(e, ERR_UNAVAILABLE, "out of memory");
    return answer;
}

static void answer_check(struct request *rq)
{
    if (rq->rc < 0)
        reply_err(rq, &rq->err);
    else
        reply_json(rq, 200, TAKE(rq->answer));
}

void route_check(struct request *rq)
{
    checks_join(rq->api->checks, rq, answer_check);
}
