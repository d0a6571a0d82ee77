/* test_faultpoint.c - common/faultpoint.h: who is told to stop at a point does nothing of what comes behind it. */
#ifndef MEMLANE_FAULT_POINTS
#define MEMLANE_FAULT_POINTS /* in every build: this program has points of its own */
#endif
#include "faultpoint.c"

#include "agent_fixture.h"
#include "unit_main.h"

#include <check.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ROUNDS 50

static volatile bool *went_on; /* shared with the process that stops */

static void setup(void)
{
    fixture_make();
    setenv("MEMLANE_FAULT_DIR", fixture_dir, 1);
    unsetenv("MEMLANE_RACK_NODE");
    went_on = mmap(NULL, sizeof *went_on, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne((void *)went_on, MAP_FAILED);
}

static void teardown(void)
{
    munmap((void *)went_on, sizeof *went_on);
    fixture_remove();
}

static void arm(const char *order)
{
    char point[128];
    snprintf(point, sizeof point, "%s.lend.before", program_invocation_short_name);
    fixture_put(point, order);
}

static void *job(void *unused)
{
    FAULT_POINT("%s.before", "lend");
    *went_on = true;
    return unused;
}

/* As an agent: its first thread sleeps, another one does the work. */
static pid_t start_agent(void)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, job, NULL) == 0)
            pthread_join(thread, NULL);
        _exit(0);
    }
    return pid;
}

START_TEST(who_stops_goes_no_further)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        int status;
        *went_on = false;
        arm("stop");
        pid_t agent = start_agent();
        ck_assert_int_eq(waitpid(agent, &status, WUNTRACED), agent);
        ck_assert_msg(WIFSTOPPED(status), "status %#x", status);
        ck_assert_msg(!*went_on, "round %u: it went on", i);
        kill(agent, SIGCONT);
        ck_assert_int_eq(waitpid(agent, &status, 0), agent);
        ck_assert_msg(WIFEXITED(status), "status %#x", status);
        ck_assert(*went_on);
    }
}
END_TEST

START_TEST(the_order_is_carried_out_once_and_after_those_it_skips)
{
    int status;
    arm("skip 1 kill");
    for (unsigned i = 0; i < 3; i++) {
        pid_t agent = start_agent();
        ck_assert_int_eq(waitpid(agent, &status, 0), agent);
        ck_assert_msg(i == 1 ? WIFSIGNALED(status) : WIFEXITED(status), "round %u: status %#x", i, status);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("faultpoint");
    TCase *c = tcase_create("points");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, who_stops_goes_no_further);
    tcase_add_test(c, the_order_is_carried_out_once_and_after_those_it_skips);
    suite_add_tcase(s, c);
    return unit_main(s);
}
