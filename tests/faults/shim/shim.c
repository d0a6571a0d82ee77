/* shim.c - preloaded into memlaned by tests: lets the n-th call fail, or writes down what is written.
 *
 * $SHIM_CONTROL is a file of one 'struct control', mapped by the test and by us; $SHIM_PREFIX: only files below it
 * count; $SHIM_RECORD: where writes and syncs are recorded, in order.  A record is four numbers of 64 bits (what: 1
 * write, 2 truncate, 3 sync, 4 mark; file: a number given at its first open, 0 the database, 1 its log, 2 others;
 * offset; length) and, for a write, its bytes.
 *
 * Ways to an allocation: the call stack, relative to where its modules were loaded.  The control file keeps those that
 * failed already, over restarts of the process too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE_OFF, MODE_IO, MODE_MALLOC, MODE_WAYS };
#define WAYS (1 << 16) /* places of the table below; the tests know it too (shimmed.py) */
#define FRAMES 24

struct control {
    _Atomic int64_t mode;
    _Atomic int64_t nth;         /* the call that fails, from 1; 0: none */
    _Atomic int64_t more;        /* and so many after it */
    _Atomic int64_t code;        /* errno */
    _Atomic int64_t seen;        /* calls since the test set it to 0 */
    _Atomic int64_t failed;      /* that were made to fail */
    _Atomic uint64_t ways[WAYS]; /* hashes; 0: free */
};

static struct control none, *control = &none;
static const char *prefix;
static int record_fd = -1;
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;
#define FDS 1024
static unsigned char kind_of[FDS]; /* 0: not ours; else 1 + number of the file */

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t), (*real_close)(int);
static int (*real_open)(const char *, int, ...);
static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t), *(*real_realloc)(void *, size_t);

static char early[65536] __attribute__((aligned(16))); /* dlsym() itself allocates */
static size_t early_used;

static void *early_alloc(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (early_used + size > sizeof early)
        _exit(99);
    void *p = early + early_used;
    early_used += size;
    return p;
}

static void find_real(void)
{
    static _Atomic int begun;
    if (atomic_exchange(&begun, 1))
        return;
    real_calloc = dlsym(RTLD_NEXT, "calloc");
    real_malloc = dlsym(RTLD_NEXT, "malloc");
    real_realloc = dlsym(RTLD_NEXT, "realloc");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_open = dlsym(RTLD_NEXT, "open64");
}

/* Where it died, for the log. */
static void died(int signal_number)
{
    void *frame[64];
    backtrace_symbols_fd(frame, backtrace(frame, 64), STDERR_FILENO);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

__attribute__((constructor)) static void begin(void)
{
    find_real();
    prefix = getenv("SHIM_PREFIX");
    const char *path = getenv("SHIM_CONTROL"), *record = getenv("SHIM_RECORD");
    int fd = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED)
            control = p;
        real_close(fd);
    }
    void *frame[1];
    backtrace(frame, 1); /* loads what it needs, and allocates for it, now */
    signal(SIGSEGV, died);
    signal(SIGABRT, died);
    if (record)
        record_fd = real_open(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Is it this call's turn to fail? */
static int hit(int mode)
{
    if (control->mode != mode)
        return 0;
    int64_t n = ++control->seen, nth = control->nth;
    if (!nth || n < nth || n > nth + control->more)
        return 0;
    control->failed++;
    errno = (int)control->code;
    return 1;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */
static int ours(int fd)
{
    return fd >= 0 && fd < FDS && kind_of[fd];
}

static void note(uint64_t what, int fd, uint64_t offset, const void *data, uint64_t length)
{
    if (record_fd < 0)
        return;
    uint64_t head[4] = { what, (uint64_t)kind_of[fd] - 1, offset, length };
    pthread_mutex_lock(&record_lock);
    (void)!real_write(record_fd, head, sizeof head);
    if (what == 1)
        (void)!real_write(record_fd, data, length);
    pthread_mutex_unlock(&record_lock);
}

static int shim_open(const char *path, int flags, mode_t mode)
{
    int mine = prefix && !strncmp(path, prefix, strlen(prefix));
    if (mine && hit(MODE_IO))
        return -1;
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        size_t n = strlen(path);
        kind_of[fd] = !mine                                    ? 0
                      : n > 3 && !strcmp(path + n - 3, ".db")  ? 1
                      : n > 4 && !strcmp(path + n - 4, "-wal") ? 2
                                                               : 3;
    }
    return fd;
}

#define OPEN_LIKE(name)                                                                                                \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list ap;                                                                                                \
            va_start(ap, flags);                                                                                       \
            mode = va_arg(ap, mode_t);                                                                                 \
            va_end(ap);                                                                                                \
        }                                                                                                              \
        find_real();                                                                                                   \
        return shim_open(path, flags, mode);                                                                           \
    }
