/* traffic.h - what a virtual machine did with memory that a file backs: which of its pages its QEMU touched, by the
 * marks that the processor leaves in QEMU's page tables (smaps: "Referenced").  No state; one thread.
 *
 * What a machine reads and writes does not pass through the emulator, so this is how its adapters' counters learn of
 * it: a page is counted once between two looks, however often it was used. */
#ifndef MEMLANE_EMULATOR_TRAFFIC_H
#define MEMLANE_EMULATOR_TRAFFIC_H

#include <stdint.h>
#include <sys/types.h>

struct traffic_file {
    dev_t device;
    ino_t inode;
    uint64_t start, end; /* what of the file counts: mappings that lie within */
    uint64_t bytes;      /* out: of pages touched since the last look */
};

/* Fills in 'bytes' of each file, and begins a new count for all of the process.  They are 0 when nobody can tell. */
void traffic_look(pid_t pid, struct traffic_file *files, unsigned n);
/* Where one mapping is more than the window: how many bytes of the file, from 'start' on, have pages.  A page that the
 * machine uses for the first time is one more.  0 when nobody can tell. */
uint64_t traffic_pages(int fd, uint64_t start);

#endif
