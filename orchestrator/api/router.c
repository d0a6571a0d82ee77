/* router.c - see router.h. */
#include "api/router.h"

#include <stdio.h>
#include <string.h>

const char *const access_names[] = { "open", "viewer", "operator", "admin", "self", "enrol", "agent", NULL };

/* Compares one segment of the pattern; '*pattern' moves behind it. */
static bool segment_fits(const char **pattern, const char *segment, const char **param)
{
    const char *begin = *pattern + 1;
    const char *end = strchrnul(begin, '/');
    *pattern = end;
    if (*begin == '{') {
        *param = segment;
        return true;
    }
    return strlen(segment) == (size_t)(end - begin) && memcmp(segment, begin, (size_t)(end - begin)) == 0;
}

static bool path_fits(const char *pattern, const struct target *t, const char *params[ROUTE_PARAMS])
{
    unsigned n_params = 0;
    if (strcmp(pattern, "/") == 0)
        return t->n_segments == 0;
    for (unsigned i = 0; i < t->n_segments; i++) {
        const char *param = NULL;
        if (*pattern == '\0' || !segment_fits(&pattern, t->segments[i], &param))
            return false;
        if (param && n_params < ROUTE_PARAMS)
            params[n_params++] = param;
    }
    return *pattern == '\0';
}

static void allow(struct match *m, const char *method)
{
    size_t len = strlen(m->allow);
    snprintf(m->allow + len, sizeof m->allow - len, "%s%s", len ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        allow(m, "HEAD");
}

void router_match(struct match *out, const struct route *table, size_t n, const char *method, const struct target *t)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        const char *params[ROUTE_PARAMS] = { NULL };
        if (!path_fits(table[i].pattern, t, params))
            continue;
        allow(out, table[i].method);
        if (!out->route && strcmp(table[i].method, wanted) == 0) {
            out->route = &table[i];
            memcpy(out->params, params, sizeof params);
        }
    }
}
