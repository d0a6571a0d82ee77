/* simulate_choice.h - who chooses the donor in a simulation: the engine's policies, and baselines to compare them with.
 *
 * A baseline chooses the donor and nothing else: it asks the same engine for each donor in its own order, pinned, and
 * takes the first that fits; path, section and every rule are the engine's.  Where the engine finds no donor at all no
 * baseline is asked. */
#ifndef MEMLANE_SIMULATE_CHOICE_H
#define MEMLANE_SIMULATE_CHOICE_H

#include "core/placement.h"

enum chooser {
    CHOOSE_NEAREST, /* the engine's, in its order */
    CHOOSE_BALANCED,
    CHOOSE_PACKED,
    CHOOSE_LEAST_LOADED,
    CHOOSE_RANDOM,
    CHOOSE_ROUND_ROBIN, /* behind the last donor, in the order of the rack file */
    CHOOSE_FIRST_FIT,   /* the first of the rack file */
    CHOOSERS
};
extern const char *const chooser_names[]; /* NULL-terminated */

struct choice {
    enum chooser chooser;
    uint64_t random;   /* state of the random numbers */
    uint32_t last;     /* round robin: the last donor, NONE at first */
    uint32_t *scratch; /* one for each node slot */
};

MUST_CHECK int choice_init(struct choice *c, enum chooser chooser, uint64_t seed, const struct model *m, struct err *e);
void choice_done(struct choice *c);

/* As placement_best(); 'r' says no policy and no donor of its own. */
MUST_CHECK int choice_make(struct choice *c, struct reservation *out, const struct model *m, struct topology *t,
                           const struct place_request *r, struct err *e);

#endif
