/* hotplug.c - see hotplug.h.  What a child says: TOLD_ONLINE, TOLD_OFFLINE (block 'index' of the range is so, read
 * back), TOLD_REFUSED (it is not, 'text' says why), TOLD_TOUCHED, TOLD_UNTOUCHED (left out: why), TOLD_DEAD (the touch
 * failed). */
#include "hotplug.h"

#include "faultpoint.h"
#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum told { TOLD_ONLINE = CHILD_END + 1, TOLD_OFFLINE, TOLD_REFUSED, TOLD_TOUCHED, TOLD_UNTOUCHED, TOLD_DEAD };

/* What the child is told; to it 'hp' is what it was when it was forked. */
struct order {
    struct hotplug *hp;
    uint64_t first; /* block number */
    unsigned total, adapter;
    bool online; /* else offline */
};

/* The order that is under way, as the caller sees it. */
struct run {
    bool busy;
    struct order order;
    struct range range;
    hotplug_progress *progress; /* during hotplug_tend() */
    void *arg;
    struct hotplug_result result;
    unsigned done, refused, next; /* 'next': the block that the child is at, in its order */
    bool dead;
};

struct hotplug {
    struct hotplug_options o;
    uint64_t block_bytes;
    bool probe;
    struct run run;
};

int hotplug_new(struct hotplug **out, const struct hotplug_options *o, struct err *e)
{
    CLEANUP(cleanup_free) struct hotplug *hp = calloc(1, sizeof *hp);
    if (!hp)
        return err_set(e, ERR_INTERNAL, "out of memory");
    hp->o = *o;
    if (!hp->o.blocks)
        hp->o.blocks = &block_kernel;
    if (sysfs_read_hex(o->sys, BLOCK_DIR "/block_size_bytes", &hp->block_bytes, e) < 0)
        return -1;
    if (hp->block_bytes < MIB || hp->block_bytes > TIB || (hp->block_bytes & (hp->block_bytes - 1)) != 0)
        return err_set(e, ERR_HARDWARE, "a block size of %" PRIu64 " bytes makes no sense", hp->block_bytes);
    hp->probe = faccessat(o->sys->root_fd, BLOCK_DIR "/probe", F_OK, 0) == 0;
    *out = TAKE(hp);
    return 0;
}

void hotplug_free(struct hotplug *hp)
{
    free(hp);
}

uint64_t hotplug_block_bytes(const struct hotplug *hp)
{
    return hp->block_bytes;
}

bool hotplug_has_probe(const struct hotplug *hp)
{
    return hp->probe;
}

static int check_range(const struct hotplug *hp, struct range r, struct err *e)
{
    uint64_t n = r.size_bytes / hp->block_bytes;
    if (r.start_addr % hp->block_bytes != 0 || r.size_bytes % hp->block_bytes != 0 || n == 0 || n > 1u << 24 ||
        r.start_addr + r.size_bytes < r.start_addr)
        return err_set(e, ERR_FIELD_INVALID,
                       "0x%" PRIx64 "+0x%" PRIx64 " is not whole memory blocks of %" PRIu64 " bytes", r.start_addr,
                       r.size_bytes, hp->block_bytes);
    return 0;
}

int hotplug_read(struct hotplug *hp, struct range r, struct hotplug_counts *out, struct err *e)
{
    if (check_range(hp, r, e) < 0)
        return -1;
    uint64_t first = r.start_addr / hp->block_bytes;
    struct hotplug_counts c = { .total = (unsigned)(r.size_bytes / hp->block_bytes), .movable = true };
    for (unsigned i = 0; i < c.total; i++) {
        enum block_state state;
        bool movable;
        if (hp->o.blocks->read(hp->o.sys, first + i, &state, &movable, e) < 0)
            return -1;
        if (state != BLOCK_ONLINE)
            continue;
        c.online++;
        c.movable = c.movable && movable;
    }
    c.movable = c.movable && c.online > 0;
    *out = c;
    return 0;
}

/* ---- in the child -------------------------------------------------------------------------------------------------
 */
