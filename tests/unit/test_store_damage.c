/* links: memlane-orchestrator memlane-sim */
/* Damaged databases (F13): a byte changed in every page and anywhere, files cut short, logs that are empty, half or of
 * noise.  Each is refused with a clear message, or what it serves is what was written; nothing in between. */
#include "store_same.h"
#include "unit_main.h"

#include <errno.h>
#include <fcntl.h>

#define PAGE 4096

static const char *env_or(const char *name, const char *otherwise)
{
    const char *v = getenv(name);
    return v && *v ? v : otherwise;
}

static unsigned files_wanted(void)
{
    struct err ignored;
    uint64_t n;
    return units_parse_u64(env_or("MEMLANE_DAMAGE", "300"), &n, &ignored) == 0 ? (unsigned)n : 300;
}

struct image { /* a database's file */
    unsigned char *bytes;
    size_t size;
};

static struct image read_image(const char *from)
{
    struct stat st;
    int fd = open(from, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    struct image i = { malloc((size_t)st.st_size + 1), (size_t)st.st_size };
    ck_assert_int_eq(read(fd, i.bytes, i.size), (ssize_t)i.size);
    close(fd);
    return i;
}

static void write_file(const char *to, const void *bytes, size_t size)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void remove_logs(void)
{
    char name[128];
    snprintf(name, sizeof name, "%s-wal", path);
    unlink(name);
    snprintf(name, sizeof name, "%s-shm", path);
    unlink(name);
}

/* Opens the file as memlaned does.  True: it serves, and what it serves is the model 'm'.  False: refused, and why. */
static bool opens(const struct model *m, const struct store_state *st)
{
    err_clear(&e);
    store = NULL;
    if (store_open(&store, path, &e) < 0) {
        ck_assert_msg(e.code == ERR_STORAGE && e.detail[0], "%s: %s", err_name(e.code), e.detail);
        return false;
    }
    struct model *copy;
    ck_assert_int_eq(model_new(&copy, &e), 0);
    bool loads = store_load(store, copy, &e) == 0;
    if (loads) {
        same_as_file(m);
        ck_assert_uint_eq(store->at.revision, st->revision);
        ck_assert_uint_eq(store->at.last_event, st->last_event);
        ck_assert_uint_eq(store->at.epoch, st->epoch + 1);
        ck_assert_uint_eq(store->at.recovering, st->recovering);
    } else {
        ck_assert_msg(e.code == ERR_STORAGE && e.detail[0], "%s: %s", err_name(e.code), e.detail);
    }
    model_free(copy);
    store_close(store);
    store = NULL;
    return loads;
}

static struct sim rack;
static struct store_state state;

/* A rack with attachments, all of it in one file. */
static struct image make(void)
{
    sim_on_commit = on_commit;
    sim_star(&rack, 5);
    for (unsigned i = 0; i < 4; i++)
        sim_attach(&rack, i, (i + 1) * GIB, NULL);
    sim_settle(&rack);
    sim_on_commit = NULL;
    state = store->at;
    store_close(store);
    store = NULL;
    remove_logs();
    return read_image(path);
}

START_TEST(a_changed_byte_is_noticed_or_does_not_matter)
{
    struct image good = make();
    unsigned n_pages = (unsigned)(good.size / PAGE), wanted = files_wanted(), refused = 0, served = 0;
    unsigned seed = 20251125;
    for (unsigned i = 0; i < wanted; i++) {
        size_t at = (size_t)(i % n_pages) * PAGE + (size_t)rand_r(&seed) % PAGE;
        unsigned char was = good.bytes[at];
        good.bytes[at] = (unsigned char)(was ^ (1u << rand_r(&seed) % 8));
        write_file(path, good.bytes, good.size);
        remove_logs();
        opens(rack.m, &state) ? served++ : refused++;
        good.bytes[at] = was;
    }
    printf("%u files with a changed byte: %u refused, %u served what was written\n", wanted, refused, served);
    ck_assert_uint_gt(refused, wanted / 20);
    write_file(path, good.bytes, good.size);
    remove_logs();
    ck_assert_msg(opens(rack.m, &state), "%s", e.detail);
    free(good.bytes);
    sim_done(&rack);
}
END_TEST

/* Every value of the rack's rows, changed where SQLite's own check sees nothing. */
START_TEST(a_changed_value_is_noticed)
{
    struct image good = make();
    static const char *const changes[] = {
        "UPDATE attachments SET offset_bytes = offset_bytes + 268435456 WHERE slot = 3",
        "UPDATE attachments SET effective_addr = effective_addr + 64",
        "UPDATE attachments SET release_published = 1",
        "UPDATE attachments SET compute_boot = 'x'",
        "UPDATE nodes SET boot_id = 'x' WHERE slot = 1",
        "UPDATE nodes SET cordoned = 1 WHERE slot = 2",
        "UPDATE sections SET base = base + 64",
        "UPDATE sections SET park_revision = park_revision + 1",
        "DELETE FROM sections WHERE rowid IS NULL OR used = 1",
        "UPDATE circuits SET phase = phase + 1",
        "UPDATE circuits SET verified = 1 - verified",
        "UPDATE links SET down = 1 WHERE slot = 0",
        "UPDATE adapters SET window_addr = 0 WHERE slot = 0",
        "UPDATE switches SET managed_by = 'n1'",
        "UPDATE node_adapters SET position = position + 8 WHERE position = 0",
        "UPDATE store SET revision = revision - 1",
        "UPDATE store SET epoch = epoch + 1",
        "UPDATE store SET next_circuit = 1",
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        sqlite3 *db;
        write_file(path, good.bytes, good.size);
        remove_logs();
        ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
        int rc = sqlite3_exec(db, changes[i], NULL, NULL, NULL);
        ck_assert_msg(rc == SQLITE_OK || strstr(changes[i], "rowid"), "%s: %s", changes[i], sqlite3_errmsg(db));
        bool changed = rc == SQLITE_OK && sqlite3_changes(db) > 0;
        sqlite3_close(db);
        ck_assert_msg(!changed || !opens(rack.m, &state), "not noticed: %s", changes[i]);
        ck_assert_msg(!changed || strstr(e.detail, "damaged") || strstr(e.detail, "refers") || e.code == ERR_STORAGE,
                      "%s: %s", changes[i], e.detail);
    }
    free(good.bytes);
    sim_done(&rack);
}
END_TEST

START_TEST(a_file_cut_short_is_refused)
{
    struct image good = make();
    static const size_t odd[] = { 1, 15, 16, 100, 512, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE + 100 };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        write_file(path, good.bytes, odd[i] < good.size ? odd[i] : good.size - 1);
        remove_logs();
        ck_assert_msg(!opens(rack.m, &state), "%zu bytes are served", odd[i]);
    }
    for (size_t size = 4 * PAGE; size < good.size; size += 5 * PAGE) {
        write_file(path, good.bytes, size);
        remove_logs();
        ck_assert_msg(!opens(rack.m, &state), "%zu of %zu bytes are served", size, good.size);
    }
    free(good.bytes);
    sim_done(&rack);
}
END_TEST