OPEN_LIKE(open)
OPEN_LIKE(open64)

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    find_real();
    if (ours(fd) && hit(MODE_IO))
        return -1;
    ssize_t n = real_pwrite(fd, data, size, at);
    if (n > 0 && ours(fd))
        note(1, fd, (uint64_t)at, data, (uint64_t)n);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size)
{
    find_real();
    return ours(fd) && hit(MODE_IO) ? -1 : real_write(fd, data, size);
}

static int sync_with(int (*real)(int), int fd)
{
    if (ours(fd) && hit(MODE_IO))
        return -1;
    int rc = real(fd);
    if (rc == 0 && ours(fd))
        note(3, fd, 0, NULL, 0);
    return rc;
}

int fsync(int fd)
{
    find_real();
    return sync_with(real_fsync, fd);
}

int fdatasync(int fd)
{
    find_real();
    return sync_with(real_fdatasync, fd);
}

int ftruncate64(int fd, off_t size)
{
    find_real();
    if (ours(fd) && hit(MODE_IO))
        return -1;
    int rc = real_ftruncate(fd, size);
    if (rc == 0 && ours(fd))
        note(2, fd, (uint64_t)size, NULL, 0);
    return rc;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

int close(int fd)
{
    find_real();
    if (fd >= 0 && fd < FDS)
        kind_of[fd] = 0;
    return real_close(fd);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
static uint64_t way_here(void)
{
    void *frame[FRAMES];
    uint64_t hash = 14695981039346656037u;
    int n = backtrace(frame, FRAMES);
    for (int i = 0; i < n; i++) {
        struct dl_find_object in;
        uint64_t at = (uintptr_t)frame[i];
        if (_dl_find_object(frame[i], &in) == 0)
            at -= in.dlfo_link_map->l_addr;
        hash = (hash ^ at) * 1099511628211u;
    }
    return hash ? hash : 1;
}

/* The first one on a way that never failed fails, and no other until the test arms it again. */
static int new_way(void)
{
    static __thread int inside __attribute__((tls_model("initial-exec")));
    if (inside || control->failed)
        return 0;
    inside = 1;
    uint64_t way = way_here();
    inside = 0;
    for (size_t i = 0; i < WAYS; i++) {
        _Atomic uint64_t *place = &control->ways[(way + i) % WAYS];
        if (*place == way)
            return 0;
        int64_t none_failed = 0;
        if (*place)
            continue;
        if (!atomic_compare_exchange_strong(&control->failed, &none_failed, 1))
            return 0;
        *place = way;
        errno = (int)control->code;
        return 1;
    }
    return 0;
}

static int allocation_fails(void)
{
    return control->mode == MODE_WAYS ? new_way() : hit(MODE_MALLOC);
}

void *malloc(size_t size)
{
    find_real();
    if (!real_malloc)
        return early_alloc(size);
    return allocation_fails() ? NULL : real_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    find_real();
    if (!real_calloc)
        return early_alloc(n * size); /* the buffer is zero */
    return allocation_fails() ? NULL : real_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    find_real();
    return allocation_fails() ? NULL : real_realloc(old, size);
}

void free(void *p)
{
    static void (*real_free)(void *);
    if ((char *)p >= early && (char *)p < early + sizeof early)
        return;
    if (!real_free)
        real_free = dlsym(RTLD_NEXT, "free");
    real_free(p);
}
