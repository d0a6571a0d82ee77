/* Arenas and buffers in this very process, without the lender around them. */
/* links: memlane-lender-core */
#include "arena.h"
#include "pages.h"
#include "sanitized.h"
#include "unit_main.h"

#include <check.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define BLOCK (256 * MIB)

static char dir[64];
static struct arenas *arenas;
static struct err e;

static void open_arenas(bool locked)
{
    const struct arenas_options o = { .backing_dir = dir, .locked = locked };
    ck_assert_msg(arenas_new(&arenas, &o, &e) == 0, "%s", e.detail);
}

static void setup(void)
{
    snprintf(dir, sizeof dir, "/dev/shm/memlane-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    arenas = NULL;
    open_arenas(false);
}

static void teardown(void)
{
    char command[128];
    arenas_free(arenas);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static struct geometry geometry(const char *id, unsigned section, uint64_t offset, uint64_t size)
{
    struct geometry g = { .section = section, .offset_bytes = offset, .size_bytes = size };
    snprintf(g.id, sizeof g.id, "%s", id);
    snprintf(g.compute_node, sizeof g.compute_node, "n1");
    snprintf(g.compute_adapter, sizeof g.compute_adapter, "afu0");
    return g;
}

static int alloc(const char *id, unsigned section, uint64_t offset, uint64_t size, uint64_t *addr)
{
    struct geometry g = geometry(id, section, offset, size);
    const struct buffer *b;
    if (arenas_alloc(arenas, &g, &b, &e) < 0)
        return -1;
    while (arenas_commit(arenas))
        ;
    if (arenas_alloc(arenas, &g, &b, &e) < 0)
        return -1;
    ck_assert_uint_eq(b->committed_bytes, size);
    if (addr)
        *addr = b->effective_addr;
    return 0;
}

/* As the adapter does it: by address, with an error where nothing is mapped or may not be written. */
static bool peek(uint64_t addr, unsigned char *byte)
{
    struct iovec local = { byte, 1 }, remote = { (void *)(uintptr_t)addr, 1 };
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

static bool poke(uint64_t addr, unsigned char byte)
{
    struct iovec local = { &byte, 1 }, remote = { (void *)(uintptr_t)addr, 1 };
    return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
}

START_TEST(an_arena_reads_as_zero_where_no_buffer_is)
{
    uint64_t addr;
    unsigned char byte = 1;
    ck_assert_int_eq(alloc("a1", 0, BLOCK, BLOCK, &addr), 0);
    uint64_t base = addr - BLOCK;
    ck_assert_uint_eq(base % ARENA_BYTES, 0);
    ck_assert(peek(base, &byte) && byte == 0);
    ck_assert(peek(base + ARENA_BYTES - 1, &byte) && byte == 0);
    ck_assert(!poke(base, 1));
    ck_assert(poke(addr, 1));
    ck_assert(poke(addr + BLOCK - 1, 1));
    ck_assert(!poke(addr + BLOCK, 1));
}
END_TEST

/* Whether the kernel's flags of the mapping at 'addr' have this one. */
static bool has_flag(uint64_t addr, const char *flag)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    unsigned long long start, end;
    bool in = false, found = false;
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
            in = start <= addr && addr < end;
        else if (in && !strncmp(line, "VmFlags:", 8))
            found = strstr(line, flag) != NULL;
    }
    fclose(f);
    return found;
}

START_TEST(a_buffer_is_in_no_core_dump)
{
    uint64_t addr;
    ck_assert_int_eq(alloc("a1", 0, BLOCK, BLOCK, &addr), 0);
    ck_assert(has_flag(addr, " dd"));
}
END_TEST

START_TEST(only_the_zero_page_is_proved_to_be_it)
{
    uint64_t base;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), file = memfd_create("x", MFD_CLOEXEC);
    const uint64_t size = 16 * MIB, middle = 4 * MIB;
    const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    const struct {
        int mode, flags, fd;
    } wrong[] = { { PROT_READ | PROT_WRITE, anonymous, -1 },
                  { PROT_NONE, anonymous, -1 },
                  { PROT_READ, MAP_SHARED | MAP_FIXED, file },
                  { PROT_READ, MAP_PRIVATE | MAP_FIXED, file } };
    ck_assert_int_eq(ftruncate(file, MIB), 0);
    ck_assert_int_eq(pages_reserve(&base, size, &e), 0);
    ck_assert_int_eq(pages_prove_zero(maps, base, size, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        void *at = (void *)(uintptr_t)(base + middle);
        ck_assert_ptr_eq(mmap(at, MIB, wrong[i].mode, wrong[i].flags, wrong[i].fd, 0), at);
        ck_assert_msg(pages_prove_zero(maps, base, size, &e) == -1, "%zu", i);
        ck_assert_int_eq(pages_zero(base + middle, MIB, &e), 0);
        ck_assert_int_eq(pages_prove_zero(maps, base, size, &e), 0);
    }
    pages_drop(base + middle, MIB);
    ck_assert_int_eq(pages_prove_zero(maps, base, size, &e), -1);
    close(maps);
    close(file);
}
END_TEST

/* A policy is a process's for good; each test has a process of its own. */
START_TEST(memory_comes_from_nodes_with_processors)
{
    int mode = -1;
    unsigned long nodes[16] = { 0 };
    if (access("/sys/devices/system/node/has_cpu", R_OK) < 0)
        return; /* a kernel without NUMA */
    ck_assert_msg(pages_bind(NULL, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(syscall(SYS_get_mempolicy, &mode, nodes, 8 * sizeof nodes, NULL, 0), 0);
    ck_assert_int_eq(mode, MPOL_BIND);
    ck_assert_uint_ne(nodes[0], 0);
}
END_TEST

START_TEST(the_same_order_twice_is_one_buffer)
{
    uint64_t first, second;
    ck_assert_int_eq(alloc("a1", 0, 0, BLOCK, &first), 0);
    ck_assert_int_eq(alloc("a1", 0, 0, BLOCK, &second), 0);
    ck_assert_uint_eq(first, second);
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 1);
    ck_assert_int_eq(alloc("a1", 0, BLOCK, BLOCK, NULL), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_int_eq(alloc("a1", 1, 0, BLOCK, NULL), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
}
END_TEST

START_TEST(overlaps_are_refused)
{
    ck_assert_int_eq(alloc("a1", 0, 2 * BLOCK, 2 * BLOCK, NULL), 0);
    const struct {
        uint64_t offset, size;
    } bad[] = {
        { 2 * BLOCK, 2 * BLOCK }, { BLOCK, 2 * BLOCK }, { 3 * BLOCK, BLOCK }, { 0, 8 * BLOCK }, { 3 * BLOCK, 4 * BLOCK }
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(alloc("a2", 0, bad[i].offset, bad[i].size, NULL), -1);
        ck_assert_int_eq(e.code, ERR_CONFLICT);
    }
    ck_assert_int_eq(alloc("a2", 0, 0, 2 * BLOCK, NULL), 0);
    ck_assert_int_eq(alloc("a3", 0, 4 * BLOCK, BLOCK, NULL), 0);
    ck_assert_int_eq(alloc("a4", 1, 2 * BLOCK, BLOCK, NULL), 0); /* another section is another arena */
}
END_TEST

START_TEST(ranges_outside_an_arena_are_refused)
{
    const struct geometry bad[] = {
        geometry("a1", 8, 0, BLOCK),
        geometry("a1", 0, 0, 0),
        geometry("a1", 0, ARENA_BYTES, BLOCK),
        geometry("a1", 0, ARENA_BYTES - BLOCK, 2 * BLOCK),
        geometry("a1", 0, UINT64_MAX - 4095, 8192),
        geometry("a1", 0, 4096, UINT64_MAX - 4095),
        geometry("a1", 0, 0, 4095),
        geometry("a1", 0, 17, 4096),
        geometry("../a1", 0, 0, BLOCK),
        geometry("", 0, 0, BLOCK),
    };
    const struct buffer *b;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(arenas_alloc(arenas, &bad[i], &b, &e), -1);
        ck_assert_int_eq(e.code, ERR_FIELD_INVALID);
    }
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 0);
}
END_TEST

START_TEST(a_whole_arena_can_be_one_buffer)
{
    uint64_t addr;
    ck_assert_int_eq(alloc("a1", 0, 0, ARENA_BYTES, &addr), 0);
    ck_assert(poke(addr + ARENA_BYTES - 1, 7));
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), 0);
}
END_TEST

