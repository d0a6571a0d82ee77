/* traffic.c - see traffic.h */
#include "traffic.h"

#include "compiler.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The file that a mapping's first line ("start-end perms offset major:minor inode path") is of; NULL: none of them. */
static struct traffic_file *find(struct traffic_file *files, unsigned n, const char *line)
{
    uint64_t start, end, offset, inode;
    unsigned major, minor;

    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64, &start, &end, &offset, &major, &minor,
               &inode) != 6)
        return NULL;
    for (struct traffic_file *f = files; f < files + n; f++)
        if (f->device == makedev(major, minor) && f->inode == (ino_t)inode && offset >= f->start &&
            offset + (end - start) <= f->end)
            return f;
    return NULL;
}

static void begin_anew(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)pid);
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t written = fd < 0 ? -1 : write(fd, "1", 1);
    (void)written; /* then the same pages count again: too much, never too little */
}

void traffic_look(pid_t pid, struct traffic_file *files, unsigned n)
{
    CLEANUP(cleanup_free) char *line = NULL;
    struct traffic_file *file = NULL;
    size_t size = 0;
    uint64_t kib;
    char path[64];

    for (unsigned i = 0; i < n; i++)
        files[i].bytes = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
    FILE *smaps = fopen(path, "re");
    while (smaps && getline(&line, &size, smaps) > 0) {
        if (line[0] < 'A' || line[0] > 'Z') /* a mapping begins with its address, what is said of it with a word */
            file = find(files, n, line);
        else if (file && sscanf(line, "Referenced: %" SCNu64 " kB", &kib) == 1)
            file->bytes += kib * 1024;
    }
    if (smaps) {
        fclose(smaps);
        begin_anew(pid);
    }
}

uint64_t traffic_pages(int fd, uint64_t start)
{
    uint64_t sum = 0;
    off_t hole = (off_t)start;

    for (off_t data; (data = lseek(fd, hole, SEEK_DATA)) >= 0; sum += (uint64_t)(hole - data))
        if ((hole = lseek(fd, data, SEEK_HOLE)) < 0)
            return 0;
    return sum;
}
