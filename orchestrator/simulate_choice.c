#include "simulate_choice.h"

#include "simulate_trace.h"

#include <stdlib.h>

const char *const chooser_names[] = { "nearest", "balanced",    "packed",    "least_loaded",
                                      "random",  "round_robin", "first_fit", NULL };

int choice_init(struct choice *c, enum chooser chooser, uint64_t seed, const struct model *m, struct err *e)
{
    *c = (struct choice){ .chooser = chooser, .random = seed, .last = NONE };
    c->scratch = calloc((size_t)model_count(m, MODEL_NODE) + 1, sizeof *c->scratch);
    return c->scratch ? 0 : err_set(e, ERR_UNAVAILABLE, "out of memory");
}

void choice_done(struct choice *c)
{
    free(c->scratch);
    *c = (struct choice){ 0 };
}

/* The donors that have the memory, in the order of the rack file, round robin from behind the last one. */
static uint32_t donors_of(struct choice *c, const struct model *m, const struct place_request *r)
{
    uint32_t n = model_count(m, MODEL_NODE), n_donors = 0;
    uint32_t first = c->chooser == CHOOSE_ROUND_ROBIN && c->last != NONE ? c->last + 1 : 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (first + i) % n;
        const struct node *x = model_node(m, at);
        if (x && at != r->compute_node && model_lendable_bytes(x) >= r->requested_bytes)
            c->scratch[n_donors++] = at;
    }
    return n_donors;
}

/* Brings a random one of the donors from 'i' on to 'i'. */
static void draw(struct choice *c, uint32_t i, uint32_t n)
{
    uint32_t k = i + (uint32_t)(trace_random(&c->random) % (n - i)), donor = c->scratch[k];
    c->scratch[k] = c->scratch[i];
    c->scratch[i] = donor;
}

int choice_make(struct choice *c, struct reservation *out, const struct model *m, struct topology *t,
                const struct place_request *r, struct err *e)
{
    struct place_request q = *r;
    if (c->chooser <= CHOOSE_LEAST_LOADED) {
        q.policy = (enum place_policy)c->chooser;
        return placement_best(out, m, t, &q, e);
    }
    if (placement_best(out, m, t, &q, e) < 0) /* nobody */
        return -1;
    uint32_t n = donors_of(c, m, r);
    for (uint32_t i = 0; i < n; i++) {
        if (c->chooser == CHOOSE_RANDOM)
            draw(c, i, n);
        q.donor = c->scratch[i];
        if (placement_best(out, m, t, &q, e) == 0) {
            c->last = q.donor;
            return 0;
        }
        if (e->code != ERR_NO_DONOR)
            return -1;
    }
    return err_set(e, ERR_INTERNAL, "the engine has a donor, and refuses each one when asked for it alone");
}
