/* state.c - see state.h. */
#include "state.h"

#include "sysfs.h"
#include "units.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int read_small(int dir_fd, const char *name, char *buf, size_t size, bool *found, struct err *e)
{
    CLEANUP(cleanup_close) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    *found = fd >= 0;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot open %s", name);
    return sysfs_read_fd(fd, name, buf, size, e);
}

static bool is_token(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return len > 0;
}

/* "EPOCH INSTANCE" */
static int parse_epoch(char *text, struct state *s, struct err *e)
{
    char *at = text;
    const char *number = strsep(&at, " ");
    uint64_t epoch = 0;
    if (!at || !id_valid(at) || units_parse_u64(number, &epoch, e) < 0 || epoch == 0 || epoch > WIRE_NUMBER_MAX)
        return err_set(e, ERR_IO,
                       "the file epoch in the state directory is damaged: remove it if nobody but the "
                       "orchestrator can answer at its address");
    s->epoch = epoch;
    memcpy(s->instance, at, strlen(at) + 1);
    return 0;
}

int state_open(struct state *out, const char *dir, struct err *e)
{
    struct state s = { .dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
    char text[STATE_TOKEN_SIZE];
    bool found;
    if (s.dir_fd < 0)
        return err_errno(e, ERR_IO, "cannot open %s", dir);
    if (read_small(s.dir_fd, "credential", s.credential, sizeof s.credential, &found, e) < 0)
        goto fail;
    if (found && !is_token(s.credential)) {
        (void)!err_set(e, ERR_IO, "the file credential in the state directory is damaged");
        goto fail;
    }
    if (read_small(s.dir_fd, "epoch", text, sizeof text, &found, e) < 0 || (found && parse_epoch(text, &s, e) < 0))
        goto fail;
    *out = s;
    return 0;
fail:
    close(s.dir_fd);
    return -1;
}

void state_close(struct state *s)
{
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    explicit_bzero(s, sizeof *s);
    s->dir_fd = -1;
}

static int write_durably(int dir_fd, const char *name, const char *text, struct err *e)
{
    char temporary[64];
    snprintf(temporary, sizeof temporary, ".%s.new", name);
    CLEANUP(cleanup_close) int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot write %s in the state directory", name);
    ssize_t len = (ssize_t)strlen(text);
    if (write(fd, text, (size_t)len) != len || fsync(fd) < 0 || renameat(dir_fd, temporary, dir_fd, name) < 0 ||
        fsync(dir_fd) < 0) {
        int rc = err_errno(e, ERR_IO, "cannot write %s in the state directory", name);
        unlinkat(dir_fd, temporary, 0);
        return rc;
    }
    return 0;
}

int state_set_credential(struct state *s, const char *credential, struct err *e)
{
    char text[STATE_TOKEN_SIZE + 1];
    if (!is_token(credential) || strlen(credential) >= STATE_TOKEN_SIZE - 1)
        return err_set(e, ERR_FIELD_INVALID, "the orchestrator's credential is no token");
    snprintf(text, sizeof text, "%s\n", credential);
    if (write_durably(s->dir_fd, "credential", text, e) < 0)
        return -1;
    snprintf(s->credential, sizeof s->credential, "%s", credential);
    return 0;
}

int state_check_epoch(const struct state *s, uint64_t epoch, const char *instance, struct err *e)
{
    if (epoch < s->epoch)
        return err_set(e, ERR_CONFLICT,
                       "the orchestrator's epoch %" PRIu64 " is older than %" PRIu64 ", which this node obeyed", epoch,
                       s->epoch);
    if (epoch == s->epoch && strcmp(instance, s->instance) != 0)
        return err_set(e, ERR_CONFLICT, "another orchestrator (%.39s) claims epoch %" PRIu64 " of %.39s", instance,
                       epoch, s->instance);
    return 0;
}

int state_set_epoch(struct state *s, uint64_t epoch, const char *instance, struct err *e)
{
    char text[96];
    if (epoch == s->epoch && strcmp(instance, s->instance) == 0)
        return 0;
    if (state_check_epoch(s, epoch, instance, e) < 0)
        return -1;
    snprintf(text, sizeof text, "%" PRIu64 " %s\n", epoch, instance);
    if (write_durably(s->dir_fd, "epoch", text, e) < 0)
        return -1;
    s->epoch = epoch;
    s->revision = 0;
    snprintf(s->instance, sizeof s->instance, "%s", instance);
    return 0;
}

void state_obeyed(struct state *s, uint64_t revision)
{
    if (revision > s->revision)
        s->revision = revision;
}

int state_read_token(const char *path, char out[STATE_TOKEN_SIZE], struct err *e)
{
    bool found;
    if (read_small(AT_FDCWD, path, out, STATE_TOKEN_SIZE, &found, e) < 0)
        return -1;
    if (!found || !is_token(out))
        return err_set(e, ERR_IO, "%.160s holds no token", path);
    return 0;
}
