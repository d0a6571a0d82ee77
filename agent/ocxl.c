#include "ocxl.h"

#include "registers.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct ocxl_device {
    const struct ocxl_library *lib;
    struct ocxl_afu *afu;
    struct ocxl_mmio_area *global;
};

int ocxl_library_load(struct ocxl_library *out, const char *path, struct err *e)
{
    struct ocxl_library lib = { .handle = NULL };
    const struct {
        const char *name;
        void **function;
    } symbols[] = {
        { "ocxl_afu_open_from_dev", (void **)&lib.afu_open_from_dev },
        { "ocxl_afu_attach", (void **)&lib.afu_attach },
        { "ocxl_afu_close", (void **)&lib.afu_close },
        { "ocxl_mmio_map", (void **)&lib.mmio_map },
        { "ocxl_mmio_unmap", (void **)&lib.mmio_unmap },
        { "ocxl_mmio_read64", (void **)&lib.mmio_read64 },
        { "ocxl_mmio_write64", (void **)&lib.mmio_write64 },
        { "ocxl_afu_event_check_versioned", (void **)&lib.event_check },
        { "ocxl_err_to_string", (void **)&lib.err_to_string },
    };
    lib.handle = dlopen(path ? path : OCXL_DEFAULT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!lib.handle)
        return err_set(e, ERR_HARDWARE, "cannot load libocxl: %s", dlerror());
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        *symbols[i].function = dlsym(lib.handle, symbols[i].name);
        if (!*symbols[i].function) {
            dlclose(lib.handle);
            return err_set(e, ERR_HARDWARE, "%s has no %s", path ? path : OCXL_DEFAULT_LIBRARY, symbols[i].name);
        }
    }
    lib.emulated = dlsym(lib.handle, "memlane_ocxl_emulated") != NULL;
    *out = lib;
    return 0;
}

void ocxl_library_unload(struct ocxl_library *lib)
{
    if (lib->handle)
        dlclose(lib->handle);
    memset(lib, 0, sizeof *lib);
}

static int failed(const struct ocxl_library *lib, int rc, struct err *e, const char *what, const char *on)
{
    return err_set(e, ERR_HARDWARE, "cannot %s %s: %s", what, on, lib->err_to_string(rc));
}

static int prepare(struct ocxl_device *dev, const char *path, bool attach, struct err *e)
{
    int rc = dev->lib->afu_open_from_dev(path, &dev->afu);
    if (rc != OCXL_ABI_OK) {
        dev->afu = NULL;
        return failed(dev->lib, rc, e, "open", path);
    }
    if (attach && (rc = dev->lib->afu_attach(dev->afu, OCXL_ABI_ATTACH_FLAGS_NONE)) != OCXL_ABI_OK)
        return failed(dev->lib, rc, e, "attach to", path);
    rc = dev->lib->mmio_map(dev->afu, OCXL_ABI_GLOBAL_MMIO, &dev->global);
    if (rc != OCXL_ABI_OK) {
        dev->global = NULL;
        return failed(dev->lib, rc, e, "map the registers of", path);
    }
    return 0;
}

int ocxl_device_open(struct ocxl_device **out, const struct ocxl_library *lib, const char *path, bool attach,
                     struct err *e)
{
    CLEANUP(ocxl_device_closep) struct ocxl_device *dev = calloc(1, sizeof *dev);
    if (!dev)
        return err_set(e, ERR_INTERNAL, "out of memory");
    dev->lib = lib;
    if (prepare(dev, path, attach, e) < 0)
        return -1;
    *out = TAKE(dev);
    return 0;
}

void ocxl_device_close(struct ocxl_device *dev)
{
    if (!dev)
        return;
    if (dev->global)
        dev->lib->mmio_unmap(dev->global);
    if (dev->afu)
        dev->lib->afu_close(dev->afu);
    free(dev);
}

void ocxl_device_closep(struct ocxl_device **dev)
{
    ocxl_device_close(*dev);
}

static int access_failed(const struct ocxl_device *dev, int rc, struct err *e, const char *what, uint64_t offset)
{
    return err_set(e, ERR_HARDWARE, "cannot %s register 0x%" PRIx64 ": %s", what, offset, dev->lib->err_to_string(rc));
}

int ocxl_device_read(struct ocxl_device *dev, uint64_t offset, uint64_t *value, struct err *e)
{
    uint64_t v = 0;
    if (!reg_exists(offset))
        return err_set(e, ERR_HARDWARE, "there is no register 0x%" PRIx64, offset);
    pulse_at(dev->lib->pulse, "a register of an adapter");
    int rc = dev->lib->mmio_read64(dev->global, (off_t)offset, OCXL_ABI_LITTLE_ENDIAN, &v);
    if (rc != OCXL_ABI_OK)
        return access_failed(dev, rc, e, "read", offset);
    *value = v;
    return 0;
}

int ocxl_device_write(struct ocxl_device *dev, uint64_t offset, uint64_t value, struct err *e)
{
    if (!reg_exists(offset))
        return err_set(e, ERR_HARDWARE, "there is no register 0x%" PRIx64, offset);
    pulse_at(dev->lib->pulse, "a register of an adapter");
    int rc = dev->lib->mmio_write64(dev->global, (off_t)offset, OCXL_ABI_LITTLE_ENDIAN, value);
    return rc == OCXL_ABI_OK ? 0 : access_failed(dev, rc, e, "write", offset);
}

int ocxl_device_update(struct ocxl_device *dev, uint64_t offset, uint64_t mask, uint64_t bits, struct err *e)
{
    uint64_t before;
    if (ocxl_device_read(dev, offset, &before, e) < 0)
        return -1;
    uint64_t after = (before & ~mask) | (bits & mask);
    return after == before ? 0 : ocxl_device_write(dev, offset, after, e);
}

int ocxl_device_faults(struct ocxl_device *dev, uint64_t *n_faults, struct err *e)
{
    struct ocxl_abi_event events[8];
    uint64_t total = 0;
    for (int round = 0; round < 64; round++) { /* bounded: faults may come faster than we read them */
        int n = dev->lib->event_check(dev->afu, 0, events, ARRAY_LEN(events), OCXL_ABI_EVENT_VERSION);
        if (n < 0)
            return err_set(e, ERR_HARDWARE, "cannot read the adapter's events");
        for (int i = 0; i < n; i++)
            if (events[i].type == OCXL_ABI_EVENT_TRANSLATION_FAULT)
                total += events[i].fault.count;
        if (n < (int)ARRAY_LEN(events))
            break;
    }
    *n_faults = total;
    return 0;
}
