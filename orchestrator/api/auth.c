/* auth.c - an array sorted by hash under one mutex; see auth.h. */
#include "api/auth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CODES_MAX 32
#define BRAKES 256 /* addresses share a brake when their hashes do */
#define BRAKE_MS 60000

struct entry {
    struct token token;
    bool used;
};

struct code {
    char hash[HASH_SIZE];
    struct token maker;
    int64_t expires_ms;
};

struct brake {
    unsigned failures;
    int64_t since_ms;
};

struct auth {
    pthread_mutex_t lock;
    struct entry *entries; /* sorted by hash */
    size_t n, cap;
    struct code codes[CODES_MAX];
    struct brake brakes[BRAKES];
};

int auth_new(struct auth **out, struct err *e)
{
    struct auth *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    *out = a;
    return 0;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a->entries);
    free(a);
}

/* The first entry whose hash is not smaller.  What an attacker can time here is a hash, which tells nothing of the
 * secret. */
static size_t lower_bound(const struct auth *a, const char *hash)
{
    size_t low = 0, high = a->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(a->entries[middle].token.hash, hash, HASH_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int grow(struct auth *a, struct err *e)
{
    size_t cap = a->cap ? 2 * a->cap : 64;
    if (a->n < a->cap)
        return 0;
    struct entry *more = realloc(a->entries, cap * sizeof *more);
    if (!more)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    a->entries = more;
    a->cap = cap;
    return 0;
}

int auth_put(struct auth *a, const struct token *t, bool used, struct err *e)
{
    pthread_mutex_lock(&a->lock);
    int rc = grow(a, e);
    if (rc == 0) {
        size_t at = lower_bound(a, t->hash);
        memmove(a->entries + at + 1, a->entries + at, (a->n - at) * sizeof *a->entries);
        a->entries[at] = (struct entry){ .token = *t, .used = used };
        a->n++;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

bool auth_lives(const struct token *t, int64_t wall_ms)
{
    return t->expires_ms == 0 || wall_ms < t->expires_ms;
}

bool auth_is_session(const char *id)
{
    return strncmp(id, AUTH_SESSION_PREFIX, strlen(AUTH_SESSION_PREFIX)) == 0;
}

bool auth_is_admin(const struct token *t, int64_t wall_ms)
{
    return t->role == TOKEN_ADMIN && !auth_is_session(t->id) && auth_lives(t, wall_ms);
}

bool auth_descends(const char *session_id, const char *token_id)
{
    size_t len = strlen(session_id), suffix = strlen(token_id);
    return auth_is_session(session_id) && len > suffix + 1 && session_id[len - suffix - 1] == '-' &&
           strcmp(session_id + len - suffix, token_id) == 0;
}

size_t auth_session_ends(struct token *list, size_t n, const char *maker, int64_t wall_ms)
{
    size_t living = 0, ends = 0;
    for (size_t i = 0; i < n; i++)
        living += auth_descends(list[i].id, maker) && auth_lives(&list[i], wall_ms);
    for (size_t i = 0; i < n; i++) {
        bool over = auth_is_session(list[i].id) && !auth_lives(&list[i], wall_ms);
        bool surplus = !over && auth_descends(list[i].id, maker) && living-- >= AUTH_SESSIONS_MAX;
        if (over || surplus)
            list[ends++] = list[i];
    }
    return ends;
}

static void remove_at(struct auth *a, size_t i)
{
    memmove(a->entries + i, a->entries + i + 1, (a->n - i - 1) * sizeof *a->entries);
    a->n--;
}

void auth_drop(struct auth *a, const char *id)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = a->n; i-- > 0;) {
        const char *have = a->entries[i].token.id;
        if (strcmp(have, id) == 0 || auth_descends(have, id))
            remove_at(a, i);
    }
    pthread_mutex_unlock(&a->lock);
}

void auth_drop_agent(struct auth *a, const char *node, const char *except_id)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = a->n; i-- > 0;) {
        const struct token *t = &a->entries[i].token;
        if (t->role == TOKEN_AGENT && strcmp(t->name, node) == 0 && strcmp(t->id, except_id) != 0)
            remove_at(a, i);
    }
    pthread_mutex_unlock(&a->lock);
}

