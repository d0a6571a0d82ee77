/* touch.h - one store and one load in memory that just came online: does it answer?
 *
 * A process gets pages, not addresses.  So pages are taken, of the NUMA node where one can be named, until the kernel
 * says that one of them lies in the range (/proc/self/pagemap, which tells it to CAP_SYS_ADMIN only).  Where the node
 * has other free memory, that may be used up first: the search takes at most 16 MiB and a quarter of the range, for
 * some milliseconds, and then gives up.  Keeps nothing.  Runs in the hot-plug child: it may not come back. */
#ifndef MEMLANE_AGENT_TOUCH_H
#define MEMLANE_AGENT_TOUCH_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

/* Where pages lie: fills 'addrs' with the physical addresses of 'n' pages of this process, 0 for one that is not told.
 */
typedef int touch_locate(void *arg, const char *pages, size_t n, uint64_t *addrs, struct err *e);

struct touch_range {
    uint64_t start_addr, size_bytes;
    int numa_node; /* -1: cannot be said */
};

/* 'locate' NULL: the kernel is asked.  ERR_UNAVAILABLE: no page of the range was found, which says nothing of the
 * memory; ERR_HARDWARE: one was, and does not keep what is written. */
MUST_CHECK int touch_range(const struct touch_range *r, touch_locate *locate, void *arg, struct err *e);

#endif
