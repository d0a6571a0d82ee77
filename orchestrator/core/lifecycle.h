/* lifecycle.h - goals and observations -> the next step of every attachment (DESIGN section 3).
 *
 * Attach: reserved -> lend -> connect -> map -> online -> attached.  Undo goes back from the furthest step ever
 * published. A step is published by raising 'step' (or lowering 'undoing') and noting the revision; it is done when the
 * agents observed it at that revision or later.  Pure: no thread, no I/O, the model's clock. */
#ifndef MEMLANE_LIFECYCLE_H
#define MEMLANE_LIFECYCLE_H

#include "model.h"
#include "placement.h"

/* Places and reserves; the new attachment is 'pending' and its first step published.  'id' is the caller's, unused so
 * far. */
MUST_CHECK int lifecycle_attach(struct model *m, struct topology *t, const struct place_request *r, const char *id,
                                uint32_t *out, struct err *e);
/* DELETE: 'pending', 'attached', 'stuck' become 'detaching'; 'detaching' and 'lost' go on as they are. */
void lifecycle_detach(struct model *m, uint32_t attachment);
MUST_CHECK int lifecycle_retry(struct model *m, uint32_t attachment, struct err *e);  /* ERR_CONFLICT unless stuck */
MUST_CHECK int lifecycle_cancel(struct model *m, uint32_t attachment, struct err *e); /* ERR_TOO_LATE */
/* Advances whatever can be, after an observation or a change.  Ends when nothing moves any more. */
void lifecycle_advance(struct model *m);
/* Time limits: unreachable nodes, attaches without progress, retries.  Answers when to come again (model time, ms). */
int64_t lifecycle_tick(struct model *m);
/* After a batch that could not be committed: what the nodes reported in it is undone, so nobody was silent, and no
 * attachment without progress, meanwhile. */
void lifecycle_excuse_silence(struct model *m);
/* The node came with a new boot id: what it held is lost, nothing more (DESIGN, rule 3). */
void lifecycle_rebooted(struct model *m, uint32_t node);
/* An operator's word that this boot of the node is off (rule 4): what it borrows is given back without its proof, its
 * circuits first.  ERR_CONFLICT: another boot, or a node that was heard within 10 s, our own start counted as hearing.
 */
MUST_CHECK int lifecycle_fence(struct model *m, uint32_t node, const char *boot_id, struct err *e);
/* An operator's word that the switch is off, or out of the rack: it joins nothing, so what waits for it to be cleared
 * goes on; its links are down, and nothing new goes over it.  Memory that is in use over it is not touched: it is in
 * danger, and shown so.  Ends when the switch is read again.  ERR_CONFLICT: it was read within 10 s, our own start
 * counted as reading. */
MUST_CHECK int lifecycle_fence_switch(struct model *m, uint32_t sw, struct err *e);
/* After loading: every clock starts now. */
void lifecycle_start(struct model *m);
/* Bit set of nodes that still hold something of it: bit 0 the compute node, bit 1 the donor. */
unsigned lifecycle_holds(const struct model *m, const struct attachment *a);

/* Whether the attachment wants what 'step' makes to be there: published, and its undo not. */
bool lifecycle_wants(const struct attachment *a, enum step step);
/* The port is the circuit's, as far as the switches were read: no join of its leg leads elsewhere. */
bool circuit_owns_port(const struct model *m, const struct circuit *c, uint32_t port);
/* The section register that the live attachments of (adapter, section) ask for; parked when none does. */
uint64_t lifecycle_section_value(const struct model *m, const struct adapter *a, unsigned section, bool *parked);

#endif
