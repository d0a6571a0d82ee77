/* donor.c - see donor.h */
#include "donor.h"

#include "linkproto.h"
#include "log.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct donor {
    pid_t pid;
    size_t n_buffers, capacity;
    struct donor_buffer *buffers;
};

#define TRANSLATE_MS 1000
#define MTIME_TRUST_NS                                                                                                 \
    INT64_C(50000000) /* file times tick coarsely: trust a directory that has not changed for this long */

int donor_attach(struct box_adapter *a, pid_t pid, struct err *e)
{
    struct donor *d = calloc(1, sizeof *d);

    if (!d)
        return err_set(e, ERR_INTERNAL, "out of memory");
    d->pid = pid;
    a->donor = d;
    return 0;
}

void donor_detach(struct box_adapter *a)
{
    if (!a->donor)
        return;
    free(a->donor->buffers);
    free(a->donor);
    a->donor = NULL;
}

pid_t donor_pid(const struct box_adapter *a)
{
    return a->donor ? a->donor->pid : 0;
}

static struct donor_buffer *add_buffer(struct donor *d)
{
    if (d->n_buffers == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 16;
        struct donor_buffer *more = realloc(d->buffers, capacity * sizeof *more);

        if (!more)
            return NULL;
        d->buffers = more;
        d->capacity = capacity;
    }
    return &d->buffers[d->n_buffers++];
}

/* One line of maps: "start-end perms offset dev inode path".  Only shared mappings of files in buffers/ count. */
static void take_line(struct box_adapter *a, const char *line)
{
    const char *dir = a->node->buffers, *name;
    struct donor *d = a->donor;
    uint64_t start, end, offset, inode;
    char perms[5];
    struct donor_buffer *b;
    int path_at = 0;

    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64 " %n", &start, &end, perms, &offset, &inode,
               &path_at) < 5 ||
        path_at == 0 || perms[3] != 's')
        return;
    name = line + path_at;
    if (strncmp(name, dir, strlen(dir)) != 0 || name[strlen(dir)] != '/')
        return;
    name += strlen(dir) + 1;
    if (!id_valid(name)) /* " (deleted)" is none either */
        return;
    if (d->n_buffers > 0 && d->buffers[d->n_buffers - 1].end == start && d->buffers[d->n_buffers - 1].inode == inode) {
        d->buffers[d->n_buffers - 1].end = end;
        return;
    }
    b = offset == 0 ? add_buffer(d) : NULL;
    if (!b)
        return;
    *b = (struct donor_buffer){ .start = start, .end = end, .inode = (ino_t)inode };
    snprintf(b->id, sizeof b->id, "%s", name);
}

static void read_maps(struct box_adapter *a)
{
    char path[64];
    char *line = NULL;
    size_t size = 0;
    FILE *f;

    a->donor->n_buffers = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)a->donor->pid);
    f = fopen(path, "re");
    if (!f)
        return;
    while (getline(&line, &size, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        take_line(a, line);
    }
    free(line);
    fclose(f);
}

static bool find_cached(const struct box_adapter *a, uint64_t addr, struct donor_buffer *out)
{
    const struct donor *d = a->donor;
    char path[PATH_MAX + ID_SIZE];
    struct stat st;

    for (size_t i = 0; i < d->n_buffers; i++) {
        const struct donor_buffer *b = &d->buffers[i];

        if (addr < b->start || addr >= b->end)
            continue;
        snprintf(path, sizeof path, "%s/%s", a->node->buffers, b->id);
        if (stat(path, &st) < 0 || st.st_ino != b->inode)
            return false; /* released since: the list is old */
        *out = *b;
        return true;
    }
    return false;
}

bool donor_find(struct box_adapter *a, uint64_t addr, struct donor_buffer *out)
{
    if (!a->donor || a->donor->pid == 0)
        return false;
    if (find_cached(a, addr, out))
        return true;
    read_maps(a);
    return find_cached(a, addr, out);
}

void donor_each(struct box_adapter *a, void (*each)(void *arg, struct box_adapter *a, const struct donor_buffer *b),
                void *arg)
{
    if (!a->donor)
        return;
    if (a->donor->n_buffers == 0 && a->donor->pid != 0)
        read_maps(a); /* just attached again after a restart of the emulator */
    for (size_t i = 0; i < a->donor->n_buffers; i++)
        each(arg, a, &a->donor->buffers[i]);
}

void donor_each_now(struct box_adapter *a, void (*each)(void *arg, struct box_adapter *a, const struct donor_buffer *b),
                    void *arg)
{
    if (a->donor && a->donor->pid != 0)
        read_maps(a);
    donor_each(a, each, arg);
}

/* ---- a lender in a virtual machine ---- */
/* Asks the drop-in, and waits for it: 1 s at most.  The bytes that follow 'addr' there, physical address in '*physical'
 * (0: none is lent); 0: no answer. */
