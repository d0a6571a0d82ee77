/* vm.c - see vm.h */
#include "vm.h"

#include "donor.h"
#include "fabric.h"
#include "log.h"
#include "power.h"
#include "qmp.h"
#include "traffic.h"
#include "units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TICK_MS 25
#define UNPLUG_WAIT_MS 1500  /* an access of the agent waits at most this long for a DIMM that goes */
#define UNPLUG_AGAIN_MS 1000 /* the guest refused: asked again */
#define CHECK_TICKS 40       /* between two looks at where a window leads */
#define DIMMS_MAX 64

enum dimm_state {
    DIMM_FREE,
    DIMM_PLUGGING,  /* object and device are asked for */
    DIMM_REFUSED,   /* by QEMU: tried anew after a while */
    DIMM_PLUGGED,   /* the machine has it; its kernel makes blocks of it when it likes */
    DIMM_UNPLUGGING /* until DEVICE_DELETED */
};

struct dimm {
    enum dimm_state state;
    struct box_adapter *compute;
    struct donor_buffer buffer;
    unsigned serial, section;
    uint64_t window_offset;
    char donor[NAME_SIZE]; /* the node whose lender has the buffer */
    char path[PATH_MAX + ID_SIZE];
    int64_t asked_ms, since_ms; /* last and first time that QEMU was asked for what the state says */
};

struct vm {
    struct emulator *em;
    struct box_node *node;
    struct qmp *qmp;
    struct loop_timer tick;
    struct vm *next;
    char qmp_path[108];
    bool has_window, wrong, counts_new;
    bool known;     /* which DIMMs the machine has: asked for when it comes up */
    bool resetting; /* the machine goes on by itself */
    unsigned n_ticks;
    struct stat window;
    uint64_t window_start; /* where in the file it begins */
    int window_fd;         /* -1: none */
    uint64_t window_pages; /* bytes that had pages at the last look */
    unsigned numa_node, n_serials;
    struct dimm dimms[DIMMS_MAX];
};

/* ---- window=FILE ---- */
struct window_check {
    const struct vm *vm;
    uint64_t start, end; /* effective addresses that the window reaches */
    unsigned n_wrong;
    struct donor_mapping wrong; /* the first */
};

static void check_mapping(void *arg, const struct donor_mapping *m)
{
    struct window_check *c = arg;

    if (m->end <= c->start || m->start >= c->end)
        return;
    bool right = m->device == c->vm->window.st_dev && m->inode == c->vm->window.st_ino &&
                 m->file_offset == m->start - c->start + c->vm->window_start;
    if (!right && c->n_wrong++ == 0)
        c->wrong = *m;
}

/* Whether what the donor has mapped where the section leads is what the machine has there. */
static bool leads_home(struct box_adapter *compute, unsigned section, uint64_t value)
{
    struct box_adapter *memory = fabric_target(compute, value & ADAPTER_NETID_MASK);
    uint64_t start = ((uint64_t)section << ADAPTER_SECTION_SHIFT) + (value & ~ADAPTER_NETID_MASK);
    struct window_check c = { .vm = compute->node->vm, .start = start, .end = start + compute->spec->window_bytes };

    if (!memory || !memory->donor)
        return true; /* it leads nowhere: not a lie */
    donor_mappings(memory, c.start, c.end, check_mapping, &c);
    if (c.n_wrong)
        log_warn("vm.mapping",
                 "node=%s: window offset 0x%" PRIx64 "+0x%" PRIx64 " is %s 0x%" PRIx64 " (%u runs of pages are wrong)",
                 compute->node->spec->name, c.wrong.start - c.start, c.wrong.end - c.wrong.start,
                 c.wrong.inode == c.vm->window.st_ino ? "the file at" : "none of the file, physical",
                 c.wrong.file_offset, c.n_wrong);
    return c.n_wrong == 0;
}

bool vm_allows(struct box_adapter *compute, unsigned section, uint64_t value)
{
    const struct vm *vm = compute->node->vm;

    if (!vm->has_window || wire_section_is_parked(value, section) || leads_home(compute, section, value))
        return true;
    log_error("vm.window",
              "node=%s adapter=%s section=%u value=0x%" PRIx64 ": the donor's memory there is not the window's file",
              vm->node->spec->name, compute->spec->name, section, value);
    return false;
}

