/* target.h - a request target ("/v1/nodes/n1?limit=5") taken apart: decoded path segments and query pairs.
 *
 * Pure; made for hostile input.  Refuses what is not origin form, bad escapes, %00 and other control characters,
 * invalid UTF-8, "." and ".." segments, empty segments in the middle, and anything beyond the limits below. */
#ifndef MEMLANE_TARGET_H
#define MEMLANE_TARGET_H

#include "err.h"

#include <stddef.h>

#define TARGET_MAX 2048
#define TARGET_SEGMENTS 8
#define TARGET_QUERY 16

struct target {
    unsigned n_segments, n_query;
    const char *segments[TARGET_SEGMENTS]; /* into 'text' */
    struct {
        const char *name, *value;
    } query[TARGET_QUERY];
    char raw[TARGET_MAX];  /* as sent */
    char text[TARGET_MAX]; /* decoded, cut into strings */
};

/* A failed parse leaves no segments and no query; 'raw' holds what fits. */
MUST_CHECK int target_parse(struct target *out, const char *uri, struct err *e);
const char *target_query(const struct target *t, const char *name); /* NULL when absent */
bool utf8_valid(const char *s, size_t len);

#endif
