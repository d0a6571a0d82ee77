/* ocxl.h - libocxl, loaded at run time: the few calls that Memlane needs, and typed helpers around them.
 *
 * libocxl exists on POWER only, and emulated racks bring a drop-in, so nothing links it.  The declarations are our own,
 * of the ABI of libocxl 1.2 (libocxl.so.1, libocxl.h of OpenCAPI/libocxl).  What a library of ours has to export:
 *   ocxl_afu_open_from_dev  ocxl_afu_attach  ocxl_afu_close  ocxl_mmio_map  ocxl_mmio_unmap  ocxl_mmio_read64
 *   ocxl_mmio_write64  ocxl_afu_event_check_versioned  ocxl_err_to_string
 * A device is not thread-safe; different devices may be used at once. */
#ifndef MEMLANE_OCXL_H
#define MEMLANE_OCXL_H

#include "err.h"
#include "pulse.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ocxl_afu;       /* '*' is libocxl's ocxl_afu_h */
struct ocxl_mmio_area; /* '*' is ocxl_mmio_h */

/* ocxl_err */
enum {
    OCXL_ABI_OK = 0,
    OCXL_ABI_NO_MEM = -1,
    OCXL_ABI_NO_DEV = -2,
    OCXL_ABI_NO_CONTEXT = -3,
    OCXL_ABI_NO_IRQ = -4,
    OCXL_ABI_INTERNAL_ERROR = -5,
    OCXL_ABI_ALREADY_DONE = -6,
    OCXL_ABI_OUT_OF_BOUNDS = -7,
    OCXL_ABI_NO_MORE_CONTEXTS = -8,
    OCXL_ABI_INVALID_ARGS = -9,
};
enum { OCXL_ABI_GLOBAL_MMIO = 0, OCXL_ABI_PER_PASID_MMIO = 1 };                         /* ocxl_mmio_type */
enum { OCXL_ABI_BIG_ENDIAN = 0, OCXL_ABI_LITTLE_ENDIAN = 1, OCXL_ABI_HOST_ENDIAN = 2 }; /* ocxl_endian */
enum { OCXL_ABI_EVENT_IRQ = 0, OCXL_ABI_EVENT_TRANSLATION_FAULT = 1 };                  /* ocxl_event_type */
#define OCXL_ABI_ATTACH_FLAGS_NONE UINT64_C(0)
#define OCXL_ABI_EVENT_VERSION 0

struct ocxl_abi_event { /* ocxl_event */
    int type;
    union {
        struct {
            void *addr;
#ifdef _ARCH_PPC64
            uint64_t dsisr; /* part of the ABI there */
#endif
            uint64_t count;
        } fault;
        uint64_t padding[16];
    };
};

struct ocxl_library {
    void *handle;
    bool emulated; /* an emulator's drop-in: it says so by a function of its own, memlane_ocxl_emulated */
    int (*afu_open_from_dev)(const char *path, struct ocxl_afu **afu);
    int (*afu_attach)(struct ocxl_afu *afu, uint64_t flags);
    int (*afu_close)(struct ocxl_afu *afu);
    int (*mmio_map)(struct ocxl_afu *afu, int type, struct ocxl_mmio_area **area);
    void (*mmio_unmap)(struct ocxl_mmio_area *area);
    int (*mmio_read64)(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t *out);
    int (*mmio_write64)(struct ocxl_mmio_area *area, off_t offset, int endian, uint64_t value);
    int (*event_check)(struct ocxl_afu *afu, int timeout_ms, struct ocxl_abi_event *events, uint16_t n,
                       uint16_t version);
    const char *(*err_to_string)(int err);
    struct pulse *pulse; /* told of each access; may be NULL, as it is after the library was loaded */
};

#define OCXL_DEFAULT_LIBRARY "libocxl.so.1"

/* Loads 'path' (NULL: the system's).  Errors: ERR_HARDWARE with the reason. */
MUST_CHECK int ocxl_library_load(struct ocxl_library *out, const char *path, struct err *e);
void ocxl_library_unload(
    struct ocxl_library *lib); /* after its devices are closed; ignores one that was never loaded */

struct ocxl_device;
/* Opens '/dev/ocxl/IBM,RMEM...' and maps its global MMIO area.  'attach' joins the adapter to this process's address
 * space: memory adapters only, by one process only (hardware rule).  Borrows 'lib'. */
MUST_CHECK int ocxl_device_open(struct ocxl_device **out, const struct ocxl_library *lib, const char *path, bool attach,
                                struct err *e);
void ocxl_device_close(struct ocxl_device *dev); /* ignores NULL */
void ocxl_device_closep(struct ocxl_device **dev);
/* One 64-bit register.  An offset without a register is refused before the hardware sees it.  Errors: ERR_HARDWARE. */
MUST_CHECK int ocxl_device_read(struct ocxl_device *dev, uint64_t offset, uint64_t *value, struct err *e);
MUST_CHECK int ocxl_device_write(struct ocxl_device *dev, uint64_t offset, uint64_t value, struct err *e);
/* Changes only the bits of 'mask'; writes nothing when they are so already. */
MUST_CHECK int ocxl_device_update(struct ocxl_device *dev, uint64_t offset, uint64_t mask, uint64_t bits,
                                  struct err *e);
/* Translation faults that were reported since the last call; attached devices only; does not wait. */
MUST_CHECK int ocxl_device_faults(struct ocxl_device *dev, uint64_t *n_faults, struct err *e);

#endif
