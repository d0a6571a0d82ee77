/* test_lender_commit.c - agent/lender/main.c: what a real lender, with a fake adapter, answers while it commits memory.
 */
/* links: memlane-lender-client memlane-ocxl */
#include "agent_fixture.h"
#include "lenderclient.h"
#include "unit_main.h"
#include "units.h"

#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

#define PIECE (64 * MIB) /* it is committed in pieces of that size */
#define N_LISTED 64
#define LONG_BYTES (12 * PIECE)

static struct lender *lender;
static struct lender_info info;
static struct err e;

static void setup(void)
{
    char own[512] = "", program[600], library[600];
    ck_assert_int_gt(readlink("/proc/self/exe", own, sizeof own - 1), 0);
    snprintf(program, sizeof program, "%s/../bin/memlane-lender", dirname(own));
    snprintf(library, sizeof library, "%s/../lib/tests/fake_ocxl.so", own);
    fixture_make();
    const struct lender_config c = { .adapter = "afu1",
                                     .run_dir = fixture_dir,
                                     .program = program,
                                     .device = "/dev/ocxl/fake",
                                     .ocxl_library = library,
                                     .backing = "locked" };
    ck_assert_int_eq(lender_new(&lender, &c, &e), 0);
    ck_assert_msg(lender_info(lender, &info, &e) == 0, "%s", e.detail);
}

static void teardown(void)
{
    struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, info.pid, 0), .events = POLLIN };
    ck_assert_int_eq(kill(info.pid, SIGKILL), 0);
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    close(p.fd);
    lender_free(lender);
    fixture_remove();
}

/* May this machine's lender lock that much? */
static bool can_lock(uint64_t bytes)
{
    struct sysinfo machine;
    return sysinfo(&machine) == 0 && machine.freeram * machine.mem_unit > 3 * bytes && info.memlock_bytes > 2 * bytes;
}

static int alloc(const char *id, uint64_t offset, uint64_t size_bytes, unsigned wait_ms)
{
    struct lender_buffer b = { .offset_bytes = offset, .size_bytes = size_bytes };
    snprintf(b.id, sizeof b.id, "%s", id);
    snprintf(b.compute_node, sizeof b.compute_node, "n1");
    snprintf(b.compute_adapter, sizeof b.compute_adapter, "afu0");
    return lender_alloc(lender, &b, wait_ms, &e);
}

/* A list takes one question a buffer: with a piece of the commit between each two of them it would take longer than the
 * agent waits. */
START_TEST(a_list_is_answered_within_a_few_pieces_of_a_commit)
{
    struct lender_buffer *list = NULL;
    size_t n = 0;
    char id[16];
    if (!can_lock(LONG_BYTES))
        return;
    for (unsigned i = 0; i < N_LISTED; i++) {
        snprintf(id, sizeof id, "small%u", i);
        ck_assert_msg(alloc(id, i * MIB, MIB, 5000) == 0, "%s", e.detail);
    }
    for (int tries = 5; n != N_LISTED;
         tries--) { /* it was through with the long one if we had to wait for a processor */
        ck_assert_int_gt(tries, 0);
        if (n)
            ck_assert_msg(lender_release(lender, "long", &e) == 0, "%s", e.detail);
        ck_assert_int_eq(alloc("long", N_LISTED * MIB, LONG_BYTES, 0), -1);
        ck_assert_int_eq(e.code, ERR_BUSY);
        free(list);
        ck_assert_msg(lender_list(lender, &list, &n, &e) == 0, "%s", e.detail);
    }
    free(list);
    ck_assert_msg(alloc("long", N_LISTED * MIB, LONG_BYTES, 20000) == 0, "%s", e.detail);
}
END_TEST

START_TEST(a_commit_goes_on_however_much_is_asked_meanwhile)
{
    if (!can_lock(4 * PIECE))
        return;
    int64_t end_ms = time_monotonic_ms() + 20000;
    while (alloc("b", 0, 4 * PIECE, 0) < 0) { /* without a pause */
        ck_assert_msg(e.code == ERR_BUSY, "%s", e.detail);
        ck_assert_int_lt(time_monotonic_ms(), end_ms);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lender_commit");
    TCase *t = tcase_create("lender_commit");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_list_is_answered_within_a_few_pieces_of_a_commit);
    tcase_add_test(t, a_commit_goes_on_however_much_is_asked_meanwhile);
    suite_add_tcase(s, t);
    return unit_main(s);
}
