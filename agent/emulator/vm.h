/* vm.h - a node that is a virtual machine: its own kernel, its own agent, QEMU around it; the emulator has its adapters
 * only.
 *
 * The machine is on as long as its QEMU answers on QMP; a reset is a loss of power for its adapters.  How borrowed
 * memory gets into the machine: window=FILE  (POWER) the machine's memory at the adapter's window is this file since
 * its start, hidden from its kernel by mem=.  So a section works only if it leads to the same bytes of the same file:
 * every other way is refused when the register is written, and captured as an error when it becomes wrong later.
 *   otherwise    (x86) each buffer that a section leads to is plugged as a DIMM that maps the buffer's file, and
 * unplugged when the section is parked or the buffer is gone. memory=FILE@ADDR: the donor's side of a machine that
 * lends: its memory from guest-physical ADDR on is that file, so what its lender's addresses mean can be found there
 * (donor.h, link.h). One thread. */
#ifndef MEMLANE_EMULATOR_VM_H
#define MEMLANE_EMULATOR_VM_H

#include "emulator.h"

struct vm;

/* 'text': NODE,qmp=SOCKET[,window=FILE[@0xOFFSET]][,memory=FILE@ADDR][,numa=N][,counted=new] (numa: of the DIMMs, 1;
 * counted=new: the window's file is also the machine's own memory (powernv9), so only the pages that appear behind
 * OFFSET are traffic).  Call before the loop runs. */
MUST_CHECK int vm_add(struct emulator *em, const char *text, struct err *e);
void vms_free(struct emulator *em);

/* Before an access of the node's agent is served: takes away what is to go, and answers how long the access has to wait
 * for that (0: no more). */
unsigned vm_delay_ms(struct vm *vm);
/* Whether the section may hold 'value'. */
MUST_CHECK bool vm_allows(struct box_adapter *compute, unsigned section, uint64_t value);
/* Before a counter of this compute adapter is read: what the machine touched since then is traffic of it. */
void vm_count(struct box_adapter *compute);
void vm_power_off(struct vm *vm); /* the machine ends, as one that was fenced */

#endif
