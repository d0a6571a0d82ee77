/* test_state.c - agent/state.h: the newest orchestrator and the credential survive, whatever happens in between. */
/* links: memlane-agent-core */
#include "state.h"

#include "agent_fixture.h"
#include "unit_main.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static struct state state;

/* What reached the disk, in order: these stand before those of the C library. */
static struct {
    char what; /* 'f': a file's bytes, 'd': a folder's names, 'r': a file took another's name */
    uint64_t inode;
    int64_t size_bytes; /* of the file at that moment */
} done[16];
static size_t n_done, fail_at; /* fail_at: the n-th of them fails, from 1 */

static bool note_and_fail(char what, const struct stat *st)
{
    ck_assert_uint_lt(n_done, sizeof done / sizeof *done);
    done[n_done].what = what;
    done[n_done].inode = st->st_ino;
    done[n_done++].size_bytes = st->st_size;
    return n_done == fail_at;
}

int fsync(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    if (note_and_fail(S_ISDIR(st.st_mode) ? 'd' : 'f', &st)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    struct stat st;
    if (fstatat(from_dir, from, &st, 0) < 0)
        return -1;
    if (note_and_fail('r', &st)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

static void reopen(void)
{
    struct err e = { 0 };
    state_close(&state);
    ck_assert_int_eq(state_open(&state, fixture_dir, &e), 0);
}

static void setup(void)
{
    struct err e = { 0 };
    fixture_make();
    ck_assert_int_eq(state_open(&state, fixture_dir, &e), 0);
}

static void teardown(void)
{
    state_close(&state);
    fixture_remove();
}

START_TEST(newest_epoch_is_kept_over_a_restart)
{
    struct err e = { 0 };
    ck_assert_uint_eq(state.epoch, 0);
    ck_assert_int_eq(state_set_epoch(&state, 7, "seven", &e), 0);
    state_obeyed(&state, 12);
    reopen();
    ck_assert_uint_eq(state.epoch, 7);
    ck_assert_str_eq(state.instance, "seven");
    ck_assert_uint_eq(state.revision, 0); /* of one life only */
    ck_assert_int_eq(state_set_epoch(&state, 8, "eight", &e), 0);
    reopen();
    ck_assert_uint_eq(state.epoch, 8);
}
END_TEST

START_TEST(lower_epoch_or_an_equal_one_of_another_is_refused)
{
    struct err e = { 0 };
    ck_assert_int_eq(state_set_epoch(&state, 7, "seven", &e), 0);
    ck_assert_int_eq(state_check_epoch(&state, 7, "seven", &e), 0);
    ck_assert_int_eq(state_check_epoch(&state, 8, "other", &e), 0);
    ck_assert_int_eq(state_check_epoch(&state, 6, "seven", &e), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    e = (struct err){ 0 };
    ck_assert_int_eq(state_check_epoch(&state, 7, "other", &e), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    e = (struct err){ 0 };
    ck_assert_int_eq(state_set_epoch(&state, 6, "six", &e), -1);
    reopen();
    ck_assert_uint_eq(state.epoch, 7);
    ck_assert_str_eq(state.instance, "seven");
}
END_TEST

/* A file that is not whole is no reason to begin at zero: whoever comes first would be obeyed. */
START_TEST(torn_file_stops_the_start)
{
    static const char *const torn[] = { "",
                                        "7",
                                        "7 ",
                                        "seven seven\n",
                                        "0 seven\n",
                                        "7 seven eight\n",
                                        "-1 seven\n",
                                        "9007199254740992 seven\n",
                                        "18446744073709551615 seven\n",
                                        "18446744073709551616 seven\n" };
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        struct err e = { 0 };
        struct state other;
        fixture_put("epoch", torn[i]);
        ck_assert_msg(state_open(&other, fixture_dir, &e) < 0, "taken: '%s'", torn[i]);
    }
}
END_TEST

/* What was cut off while it was written never had its name. */
START_TEST(half_written_file_is_not_looked_at)
{
    struct err e = { 0 };
    ck_assert_int_eq(state_set_epoch(&state, 7, "seven", &e), 0);
    fixture_put(".epoch.new", "8 ei");
    reopen();
    ck_assert_uint_eq(state.epoch, 7);
    ck_assert_int_eq(state_set_epoch(&state, 8, "eight", &e), 0);
    reopen();
    ck_assert_uint_eq(state.epoch, 8);
}
END_TEST

START_TEST(epoch_that_cannot_be_written_is_not_obeyed)
{
    struct err e = { 0 };
    char path[128];
    ck_assert_int_eq(state_set_epoch(&state, 7, "seven", &e), 0);
    fixture_put(".epoch.new/in-the-way", "");
    ck_assert_int_eq(state_set_epoch(&state, 8, "eight", &e), -1);
    ck_assert_uint_eq(state.epoch, 7);
    snprintf(path, sizeof path, "%s/.epoch.new/in-the-way", fixture_dir);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* A power cut at any moment leaves the old file or the new one, whole, and the new one when it was said to be kept: its
 * bytes are on the disk before it takes the name, and the name before it is obeyed. */
START_TEST(what_is_kept_is_on_the_disk_before_it_is_obeyed)
{
    struct err e = { 0 };
    struct stat folder, file;
    for (int credential = 0; credential < 2; credential++) {
        n_done = 0;
        ck_assert_int_eq(
            credential ? state_set_credential(&state, "secret", &e) : state_set_epoch(&state, 7, "seven", &e), 0);
        ck_assert(fstat(state.dir_fd, &folder) == 0);
        ck_assert(fstatat(state.dir_fd, credential ? "credential" : "epoch", &file, 0) == 0);
        ck_assert_uint_eq(n_done, 3);
        ck_assert(done[0].what == 'f' && done[0].inode == file.st_ino && done[0].size_bytes == file.st_size);
        ck_assert(done[1].what == 'r' && done[1].inode == file.st_ino && done[1].size_bytes == file.st_size);
        ck_assert(done[2].what == 'd' && done[2].inode == folder.st_ino);
        ck_assert_int_gt(file.st_size, 5);
    }
}
END_TEST

START_TEST(epoch_that_does_not_reach_the_disk_is_not_obeyed)
{
    struct err e = { 0 };
    ck_assert_int_eq(state_set_epoch(&state, 7, "seven", &e), 0);
    for (size_t k = 1; k <= 3; k++) {
        n_done = 0;
        fail_at = k;
        ck_assert_int_eq(state_set_epoch(&state, 8, "eight", &e), -1);
        ck_assert_int_eq(e.code, ERR_IO);
        ck_assert_uint_eq(state.epoch, 7);
        ck_assert_str_eq(state.instance, "seven");
        ck_assert_uint_eq(n_done, k); /* nothing goes on behind what failed */
    }
    n_done = fail_at = 0;
    ck_assert_int_eq(state_set_epoch(&state, 8, "eight", &e), 0);
    reopen();
    ck_assert_uint_eq(state.epoch, 8);
}
END_TEST

START_TEST(credential_is_kept_and_a_damaged_one_is_refused)
{
    struct err e = { 0 };
    struct state other;
    ck_assert_int_eq(state_set_credential(&state, "secret", &e), 0);
    reopen();
    ck_assert_str_eq(state.credential, "secret");
    ck_assert_int_eq(state_set_credential(&state, "two\nlines", &e), -1);
    ck_assert_str_eq(state.credential, "secret");
    fixture_put("credential", "");
    ck_assert_int_eq(state_open(&other, fixture_dir, &e), -1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state");
    TCase *t = tcase_create("state");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, newest_epoch_is_kept_over_a_restart);
    tcase_add_test(t, lower_epoch_or_an_equal_one_of_another_is_refused);
    tcase_add_test(t, torn_file_stops_the_start);
    tcase_add_test(t, half_written_file_is_not_looked_at);
    tcase_add_test(t, epoch_that_cannot_be_written_is_not_obeyed);
    tcase_add_test(t, what_is_kept_is_on_the_disk_before_it_is_obeyed);
    tcase_add_test(t, epoch_that_does_not_reach_the_disk_is_not_obeyed);
    tcase_add_test(t, credential_is_kept_and_a_damaged_one_is_refused);
    suite_add_tcase(s, t);
    return unit_main(s);
}
