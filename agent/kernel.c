/* kernel.c - see kernel.h. */
#include "kernel.h"

#include "block.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_LINE_SIZE 8192
#define LINE_SIZE 512
#define LINES_MAX 100000
#define MEMMAP_PARAMETER "module/memory_hotplug/parameters/memmap_on_memory"

const char *const kernel_option_names[KERNEL_N_OPTIONS] = {
    [KERNEL_HOTPLUG] = "CONFIG_MEMORY_HOTPLUG",
    [KERNEL_HOTREMOVE] = "CONFIG_MEMORY_HOTREMOVE",
    [KERNEL_PROBE] = "CONFIG_ARCH_MEMORY_PROBE",
    [KERNEL_OCXL] = "CONFIG_OCXL",
};

void kernel_config_line(struct kernel_facts *out, const char *line)
{
    for (size_t i = 0; i < KERNEL_N_OPTIONS; i++) {
        size_t len = strlen(kernel_option_names[i]);
        if (strncmp(line, kernel_option_names[i], len) == 0 && line[len] == '=')
            out->options[i] = line[len + 1] == 'y' || line[len + 1] == 'm' ? KERNEL_YES : KERNEL_NO;
    }
}

void kernel_command_line(struct kernel_facts *out, const char *text)
{
    static const char policy[] = "memhp_default_state=";
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, " \t\n");
        if (len == strlen("movable_node") && strncmp(p, "movable_node", len) == 0)
            out->movable_node = true;
        if (len >= sizeof policy && strncmp(p, policy, sizeof policy - 1) == 0)
            snprintf(out->boot_policy, sizeof out->boot_policy, "%.*s", (int)(len - sizeof policy + 1),
                     p + sizeof policy - 1);
        p += len;
        p += strspn(p, " \t\n");
    }
}

/* An option that a configuration does not name is not set: what depends on something that is missing is left out. */
static void begin_config(struct kernel_facts *out)
{
    for (size_t i = 0; i < KERNEL_N_OPTIONS; i++)
        out->options[i] = KERNEL_NO;
}

static void close_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

static bool read_boot_config(struct kernel_facts *out, const char *boot_dir)
{
    char path[1200], line[LINE_SIZE];
    if (out->release[0] == '\0' || strchr(out->release, '/'))
        return false;
    snprintf(path, sizeof path, "%s/config-%s", boot_dir, out->release);
    CLEANUP(close_file) FILE *f = fopen(path, "re");
    if (!f)
        return false;
    begin_config(out);
    for (unsigned n = 0; n < LINES_MAX && fgets(line, sizeof line, f); n++)
        kernel_config_line(out, line);
    return true;
}

/* libz is loaded for this only, where it is there: curl brings it along nearly everywhere. */
static bool read_gz_config(struct kernel_facts *out, const struct sysfs *proc)
{
    void *(*gz_open)(int fd, const char *mode);
    char *(*gz_gets)(void *file, char *buf, int size);
    int (*gz_close)(void *file);
    int fd = openat(proc->root_fd, "config.gz", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *lib = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    void *file = NULL;
    if (lib) {
        *(void **)&gz_open = dlsym(lib, "gzdopen");
        *(void **)&gz_gets = dlsym(lib, "gzgets");
        *(void **)&gz_close = dlsym(lib, "gzclose");
        if (gz_open && gz_gets && gz_close)
            file = gz_open(fd, "r");
    }
    if (file) {
        char line[LINE_SIZE];
        begin_config(out);
        for (unsigned n = 0; n < LINES_MAX && gz_gets(file, line, sizeof line); n++)
            kernel_config_line(out, line);
        gz_close(file);
    } else {
        close(fd);
    }
    if (lib)
        dlclose(lib);
    return file != NULL;
}

/* A short text file; empty when it cannot be read or does not fit. */
static void read_short(const struct sysfs *fs, const char *path, char *out, size_t size)
{
    char text[SYSFS_TEXT];
    struct err e = { 0 };
    out[0] = '\0';
    if (sysfs_read(fs, path, text, sizeof text, &e) == 0 && strlen(text) < size)
        memcpy(out, text, strlen(text) + 1);
}

void kernel_facts_refresh(struct kernel_facts *out, const struct sysfs *sys)
{
    char memmap[16];
    read_short(sys, BLOCK_DIR "/auto_online_blocks", out->policy, sizeof out->policy);
    read_short(sys, MEMMAP_PARAMETER, memmap, sizeof memmap);
    if (memmap[0] != '\0')
        out->memmap_on_memory = memmap[0] == 'N' || memmap[0] == '0' ? KERNEL_NO : KERNEL_YES;
}

void kernel_facts_read(struct kernel_facts *out, const struct sysfs *sys, const struct sysfs *proc,
                       const char *boot_dir)
{
    struct err e = { 0 };
    memset(out, 0, sizeof *out);
    read_short(proc, "sys/kernel/osrelease", out->release, sizeof out->release);
    kernel_facts_refresh(out, sys);
    CLEANUP(cleanup_free) char *text = malloc(COMMAND_LINE_SIZE);
    if (text && sysfs_read(proc, "cmdline", text, COMMAND_LINE_SIZE, &e) == 0)
        kernel_command_line(out, text);
    if (!read_gz_config(out, proc))
        read_boot_config(out, boot_dir);
}
