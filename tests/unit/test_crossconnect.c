/* test_crossconnect.c - agent/crossconnect.h: the line protocol, against a switch in a thread and one that is a
 * program. */
/* links: memlane-agent-core */
#include "crossconnect.h"
#include "units.h"

#include "agent_fixture.h"
#include "unit_main.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct {
    const char *answers[4]; /* one per request; NULL: hang up instead; "": say nothing */
    _Atomic unsigned n_requests, n_connections;
    char requests[4][64];
    int listen_fd;
    pthread_t thread;
} fake;

static void *fake_main(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(fake.listen_fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        fake.n_connections++;
        char line[64];
        ssize_t n;
        while (fake.n_requests < 4 && (n = read(fd, line, sizeof line - 1)) > 0) {
            line[n] = '\0';
            strcpy(fake.requests[fake.n_requests], line);
            const char *answer = fake.answers[fake.n_requests++];
            if (!answer)
                break;
            if (write(fd, answer, strlen(answer)) < 0)
                break;
        }
        close(fd);
    }
}

static struct crossconnect *x;
static char address[128];

static void setup(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct err e = { 0 };
    fixture_make();
    memset(&fake, 0, sizeof fake);
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/s.sock", fixture_dir);
    fake.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fake.listen_fd, (struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(listen(fake.listen_fd, 4), 0);
    ck_assert_int_eq(pthread_create(&fake.thread, NULL, fake_main, NULL), 0);
    snprintf(address, sizeof address, "unix:%s/s.sock", fixture_dir);
    ck_assert_int_eq(crossconnect_new(&x, "ocs1", address, 20000, &e), 0);
}

static void teardown(void)
{
    crossconnect_free(x);
    shutdown(fake.listen_fd, SHUT_RDWR);
    pthread_join(fake.thread, NULL);
    close(fake.listen_fd);
    fixture_remove();
}

START_TEST(requests_are_lines_over_one_kept_connection)
{
    struct crossconnect_pair *pairs;
    size_t n;
    struct err e = { 0 };
    fake.answers[0] = "ok\n";
    fake.answers[1] = "pair 9 2\npair 3 4\r\nok\n";
    fake.answers[2] = "ok\n";
    ck_assert_int_eq(crossconnect_connect(x, 2, 9, &e), 0);
    ck_assert_int_eq(crossconnect_list(x, &pairs, &n, &e), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert(pairs[0].a == 2 && pairs[0].b == 9 && pairs[1].a == 3 && pairs[1].b == 4);
    free(pairs);
    ck_assert_int_eq(crossconnect_disconnect(x, 2, 9, &e), 0);
    ck_assert_str_eq(fake.requests[0], "connect 2 9\n");
    ck_assert_str_eq(fake.requests[1], "list\n");
    ck_assert_str_eq(fake.requests[2], "disconnect 2 9\n");
    ck_assert_uint_eq(fake.n_connections, 1);
}
END_TEST

START_TEST(refusals_keep_the_connection_and_say_why)
{
    struct err e = { 0 };
    fake.answers[0] = "error busy port 2 is in another pair\n";
    fake.answers[1] = "error port no such port\n";
    ck_assert_int_eq(crossconnect_connect(x, 2, 9, &e), -1);
    ck_assert_int_eq(e.code, ERR_BUSY);
    ck_assert_ptr_nonnull(strstr(e.detail, "another pair"));
    err_clear(&e);
    ck_assert_int_eq(crossconnect_connect(x, 2, 99, &e), -1);
    ck_assert_int_eq(e.code, ERR_HARDWARE);
    ck_assert_uint_eq(fake.n_connections, 1);
}
END_TEST

START_TEST(silent_switch_costs_its_deadline_only)
{
    struct crossconnect *hurried;
    struct err e = { 0 };
    ck_assert_int_eq(crossconnect_new(&hurried, "ocs1", address, 1000, &e), 0);
    fake.answers[0] = "";
    ck_assert_int_eq(crossconnect_connect(hurried, 1, 2, &e), -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    for (int i = 0; i < 100; i++) /* and that only now and then */
        ck_assert_int_eq(crossconnect_connect(hurried, 1, 2, &e), -1);
    ck_assert_int_eq(e.code, ERR_TIMEOUT);
    ck_assert_uint_le(fake.n_connections, 1);
    crossconnect_free(hurried);
}
END_TEST

START_TEST(kept_connection_that_died_is_made_anew)
{
    struct crossconnect_signal *signals;
    size_t n;
    struct err e = { 0 };
    fake.answers[0] = "ok\n";
    fake.answers[1] = NULL;
    fake.answers[2] = "port 1 up\nport 2 down\nok\n";
    ck_assert_int_eq(crossconnect_connect(x, 1, 2, &e), 0);
    ck_assert_int_eq(crossconnect_signals(x, &signals, &n, &e), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert(signals[0].up && !signals[1].up);
    free(signals);
    ck_assert_uint_eq(fake.n_connections, 2);
}
END_TEST

START_TEST(nonsense_is_an_error)
{
    static const char *const bad[] = { "pair 1\nok\n", "pair 1 1\nok\n", "pair 0 4\nok\n", "port 1 up\nok\n" };
    struct crossconnect_pair *pairs;
    size_t n;
    for (unsigned i = 0; i < 4; i++)
        fake.answers[i] = bad[i];
    for (unsigned i = 0; i < 4; i++) {
        struct err e = { 0 };
        ck_assert_int_eq(crossconnect_list(x, &pairs, &n, &e), -1);
        ck_assert_int_eq(e.code, ERR_HARDWARE);
    }
}
END_TEST

START_TEST(program_may_be_the_switch)
{
    struct crossconnect *p;
    struct err e = { 0 };
    char path[128], program[160];
    snprintf(path, sizeof path, "%s/switch", fixture_dir);
    fixture_put("switch", "#!/bin/sh\nwhile read verb a b; do echo \"error busy $verb $a $b\"; done\n");
    ck_assert_int_eq(chmod(path, 0700), 0);
    snprintf(program, sizeof program, "exec:%s", path);
    ck_assert_int_eq(crossconnect_new(&p, "ocs2", program, 5000, &e), 0);
    ck_assert_int_eq(crossconnect_connect(p, 5, 6, &e), -1);
    ck_assert_int_eq(e.code, ERR_BUSY);
    ck_assert_ptr_nonnull(strstr(e.detail, "connect 5 6"));
    crossconnect_free(p);
    ck_assert_int_eq(crossconnect_new(&p, "ocs2", "carrier-pigeon:x", 100, &e), -1);
}
END_TEST

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    Suite *s = suite_create("crossconnect");
    TCase *t = tcase_create("crossconnect");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, requests_are_lines_over_one_kept_connection);
    tcase_add_test(t, refusals_keep_the_connection_and_say_why);
    tcase_add_test(t, silent_switch_costs_its_deadline_only);
    tcase_add_test(t, kept_connection_that_died_is_made_anew);
    tcase_add_test(t, nonsense_is_an_error);
    tcase_add_test(t, program_may_be_the_switch);
    suite_add_tcase(s, t);
    return unit_main(s);
}
