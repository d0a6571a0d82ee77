/* links: memlane-orchestrator memlane-sim */
/* The database: what was committed is there after a restart at the same slots, what was not is not; a damaged, foreign,
 * newer or busy file is refused; what would be given twice is refused by the tables themselves. */
#include "orchestrator/attachment_json.h"
#include "store_same.h"
#include "unit_main.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void edit_file(const char *sql)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static json_t *ended(const char *id)
{
    struct store_reader *r;
    json_t *list;
    uint64_t next;
    ck_assert_msg(store_reader_open(&r, path, &e) == 0, "%s", e.detail);
    ck_assert_msg(store_reader_ended(r, &(struct ended_query){ .id = id, .limit = 100 }, &list, &next, &e) == 0, "%s",
                  e.detail);
    store_reader_close(r);
    return list;
}

START_TEST(every_commit_of_a_rack_can_be_loaded_again)
{
    struct sim s;
    sim_on_commit = on_commit;
    sim_star(&s, 4);
    same_as_file(s.m);
    uint32_t held[12];
    unsigned n = 0;
    srand(7);
    for (int round = 0; round < 60; round++) {
        if (n < ARRAY_LEN(held) && rand() % 3) {
            held[n] = sim_attach(&s, (size_t)rand() % 4, (uint64_t)(1 + rand() % 8) << 30, NULL);
            n += held[n] != NONE;
        } else if (n) {
            unsigned at = (unsigned)rand() % n;
            sim_detach(&s, held[at]);
            held[at] = held[--n];
        }
        for (int i = rand() % 4; i > 0; i--)
            sim_agent(&s, (size_t)rand() % s.n_nodes, rand() % 5 != 0);
        same_as_file(s.m);
        if (rand() % 8 == 0) { /* the orchestrator dies; the file is all there is */
            store_close(store);
            open_store();
            same_as_file(s.m);
        }
    }
    sim_settle(&s);
    while (n)
        sim_detach(&s, held[--n]);
    sim_settle(&s);
    sim_expect_nothing(&s);
    same_as_file(s.m);
    sim_done(&s);
}
END_TEST

START_TEST(an_ended_attachment_is_kept_as_the_api_shows_it)
{
    struct sim s;
    sim_on_commit = on_commit;
    sim_star(&s, 3);
    uint32_t a = sim_attach(&s, 0, GIB, "n2");
    sim_settle(&s);
    json_t *live = attachment_json(s.m, model_attachment(s.m, a));
    char id[ID_SIZE];
    snprintf(id, sizeof id, "%s", model_attachment(s.m, a)->id);
    sim_detach(&s, a);
    sim_settle(&s);
    json_t *list = ended(id), *j = json_array_get(list, 0);
    ck_assert_uint_eq(json_array_size(list), 1);
    ck_assert_str_eq(json_string_value(json_object_get(live, "state")), "attached");
    ck_assert_str_eq(json_string_value(json_object_get(j, "state")), "detached");
    ck_assert_uint_eq(json_array_size(json_object_get(live, "holds")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(j, "holds")), 0);
    static const char *const same[] = { "id", "compute_node", "donor", "size_bytes", "path", "cost_ns", "created_at" };
    for (unsigned i = 0; i < ARRAY_LEN(same); i++)
        ck_assert_msg(json_equal(json_object_get(live, same[i]), json_object_get(j, same[i])), "%s", same[i]);
    ck_assert(json_is_null(json_object_get(j, "physical_addr")) && json_is_null(json_object_get(j, "undoing")));
    ck_assert_uint_eq(json_array_size(json_array_get(json_object_get(j, "path"), 0)), 4);
    ck_assert_str_eq(json_string_value(json_object_get(j, "compute_node")), "n1");
    json_decref(live);
    json_decref(list);
    sim_done(&s);
}
END_TEST

START_TEST(labels_and_operator_settings_survive)
{
    struct model *m;
    uint32_t n;
    struct wire_label labels[2] = { { "rack_unit", "12" }, { "feed", "a" } };
    ck_assert(model_new(&m, &e) == 0 && model_add_node(m, "n1", &n, &e) == 0);
    ck_assert_int_eq(model_set_labels(m, n, labels, 2, &e), 0);
    commit(m);
    model_commit_done(m);
    same_as_file(m);
    ck_assert_int_eq(model_set_labels(m, n, labels + 1, 1, &e), 0);
    model_edit_node(m, n)->cordoned = true;
    model_edit_node(m, n)->headroom_bytes = UINT64_MAX; /* no number is too large */
    commit(m);
    model_commit_done(m);
    same_as_file(m);
    ck_assert_int_eq(model_forget_node(m, n, &e), 0);
    commit(m);
    model_commit_done(m);
    same_as_file(m);
    model_free(m);
}
END_TEST

