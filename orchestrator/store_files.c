/* store_files.c - a database is more than its file: the lock, the log and its index, a journal.  What belongs to one
 * database must never be read into another, and SQLite takes whatever has the right name. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_VERSIONS 18 /* of the file's header: the version for writers and that for readers; 1: without a log */
#define SMALLEST_FILE 512  /* SQLite takes a smaller one for new */

static const char *const tails[] = { "", "-wal", "-shm", "-journal" };

static bool is_there(const char *path, const char *tail, int64_t *size)
{
    char name[PATH_MAX + 16];
    struct stat st;
    snprintf(name, sizeof name, "%s%s", path, tail);
    if (lstat(name, &st) < 0)
        return false;
    *size = st.st_size;
    return true;
}

int store_refuse_files(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char list[200];
    size_t n = 0;
    int64_t size;
    for (size_t i = 0; i < ARRAY_LEN(tails); i++)
        if (is_there(path, tails[i], &size) && n < sizeof list)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s%s", n ? ", " : "", n && slash ? slash + 1 : path,
                                  tails[i]);
    return n ? err_set(e, ERR_CONFLICT, "move what is there away first: %s", list) : 0;
}

int store_refuse_log(const char *path, struct err *e)
{
    int64_t size;
    for (size_t i = 1; i < ARRAY_LEN(tails); i++)
        if (is_there(path, tails[i], &size) && size > 0 && strcmp(tails[i], "-shm") != 0)
            return err_set(e, ERR_STORAGE, "%s alone is not whole: %s%s is beside it", path, path, tails[i]);
    return 0;
}

int store_refuse_foreign_log(const char *path, int fd, struct err *e)
{
    unsigned char head[HEADER_VERSIONS + 1];
    int64_t size;
    if (!is_there(path, "-wal", &size) || size == 0)
        return 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, head, sizeof head, 0);
    if (n < 0)
        return err_errno(e, ERR_STORAGE, "cannot read the database %s", path);
    if (n == 0)
        return err_set(e, ERR_STORAGE, "the log %s-wal is there without its database: bring it back, or move both away",
                       path);
    if (n == sizeof head && head[HEADER_VERSIONS] == 1)
        return err_set(e, ERR_STORAGE, "the log %s-wal is another database's (this one is a backup): move it away",
                       path);
    return 0;
}

int store_make_file(const char *path, struct err *e)
{
    struct stat st;
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (store_refuse_foreign_log(path, -1, e) < 0)
            return -1;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORAGE, "cannot open the database %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_STORAGE, "the database %s is not a file", path);
    if (st.st_size > 0 && st.st_size < SMALLEST_FILE)
        return err_set(e, ERR_STORAGE, "the database %s is damaged: it has %lld bytes", path, (long long)st.st_size);
    return 0;
}

int store_lock(const char *path, int *out, struct err *e)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name)
        return err_set(e, ERR_STORAGE, "the path of the database is too long");
    CLEANUP(cleanup_close) int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_STORAGE, "cannot open %s", name);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(e, ERR_BUSY, "the database %s is in use by another orchestrator", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_errno(e, ERR_STORAGE, "cannot lock %s", name);
    *out = fd;
    fd = -1;
    return 0;
}

int store_sync_folder(const char *path, struct err *e)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir ? 1 : 0] = 0;
    CLEANUP(cleanup_close) int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_errno(e, ERR_STORAGE, "cannot sync the folder of %s", path);
    return 0;
}
