/* observed.h - registrations and reports of agents -> the model.  Pure; afterwards the caller runs lifecycle_advance().
 */
#ifndef MEMLANE_OBSERVED_H
#define MEMLANE_OBSERVED_H

#include "model.h"

/* Whether the machine may be the node that it claims to be; observed_register() looks, too. */
MUST_CHECK int observed_check(const struct model *m, const struct wire_registration *r, struct err *e);
/* A node registers: new, again, or after a boot.  'session' is the caller's new random id.
 * ERR_IDENTITY_CONFLICT: the name belongs to another machine, or to other adapters.  ERR_PROTOCOL.  ERR_FORBIDDEN: this
 * boot was fenced. */
MUST_CHECK int observed_register(struct model *m, const struct wire_registration *r, const char *session, uint32_t *out,
                                 struct err *e);
/* A full report.  '*changed' says whether anything but the heartbeat is new (volatile heartbeat changes are not
 * stored). ERR_SESSION_STALE: another session, an older sequence, or another epoch. */
MUST_CHECK int observed_report(struct model *m, uint32_t node, const struct wire_observed *o, bool *changed,
                               struct err *e);
#endif
