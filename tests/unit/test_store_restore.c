/* links: memlane-orchestrator memlane-sim */
/* Backup and restore: what is restored is what was backed up, and never together with what another database left; a
 * start refuses a log that cannot be its database's. */
#include "store_same.h"
#include "unit_main.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const ends[] = { "", "-wal", "-shm", "-journal" };

static void put(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void copy(const char *from, const char *to)
{
    char command[256];
    snprintf(command, sizeof command, "cp '%s' '%s'", from, to);
    ck_assert_int_eq(system(command), 0);
}

static void move_away(const char *tail)
{
    char from[128], to[128];
    snprintf(from, sizeof from, "%s%s", path, tail);
    snprintf(to, sizeof to, "%s/old%s", dir, tail);
    ck_assert_int_eq(rename(from, to), 0);
}

static void add_node(const char *name)
{
    struct model *m;
    uint32_t n;
    ck_assert_int_eq(model_new(&m, &e), 0);
    ck_assert_int_eq(store_load(store, m, &e), 0);
    ck_assert_int_eq(model_add_node(m, name, &n, &e), 0);
    commit(m);
    model_free(m);
}

/* As after a kill -9: nothing is checkpointed, the log stays. */
static void die_with_log(const char *node)
{
    pid_t pid;
    store_close(store);
    store = NULL;
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        open_store();
        add_node(node);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static bool there(const char *name)
{
    return access(name, F_OK) == 0;
}

/* Of the database as it is. */
static void make_backup(char backup[112])
{
    snprintf(backup, 112, "%s/backup.db", dir);
    ck_assert_msg(store_backup(path, backup, 1, &e) == 0, "%s", e.detail);
}

START_TEST(a_backup_is_a_database_that_opens)
{
    struct sim s;
    struct stat st;
    char target[112];
    sim_on_commit = on_commit;
    sim_star(&s, 3);
    sim_attach(&s, 0, GIB, "n2");
    sim_settle(&s);
    snprintf(target, sizeof target, "%s/backup.db", dir);
    ck_assert_msg(store_backup(path, target, 1000, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(stat(target, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    expect_error(store_backup(path, target, 1000, &e), ERR_CONFLICT, "backup.db");
    uint64_t revision = store_revision(store);
    store_close(store);
    snprintf(path, sizeof path, "%s", target);
    open_store();
    ck_assert_uint_eq(store_revision(store), revision);
    ck_assert_uint_ne(store_recovering(store), 0); /* it knows that it is an old copy, */
    same_as_file(s.m);
    store_close(store);
    open_store();
    ck_assert_uint_ne(store_recovering(store), 0); /* and does not forget it */
    sim_done(&s);
}
END_TEST

START_TEST(a_backup_is_restored_where_nothing_is)
{
    struct sim s;
    struct backup_manifest made;
    char backup[112], target[112];
    sim_on_commit = on_commit;
    sim_star(&s, 3);
    snprintf(backup, sizeof backup, "%s/backup.db", dir);
    snprintf(target, sizeof target, "%s/restored.db", dir);
    ck_assert_msg(store_backup(path, backup, 1234, &e) == 0, "%s", e.detail);
    expect_error(store_restore(backup, path, &made, &e), ERR_BUSY, "rack.db");
    uint64_t revision = store_revision(store);
    ck_assert_msg(store_restore(backup, target, &made, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(made.made_ms, 1234);
    ck_assert_uint_eq(made.revision, revision);
    ck_assert_str_eq(made.instance, store_instance(store));
    store_close(store);
    snprintf(path, sizeof path, "%s", target);
    open_store();
    ck_assert_uint_ne(store_recovering(store), 0);
    ck_assert_uint_eq(store_revision(store), revision);
    same_as_file(s.m);
    store_close(store);
    snprintf(target, sizeof target, "%s/plain.db", dir); /* a plain copy is restored with the same care */
    ck_assert_msg(store_restore(path, target, &made, &e) == 0, "%s", e.detail);
    snprintf(path, sizeof path, "%s", target);
    open_store();
    ck_assert_uint_ne(store_recovering(store), 0);
    sim_done(&s);
}
END_TEST

START_TEST(what_cannot_be_restored_leaves_nothing_behind)
{
    struct backup_manifest made;
    char bad[112], target[112], rest[128];
    static const char *const tails[] = {
        "", ".restore", ".restore.lock", ".restore-wal", ".restore-shm", ".restore-journal"
    };
    snprintf(bad, sizeof bad, "%s/bad.db", dir);
    snprintf(target, sizeof target, "%s/restored.db", dir);
    expect_error(store_restore(bad, target, &made, &e), ERR_STORAGE, "bad.db");
    ck_assert_msg(store_backup(path, bad, 1, &e) == 0, "%s", e.detail);
    int fd = open(bad, O_WRONLY);
    ck_assert_int_eq(ftruncate(fd, 4096 * 3), 0);
    close(fd);
    ck_assert_int_lt(store_restore(bad, target, &made, &e), 0);
    ck_assert_int_eq(e.code, ERR_STORAGE);
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        snprintf(rest, sizeof rest, "%s%s", target, tails[i]);
        ck_assert_int_lt(access(rest, F_OK), 0);
    }
}
END_TEST

/* Whatever of them is there would be taken for the restored database's own: the log of the lost one above all. */
START_TEST(a_restore_is_refused_beside_any_file_of_a_database)
{
    struct backup_manifest made;
    char backup[112], target[112], name[128];
    snprintf(target, sizeof target, "%s/target.db", dir);
    make_backup(backup);
    for (unsigned mask = 1; mask < 1U << ARRAY_LEN(ends); mask++) {
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
            snprintf(name, sizeof name, "%s%s", target, ends[i]);
            if (mask & 1U << i)
                put(name, "left over");
            else
                unlink(name);
        }
        expect_error(store_restore(backup, target, &made, &e), ERR_CONFLICT, "move");
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
            char said[32];
            snprintf(said, sizeof said, "target.db%s%s", ends[i], mask >> (i + 1) ? "," : "");
            ck_assert_msg(!!(mask & 1U << i) == (strstr(e.detail, said) != NULL &&
                                                 (i > 0 || strstr(e.detail, "target.db,") ||
                                                  !strcmp(e.detail + strlen(e.detail) - 9, "target.db"))),
                          "%u: %s", mask, e.detail);
        }
        expect_error(store_backup(path, target, 1, &e), ERR_CONFLICT, "target.db"); /* nor a backup */
    }
}
END_TEST

/* What the reviewer saw: killed, the database moved away, its log left: the old commits came back. */
START_TEST(the_log_of_a_killed_one_is_never_read_into_a_restored_database)
{
    struct backup_manifest made;
    char backup[112];
    make_backup(backup);
    die_with_log("lost");
    move_away("");
    expect_error(store_restore(backup, path, &made, &e), ERR_CONFLICT, "rack.db-wal");
    ck_assert(!there(path));
    move_away("-wal");
    move_away("-shm");
    ck_assert_msg(store_restore(backup, path, &made, &e) == 0, "%s", e.detail);
    open_store();
    ck_assert_uint_ne(store_recovering(store), 0);
    ck_assert_uint_eq(store_revision(store), made.revision);
}
END_TEST

/* The same by hand: a start would replay the log into the backup. */
START_TEST(a_start_refuses_a_log_beside_a_backup)
{
    char backup[112];
    make_backup(backup);
    die_with_log("lost");
    move_away("");
    copy(backup, path);
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "rack.db-wal");
    unlink(path);
    snprintf(backup, sizeof backup, "%s/old", dir); /* and the killed one is whole again with its own log */
    ck_assert_int_eq(rename(backup, path), 0);
    open_store();
    ck_assert_uint_eq(store_revision(store), 1);
    ck_assert_uint_eq(store_recovering(store), 0);
}
END_TEST

/* A restored database is a backup to the next start, so the same holds for a log that comes back later. */
START_TEST(a_start_refuses_a_log_beside_a_restored_database)
{
    struct backup_manifest made;
    char backup[112], log[128], old[128];
    snprintf(log, sizeof log, "%s-wal", path);
    snprintf(old, sizeof old, "%s/old-wal", dir);
    make_backup(backup);
    die_with_log("lost");
    for (size_t i = 0; i < 3; i++)
        move_away(ends[i]);
    ck_assert_msg(store_restore(backup, path, &made, &e) == 0, "%s", e.detail);
    copy(old, log);
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "rack.db-wal");
}
END_TEST

/* SQLite removes a log beside an empty file: the last commits of the database that was moved away. */
START_TEST(a_start_without_a_database_keeps_the_log_that_is_there)
{
    char log[128];
    snprintf(log, sizeof log, "%s-wal", path);
    die_with_log("kept");
    move_away("");
    for (int empty = 0; empty < 2; empty++) {
        if (empty)
            put(path, "");
        expect_error(store_open(&store, path, &e), ERR_STORAGE, "rack.db-wal");
        ck_assert_int_eq(there(path), empty);
        ck_assert(there(log));
    }
}
END_TEST

/* The leftovers of a restore that was cut short are no part of the next one; its copy may even be, by another name, the
 * database that was moved away since. */
START_TEST(what_an_interrupted_restore_left_is_not_used)
{
    struct backup_manifest made;
    struct stat before, after;
    char backup[112], part[128], log[128], old[112];
    snprintf(part, sizeof part, "%s.restore", path);
    snprintf(log, sizeof log, "%s.restore-wal", path);
    snprintf(old, sizeof old, "%s/old", dir);
    make_backup(backup);
    add_node("later");
    store_close(store);
    store = NULL;
    ck_assert_int_eq(link(path, part), 0); /* power off between the two */
    move_away("");
    put(log, "left over");
    ck_assert_int_eq(stat(old, &before), 0);
    ck_assert_msg(store_restore(backup, path, &made, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(stat(old, &after), 0);
    ck_assert_int_eq(before.st_ino, after.st_ino);
    ck_assert_int_eq(before.st_size, after.st_size);
    ck_assert(!there(part) && !there(log));
    snprintf(path, sizeof path, "%s", old);
    open_store();
    ck_assert_uint_eq(store_revision(store), 1);
    ck_assert_uint_eq(store_recovering(store), 0);
}
END_TEST

START_TEST(a_restore_waits_for_no_orchestrator_that_still_runs)
{
    struct backup_manifest made;
    char backup[112];
    make_backup(backup);
    for (size_t i = 0; i < 3; i++)
        move_away(ends[i]);
    expect_error(store_restore(backup, path, &made, &e), ERR_BUSY, "in use");
    ck_assert(!there(path));
}
END_TEST

START_TEST(what_is_no_whole_backup_is_not_restored)
{
    struct backup_manifest made;
    char bad[112], log[128], target[112];
    snprintf(bad, sizeof bad, "%s/bad.db", dir);
    snprintf(log, sizeof log, "%s/old-wal", dir);
    snprintf(target, sizeof target, "%s/target.db", dir);
    put(bad, "");
    expect_error(store_restore(bad, target, &made, &e), ERR_STORAGE, "empty");
    expect_error(store_restore("/dev/null", target, &made, &e), ERR_STORAGE, "null");
    expect_error(store_restore(dir, target, &made, &e), ERR_STORAGE, dir);
    die_with_log("logged");
    for (size_t i = 0; i < 3; i++)
        move_away(ends[i]);
    snprintf(bad, sizeof bad, "%s/old", dir);
    expect_error(store_restore(bad, target, &made, &e), ERR_STORAGE, "old-wal"); /* its last commits are there */
    ck_assert(there(log) && !there(target));
}
END_TEST

/* The kernel copies by itself on one file system only. */
START_TEST(a_backup_on_another_file_system_is_restored)
{
    struct backup_manifest made;
    struct stat here, other;
    char backup[112], there_dir[64] = "memlane-test-XXXXXX", target[112], name[128];
    make_backup(backup);
    ck_assert_ptr_nonnull(mkdtemp(there_dir)); /* where the test runs: the build */
    ck_assert_int_eq(stat(dir, &here), 0);
    ck_assert_int_eq(stat(there_dir, &other), 0);
    ck_assert_msg(here.st_dev != other.st_dev, "%s and %s are on one file system: nothing is shown", dir, there_dir);
    snprintf(target, sizeof target, "%s/target.db", there_dir);
    int rc = store_restore(backup, target, &made, &e);
    static const char *const made_files[] = { "", ".lock" };
    for (size_t i = 0; i < ARRAY_LEN(made_files); i++) {
        snprintf(name, sizeof name, "%s%s", target, made_files[i]);
        unlink(name);
    }
    ck_assert_int_eq(rmdir(there_dir), 0);
    ck_assert_msg(rc == 0, "%s", e.detail);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_restore");
    TCase *tc = tcase_create("store_restore");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_backup_is_a_database_that_opens);
    tcase_add_test(tc, a_backup_is_restored_where_nothing_is);
    tcase_add_test(tc, what_cannot_be_restored_leaves_nothing_behind);
    tcase_add_test(tc, a_restore_is_refused_beside_any_file_of_a_database);
    tcase_add_test(tc, the_log_of_a_killed_one_is_never_read_into_a_restored_database);
    tcase_add_test(tc, a_start_refuses_a_log_beside_a_backup);
    tcase_add_test(tc, a_start_refuses_a_log_beside_a_restored_database);
    tcase_add_test(tc, a_start_without_a_database_keeps_the_log_that_is_there);
    tcase_add_test(tc, what_an_interrupted_restore_left_is_not_used);
    tcase_add_test(tc, a_restore_waits_for_no_orchestrator_that_still_runs);
    tcase_add_test(tc, what_is_no_whole_backup_is_not_restored);
    tcase_add_test(tc, a_backup_on_another_file_system_is_restored);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
