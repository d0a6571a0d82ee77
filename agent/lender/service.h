/* service.h - what a lender does with one request: checks it, asks arenas and adapter, fills the answer.  No sockets
 * here, so that tests and fuzzers can call it.  Opens the adapter first and once: its address space is this process's.
 * One thread. */
#ifndef MEMLANE_LENDER_SERVICE_H
#define MEMLANE_LENDER_SERVICE_H

#include "arena.h"
#include "ocxl.h"
#include "protocol.h"

struct service {
    struct arenas *arenas;   /* borrowed */
    const char *device;      /* borrowed */
    const char *library;     /* borrowed; NULL: the system's */
    char lender_id[ID_SIZE]; /* random, fresh */
    struct ocxl_library lib;
    struct ocxl_device *adapter; /* NULL: could not be opened, see 'why' */
    struct err why;
    int64_t retry_ms; /* when to try again */
    uint64_t n_faults;
};

MUST_CHECK int service_init(struct service *s, struct arenas *arenas, const char *device, const char *library,
                            struct err *e);
void service_done(struct service *s);
/* Fills 'out' whatever 'request' is; 'size' is what came in. */
void service_answer(struct service *s, const void *request, size_t size, struct lender_answer *out);

#endif
