/* faultpoint.c - see faultpoint.h.  Nothing here is cached but the directory: a point is armed while the process runs.
 */
#include "faultpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef MEMLANE_FAULT_POINTS

#define WAIT_STEP_MS 2

static void path_of(char path[PATH_MAX], const char *dir, const char *fmt, va_list ap)
{
    const char *name = program_invocation_short_name, *node = getenv("MEMLANE_RACK_NODE");
    char point[128];
    if (strncmp(name, "memlane-", 8) == 0)
        name += 8;
    vsnprintf(point, sizeof point, fmt, ap);
    for (char *p = point; *p; p++)
        if (*p == '/')
            *p = '_';
    snprintf(path, PATH_MAX, "%s/%s%s%s.%s", dir, name, node ? "-" : "", node ? node : "", point);
}

/* Takes the order, so that nobody else does; false: there is none, or it is not the time yet. */
static bool take(const char *path, const char *hit, char order[64])
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, order, 63);
    unsigned skip = 0;
    int at = 0;
    order[n > 0 ? n : 0] = '\0';
    if (sscanf(order, "skip %u %n", &skip, &at) == 1 && at > 0) {
        char rest[64];
        snprintf(rest, sizeof rest, "%s", order + at);
        if (skip > 0) {
            snprintf(order, 64, "skip %u %.40s", skip - 1, rest);
            if (ftruncate(fd, 0) < 0 || pwrite(fd, order, strlen(order), 0) < 0)
                perror("fault point");
            close(fd);
            return false;
        }
        memcpy(order, rest, sizeof rest);
    }
    close(fd);
    return rename(path, hit) == 0;
}

static void act(const char *order, const char *hit)
{
    int ms;
    if (strncmp(order, "kill-parent", 11) == 0)
        kill(getppid(), SIGKILL);
    else if (strncmp(order, "kill", 4) == 0)
        kill(getpid(), SIGKILL);
    else if (strncmp(order, "stop", 4) == 0)
        raise(SIGSTOP); /* kill() would wake any thread, and this one go on until that one has run */
    else if (sscanf(order, "delay %d", &ms) == 1)
        poll(NULL, 0, ms);
    else if (strncmp(order, "wait", 4) == 0)
        while (access(hit, F_OK) == 0)
            poll(NULL, 0, WAIT_STEP_MS);
}

int fault_point(const char *fmt, ...)
{
    const char *dir = getenv("MEMLANE_FAULT_DIR");
    char path[PATH_MAX], hit[PATH_MAX + 8], order[64];
    int saved = errno;
    va_list ap;
    if (!dir)
        return 0;
    va_start(ap, fmt);
    path_of(path, dir, fmt, ap);
    va_end(ap);
    snprintf(hit, sizeof hit, "%s.hit", path);
    if (take(path, hit, order))
        act(order, hit);
    errno = saved;
    return 0;
}

#endif