/* ---- transactions -------------------------------------------------------------------------------------------------
 */
static size_t n_audits(void)
{
    struct store_reader *r;
    json_t *list;
    ck_assert(store_reader_open(&r, path, &e) == 0 && store_reader_audit(r, 0, false, 1000, &list, &e) == 0);
    size_t n = json_array_size(list);
    json_decref(list);
    store_reader_close(r);
    return n;
}

static void audit(const char *action)
{
    struct audit a = { .actor = "token:t", .object = "node/n1", .detail = "{\"a\":1}" };
    snprintf(a.action, sizeof a.action, "%s", action);
    ck_assert_msg(store_audit(store, &a, 1, &e) == 0, "%s", e.detail);
}

START_TEST(an_undone_request_leaves_the_others)
{
    struct model *m;
    ck_assert(model_new(&m, &e) == 0);
    m->revision = 1;
    ck_assert_int_eq(store_begin(store, &e), 0);
    ck_assert(!store_has_changes(store));
    ck_assert_int_eq(store_savepoint(store, &e), 0);
    audit("kept");
    ck_assert_int_eq(store_keep(store, &e), 0);
    ck_assert(store_has_changes(store));
    ck_assert_int_eq(store_savepoint(store, &e), 0);
    audit("undone");
    ck_assert_int_eq(store_raise_epoch(store, 100, &e), 0);
    store_undo(store);
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    ck_assert_uint_eq(n_audits(), 1);
    ck_assert_uint_eq(store_epoch(store), 1);
    ck_assert_int_eq(store_begin(store, &e), 0);
    ck_assert_int_eq(store_savepoint(store, &e), 0);
    audit("rolled back");
    ck_assert_int_eq(store_keep(store, &e), 0);
    store_rollback(store);
    ck_assert_uint_eq(n_audits(), 1);
    ck_assert_uint_eq(store_revision(store), 1);
    model_free(m);
}
END_TEST

