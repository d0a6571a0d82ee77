/* complete.h - words that a shell may offer: what the command line knows, and what the rack has. */
#ifndef MEMLANE_CLI_COMPLETE_H
#define MEMLANE_CLI_COMPLETE_H

#include "cli.h"

/* Prints the words of 'list' (separated by spaces) that begin with 'begun'. */
void complete_words(const char *list, const char *begun);
/* Prints what can stand for 'kind' ("NODE", "ID", "POLICY" and so on, as the help has it).  Asks the orchestrator for
 * at most a third of a second; says nothing when that fails: a shell is waiting. */
void complete_value(struct cli *c, const char *kind, const char *begun);

#endif
