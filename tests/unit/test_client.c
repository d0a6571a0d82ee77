/* links: memlane-client */
/* The HTTP client against a small server in a thread, which answers what the test tells it to, byte for byte. */
#include "client.h"
#include "unit_main.h"
#include "units.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWERS_MAX 4

static struct {
    int listener;
    pthread_t thread;
    _Atomic(const char *) answers[ANSWERS_MAX]; /* one a request; NULL: hang until the client goes */
    char requests[ANSWERS_MAX][2048];
    _Atomic int n_connections, n_requests;
    char url[64];
} server;

/* Reads one request, its body included where Content-Length says so; false at the end of the connection. */
static bool read_request(int fd, char *out, size_t size)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        out[len] = '\0';
        const char *end = strstr(out, "\r\n\r\n"), *length = strstr(out, "Content-Length: ");
        size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
        if (end && len >= (size_t)(end - out) + 4 + body)
            return true;
    }
}

static void *serve(void *arg UNUSED)
{
    for (;;) {
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        server.n_connections++;
        while (server.n_requests < ANSWERS_MAX && read_request(fd, server.requests[server.n_requests], 2048)) {
            const char *answer = server.answers[server.n_requests++];
            char sink[16];
            if (!answer) {
                (void)!read(fd, sink, sizeof sink);
                break;
            }
            ck_assert_int_gt(write(fd, answer, strlen(answer)), 0);
            if (strstr(answer, "Connection: close"))
                break;
        }
        close(fd);
    }
}

static void start_server(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    memset(&server, 0, sizeof server);
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(server.listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(server.listener, 8), 0);
    getsockname(server.listener, (struct sockaddr *)&a, &len);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%u", ntohs(a.sin_port));
    pthread_create(&server.thread, NULL, serve, NULL);
}

static void stop_server(void)
{
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
}

static struct client *connected(size_t body_max)
{
    struct client_options o = { .url = server.url, .token = "secret", .body_max = body_max };
    struct client *c = NULL;
    struct err e = { 0 };
    ck_assert_int_eq(client_new(&c, &o, &e), 0);
    return c;
}

#define JSON_ANSWER(status, body) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nETag: \"7\"\r\n" body

START_TEST(keeps_the_connection_and_reads_body_and_etag)
{
    struct client *c = connected(0);
    struct client_answer a;
    struct err e = { 0 };
    server.answers[0] = JSON_ANSWER("200 OK", "Content-Length: 7\r\n\r\n{\"n\":1}");
    server.answers[1] = JSON_ANSWER("204 No Content", "\r\n");
    ck_assert_int_eq(client_request(c, "GET", "/one", NULL, NULL, 2000, &a, &e), 0);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(a.etag, "\"7\"");
    ck_assert_int_eq(json_integer_value(json_object_get(a.body, "n")), 1);
    client_answer_done(&a);
    json_t *body = json_pack("{s:i}", "x", 2);
    const char *headers[] = { "Idempotency-Key: k", NULL };
    ck_assert_int_eq(client_request(c, "POST", "/two", body, headers, 2000, &a, &e), 0);
    ck_assert_ptr_null(a.body);
    ck_assert_int_eq(client_check(&a, &e), 0);
    ck_assert_int_eq(server.n_connections, 1);
    ck_assert_ptr_nonnull(strstr(server.requests[0], "GET /one HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(server.requests[0], "Authorization: Bearer secret\r\n"));
    ck_assert_ptr_nonnull(strstr(server.requests[1], "Idempotency-Key: k\r\n"));
    ck_assert_ptr_nonnull(strstr(server.requests[1], "\r\n\r\n{\"x\":2}"));
    ck_assert_ptr_null(strstr(server.requests[1], "Expect:"));
    json_decref(body);
    client_answer_done(&a);
    client_free(c);
}
END_TEST

START_TEST(a_problem_document_becomes_an_error)
{
    struct client *c = connected(0);
    struct client_answer a;
    struct err e = { 0 };
    server.answers[0] =
        JSON_ANSWER("409 Conflict", "Content-Length: 42\r\n\r\n{\"code\":\"no_donor\",\"detail\":\"no one fits\"}");
    server.answers[1] = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope";
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 2000, &a, &e), 0);
    ck_assert_int_eq(client_check(&a, &e), -1);
    ck_assert_int_eq(e.code, ERR_NO_DONOR);
    ck_assert_str_eq(e.detail, "no one fits");
    client_answer_done(&a);
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 2000, &a, &e), 0);
    ck_assert_int_eq(client_check(&a, &e), -1);
    ck_assert_int_eq(e.code, ERR_NOT_FOUND);
    client_answer_done(&a);
    client_free(c);
}
END_TEST