START_TEST(a_killed_process_keeps_what_it_committed_and_nothing_else)
{
    store_close(store);
    store = NULL;
    pid_t child = fork();
    if (child == 0) {
        struct model *m;
        struct audit a = { .actor = "x", .action = "killed" };
        if (store_open(&store, path, &e) < 0 || model_new(&m, &e) < 0)
            _exit(1);
        uint32_t n;
        m->revision = 1;
        bool ok = model_add_node(m, "n1", &n, &e) == 0;
        model_emit(m, "node.registered", "node/n1", NULL, NULL, NULL);
        ok = ok && store_begin(store, &e) == 0 && store_commit(store, m, &e) == 0;
        ok = ok && store_begin(store, &e) == 0 && store_savepoint(store, &e) == 0 &&
             store_audit(store, &a, 1, &e) == 0 && store_keep(store, &e) == 0;
        if (ok)
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    open_store();
    struct model *m;
    ck_assert(model_new(&m, &e) == 0 && store_load(store, m, &e) == 0);
    ck_assert_uint_ne(model_find_node(m, "n1"), NONE);
    ck_assert_uint_eq(store_revision(store), 1);
    ck_assert_uint_eq(store_last_event(store), 1);
    ck_assert_uint_eq(store_epoch(store), 3);
    ck_assert_uint_eq(n_audits(), 0);
    model_free(m);
}
END_TEST

START_TEST(each_start_has_a_higher_epoch_and_another_instance)
{
    char instance[ID_SIZE];
    ck_assert_uint_eq(store_epoch(store), 1);
    snprintf(instance, sizeof instance, "%s", store_instance(store));
    ck_assert_uint_eq(strlen(instance), 32);
    store_close(store);
    open_store();
    ck_assert_uint_eq(store_epoch(store), 2);
    ck_assert_str_ne(instance, store_instance(store));
    struct model *m;
    ck_assert_int_eq(model_new(&m, &e), 0);
    m->revision = 1;
    ck_assert_int_eq(store_begin(store, &e), 0);
    ck_assert_int_eq(store_raise_epoch(store, 40, &e), 0);
    ck_assert(store_has_changes(store));
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    ck_assert_uint_eq(store_epoch(store), 41);
    model_free(m);
    store_close(store);
    open_store();
    ck_assert_uint_eq(store_epoch(store), 42);
}
END_TEST

START_TEST(recovering_lasts_until_the_epoch_is_raised)
{
    struct model *m;
    ck_assert_int_eq(model_new(&m, &e), 0);
    m->revision = 1;
    ck_assert_uint_eq(store_recovering(store), 0);
    ck_assert(store_begin(store, &e) == 0 && store_set_recovering(store, 9, &e) == 0);
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    store_close(store);
    open_store();
    ck_assert_uint_eq(store_recovering(store), 9);
    ck_assert_uint_eq(store_start_revision(store), 1);
    m->revision = 2;
    ck_assert(store_begin(store, &e) == 0 && store_raise_epoch(store, 9, &e) == 0);
    ck_assert_int_eq(store_commit(store, m, &e), 0);
    ck_assert_uint_eq(store_recovering(store), 0);
    ck_assert_uint_eq(store_epoch(store), 10);
    model_free(m);
    store_close(store);
    open_store();
    ck_assert_uint_eq(store_recovering(store), 0);
}
END_TEST

START_TEST(recovery_tells_whether_a_commit_is_in_the_file)
{
    struct model *m;
    bool committed;
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    ck_assert_int_eq(store_recover(store, 1, &committed, &e), 0);
    ck_assert(committed);
    ck_assert_int_eq(store_begin(store, &e), 0);
    ck_assert_int_eq(store_recover(store, 2, &committed, &e), 0);
    ck_assert(!committed);
    ck_assert_uint_eq(store_revision(store), 1);
    commit(m);
    ck_assert_uint_eq(store_revision(store), 2);
    model_free(m);
}
END_TEST

START_TEST(a_full_disk_is_said_and_over_when_there_is_room_again)
{
    struct model *m;
    uint32_t n;
    bool committed;
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    int64_t pages;
    ck_assert_int_eq(db_read_int(&store->db, "PRAGMA page_count", &pages, &e), 0);
    char limit[64];
    snprintf(limit, sizeof limit, "PRAGMA max_page_count=%d", (int)pages + 1);
    ck_assert_int_eq(db_exec(&store->db, limit, &e), 0);
    for (int i = 0; i < 400; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        ck_assert_int_eq(model_add_node(m, name, &n, &e), 0);
    }
    m->revision = 2;
    ck_assert_int_eq(store_begin(store, &e), 0);
    ck_assert_int_eq(store_commit(store, m, &e), -1);
    ck_assert_int_eq(e.code, ERR_STORAGE_FULL);
    ck_assert_int_eq(store_recover(store, 2, &committed, &e), 0); /* a new connection has no limit */
    ck_assert(!committed);
    commit(m);
    model_commit_done(m);
    same_as_file(m);
    model_free(m);
}
END_TEST

START_TEST(a_disk_that_fails_a_write_loses_only_that_batch)
{
    struct model *m;
    uint32_t n;
    bool committed;
    char wal[128];
    struct stat st;
    struct rlimit before, limit;
    ck_assert_int_eq(model_new(&m, &e), 0);
    ck_assert_int_eq(model_add_node(m, "n1", &n, &e), 0);
    commit(m);
    model_commit_done(m);
    snprintf(wal, sizeof wal, "%s-wal", path);
    ck_assert_int_eq(stat(wal, &st), 0);
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)st.st_size + 1000; /* the next page of the log does not fit */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(model_add_node(m, "n2", &n, &e), 0);
    m->revision = 2;
    ck_assert_int_eq(store_begin(store, &e), 0);
    ck_assert_int_eq(store_commit(store, m, &e), -1);
    ck_assert(e.code == ERR_STORAGE || e.code == ERR_STORAGE_FULL);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(store_recover(store, 2, &committed, &e), 0);
    ck_assert(!committed);
    commit(m);
    model_commit_done(m);
    same_as_file(m);
    ck_assert_uint_eq(store_revision(store), 2);
    model_free(m);
}
END_TEST

