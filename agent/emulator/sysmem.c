/* sysmem.c - see sysmem.h */
#define FUSE_USE_VERSION 314
#include "sysmem.h"

#include "blocks.h"
#include "log.h"
#include "systree.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITE_MAX 256
#define KEEP_S 3600.0 /* names and attributes that never change */

struct waiting { /* a request that is answered later */
    struct sysmem *sysmem;
    fuse_req_t req;
    uint64_t ino;
    bool is_write, hangs, interrupted;
    size_t size;
    off_t offset;
    char text[WRITE_MAX];
    struct loop_timer timer;
    struct waiting *next;
};

struct sysmem {
    struct loop_source source;
    struct loop *loop;
    struct box *box;
    struct fuse_session *session;
    struct fuse_buf buf;
    struct waiting *waiting;
    bool mounted;
};

static struct sysmem *self(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = { .attr_timeout = KEEP_S };
    int error;

    entry.ino = systree_lookup(self(req)->box, parent, name, &error);
    if (entry.ino != 0)
        error = systree_stat(self(req)->box, entry.ino, &entry.attr);
    if (entry.ino == 0 || error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    entry.entry_timeout = systree_stable(entry.ino) ? KEEP_S : 0;
    fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    int error = systree_stat(self(req)->box, ino, &st);

    (void)fi;
    if (error != 0)
        fuse_reply_err(req, error);
    else
        fuse_reply_attr(req, &st, 0);
}

/* "echo x > file" truncates first: taken and ignored, as sysfs does. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    (void)attr;
    if (to_set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME | FUSE_SET_ATTR_MTIME_NOW))
        fuse_reply_err(req, EPERM);
    else
        op_getattr(req, ino, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    int error = systree_stat(self(req)->box, ino, &st);
    bool writes = (fi->flags & O_ACCMODE) != O_RDONLY, reads = (fi->flags & O_ACCMODE) != O_WRONLY;

    if (error == 0 && ((writes && !(st.st_mode & 0200)) || (reads && !(st.st_mode & 0400))))
        error = EACCES;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    fi->direct_io = 1;
    fuse_reply_open(req, fi);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    char text[SYSTREE_TEXT];
    int len = systree_readlink(self(req)->box, ino, text);

    if (len < 0)
        fuse_reply_err(req, -len);
    else
        fuse_reply_readlink(req, text);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    CLEANUP(cleanup_free) char *buf = malloc(size);
    uint64_t at = (uint64_t)offset, before = at;
    struct systree_entry entry;
    size_t used = 0;

    (void)fi;
    if (!buf) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    for (; systree_next(self(req)->box, ino, &at, &entry); before = at) {
        struct stat st = { .st_ino = entry.ino, .st_mode = entry.mode };
        size_t need = fuse_add_direntry(req, buf + used, size - used, entry.name, &st, (off_t)at);

        if (need > size - used)
            break;
        used += need;
    }
    (void)before;
    fuse_reply_buf(req, buf, used);
}

/* ---- reads and writes, some of them later ---- */
static void answer_read(struct sysmem *s, fuse_req_t req, uint64_t ino, size_t size, off_t offset)
{
    char text[SYSTREE_TEXT];
    int len = systree_read(s->box, ino, text);

    if (len < 0)
        fuse_reply_err(req, -len);
    else if (offset >= len)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, text + offset, (size_t)(len - offset) < size ? (size_t)(len - offset) : size);
}

/* Not 0: it hangs (BLOCKS_HANGS, BLOCKS_WEDGES), and the request is still to be answered. */
static int answer_write(struct sysmem *s, fuse_req_t req, uint64_t ino, const char *text, size_t size)
{
    int rc = systree_write(s->box, ino, text);

    if (rc > 0)
        return rc;
    if (rc < 0)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_write(req, size);
    return 0;
}

/* libfuse holds a lock of the request while it calls this: only a mark, sysmem_ready() answers. */
static void interrupted(fuse_req_t req, void *data)
{
    struct waiting *w = data;

    (void)req;
    w->interrupted = true;
}

/* A signal ends what hangs, and nothing ends what is wedged. */
static void hang(struct waiting *w, int how)
{
    w->hangs = true;
    if (how == BLOCKS_HANGS)
        fuse_req_interrupt_func(w->req, interrupted, w);
}

