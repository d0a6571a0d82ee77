/* labels.h - what an agent writes down about its segments, so that after a restart it can tell what is whose.
 *
 * One small file per segment, RUN_DIR/labels/ID, written to a temporary name, renamed into place; its last word changes
 * in place.  Not truth: kernel and adapters are; a label without blocks is dropped, blocks without a label are reported
 * without an id.  A label of an earlier boot is worth nothing and removed when read.  Not thread-safe: the job thread
 * calls it. */
#ifndef MEMLANE_AGENT_LABELS_H
#define MEMLANE_AGENT_LABELS_H

#include "err.h"
#include "names.h"

#include <stddef.h>
#include <stdint.h>

struct label {
    char id[ID_SIZE];
    char adapter[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    bool touched; /* its memory answered through the fabric when it came online */
};

struct labels;

/* Makes RUN_DIR/labels where it is missing. */
MUST_CHECK int labels_open(struct labels **out, const char *run_dir, const char *boot_id, struct err *e);
void labels_close(struct labels *l); /* ignores NULL */
/* Atomic; the same label again costs nothing but the write. */
MUST_CHECK int labels_put(struct labels *l, const struct label *label, struct err *e);
/* Notes in the label, which is there, that the segment's memory answered; in place, which is cheap. */
MUST_CHECK int labels_touch(struct labels *l, const char *id, struct err *e);
MUST_CHECK int labels_remove(struct labels *l, const char *id, struct err *e); /* a missing one: 0 */
/* Calls 'each' for every valid label of this boot; damaged ones and those of another boot are removed and logged. */
MUST_CHECK int labels_each(struct labels *l, void (*each)(void *arg, const struct label *label), void *arg,
                           struct err *e);

#endif