START_TEST(release_leaves_nothing_behind)
{
    uint64_t addr, again;
    unsigned char byte;
    char path[128];
    ck_assert_int_eq(alloc("a1", 0, BLOCK, BLOCK, &addr), 0);
    for (uint64_t at = 0; at < BLOCK; at += 16 * MIB)
        ck_assert(poke(addr + at, 0xaa));
    snprintf(path, sizeof path, "%s/a1", dir);
    int other = open(path, O_RDONLY | O_CLOEXEC); /* somebody kept the file open */
    ck_assert_int_ge(other, 0);
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), 0);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert(peek(addr, &byte) && byte == 0);
    ck_assert(!poke(addr, 1));
    ck_assert_int_eq(pread(other, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 0);
    close(other);
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), 0); /* again: fine */
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 0);
    ck_assert_int_eq(alloc("a2", 0, BLOCK, BLOCK, &again), 0);
    ck_assert_uint_eq(again, addr); /* the base stays */
    for (uint64_t at = 0; at < BLOCK; at += 16 * MIB)
        ck_assert(peek(addr + at, &byte) && byte == 0);
}
END_TEST

START_TEST(neighbours_survive_a_release)
{
    uint64_t left, middle, right;
    unsigned char byte;
    ck_assert_int_eq(alloc("a1", 0, 0, BLOCK, &left), 0);
    ck_assert_int_eq(alloc("a2", 0, BLOCK, BLOCK, &middle), 0);
    ck_assert_int_eq(alloc("a3", 0, 2 * BLOCK, BLOCK, &right), 0);
    ck_assert(poke(left + BLOCK - 1, 1) && poke(right, 3) && poke(middle, 2));
    ck_assert_int_eq(arenas_release(arenas, "a2", &e), 0);
    ck_assert(peek(left + BLOCK - 1, &byte) && byte == 1);
    ck_assert(peek(right, &byte) && byte == 3);
    ck_assert(peek(middle, &byte) && byte == 0);
}
END_TEST

