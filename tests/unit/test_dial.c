/* test_dial.c - agent/dial.h: a switch by name, whose addresses and whose resolver are this test's. */
/* links: memlane-agent-core */
#include "crossconnect.h"
#include "dial.h"
#include "unit_main.h"
#include "units.h"

#include <arpa/inet.h>
#include <check.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_ADDRESSES 3

static struct sockaddr_in addresses[N_ADDRESSES];
static struct addrinfo answers[N_ADDRESSES];
static unsigned n_lookups, lookup_ms;

/* Instead of the C library's: all addresses, or, when it takes its time, none. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)host, (void)port, (void)hints;
    n_lookups++;
    poll(NULL, 0, (int)lookup_ms);
    *out = answers;
    return lookup_ms ? EAI_AGAIN : 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    ck_assert_ptr_eq(list, answers);
}

/* A listening socket, which has an address of 'addresses'. */
static int listening(unsigned i, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof addresses[i];
    addresses[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addresses[i], len), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addresses[i], &len), 0);
    answers[i] = (struct addrinfo){ .ai_family = AF_INET,
                                    .ai_addr = (struct sockaddr *)&addresses[i],
                                    .ai_addrlen = sizeof addresses[i],
                                    .ai_next = i + 1 < N_ADDRESSES ? &answers[i + 1] : NULL };
    return fd;
}

/* One whose queue is full: it does not answer any more. */
static void fill(unsigned i, int fds[4])
{
    for (unsigned k = 0; k < 4; k++) {
        fds[k] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[k], (struct sockaddr *)&addresses[i], sizeof addresses[i]);
    }
}

START_TEST(an_address_that_does_not_answer_leaves_time_for_the_next)
{
    const char *rest;
    const struct crossconnect_ops *tcp = dial_find("tcp:ocs1:7000", &rest);
    struct err e = { 0 };
    int own[N_ADDRESSES], queued[2][4];
    pid_t pid = 0;
    lookup_ms = 0;
    for (unsigned i = 0; i < N_ADDRESSES; i++)
        own[i] = listening(i, i < 2 ? 0 : 4);
    fill(0, queued[0]);
    fill(1, queued[1]);
    int64_t deadline_ms = time_monotonic_ms() + 3000;
    int fd = tcp->dial(rest, deadline_ms, &pid, &e);
    ck_assert_msg(fd >= 0, "%s", e.detail);
    ck_assert_int_lt(time_monotonic_ms(), deadline_ms);
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    ck_assert_int_eq(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
    ck_assert_uint_eq(peer.sin_port, addresses[2].sin_port);
    close(fd);
    for (unsigned i = 0; i < N_ADDRESSES; i++)
        close(own[i]);
    for (unsigned k = 0; k < 8; k++)
        close(queued[k / 4][k % 4]);
}
END_TEST

/* Nobody can hurry the resolver, but it need not be asked by every order of a pass. */
START_TEST(a_name_that_takes_long_to_resolve_is_not_looked_up_again_at_once)
{
    struct crossconnect *x = NULL;
    struct err e = { 0 };
    n_lookups = 0;
    lookup_ms = 60;
    ck_assert_int_eq(crossconnect_new(&x, "ocs1", "tcp:ocs1:7000", 50, &e), 0);
    for (unsigned i = 0; i < 3; i++) {
        err_clear(&e);
        ck_assert_int_eq(crossconnect_connect(x, 1, 2, &e), -1);
        ck_assert_int_eq(e.code, ERR_UNREACHABLE);
    }
    ck_assert_uint_eq(n_lookups, 1);
    lookup_ms = 1; /* one that fails at once is asked each time */
    poll(NULL, 0, 200);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(crossconnect_connect(x, 1, 2, &e), -1);
    ck_assert_uint_eq(n_lookups, 3);
    crossconnect_free(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dial");
    TCase *t = tcase_create("dial");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, an_address_that_does_not_answer_leaves_time_for_the_next);
    tcase_add_test(t, a_name_that_takes_long_to_resolve_is_not_looked_up_again_at_once);
    suite_add_tcase(s, t);
    return unit_main(s);
}
