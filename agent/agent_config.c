/* agent_config.c - see agent_config.h. */
#include "agent_config.h"

#include "config.h"
#include "units.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum key_kind { KEY_TEXT, KEY_NAME, KEY_MS, KEY_SCALE, KEY_LABELS };

struct key {
    const char *name;
    enum key_kind kind;
    size_t offset, size;
};

#define TEXT_KEY(f)                                                                                                    \
    {                                                                                                                  \
#f, KEY_TEXT, offsetof(struct agent_config, f), sizeof((struct agent_config *)0)->f                            \
    }

static const struct key agent_keys[] = {
    { "name", KEY_NAME, offsetof(struct agent_config, name), NAME_SIZE },
    TEXT_KEY(url),
    TEXT_KEY(ca_file),
    TEXT_KEY(join_token_file),
    TEXT_KEY(state_dir),
    TEXT_KEY(run_dir),
    TEXT_KEY(sysfs_root),
    TEXT_KEY(procfs_root),
    TEXT_KEY(machine_id_file),
    TEXT_KEY(emulator_dir),
    TEXT_KEY(boot_dir),
    TEXT_KEY(ocxl_library),
    TEXT_KEY(lender_program),
    TEXT_KEY(lender_backing),
    TEXT_KEY(lender_backing_dir),
    TEXT_KEY(lender_numa_nodes),
    TEXT_KEY(platform),
    { "settle_ms", KEY_MS, offsetof(struct agent_config, settle_ms), 0 },
    { "quiesce_ms", KEY_MS, offsetof(struct agent_config, quiesce_ms), 0 },
    { "block_timeout_ms", KEY_MS, offsetof(struct agent_config, block_timeout_ms), 0 },
    { "time_scale", KEY_SCALE, offsetof(struct agent_config, time_scale), 0 },
    { "labels", KEY_LABELS, 0, 0 },
};

static int set_text(char *out, size_t size, const char *key, const char *value, struct err *e)
{
    size_t len = strlen(value);
    if (len >= size)
        return err_field(e, ERR_FIELD_INVALID, key, "%s is longer than %zu bytes", key, size - 1);
    memcpy(out, value, len + 1);
    return 0;
}

static int set_name(char out[NAME_SIZE], const char *key, const char *value, struct err *e)
{
    if (!name_valid(value))
        return err_field(e, ERR_FIELD_INVALID, key, "%s is no valid name", key);
    return set_text(out, NAME_SIZE, key, value, e);
}

static int set_u64(uint64_t *out, const char *key, const char *value, uint64_t max, struct err *e)
{
    uint64_t v = 0;
    if (units_parse_u64(value, &v, e) < 0 || v > max)
        return err_field(e, ERR_FIELD_INVALID, key, "%s has to be a number up to %llu", key, (unsigned long long)max);
    *out = v;
    return 0;
}

/* "rack_unit:12,feed:a" */
static int set_labels(struct agent_config *c, const char *value, struct err *e)
{
    struct wire_label labels[WIRE_MAX_LABELS];
    unsigned n = 0;
    for (const char *p = value; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *colon = memchr(p, ':', len);
        size_t key_len = colon ? (size_t)(colon - p) : 0;
        size_t value_len = colon ? len - key_len - 1 : 0;
        if (n == WIRE_MAX_LABELS || key_len == 0 || key_len >= NAME_SIZE || value_len >= NAME_SIZE)
            return err_field(e, ERR_FIELD_INVALID, "labels", "labels are up to %d of KEY:VALUE, separated by commas",
                             WIRE_MAX_LABELS);
        memset(&labels[n], 0, sizeof labels[n]);
        memcpy(labels[n].key, p, key_len);
        memcpy(labels[n].value, colon + 1, value_len);
        if (!label_key_valid(labels[n].key))
            return err_field(e, ERR_FIELD_INVALID, "labels",
                             "the name of label %u is not 1 to 39 letters, digits, '.', '_' or '-'", n + 1);
        if (!label_valid(labels[n].value))
            return err_field(e, ERR_FIELD_INVALID, "labels",
                             "the value of label %u is not 1 to 63 printable characters", n + 1);
        n++;
        p += len;
        p += *p == ',';
    }
    memcpy(c->labels, labels, n * sizeof labels[0]);
    c->n_labels = n;
    return 0;
}

int agent_config_set(struct agent_config *c, const char *key, const char *value, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(agent_keys); i++) {
        const struct key *k = &agent_keys[i];
        if (strcmp(k->name, key) != 0)
            continue;
        void *field = (char *)c + k->offset;
        switch (k->kind) {
        case KEY_TEXT:
            return set_text(field, k->size, key, value, e);
        case KEY_NAME:
            return set_name(field, key, value, e);
        case KEY_MS:
            return set_u64(field, key, value, 24 * 3600 * 1000, e);
        case KEY_SCALE: {
            double v = 0;
            if (units_parse_double(value, &v, e) < 0 || v < 0.001 || v > 1000)
                return err_field(e, ERR_FIELD_INVALID, key, "%s has to be between 0.001 and 1000", key);
            *(double *)field = v;
            return 0;
        }
        case KEY_LABELS:
            return set_labels(c, value, e);
        }
    }
    return err_field(e, ERR_FIELD_UNKNOWN, key, "unknown key %s", key);
}