START_TEST(leftovers_are_removed_but_not_another_lenders_buffers)
{
    char path[128];
    struct arenas *first = arenas;
    ck_assert_int_eq(alloc("live", 0, 0, BLOCK, NULL), 0);
    snprintf(path, sizeof path, "%s/dead", dir);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    open_arenas(false); /* the lender of the node's other adapter starts */
    ck_assert_int_eq(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/live", dir);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(alloc("live", 0, 0, BLOCK, NULL), -1); /* never the same file twice */
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 0);
    arenas_free(first);
}
END_TEST

/* Where others have files too, the lender has a directory of its own, and removes nothing elsewhere. */
START_TEST(foreign_files_in_a_shared_directory_stay)
{
    char foreign[128], own[128];
    struct arenas *first = arenas;
    snprintf(foreign, sizeof foreign, "%s/sem", dir);
    close(open(foreign, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_int_eq(chmod(dir, 01777), 0);
    open_arenas(false);
    ck_assert_int_eq(access(foreign, F_OK), 0);
    ck_assert_int_eq(alloc("sem", 0, 0, BLOCK, NULL), 0); /* nor is it in the way of a buffer */
    snprintf(own, sizeof own, "%s/memlane/sem", dir);
    ck_assert_int_eq(access(own, F_OK), 0);
    arenas_free(arenas);
    open_arenas(false);
    ck_assert_int_eq(access(own, F_OK), -1);
    ck_assert_int_eq(access(foreign, F_OK), 0);
    arenas_free(first);
}
END_TEST

START_TEST(a_directory_that_another_user_may_enter_is_refused)
{
    struct arenas *other = NULL;
    char own[128];
    const struct arenas_options o = { .backing_dir = dir };
    ck_assert_int_eq(chmod(dir, 01777), 0);
    snprintf(own, sizeof own, "%s/memlane", dir);
    ck_assert_int_eq(mkdir(own, 0700), 0);
    ck_assert_int_eq(chmod(own, 0770), 0);
    ck_assert_int_eq(arenas_new(&other, &o, &e), -1);
    ck_assert_int_eq(rmdir(own), 0);
    ck_assert_int_eq(symlink("/dev/shm", own), 0);
    ck_assert_int_eq(arenas_new(&other, &o, &e), -1);
}
END_TEST

START_TEST(a_directory_that_is_not_in_memory_is_refused)
{
    struct arenas *other = NULL;
    const struct arenas_options proc = { .backing_dir = "/proc/self" };
    ck_assert_int_eq(arenas_new(&other, &proc, &e), -1);
    ck_assert_int_eq(e.code, ERR_FIELD_INVALID);
}
END_TEST

START_TEST(locked_memory_is_populated_piece_by_piece)
{
    uint64_t addr;
    struct stat st;
    char path[128];
    size_t slot = 0;
    arenas_free(arenas);
    open_arenas(true);
    struct geometry g = geometry("a1", 0, 0, 160 * MIB);
    const struct buffer *b;
    ck_assert_msg(arenas_alloc(arenas, &g, &b, &e) == 0, "%s", e.detail);
    ck_assert_uint_eq(b->committed_bytes, 0);
    ck_assert_ptr_null(arenas_next(arenas, &slot, NULL)); /* nobody's yet */
    ck_assert(arenas_commit(arenas));
    ck_assert(arenas_commit(arenas));
    ck_assert(!arenas_commit(arenas));
    ck_assert_msg(alloc("a1", 0, 0, 160 * MIB, &addr) == 0, "%s", e.detail);
    ck_assert_uint_eq(arenas_totals(arenas).locked_bytes, 160 * MIB);
    snprintf(path, sizeof path, "%s/a1", dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_blocks * 512, 160 * MIB);
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), 0);
    ck_assert_uint_eq(arenas_totals(arenas).locked_bytes, 0);
}
END_TEST

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_PAGE (2 * MIB)

