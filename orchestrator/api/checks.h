/* checks.h - one look at all invariants at a time, for however many ask.
 *
 * A look reads the whole file on the history worker, which everybody else needs, too.  Whoever comes while one is under
 * way shares the next: what is answered was looked at after it was asked for.  That one queues up behind the other jobs
 * of the worker. */
#ifndef MEMLANE_CHECKS_H
#define MEMLANE_CHECKS_H

#include "api/request.h"

struct checks;

/* A look: worker thread.  NULL and 'e' on error. */
typedef json_t *check_look(struct api *a, struct store_reader *r, struct err *e);

MUST_CHECK int checks_new(struct checks **out, struct api *a, check_look *look, struct err *e); /* borrows 'a' */
void checks_free(struct checks *c); /* when no request waits any more; ignores NULL */
/* Parks the request; on the HTTP thread its 'next' runs with 'rc', and 'answer' or 'err'. */
void checks_join(struct checks *c, struct request *rq, void (*next)(struct request *rq));
uint64_t checks_done(struct checks *c); /* looks since the start */

#endif