static void check_windows(struct vm *vm)
{
    bool wrong = false;

    for (unsigned i = 0; i < vm->node->n_adapters; i++) {
        struct box_adapter *a = &vm->node->adapters[i];
        uint64_t value = a->regs->section[0];

        if (a->spec->role != WIRE_COMPUTE || value == 0 || wire_section_is_parked(value, 0) || leads_home(a, 0, value))
            continue;
        wrong = true;
        if (!vm->wrong) {
            log_error("vm.window", "node=%s adapter=%s: the donor's memory is no longer the window's file",
                      vm->node->spec->name, a->spec->name);
            adapter_capture(a->regs, ADAPTER_ERROR_TRANSLATION, 0, value);
        }
    }
    vm->wrong = wrong;
}

/* ---- DIMMs ---- */
static struct dimm *dimm_find(struct vm *vm, const struct box_adapter *compute, uint64_t window_offset)
{
    for (struct dimm *d = vm->dimms; d < vm->dimms + DIMMS_MAX; d++)
        if (d->state != DIMM_FREE && d->compute == compute && d->window_offset == window_offset)
            return d;
    return NULL;
}

/* The names that QEMU knows a DIMM and its memory by say whose they are, for an emulator that is started again. */
#define DIMM_NAME_SIZE (NAME_SIZE + ID_SIZE + 24)

static const char *dimm_name(const struct dimm *d, const char *what, char name[DIMM_NAME_SIZE])
{
    snprintf(name, DIMM_NAME_SIZE, "%s%u.%s.%s", what, d->serial, d->donor, d->buffer.id);
    return name;
}

static bool dimm_name_parse(const char *name, unsigned *serial, char donor[NAME_SIZE], char id[ID_SIZE])
{
    int end = 0;

    return sscanf(name, "dimm%u.%63[a-z0-9-].%39[A-Za-z0-9._-]%n", serial, donor, id, &end) == 3 && !name[end] &&
           id_valid(id);
}

static void plug(struct vm *vm, struct dimm *d)
{
    char object[DIMM_NAME_SIZE], device[DIMM_NAME_SIZE];

    dimm_name(d, "buffer", object);
    dimm_name(d, "dimm", device);
    d->state = DIMM_PLUGGING;
    log_info("vm.plug", "node=%s id=%s size=0x%" PRIx64 " addr=0x%" PRIx64, vm->node->spec->name, d->buffer.id,
             d->buffer.end - d->buffer.start, d->compute->spec->window_addr + d->window_offset);
    qmp_send(vm->qmp, object, "object-add",
             json_pack("{s:s, s:s, s:s, s:I, s:b}", "qom-type", "memory-backend-file", "id", object, "mem-path",
                       d->path, "size", (json_int_t)(d->buffer.end - d->buffer.start), "share", 1));
    qmp_send(vm->qmp, device, "device_add",
             json_pack("{s:s, s:s, s:s, s:I, s:I}", "driver", "pc-dimm", "id", device, "memdev", object, "node",
                       (json_int_t)vm->numa_node, "addr",
                       (json_int_t)(d->compute->spec->window_addr + d->window_offset)));
}

/* Its memory's object, which would keep the donor's pages as long as the machine runs. */
static void drop_object(struct vm *vm, const struct dimm *d)
{
    char object[DIMM_NAME_SIZE];

    qmp_send(vm->qmp, "drop", "object-del", json_pack("{s:s}", "id", dimm_name(d, "buffer", object)));
}

static void unplug(struct vm *vm, struct dimm *d)
{
    char device[DIMM_NAME_SIZE];

    if (d->state != DIMM_UNPLUGGING) {
        d->since_ms = time_monotonic_ms();
        log_info("vm.unplug", "node=%s id=%s", vm->node->spec->name, d->buffer.id);
    }
    d->state = DIMM_UNPLUGGING;
    d->asked_ms = time_monotonic_ms();
    qmp_send(vm->qmp, "unplug", "device_del", json_pack("{s:s}", "id", dimm_name(d, "dimm", device)));
}

/* Parked, or given to another buffer; or the donor has released the buffer.  A way that is cut is no reason: the memory
 * may be in use. */
static bool is_over(const struct dimm *d)
{
    struct adapter_target t;
    struct stat st;

    return wire_section_is_parked(d->compute->regs->section[d->section], d->section) ||
           !adapter_translate(d->compute->regs, d->window_offset, &t) || t.effective_addr != d->buffer.start ||
           stat(d->path, &st) < 0 || st.st_ino != d->buffer.inode;
}

/* Whether the donor's buffer lies in the window as the section stands. */
static bool place(const struct box_adapter *compute, unsigned section, const struct donor_buffer *b, uint64_t *offset)
{
    uint64_t start = b->start - (compute->regs->section[section] & ~ADAPTER_NETID_MASK);

    *offset = start;
    return start >> ADAPTER_SECTION_SHIFT == section && start < compute->spec->window_bytes &&
           b->end - b->start <= compute->spec->window_bytes - start;
}

