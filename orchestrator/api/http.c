/* http.c - A request lives from begin() to completed(): head (gate, route, who), body, run, perhaps parked, answer.
 *
 * HEAD -> BODY: the head is taken.  BODY -> RUN: the body is complete, the route runs.  RUN -> PARKED: somebody else
 * has the request, its connection is suspended.  PARKED -> RUN: it was woken, its 'next' runs.  An answer ends it. What
 * was refused in the head keeps its reply while its body is read and dropped.  See http.h. */
#include "api/http.h"

#include "api/access.h"
#include "api/context.h"
#include "api/gate.h"
#include "api/http_answer.h"
#include "api/http_body.h"
#include "api/leavers.h"
#include "api/peers.h"
#include "api/routes.h"
#include "api/strangers.h"
#include "faultpoint.h"
#include "log.h"
#include "units.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTION_MEMORY (48u << 10)
#define STRANGER_TIMEOUT_S 15 /* until a credential was seen */
#define KNOWN_TIMEOUT_S 90
#define DESCRIPTORS_SPARE 16 /* for the database and the like; nobody waits in them */

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_RUN, PHASE_PARKED };

struct http {
    struct api *api;
    struct MHD_Daemon *daemon;
    struct peers *peers;
    struct strangers strangers;
    struct leavers *leavers;
    unsigned port, limit;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    unsigned n_parked;
    bool stopping;
};

struct visitor { /* a connection */
    struct stranger stranger;
    struct leaver leaver;
};

/* ---- a request's life ---------------------------------------------------------------------------------------------
 */

static const struct sockaddr *address_of(struct MHD_Connection *con)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

/* Called for each request before anything else of it is known; the result is the request's context. */
static void *begin(void *cls, const char *uri, struct MHD_Connection *con)
{
    struct http *h = cls;
    struct request *rq = calloc(1, sizeof *rq);
    const struct sockaddr *from = address_of(con);
    if (!rq)
        return NULL;
    rq->api = h->api;
    rq->connection = con;
    rq->phase = PHASE_HEAD;
    rq->reply.fd = -1;
    if (from)
        peers_format(from, rq->remote, sizeof rq->remote, rq->network, sizeof rq->network);
    err_clear(&rq->err);
    rq->rc = target_parse(&rq->target, uri, &rq->err);
    return rq;
}

static void request_free(struct request *rq)
{
    if (!rq)
        return;
    reply_done(&rq->reply);
    json_decref(rq->body);
    json_decref(rq->answer);
    json_decref(rq->extra);
    if (rq->data && rq->data_free)
        rq->data_free(rq->data);
    body_drop(rq);
    free(rq);
}

static struct visitor *visitor_of(struct MHD_Connection *con)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void visitor_busy(struct http *h, struct MHD_Connection *con, bool busy)
{
    struct visitor *v = visitor_of(con);
    if (v)
        leavers_busy(h->leavers, &v->leaver, busy);
}

static void completed(void *cls, struct MHD_Connection *con, void **con_cls, enum MHD_RequestTerminationCode why)
{
    struct request *rq = *con_cls;
    (void)why;
    visitor_busy(cls, con, false);
    if (rq && rq->match.route)
        FAULT_POINT("sent.%s%s", rq->method, rq->match.route->pattern);
    request_free(rq);
    *con_cls = NULL;
}

const char *request_header(const struct request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
}

/* ---- parking ------------------------------------------------------------------------------------------------------
 */

bool http_park_stream(struct http *h, void *connection)
{
    pthread_mutex_lock(&h->lock);
    bool may = !h->stopping;
    if (may)
        h->n_parked++;
    pthread_mutex_unlock(&h->lock);
    if (may)
        MHD_suspend_connection(connection);
    return may;
}

void http_wake_stream(struct http *h, void *connection)
{
    MHD_resume_connection(connection);
    pthread_mutex_lock(&h->lock);
    h->n_parked--;
    pthread_cond_signal(&h->woken);
    pthread_mutex_unlock(&h->lock);
}

bool http_park(struct request *rq)
{
    if (!http_park_stream(rq->api->http, rq->connection))
        return false;
    rq->phase = PHASE_PARKED;
    return true;
}

bool http_client_gone(const struct request *rq)
{
    const struct visitor *v = visitor_of(rq->connection);
    return v && leavers_gone(v->leaver.fd);
}

void http_wake(struct request *rq)
{
    http_wake_stream(rq->api->http, rq->connection);
}

void http_trust(struct request *rq)
{
    const struct sockaddr *from = address_of(rq->connection);
    if (from)
        peers_trust(rq->api->http->peers, from);
}

unsigned http_parked(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    unsigned n = h->n_parked;
    pthread_mutex_unlock(&h->lock);
    return n;
}

/* ---- the head -----------------------------------------------------------------------------------------------------
 */

static enum MHD_Result each_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    gate_header(cls, name, value);
    return MHD_YES;
}

static bool hex_text(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr("0123456789abcdef", s[i]) || s[i] == '\0')
            return false;
    return true;
}

