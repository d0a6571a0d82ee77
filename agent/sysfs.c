/* sysfs.c - see sysfs.h. */
#include "sysfs.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int sysfs_init(struct sysfs *out, const char *root, struct err *e)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open the directory %s", root);
    out->pulse = NULL;
    out->root = strdup(root);
    if (!out->root) {
        close(fd);
        return err_set(e, ERR_INTERNAL, "out of memory");
    }
    out->root_fd = fd;
    return 0;
}

bool sysfs_alive(const struct sysfs *fs)
{
    struct statx st; /* asked anew: what is cached outlives a file system */
    return fs->root_fd < 0 || statx(fs->root_fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_MODE, &st) == 0 ||
           (errno != ENOTCONN && errno != ESTALE && errno != EIO);
}

int sysfs_revive(struct sysfs *fs, struct err *e)
{
    if (sysfs_alive(fs))
        return 0;
    CLEANUP(cleanup_close) int fd = open(fs->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || dup3(fd, fs->root_fd, O_CLOEXEC) < 0)
        return err_errno(e, ERR_IO, "cannot open the directory %s again", fs->root);
    return 0;
}

void sysfs_done(struct sysfs *fs)
{
    if (fs->root_fd >= 0)
        close(fs->root_fd);
    fs->root_fd = -1;
    free(fs->root);
    fs->root = NULL;
}

int sysfs_read_fd(int fd, const char *what, char *buf, size_t size, struct err *e)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = pread(fd, buf + n, size - n, (off_t)n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, ERR_IO, "cannot read %s", what);
        if (got == 0)
            break;
        n += (size_t)got;
        if (n < size && buf[n - 1] == '\n') /* the kernel's small files come whole: save the read that answers 0 */
            break;
    }
    if (n == size)
        return err_set(e, ERR_IO, "%s is longer than %zu bytes", what, size - 1);
    if (memchr(buf, '\0', n))
        return err_set(e, ERR_IO, "%s holds a zero byte", what);
    if (n > 0 && buf[n - 1] == '\n')
        n--;
    buf[n] = '\0';
    return 0;
}

int sysfs_read(const struct sysfs *fs, const char *path, char *buf, size_t size, struct err *e)
{
    pulse_at(fs->pulse, "a file of the kernel");
    CLEANUP(cleanup_close) int fd = openat(fs->root_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
    return sysfs_read_fd(fd, path, buf, size, e);
}

int sysfs_read_hex(const struct sysfs *fs, const char *path, uint64_t *out, struct err *e)
{
    char text[SYSFS_TEXT];
    if (sysfs_read(fs, path, text, sizeof text, e) < 0)
        return -1;
    struct err parse = { 0 };
    if (units_parse_hex(text, out, &parse) < 0)
        return err_set(e, ERR_IO, "%s is no hexadecimal number", path);
    return 0;
}

int sysfs_write(const struct sysfs *fs, const char *path, const char *text, struct err *e)
{
    pulse_at(fs->pulse, "a file of the kernel");
    CLEANUP(cleanup_close) int fd = openat(fs->root_fd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_HARDWARE, "cannot open %s", path);
    size_t len = strlen(text);
    ssize_t n;
    do
        n = write(fd, text, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, ERR_HARDWARE, "cannot write %s", path);
    if ((size_t)n != len)
        return err_set(e, ERR_HARDWARE, "%s took only a part of what was written", path);
    return 0;
}

bool sysfs_name_number(const char *name, const char *prefix, uint64_t *out)
{
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0)
        return false;
    const char *digits = name + len;
    if (digits[0] == '\0' || (digits[0] == '0' && digits[1] != '\0'))
        return false;
    struct err e = { 0 };
    return units_parse_u64(digits, out, &e) == 0;
}