static struct dimm *free_dimm(struct vm *vm)
{
    for (struct dimm *d = vm->dimms; d < vm->dimms + DIMMS_MAX; d++)
        if (d->state == DIMM_FREE)
            return d;
    return NULL;
}

struct search {
    struct vm *vm;
    struct box_adapter *compute;
    unsigned section;
};

static void plug_new(void *arg, struct box_adapter *memory, const struct donor_buffer *b)
{
    const struct search *s = arg;
    struct dimm *d;
    uint64_t offset;

    if (!place(s->compute, s->section, b, &offset) || dimm_find(s->vm, s->compute, offset) || !(d = free_dimm(s->vm)))
        return;
    *d = (struct dimm){ .compute = s->compute, .buffer = *b, .section = s->section, .window_offset = offset };
    d->serial = s->vm->n_serials++;
    snprintf(d->donor, sizeof d->donor, "%s", memory->node->spec->name);
    snprintf(d->path, sizeof d->path, "%s/%s", memory->node->buffers, b->id);
    plug(s->vm, d);
}

static void plug_all(struct vm *vm)
{
    for (unsigned i = 0; i < vm->node->n_adapters; i++) {
        struct search s = { .vm = vm, .compute = &vm->node->adapters[i] };

        if (s.compute->spec->role != WIRE_COMPUTE)
            continue;
        for (; s.section < ADAPTER_SECTIONS; s.section++) {
            uint64_t value = s.compute->regs->section[s.section];
            struct box_adapter *memory = value && !wire_section_is_parked(value, s.section)
                                             ? fabric_target(s.compute, value & ADAPTER_NETID_MASK)
                                             : NULL;

            if (memory && memory->donor && (memory->regs->control & ADAPTER_CONTROL_ENABLE))
                donor_each_now(memory, plug_new, &s);
        }
    }
}

static void unplug_all(struct vm *vm)
{
    int64_t now_ms = time_monotonic_ms();

    for (struct dimm *d = vm->dimms; d < vm->dimms + DIMMS_MAX; d++) {
        if (d->state == DIMM_REFUSED && now_ms - d->asked_ms >= UNPLUG_AGAIN_MS)
            d->state = DIMM_FREE;
        if ((d->state == DIMM_PLUGGED && is_over(d)) ||
            (d->state == DIMM_UNPLUGGING && now_ms - d->asked_ms >= UNPLUG_AGAIN_MS))
            unplug(vm, d);
    }
}

unsigned vm_delay_ms(struct vm *vm)
{
    int64_t now_ms = time_monotonic_ms();

    if (vm->has_window || !vm->known)
        return 0;
    unplug_all(vm);
    for (const struct dimm *d = vm->dimms; d < vm->dimms + DIMMS_MAX; d++)
        if (d->state == DIMM_UNPLUGGING && now_ms - d->since_ms < UNPLUG_WAIT_MS)
            return TICK_MS;
    return 0;
}

static void tick(struct loop_timer *t)
{
    struct vm *vm = (struct vm *)((char *)t - offsetof(struct vm, tick));

    if (qmp_is_up(vm->qmp) && vm->node->state->on) {
        if (vm->has_window) {
            if (vm->n_ticks++ % CHECK_TICKS == 0)
                check_windows(vm);
        } else if (vm->known) {
            unplug_all(vm);
            plug_all(vm);
        }
    }
    loop_after(vm->em->loop, t, TICK_MS);
}

/* ---- counters ---- */
/* What was given back meanwhile is not told from what came. */
static void count_new_pages(struct vm *vm, struct box_adapter *compute)
{
    uint64_t now = traffic_pages(vm->window_fd, vm->window_start);

    if (now > vm->window_pages)
        fabric_load(compute, (now - vm->window_pages) / ADAPTER_LINE_BYTES);
    vm->window_pages = now;
}

void vm_count(struct box_adapter *compute)
{
    struct vm *vm = compute->node->vm;
    struct traffic_file files[DIMMS_MAX];
    struct box_adapter *adapters[DIMMS_MAX] = { compute };
    unsigned n = 0;
    struct stat st;

    if (vm->has_window)
        files[n++] = (struct traffic_file){ vm->window.st_dev, vm->window.st_ino, .end = (uint64_t)vm->window.st_size };
    for (const struct dimm *d = vm->dimms; !vm->has_window && d < vm->dimms + DIMMS_MAX; d++)
        if (d->state == DIMM_PLUGGED && stat(d->path, &st) == 0 && st.st_ino == d->buffer.inode) {
            adapters[n] = d->compute;
            files[n++] = (struct traffic_file){ st.st_dev, st.st_ino, .end = (uint64_t)st.st_size };
        }
    if (vm->counts_new) {
        count_new_pages(vm, compute);
        return;
    }
    if (n == 0)
        return;
    traffic_look(qmp_pid(vm->qmp), files, n);
    for (unsigned i = 0; i < n; i++)
        fabric_load(adapters[i], files[i].bytes / ADAPTER_LINE_BYTES);
}