START_TEST(a_body_over_the_limit_is_refused)
{
    struct client *c = connected(16);
    struct client_answer a;
    struct err e = { 0 };
    server.answers[0] = JSON_ANSWER("200 OK", "Content-Length: 20\r\n\r\n[\"0123456789012345\"]");
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 2000, &a, &e), -1);
    ck_assert_int_eq(e.code, ERR_TOO_LARGE);
    client_free(c);
}
END_TEST

START_TEST(nobody_there_and_no_answer_are_told_apart)
{
    struct client *c = connected(0), *other = NULL;
    struct client_options o = { .url = "unix:/nonexistent/socket" };
    struct client_answer a;
    struct err e = { 0 };
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 100, &a, &e), -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_int_eq(client_new(&other, &o, &e), 0);
    ck_assert_int_eq(client_request(other, "GET", "/", NULL, NULL, 2000, &a, &e), -1);
    ck_assert_int_eq(e.code, ERR_UNREACHABLE);
    client_free(c);
    client_free(other);
}
END_TEST

/* When the server has the request, and hangs. */
static void *interrupt_poll(void *arg)
{
    while (server.n_requests == 0)
        usleep(1000);
    client_interrupt(arg);
    return NULL;
}

START_TEST(an_interrupt_ends_a_long_poll_at_once)
{
    struct client *c = connected(0);
    struct client_answer a;
    struct err e = { 0 };
    pthread_t thread;
    int64_t began = time_monotonic_ms();
    pthread_create(&thread, NULL, interrupt_poll, c);
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 30000, &a, &e), -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_int_lt(time_monotonic_ms() - began, 15000); /* and not at the end of its 30 s */
    pthread_join(thread, NULL);
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 30000, &a, &e), -1); /* stays interrupted */
    client_resume(c);
    server.answers[1] = JSON_ANSWER("200 OK", "Content-Length: 2\r\n\r\n{}");
    ck_assert_int_eq(client_request(c, "GET", "/", NULL, NULL, 2000, &a, &e), 0);
    client_answer_done(&a);
    client_free(c);
}
END_TEST

struct seen {
    int n, stop_after;
    char text[256];
};

static bool note(void *arg, const struct client_event *ev)
{
    struct seen *s = arg;
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof s->text - len, "%s/%s/%s;", ev->id, ev->type, ev->data);
    return ++s->n != s->stop_after;
}

START_TEST(a_stream_gives_events_whatever_their_line_ends)
{
    struct client *c = connected(0);
    struct seen s = { .stop_after = 3 };
    struct err e = { 0 };
    server.answers[0] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                        ": hello\n\nid: 5\nevent: node.state\ndata: {\"a\":1}\n\nid: 6\r\ndata:x\r\ndata: y\r\n\r\n"
                        "event: reset\n\nid: 8\ndata: never read\n\n";
    ck_assert_int_eq(client_stream(c, "/v1/events", "4", note, &s, &e), 0);
    ck_assert_str_eq(s.text, "5/node.state/{\"a\":1};6/message/x\ny;6/reset/;");
    ck_assert_ptr_nonnull(strstr(server.requests[0], "Last-Event-ID: 4\r\n"));
    client_free(c);
}
END_TEST

START_TEST(a_stream_that_is_refused_says_why)
{
    struct client *c = connected(0);
    struct seen s = { 0 };
    struct err e = { 0 };
    server.answers[0] = JSON_ANSWER("401 Unauthorized", "Content-Length: 26\r\n\r\n{\"code\":\"unauthenticated\"}");
    ck_assert_int_eq(client_stream(c, "/v1/events", NULL, note, &s, &e), -1);
    ck_assert_int_eq(e.code, ERR_UNAUTHENTICATED);
    ck_assert_int_eq(s.n, 0);
    client_free(c);
}
END_TEST

START_TEST(other_schemes_and_broken_tokens_are_refused)
{
    struct client *c = NULL;
    struct err e = { 0 };
    ck_assert_int_eq(client_new(&c, &(struct client_options){ .url = "file:///etc/passwd" }, &e), -1);
    ck_assert_int_eq(client_new(&c, &(struct client_options){ .url = "http://x", .token = "a\r\nX: y" }, &e), -1);
    ck_assert_ptr_null(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *t = tcase_create("client");
    tcase_add_checked_fixture(t, start_server, stop_server);
    tcase_add_test(t, keeps_the_connection_and_reads_body_and_etag);
    tcase_add_test(t, a_problem_document_becomes_an_error);
    tcase_add_test(t, a_body_over_the_limit_is_refused);
    tcase_add_test(t, nobody_there_and_no_answer_are_told_apart);
    tcase_add_test(t, an_interrupt_ends_a_long_poll_at_once);
    tcase_add_test(t, a_stream_gives_events_whatever_their_line_ends);
    tcase_add_test(t, a_stream_that_is_refused_says_why);
    tcase_add_test(t, other_schemes_and_broken_tokens_are_refused);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
