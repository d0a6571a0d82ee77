/* lifecycle_internal.h - what lifecycle*.c share; nobody else includes it. */
#ifndef MEMLANE_LIFECYCLE_INTERNAL_H
#define MEMLANE_LIFECYCLE_INTERNAL_H

#include "lifecycle.h"

#define UNREACHABLE_MS 10000 /* a node that is silent for so long is unreachable */

/* The node's last report belongs to its present session and is the result of 'revision' or a later one. */
bool lifecycle_fresh(const struct model *m, uint32_t node, uint64_t revision);
bool lifecycle_fenced(const struct model *m, uint32_t node);
/* The node's desired state changed in this transaction: wake its agent. */
void lifecycle_wake(struct model *m, uint32_t node);

/* One move of the circuit towards what its attachments want; false: nothing to do now. */
bool circuit_advance(struct model *m, uint32_t circuit);
/* Some attachment wants it joined; a severed one is not joined anew, and is left only once nothing is mapped over it.
 */
bool circuit_wanted(const struct model *m, uint32_t circuit);
/* An end came with a new boot: its channels are in reset and have to come up again. */
void circuit_rebooted(struct model *m, uint32_t circuit, uint32_t node);
/* After a restore: steps that touch what others may use by now are taken back, to be published anew when it is proven
 * that nobody does. */
void circuit_restored(struct model *m, uint32_t circuit);
/* After loading: the state that the phase and the attachments tell. */
void circuit_start(struct model *m, uint32_t circuit);
bool circuit_is_opening(const struct circuit *c); /* or open: a section may lead to it */
bool circuit_is_open(const struct circuit *c);    /* observed: channels out of reset and settled */
/* Its switches were read since our start, and said last that it is joined as it should be. */
bool circuit_joined(const struct model *m, const struct circuit *c);
/* As reported now, no section that is mapped sends to these ports of a compute adapter (bit p: port p): what is behind
 * them may be in use by memory that nobody here knows of. */
bool circuit_ports_quiet(const struct model *m, uint32_t compute_adapter, unsigned bits);
/* Something on it is in quarantine: nothing about it changes. */
bool circuit_frozen(const struct model *m, uint32_t circuit);

/* ---- lifecycle.c, for lifecycle_lost.c and lifecycle_time.c ---- */
int64_t lifecycle_scaled(const struct model *m, int64_t ms);
void lifecycle_set_state(struct model *m, struct attachment *a,
                         enum attachment_state state); /* emits when it is another */
void lifecycle_set_reason(struct attachment *a, const char *reason);
/* From here on it is undone, back from the furthest step that was ever published. */
void lifecycle_turn_back(struct model *m, uint32_t attachment, enum attachment_state ending);
void lifecycle_fail(struct model *m, uint32_t attachment, const char *reason); /* turns a pending attach back */
void lifecycle_stick(struct model *m, uint32_t attachment,
                     const char *reason); /* its undo failed: stuck, retried later */
void lifecycle_try_again(struct model *m, uint32_t attachment);
bool lifecycle_park(struct model *m, uint32_t attachment);               /* publishes the undo of map */
bool lifecycle_section_kept(const struct model *m, uint32_t attachment); /* mapped by another one too */
/* ---- lifecycle_way.c: its memory is touched when it is brought online, and read when it is taken offline ----
 * May 'online' be published? */
bool lifecycle_may_online(const struct model *m, uint32_t attachment);
/* A part of the way is known not to answer; 'why' says what is known or feared, or is empty. */
bool lifecycle_way_dead(const struct model *m, uint32_t attachment, char why[WIRE_TEXT]);
/* May the undo of online be published?  False: it is held, for what does not answer, or may not; said once for that. */
bool lifecycle_may_offline(struct model *m, uint32_t attachment);
void lifecycle_stick_held(struct model *m, uint32_t attachment); /* that lasts: stuck, until it may or is told to */
void lifecycle_let_go(struct model *m, uint32_t attachment);     /* it may */
void lifecycle_unpublish_offline(struct model *m, uint32_t attachment); /* the undo of online is as if it never was */
/* The undo of online is published, and the way has died: taken back.  False: there is no need to. */
bool lifecycle_withdraw_offline(struct model *m, uint32_t attachment);
/* An operator's retry: what is only feared to be dead is well.  ERR_CONFLICT: it is known to be dead. */
MUST_CHECK int lifecycle_insist(struct model *m, uint32_t attachment, struct err *e);

/* lifecycle_lost.c: blocks of it may be online in the boot that is still running: its borrower may read it any moment
 */
bool lifecycle_live(const struct model *m, const struct attachment *a);
/* lifecycle_lost.c: after a restore: what was held in other boots than the node's present one is lost.  An attachment
 * may be of a boot that was over before the backup already, so each is looked at; a suspect port stays one. */
void lifecycle_compare_boots(struct model *m, uint32_t node);
/* lifecycle_lost.c: as its node said last, no block of its range is online.  In the boot in which it was brought online
 * the agent has to name it for that: what it cannot read, or whose adapter it does not know, it does not name. */
bool lifecycle_told_offline(const struct model *m, const struct attachment *a);
/* lifecycle_lost.c: notices what is gone; true when that changed something. */
bool lifecycle_check_lost(struct model *m, uint32_t attachment);

#endif
