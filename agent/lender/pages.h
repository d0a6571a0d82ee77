/* pages.h - address space and pages: reserve, zero page, populate and lock, prove.  Hides mmap, mlock, the
 * memory policy and /proc/self/maps.  Keeps no state. */
#ifndef MEMLANE_PAGES_H
#define MEMLANE_PAGES_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

/* Reserves address space that reads as zero; the base is a multiple of 'size' (a power of two) where there is room for
 * that. */
MUST_CHECK int pages_reserve(uint64_t *base, uint64_t size, struct err *e);
void pages_drop(uint64_t base, uint64_t size); /* gives the address space back */
/* Maps the read-only zero page over a range, whatever is there. */
MUST_CHECK int pages_zero(uint64_t addr, uint64_t size, struct err *e);
/* 0 when the kernel says that the whole range is private, read-only and of no file. */
MUST_CHECK int pages_prove_zero(uint64_t addr, uint64_t size, struct err *e);
/* From now on this process takes memory from these NUMA nodes only ("0,2-5"); NULL: from those that have processors,
 * because a node without is borrowed memory, which is not lent on. */
MUST_CHECK int pages_bind(const char *nodes, struct err *e);
/* Populates a piece of 'fd', mapped at 'addr', with zeroed pages, and locks it. */
MUST_CHECK int pages_populate(int fd, uint64_t file_offset, uint64_t addr, uint64_t size, struct err *e);

#endif
