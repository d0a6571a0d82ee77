/* attachment_json.h - an attachment as the API shows it (DESIGN section 12), without its timeline.  Pure. */
#ifndef MEMLANE_ATTACHMENT_JSON_H
#define MEMLANE_ATTACHMENT_JSON_H

#include "core/model.h"

#include <jansson.h>

/* A new reference; NULL when memory ran out.  Also for a row that was released in the transaction under way. */
json_t *attachment_json(const struct model *m, const struct attachment *a);

#endif
