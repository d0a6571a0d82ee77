/* The agent's client against a real lender process with a fake adapter. */
/* links: memlane-lender-client memlane-ocxl */
#include "lender/protocol.h"
#include "lenderclient.h"
#include "registers.h"
#include "sanitized.h"
#include "unit_main.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define BLOCK (256 * MIB)
#define RESTART_MS 100
#define BATCH 8 /* hostile messages sent before their answers are read */

static char dir[64], program[512], library[512], device[128] = "/dev/ocxl/fake";
static struct lender *lender;
static struct lender_info info;
static struct err e;

/* A lender that ends at once is started again after that time. */
static struct lender *client(unsigned restart_ms)
{
    struct lender *l = NULL;
    const struct lender_config c = { .adapter = "afu1",
                                     .run_dir = dir,
                                     .program = program,
                                     .device = device,
                                     .ocxl_library = library,
                                     .backing = "sparse",
                                     .backing_dir = dir,
                                     .restart_ms = restart_ms };
    ck_assert_int_eq(lender_new(&l, &c, &e), 0);
    return l;
}

static void setup(void)
{
    char own[400];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    ck_assert_int_gt(n, 0);
    own[n] = '\0';
    *strrchr(own, '/') = '\0';
    snprintf(program, sizeof program, "%s/../bin/memlane-lender", own);
    snprintf(library, sizeof library, "%s/../lib/tests/fake_ocxl.so", own);
    snprintf(dir, sizeof dir, "/dev/shm/memlane-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    lender = client(RESTART_MS);
    ck_assert_msg(lender_info(lender, &info, &e) == 0, "%s", e.detail);
}

/* The lender is init's child, which may take its time to collect it: its end is seen, not its disappearance. */
static int watch(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void await_end(int pid_fd)
{
    struct pollfd p = { .fd = pid_fd, .events = POLLIN };
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    close(pid_fd);
}

static void end(int pid, int signal)
{
    int pid_fd = watch(pid);
    ck_assert_int_eq(kill(pid, signal), 0);
    await_end(pid_fd);
}

static void teardown(void)
{
    char command[128];
    if (lender_info(lender, &info, &e) == 0)
        end(info.pid, SIGKILL);
    lender_free(lender);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static struct lender_buffer buffer(const char *id, uint64_t offset)
{
    struct lender_buffer b = { .section = 1, .offset_bytes = offset, .size_bytes = BLOCK };
    snprintf(b.id, sizeof b.id, "%s", id);
    snprintf(b.compute_node, sizeof b.compute_node, "n1");
    snprintf(b.compute_adapter, sizeof b.compute_adapter, "afu0");
    return b;
}

static int alloc(const char *id, uint64_t offset)
{
    struct lender_buffer b = buffer(id, offset);
    return lender_alloc(lender, &b, 1000, &e);
}

static int raw_connection(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/lender-afu1.sock", dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static uint64_t status_number(int pid, const char *key)
{
    char path[64], line[256];
    unsigned long long value = UINT64_MAX;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            ck_assert_int_eq(sscanf(line + strlen(key), ": %llu", &value), 1);
    fclose(f);
    return value;
}

START_TEST(buffers_come_and_go)
{
    struct lender_buffer a = buffer("a1", 0), b = buffer("a2", BLOCK), *list = NULL;
    size_t n = 9;
    ck_assert(info.adapter_ok);
    ck_assert_int_eq(lender_list(lender, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_ptr_null(list);
    ck_assert_msg(lender_alloc(lender, &a, 1000, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(lender_alloc(lender, &b, 1000, &e), 0);
    ck_assert_uint_eq(b.effective_addr, a.effective_addr + BLOCK);
    ck_assert_int_eq(lender_list(lender, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(list[1].id, "a2");
    ck_assert_str_eq(list[1].compute_node, "n1");
    ck_assert_str_eq(list[1].compute_adapter, "afu0");
    ck_assert_uint_eq(list[1].section, 1);
    ck_assert_uint_eq(list[1].offset_bytes, BLOCK);
    ck_assert_uint_eq(list[1].size_bytes, BLOCK);
    ck_assert_uint_eq(list[1].effective_addr, b.effective_addr);
    free(list);
    ck_assert_int_eq(lender_release(lender, "a1", &e), 0);
    ck_assert_int_eq(lender_release(lender, "a1", &e), 0);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_uint_eq(info.n_buffers, 1);
    ck_assert_uint_eq(info.lent_bytes, BLOCK);
    ck_assert_uint_eq(info.locked_bytes, 0);
    ck_assert_uint_ne(info.memlock_bytes, 0); /* it says so itself */
    ck_assert_uint_eq(info.page_bytes, (uint64_t)sysconf(_SC_PAGESIZE));
}
END_TEST

START_TEST(refusals_say_why)
{
    ck_assert_int_eq(alloc("a1", 0), 0);
    ck_assert_int_eq(alloc("a2", BLOCK / 2), -1);
    ck_assert_int_eq(e.code, ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(e.detail, "a1"));
    ck_assert_int_eq(alloc("a2", 17), -1);
    ck_assert_int_eq(e.code, ERR_FIELD_INVALID);
    uint64_t value;
    ck_assert_int_eq(lender_read(lender, 0x80, &value, &e), -1);
    ck_assert_int_eq(lender_set_channel(lender, 2, true, &e), -1);
}
END_TEST

START_TEST(a_channel_changes_alone)
{
    uint64_t before, after;
    unsigned channels;
    uint64_t captured;
    ck_assert_int_eq(lender_read(lender, REG_CHANNELS, &before, &e), 0);
    ck_assert_uint_eq(before & 3, 0);
    ck_assert_int_eq(lender_set_channel(lender, 1, true, &e), 0);
    ck_assert_int_eq(lender_read(lender, REG_CHANNELS, &after, &e), 0);
    ck_assert_uint_eq(after, before | 2);
    ck_assert_int_eq(lender_set_channel(lender, 0, true, &e), 0);
    ck_assert_int_eq(lender_set_channel(lender, 1, false, &e), 0);
    ck_assert_int_eq(lender_look(lender, &info, &channels, &captured, &e), 0);
    ck_assert_uint_eq(channels, 1);
    ck_assert_uint_eq(captured, 0);
}
END_TEST

START_TEST(it_outlives_its_agent)
{
    char first[ID_SIZE];
    memcpy(first, info.lender_id, sizeof first);
    ck_assert_int_eq(alloc("a1", 0), 0);
    lender_free(lender);
    lender = client(RESTART_MS);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_str_eq(info.lender_id, first);
    ck_assert_uint_eq(info.n_buffers, 1);
    ck_assert_int_ne(getsid(info.pid), getsid(0));
}
END_TEST

START_TEST(it_ends_only_when_it_holds_nothing)
{
    const int faults[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };
    int pid = info.pid;
    ck_assert_int_eq(alloc("a1", 0), 0);
    for (int s = 1; s < NSIG; s++) {
        bool fault = s > SIGSYS && s < SIGRTMIN; /* the C library's own */
        for (size_t i = 0; i < ARRAY_LEN(faults); i++)
            fault |= s == faults[i];
        if (fault)
            continue;
        ck_assert_int_eq(kill(pid, s), 0);
        ck_assert_int_eq(lender_info(lender, &info, &e), 0);
        ck_assert_int_eq(info.pid, pid);
    }
    ck_assert_int_eq(lender_release(lender, "a1", &e), 0);
    end(pid, SIGTERM);
}
END_TEST

START_TEST(a_poll_that_fails_ends_nothing_that_is_lent)
{
    struct rlimit before, none = { 8, 0 };
    int pid = info.pid;
    ck_assert_int_eq(alloc("a1", 0), 0);
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, NULL, &before), 0);
    none.rlim_max = before.rlim_max;
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &none, NULL), 0); /* poll() says EINVAL */
    struct pollfd ended = { .fd = watch(pid), .events = POLLIN };
    int answered = lender_info(lender, &info, &e); /* by the poll that was under way, or not at all */
    (void)answered;
    ck_assert_int_eq(poll(&ended, 1, 300), 0);
    close(ended.fd);
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &before, NULL), 0);
    ck_assert_msg(lender_info(lender, &info, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(info.pid, pid);
    ck_assert_uint_eq(info.n_buffers, 1);
}
END_TEST

/* User and system time of a process. */
static unsigned long long cpu_ms(int pid)
{
    char path[64], line[1024];
    unsigned long long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    fclose(f);
    ck_assert_int_eq(
        sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system), 2);
    return (user + system) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK);
}

static void limit_files(rlim_t n)
{
    struct rlimit limit;
    ck_assert_int_eq(prlimit(info.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = n;
    ck_assert_int_eq(prlimit(info.pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

START_TEST(without_descriptors_the_newest_is_served)
{
    int fds[60], pid = info.pid;
    ck_assert_int_eq(alloc("a1", 0), 0);
    limit_files(36); /* room for some connections; poll() needs 34 */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = raw_connection();
        ck_assert_msg(lender_info(lender, &info, &e) == 0, "%zu: %s", i, e.detail);
    }
    ck_assert_int_eq(info.pid, pid);
    ck_assert_uint_eq(info.n_buffers, 1);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}
END_TEST

static void ask(int fd, unsigned n)
{
    struct lender_request r = { .magic = LENDER_MAGIC, .protocol = LENDER_PROTOCOL, .op = LENDER_OP_ALLOC };
    snprintf(r.id, sizeof r.id, "b%u", n);
    strcpy(r.compute_node, "n1");
    strcpy(r.compute_adapter, "afu0");
    r.offset_bytes = n * BLOCK;
    r.size_bytes = BLOCK;
    ck_assert_int_eq(send(fd, &r, sizeof r, MSG_NOSIGNAL), sizeof r);
}

static int raw_alloc(int fd, unsigned n)
{
    struct lender_answer answer;
    ask(fd, n);
    ck_assert_int_eq(recv(fd, &answer, sizeof answer, 0), sizeof answer);
    return answer.status == LENDER_OK ? 0 : -1;
}

/* Buffers take all descriptors but that of one connection, which is taken away with it. */
START_TEST(without_descriptors_and_connections_it_does_not_spin)
{
    unsigned n = 0;
    int limit = 36;
    ck_assert_int_eq(alloc("a1", 0), 0);
    int first = raw_connection();
    for (; n < 8; n++)
        ck_assert_int_eq(raw_alloc(first, n + 1), 0);
    limit_files((rlim_t)limit);
    while (raw_alloc(first, n + 1) == 0)
        n++;
    limit_files((rlim_t)limit + 1);
    int last = raw_connection(); /* has the highest number */
    ck_assert_int_eq(raw_alloc(last, 1), 0);
    lender_free(lender);
    close(first);
    lender = client(RESTART_MS);
    while (raw_alloc(last, n + 1) == 0)
        n++;
    limit_files((rlim_t)limit);
    close(last);
    int waiting = raw_connection();
    unsigned long long before = cpu_ms(info.pid);
    ask(waiting, 1);
    ck_assert_int_eq(poll(&(struct pollfd){ .fd = waiting, .events = POLLIN }, 1, 400), 0); /* nobody took it in */
    ck_assert_uint_lt(cpu_ms(info.pid) - before, 200);
    limit_files((rlim_t)limit + 8);
    ck_assert_int_eq(poll(&(struct pollfd){ .fd = waiting, .events = POLLIN }, 1, 10000), 1);
    close(waiting);
}
END_TEST

/* What the start made is enough: from then on not a page of private memory can be had. */
START_TEST(a_full_heap_stops_nothing)
{
    const struct rlimit none = { 0, 0 };
    int pid = info.pid;
    ck_assert_int_eq(alloc("a1", 0), 0);
    ck_assert_int_eq(prlimit(pid, RLIMIT_DATA, &none, NULL), 0);
    ck_assert_msg(alloc("a2", BLOCK) == 0, "%s", e.detail);
    ck_assert_msg(lender_release(lender, "a2", &e) == 0, "%s", e.detail);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_int_eq(info.pid, pid);
    ck_assert_uint_eq(info.n_buffers, 1);
}
END_TEST

/* The socket's own mode is opened to all, so that only the credentials are left to refuse. */
START_TEST(another_user_is_not_served)
{
    char path[128];
    struct lender_request r = { .magic = LENDER_MAGIC, .protocol = LENDER_PROTOCOL, .op = LENDER_OP_INFO };
    struct lender_answer answer;
    int status = 0;
    if (geteuid() != 0)
        return; /* nobody but root can be another user */
    snprintf(path, sizeof path, "%s/lender-afu1.sock", dir);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    for (int same = 0; same < 2; same++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (!same && setresuid(65534, 65534, 65534) < 0)
                _exit(9);
            int fd = raw_connection();
            send(fd, &r, sizeof r, MSG_NOSIGNAL);
            _exit(recv(fd, &answer, sizeof answer, 0) == sizeof answer);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), same);
    }
}
END_TEST

START_TEST(a_limit_on_file_sizes_is_an_error_and_not_its_end)
{
    const struct rlimit small = { MIB, MIB };
    int pid = info.pid;
    ck_assert_int_eq(alloc("a1", 0), 0);
    ck_assert_int_eq(prlimit(pid, RLIMIT_FSIZE, &small, NULL), 0);
    ck_assert_int_eq(alloc("a2", BLOCK), -1);
    ck_assert_int_eq(e.os_errno, EFBIG);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_int_eq(info.pid, pid);
    ck_assert_uint_eq(info.n_buffers, 1);
}
END_TEST

static int fill(int fd)
{
    static const char filler[4096];
    int n = 0, flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, filler, sizeof filler) > 0)
        n++;
    fcntl(fd, F_SETFL, flags);
    return n;
}

/* A lender logs into a pipe or socket that is full, and nobody reads. */
static void log_to(int ends[2])
{
    int keep = dup(2), pid = info.pid;
    end(pid, SIGTERM);
    lender_free(lender);
    ck_assert_int_eq(dup2(ends[1], 2), 2);
    lender = client(RESTART_MS);
    int rc = lender_info(lender, &info, &e);
    dup2(keep, 2);
    ck_assert_msg(rc == 0, "%s", e.detail);
    ck_assert_int_gt(fill(ends[1]), 0);
    pid = info.pid;
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(alloc("a1", 0), 0);
        ck_assert_int_eq(lender_release(lender, "a1", &e), 0);
    }
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_int_eq(info.pid, pid);
    close(keep);
    close(ends[0]);
    close(ends[1]);
}

START_TEST(a_log_that_nobody_reads_stops_nothing)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    log_to(ends);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    log_to(ends);
}
END_TEST

START_TEST(a_killed_one_is_followed_by_another_that_holds_nothing)
{
    char first[ID_SIZE], path[128];
    memcpy(first, info.lender_id, sizeof first);
    ck_assert_int_eq(alloc("a1", 0), 0);
    snprintf(path, sizeof path, "%s/a1", dir);
    ck_assert_int_eq(access(path, F_OK), 0);
    end(info.pid, SIGKILL);
    lender_free(lender);
    lender = client(3600 * 1000);
    ck_assert_msg(lender_info(lender, &info, &e) == 0, "%s", e.detail);
    ck_assert_str_ne(info.lender_id, first);
    ck_assert_uint_eq(info.n_buffers, 0);
    ck_assert_int_eq(access(path, F_OK), -1);
    end(info.pid, SIGKILL);
    ck_assert_int_eq(lender_info(lender, &info, &e), -1); /* it is not started as fast as it dies */
    ck_assert_int_eq(e.code, ERR_UNREACHABLE);
}
END_TEST

static pthread_barrier_t all_are_here;

static void *start_one(void *out)
{
    CLEANUP(lender_freep) struct lender *l = client(1);
    struct err failed;
    pthread_barrier_wait(&all_are_here);
    if (lender_info(l, out, &failed) < 0)
        memset(out, 0, sizeof(struct lender_info));
    return NULL;
}

/* Each would put a socket of its own into the other's place, and only one of their lenders gets the adapter. */
START_TEST(many_who_start_it_at_once_start_one)
{
    struct lender_info found[4];
    pthread_t threads[ARRAY_LEN(found)];
    pthread_barrier_init(&all_are_here, NULL, ARRAY_LEN(found));
    for (int round = 0; round < 5; round++) {
        end(info.pid, SIGKILL);
        for (size_t i = 0; i < ARRAY_LEN(found); i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, start_one, &found[i]), 0);
        for (size_t i = 0; i < ARRAY_LEN(found); i++)
            pthread_join(threads[i], NULL);
        lender_free(lender);
        lender = client(3600 * 1000);
        ck_assert_msg(lender_info(lender, &info, &e) == 0, "round %d: %s", round, e.detail);
        for (size_t i = 0; i < ARRAY_LEN(found); i++)
            ck_assert_int_eq(found[i].pid, info.pid);
    }
    pthread_barrier_destroy(&all_are_here);
}
END_TEST

START_TEST(an_adapter_has_one_lender)
{
    char command[2048], path[128];
    snprintf(
        command, sizeof command,
        "%s --adapter afu1 --device %s --ocxl-library %s --run-dir %s --backing sparse --backing-dir %s 2>/dev/null",
        program, device, library, dir, dir);
    ck_assert_int_eq(alloc("a1", 0), 0);
    ck_assert_int_eq(WEXITSTATUS(system(command)), 1);
    memcpy(strstr(command, "afu1"), "afu2", 4); /* another name of the same device */
    ck_assert_int_eq(WEXITSTATUS(system(command)), 1);
    snprintf(path, sizeof path, "%s/a1", dir);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_uint_eq(info.n_buffers, 1);
}
END_TEST

START_TEST(an_adapter_that_cannot_be_opened_is_reported)
{
    end(info.pid, SIGKILL);
    lender_free(lender);
    snprintf(device, sizeof device, "/dev/ocxl/broken");
    lender = client(RESTART_MS);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert(!info.adapter_ok);
    ck_assert_ptr_nonnull(strstr(info.error, "no such device"));
    ck_assert_int_eq(alloc("a1", 0), -1);
    ck_assert_int_eq(e.code, ERR_HARDWARE);
}
END_TEST

static size_t hostile_message(unsigned char message[600])
{
    struct lender_request *r = (struct lender_request *)message;
    size_t size = rand() % 3 ? sizeof *r : (size_t)(1 + rand() % 600);
    for (size_t k = 0; k < 600; k++)
        message[k] = (unsigned char)(rand() % 4 ? 0 : rand());
    if (rand() % 8) {
        r->magic = LENDER_MAGIC;
        r->protocol = LENDER_PROTOCOL;
        r->op = (uint16_t)(rand() % 12);
        if (rand() % 2)
            memset(r->reserved, 0, sizeof r->reserved);
        if (r->op == LENDER_OP_RELEASE)
            memset(r->id, 'x', sizeof r->id);
    }
    return size;
}

START_TEST(hostile_messages_do_no_harm)
{
    int fd = raw_connection();
    ck_assert_int_eq(alloc("a1", 0), 0);
    srand(7);
    for (int i = 0; i < 20000 / BATCH; i++) {
        _Alignas(8) unsigned char message[600];
        struct lender_answer answer;
        for (int k = 0; k < BATCH; k++) {
            size_t size = hostile_message(message);
            ck_assert_int_eq(send(fd, message, size, MSG_NOSIGNAL), size);
        }
        for (int k = 0; k < BATCH; k++) {
            ck_assert_int_eq(recv(fd, &answer, sizeof answer, 0), sizeof answer);
            ck_assert_uint_eq(answer.magic, LENDER_MAGIC);
        }
    }
    close(fd);
    int pid = info.pid;
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_int_eq(info.pid, pid);
    ck_assert_uint_eq(info.n_buffers, 1);
}
END_TEST

START_TEST(thousands_of_connections_leave_the_agent_served)
{
    static int fds[1500];
    const struct rlimit files = { 4096, 4096 };
    setrlimit(RLIMIT_NOFILE, &files);
    ck_assert_int_eq(alloc("a1", 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = raw_connection();
        if (i % 100 == 0)
            ck_assert_msg(lender_info(lender, &info, &e) == 0, "%s", e.detail);
    }
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    ck_assert_uint_eq(info.n_buffers, 1);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
}
END_TEST

START_TEST(a_peer_that_does_not_read_stops_nobody)
{
    int fd = raw_connection();
    struct lender_request r = { .magic = LENDER_MAGIC, .protocol = LENDER_PROTOCOL, .op = LENDER_OP_INFO };
    for (int i = 0; i < 100000; i++)
        if (send(fd, &r, sizeof r, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
            break;
    ck_assert_int_eq(lender_info(lender, &info, &e), 0);
    close(fd);
}
END_TEST

/* The sizes of anonymous memory in which the kernel may put huge pages when that is its setting. */
static uint64_t may_become_huge(int pid)
{
    char path[64], line[512];
    unsigned long long from, to, inode, large = 0, sum = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%llx-%llx rw-p %*s %*s %llu", &from, &to, &inode) == 3)
            large = !inode && to - from >= 2 * MIB ? to - from : 0;
        else if (!strncmp(line, "VmFlags:", 8)) { /* the last line of each */
            sum += strstr(line, " nh") ? 0 : large;
            large = 0;
        }
    fclose(f);
    return sum;
}

START_TEST(it_takes_little_memory_and_the_oom_killer_passes_it_by)
{
    char path[64], text[16] = "";
    if (!SANITIZED)
        ck_assert_uint_lt(status_number(info.pid, "RssAnon"), 1024);
    if (!SANITIZED && access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0)
        ck_assert_uint_eq(may_become_huge(info.pid), 0);
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", info.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    close(fd);
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (write(fd, "-1000", 5) == 5) /* where it may */
        ck_assert_str_eq(text, "-1000\n");
    close(fd);
}
END_TEST

START_TEST(without_a_program_a_missing_lender_is_said)
{
    struct lender *other = NULL;
    const struct lender_config c = { .adapter = "afu7", .run_dir = dir };
    ck_assert_int_eq(lender_new(&other, &c, &e), 0);
    ck_assert_int_eq(lender_info(other, &info, &e), -1);
    ck_assert_int_eq(e.code, ERR_UNREACHABLE);
    lender_free(other);
    const struct lender_config wrong = { .adapter = "afu7", .run_dir = dir, .program = "/nonexistent" };
    ck_assert_int_eq(lender_new(&other, &wrong, &e), 0);
    ck_assert_int_eq(lender_info(other, &info, &e), -1);
    ck_assert_int_eq(e.os_errno, ENOENT);
    lender_free(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lenderclient");
    TCase *tc = tcase_create("lender");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, buffers_come_and_go);
    tcase_add_test(tc, refusals_say_why);
    tcase_add_test(tc, a_channel_changes_alone);
    tcase_add_test(tc, it_outlives_its_agent);
    tcase_add_test(tc, it_ends_only_when_it_holds_nothing);
    tcase_add_test(tc, a_poll_that_fails_ends_nothing_that_is_lent);
    tcase_add_test(tc, without_descriptors_the_newest_is_served);
    tcase_add_test(tc, without_descriptors_and_connections_it_does_not_spin);
    if (!SANITIZED)
        tcase_add_test(tc, a_full_heap_stops_nothing);
    tcase_add_test(tc, another_user_is_not_served);
    tcase_add_test(tc, a_limit_on_file_sizes_is_an_error_and_not_its_end);
    tcase_add_test(tc, a_log_that_nobody_reads_stops_nothing);
    tcase_add_test(tc, a_killed_one_is_followed_by_another_that_holds_nothing);
    tcase_add_test(tc, many_who_start_it_at_once_start_one);
    tcase_add_test(tc, an_adapter_has_one_lender);
    tcase_add_test(tc, an_adapter_that_cannot_be_opened_is_reported);
    tcase_add_test(tc, hostile_messages_do_no_harm);
    tcase_add_test(tc, thousands_of_connections_leave_the_agent_served);
    tcase_add_test(tc, a_peer_that_does_not_read_stops_nobody);
    tcase_add_test(tc, it_takes_little_memory_and_the_oom_killer_passes_it_by);
    tcase_add_test(tc, without_a_program_a_missing_lender_is_said);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
