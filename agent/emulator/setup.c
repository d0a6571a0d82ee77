/* setup.c - see setup.h */
#include "setup.h"

#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SHM "/dev/shm"

int setup_mkdir(const char *path, struct err *e)
{
    return mkdir(path, 0700) < 0 && errno != EEXIST ? err_errno(e, ERR_IO, "%s", path) : 0;
}

/* dir + "/" + name; too long is the caller's error later, at open. */
static char *join(char out[PATH_MAX], const char *dir, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        out[0] = '\0';
    return out;
}

static void empty_at(int parent, const char *name)
{
    struct dirent *entry;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir) {
        cleanup_close(&fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM))
            continue;
        empty_at(fd, entry->d_name);
        if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0)
            log_warn("setup.remove", "name=%s errno=%d", entry->d_name, errno);
    }
    closedir(dir);
}

static void empty(const char *dir, const char *name)
{
    char path[PATH_MAX];

    empty_at(AT_FDCWD, join(path, dir, name));
}

void setup_forget_node(const struct box_node *n)
{
    empty(n->dir, "run");
    empty(n->dir, "buffers");
    empty(n->dir, "segments");
}

static int write_file(const char *dir, const char *name, const char *text, size_t len, struct err *e)
{
    char path[PATH_MAX];
    CLEANUP(cleanup_close) int fd = open(join(path, dir, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        return err_errno(e, ERR_IO, "%s", path);
    return 0;
}

static int make_link(const char *dir, const char *name, const char *target, struct err *e)
{
    char path[PATH_MAX];

    join(path, dir, name);
    if (symlink(target, path) == 0)
        return 0;
    if (errno != EEXIST || unlink(path) < 0 || symlink(target, path) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    return 0;
}

static int copy_rack(const struct box *b, const char *rack_path, struct err *e)
{
    CLEANUP(cleanup_free) char *text = malloc(1u << 22);
    CLEANUP(cleanup_close) int fd = open(rack_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 && text ? read(fd, text, 1u << 22) : -1;

    if (n < 0)
        return err_errno(e, ERR_IO, "%s", rack_path);
    return write_file(b->dir, "rack.json", text, (size_t)n, e);
}

/* ---- buffers: in memory, whatever file system the rack's directory is on ---- */
static bool on_tmpfs(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static void shm_dir(const struct box *b, char out[PATH_MAX])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *p = b->dir; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    snprintf(out, PATH_MAX, SHM "/memlane-rack-%u-%016" PRIx64, (unsigned)geteuid(), hash);
}

static int make_buffers(struct box_node *n, struct err *e)
{
    char shm[PATH_MAX], target[PATH_MAX], path[PATH_MAX];
    struct stat st;

    if (on_tmpfs(n->dir)) {
        if (setup_mkdir(join(path, n->dir, "buffers"), e) < 0)
            return -1;
    } else {
        shm_dir(n->box, shm);
        if (setup_mkdir(shm, e) < 0)
            return -1;
        if (lstat(shm, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
            return err_set(e, ERR_CONFLICT, "%s belongs to somebody else", shm);
        if (setup_mkdir(join(target, shm, n->spec->name), e) < 0 || make_link(n->dir, "buffers", target, e) < 0)
            return -1;
    }
    if (!realpath(join(path, n->dir, "buffers"), n->buffers))
        return err_errno(e, ERR_IO, "%s", path);
    return 0;
}

/* ---- one node ---- */
static int make_machine_id(const struct box_node *n, struct err *e)
{
    char path[PATH_MAX], text[40];
    unsigned char r[16];

    if (access(join(path, n->dir, "machine-id"), R_OK) == 0)
        return 0;
    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        return err_errno(e, ERR_IO, "getrandom");
    for (size_t i = 0; i < sizeof r; i++)
        snprintf(text + 2 * i, 3, "%02x", r[i]);
    text[32] = '\n';
    return write_file(n->dir, "machine-id", text, 33, e);
}

static void device_path(const struct box_adapter *a, char out[PATH_MAX])
{
    char name[64];

    snprintf(name, sizeof name, "dev/ocxl/IBM,RMEM.0000:00:00.%u.0", a->index);
    join(out, a->node->dir, name);
}

static int make_devices(const struct box_node *n, struct err *e)
{
    static const char *const dirs[] = { "dev", "dev/ocxl" };
    char path[PATH_MAX], text[PATH_MAX + 200];

    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        if (setup_mkdir(join(path, n->dir, dirs[i]), e) < 0)
            return -1;
    for (unsigned i = 0; i < n->n_adapters; i++) {
        device_path(&n->adapters[i], path);
        snprintf(text, sizeof text, "unix:%s/emulator.sock %s %s\n", n->box->dir, n->spec->name,
                 n->adapters[i].spec->name);
        if (write_file("", path, text, strlen(text), e) < 0)
            return -1;
    }
    return 0;
}

static void write_adapters(FILE *f, const struct box_node *n)
{
    char path[PATH_MAX];

    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct wire_adapter *s = n->adapters[i].spec;

        device_path(&n->adapters[i], path);
        fprintf(f, "\n[adapter %s]\nrole=%s\nports=%u\ndevice=%s\n", s->name,
                s->role == WIRE_COMPUTE ? "compute" : "memory", s->ports, path);
        if (s->role == WIRE_COMPUTE)
            fprintf(f, "window_addr=0x%" PRIx64 "\nwindow_bytes=%" PRIu64 "\n", s->window_addr, s->window_bytes);
    }
}

/* Whether 'name' is in a list of names with commas between them. */
static bool listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; p && (p = strstr(p, name)); p += len)
        if ((p == list || p[-1] == ',') && (p[len] == ',' || p[len] == '\0'))
            return true;
    return false;
}

static void write_agent_section(FILE *f, const struct box_node *n, const struct setup_options *o)
{
    const char *dir = n->dir;

    fprintf(f, "; Written by memlane-emulator; a change here is lost at its next start.\n[agent]\nname=%s\n",
            n->spec->name);
    if (o->agent_url)
        fprintf(f, "url=%s\n", o->agent_url);
    if (o->join_token_file)
        fprintf(f, "join_token_file=%s\n", o->join_token_file);
    fprintf(
        f,
        "state_dir=%s/state\nrun_dir=%s/run\nsysfs_root=%s/sys\nprocfs_root=%s/proc\nmachine_id_file=%s/machine-id\n",
        dir, dir, dir, dir, dir);
    if (!listed(o->own_lenders, n->spec->name))
        fprintf(f, "lender_program=%s\n", o->lender_program);
    fprintf(f, "ocxl_library=%s\nlender_backing=%s\nlender_backing_dir=%s/buffers\n", o->ocxl_library,
            o->lender_backing, dir);
    fprintf(f, "platform=emulated\nsettle_ms=%u\n", o->settle_ms);
    if (n->spec->n_labels > 0)
        fprintf(f, "labels=");
    for (unsigned i = 0; i < n->spec->n_labels; i++)
        fprintf(f, "%s%s:%s", i ? "," : "", n->spec->labels[i].key, n->spec->labels[i].value);
    if (n->spec->n_labels > 0)
        fprintf(f, "\n");
}

static int make_config(const struct box_node *n, const struct setup_options *o, struct err *e)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return err_set(e, ERR_INTERNAL, "out of memory");
    write_agent_section(f, n, o);
    write_adapters(f, n);
    for (size_t i = 0; i < n->box->n_switches; i++) {
        const struct rack_switch *s = n->box->switches[i].spec;

        if (strcmp(s->managed_by, n->spec->name) == 0)
            fprintf(f, "\n[switch %s]\naddress=unix:%s/switches/%s.sock\n", s->name, n->box->dir, s->name);
    }
    if (fclose(f) != 0)
        return err_set(e, ERR_INTERNAL, "out of memory");
    return write_file(n->dir, "agent.conf", text, len, e);
}

static int make_node(struct box_node *n, const struct setup_options *o, bool cold, struct err *e)
{
    static const char *const dirs[] = { "segments", "state", "run" };
    static const char *const trees[] = { "sys", "proc", "emulator" };
    char path[PATH_MAX], target[PATH_MAX];

    if (snprintf(n->dir, sizeof n->dir, "%s/nodes/%s", n->box->dir, n->spec->name) >= (int)sizeof n->dir)
        return err_set(e, ERR_FIELD_INVALID, "the directory's name is too long");
    if (setup_mkdir(n->dir, e) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        if (setup_mkdir(join(path, n->dir, dirs[i]), e) < 0)
            return -1;
    for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
        snprintf(target, sizeof target, "../../sys/%s/%s", n->spec->name, trees[i]);
        if (make_link(n->dir, trees[i], target, e) < 0)
            return -1;
    }
    if (make_buffers(n, e) < 0 || make_machine_id(n, e) < 0 || make_devices(n, e) < 0 || make_config(n, o, e) < 0)
        return -1;
    n->used_mtime_ns = -1;
    if (cold)
        setup_forget_node(n);
    else
        empty(n->dir, "segments");
    return 0;
}

int setup_make(struct box *b, const struct setup_options *o, bool cold, struct err *e)
{
    static const char *const dirs[] = { "nodes", "switches", "sys", "log" };
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        if (strcmp(dirs[i], "sys") == 0 && access(join(path, b->dir, dirs[i]), F_OK) < 0 && errno == ENOTCONN)
            continue; /* a mount that was left behind: sysmem takes it away */
        if (setup_mkdir(join(path, b->dir, dirs[i]), e) < 0)
            return -1;
    }
    if (copy_rack(b, o->rack_path, e) < 0)
        return -1;
    for (size_t i = 0; i < b->n_nodes; i++)
        if (make_node(&b->nodes[i], o, cold, e) < 0)
            return -1;
    return 0;
}

void setup_remove(struct box *b)
{
    char shm[PATH_MAX];

    for (size_t i = 0; i < b->n_nodes; i++) {
        empty(b->nodes[i].dir, "segments");
        empty(b->nodes[i].dir, "buffers");
    }
    shm_dir(b, shm);
    empty_at(AT_FDCWD, shm);
    if (rmdir(shm) < 0 && errno != ENOENT)
        log_warn("setup.remove", "path=%s errno=%d", shm, errno);
}
