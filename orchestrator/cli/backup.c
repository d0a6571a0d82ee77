/* backup.c - a consistent copy of the orchestrator's database, taken while it runs. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

int command_backup(struct cli *c)
{
    CLEANUP(cleanup_free) char *temporary = NULL;
    struct err e = { 0 };
    struct stat st;
    if (asprintf(&temporary, "%s.part", c->operands[0]) < 0)
        return EXIT_FAILED;
    CLEANUP(cleanup_close) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)!err_errno(&e, ERR_IO, "%s", temporary);
        return cli_fail(c, &e);
    }
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
