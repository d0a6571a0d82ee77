/* link.h - the table of links, which `topology show` and `link list` print alike. */
#ifndef MEMLANE_CLI_LINK_H
#define MEMLANE_CLI_LINK_H

#include "cli.h"

void link_print_table(const struct cli *c, const json_t *links);
/* "4 GiB of n2 n3"; NULL when nothing dies with it.  The caller frees. */
char *loss_text(const json_t *loss);

#endif