static unsigned long pool(const char *file)
{
    unsigned long n = 0;
    char path[128];
    snprintf(path, sizeof path, POOL "%s", file);
    FILE *f = fopen(path, "re");
    if (!f || fscanf(f, "%lu", &n) != 1)
        n = 0;
    if (f)
        fclose(f);
    return n;
}

static bool reserve(unsigned long n)
{
    FILE *f = fopen(POOL "nr_hugepages", "we");
    bool good = f && fprintf(f, "%lu\n", n) > 0;
    if (f)
        good = fclose(f) == 0 && good;
    return good && pool("nr_hugepages") == n;
}

/* Reserves some pages of this machine for its time; where it may not, or there is none to be had, it says so (and the
 * kernel tests want to see that inside the machine it could). */
START_TEST(huge_pages_are_lent_and_come_back)
{
    char path[128];
    const struct buffer *b;
    int lock = open(POOL "nr_hugepages", O_RDONLY | O_CLOEXEC); /* another run of this test may be under way */
    if (lock >= 0)
        ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    unsigned long before = pool("nr_hugepages"), unused;
    snprintf(path, sizeof path, "%s/huge", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", path, "hugetlbfs", 0, "mode=0700,pagesize=2M") < 0 || !reserve(before + 4)) {
        printf("huge pages: not to be had here\n");
        return;
    }
    arenas_free(arenas);
    const struct arenas_options o = { .backing_dir = path, .locked = true };
    ck_assert_msg(arenas_new(&arenas, &o, &e) == 0, "%s", e.detail);
    unused = pool("free_hugepages");
    ck_assert_uint_eq(arenas_totals(arenas).page_bytes, HUGE_PAGE);
    struct geometry half = geometry("a1", 0, 0, HUGE_PAGE / 2), g = geometry("a1", 0, 0, 3 * HUGE_PAGE);
    ck_assert_int_eq(arenas_alloc(arenas, &half, &b, &e), -1); /* not whole pages */
    ck_assert_int_eq(e.code, ERR_FIELD_INVALID);
    uint64_t addr;
    unsigned char byte = 1;
    ck_assert_msg(alloc("a1", 0, 0, g.size_bytes, &addr) == 0, "%s", e.detail);
    ck_assert_uint_eq(pool("free_hugepages"), unused - 3);
    ck_assert(peek(addr, &byte) && byte == 0 && poke(addr + g.size_bytes - 1, 7));
    ck_assert_int_eq(alloc("a2", 0, g.size_bytes, 64 * HUGE_PAGE, NULL), -1); /* more than there are */
    ck_assert_int_eq(e.code, ERR_IO);
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 1);
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), 0);
    ck_assert_uint_eq(pool("free_hugepages"), unused);
    ck_assert(reserve(before));
    close(lock);
    printf("huge pages: lent\n");
    umount2(path, MNT_DETACH);
}
END_TEST

