/* faultpoint.h - places where a test can make a process die, stop or wait.  In test builds only (preset 'faults',
 * -DMEMLANE_FAULT_POINTS): in any other build a FAULT_POINT is no code and no string.
 *
 * A point is armed by a file $MEMLANE_FAULT_DIR/WHO.NAME, WHO being the program without "memlane-", followed by
 * "-$MEMLANE_RACK_NODE" where that is set (memlaned, agent-n1, lender-n1).  The process that reaches it renames the
 * file to WHO.NAME.hit, which says that it happened and disarms it, and then does what is written in it:
 *
 *   kill            SIGKILL to itself            kill-parent   SIGKILL to its parent, and goes on
 *   stop            SIGSTOP to itself            wait          this thread alone, until the .hit file is removed
 *   delay MS        this thread alone            skip N ...    nothing N times, then the rest of the line
 *
 * The name is a printf format; '/' becomes '_'.  Any thread; a hot-plug child is its agent. */
#ifndef MEMLANE_FAULTPOINT_H
#define MEMLANE_FAULTPOINT_H

#include "compiler.h"

int fault_point(const char *fmt, ...) PRINTF(1, 2);

#ifdef MEMLANE_FAULT_POINTS
#define FAULT_POINT(...) ((void)fault_point(__VA_ARGS__))
#else
#define FAULT_POINT(...) ((void)sizeof fault_point(__VA_ARGS__)) /* checked by the compiler, never evaluated */
#endif

#endif