static int set_adapter(struct adapter_config *a, const char *key, const char *value, struct err *e)
{
    if (strcmp(key, "device") == 0)
        return set_text(a->device, sizeof a->device, key, value, e);
    if (strcmp(key, "role") == 0) {
        bool memory = strcmp(value, "memory") == 0;
        if (!memory && strcmp(value, "compute") != 0)
            return err_field(e, ERR_FIELD_INVALID, key, "role has to be compute or memory");
        a->wire.role = memory ? WIRE_MEMORY : WIRE_COMPUTE;
        return 0;
    }
    if (strcmp(key, "ports") == 0) {
        uint64_t n = 0;
        if (set_u64(&n, key, value, WIRE_PORTS, e) < 0)
            return -1;
        a->wire.ports = (unsigned)n;
        return 0;
    }
    if (strcmp(key, "window_addr") == 0 || strcmp(key, "window_bytes") == 0) {
        uint64_t *out = strcmp(key, "window_addr") == 0 ? &a->wire.window_addr : &a->wire.window_bytes;
        if (units_parse_addr(value, out, e) == 0 || set_u64(out, key, value, INT64_MAX, e) == 0)
            return 0;
        return err_field(e, ERR_FIELD_INVALID, key, "%s has to be an address 0x... or a number", key);
    }
    return err_field(e, ERR_FIELD_UNKNOWN, key, "unknown key %s of an adapter", key);
}

static const char *const adapter_keys[] = { "role", "ports", "device", "window_addr", "window_bytes" };

static int read_agent(struct agent_config *c, const struct config *file, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(agent_keys); i++) {
        const char *key = agent_keys[i].name, *value = config_get(file, "agent", NULL, key, NULL);
        struct err bad = { 0 };
        if (value && agent_config_set(c, key, value, &bad) < 0)
            return config_error(file, "agent", NULL, key, bad.detail, e);
    }
    return 0;
}

static int read_adapter(struct agent_config *c, const struct config *file, const char *name, struct err *e)
{
    struct adapter_config *a = &c->adapters[c->n_adapters];
    if (c->n_adapters == WIRE_MAX_ADAPTERS)
        return err_set(e, ERR_FIELD_INVALID, "more than %d adapters", WIRE_MAX_ADAPTERS);
    memset(a, 0, sizeof *a);
    a->wire.ports = WIRE_PORTS;
    if (set_name(a->wire.name, "adapter", name, e) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(adapter_keys); i++) {
        const char *value = config_get(file, "adapter", name, adapter_keys[i], NULL);
        struct err bad = { 0 };
        if (value && set_adapter(a, adapter_keys[i], value, &bad) < 0)
            return config_error(file, "adapter", name, adapter_keys[i], bad.detail, e);
    }
    c->n_adapters++;
    return 0;
}

static int read_switch(struct agent_config *c, const struct config *file, const char *name, struct err *e)
{
    struct switch_config *s = &c->switches[c->n_switches];
    if (c->n_switches == WIRE_MAX_ADAPTERS)
        return err_set(e, ERR_FIELD_INVALID, "more than %d switches", WIRE_MAX_ADAPTERS);
    memset(s, 0, sizeof *s);
    if (set_name(s->name, "switch", name, e) < 0 ||
        set_text(s->address, sizeof s->address, "address", config_get(file, "switch", name, "address", ""), e) < 0)
        return -1;
    c->n_switches++;
    return 0;
}

static int read_file(struct agent_config *c, const char *path, struct err *e)
{
    struct config_key known[ARRAY_LEN(agent_keys) + ARRAY_LEN(adapter_keys) + 1];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(agent_keys); i++)
        known[n++] = (struct config_key){ "agent", false, agent_keys[i].name };
    for (size_t i = 0; i < ARRAY_LEN(adapter_keys); i++)
        known[n++] = (struct config_key){ "adapter", true, adapter_keys[i] };
    known[n++] = (struct config_key){ "switch", true, "address" };
    CLEANUP(config_freep) struct config *file = NULL;
    if (config_load(&file, path, known, n, e) < 0 || read_agent(c, file, e) < 0)
        return -1;
    const char *name;
    for (size_t i = 0; (name = config_name(file, "adapter", i)); i++)
        if (read_adapter(c, file, name, e) < 0)
            return -1;
    for (size_t i = 0; (name = config_name(file, "switch", i)); i++)
        if (read_switch(c, file, name, e) < 0)
            return -1;
    return 0;
}

