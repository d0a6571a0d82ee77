/* adopt.h - what agents hold and this model does not know becomes attachments again.
 *
 * Two occasions.  After an old database was restored an operator adopts (DESIGN section 3): what donor and compute node
 * agree on, in every field of both labels, in the section register and in the path that the cross-connects make, is an
 * attachment as before; attachments that neither side holds any more are over; the rest is kept and shown.  And after a
 * grace of ten minutes a buffer that nobody owns is collected (rule 9): it becomes an attachment that is being
 * detached, so that the normal undo gives it back with the normal proof; one with blocks online in its range on the
 * compute node, under its name, another or none, is kept and shown.  A section that leads somewhere, has nothing in it
 * and was never named by us is collected, too: it is parked (adopt_idle.c).  Pure: no thread, no I/O, the model's
 * clock.
 */
#ifndef MEMLANE_ADOPT_H
#define MEMLANE_ADOPT_H

#include "model.h"

struct adoption {
    unsigned n_adopted, n_ended; /* attachments */
    unsigned n_kept;             /* objects that stay unowned */
};

/* Without m->recovering: only what both sides hold becomes an attachment.  ERR_CONFLICT unless every node but those of
 * 'without' reported since the start, lately.  Every agent has to register again afterwards, with the new epoch. */
MUST_CHECK int adopt_all(struct model *m, const char *const *without, size_t n_without, struct adoption *out,
                         struct err *e);
void adopt_collect(struct model *m);
/* Of adopt_collect(): sections that lead somewhere and were nobody's for so long are parked. */
void adopt_park_idle(struct model *m, int64_t grace_ms);

#endif
