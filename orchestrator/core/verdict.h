/* verdict.h - one donor against the rules of placement, in their order (DESIGN section 5).
 *
 * A donor's candidates are pairs of adapters; each falls at the first rule that it does not pass, or stands.  The
 * donor's reason is the furthest rule that any of them fell at.  Between placement.c and this file only. */
#ifndef MEMLANE_VERDICT_H
#define MEMLANE_VERDICT_H

#include "paths.h"
#include "placement.h"

struct question { /* a request, with what is the same for every donor */
    const struct model *m;
    struct topology *t;
    const struct fabric *f;
    struct paths *paths;
    const struct place_request *r;
    uint64_t size_bytes; /* rounded up */
    unsigned leg_gbps;   /* of the request, on each leg */
    bool all;            /* every donor is asked about: one search for all; else each pair's path is looked for alone */
    bool explain;        /* fill 'detail', tell ports_busy from bandwidth */
    unsigned links_down; /* 'explain': of the whole fabric, for words */
    unsigned
        n_adapters; /* usable compute adapters; 'all': searches 2 i (what fits), 2 i + 1 (any bandwidth) are done */
    uint32_t adapters[WIRE_MAX_ADAPTERS];
};

struct verdict {
    struct place_candidate c;
    bool has_cost;
    /* for the policies */
    bool joined; /* a circuit joins the donor to the compute node */
    unsigned reserved_gbps, n_attachments;
    unsigned n_ports; /* of the path, both legs */
};

/* PLACE_OK, or what refuses the whole request; fills adapters and runs the searches that 'all' asks for. */
MUST_CHECK int verdict_prepare(struct question *q, enum place_reason *refused, struct err *e);
MUST_CHECK int verdict_of(struct verdict *out, const struct question *q, uint32_t donor, struct err *e);
/* For why.c: the rules that look at the donor's node, the first that it fails; and each pair of adapters as it fares.
 */
enum place_reason verdict_node(const struct question *q, uint32_t donor, char detail[WIRE_TEXT]);
struct verdict_pair {
    uint32_t compute, memory, circuit; /* circuit: that joins them already, or NONE */
    enum place_reason reason;          /* PLACE_OK: all below is set */
    char detail[WIRE_TEXT];
    bool has_cost;
    uint64_t cost_ns;
    struct leg legs[2];
    unsigned section;
    uint64_t offset_bytes;
};
#define VERDICT_PAIRS_MAX (WIRE_MAX_ADAPTERS * WIRE_MAX_ADAPTERS)
MUST_CHECK int verdict_pairs(struct verdict_pair *list, size_t *n, const struct question *q, uint32_t donor,
                             struct err *e);
/* Makes the question of a request, as placement_rank() ('explain') or placement_best() asks it (placement.c). */
MUST_CHECK int placement_ask(struct question *q, const struct model *m, struct topology *t,
                             const struct place_request *r, bool explain, enum place_reason *refused, struct err *e);
/* Parts of it, for choice.c: not avoided, and of another label; a free section for a new circuit of this adapter. */
bool verdict_allows(const struct question *q, uint32_t donor);
bool verdict_new_section(const struct question *q, uint32_t compute_adapter);

/* "lendable 4 GiB (capacity 64 GiB, lent 52 GiB, held for nobody 8 GiB), needs 16 GiB". */
char *verdict_memory(const struct question *q, const struct node *d, char text[WIRE_TEXT]);

#endif