int agent_config_load(struct agent_config *out, const char *path, struct err *e)
{
    static const char *const defaults[][2] = {
        { "url", "http://127.0.0.1:8080" },
        { "state_dir", "/var/lib/memlane" },
        { "run_dir", "/run/memlane" },
        { "sysfs_root", "/sys" },
        { "procfs_root", "/proc" },
        { "machine_id_file", "/etc/machine-id" },
        { "boot_dir", "/boot" },
        { "ocxl_library", "libocxl.so.1" },
        { "lender_backing", "locked" },
        { "platform", "linux" },
        { "settle_ms", "5000" },
        { "quiesce_ms", "1000" },
        { "block_timeout_ms", "30000" },
        { "time_scale", "1" },
    };
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (agent_config_set(out, defaults[i][0], defaults[i][1], e) < 0)
            return -1;
    return path ? read_file(out, path, e) : 0;
}

static int check_adapter(const struct adapter_config *a, struct err *e)
{
    const struct wire_adapter *w = &a->wire;
    if (a->device[0] == '\0' || w->ports == 0)
        return err_set(e, ERR_FIELD_INVALID, "adapter %s needs a device and at least one port", w->name);
    uint64_t align = w->window_bytes < TIB ? 16 * MIB : TIB; /* a virtual machine's window is a part of a section */
    if (w->role == WIRE_COMPUTE && (w->window_addr == 0 || w->window_bytes == 0 || w->window_addr % align != 0 ||
                                    w->window_addr + w->window_bytes < w->window_addr))
        return err_set(
            e, ERR_FIELD_INVALID,
            "adapter %s needs window_addr (a multiple of 1 TiB; of 16 MiB when it is smaller) and window_bytes",
            w->name);
    if (w->role == WIRE_MEMORY && (w->window_addr != 0 || w->window_bytes != 0))
        return err_set(e, ERR_FIELD_INVALID, "adapter %s lends memory: it has no window", w->name);
    return 0;
}

/* Two adapters of one device, or of one piece of this machine's address space. */
static int check_adapter_pair(const struct adapter_config *a, const struct adapter_config *b, struct err *e)
{
    const struct wire_adapter *v = &a->wire, *w = &b->wire;
    if (strcmp(a->device, b->device) == 0)
        return err_set(e, ERR_FIELD_INVALID, "adapters %s and %s have the same device", v->name, w->name);
    if (v->role == WIRE_COMPUTE && w->role == WIRE_COMPUTE && v->window_addr < w->window_addr + w->window_bytes &&
        w->window_addr < v->window_addr + v->window_bytes)
        return err_set(e, ERR_FIELD_INVALID, "the windows of adapters %s and %s overlap", v->name, w->name);
    return 0;
}

static int check_adapters(const struct agent_config *c, struct err *e)
{
    for (unsigned i = 0; i < c->n_adapters; i++) {
        if (check_adapter(&c->adapters[i], e) < 0)
            return -1;
        for (unsigned k = 0; k < i; k++)
            if (check_adapter_pair(&c->adapters[k], &c->adapters[i], e) < 0)
                return -1;
    }
    return 0;
}

/* The host's name up to its first dot, in small letters. */
static void default_name(char out[NAME_SIZE])
{
    char host[NAME_SIZE] = "";
    if (gethostname(host, sizeof host - 1) < 0)
        return;
    host[strcspn(host, ".")] = '\0';
    for (char *p = host; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    if (name_valid(host))
        memcpy(out, host, sizeof host);
}

int agent_config_finish(struct agent_config *c, struct err *e)
{
    if (c->name[0] == '\0')
        default_name(c->name);
    if (c->name[0] == '\0')
        return err_field(e, ERR_FIELD_MISSING, "name", "the host's name is no valid node name: set name");
    bool emulated = strcmp(c->platform, "emulated") == 0;
    if (!emulated && strcmp(c->platform, "linux") != 0)
        return err_field(e, ERR_FIELD_INVALID, "platform", "platform has to be linux or emulated");
    if (strcmp(c->lender_backing, "sparse") != 0 && strcmp(c->lender_backing, "locked") != 0)
        return err_field(e, ERR_FIELD_INVALID, "lender_backing", "lender_backing has to be sparse or locked");
    if (emulated && c->emulator_dir[0] == '\0') {
        int n = snprintf(c->emulator_dir, sizeof c->emulator_dir, "%s/../emulator", c->sysfs_root);
        if (n < 0 || (size_t)n >= sizeof c->emulator_dir)
            return err_field(e, ERR_FIELD_INVALID, "sysfs_root", "sysfs_root is too long");
    }
    unsigned long nodes[1024 / (8 * sizeof(unsigned long))] = { 0 };
    if (c->lender_numa_nodes[0] && units_parse_set(c->lender_numa_nodes, nodes, 1024, e) < 0)
        return -1;
    if (check_adapters(c, e) < 0)
        return -1;
    for (unsigned i = 0; i < c->n_switches; i++)
        if (c->switches[i].address[0] == '\0')
            return err_set(e, ERR_FIELD_MISSING, "switch %s needs an address", c->switches[i].name);
    return 0;
}

long agent_config_ms(const struct agent_config *c, uint64_t ms)
{
    double scaled = (double)ms * c->time_scale;
    return scaled < 1 ? 1 : (long)scaled;
}
