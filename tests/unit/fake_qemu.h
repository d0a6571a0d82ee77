/* fake_qemu.h - the other end of a QMP connection, for tests: a thread that follows a script, and the loop that runs
 * until the script is over.  Include it once in a test; a script that is not met fails the test with what came instead.
 */
#ifndef MEMLANE_TEST_FAKE_QEMU_H
#define MEMLANE_TEST_FAKE_QEMU_H

#include "loop.h"
#include "unixsock.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define QEMU_GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define QEMU_PATIENCE_MS 10000

static struct {
    char dir[64], path[96];
    int listen_fd, fd;
    char in[8192];
    size_t n_in;
    char wrong[600]; /* the first thing that was not as the script says */
    atomic_bool over;
    void (*_Atomic act)(void); /* for the loop's thread */
    void (*script)(void);
    struct loop *loop;
    struct loop_timer look;
} qemu;

static void qemu_say(const char *text)
{
    if (!qemu.wrong[0] && send(qemu.fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        snprintf(qemu.wrong, sizeof qemu.wrong, "nobody listens to %.400s", text);
}

static bool qemu_wait(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, QEMU_PATIENCE_MS) == 1;
}

/* The next line that comes has to contain 'words'. */
static void qemu_hear(const char *words)
{
    char *end;
    while (!qemu.wrong[0] && !(end = memchr(qemu.in, '\n', qemu.n_in))) {
        ssize_t n = qemu_wait(qemu.fd) ? recv(qemu.fd, qemu.in + qemu.n_in, sizeof qemu.in - qemu.n_in, 0) : -1;
        if (n <= 0)
            snprintf(qemu.wrong, sizeof qemu.wrong, "nothing comes instead of %.400s", words);
        qemu.n_in += n > 0 ? (size_t)n : 0;
    }
    if (qemu.wrong[0])
        return;
    *end = '\0';
    if (!strstr(qemu.in, words))
        snprintf(qemu.wrong, sizeof qemu.wrong, "%.300s comes instead of %.200s", qemu.in, words);
    qemu.n_in -= (size_t)(end + 1 - qemu.in);
    memmove(qemu.in, end + 1, qemu.n_in);
}

static void qemu_hang_up(void)
{
    if (qemu.fd >= 0)
        close(qemu.fd);
    qemu.fd = -1;
    qemu.n_in = 0;
}

/* Nothing but the end of the connection comes. */
static UNUSED void qemu_hear_end(void)
{
    char byte;
    if (!qemu.wrong[0] && (!qemu_wait(qemu.fd) || recv(qemu.fd, &byte, 1, 0) > 0))
        snprintf(qemu.wrong, sizeof qemu.wrong, "the connection goes on");
}

static void qemu_accept(void)
{
    qemu_hang_up();
    qemu.fd = qemu_wait(qemu.listen_fd) ? accept(qemu.listen_fd, NULL, NULL) : -1;
    if (qemu.fd < 0 && !qemu.wrong[0])
        snprintf(qemu.wrong, sizeof qemu.wrong, "nobody connects");
}

static void qemu_negotiate(void)
{
    qemu_accept();
    qemu_say(QEMU_GREETING);
    qemu_hear("qmp_capabilities");
    qemu_say("{\"return\": {}}\r\n");
}

/* Has something done on the loop's thread, between two of its rounds. */
static UNUSED void qemu_act(void (*act)(void))
{
    qemu.act = act;
    while (qemu.act)
        poll(NULL, 0, 1);
}

static void *qemu_thread(void *arg)
{
    qemu.script();
    qemu.over = true;
    return arg;
}

static void qemu_look(struct loop_timer *t)
{
    void (*act)(void) = qemu.act;
    if (act)
        act();
    qemu.act = NULL;
    if (qemu.over)
        loop_stop(qemu.loop);
    else
        loop_after(qemu.loop, t, 2);
}

/* Follows 'script' while the loop runs; what the script still said is taken in before this returns. */
static void qemu_run(void (*script)(void))
{
    pthread_t thread;
    struct err e = { 0 };
    qemu.script = script;
    qemu.over = false;
    qemu.look.fire = qemu_look;
    loop_after(qemu.loop, &qemu.look, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, qemu_thread, NULL), 0);
    ck_assert_int_eq(loop_run(qemu.loop, &e), 0);
    pthread_join(thread, NULL);
    ck_assert_msg(!qemu.wrong[0], "%s", qemu.wrong);
}

static void qemu_setup(void)
{
    struct err e = { 0 };
    memset(&qemu, 0, sizeof qemu);
    qemu.fd = -1;
    snprintf(qemu.dir, sizeof qemu.dir, "/dev/shm/memlane-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(qemu.dir));
    snprintf(qemu.path, sizeof qemu.path, "%s/qmp", qemu.dir);
    ck_assert_int_eq(unixsock_listen(&qemu.listen_fd, SOCK_STREAM, qemu.path, &e), 0);
    ck_assert_int_eq(loop_new(&qemu.loop, &e), 0);
}

static void qemu_teardown(void)
{
    char command[128];
    qemu_hang_up();
    close(qemu.listen_fd);
    loop_free(qemu.loop);
    snprintf(command, sizeof command, "rm -rf %s", qemu.dir);
    ck_assert_int_eq(system(command), 0);
}

#endif
