/* trace.c - see trace.h */
#include "trace.h"

#include "log.h"
#include "units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct trace {
    int fd;
    uint64_t *seq;
};

int trace_new(struct trace **out, const char *path, uint64_t *seq, bool fresh, struct err *e)
{
    CLEANUP(cleanup_free) struct trace *t = calloc(1, sizeof *t);

    if (!t)
        return err_set(e, ERR_INTERNAL, "out of memory");
    t->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (fresh ? O_TRUNC : 0), 0600);
    if (t->fd < 0)
        return err_errno(e, ERR_IO, "%s", path);
    t->seq = seq;
    *out = TAKE(t);
    return 0;
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
    if (len <= 0 || len >= (int)sizeof line || write(t->fd, line, (size_t)len) != len)
        log_error("trace.write", "seq=%" PRIu64, *t->seq);
}
