/* client.c - see client.h.
 *
 * One easy handle, and one multi handle that drives it: the connection cache lives in the multi handle, and
 * curl_multi_wakeup() is what makes an interrupt from another thread take effect at once.  Between requests the easy
 * handle is reset to the same base options, so that nothing of one request leaks into the next.  libcurl's types stay
 * in here. */
#include "client_internal.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX_DEFAULT (UINT64_C(64) << 20)
#define CONNECT_TIMEOUT_DEFAULT_MS 5000L
#define UNIX_PREFIX "unix:"

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_once_result;

static void init_curl(void)
{
    curl_once_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool text_append(struct text *t, const char *data, size_t len)
{
    if (t->len + len + 1 > t->cap) {
        size_t cap = t->cap ? t->cap : 1024;
        while (cap < t->len + len + 1)
            cap *= 2;
        char *grown = realloc(t->data, cap);
        if (!grown)
            return false;
        t->data = grown;
        t->cap = cap;
    }
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
    return true;
}

void text_clear(struct text *t)
{
    t->len = 0;
    if (t->data)
        t->data[0] = '\0';
}

void text_done(struct text *t)
{
    free(t->data);
    *t = (struct text){ 0 };
}

static int copy_string(char **out, const char *text, struct err *e)
{
    char *copy = NULL;
    if (text && !(copy = strdup(text)))
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    free(*out);
    *out = copy;
    return 0;
}

static int set_url(struct client *c, const char *url, struct err *e)
{
    if (!strncmp(url, UNIX_PREFIX, strlen(UNIX_PREFIX))) {
        snprintf(c->base, sizeof c->base, "http://localhost");
        return copy_string(&c->unix_path, url + strlen(UNIX_PREFIX), e);
    }
    if (strncmp(url, "http://", 7) && strncmp(url, "https://", 8))
        return err_field(e, ERR_FIELD_INVALID, "url", "\"%.100s\" begins with none of http://, https://, unix:", url);
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    if (len >= sizeof c->base)
        return err_field(e, ERR_FIELD_INVALID, "url", "the URL is longer than %d characters", URL_MAX_LEN - 1);
    memcpy(c->base, url, len);
    c->base[len] = '\0';
    return 0;
}

static void client_freep(struct client **c)
{
    client_free(*c);
}

int client_new(struct client **out, const struct client_options *o, struct err *e)
{
    pthread_once(&curl_once, init_curl);
    if (curl_once_result != CURLE_OK)
        return err_set(e, ERR_INTERNAL, "libcurl: %s", curl_easy_strerror(curl_once_result));
    CLEANUP(client_freep) struct client *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    if (!c->easy || !c->multi)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    c->save_fd = -1;
    c->connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_DEFAULT_MS;
    c->body_max = o->body_max ? o->body_max : BODY_MAX_DEFAULT;
    if (set_url(c, o->url, e) < 0 || copy_string(&c->ca_file, o->ca_file, e) < 0 ||
        copy_string(&c->user_agent, o->user_agent ? o->user_agent : "memlane/" MEMLANE_VERSION, e) < 0 ||
        client_set_token(c, o->token, e) < 0)
        return -1;
    *out = TAKE(c);
    return 0;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    free(c->unix_path);
    free(c->authorization);
    free(c->ca_file);
    free(c->user_agent);
    text_done(&c->body);
    free(c);
}

int client_set_token(struct client *c, const char *token, struct err *e)
{
    char *header = NULL;
    if (token) {
        if (strpbrk(token, "\r\n"))
            return err_field(e, ERR_FIELD_INVALID, "token", "the token contains a line break");
        if (asprintf(&header, "Authorization: Bearer %s", token) < 0)
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    free(c->authorization);
    c->authorization = header;
    return 0;
}

/* ---- one transfer -------------------------------------------------------------------------------------------------
 */

static size_t save(struct client *c, const char *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(c->save_fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->save_errno = errno;
            return 0;
        }
        done += (size_t)n;
    }
    return len;
}

size_t client_on_body(char *data, size_t size, size_t n, void *arg)
{
    struct client *c = arg;
    long status = 0;
    if (c->save_fd >= 0 && curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200)
        return save(c, data, size * n);
    if (c->body.len + size * n > c->body_max) {
        c->too_large = true;
        return 0;
    }
    if (!text_append(&c->body, data, size * n)) {
        c->no_memory = true;
        return 0;
    }
    return size * n;
}

/* Programs that we start must not inherit the connection. */
static curl_socket_t open_socket(void *arg UNUSED, curlsocktype purpose UNUSED, struct curl_sockaddr *a)
{
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

void client_prepare(struct client *c)
{
    CURL *h = c->easy;
    curl_easy_reset(h);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, c->connect_timeout_ms);
    curl_easy_setopt(h, CURLOPT_USERAGENT, c->user_agent);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->curl_error);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, client_on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
    if (c->unix_path)
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->unix_path);
    if (c->ca_file)
        curl_easy_setopt(h, CURLOPT_CAINFO, c->ca_file);
}