/* The log of a process that was killed: empty, cut anywhere, with a changed byte.  What it serves then is a commit. */
START_TEST(a_damaged_log_leaves_an_earlier_commit)
{
    char wal[128];
    sim_on_commit = on_commit;
    sim_star(&rack, 3);
    sim_attach(&rack, 0, GIB, NULL);
    sim_settle(&rack);
    sim_on_commit = NULL;
    uint64_t newest = store->at.revision;
    snprintf(wal, sizeof wal, "%s-wal", path);
    struct image base = read_image(path), log = read_image(wal);
    store_close(store);
    store = NULL;
    ck_assert_uint_gt(log.size, 10 * PAGE);
    unsigned seed = 7, served = 0;
    for (unsigned i = 0; i < 60; i++) {
        size_t cut = i == 0 ? 0 : i % 3 == 0 ? log.size : (size_t)rand_r(&seed) % log.size;
        size_t flip = (size_t)rand_r(&seed) % log.size;
        log.bytes[flip] ^= i % 3 == 0;
        write_file(path, base.bytes, base.size);
        remove_logs();
        write_file(wal, log.bytes, cut);
        log.bytes[flip] ^= i % 3 == 0;
        struct model *m;
        ck_assert_int_eq(model_new(&m, &e), 0);
        if (store_open(&store, path, &e) == 0 && store_load(store, m, &e) == 0) {
            ck_assert_msg(model_check(m, &e) == 0, "%s", e.detail);
            ck_assert_uint_le(store->at.revision, newest);
            served++;
        } else {
            ck_assert_int_eq(e.code, ERR_STORAGE);
        }
        store_close(store);
        store = NULL;
        model_free(m);
    }
    ck_assert_uint_gt(served, 30);
    free(base.bytes);
    free(log.bytes);
    sim_done(&rack);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_damage");
    TCase *tc = tcase_create("store_damage");
    tcase_set_timeout(tc, 600);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_changed_byte_is_noticed_or_does_not_matter);
    tcase_add_test(tc, a_changed_value_is_noticed);
    tcase_add_test(tc, a_file_cut_short_is_refused);
    tcase_add_test(tc, a_damaged_log_leaves_an_earlier_commit);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
