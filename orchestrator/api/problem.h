/* problem.h - errors as RFC 9457 problem documents.  Pure. */
#ifndef MEMLANE_PROBLEM_H
#define MEMLANE_PROBLEM_H

#include "err.h"

#include <jansson.h>

/* 'instance' is the request's id; 'extra' NULL or an object whose members are added.  NULL when memory ran out. */
json_t *problem_json(const struct err *e, const char *instance, const json_t *extra);
json_t *problem_describe(const char *code); /* what /problems/CODE answers; NULL: no such code */

#endif
