/* notify.h - tells systemd how the program is (sd_notify's protocol: one datagram to $NOTIFY_SOCKET).
 *
 * Without the variable, or when it fails, nothing happens: nobody is there to be told.  Any thread. */
#ifndef MEMLANE_NOTIFY_H
#define MEMLANE_NOTIFY_H

#include "compiler.h"

#include <stdint.h>

void notify_send(const char *fmt, ...) PRINTF(1, 2); /* "READY=1", "STATUS=...", "WATCHDOG=1" */
int64_t notify_watchdog_ms(void);                    /* how often WATCHDOG=1 is expected of this process; 0: never */

#endif
