/* kernel.h - what the running kernel was built and booted with, as far as it says so: its build configuration
 * (/proc/config.gz, which needs libz at run time, or config-RELEASE in 'boot_dir'), its command line, and the settings
 * of memory hot-plug.  Reads only; what cannot be read is unknown.  The caller's thread. */
#ifndef MEMLANE_AGENT_KERNEL_H
#define MEMLANE_AGENT_KERNEL_H

#include "sysfs.h"

enum kernel_says { KERNEL_UNKNOWN, KERNEL_NO, KERNEL_YES };

enum kernel_option { KERNEL_HOTPLUG, KERNEL_HOTREMOVE, KERNEL_PROBE, KERNEL_OCXL, KERNEL_N_OPTIONS };

struct kernel_facts {
    char release[64];                           /* empty: unknown */
    enum kernel_says options[KERNEL_N_OPTIONS]; /* built in, or a module */
    char boot_policy[32];                       /* memhp_default_state= of the command line; empty: not given */
    bool movable_node;                          /* given on the command line */
    char policy[32];                            /* auto_online_blocks, now; empty: unknown */
    enum kernel_says memmap_on_memory;          /* descriptors of new memory lie in that memory */
};

extern const char *const kernel_option_names[KERNEL_N_OPTIONS]; /* "CONFIG_MEMORY_HOTREMOVE", ... */

void kernel_facts_read(struct kernel_facts *out, const struct sysfs *sys, const struct sysfs *proc,
                       const char *boot_dir);
/* Only what may change while the kernel runs. */
void kernel_facts_refresh(struct kernel_facts *out, const struct sysfs *sys);
/* One line of a build configuration; another option's changes nothing. */
void kernel_config_line(struct kernel_facts *out, const char *line);
/* The whole command line. */
void kernel_command_line(struct kernel_facts *out, const char *text);

#endif
