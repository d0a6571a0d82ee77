/* history.h - the worker that reads history (SQL, read-only connection) so that no HTTP handler does.
 *
 * One thread, a short queue.  A job runs on the worker and is then done with: its owner is woken from inside 'run'. */
#ifndef MEMLANE_HISTORY_H
#define MEMLANE_HISTORY_H

#include "store.h"

struct history;

struct job { /* embedded; the worker's until 'run' is called */
    /* 'r' is NULL when the database cannot be opened: 'e' says why. */
    void (*run)(struct job *j, struct store_reader *r, const struct err *e);
    struct job *next;
};

MUST_CHECK int history_start(struct history **out, const char *db_path, struct err *e);
void history_free(struct history *h);                                           /* finishes the queue; ignores NULL */
MUST_CHECK int history_submit(struct history *h, struct job *j, struct err *e); /* ERR_TOO_MANY */

#endif
