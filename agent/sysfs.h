/* sysfs.h - the kernel's small text files below a root that tests and emulated racks can set.
 *
 * Everything is read with read(2) and written with one write(2) (a write to a memory block's state may fail there
 * only), and parsed strictly: a file that is longer than expected, holds a NUL or is not what it should be is an error.
 * Thread-safe; usable in a forked child. */
#ifndef MEMLANE_AGENT_SYSFS_H
#define MEMLANE_AGENT_SYSFS_H

#include "err.h"
#include "pulse.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SYSFS_TEXT 256 /* room for the small files */

struct sysfs {
    int root_fd;         /* a directory; closed by sysfs_done() */
    char *root;          /* its path, for sysfs_revive() */
    struct pulse *pulse; /* told of each file; may be NULL */
};

MUST_CHECK int sysfs_init(struct sysfs *out, const char *root, struct err *e);
void sysfs_done(struct sysfs *fs);
/* Opens the root again, under the same descriptor, when the file system under it has gone away (emulated racks: FUSE).
 */
bool sysfs_alive(const struct sysfs *fs); /* false: its file system went away (the emulator ended) */
MUST_CHECK int sysfs_revive(struct sysfs *fs, struct err *e);

/* The whole file as text, its last newline cut off.  ERR_NOT_FOUND when there is no such file, ERR_IO otherwise. */
MUST_CHECK int sysfs_read(const struct sysfs *fs, const char *path, char *buf, size_t size, struct err *e);
/* The same, from an open file, from its start; 'what' is for messages. */
MUST_CHECK int sysfs_read_fd(int fd, const char *what, char *buf, size_t size, struct err *e);
MUST_CHECK int sysfs_read_hex(const struct sysfs *fs, const char *path, uint64_t *out, struct err *e);
/* One write(2) of 'text' with its newline.  ERR_NOT_FOUND, or ERR_HARDWARE with the kernel's errno. */
MUST_CHECK int sysfs_write(const struct sysfs *fs, const char *path, const char *text, struct err *e);
/* "memory12", "memory" -> 12.  False for anything else, leading zeroes and signs included. */
bool sysfs_name_number(const char *name, const char *prefix, uint64_t *out);

#endif