static void forget(struct sysmem *s, struct waiting *w)
{
    for (struct waiting **at = &s->waiting; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    loop_cancel(s->loop, &w->timer);
    free(w);
}

static void try_again(struct waiting *w)
{
    struct sysmem *s = w->sysmem;
    int how;

    fuse_req_interrupt_func(w->req, NULL, NULL);
    if (!w->is_write) {
        answer_read(s, w->req, w->ino, w->size, w->offset);
    } else if ((how = answer_write(s, w->req, w->ino, w->text, w->size)) != 0) {
        hang(w, how);
        return;
    }
    forget(s, w);
}

static void timer_fired(struct loop_timer *t)
{
    try_again((struct waiting *)((char *)t - offsetof(struct waiting, timer)));
}

static struct waiting *wait_for(struct sysmem *s, fuse_req_t req, uint64_t ino)
{
    struct waiting *w = calloc(1, sizeof *w);

    if (!w) {
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    w->sysmem = s;
    w->req = req;
    w->ino = ino;
    w->timer.fire = timer_fired;
    w->next = s->waiting;
    s->waiting = w;
    return w;
}

static unsigned delay_ms(struct sysmem *s, uint64_t ino)
{
    const struct box_node *n = systree_node(s->box, ino);

    return n ? n->slow_ms : 0;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct sysmem *s = self(req);
    unsigned delay = delay_ms(s, ino);
    struct waiting *w;

    (void)fi;
    if (delay == 0) {
        answer_read(s, req, ino, size, offset);
        return;
    }
    w = wait_for(s, req, ino);
    if (w) {
        w->size = size;
        w->offset = offset;
        loop_after(s->loop, &w->timer, delay);
    }
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    struct sysmem *s = self(req);
    unsigned delay = delay_ms(s, ino);
    char text[WRITE_MAX];
    size_t len = size;
    int how = 0;
    struct waiting *w;

    (void)fi;
    if (offset != 0 || size >= sizeof text || memchr(buf, '\0', size)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    if (len > 0 && buf[len - 1] == '\n')
        len--;
    memcpy(text, buf, len);
    text[len] = '\0';
    if (delay == 0 && (how = answer_write(s, req, ino, text, size)) == 0)
        return;
    w = wait_for(s, req, ino);
    if (!w)
        return;
    w->is_write = true;
    w->size = size;
    memcpy(w->text, text, len + 1);
    if (delay != 0) {
        loop_after(s->loop, &w->timer, delay);
    } else {
        hang(w, how);
    }
}

static void answer_interrupted(struct sysmem *s)
{
    for (struct waiting *w = s->waiting, *next; w; w = next) {
        next = w->next;
        if (!w->interrupted)
            continue;
        fuse_reply_err(w->req, EINTR);
        forget(s, w);
    }
}

void sysmem_retry(struct sysmem *s)
{
    for (struct waiting *w = s->waiting, *next; w; w = next) {
        next = w->next;
        if (w->hangs)
            try_again(w);
    }
}

unsigned sysmem_hanging(const struct sysmem *s)
{
    unsigned n = 0;
    for (const struct waiting *w = s->waiting; w; w = w->next)
        n += w->hangs;
    return n;
}

static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .open = op_open,
    .readlink = op_readlink,
    .readdir = op_readdir,
    .read = op_read,
    .write = op_write,
};

/* ---- the session ---- */
static void sysmem_ready(struct loop_source *source, uint32_t events)
{
    struct sysmem *s = (struct sysmem *)source;

    (void)events;
    for (int i = 0; i < 16; i++) {
        int n = fuse_session_receive_buf(s->session, &s->buf);

        if (n <= 0)
            break;
        fuse_session_process_buf(s->session, &s->buf);
        answer_interrupted(s);
    }
    if (fuse_session_exited(s->session)) { /* unmounted under us */
        loop_remove(s->loop, &s->source);
        log_error("sysmem.unmounted", "the file trees are gone");
        loop_stop(s->loop);
    }
}

static void unmount_stale(const char *path)
{
    struct stat st;
    pid_t pid;

    if (stat(path, &st) == 0 || errno != ENOTCONN)
        return;
    if (umount2(path, MNT_DETACH) == 0)
        return;
    pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", path, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

static void sysmem_freep(struct sysmem **s)
{
    sysmem_free(*s);
}

int sysmem_new(struct sysmem **out, struct box *b, struct loop *l, const char *mountpoint, struct err *e)
{
    CLEANUP(sysmem_freep) struct sysmem *s = calloc(1, sizeof *s);
    char *argv[] = { (char *)"memlane-emulator", (char *)"-ofsname=memlane-emulator", NULL };
    struct fuse_args args = FUSE_ARGS_INIT(2, argv);
    int fd;

    if (!s)
        return err_set(e, ERR_INTERNAL, "out of memory");
    s->box = b;
    s->loop = l;
    unmount_stale(mountpoint);
    s->session = fuse_session_new(&args, &operations, sizeof operations, s);
    fuse_opt_free_args(&args);
    if (!s->session)
        return err_set(e, ERR_INTERNAL, "libfuse refuses the session");
    if (fuse_session_mount(s->session, mountpoint) != 0)
        return err_set(e, ERR_IO, "%s cannot be mounted (is /dev/fuse there, fuse3 installed?)", mountpoint);
    s->mounted = true;
    fd = fuse_session_fd(s->session);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return err_errno(e, ERR_IO, "/dev/fuse");
    s->source = (struct loop_source){ .fd = fd, .ready = sysmem_ready };
    if (loop_add(l, &s->source, EPOLLIN, e) < 0)
        return -1;
    *out = TAKE(s);
    return 0;
}

void sysmem_free(struct sysmem *s)
{
    if (!s)
        return;
    while (s->waiting) {
        fuse_req_interrupt_func(s->waiting->req, NULL, NULL);
        fuse_reply_err(s->waiting->req, EIO);
        forget(s, s->waiting);
    }
    if (s->mounted)
        fuse_session_unmount(s->session);
    if (s->session)
        fuse_session_destroy(s->session);
    free(s->buf.mem);
    free(s);
}