/* ---- the machine ---- */
/* A DIMM that an earlier emulator plugged.  If its section leads elsewhere meanwhile, is_over() sees that. */
static void take_up(struct vm *vm, const json_t *data)
{
    const char *name = json_string_value(json_object_get(data, "id"));
    uint64_t addr = (uint64_t)json_integer_value(json_object_get(data, "addr"));
    struct box_adapter *compute = box_window_find(vm->node, addr);
    struct dimm found = { .state = DIMM_PLUGGED, .compute = compute }, *d = free_dimm(vm);
    struct adapter_target t = { 0 };
    struct stat st;

    if (!name || !compute || !d || !dimm_name_parse(name, &found.serial, found.donor, found.buffer.id))
        return;
    const struct box_node *donor = box_node_find(vm->em->box, found.donor);
    found.window_offset = addr - compute->spec->window_addr;
    found.section = (unsigned)(found.window_offset >> ADAPTER_SECTION_SHIFT);
    if (donor)
        snprintf(found.path, sizeof found.path, "%s/%s", donor->buffers, found.buffer.id);
    if (stat(found.path, &st) == 0)
        found.buffer.inode = st.st_ino;
    if (adapter_translate(compute->regs, found.window_offset, &t))
        found.buffer.start = t.effective_addr;
    found.buffer.end = found.buffer.start + (uint64_t)json_integer_value(json_object_get(data, "size"));
    if (vm->n_serials <= found.serial)
        vm->n_serials = found.serial + 1;
    *d = found;
    log_info("vm.found", "node=%s id=%s addr=0x%" PRIx64, vm->node->spec->name, d->buffer.id, addr);
}

static void take_devices(struct vm *vm, const json_t *devices)
{
    const json_t *device;
    size_t i;

    memset(vm->dimms, 0, sizeof vm->dimms);
    json_array_foreach(devices, i, device) take_up(vm, json_object_get(device, "data"));
    vm->known = true;
}

static void on_up(void *arg)
{
    struct vm *vm = arg;
    struct err e = { 0 };

    log_info("vm.up", "node=%s", vm->node->spec->name);
    vm->known = false;
    qmp_send(vm->qmp, "devices", "query-memory-devices", NULL);
    if (power_on(vm->em, vm->node, &e) < 0)
        log_error("vm.up", "%s", e.detail);
}

static void on_down(void *arg)
{
    struct vm *vm = arg;

    memset(vm->dimms, 0, sizeof vm->dimms);
    power_off(vm->em, vm->node, "its machine ended");
}

static struct dimm *dimm_named(struct vm *vm, const char *name)
{
    char own[DIMM_NAME_SIZE];

    for (struct dimm *d = vm->dimms; d < vm->dimms + DIMMS_MAX; d++)
        if (d->state != DIMM_FREE && strcmp(dimm_name(d, "dimm", own), name) == 0)
            return d;
    return NULL;
}

/* Its adapters lose what they had; its DIMMs stay, and go when it can let go of them. */
static void reset(struct vm *vm)
{
    vm->resetting = true;
    power_off(vm->em, vm->node, "its machine was reset");
    vm->resetting = false;
    on_up(vm);
}

static void on_event(void *arg, const char *name, const json_t *data)
{
    struct vm *vm = arg;
    const char *device = json_string_value(json_object_get(data, "device"));
    struct dimm *d = device ? dimm_named(vm, device) : NULL;

    if (strcmp(name, "DEVICE_DELETED") == 0 && d) {
        drop_object(vm, d);
        log_info("vm.unplugged", "node=%s id=%s", vm->node->spec->name, d->buffer.id);
        d->state = DIMM_FREE;
    } else if (strcmp(name, "RESET") == 0) {
        reset(vm);
    }
}

static void on_answer(void *arg, const char *id, const json_t *result, const char *error)
{
    struct vm *vm = arg;
    struct dimm *d = dimm_named(vm, id);

    if (error)
        log_warn("vm.refused", "node=%s command=%s: %.200s", vm->node->spec->name, id, error);
    if (strcmp(id, "devices") == 0)
        take_devices(vm, result);
    if (!d || d->state != DIMM_PLUGGING)
        return;
    d->asked_ms = time_monotonic_ms();
    d->state = error ? DIMM_REFUSED : DIMM_PLUGGED;
    if (error)
        drop_object(vm, d);
}