/* The trace id of a W3C traceparent, or a new one. */
static void name_request(struct request *rq)
{
    const char *parent = request_header(rq, "traceparent");
    struct err ignored;
    if (parent && strlen(parent) == 55 && parent[2] == '-' && parent[35] == '-' && hex_text(parent + 3, 32))
        snprintf(rq->id, sizeof rq->id, "%.32s", parent + 3);
    else if (secret_new("", 16, rq->id, sizeof rq->id, &ignored) < 0)
        snprintf(rq->id, sizeof rq->id, "0");
}

static int find_route(struct request *rq, struct err *e)
{
    router_match(&rq->match, routes, n_routes, rq->method, &rq->target);
    if (rq->match.route)
        return 0;
    if (rq->match.allow[0]) {
        reply_header(rq, "Allow", "%s", rq->match.allow);
        return err_set(e, ERR_METHOD, "%s is not among %s", rq->method, rq->match.allow);
    }
    return err_set(e, ERR_NOT_FOUND, "nothing at %.120s", rq->target.raw);
}

static int check_head(struct request *rq, const struct gate *g, const char *version, bool *framing, struct err *e)
{
    if (gate_check(g, rq->method, version, framing, e) < 0) {
        rq->api->counters.refused_by_gate++;
        return -1;
    }
    if (rq->rc < 0) { /* of target_parse() */
        *e = rq->err;
        return -1;
    }
    if (find_route(rq, e) < 0 || access_check(rq, e) < 0 || request_check_query(rq, e) < 0)
        return -1;
    if (g->length > body_max(rq))
        return err_set(e, ERR_TOO_LARGE, "the body has more than %u bytes", body_max(rq));
    return 0;
}

static void no_stranger(struct request *rq)
{
    struct visitor *v = visitor_of(rq->connection);
    if (v)
        strangers_remove(&rq->api->http->strangers, &v->stranger);
}

/* Answers true when the answer has to go out at once: the body's end is in doubt, too far away, or not sent yet. */
static bool take_head(struct request *rq, const char *version)
{
    struct gate g;
    struct err e;
    bool framing = false;
    gate_init(&g);
    MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, each_header, &g);
    name_request(rq);
    rq->if_match = request_header(rq, "If-Match");
    if (check_head(rq, &g, version, &framing, &e) == 0) {
        if (rq->signed_in)
            no_stranger(rq);
        MHD_set_connection_option(rq->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                  rq->signed_in ? KNOWN_TIMEOUT_S : STRANGER_TIMEOUT_S);
        return false;
    }
    if (framing)
        reply_header(rq, "Connection", "close");
    if (e.code == ERR_UNAUTHENTICATED)
        reply_header(rq, "WWW-Authenticate", "Bearer realm=\"memlane\"");
    reply_err(rq, &e);
    return framing || g.length > BODY_SWALLOW_MAX || request_header(rq, "Expect") != NULL;
}

/* ---- the answer ---------------------------------------------------------------------------------------------------
 */

static void run(struct request *rq)
{
    struct err e;
    rq->phase = PHASE_RUN;
    if (rq->reply.status)
        return;
    if (body_parse(rq, &e) < 0)
        reply_err(rq, &e);
    else
        rq->match.route->handle(rq);
}

static void nothing_said(struct request *rq)
{
    struct err e;
    (void)!err_set(&e, ERR_INTERNAL, "the route gave no answer");
    log_error("http.no_answer", "method=%s route=%s", rq->method, rq->match.route ? rq->match.route->pattern : "none");
    reply_err(rq, &e);
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *con, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **con_cls)
{
    struct request *rq = *con_cls;
    (void)cls;
    (void)con;
    (void)url;
    if (!rq)
        return MHD_NO;
    if (rq->phase == PHASE_HEAD) {
        snprintf(rq->method, sizeof rq->method, "%s", method);
        rq->phase = PHASE_BODY;
        return take_head(rq, version) ? http_answer(rq) : MHD_YES;
    }
    if (*size > 0) {
        bool ok = body_take(rq, data, *size);
        *size = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    if (rq->phase == PHASE_BODY) {
        visitor_busy(rq->api->http, rq->connection, true);
        run(rq);
    } else if (rq->phase == PHASE_PARKED) {
        rq->phase = PHASE_RUN;
        rq->next(rq);
    }
    if (rq->phase == PHASE_PARKED)
        return MHD_YES;
    if (rq->reply.status == 0)
        nothing_said(rq);
    return http_answer(rq);
}

/* ---- the server ---------------------------------------------------------------------------------------------------
 */

/* The target is ours to decode (target.h): the library leaves it alone. */
static size_t keep_escapes(void *cls, struct MHD_Connection *con, char *s)
{
    (void)cls;
    (void)con;
    return strlen(s);
}

static enum MHD_Result may_connect(void *cls, const struct sockaddr *from, socklen_t len)
{
    struct http *h = cls;
    (void)len;
    if (peers_count(h->peers) >= h->limit - h->limit / 4)
        strangers_evict(&h->strangers);
    if (peers_may_enter(h->peers, from))
        return MHD_YES;
    h->api->counters.refused_connections++;
    log_warn("http.connection_refused", "open=%u", peers_count(h->peers));
    return MHD_NO;
}

/* The lowest free descriptor is near the limit, which may have been lowered since we started: the library would stop
 * to accept until somebody leaves. */
static bool descriptors_scarce(int fd)
{
    struct rlimit rl;
    return getrlimit(RLIMIT_NOFILE, &rl) == 0 && (rlim_t)fd + DESCRIPTORS_SPARE >= rl.rlim_cur;
}

static struct visitor *new_visitor(struct http *h, struct MHD_Connection *con)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct visitor *v = info ? calloc(1, sizeof *v) : NULL;
    if (!v)
        return NULL;
    v->stranger.fd = v->leaver.fd = info->connect_fd;
    if (descriptors_scarce(info->connect_fd))
        strangers_evict(&h->strangers);
    strangers_add(&h->strangers, &v->stranger);
    leavers_add(h->leavers, &v->leaver);
    return v;
}