START_TEST(a_file_that_was_away_is_opened_again)
{
    struct model *m;
    bool committed;
    char away[128];
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    snprintf(away, sizeof away, "%s.away", path);
    store_rollback(store);
    db_close(&store->db);
    ck_assert_int_eq(rename(path, away), 0);
    ck_assert_int_eq(store_recover(store, 2, &committed, &e), -1);
    expect_error(store_begin(store, &e), ERR_STORAGE, "rack.db");
    ck_assert_int_eq(rename(away, path), 0);
    commit(m);
    ck_assert_uint_eq(store_revision(store), 2);
    model_free(m);
}
END_TEST

START_TEST(a_commit_reported_as_failed_that_is_there_after_all_stops_changes)
{
    struct model *m;
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    db_close(&store->db); /* as after a recovery that could not read the file */
    edit_file("UPDATE store SET sum = 0, revision = 2");
    expect_error(store_begin(store, &e), ERR_STORAGE, "reported as failed");
    store_close(store);
    open_store(); /* a new start loads it */
    ck_assert_uint_eq(store_revision(store), 2);
    model_free(m);
}
END_TEST

#define SHARED_FIRST 0x40000002 /* of SQLite's locks on a database */
#define SHARED_SIZE 510

/* As another process sees it: nobody's own locks stand in one's way. */
static bool is_in_use(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SHARED_FIRST, .l_len = SHARED_SIZE };
        int fd = open(path, O_RDWR);
        _exit(fd < 0 || fcntl(fd, F_GETLK, &l) < 0 ? 2 : l.l_type != F_UNLCK);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 1;
}

/* A tool that reads the database and finds it unused would take the log away when it ends, and all later commits. */
START_TEST(after_a_recovery_others_see_that_the_database_is_in_use)
{
    struct model *m;
    struct store_reader *r;
    bool committed;
    json_t *list;
    uint64_t next;
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    ck_assert_msg(store_reader_open(&r, path, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(store_reader_ended(r, &(struct ended_query){ .limit = 1 }, &list, &next, &e), 0);
    json_decref(list);
    ck_assert(is_in_use());
    ck_assert_int_eq(store_recover(store, 2, &committed, &e), 0);
    ck_assert(is_in_use());
    commit(m);
    store_reader_close(r);
    ck_assert(is_in_use());
    model_free(m);
}
END_TEST

/* The same, and even its own word for what it is: a copy that was put there. */
START_TEST(a_copy_in_the_place_of_ours_stops_changes)
{
    struct model *m;
    bool committed;
    char copy[128];
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    snprintf(copy, sizeof copy, "%s.copy", path);
    ck_assert_int_eq(store_backup(path, copy, 1, &e), 0);
    ck_assert_int_eq(rename(copy, path), 0);
    expect_error(store_recover(store, 2, &committed, &e), ERR_STORAGE, "another database");
    ck_assert(store_is_ahead(store));
    model_free(m);
}
END_TEST

/* Somebody put another database there, at the same commit: what we hold is not what it holds. */
START_TEST(another_database_in_the_place_of_ours_stops_changes)
{
    struct model *m;
    bool committed;
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    store_rollback(store);
    db_close(&store->db);
    edit_file("UPDATE store SET sum = 0, instance = 'another'");
    expect_error(store_recover(store, 2, &committed, &e), ERR_STORAGE, "another database");
    ck_assert(store_is_ahead(store));
    expect_error(store_begin(store, &e), ERR_STORAGE, "another database");
    model_free(m);
}
END_TEST

/* ---- files that are refused ---------------------------------------------------------------------------------------
 */
START_TEST(a_second_orchestrator_is_refused)
{
    struct store *second;
    expect_error(store_open(&second, path, &e), ERR_BUSY, "in use");
    char alias[112];
    snprintf(alias, sizeof alias, "%s/alias.db", dir);
    ck_assert_int_eq(symlink(path, alias), 0);
    expect_error(store_open(&second, alias, &e), ERR_BUSY, "in use");
}
END_TEST

START_TEST(a_newer_database_is_refused)
{
    store_close(store);
    store = NULL;
    edit_file("PRAGMA user_version=99");
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "has version 99");
}
END_TEST

/* As version 4 left it; the sums of the tables that have new columns since are left out. */
#define BACK_TO_4                                                                                                      \
    "DROP TABLE bans; DROP TABLE epochs; ALTER TABLE switches DROP COLUMN fenced; UPDATE switches SET sum = 0;"        \
    " ALTER TABLE nodes DROP COLUMN labels_set; UPDATE nodes SET sum = 0; PRAGMA user_version=4;"

static void make_old_file(const char *more)
{
    struct sim s;
    sim_on_commit = on_commit;
    sim_star(&s, 2);
    sim_attach(&s, 0, UINT64_C(4) << 30, "n2");
    sim_settle(&s);
    sim_done(&s);
    store_close(store);
    store = NULL;
    edit_file(BACK_TO_4);
    edit_file(more);
}

START_TEST(migration_checks_the_sums_that_are_there_and_makes_new_ones)
{
    struct model *m;
    int64_t n;
    make_old_file("UPDATE nodes SET fenced_boot_id = 'old', sum = 0 WHERE name = 'n1'");
    open_store();
    ck_assert(db_read_int(&store->db,
                          "SELECT (SELECT count(*) FROM nodes WHERE sum = 0) + (SELECT count(*) FROM switches WHERE"
                          " sum = 0) + (SELECT count(*) FROM bans WHERE sum = 0)",
                          &n, &e) == 0);
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(model_new(&m, &e), 0);
    ck_assert_msg(store_load(store, m, &e) == 0, "%s", e.detail);
    ck_assert(model_boot_banned(m, "old")); /* what was fenced before stays refused */
    model_free(m);
}
END_TEST

START_TEST(a_value_that_was_damaged_before_a_migration_is_found)
{
    make_old_file("UPDATE attachments SET offset_bytes = offset_bytes + 268435456");
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "is damaged");
    int64_t version = 0;
    struct db d = { 0 };
    ck_assert(db_open(&d, path, DB_READER, &e) == 0 && db_read_int(&d, "PRAGMA user_version", &version, &e) == 0);
    ck_assert_int_eq(version, 4); /* and the file is as it was */
    db_close(&d);
}
END_TEST

