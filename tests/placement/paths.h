/* paths.h - every simple path of the fabric from one port: over cables that are not down and at most 3 circuit
 * switches, each switch at most once, to a port of a memory adapter.  Ports in use are not looked at. */
#ifndef REFERENCE_PATHS_H
#define REFERENCE_PATHS_H

#include "rack.h"

struct path_list {
    struct path *items;
    int n;
};

/* The paths from 'port', sorted by nothing but the port they end at: a list for each port of the rack.  The caller
 * ends it with paths_done. */
struct path_list *paths_from(const struct rack *r, int port);
void paths_done(const struct rack *r, struct path_list *to_port); /* NULL is fine */

bool path_usable(const struct rack *r, const struct path *p); /* none of its cables is down */
bool paths_disjoint(const struct path *a, const struct path *b);
int path_links(const struct path *p);
int path_compare_names(const struct rack *r, const struct path *a, const struct path *b); /* one by one, as bytes */

#endif
