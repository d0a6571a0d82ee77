/* mix.h - what the compared cases were; the run fails when they were too much alike. */
#ifndef REFERENCE_MIX_H
#define REFERENCE_MIX_H

#include "generate.h"
#include "reference.h"

struct mix {
    unsigned sessions, racks[N_RACK_KINDS];
    unsigned lines, cases, committed, chosen, beyond_section, releases, link_lines, node_lines, errors;
    unsigned policies[N_POLICIES];
    unsigned cases_refused[N_RULES]; /* cases in which the rule decides on a donor at least */
    unsigned refusals[N_RULES];
    unsigned no_compute_adapter, compute_not_ready;
    unsigned cheapest_busy, bonded, bonded_chosen, shares, donors_tie, paths_tie;
    unsigned different; /* cases, or other lines, that differ from the reference */
};

void mix_count(struct mix *m, const json_t *line, const json_t *reference, const struct facts *f);
void mix_add(struct mix *to, const struct mix *m);
/* Prints everything; returns the number of floors (DESIGN: the mix) that are not reached. */
unsigned mix_print(const struct mix *m);

#endif
