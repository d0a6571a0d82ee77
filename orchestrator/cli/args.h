/* args.h - a command's options and operands, by a table.
 *
 * Options may stand anywhere; "--" ends them.  "--name value", "--name=value", "-n value", "-nvalue"; a flag has no
 * value and may have an opposite "--no-name".  Pure. */
#ifndef MEMLANE_CLI_ARGS_H
#define MEMLANE_CLI_ARGS_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

struct arg_option {
    const char *name;   /* without dashes */
    char letter;        /* 0: none */
    const char **value; /* set to the text; NULL for a flag */
    bool *flag;         /* set to true, or to false by --no-name; NULL when it has a value */
    const char **list;  /* instead of value: NULL-terminated list of at most 'list_max' texts */
    size_t list_max;
};

/* Puts the operands into 'operands' (at most 'max') and their number into '*n'.  Errors name the word. */
MUST_CHECK int args_parse(int argc, char **argv, const struct arg_option *options, size_t n_options,
                          const char **operands, size_t max, size_t *n, struct err *e);

#endif
