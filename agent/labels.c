/* labels.c - see labels.h.  A label's file: "BOOT_ID ADAPTER SECTION 0xOFFSET 0xSIZE touched|untouched\n",
 * with as many line ends more as make either as long as the other. */
#include "labels.h"

#include "log.h"
#include "sysfs.h"
#include "units.h"
#include "wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNTOUCHED "untouched\n"
#define TOUCHED "touched\n\n\n" /* as long: one is written over the other */
#define TEMPORARY ".new"        /* an id never begins with a dot */

struct labels {
    int dir_fd;
    char boot_id[ID_SIZE];
};

int labels_open(struct labels **out, const char *run_dir, const char *boot_id, struct err *e)
{
    CLEANUP(cleanup_free) struct labels *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_INTERNAL, "out of memory");
    CLEANUP(cleanup_close) int run_fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run_fd < 0)
        return err_errno(e, ERR_IO, "cannot open %s", run_dir);
    if (mkdirat(run_fd, "labels", 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_IO, "cannot make %s/labels", run_dir);
    l->dir_fd = openat(run_fd, "labels", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir_fd < 0)
        return err_errno(e, ERR_IO, "cannot open %s/labels", run_dir);
    snprintf(l->boot_id, sizeof l->boot_id, "%s", boot_id);
    *out = TAKE(l);
    return 0;
}

void labels_close(struct labels *l)
{
    if (!l)
        return;
    close(l->dir_fd);
    free(l);
}

int labels_put(struct labels *l, const struct label *label, struct err *e)
{
    char text[SYSFS_TEXT];
    int len = snprintf(text, sizeof text, "%s %s %u 0x%" PRIx64 " 0x%" PRIx64 " %s", l->boot_id, label->adapter,
                       label->section, label->offset_bytes, label->size_bytes, label->touched ? TOUCHED : UNTOUCHED);
    if (len < 0 || (size_t)len >= sizeof text)
        return err_set(e, ERR_INTERNAL, "a label does not fit");
    CLEANUP(cleanup_close) int fd = openat(l->dir_fd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot write the label of %s", label->id);
    if (write(fd, text, (size_t)len) != len || renameat(l->dir_fd, TEMPORARY, l->dir_fd, label->id) < 0) {
        int rc = err_errno(e, ERR_IO, "cannot write the label of %s", label->id);
        unlinkat(l->dir_fd, TEMPORARY, 0);
        return rc;
    }
    return 0;
}

int labels_touch(struct labels *l, const char *id, struct err *e)
{
    CLEANUP(cleanup_close) int fd = openat(l->dir_fd, id, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), len = sizeof UNTOUCHED - 1;
    if (end < len || pwrite(fd, TOUCHED, (size_t)len, end - len) != len)
        return err_errno(e, ERR_IO, "cannot change the label of %s", id);
    return 0;
}

int labels_remove(struct labels *l, const char *id, struct err *e)
{
    if (unlinkat(l->dir_fd, id, 0) < 0 && errno != ENOENT)
        return err_errno(e, ERR_IO, "cannot remove the label of %s", id);
    return 0;
}

/* Takes the next word of '*at', cut off in place; NULL when there is none. */
static const char *word(char **at)
{
    return strsep(at, " ");
}

static int parse(const struct labels *l, const char *id, char *text, struct label *out, struct err *e)
{
    char *at = text;
    const char *boot = word(&at), *adapter = word(&at), *section = word(&at), *offset = word(&at), *size = word(&at);
    const char *touched = word(&at);
    struct label found = { 0 };
    uint64_t n = 0;
    if (!touched || at || !name_valid(adapter) ||
        (strcmp(touched, "touched") != 0 && strcmp(touched, "untouched") != 0))
        return err_set(e, ERR_IO, "the label of %s is damaged", id);
    if (strcmp(boot, l->boot_id) != 0)
        return err_set(e, ERR_IO, "the label of %s is of an earlier boot", id);
    if (units_parse_u64(section, &n, e) < 0 || units_parse_addr(offset, &found.offset_bytes, e) < 0 ||
        units_parse_addr(size, &found.size_bytes, e) < 0)
        return -1;
    if (n >= WIRE_SECTIONS || found.size_bytes == 0 || found.offset_bytes >= TIB ||
        found.size_bytes > TIB - found.offset_bytes)
        return err_set(e, ERR_IO, "the label of %s names no part of a section", id);
    found.section = (unsigned)n;
    found.touched = strcmp(touched, "touched") == 0;
    snprintf(found.id, sizeof found.id, "%.39s", id);
    snprintf(found.adapter, sizeof found.adapter, "%.63s", adapter);
    *out = found;
    return 0;
}

static int read_label(const struct labels *l, const char *id, struct label *out, struct err *e)
{
    CLEANUP(cleanup_close) int fd = openat(l->dir_fd, id, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open the label of %s", id);
    char text[SYSFS_TEXT];
    if (sysfs_read_fd(fd, id, text, sizeof text, e) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    return parse(l, id, text, out, e);
}

int labels_each(struct labels *l, void (*each)(void *arg, const struct label *label), void *arg, struct err *e)
{
    int fd = openat(l->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int rc = err_errno(e, ERR_IO, "cannot read the labels");
        cleanup_close(&fd);
        return rc;
    }
    for (struct dirent *d; (d = readdir(dir));) {
        struct label label;
        struct err bad = { 0 };
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        if (id_valid(d->d_name) && read_label(l, d->d_name, &label, &bad) == 0) {
            each(arg, &label);
            continue;
        }
        log_info("label.dropped", "%s: %s", d->d_name, bad.detail);
        unlinkat(l->dir_fd, d->d_name, 0);
    }
    closedir(dir);
    return 0;
}
