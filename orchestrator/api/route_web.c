/* route_web.c - the dashboard's files, from the table that was built in.  No path ever becomes a file name. */
#include "api/routes.h"
#include "api/web_table.h"

#include <stdio.h>
#include <string.h>

static const char csp[] =
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types memlane";

static bool takes_gzip(const struct request *rq)
{
    const char *accept = request_header(rq, "Accept-Encoding");
    const char *gzip = accept ? strstr(accept, "gzip") : NULL;
    return gzip && strncmp(gzip + 4, ";q=0,", 5) != 0 && strcmp(gzip + 4, ";q=0") != 0;
}

static const struct web_file *find(const char *path, bool gzip)
{
    for (size_t i = 0; i < web_n_files; i++)
        if (strcmp(web_files[i].path, path) == 0 && (gzip || !web_files[i].gzip))
            return &web_files[i];
    return NULL;
}

void route_web(struct request *rq)
{
    char path[TARGET_MAX];
    snprintf(path, sizeof path, "/%s%s%s", rq->target.n_segments > 0 ? rq->target.segments[0] : "",
             rq->target.n_segments > 1 ? "/" : "", rq->target.n_segments > 1 ? rq->target.segments[1] : "");
    const struct web_file *f = find(path, takes_gzip(rq));
    const char *have = request_header(rq, "If-None-Match");
    struct err e;
    if (!f) {
        (void)!err_set(&e, ERR_NOT_FOUND, "%s", web_n_files ? "nothing at this path" : "this build has no dashboard");
        reply_err(rq, &e);
        return;
    }
    reply_header(rq, "ETag", "%s", f->etag);
    reply_header(rq, "Vary", "Accept-Encoding");
    reply_header(rq, "Cache-Control", "%s",
                 strncmp(path, "/assets/", 8) == 0 ? "public, max-age=31536000, immutable" : "no-cache");
    reply_header(rq, "Content-Security-Policy", "%s", csp);
    reply_header(rq, "Cross-Origin-Opener-Policy", "same-origin");
    if (f->gzip)
        reply_header(rq, "Content-Encoding", "gzip");
    if (have && strstr(have, f->etag))
        reply_empty(rq, 304);
    else
        reply_static(rq, 200, f->type, f->data, f->size);
}
