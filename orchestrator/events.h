/* events.h - the live end of the event log: a ring of the newest committed events, and who waits for them.
 *
 * The writer appends after each commit; HTTP threads read.  What has left the ring is in the database
 * (store_reader_events). Thread-safe. */
#ifndef MEMLANE_EVENTS_H
#define MEMLANE_EVENTS_H

#include "core/model.h"

#include <jansson.h>

struct events;

MUST_CHECK int events_new(struct events **out, uint64_t last_id, struct err *e);
void events_free(struct events *ev);
void events_append(struct events *ev, const struct model_event *list, size_t n); /* ids ascending, without gaps */
uint64_t events_last(struct events *ev);
/* Copies up to 'max' events with an id greater than 'after'.  '*gap' when some of them have left the ring. */
size_t events_after(struct events *ev, uint64_t after, struct model_event *out, size_t max, bool *gap);
/* Called on the writer thread after each append; must not block. */
void events_on_append(struct events *ev, void (*wake)(void *arg), void *arg);
json_t *event_json(const struct model_event *ev); /* DESIGN section 12 */

#endif