static int by_creation(const void *a, const void *b)
{
    const struct token *x = a, *y = b;
    if (x->created_ms != y->created_ms)
        return x->created_ms < y->created_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

int auth_list(struct auth *a, struct token **out, size_t *n, struct err *e)
{
    size_t have = 0;
    pthread_mutex_lock(&a->lock);
    struct token *list = calloc(a->n ? a->n : 1, sizeof *list);
    for (size_t i = 0; list && i < a->n; i++)
        if (!auth_is_session(a->entries[i].token.id))
            list[have++] = a->entries[i].token;
    pthread_mutex_unlock(&a->lock);
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    qsort(list, have, sizeof *list, by_creation);
    *out = list;
    *n = have;
    return 0;
}

static int unknown(struct err *e)
{
    return err_set(e, ERR_UNAUTHENTICATED, "the token or code is wrong, used or expired");
}

int auth_find(struct auth *a, const char *secret, int64_t wall_ms, struct token *out, struct err *e)
{
    char hash[HASH_SIZE];
    bool found = false;
    if (secret_hash(secret, strlen(secret), hash, e) < 0)
        return -1;
    pthread_mutex_lock(&a->lock);
    size_t at = lower_bound(a, hash);
    if (at < a->n && secret_equal(a->entries[at].token.hash, hash, HASH_SIZE) &&
        auth_lives(&a->entries[at].token, wall_ms)) {
        a->entries[at].used = true;
        *out = a->entries[at].token;
        found = true;
    }
    pthread_mutex_unlock(&a->lock);
    return found ? 0 : unknown(e);
}

bool auth_alive(struct auth *a, const char *id, int64_t wall_ms)
{
    bool found = false;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n && !found; i++)
        found = strcmp(a->entries[i].token.id, id) == 0 && auth_lives(&a->entries[i].token, wall_ms);
    pthread_mutex_unlock(&a->lock);
    return found;
}

bool auth_agent_used(struct auth *a, const char *node)
{
    bool used = false;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n && !used; i++) {
        const struct token *t = &a->entries[i].token;
        used = t->role == TOKEN_AGENT && a->entries[i].used && strcmp(t->name, node) == 0;
    }
    pthread_mutex_unlock(&a->lock);
    return used;
}

int auth_code_add(struct auth *a, const char *code, const struct token *maker, int64_t wall_ms, struct err *e)
{
    struct code c = { .maker = *maker, .expires_ms = wall_ms + AUTH_CODE_MS };
    if (secret_hash(code, strlen(code), c.hash, e) < 0)
        return -1;
    pthread_mutex_lock(&a->lock);
    size_t oldest = 0;
    for (size_t i = 1; i < CODES_MAX; i++)
        if (a->codes[i].expires_ms < a->codes[oldest].expires_ms)
            oldest = i;
    a->codes[oldest] = c;
    pthread_mutex_unlock(&a->lock);
    return 0;
}

int auth_code_take(struct auth *a, const char *code, int64_t wall_ms, struct token *maker, struct err *e)
{
    char hash[HASH_SIZE];
    bool found = false;
    if (secret_hash(code, strlen(code), hash, e) < 0)
        return -1;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < CODES_MAX && !found; i++) {
        struct code *c = &a->codes[i];
        if (c->expires_ms <= wall_ms || !secret_equal(c->hash, hash, HASH_SIZE))
            continue;
        *maker = c->maker;
        memset(c, 0, sizeof *c);
        found = true;
    }
    pthread_mutex_unlock(&a->lock);
    return found ? 0 : unknown(e);
}

static struct brake *brake_of(struct auth *a, const char *remote, int64_t now_ms)
{
    uint32_t hash = 2166136261u;
    for (const char *c = remote; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    struct brake *b = &a->brakes[hash % BRAKES];
    if (now_ms - b->since_ms > BRAKE_MS)
        *b = (struct brake){ .since_ms = now_ms };
    return b;
}

bool auth_may_try(struct auth *a, const char *remote, int64_t now_ms)
{
    pthread_mutex_lock(&a->lock);
    bool may = brake_of(a, remote, now_ms)->failures < AUTH_FAILURES_MAX;
    pthread_mutex_unlock(&a->lock);
    return may;
}

void auth_failed(struct auth *a, const char *remote, int64_t now_ms)
{
    pthread_mutex_lock(&a->lock);
    brake_of(a, remote, now_ms)->failures++;
    pthread_mutex_unlock(&a->lock);
}
