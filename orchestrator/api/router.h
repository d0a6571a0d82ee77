/* router.h - from method and path to a route.  Pure: works on any table, so that tests and fuzzers can bring their own.
 */
#ifndef MEMLANE_ROUTER_H
#define MEMLANE_ROUTER_H

#include "api/target.h"

#define ROUTE_PARAMS 2
#define ALLOW_SIZE 48 /* "GET, HEAD, POST, PUT, PATCH, DELETE" */

enum access {
    ACCESS_OPEN,     /* anyone */
    ACCESS_VIEWER,   /* viewer and above */
    ACCESS_OPERATOR, /* operator and above */
    ACCESS_ADMIN,
    ACCESS_SELF,  /* any person's role */
    ACCESS_ENROL, /* a join token or an agent's credential */
    ACCESS_AGENT  /* the credential of the node that the path names */
};
extern const char *const access_names[];

struct request;
struct route {
    const char *method;  /* "GET" serves HEAD too */
    const char *pattern; /* "/v1/nodes/{name}" */
    enum access access;
    void (*handle)(struct request *rq);
    const char *query; /* the parameters that it takes, separated by spaces; any other is refused */
};

struct match {
    const struct route *route;        /* NULL: none */
    const char *params[ROUTE_PARAMS]; /* into the target */
    char allow[ALLOW_SIZE];           /* methods of this path; empty: no such path */
};

void router_match(struct match *out, const struct route *table, size_t n, const char *method, const struct target *t);

#endif
