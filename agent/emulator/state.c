/* state.c - see state.h */
#include "state.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = "MLEMU01";

size_t state_piece(size_t size_bytes)
{
    return (size_bytes + 7) / 8 * 8;
}

static int open_file(const char *path, size_t size_bytes, int resume, int *found, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (resume ? 0 : O_TRUNC), 0600);
    struct stat st;
    int result;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (st.st_size != 0 && (size_t)st.st_size != size_bytes)
        return err_set(e, ERR_CONFLICT, "%s was written for another rack", path);
    *found = st.st_size != 0;
    if (ftruncate(fd, (off_t)size_bytes) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    result = fd;
    fd = -1;
    return result;
}

int state_open(struct state *out, const char *path, size_t size_bytes, uint64_t rack_hash, int resume, struct err *e)
{
    CLEANUP(cleanup_close) int fd = -1;
    size_t total = state_piece(sizeof(struct state_head)) + size_bytes;
    int found = 0;
    struct state_head *head;
    void *map;

    if (path) {
        fd = open_file(path, total, resume, &found, e);
        if (fd < 0)
            return -1;
    }
    map = mmap(NULL, total, PROT_READ | PROT_WRITE, path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    if (map == MAP_FAILED)
        return err_errno(e, ERR_IO, "mapping the state of %zu bytes", total);
    head = map;
    if (found && (memcmp(head->magic, MAGIC, sizeof MAGIC) != 0 || head->rack_hash != rack_hash)) {
        munmap(map, total);
        return err_set(e, ERR_CONFLICT, "%s was written for another rack", path);
    }
    memcpy(head->magic, MAGIC, sizeof MAGIC);
    head->rack_hash = rack_hash;
    head->size_bytes = total;
    *out = (struct state){ .head = head,
                           .base = map,
                           .size_bytes = total,
                           .taken_bytes = state_piece(sizeof(struct state_head)),
                           .resumed = found };
    return 0;
}

void *state_take(struct state *s, size_t size_bytes)
{
    void *piece = s->base + s->taken_bytes;

    s->taken_bytes += state_piece(size_bytes);
    assert(s->taken_bytes <= s->size_bytes);
    return piece;
}

void state_close(struct state *s)
{
    if (s->base)
        munmap(s->base, s->size_bytes);
    memset(s, 0, sizeof *s);
}