static void drop_lock_capability(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, data), 0);
    data[CAP_IPC_LOCK / 32].effective &= ~(1u << CAP_IPC_LOCK % 32);
    ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
}

START_TEST(memory_that_cannot_be_had_is_undone_and_said)
{
    arenas_free(arenas);
    open_arenas(true);
    const struct rlimit small = { 1 * MIB, 1 * MIB };
    setrlimit(RLIMIT_MEMLOCK, &small);
    drop_lock_capability();
    ck_assert_int_eq(alloc("a1", 0, 0, 128 * MIB, NULL), -1);
    ck_assert_int_eq(e.code, ERR_IO);
    ck_assert_int_ne(e.os_errno, 0);
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 0);
}
END_TEST

/* Instead of the arenas' view of this process's memory: nothing, and back again with what this answers. */
static int blind(int saved_fd)
{
    char path[64], target[64];
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0)
            target[n] = '\0';
        if (n > 0 && fd != saved_fd && (saved_fd < 0 ? strstr(target, "/maps") : strstr(target, "/dev/null")) != NULL) {
            int other = saved_fd < 0 ? open("/dev/null", O_RDONLY) : saved_fd, copy = dup(fd);
            ck_assert_int_eq(dup2(other, fd), fd);
            close(other);
            return copy;
        }
    }
    ck_abort_msg("no such descriptor");
    return -1;
}

START_TEST(what_could_be_neither_had_nor_given_back_is_listed_as_that)
{
    const struct err *why = NULL;
    size_t slot = 0;
    const struct rlimit small = { 1 * MIB, 1 * MIB };
    arenas_free(arenas);
    open_arenas(true);
    setrlimit(RLIMIT_MEMLOCK, &small);
    drop_lock_capability();
    struct geometry g = geometry("a1", 0, 0, 128 * MIB);
    const struct buffer *b;
    ck_assert_int_eq(arenas_alloc(arenas, &g, &b, &e), 0);
    int maps = blind(-1);
    ck_assert(!arenas_commit(arenas));
    ck_assert_ptr_null(arenas_next(arenas, &slot, NULL)); /* as memory to use it is not there */
    slot = 0;
    b = arenas_next(arenas, &slot, &why);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(why);
    ck_assert_str_eq(b->g.id, "a1");
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 1);
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), -1);
    close(blind(maps));
    ck_assert_int_eq(arenas_release(arenas, "a1", &e), 0);
    slot = 0;
    ck_assert_ptr_null(arenas_next(arenas, &slot, &why));
    ck_assert_uint_eq(arenas_totals(arenas).n_buffers, 0);
}
END_TEST

