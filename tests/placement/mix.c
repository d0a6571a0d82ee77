#include "mix.h"

#include <stdio.h>

void mix_count(struct mix *m, const json_t *line, const json_t *reference, const struct facts *f)
{
    m->lines++;
    m->errors += json_object_get(reference, "error") != NULL;
    m->releases += json_object_get(reference, "released") != NULL;
    m->link_lines += json_object_get(line, "link") != NULL;
    m->node_lines += json_object_get(line, "node") != NULL;
    if (!f->is_case)
        return;
    m->cases++;
    m->chosen += f->chosen;
    m->beyond_section += (uint64_t)json_integer_value(json_object_get(line, "size_bytes")) > TIB;
    m->committed += json_object_get(reference, "reserved") != NULL;
    m->policies[f->policy]++;
    m->no_compute_adapter += f->no_compute_adapter;
    m->compute_not_ready += f->compute_not_ready;
    m->cheapest_busy += f->cheapest_busy;
    m->bonded += f->bonded;
    m->bonded_chosen += f->bonded && f->chosen;
    m->shares += f->shares;
    m->donors_tie += f->donors_tie;
    m->paths_tie += f->paths_tie;
    for (int i = 0; i < N_RULES; i++) {
        m->refusals[i] += f->refusals[i];
        m->cases_refused[i] += f->refusals[i] > 0;
    }
}

/* All members are of one type. */
void mix_add(struct mix *to, const struct mix *m)
{
    for (size_t i = 0; i < sizeof *m / sizeof(unsigned); i++)
        ((unsigned *)to)[i] += ((const unsigned *)m)[i];
}

static unsigned row(const char *what, unsigned n, unsigned at_least)
{
    bool thin = n < at_least;
    if (at_least)
        printf("  %-44s %8u  (at least %u)%s\n", what, n, at_least, thin ? "  TOO FEW" : "");
    else
        printf("  %-44s %8u\n", what, n);
    return thin;
}

static unsigned print_rules(const struct mix *m)
{
    unsigned thin = 0;
    puts("cases in which the rule refuses a donor            (refused donors)");
    for (int i = 0; i < N_RULES; i++) {
        char what[60];
        snprintf(what, sizeof what, "%s (%u)", rule_names[i], m->refusals[i]);
        thin += row(what, m->cases_refused[i], 200);
    }
    thin += row("no_compute_adapter", m->no_compute_adapter, 200);
    return thin + row("compute_not_ready", m->compute_not_ready, 200);
}

unsigned mix_print(const struct mix *m)
{
    unsigned thin = 0;
    puts("racks");
    for (int i = 0; i < N_RACK_KINDS; i++)
        thin += row(rack_kind_names[i], m->racks[i], 1);
    puts("lines");
    row("releases", m->releases, 0);
    row("links down or up", m->link_lines, 0);
    row("nodes cordoned, lost or back", m->node_lines, 0);
    row("errors, as they should be", m->errors, 0);
    puts("cases");
    thin += row("placement requests", m->cases, 20000);
    row("with a donor", m->chosen, 0);
    row("committed", m->committed, 0);
    row("larger than a section", m->beyond_section, 0);
    for (int i = 0; i < N_POLICIES; i++)
        row(policy_names[i], m->policies[i], 0);
    thin += row("the cheapest static path is busy", m->cheapest_busy, 5000);
    thin += row("bonded", m->bonded, 2000);
    thin += row("bonded, with a donor", m->bonded_chosen, 2000);
    thin += row("sharing a circuit", m->shares, 1000);
    thin += row("exact tie of the two best donors", m->donors_tie, 500);
    thin += row("exact tie of the two best paths", m->paths_tie, 500);
    return thin + print_rules(m);
}
