#include "backing.h"

#include "names.h"
#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OWN_DIR "memlane"

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* A new lender holds nothing: what a dead one left is removed.  A file that is locked is another adapter's lender's. */
static int remove_leftovers(int dir_fd, struct err *e)
{
    int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    CLEANUP(close_dir) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir)
        return err_errno(e, ERR_IO, "cannot read the backing directory");
    for (struct dirent *d; (d = readdir(dir));) {
        if (!id_valid(d->d_name))
            continue;
        CLEANUP(cleanup_close) int fd = openat(dir_fd, d->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        if (unlinkat(dir_fd, d->d_name, 0) < 0)
            return err_errno(e, ERR_IO, "cannot remove the leftover %s", d->d_name);
    }
    return 0;
}

/* Whatever lies in a buffer's place is removed, so the files are in a directory that is this user's alone: the given
 * one, or one that is made in it where that is shared with other programs, like /dev/shm. */
static int own_dir(int *dir_fd, const char *path, struct err *e)
{
    struct stat st;
    for (int round = 0; round < 2; round++) {
        if (fstat(*dir_fd, &st) < 0)
            return err_errno(e, ERR_IO, "cannot look at %s", path);
        if (st.st_uid == geteuid() && !(st.st_mode & (S_IRWXG | S_IRWXO)))
            return 0;
        if (round == 0) {
            CLEANUP(cleanup_close) int shared = *dir_fd;
            *dir_fd = -1;
            if ((mkdirat(shared, OWN_DIR, S_IRWXU) < 0 && errno != EEXIST) ||
                (*dir_fd = openat(shared, OWN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
                return err_errno(e, ERR_IO, "cannot make " OWN_DIR " in %s", path);
        }
    }
    return err_set(e, ERR_IO, OWN_DIR " in %s is not this user's alone", path);
}

static int open_dir(struct backing *b, const char *path, struct err *e)
{
    struct statfs fs;
    b->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->dir_fd < 0 || fstatfs(b->dir_fd, &fs) < 0)
        return err_errno(e, ERR_IO, "cannot open %s", path);
    if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)
        return err_set(e, ERR_FIELD_INVALID, "%s is on no file system of memory (tmpfs, hugetlbfs)", path);
    if (fs.f_type == HUGETLBFS_MAGIC)
        b->unit = (uint64_t)fs.f_bsize;
    if (own_dir(&b->dir_fd, path, e) < 0)
        return -1;
    return remove_leftovers(b->dir_fd, e);
}

/* "FILE" or "FILE@0xOFFSET": from where in it the pieces are cut. */
static int open_file(struct backing *b, const char *text, struct err *e)
{
    struct stat st;
    struct err no_offset;
    char path[PATH_MAX];
    if (strlen(text) >= sizeof path)
        return err_set(e, ERR_FIELD_INVALID, "the arena file's name is too long");
    memcpy(path, text, strlen(text) + 1);
    char *at = strrchr(path, '@');
    if (at && units_parse_addr(at + 1, &b->file_start, &no_offset) == 0)
        *at = '\0';
    b->file_fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (b->file_fd < 0 || fstat(b->file_fd, &st) < 0 || flock(b->file_fd, LOCK_EX | LOCK_NB) < 0)
        return err_errno(e, ERR_IO, "cannot open and lock %s", path);
    if (!S_ISREG(st.st_mode) || b->file_start % b->unit || b->file_start > (uint64_t)st.st_size)
        return err_set(e, ERR_FIELD_INVALID, "%.120s is no file, or no arena can begin there", text);
    b->file_bytes = (uint64_t)st.st_size;
    return 0;
}

int backing_open(struct backing *out, const char *dir, const char *file, struct err *e)
{
    *out = (struct backing){ .dir_fd = -1, .file_fd = -1, .unit = (uint64_t)sysconf(_SC_PAGESIZE) };
    if ((file && open_file(out, file, e) < 0) || (!file && dir && open_dir(out, dir, e) < 0)) {
        backing_close(out);
        return -1;
    }
    return 0;
}

void backing_close(struct backing *b)
{
    cleanup_close(&b->dir_fd);
    cleanup_close(&b->file_fd);
}

static int create_piece(const struct backing *b, const char *id, struct piece *p, struct err *e)
{
    if (p->size_bytes > b->file_bytes || p->offset > b->file_bytes - p->size_bytes)
        return err_set(e, ERR_TOO_MANY, "the arena file ends before %s", id);
    p->fd = fcntl(b->file_fd, F_DUPFD_CLOEXEC, 0);
    if (p->fd < 0)
        return err_errno(e, ERR_IO, "no descriptor for %s", id);
    if (backing_empty(b, id, p, e) == 0) /* whatever an earlier lender left there */
        return 0;
    close(p->fd);
    return -1;
}

static int create_file(const struct backing *b, const char *id, struct piece *p, struct err *e)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    CLEANUP(cleanup_close)
    int fd = b->dir_fd < 0 ? memfd_create(id, MFD_CLOEXEC) : openat(b->dir_fd, id, flags, S_IRUSR | S_IWUSR);
    struct stat st;
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot create the file of %s", id);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, (off_t)p->size_bytes) < 0 || fstat(fd, &st) < 0) {
        int rc = err_errno(e, ERR_IO, "cannot size the file of %s", id);
        if (b->dir_fd >= 0)
            unlinkat(b->dir_fd, id, 0);
        return rc;
    }
    if (b->dir_fd >= 0 && !st.st_nlink) /* a lender that started just now took it for a leftover */
        return err_set(e, ERR_BUSY, "the file of %s was removed, try again", id);
    p->fd = fd;
    fd = -1;
    return 0;
}

int backing_create(struct backing *b, const char *id, uint64_t offset, uint64_t size_bytes, struct piece *out,
                   struct err *e)
{
    struct piece p = { .fd = -1, .offset = b->file_fd >= 0 ? b->file_start + offset : 0, .size_bytes = size_bytes };
    if ((b->file_fd >= 0 ? create_piece : create_file)(b, id, &p, e) < 0)
        return -1;
    *out = p;
    return 0;
}

static int is_empty(const struct backing *b, const struct piece *p, bool *out)
{
    struct stat st;
    if (b->file_fd < 0) {
        if (fstat(p->fd, &st) < 0)
            return -1;
        *out = st.st_blocks == 0;
        return 0;
    }
    off_t data = lseek(p->fd, (off_t)p->offset, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return -1;
    *out = data < 0 || (uint64_t)data >= p->offset + p->size_bytes;
    return 0;
}

int backing_empty(const struct backing *b, const char *id, const struct piece *p, struct err *e)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    bool empty = false;
    for (int round = 0; round < 3 && !empty; round++)
        if (fallocate(p->fd, mode, (off_t)p->offset, (off_t)p->size_bytes) < 0 || is_empty(b, p, &empty) < 0)
            return err_errno(e, ERR_IO, "cannot scrub %s", id);
    if (!empty)
        return err_set(e, ERR_BUSY, "%s is not empty after scrubbing: another program writes to its file", id);
    return 0;
}

int backing_remove(struct backing *b, const char *id, struct piece *p, struct err *e)
{
    if (b->dir_fd >= 0 && unlinkat(b->dir_fd, id, 0) < 0 && errno != ENOENT)
        return err_errno(e, ERR_IO, "cannot remove the file of %s", id);
    cleanup_close(&p->fd);
    return 0;
}