static uint64_t translate(struct box_adapter *a, uint64_t addr, uint64_t len, uint64_t *physical)
{
    struct link_request r = { .op = htole32(LINK_TRANSLATE), .offset = htole64(addr), .value = htole64(len) };
    struct pollfd p = { .fd = a->translator_fd, .events = POLLIN };
    struct link_answer answer;

    if (send(p.fd, &r, sizeof r, MSG_NOSIGNAL) != (ssize_t)sizeof r || poll(&p, 1, TRANSLATE_MS) != 1 ||
        recv(p.fd, &answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer) {
        log_warn("donor.translate", "adapter=%s/%s: no answer", a->node->spec->name, a->spec->name);
        shutdown(p.fd, SHUT_RDWR); /* an answer that comes late is nobody's; the drop-in connects again */
        a->translator_fd = 0;
        return 0;
    }
    *physical = answer.status == LINK_OK ? le64toh(answer.value) : 0;
    return le64toh(answer.more);
}

/* What of the machine's own file its lender's pages are; memory that is none of the file has no inode. */
static void machine_mappings(struct box_adapter *a, uint64_t start, uint64_t end,
                             void (*each)(void *arg, const struct donor_mapping *m), void *arg)
{
    const struct box_node *n = a->node;
    uint64_t physical, run;
    struct stat st;

    if (stat(n->memory_path, &st) < 0)
        return;
    for (; start < end && (run = translate(a, start, end - start, &physical)) > 0; start += run) {
        struct donor_mapping m = { .start = start, .end = start + run, .file_offset = physical };

        if (physical == 0)
            continue;
        if (physical >= n->memory_addr && run <= n->memory_size && physical - n->memory_addr <= n->memory_size - run) {
            m.device = st.st_dev;
            m.inode = st.st_ino;
            m.file_offset = physical - n->memory_addr;
        }
        each(arg, &m);
    }
}

static int machine_memory(struct box_adapter *a, uint64_t addr, void *data, size_t len, bool write)
{
    const struct box_node *n = a->node;
    CLEANUP(cleanup_close) int fd = open(n->memory_path, O_RDWR | O_CLOEXEC);
    uint64_t physical = 0, run = fd < 0 ? 0 : translate(a, addr, len, &physical);
    off_t at = (off_t)(physical - n->memory_addr);

    if (run < len || physical < n->memory_addr || physical - n->memory_addr > n->memory_size - len)
        return -1;
    return (write ? pwrite(fd, data, len, at) : pread(fd, data, len, at)) == (ssize_t)len ? 0 : -1;
}

void donor_mappings(struct box_adapter *a, uint64_t start, uint64_t end,
                    void (*each)(void *arg, const struct donor_mapping *m), void *arg)
{
    char path[64], perms[5];
    char *line = NULL;
    size_t size = 0;
    unsigned major, minor;
    uint64_t inode;
    FILE *f;

    if (a->translator_fd > 0) {
        machine_mappings(a, start, end, each, arg);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/maps", (int)donor_pid(a));
    f = donor_pid(a) ? fopen(path, "re") : NULL;
    while (f && getline(&line, &size, f) > 0) {
        struct donor_mapping m;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &m.start, &m.end, perms,
                   &m.file_offset, &major, &minor, &inode) != 7 ||
            perms[3] != 's' || m.end <= start || m.start >= end)
            continue;
        m.device = makedev(major, minor);
        m.inode = (ino_t)inode;
        each(arg, &m);
    }
    free(line);
    if (f)
        fclose(f);
}

int donor_memory(const struct box_adapter *a, uint64_t addr, void *data, size_t len, bool write)
{
    struct iovec local = { .iov_base = data, .iov_len = len };
    struct iovec remote = { .iov_base = (void *)(uintptr_t)addr, .iov_len = len };
    pid_t pid = donor_pid(a);
    ssize_t n;

    if (pid == 0)
        return a->translator_fd > 0 ? machine_memory((struct box_adapter *)a, addr, data, len, write) : -1;
    n = write ? process_vm_writev(pid, &local, 1, &remote, 1, 0) : process_vm_readv(pid, &local, 1, &remote, 1, 0);
    return n == (ssize_t)len ? 0 : -1;
}

/* Sum of the sizes of the files; '*settled' unless one was still being made. */
static uint64_t sum_files(int dir_fd, bool *settled)
{
    uint64_t sum = 0;
    struct dirent *entry;
    struct stat st;
    DIR *dir;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *settled = true;
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        cleanup_close(&fd);
        return 0;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        sum += (uint64_t)st.st_size;
        if (st.st_size == 0)
            *settled = false;
    }
    closedir(dir);
    return sum;
}

uint64_t donor_used_bytes(struct box_node *n)
{
    CLEANUP(cleanup_close) int fd = open(n->buffers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct timespec now;
    struct stat st;
    int64_t mtime_ns, now_ns;
    bool settled;

    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    if (mtime_ns == n->used_mtime_ns)
        return n->used_bytes;
    clock_gettime(CLOCK_REALTIME, &now);
    now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    n->used_bytes = sum_files(fd, &settled);
    n->used_mtime_ns = settled && now_ns - mtime_ns > MTIME_TRUST_NS ? mtime_ns : -1;
    return n->used_bytes;
}
