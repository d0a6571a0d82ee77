/* agent_config.h - the agent's configuration: an INI file, overridden by options.
 *
 * Sections: [agent], [adapter NAME], [switch NAME]; deploy/ has an example of each.  Strict: an unknown section, key or
 * value is an error that names file and line.  Read once at start, never changed afterwards, shared by all threads. */
#ifndef MEMLANE_AGENT_CONFIG_H
#define MEMLANE_AGENT_CONFIG_H

#include "wire.h"

#define CONFIG_PATH 1024

struct adapter_config {
    struct wire_adapter wire;
    char device[CONFIG_PATH];
};

struct switch_config {
    char name[NAME_SIZE];
    char address[CONFIG_PATH]; /* unix:PATH, tcp:HOST:PORT, exec:/PROGRAM */
};

struct agent_config {
    char name[NAME_SIZE];
    char url[CONFIG_PATH], ca_file[CONFIG_PATH], join_token_file[CONFIG_PATH];
    char state_dir[CONFIG_PATH], run_dir[CONFIG_PATH];
    char sysfs_root[CONFIG_PATH], procfs_root[CONFIG_PATH], machine_id_file[CONFIG_PATH], emulator_dir[CONFIG_PATH];
    char boot_dir[CONFIG_PATH]; /* of the kernel's build configuration */
    char ocxl_library[CONFIG_PATH];
    char lender_program[CONFIG_PATH]; /* empty: lenders are units of their own */
    char lender_backing[16], lender_backing_dir[CONFIG_PATH];
    char lender_numa_nodes[64]; /* "0,2-5": where lent memory comes from; empty: from nodes with processors */
    char platform[16];          /* "linux", "emulated" */
    uint64_t settle_ms;         /* a channel's training time */
    uint64_t quiesce_ms;        /* waited after the caches were evicted */
    uint64_t block_timeout_ms;  /* without progress on one memory block */
    double time_scale;          /* multiplies the timeouts above, and the retry times */
    unsigned n_adapters, n_switches, n_labels;
    struct adapter_config adapters[WIRE_MAX_ADAPTERS];
    struct switch_config switches[WIRE_MAX_ADAPTERS];
    struct wire_label labels[WIRE_MAX_LABELS];
};

/* Sets the defaults, then reads 'path' when it is not NULL. */
MUST_CHECK int agent_config_load(struct agent_config *out, const char *path, struct err *e);
/* Sets one key of [agent], as an option does.  ERR_FIELD_UNKNOWN, ERR_FIELD_INVALID. */
MUST_CHECK int agent_config_set(struct agent_config *c, const char *key, const char *value, struct err *e);
/* What has to fit together; fills in what depends on other keys.  Call after the last agent_config_set(). */
MUST_CHECK int agent_config_finish(struct agent_config *c, struct err *e);
/* A timeout of this configuration, scaled; at least 1 ms. */
long agent_config_ms(const struct agent_config *c, uint64_t ms);

#endif