static bool tell(int pipe_fd, enum told kind, unsigned index, const struct err *why)
{
    struct child_message m = { .kind = kind, .index = index };
    if (why) {
        m.os_errno = why->os_errno;
        m.value = (int32_t)why->code;
        snprintf(m.text, sizeof m.text, "%.*s", (int)sizeof m.text - 1, why->detail);
    }
    return child_tell(pipe_fd, &m);
}

/* The first block is online: does memory answer?  False when the range must not go on. */
static bool touch_first(const struct order *o, int pipe_fd)
{
    const struct platform *p = o->hp->o.platform;
    struct err e = { 0 };
    int node = p->ops->numa_node(p, o->adapter, o->first);
    if (p->ops->touch(p, o->first * o->hp->block_bytes, o->hp->block_bytes, node, &e) == 0)
        return tell(pipe_fd, TOLD_TOUCHED, 0, NULL);
    if (e.code == ERR_UNAVAILABLE)
        return tell(pipe_fd, TOLD_UNTOUCHED, 0, &e);
    tell(pipe_fd, TOLD_DEAD, 0, &e);
    return false;
}

static void online_body(void *arg, int pipe_fd)
{
    const struct order *o = arg;
    const struct hotplug *hp = o->hp;
    long await_ms = hp->o.block_timeout_ms / 2;
    for (unsigned i = 0; i < o->total; i++) {
        struct err e = { 0 };
        if (hp->o.blocks->online(hp->o.sys, o->first + i, hp->block_bytes, hp->probe, await_ms, &e) < 0) {
            tell(pipe_fd, TOLD_REFUSED, i, &e);
            return;
        }
        FAULT_POINT("child.online");
        if (!tell(pipe_fd, TOLD_ONLINE, i, NULL) || (i == 0 && !touch_first(o, pipe_fd)))
            return;
    }
}

static void offline_body(void *arg, int pipe_fd)
{
    const struct order *o = arg;
    for (unsigned i = o->total; i-- > 0;) {
        struct err e = { 0 };
        bool ok = o->hp->o.blocks->offline(o->hp->o.sys, o->first + i, &e) == 0;
        FAULT_POINT("child.offline");
        if (!tell(pipe_fd, ok ? TOLD_OFFLINE : TOLD_REFUSED, i, ok ? NULL : &e))
            return;
    }
}

/* ---- in the caller ------------------------------------------------------------------------------------------------
 */
static void add_why(struct hotplug_result *r, const char *text)
{
    size_t len = strlen(r->why);
    if (len + strlen(text) + 3 < sizeof r->why)
        snprintf(r->why + len, sizeof r->why - len, "%s%s", len > 0 ? ", " : "", text);
    else if (len > 0 && len + 5 < sizeof r->why && r->why[len - 1] != '.')
        memcpy(r->why + len, " ...", 5);
}

static void listen_order(void *arg, const struct child_message *m)
{
    struct run *run = arg;
    switch ((enum told)m->kind) {
    case TOLD_ONLINE:
    case TOLD_OFFLINE:
        run->done++;
        run->next++;
        if (run->progress)
            run->progress(run->arg, run->order.online ? run->done : run->order.total - run->done, run->order.total);
        break;
    case TOLD_REFUSED:
        run->refused++;
        run->next++;
        add_why(&run->result, m->text);
        break;
    case TOLD_TOUCHED:
        run->result.touched = true;
        break;
    case TOLD_UNTOUCHED:
        add_why(&run->result, m->text);
        break;
    case TOLD_DEAD:
        run->dead = true;
        add_why(&run->result, m->text);
        break;
    }
}

/* What the child did not say itself: the block at which it hung or died. */
static void blame(struct run *run, const struct err *e)
{
    unsigned total = run->order.total, index = run->order.online ? run->next : total - 1 - run->next;
    char text[120];
    if (run->next >= total)
        return;
    snprintf(text, sizeof text, "memory%" PRIu64 ": %.80s", run->order.first + index, e->detail);
    add_why(&run->result, text);
}

