/* rackcheck.h - what must be so in a rack that is at rest, belief against what agents report.
 *
 * The invariants of a live rack that a model can answer; store.h answers those about history.  A result is unknown
 * where a node that would have to say so does not report, or says what may be so or not (an error that was captured
 * once).  Reads the published model; pure. */
#ifndef MEMLANE_RACKCHECK_H
#define MEMLANE_RACKCHECK_H

#include "model.h"

enum check_result { CHECK_OK, CHECK_UNKNOWN, CHECK_VIOLATED };
extern const char *const check_result_names[]; /* "ok", "unknown", "violated", NULL */

#define CHECK_OBJECTS_MAX 16

struct check {
    unsigned invariant; /* its number */
    const char *name;
    enum check_result result; /* the worst of all that was looked at */
    unsigned n_checked, n_unknown, n_violated;
    char detail[256];   /* of the first that is violated, else of the first unknown; else what was counted */
    unsigned n_objects; /* that are violated or unknown */
    char objects[CHECK_OBJECTS_MAX][192];
};

/* One thing was looked at.  'object' as in events; 'detail' only when it is not CHECK_OK. */
void check_note(struct check *c, enum check_result r, const char *object, const char *fmt, ...) PRINTF(4, 5);

#define RACKCHECK_N 5
void rackcheck(const struct model *m, struct check out[RACKCHECK_N]);

#endif