START_TEST(an_empty_arena_makes_room_when_address_space_runs_out)
{
    struct rlimit as = { 4 * ARENA_BYTES + ARENA_BYTES / 2, RLIM_INFINITY };
    setrlimit(RLIMIT_AS, &as);
    ck_assert_int_eq(alloc("a1", 0, 0, BLOCK, NULL), 0);
    ck_assert_int_eq(alloc("a2", 1, 0, BLOCK, NULL), 0);
    ck_assert_int_eq(alloc("a3", 2, 0, BLOCK, NULL), 0);
    ck_assert_int_eq(alloc("a4", 3, 0, BLOCK, NULL), -1);
    ck_assert_int_eq(e.code, ERR_TOO_MANY);
    ck_assert_int_eq(arenas_release(arenas, "a2", &e), 0);
    ck_assert_int_eq(alloc("a4", 3, 0, BLOCK, NULL), 0);
}
END_TEST

START_TEST(one_file_for_all_holds_each_at_its_offset)
{
    char path[96], byte = 0;
    uint64_t first, second;
    snprintf(path, sizeof path, "%s/arena", dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, 4 * MIB), 0);
    ck_assert_int_eq(pwrite(fd, "x", 1, MIB), 1); /* what an earlier lender left */
    arenas_free(arenas);
    const struct arenas_options o = { .arena_file = path };
    ck_assert_msg(arenas_new(&arenas, &o, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(alloc("first", 0, MIB, MIB, &first), 0);
    ck_assert_int_eq(alloc("second", 0, 2 * MIB, MIB, &second), 0);
    ck_assert_uint_eq(second - first, MIB);
    ck_assert_int_eq(*(volatile char *)(uintptr_t)first, 0);
    *(volatile char *)(uintptr_t)first = 'a';
    *(volatile char *)(uintptr_t)second = 'b';
    ck_assert_int_eq(pread(fd, &byte, 1, MIB), 1);
    ck_assert_int_eq(byte, 'a');
    ck_assert_int_lt(alloc("outside", 0, 4 * MIB, MIB, &first), 0);
    ck_assert_int_eq(e.code, ERR_TOO_MANY);
    ck_assert_int_lt(alloc("elsewhere", 1, 2 * MIB, MIB, &first), 0); /* the same bytes for another section */
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_msg(arenas_release(arenas, "first", &e) == 0, "%s", e.detail);
    ck_assert_int_eq(pread(fd, &byte, 1, MIB), 1);
    ck_assert_int_eq(byte, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, 2 * MIB), 1); /* its neighbour is untouched */
    ck_assert_int_eq(byte, 'b');
    ck_assert_msg(arenas_release(arenas, "second", &e) == 0, "%s", e.detail);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lender_arena");
    TCase *tc = tcase_create("arena");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, an_arena_reads_as_zero_where_no_buffer_is);
    tcase_add_test(tc, a_buffer_is_in_no_core_dump);
    tcase_add_test(tc, only_the_zero_page_is_proved_to_be_it);
    tcase_add_test(tc, memory_comes_from_nodes_with_processors);
    tcase_add_test(tc, the_same_order_twice_is_one_buffer);
    tcase_add_test(tc, overlaps_are_refused);
    tcase_add_test(tc, ranges_outside_an_arena_are_refused);
    tcase_add_test(tc, a_whole_arena_can_be_one_buffer);
    tcase_add_test(tc, release_leaves_nothing_behind);
    tcase_add_test(tc, neighbours_survive_a_release);
    tcase_add_test(tc, leftovers_are_removed_but_not_another_lenders_buffers);
    tcase_add_test(tc, foreign_files_in_a_shared_directory_stay);
    tcase_add_test(tc, a_directory_that_another_user_may_enter_is_refused);
    tcase_add_test(tc, a_directory_that_is_not_in_memory_is_refused);
    tcase_add_test(tc, one_file_for_all_holds_each_at_its_offset);
    tcase_add_test(tc, huge_pages_are_lent_and_come_back);
    tcase_add_test(tc, locked_memory_is_populated_piece_by_piece);
    if (!SANITIZED) { /* AddressSanitizer makes mlock() do nothing and needs address space without limit */
        tcase_add_test(tc, memory_that_cannot_be_had_is_undone_and_said);
        tcase_add_test(tc, what_could_be_neither_had_nor_given_back_is_listed_as_that);
        tcase_add_test(tc, an_empty_arena_makes_room_when_address_space_runs_out);
    }
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
