/* paths.h - every simple path of the fabric from one port: over cables that are not down and at most 3 circuit
 * switches, each switch at most once, to a port of a memory adapter.  Ports in use are not looked at. */
#ifndef REFERENCE_PATHS_H
#define REFERENCE_PATHS_H

#include "rack.h"

struct path_list {
    struct path *items;
    int n;
};

void paths_from(const struct rack *r, int port, struct path_list *out); /* appends */
void paths_done(struct path_list *list);

bool path_usable(const struct rack *r, const struct path *p); /* none of its cables is down */
bool paths_disjoint(const struct path *a, const struct path *b);
int path_links(const struct path *p);
int path_compare_names(const struct rack *r, const struct path *a, const struct path *b); /* one by one, as bytes */

#endif
