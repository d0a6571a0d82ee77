/* paths.h - the cheapest paths over a fabric (DESIGN section 5), exactly.
 *
 * A path runs from a port of a compute adapter over links and at most PATH_SWITCHES_MAX switches to a port of a memory
 * adapter.  Order of paths: cost, number of links, port names compared one by one as bytes (by their ranks here).
 *
 * Which ports are busy is asked of the model.  One search from a compute adapter answers every memory port: labels per
 * (switch, number of switches so far); they are exact, because a path that visits a switch twice is never the best.
 * A single pair is answered at once, from the trunks of the two switches at its ends.  Not thread-safe: scratch space
 * inside. */
#ifndef MEMLANE_PATHS_H
#define MEMLANE_PATHS_H

#include "fabric.h"

struct paths;

MUST_CHECK int paths_new(struct paths **out, const struct fabric *f, struct err *e); /* borrows 'f' */
void paths_free(struct paths *p);                                                    /* ignores NULL */

/* Which ports and links a path may use. */
struct path_rules {
    const struct model *m;
    bool all_free;     /* as if no circuit were there */
    unsigned min_gbps; /* of every link and adapter port; 0: any */
};

/* Orders two legs: cost, links, port names; like strcmp(). */
int path_compare(const struct fabric *f, const struct leg *a, const struct leg *b);
/* Port names only; a leg that is the beginning of the other comes first. */
int path_compare_names(const struct fabric *f, const struct leg *a, const struct leg *b);

/* Searches from all ports of the compute adapter.  There are PATHS_SLOTS independent searches; the answers of one stay
 * until the next search in its slot.  'rules->m' is borrowed until then.  ERR_INTERNAL: memory ran out. */
#define PATHS_SLOTS (2 * WIRE_MAX_ADAPTERS)
MUST_CHECK int paths_search(struct paths *p, unsigned slot, const struct path_rules *rules, uint32_t compute_adapter,
                            struct err *e);
/* Of the last search in this slot: the best path to this memory adapter; false when there is none. */
bool paths_best(const struct paths *p, unsigned slot, uint32_t memory_adapter, struct leg *out);

/* The same for one pair, without a search: in the number of trunks of the two switches at the ends. */
bool paths_between(const struct fabric *f, const struct path_rules *rules, uint32_t compute_adapter,
                   uint32_t memory_adapter, struct leg *out);

/* Bonded: port 0 to port 0 and port 1 to port 1 over disjoint ports; the best pair by larger cost, sum, links, names of
 * leg 0, names of leg 1.  Needs no search before.  ERR_INTERNAL only when memory runs out; '*found' says whether there
 * is one. */
MUST_CHECK int paths_bonded(struct paths *p, const struct path_rules *rules, uint32_t compute_adapter,
                            uint32_t memory_adapter, struct leg out[2], bool *found, struct err *e);

#endif
