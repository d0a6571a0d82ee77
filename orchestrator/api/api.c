/* api.c - the wiring of the API: parts start from the inside out and stop the other way round. */
#include "api/api.h"

#include "api/bootstrap.h"
#include "api/checks.h"
#include "api/context.h"
#include "api/http.h"
#include "api/routes.h"
#include "log.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_MS 1000

static void api_free(struct api *a)
{
    waits_free(a->waits);
    history_free(a->history);
    checks_free(a->checks);
    auth_free(a->auth);
    free(a->db_path);
    free(a);
}

static int start_parts(struct api *a, const struct api_options *o, struct err *e)
{
    const char *addr = o->listen_addr ? o->listen_addr : "127.0.0.1";
    a->db_path = strdup(o->db_path);
    if (!a->db_path)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (auth_new(&a->auth, e) < 0 || bootstrap_tokens(a->auth, a->writer, o->admin_token_file, e) < 0 ||
        waits_start(&a->waits, a->writer, e) < 0 || history_start(&a->history, o->db_path, e) < 0 ||
        checks_new(&a->checks, a, check_everything, e) < 0)
        return -1;
    writer_on_publish(a->writer, waits_poke, a->waits);
    return http_start(&a->http, a, addr, o->listen_port, e);
}

int api_start(struct api **out, const struct api_options *o, struct err *e)
{
    struct api *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    a->writer = o->writer;
    a->events = o->events;
    a->time_scale = o->time_scale > 0 ? o->time_scale : 1.0;
    a->heartbeat_ms = o->heartbeat_ms ? o->heartbeat_ms : HEARTBEAT_MS;
    a->started_ms = time_monotonic_ms();
    if (start_parts(a, o, e) < 0) {
        writer_on_publish(a->writer, NULL, NULL);
        api_free(a);
        return -1;
    }
    log_info("api.listening", "port=%u", http_port(a->http));
    *out = a;
    return 0;
}

void api_stop(struct api *a)
{
    if (!a)
        return;
    http_quiesce(a->http);
    waits_close(a->waits);
    http_stop(a->http); /* commands and queries under way come back first */
    writer_on_publish(a->writer, NULL, NULL);
    api_free(a);
}

unsigned api_port(const struct api *a)
{
    return http_port(a->http);
}