static const struct qmp_ops qmp_ops = { on_up, on_down, on_event, on_answer };

void vm_power_off(struct vm *vm)
{
    if (qmp_is_up(vm->qmp) && !vm->resetting)
        qmp_send(vm->qmp, "quit", "quit", NULL);
}

/* ---- options ---- */
static int set_option(struct vm *vm, const char *key, char *value, struct err *e)
{
    struct stat st;
    uint64_t n;

    if (strcmp(key, "qmp") == 0 && strlen(value) < sizeof vm->qmp_path) {
        snprintf(vm->qmp_path, sizeof vm->qmp_path, "%s", value);
        return 0;
    }
    if (strcmp(key, "window") == 0) {
        char *at = strrchr(value, '@');

        if (at && units_parse_addr(at + 1, &vm->window_start, e) == 0)
            *at = '\0';
        cleanup_close(&vm->window_fd);
        vm->window_fd = open(value, O_RDONLY | O_CLOEXEC);
        if (vm->window_fd < 0 || fstat(vm->window_fd, &vm->window) < 0)
            return err_errno(e, ERR_IO, "%s", value);
        vm->has_window = true;
        return 0;
    }
    if (strcmp(key, "numa") == 0 && units_parse_u64(value, &n, e) == 0 && n < 128) {
        vm->numa_node = (unsigned)n;
        return 0;
    }
    if (strcmp(key, "counted") == 0 && strcmp(value, "new") == 0 && vm->has_window) {
        vm->counts_new = true;
        vm->window_pages = traffic_pages(vm->window_fd, vm->window_start);
        return 0;
    }
    if (strcmp(key, "memory") == 0) {
        char *at = strrchr(value, '@');

        if (at && units_parse_addr(at + 1, &vm->node->memory_addr, e) == 0) {
            *at = '\0';
            if (stat(value, &st) < 0 || strlen(value) >= sizeof vm->node->memory_path)
                return err_errno(e, ERR_IO, "%s", value);
            vm->node->memory_size = (uint64_t)st.st_size;
            snprintf(vm->node->memory_path, sizeof vm->node->memory_path, "%s", value);
            return 0;
        }
    }
    return err_set(e, ERR_FIELD_INVALID, "--vm %s: %.60s=%.80s is not understood", vm->node->spec->name, key, value);
}

int vm_add(struct emulator *em, const char *text, struct err *e)
{
    CLEANUP(cleanup_free) char *copy = strdup(text);
    CLEANUP(cleanup_free) struct vm *vm = calloc(1, sizeof *vm);
    char *save = NULL;

    if (!copy || !vm)
        return err_set(e, ERR_INTERNAL, "out of memory");
    char *word = strtok_r(copy, ",", &save);
    vm->em = em;
    vm->numa_node = 1;
    vm->window_fd = -1;
    vm->tick.fire = tick;
    vm->node = word ? box_node_find(em->box, word) : NULL;
    if (!vm->node || vm->node->vm)
        return err_set(e, ERR_NODE_UNKNOWN, "--vm %.80s: no such node, or named twice", text);
    while ((word = strtok_r(NULL, ",", &save))) {
        char *value = strchr(word, '=');

        if (!value)
            return err_set(e, ERR_FIELD_INVALID, "--vm %.80s: %.40s has no value", text, word);
        *value++ = '\0';
        if (set_option(vm, word, value, e) < 0)
            return -1;
    }
    if (!vm->qmp_path[0])
        return err_set(e, ERR_FIELD_MISSING, "--vm %.80s: qmp=SOCKET is missing", text);
    if (qmp_new(&vm->qmp, em->loop, vm->qmp_path, &qmp_ops, vm, e) < 0)
        return -1;
    loop_after(em->loop, &vm->tick, TICK_MS);
    vm->node->state->on = false; /* until its machine answers */
    vm->node->vm = vm;
    vm->next = em->vms;
    em->vms = TAKE(vm);
    return 0;
}

void vms_free(struct emulator *em)
{
    for (struct vm *vm = em->vms, *next; vm; vm = next) {
        next = vm->next;
        vm->node->vm = NULL;
        loop_cancel(em->loop, &vm->tick);
        qmp_free(vm->qmp);
        cleanup_close(&vm->window_fd);
        free(vm);
    }
    em->vms = NULL;
}
