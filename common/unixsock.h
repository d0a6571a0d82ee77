/* unixsock.h - a listening Unix socket that only its owner reaches.  Keeps no state; any thread. */
#ifndef MEMLANE_UNIXSOCK_H
#define MEMLANE_UNIXSOCK_H

#include "err.h"

/* 'type': SOCK_SEQPACKET, SOCK_STREAM, perhaps with SOCK_NONBLOCK; closed on exec.  Mode 0600 from the first moment on;
 * whatever was at 'path' is replaced.  ERR_FIELD_INVALID (too long), ERR_IO.  The caller closes '*out'. */
MUST_CHECK int unixsock_listen(int *out, int type, const char *path, struct err *e);

#endif