int client_set_path(struct client *c, const char *path, struct err *e)
{
    char url[URL_MAX_LEN * 2];
    int n = snprintf(url, sizeof url, "%s%s", c->base, path);
    if (n < 0 || (size_t)n >= sizeof url)
        return err_set(e, ERR_FIELD_INVALID, "the path of the request is too long");
    if (curl_easy_setopt(c->easy, CURLOPT_URL, url) != CURLE_OK)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    return 0;
}

int client_add_header(struct curl_slist **list, const char *header, struct err *e)
{
    struct curl_slist *grown = curl_slist_append(*list, header);
    if (!grown)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    *list = grown;
    return 0;
}

void client_slist_freep(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

int client_transfer_error(struct client *c, CURLcode code, struct err *e)
{
    if (c->too_large)
        return err_set(e, ERR_TOO_LARGE, "the answer of %s is over %zu bytes", c->base, c->body_max);
    if (c->save_errno) {
        errno = c->save_errno;
        return err_errno(e, ERR_IO, "the answer of %s cannot be written", c->base);
    }
    if (c->no_memory || code == CURLE_OUT_OF_MEMORY)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    const char *why = c->curl_error[0] ? c->curl_error : curl_easy_strerror(code);
    enum err_code kind = code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNREACHABLE;
    return err_set(e, kind, "%s: %s", c->unix_path ? c->unix_path : c->base, why);
}

/* Runs the transfer that the easy handle is set up for. */
int client_transfer(struct client *c, CURLcode *result, struct err *e)
{
    c->curl_error[0] = '\0';
    c->too_large = c->no_memory = false;
    c->save_errno = 0;
    text_clear(&c->body);
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    int running = 1, rc = 0;
    bool done = false;
    while (!done) {
        if (atomic_load(&c->interrupted)) {
            rc = err_set(e, ERR_TIMEOUT, "%s: interrupted", c->base);
            break;
        }
        CURLMcode code = curl_multi_perform(c->multi, &running);
        int left;
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));)
            if (m->msg == CURLMSG_DONE) {
                *result = m->data.result;
                done = true;
            }
        if (!done && code == CURLM_OK)
            code = curl_multi_poll(c->multi, NULL, 0, 1000, NULL);
        if (code != CURLM_OK) {
            rc = err_set(e, ERR_INTERNAL, "libcurl: %s", curl_multi_strerror(code));
            break;
        }
    }
    curl_multi_remove_handle(c->multi, c->easy);
    return rc;
}

