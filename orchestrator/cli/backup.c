/* backup.c - a consistent copy of the orchestrator's database, taken while it runs. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKUP_TIMEOUT_MS 600000L

/* Writes to 'fd' and makes it durable; nothing is left half written under the final name. */
static int download(struct cli *c, int fd)
{
    char key[CLI_KEY_SIZE], header[64];
    const char *headers[] = { header, NULL };
    struct client_answer answer;
    struct err e = { 0 };
    if (cli_random_key(key, &e) < 0)
        return cli_fail(c, &e);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    if (client_save(c->client, "POST", "/v1/backup", headers, fd, BACKUP_TIMEOUT_MS, &answer, &e) < 0)
        return cli_fail(c, &e);
    int rc = cli_fail_answer(c, &answer);
    client_answer_done(&answer);
    if (rc == EXIT_DONE && fsync(fd) < 0) {
        (void)!err_errno(&e, ERR_IO, "%s", c->operands[0]);
        rc = cli_fail(c, &e);
    }
    return rc;
}

/* A database that is in use has its log beside it, which would be read into the backup that takes its place. */
static int refuse_database(const char *path, struct err *e)
{
    static const char *const tails[] = { "-wal", "-shm", "-journal" };
    char name[PATH_MAX + 16];
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        if (access(name, F_OK) == 0)
            return err_set(e, ERR_CONFLICT, "%s is a database (%s is there): give another name", path, name);
    }
    return 0;
}

/* What a command that was killed left is taken over; one that another command writes is not.  The file is locked until
 * it has its final name, and whoever had waited for that would have the finished file in hand. */
static int open_part(const char *path, int *out, struct err *e)
{
    struct stat there, open_now;
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || stat(path, &there) < 0 || fstat(fd, &open_now) < 0 ||
        there.st_ino != open_now.st_ino)
        return err_set(e, ERR_CONFLICT, "%s is being written by another command", path);
    if (!S_ISREG(open_now.st_mode) || fchmod(fd, 0600) < 0 || ftruncate(fd, 0) < 0)
        return err_set(e, ERR_IO, "%s is in the way", path);
    *out = fd;
    fd = -1;
    return 0;
}

int command_backup(struct cli *c)
{
    CLEANUP(cleanup_free) char *temporary = NULL;
    CLEANUP(cleanup_close) int fd = -1;
    struct err e = { 0 };
    struct stat st;
    if (asprintf(&temporary, "%s.part", c->operands[0]) < 0)
        return EXIT_FAILED;
    if (refuse_database(c->operands[0], &e) < 0 || open_part(temporary, &fd, &e) < 0)
        return cli_fail(c, &e);
    int rc = download(c, fd);
    if (rc == EXIT_DONE && (fstat(fd, &st) < 0 || rename(temporary, c->operands[0]) < 0)) {
        (void)!err_errno(&e, ERR_IO, "%s", c->operands[0]);
        rc = cli_fail(c, &e);
    }
    if (rc != EXIT_DONE)
        unlink(temporary);
    else if (!c->json)
        printf("%s: %lld bytes\n", c->operands[0], (long long)st.st_size);
    return rc;
}
