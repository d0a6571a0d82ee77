/* trace.c - see trace.h */
#include "trace.h"

#include "log.h"
#include "units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct trace {
    int fd;
    uint64_t *seq;
    uint64_t size_bytes, max_bytes;
    char path[];
};

static int open_file(struct trace *t, bool fresh, struct err *e)
{
    int fd = open(t->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (fresh ? O_TRUNC : 0), 0600);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        int rc = err_errno(e, ERR_IO, "%s", t->path);

        cleanup_close(&fd);
        return rc;
    }
    t->fd = fd;
    t->size_bytes = (uint64_t)st.st_size;
    return 0;
}

int trace_new(struct trace **out, const char *path, uint64_t *seq, bool fresh, uint64_t max_bytes, struct err *e)
{
    size_t len = strlen(path) + 1;
    CLEANUP(cleanup_free) struct trace *t = calloc(1, sizeof *t + len);

    if (!t)
        return err_set(e, ERR_INTERNAL, "out of memory");
    memcpy(t->path, path, len);
    t->seq = seq;
    t->max_bytes = max_bytes;
    if (open_file(t, fresh, e) < 0)
        return -1;
    *out = TAKE(t);
    return 0;
}

/* The full file steps aside; when that fails the old one is written on. */
static void rotate(struct trace *t)
{
    char aside[PATH_MAX];
    int old = t->fd;
    struct err e = { 0 };

    if (snprintf(aside, sizeof aside, "%s.1", t->path) >= (int)sizeof aside || rename(t->path, aside) < 0 ||
        open_file(t, false, &e) < 0) {
        log_error("trace.rotate", "%s", e.detail);
        t->size_bytes = 0;
        return;
    }
    close(old);
}

void trace_free(struct trace *t)
{
    if (!t)
        return;
    close(t->fd);
    free(t);
}

void trace_event(struct trace *t, const char *node, const char *adapter, const char *op, uint64_t offset,
                 uint64_t value, bool ok)
{
    char line[400];
    int len;

    if (!t)
        return;
    /* Names need no escaping: names.h allows letters, digits and dashes. */
    len = snprintf(line, sizeof line,
                   "{\"seq\":%" PRIu64 ",\"t_ns\":%" PRId64 ",\"node\":\"%s\",\"adapter\":\"%s\",\"op\":\"%s\","
                   "\"offset\":\"0x%" PRIx64 "\",\"value\":\"0x%" PRIx64 "\",\"ok\":%s}\n",
                   ++*t->seq, time_monotonic_ns(), node, adapter, op, offset, value, ok ? "true" : "false");
    if (t->size_bytes >= t->max_bytes)
        rotate(t);
    t->size_bytes += len > 0 ? (uint64_t)len : 0;
    if (len <= 0 || len >= (int)sizeof line || write(t->fd, line, (size_t)len) != len)
        log_error("trace.write", "seq=%" PRIu64, *t->seq);
}