static void copy_response_header(CURL *h, const char *name, char *out, size_t size)
{
    struct curl_header *header;
    out[0] = '\0';
    if (curl_easy_header(h, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK && strlen(header->value) < size)
        strcpy(out, header->value);
}

void client_read_answer(struct client *c, struct client_answer *out)
{
    struct err ignored;
    *out = (struct client_answer){ 0 };
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &out->status);
    copy_response_header(c->easy, "ETag", out->etag, sizeof out->etag);
    copy_response_header(c->easy, "Location", out->location, sizeof out->location);
    if (c->body.len && json_parse(&out->body, c->body.data, c->body.len, &ignored) < 0)
        out->body = NULL;
}

static int set_body(struct client *c, const char *method, const char *text)
{
    CURL *h = c->easy;
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    if (text) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, text);
        return 1;
    }
    if (!strcmp(method, "HEAD")) {
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") && strcmp(method, "DELETE")) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, "");
    }
    return 0;
}

int client_request(struct client *c, const char *method, const char *path, const json_t *body,
                   const char *const *headers, long timeout_ms, struct client_answer *out, struct err *e)
{
    CLEANUP(client_slist_freep) struct curl_slist *list = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    if (body && !(text = json_dumps(body, JSON_COMPACT)))
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    client_prepare(c);
    if (client_set_path(c, path, e) < 0 || client_add_header(&list, "Expect:", e) < 0 ||
        client_add_header(&list, "Accept: application/json", e) < 0)
        return -1;
    if (set_body(c, method, text) && client_add_header(&list, "Content-Type: application/json", e) < 0)
        return -1;
    if (c->authorization && client_add_header(&list, c->authorization, e) < 0)
        return -1;
    for (; headers && *headers; headers++)
        if (client_add_header(&list, *headers, e) < 0)
            return -1;
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    CURLcode code = CURLE_OK;
    if (client_transfer(c, &code, e) < 0)
        return -1;
    if (code != CURLE_OK)
        return client_transfer_error(c, code, e);
    client_read_answer(c, out);
    return 0;
}

int client_save(struct client *c, const char *method, const char *path, const char *const *headers, int fd,
                long timeout_ms, struct client_answer *out, struct err *e)
{
    c->save_fd = fd;
    int rc = client_request(c, method, path, NULL, headers, timeout_ms, out, e);
    c->save_fd = -1;
    return rc;
}

void client_answer_done(struct client_answer *a)
{
    if (a->body)
        json_decref(a->body);
    *a = (struct client_answer){ 0 };
}

static enum err_code code_of_status(long status)
{
    switch (status) {
    case 400:
        return ERR_BAD_REQUEST;
    case 401:
        return ERR_UNAUTHENTICATED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 405:
        return ERR_METHOD;
    case 409:
        return ERR_CONFLICT;
    case 412:
        return ERR_PRECONDITION;
    case 413:
        return ERR_TOO_LARGE;
    case 428:
        return ERR_PRECONDITION_REQUIRED;
    case 429:
        return ERR_TOO_MANY;
    case 503:
        return ERR_UNAVAILABLE;
    case 504:
        return ERR_TIMEOUT;
    default:
        return status >= 400 && status < 500 ? ERR_BAD_REQUEST : ERR_INTERNAL;
    }
}

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

int client_check(const struct client_answer *a, struct err *e)
{
    if (a->status >= 200 && a->status < 300)
        return 0;
    enum err_code code = code_of_status(a->status);
    const char *name = member(a->body, "code");
    if (name)
        err_by_name(name, &code);
    const char *detail = member(a->body, "detail"), *title = member(a->body, "title");
    const char *field = member(a->body, "field");
    if (!detail)
        detail = title;
    if (!detail)
        return err_set(e, code, "HTTP status %ld", a->status);
    return field ? err_field(e, code, field, "%s", detail) : err_set(e, code, "%s", detail);
}

void client_limit_stream(struct client *c, long max_ms)
{
    c->stream_max_ms = max_ms;
}

void client_interrupt(struct client *c)
{
    atomic_store(&c->interrupted, true);
    curl_multi_wakeup(c->multi);
}

void client_resume(struct client *c)
{
    atomic_store(&c->interrupted, false);
}
