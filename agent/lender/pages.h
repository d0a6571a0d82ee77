/* pages.h - address space and pages: reserve, map, populate and lock, zero page, proof.  Hides mmap, mlock, the memory
 * policy and the form of /proc/self/maps.  Keeps no state, takes no heap. */
#ifndef MEMLANE_PAGES_H
#define MEMLANE_PAGES_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

/* Reserves address space that reads as zero; the base is a multiple of 'size', which is a power of two. */
MUST_CHECK int pages_reserve(uint64_t *base, uint64_t size, struct err *e);
void pages_drop(uint64_t base, uint64_t size); /* gives the address space back */
/* Zeroed private memory of which only the pages that are written take any: never a huge page, whatever the kernel's
 * setting.  NULL when there is none; pages_drop() gives it back. */
void *pages_table(size_t size);
/* Maps a piece of a file over a range. */
MUST_CHECK int pages_map(uint64_t addr, uint64_t size, int fd, uint64_t file_offset, struct err *e);
/* Maps the read-only zero page over a range, whatever is there. */
MUST_CHECK int pages_zero(uint64_t addr, uint64_t size, struct err *e);
/* 0 when the kernel says that the whole range is private, read-only and of no file.  'maps_fd': /proc/self/maps. */
MUST_CHECK int pages_prove_zero(int maps_fd, uint64_t addr, uint64_t size, struct err *e);
/* From now on this process takes memory from these NUMA nodes only ("0,2-5"); NULL: from those that have processors,
 * because a node without is borrowed memory, which is not lent on. */
MUST_CHECK int pages_bind(const char *nodes, struct err *e);
uint64_t pages_bound(void); /* to which, bit n: node n; 0: to none, or to one above 63 */
/* Populates a piece of 'fd', mapped at 'addr', with zeroed pages, and locks it. */
MUST_CHECK int pages_populate(int fd, uint64_t file_offset, uint64_t addr, uint64_t size, struct err *e);

#endif