/* The counts after the order.  What each block was read back as is known when the child said everything. */
static int count_result(struct hotplug *hp, struct run *run, struct err *e)
{
    struct hotplug_counts *c = &run->result.counts;
    const struct order *o = &run->order;
    if (run->done == o->total) {
        *c = (struct hotplug_counts){ o->total, o->online ? o->total : 0, o->online };
        return 0;
    }
    return hotplug_read(hp, run->range, c, e);
}

/* The order ended; 'failed' says how, unless the child carried it out as far as it could. */
static int conclude(struct hotplug *hp, const struct err *failed, struct err *e)
{
    struct run *run = &hp->run;
    if (failed)
        blame(run, failed);
    if (count_result(hp, run, e) < 0)
        return -1;
    const char *why = run->result.why;
    if (run->done == run->order.total && !run->dead && (!failed || !run->order.online))
        return 0; /* a child that died of its touch said before that its only block is online */
    const struct hotplug_counts *c = &run->result.counts;
    if (run->dead)
        return err_set(e, ERR_HARDWARE, "the memory does not answer: %.180s", why);
    return err_set(e, failed ? failed->code : ERR_BUSY, "%u of %u blocks are %s: %.180s", c->online, c->total,
                   run->order.online ? "online" : "still online", why[0] || !failed ? why : failed->detail);
}

int hotplug_start(struct hotplug *hp, struct range r, bool online, unsigned adapter, struct err *e)
{
    if (hp->run.busy)
        return err_set(e, ERR_BUSY, "another range is being hot-plugged");
    if (check_range(hp, r, e) < 0)
        return -1;
    const struct order o = { .hp = hp,
                             .first = r.start_addr / hp->block_bytes,
                             .total = (unsigned)(r.size_bytes / hp->block_bytes),
                             .adapter = adapter,
                             .online = online };
    if (child_start(hp->o.children, online ? online_body : offline_body, &o, sizeof o, e) < 0)
        return -1;
    hp->run = (struct run){ .busy = true, .order = o, .range = r };
    return 0;
}

bool hotplug_busy(const struct hotplug *hp)
{
    return hp->run.busy;
}

bool hotplug_tend(struct hotplug *hp, long wait_ms, hotplug_progress *progress, void *arg, struct hotplug_result *out,
                  int *rc, struct err *e)
{
    struct run *run = &hp->run;
    struct err failed = { 0 };
    run->progress = progress;
    run->arg = arg;
    enum child_state state = child_listen(hp->o.children, listen_order, run, wait_ms, hp->o.block_timeout_ms, &failed);
    if (state == CHILD_RUNNING)
        return false;
    *rc = conclude(hp, state == CHILD_FAILED ? &failed : NULL, e);
    *out = run->result;
    run->busy = false;
    return true;
}

int hotplug_abort(struct hotplug *hp, struct err *e)
{
    struct run *run = &hp->run;
    struct err failed = { 0 };
    int rc = children_abort(hp->o.children, &failed);
    run->busy = false;
    if (rc == 0)
        return 0;
    blame(run, &failed);
    return err_set(e, failed.code, "%.180s", run->result.why[0] ? run->result.why : failed.detail);
}

int hotplug_scan(struct hotplug *hp, struct range window, hotplug_known *known, hotplug_found *found, void *arg,
                 struct err *e)
{
    int fd = openat(hp->o.sys->root_fd, BLOCK_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int rc = err_errno(e, ERR_IO, "cannot read %s", BLOCK_DIR);
        cleanup_close(&fd);
        return rc;
    }
    uint64_t first = window.start_addr / hp->block_bytes, n = window.size_bytes / hp->block_bytes, block;
    int rc = 0;
    for (struct dirent *d; (d = readdir(dir));) {
        enum block_state state = BLOCK_ONLINE;
        bool movable = false;
        struct err unread = { 0 };
        if (!sysfs_name_number(d->d_name, "memory", &block) || block < first || block - first >= n ||
            known(arg, block * hp->block_bytes))
            continue;
        if (hp->o.blocks->read(hp->o.sys, block, &state, &movable, &unread) < 0 && rc == 0) {
            *e = unread;
            rc = -1;
        }
        if (state == BLOCK_ONLINE)
            found(arg, block * hp->block_bytes, movable);
    }
    closedir(dir);
    return rc;
}