START_TEST(another_past_of_an_epoch_is_told_from_ours)
{
    char first[ID_SIZE];
    struct model *m;
    bool known;
    ck_assert_int_eq(model_new(&m, &e), 0);
    commit(m);
    commit(m);
    memcpy(first, store_instance(store), sizeof first);
    uint64_t epoch = store_epoch(store), end = store_revision(store);
    for (int start = 0; start < 3; start++) { /* however often it is started, and whatever is committed since */
        store_close(store);
        open_store();
        for (int i = 0; i < 9; i++)
            commit(m);
        ck_assert(store_begin(store, &e) == 0);
        ck_assert(store_knows(store, epoch, first, end, &known, &e) == 0 && known);
        ck_assert(store_knows(store, epoch, first, end + 1, &known, &e) == 0 && !known);
        ck_assert(store_knows(store, epoch, "another", end, &known, &e) == 0 && !known);
        ck_assert(store_knows(store, store_epoch(store), store_instance(store), end + 1000, &known, &e) == 0 && known);
        store_rollback(store);
    }
    ck_assert(store_begin(store, &e) == 0 && store_raise_epoch(store, 40, &e) == 0);
    ck_assert(store_knows(store, epoch, "another", end + 1, &known, &e) == 0 && known); /* it was adopted over */
    store_rollback(store);
    model_free(m);
}
END_TEST

START_TEST(a_foreign_database_is_refused)
{
    store_close(store);
    store = NULL;
    ck_assert_int_eq(unlink(path), 0);
    edit_file("CREATE TABLE songs (id INTEGER)");
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "is not a database of memlaned");
    int fd = open(path, O_WRONLY | O_TRUNC);
    ck_assert_int_eq(write(fd, "this is a letter to my aunt, and long enough for a header......................", 79),
                     79);
    close(fd);
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "damaged");
}
END_TEST

START_TEST(a_damaged_database_is_refused)
{
    struct sim s;
    sim_on_commit = on_commit;
    sim_star(&s, 4);
    sim_done(&s);
    store_close(store);
    store = NULL;
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    int fd = open(path, O_WRONLY);
    char noise[3000];
    memset(noise, 0x5a, sizeof noise);
    for (off_t at = 4096 + 200; at + (off_t)sizeof noise < st.st_size; at += 8192)
        ck_assert_int_eq(pwrite(fd, noise, sizeof noise, at), (ssize_t)sizeof noise);
    close(fd);
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "damaged");
}
END_TEST

