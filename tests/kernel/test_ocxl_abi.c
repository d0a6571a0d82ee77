/* Our declarations of libocxl (agent/ocxl.h), which nothing links, against the real libocxl.h of ppc64el; and the real
 * libocxl.so.1, loaded the way the agent loads it. */
#include "ocxl.h"

#include "unit_main.h"
#include "units.h"

#include <check.h>
#include <libocxl.h>
#include <stddef.h>
#include <string.h>

#define SAME_VALUE(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
SAME_VALUE(OCXL_ABI_OK, OCXL_OK);
SAME_VALUE(OCXL_ABI_NO_MEM, OCXL_NO_MEM);
SAME_VALUE(OCXL_ABI_NO_DEV, OCXL_NO_DEV);
SAME_VALUE(OCXL_ABI_NO_CONTEXT, OCXL_NO_CONTEXT);
SAME_VALUE(OCXL_ABI_NO_IRQ, OCXL_NO_IRQ);
SAME_VALUE(OCXL_ABI_INTERNAL_ERROR, OCXL_INTERNAL_ERROR);
SAME_VALUE(OCXL_ABI_ALREADY_DONE, OCXL_ALREADY_DONE);
SAME_VALUE(OCXL_ABI_OUT_OF_BOUNDS, OCXL_OUT_OF_BOUNDS);
SAME_VALUE(OCXL_ABI_NO_MORE_CONTEXTS, OCXL_NO_MORE_CONTEXTS);
SAME_VALUE(OCXL_ABI_INVALID_ARGS, OCXL_INVALID_ARGS);
SAME_VALUE(OCXL_ABI_GLOBAL_MMIO, OCXL_GLOBAL_MMIO);
SAME_VALUE(OCXL_ABI_PER_PASID_MMIO, OCXL_PER_PASID_MMIO);
SAME_VALUE(OCXL_ABI_BIG_ENDIAN, OCXL_MMIO_BIG_ENDIAN);
SAME_VALUE(OCXL_ABI_LITTLE_ENDIAN, OCXL_MMIO_LITTLE_ENDIAN);
SAME_VALUE(OCXL_ABI_HOST_ENDIAN, OCXL_MMIO_HOST_ENDIAN);
SAME_VALUE(OCXL_ABI_EVENT_IRQ, OCXL_EVENT_IRQ);
SAME_VALUE(OCXL_ABI_EVENT_TRANSLATION_FAULT, OCXL_EVENT_TRANSLATION_FAULT);
SAME_VALUE(OCXL_ABI_ATTACH_FLAGS_NONE, OCXL_ATTACH_FLAGS_NONE);

_Static_assert(sizeof(struct ocxl_abi_event) == sizeof(ocxl_event), "ocxl_event");
_Static_assert(offsetof(struct ocxl_abi_event, type) == offsetof(ocxl_event, type), "ocxl_event.type");
_Static_assert(offsetof(struct ocxl_abi_event, fault.addr) == offsetof(ocxl_event, translation_fault.addr), "addr");
_Static_assert(offsetof(struct ocxl_abi_event, fault.dsisr) == offsetof(ocxl_event, translation_fault.dsisr), "dsisr");
_Static_assert(offsetof(struct ocxl_abi_event, fault.count) == offsetof(ocxl_event, translation_fault.count), "count");

/* An enumeration travels as an int.  Which functions take one, and where, is checked with the library's own types; that
 * ours are the same but for that, by a conversion that the compiler would refuse. */
_Static_assert(sizeof(ocxl_err) == sizeof(int) && sizeof(ocxl_endian) == sizeof(int), "enumerations are ints");
_Static_assert(sizeof(ocxl_mmio_type) == sizeof(int) && sizeof(ocxl_event_type) == sizeof(int),
               "enumerations are ints");
#define SAME_TYPE(function, ...)                                                                                       \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&function), __VA_ARGS__), #function)
SAME_TYPE(ocxl_afu_open_from_dev, ocxl_err (*)(const char *, struct ocxl_afu **));
SAME_TYPE(ocxl_afu_attach, ocxl_err (*)(struct ocxl_afu *, uint64_t));
SAME_TYPE(ocxl_afu_close, ocxl_err (*)(struct ocxl_afu *));
SAME_TYPE(ocxl_mmio_map, ocxl_err (*)(struct ocxl_afu *, ocxl_mmio_type, struct ocxl_mmio_area **));
SAME_TYPE(ocxl_mmio_unmap, void (*)(struct ocxl_mmio_area *));
SAME_TYPE(ocxl_mmio_read64, ocxl_err (*)(struct ocxl_mmio_area *, off_t, ocxl_endian, uint64_t *));
SAME_TYPE(ocxl_mmio_write64, ocxl_err (*)(struct ocxl_mmio_area *, off_t, ocxl_endian, uint64_t));
SAME_TYPE(ocxl_afu_event_check_versioned, int (*)(struct ocxl_afu *, int, ocxl_event *, uint16_t, uint16_t));
SAME_TYPE(ocxl_err_to_string, const char *(*)(ocxl_err));
#define OURS(member, ...)                                                                                              \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((struct ocxl_library *)0)->member), __VA_ARGS__), #member)
OURS(afu_open_from_dev, int (*)(const char *, struct ocxl_afu **));
OURS(afu_attach, int (*)(struct ocxl_afu *, uint64_t));
OURS(afu_close, int (*)(struct ocxl_afu *));
OURS(mmio_map, int (*)(struct ocxl_afu *, int, struct ocxl_mmio_area **));
OURS(mmio_unmap, void (*)(struct ocxl_mmio_area *));
OURS(mmio_read64, int (*)(struct ocxl_mmio_area *, off_t, int, uint64_t *));
OURS(mmio_write64, int (*)(struct ocxl_mmio_area *, off_t, int, uint64_t));
OURS(event_check, int (*)(struct ocxl_afu *, int, struct ocxl_abi_event *, uint16_t, uint16_t));
OURS(err_to_string, const char *(*)(int));

START_TEST(the_real_library_is_loaded_and_answers)
{
    struct ocxl_library lib;
    struct err e = { 0 };
    ck_assert_msg(ocxl_library_load(&lib, NULL, &e) == 0, "%s", e.detail);
    ck_assert_str_ne(lib.err_to_string(OCXL_NO_DEV), lib.err_to_string(OCXL_NO_MEM));
    ocxl_library_unload(&lib);
}
END_TEST

START_TEST(a_missing_device_is_an_error_that_says_so)
{
    struct ocxl_library lib;
    struct ocxl_device *dev = NULL;
    struct err e = { 0 };
    ck_assert_msg(ocxl_library_load(&lib, OCXL_DEFAULT_LIBRARY, &e) == 0, "%s", e.detail);
    ck_assert_int_lt(ocxl_device_open(&dev, &lib, "/dev/ocxl/IBM,RMEM.0004:00:00.1.0", false, &e), 0);
    ck_assert_int_eq(e.code, ERR_HARDWARE);
    ck_assert_ptr_nonnull(strstr(e.detail, "/dev/ocxl/IBM,RMEM.0004:00:00.1.0"));
    ck_assert_ptr_null(dev);
    ocxl_library_unload(&lib);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ocxl_abi");
    TCase *t = tcase_create("real");
    tcase_add_test(t, the_real_library_is_loaded_and_answers);
    tcase_add_test(t, a_missing_device_is_an_error_that_says_so);
    suite_add_tcase(s, t);
    return unit_main(s);
}
