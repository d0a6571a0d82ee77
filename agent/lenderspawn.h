/* lenderspawn.h - starts a lender that outlives its starter: listening socket as fd 3 (LISTEN_FDS, as systemd does it),
 * own session, parent init.  For emulated racks; on servers systemd starts lenders.  Safe in a process with threads. */
#ifndef MEMLANE_LENDERSPAWN_H
#define MEMLANE_LENDERSPAWN_H

#include "err.h"

#include <sys/un.h>

/* 'argv' ends with NULL; argv[0] is the program's path.  A stale socket file at 'addr' is replaced.  0 when the program
 * was executed. */
MUST_CHECK int lenderspawn(char *const argv[], const struct sockaddr_un *addr, struct err *e);

#endif
