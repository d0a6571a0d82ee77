/* bootstrap.c - runs before the server listens, so it may wait for the writer; see bootstrap.h. */
#include "api/bootstrap.h"

#include "log.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct boot { /* one command, waited for */
    struct command command;
    sem_t done;
    struct token add; /* when its hash is not empty */
    struct token *list;
    size_t n;
    int rc;
    struct err err;
};

/* The file of an admin token that has expired is still there: it gets a new one.  Any other token's secret is none of
 * an admin. */
static int drop_expired(struct store *s, const struct boot *b, struct err *e)
{
    int64_t wall_ms = time_wall_ms();
    for (size_t i = 0; i < b->n; i++) {
        const struct token *t = &b->list[i];
        if (memcmp(t->hash, b->add.hash, sizeof t->hash) != 0)
            continue;
        if (t->role != TOKEN_ADMIN || auth_lives(t, wall_ms))
            return err_set(e, ERR_CONFLICT, "the admin token's file holds the token %s of another", t->id);
        if (store_token_remove(s, t->id, e) < 0)
            return -1;
    }
    return 0;
}

static int apply(struct command *c, struct change *ch, struct err *e)
{
    struct boot *b = (struct boot *)((char *)c - offsetof(struct boot, command));
    if (b->add.hash[0] && (drop_expired(ch->store, b, e) < 0 || store_token_add(ch->store, &b->add, e) < 0))
        return -1;
    free(TAKE(b->list));
    b->n = 0;
    return store_tokens(ch->store, &b->list, &b->n, e);
}

static void done(struct command *c, int rc, const struct err *e)
{
    struct boot *b = (struct boot *)((char *)c - offsetof(struct boot, command));
    b->rc = rc;
    if (rc < 0)
        b->err = *e;
    sem_post(&b->done);
}

static int run(struct writer *w, struct boot *b, const char *action, struct err *e)
{
    b->command = (struct command){ .apply = apply, .done = done, .read_only = action[0] == '\0', .recovery = true };
    snprintf(b->command.audit.actor, sizeof b->command.audit.actor, "system");
    snprintf(b->command.audit.action, sizeof b->command.audit.action, "%s", action);
    snprintf(b->command.audit.object, sizeof b->command.audit.object, "token/%s", b->add.id);
    if (writer_submit(w, &b->command, e) < 0)
        return -1;
    while (sem_wait(&b->done) < 0 && errno == EINTR)
        ;
    if (b->rc < 0)
        *e = b->err;
    return b->rc;
}

/* ---- the first admin token's file ---------------------------------------------------------------------------------
 */

static int write_secret(const char *path, const char *secret, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    char text[SECRET_SIZE + 1];
    int n = snprintf(text, sizeof text, "%s\n", secret);
    if (fd < 0)
        return err_errno(e, ERR_IO, "cannot make %.150s", path);
    if (write(fd, text, (size_t)n) != n || fsync(fd) < 0) {
        unlink(path);
        return err_errno(e, ERR_IO, "cannot write %.150s", path);
    }
    return 0;
}

/* A file that an earlier start left: only when nobody else can have written or read it. */
static int read_secret(const char *path, char *secret, size_t size, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_IO, "%.150s", path);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) || st.st_nlink != 1)
        return err_set(e, ERR_IO, "%.150s is there already and is not private", path);
    ssize_t n = read(fd, secret, size - 1);
    if (n <= 0)
        return err_set(e, ERR_IO, "%.150s is there already and holds no token", path);
    secret[n] = '\0';
    secret[strcspn(secret, "\r\n")] = '\0';
    if (strlen(secret) < 32 || strncmp(secret, "ml_", 3) != 0)
        return err_set(e, ERR_IO, "%.150s is there already and holds no token", path);
    return 0;
}

static int first_secret(const char *path, char *secret, size_t size, struct err *e)
{
    if (access(path, F_OK) == 0)
        return read_secret(path, secret, size, e);
    if (secret_new("ml_", 32, secret, size, e) < 0)
        return -1;
    return write_secret(path, secret, e);
}

static int first_token(struct boot *b, const char *admin_file, struct err *e)
{
    char secret[SECRET_SIZE];
    struct token *t = &b->add;
    *t = (struct token){ .role = TOKEN_ADMIN, .created_ms = time_wall_ms(), .name = "admin" };
    if (secret_new("tok-", 6, t->id, sizeof t->id, e) < 0 || first_secret(admin_file, secret, sizeof secret, e) < 0)
        return -1;
    int rc = secret_hash(secret, strlen(secret), t->hash, e);
    explicit_bzero(secret, sizeof secret);
    return rc;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------
 */

static bool admin_lives(const struct boot *b)
{
    int64_t wall_ms = time_wall_ms();
    for (size_t i = 0; i < b->n; i++)
        if (auth_is_admin(&b->list[i], wall_ms))
            return true;
    return false;
}

/* A rack that others use is not kept down by the file of its admin: that nobody can sign in is said. */
static int make_admin(struct boot *b, struct writer *w, const char *admin_file, struct err *e)
{
    bool in_use = b->n > 0;
    if (!admin_file) {
        log_error("auth.no_admin",
                  "detail=\"no admin token lives and no file is named for one: no admin can sign in\"");
        return 0;
    }
    if (first_token(b, admin_file, e) == 0 && run(w, b, "token.create", e) == 0) {
        log_info("auth.admin_token", "file=%s", admin_file);
        return 0;
    }
    if (!in_use)
        return -1;
    log_error("auth.no_admin", "detail=\"no admin token lives: no admin can sign in: %s\"", e->detail);
    b->add = (struct token){ 0 };
    return run(w, b, "", e);
}

static int load(struct boot *b, struct auth *auth, struct writer *w, const char *admin_file, struct err *e)
{
    if (run(w, b, "", e) < 0 || (!admin_lives(b) && make_admin(b, w, admin_file, e) < 0))
        return -1;
    int64_t wall_ms = time_wall_ms();
    for (size_t i = 0; i < b->n; i++) {
        bool over = auth_is_session(b->list[i].id) && !auth_lives(&b->list[i], wall_ms);
        if (!over && auth_put(auth, &b->list[i], true, e) < 0)
            return -1;
    }
    return 0;
}

int bootstrap_tokens(struct auth *auth, struct writer *w, const char *admin_file, struct err *e)
{
    struct boot b = { 0 };
    if (sem_init(&b.done, 0, 0) < 0)
        return err_errno(e, ERR_INTERNAL, "no semaphore");
    int rc = load(&b, auth, w, admin_file, e);
    free(b.list);
    sem_destroy(&b.done);
    return rc;
}
