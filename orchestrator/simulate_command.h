/* simulate_command.h - memlaned --simulate: options in, reports out. */
#ifndef MEMLANE_SIMULATE_COMMAND_H
#define MEMLANE_SIMULATE_COMMAND_H

/* argv[0] is "--simulate"; 'name' is how a person calls it ("memlane simulate"), for usage and errors.  The exit code:
 * 0; 1 when a file cannot be read or written; 2 wrong use. */
int simulate_command(const char *name, int argc, char **argv);

#endif