static void forget_visitor(struct http *h, struct visitor *v)
{
    strangers_remove(&h->strangers, &v->stranger);
    leavers_remove(h->leavers, &v->leaver);
    free(v);
}

static void connection_changed(void *cls, struct MHD_Connection *con, void **ctx,
                               enum MHD_ConnectionNotificationCode code)
{
    struct http *h = cls;
    const struct sockaddr *from = address_of(con);
    if (from && code == MHD_CONNECTION_NOTIFY_STARTED)
        peers_enter(h->peers, from);
    else if (from)
        peers_leave(h->peers, from);
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *ctx = new_visitor(h, con);
    else if (*ctx)
        forget_visitor(h, *ctx);
}

static void library_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void library_log(void *cls, const char *fmt, va_list ap)
{
    char text[200];
    (void)cls;
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("http.library", "%s", text);
}

static int bind_socket(const char *addr, unsigned port, int *out, struct err *e)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    char service[16];
    int on = 1;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(addr, service, &hints, &list) != 0 || !list)
        return err_set(e, ERR_FIELD_INVALID, "%.100s is not an address to listen on", addr);
    CLEANUP(cleanup_close) int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -1 : 0;
    if (rc == 0 && !peers_is_loopback(list->ai_addr))
        log_warn("http.plain", "addr=%s detail=\"listening beyond loopback without TLS\"", addr);
    if (rc == 0)
        rc = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rc == 0)
        rc = bind(fd, list->ai_addr, list->ai_addrlen);
    if (rc == 0)
        rc = listen(fd, 511);
    freeaddrinfo(list);
    if (rc < 0)
        return err_errno(e, ERR_IO, "cannot listen on %.100s port %u", addr, port);
    *out = fd;
    fd = -1;
    return 0;
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return 0;
    if (ss.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
    return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

/* Leaves room below the limit of descriptors for the database and the like. */
static unsigned connection_limit(void)
{
    struct rlimit rl;
    rlim_t files = getrlimit(RLIMIT_NOFILE, &rl) == 0 ? rl.rlim_cur : 1024;
    rlim_t room = files > 128 ? files - 64 : files / 2;
    return room < HTTP_CONNECTIONS_MAX ? (unsigned)room : HTTP_CONNECTIONS_MAX;
}

static struct MHD_Daemon *start_daemon(struct http *h, int fd, unsigned limit)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    return MHD_start_daemon(
        flags, 0, may_connect, h, handle, h, MHD_OPTION_EXTERNAL_LOGGER, library_log, h, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)STRANGER_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, begin, h, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, h, MHD_OPTION_END);
}

static void http_free(struct http *h)
{
    leavers_free(h->leavers);
    peers_free(h->peers);
    pthread_cond_destroy(&h->woken);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static int listen_and_run(struct http *h, const char *addr, unsigned port, struct err *e)
{
    unsigned limit = h->limit = connection_limit();
    CLEANUP(cleanup_close) int fd = -1;
    if (peers_new(&h->peers, limit, e) < 0 || leavers_start(&h->leavers, e) < 0 || bind_socket(addr, port, &fd, e) < 0)
        return -1;
    h->port = port_of(fd);
    h->daemon = start_daemon(h, fd, limit);
    if (!h->daemon)
        return err_set(e, ERR_INTERNAL, "the HTTP server does not start");
    fd = -1; /* the daemon's */
    return 0;
}

int http_start(struct http **out, struct api *a, const char *addr, unsigned port, struct err *e)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    h->api = a;
    strangers_init(&h->strangers);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->woken, NULL);
    *out = h; /* handlers may run before we return */
    if (listen_and_run(h, addr, port, e) < 0) {
        *out = NULL;
        http_free(h);
        return -1;
    }
    return 0;
}

void http_quiesce(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_mutex_unlock(&h->lock);
    int fd = MHD_quiesce_daemon(h->daemon);
    if (fd >= 0)
        close(fd);
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    while (h->n_parked > 0)
        pthread_cond_wait(&h->woken, &h->lock);
    pthread_mutex_unlock(&h->lock);
    MHD_stop_daemon(h->daemon);
    http_free(h);
}

unsigned http_port(const struct http *h)
{
    return h->port;
}

unsigned http_connections(const struct http *h)
{
    return peers_count(h->peers);
}