START_TEST(a_row_that_refers_to_nothing_is_refused)
{
    store_close(store);
    store = NULL;
    edit_file("INSERT INTO node_labels VALUES (5, 0, 'a', 'b')");
    expect_error(store_open(&store, path, &e), ERR_STORAGE, "refers to a row that is not there");
}
END_TEST

START_TEST(files_are_for_us_alone)
{
    struct stat st;
    static const char *const ends[] = { "", "-wal", ".lock" };
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        ck_assert_int_eq(stat(name, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0600);
    }
}
END_TEST

/* ---- the last line of defence -------------------------------------------------------------------------------------
 */
START_TEST(the_tables_refuse_to_give_anything_twice)
{
    struct sim s;
    sim_on_commit = on_commit;
    sim_star(&s, 3);
    uint32_t a = sim_attach(&s, 0, GIB, "n2");
    sim_settle(&s);
    ck_assert_uint_ne(a, NONE);
    static const char *const twice[] = {
        "INSERT INTO circuit_ports SELECT circuit, leg, position + 9, port FROM circuit_ports LIMIT 1",
        "UPDATE attachments SET slot = slot",
        "CREATE TEMP TABLE copy AS SELECT * FROM attachments;"
        "UPDATE copy SET slot = 77, id = 'twin';"
        "INSERT INTO attachments SELECT * FROM copy",
        "UPDATE copy SET offset_bytes = offset_bytes + size_bytes - 4096;"
        "INSERT INTO attachments SELECT * FROM copy",
        "UPDATE copy SET offset_bytes = offset_bytes + 4096, circuit = 99;"
        "INSERT INTO attachments SELECT * FROM copy",
        "INSERT INTO links SELECT 99, 0, b, a, 0, 100, 0, 0 FROM links LIMIT 1",
    };
    static const bool allowed[] = { false, true, false, false, false, false };
    for (unsigned i = 0; i < ARRAY_LEN(twice); i++) {
        int rc = sqlite3_exec(store->db.handle, twice[i], NULL, NULL, NULL);
        ck_assert_msg((rc == SQLITE_OK) == allowed[i], "%s: %s", twice[i], sqlite3_errmsg(store->db.handle));
        ck_assert_msg(allowed[i] || (rc & 0xff) == SQLITE_CONSTRAINT, "%s: %s", twice[i],
                      sqlite3_errmsg(store->db.handle));
    }
    same_as_file(s.m);
    sim_done(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tc = tcase_create("store");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_commit_of_a_rack_can_be_loaded_again);
    tcase_add_test(tc, an_ended_attachment_is_kept_as_the_api_shows_it);
    tcase_add_test(tc, labels_and_operator_settings_survive);
    tcase_add_test(tc, an_undone_request_leaves_the_others);
    tcase_add_test(tc, a_killed_process_keeps_what_it_committed_and_nothing_else);
    tcase_add_test(tc, each_start_has_a_higher_epoch_and_another_instance);
    tcase_add_test(tc, recovering_lasts_until_the_epoch_is_raised);
    tcase_add_test(tc, recovery_tells_whether_a_commit_is_in_the_file);
    tcase_add_test(tc, a_full_disk_is_said_and_over_when_there_is_room_again);
    tcase_add_test(tc, a_disk_that_fails_a_write_loses_only_that_batch);
    tcase_add_test(tc, a_file_that_was_away_is_opened_again);
    tcase_add_test(tc, a_commit_reported_as_failed_that_is_there_after_all_stops_changes);
    tcase_add_test(tc, after_a_recovery_others_see_that_the_database_is_in_use);
    tcase_add_test(tc, a_copy_in_the_place_of_ours_stops_changes);
    tcase_add_test(tc, another_database_in_the_place_of_ours_stops_changes);
    tcase_add_test(tc, a_second_orchestrator_is_refused);
    tcase_add_test(tc, a_newer_database_is_refused);
    tcase_add_test(tc, migration_checks_the_sums_that_are_there_and_makes_new_ones);
    tcase_add_test(tc, a_value_that_was_damaged_before_a_migration_is_found);
    tcase_add_test(tc, another_past_of_an_epoch_is_told_from_ours);
    tcase_add_test(tc, a_foreign_database_is_refused);
    tcase_add_test(tc, a_damaged_database_is_refused);
    tcase_add_test(tc, a_row_that_refers_to_nothing_is_refused);
    tcase_add_test(tc, files_are_for_us_alone);
    tcase_add_test(tc, the_tables_refuse_to_give_anything_twice);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
