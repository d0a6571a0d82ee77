/* pulse.h - does the job thread move?  It says before everything that may hang what that is; another thread asks.
 *
 * A register of a card that died, a file of a kernel that hangs, a lender or a switch that does not answer: each such
 * call has an end of its own, or should have.  Whoever stays in one for longer than PULSE_LIMIT_MS hangs, and so does
 * who goes from one that fails to the next, and makes no headway for PULSE_PASS_LIMITS times that: what it saw last is
 * no news of the node any more.  Written by the job thread, read by any. */
#ifndef MEMLANE_AGENT_PULSE_H
#define MEMLANE_AGENT_PULSE_H

#include "units.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PULSE_LIMIT_MS 10000
#define PULSE_LEAST_MS 2000 /* however much time is scaled: a busy machine is none that hangs */
#define PULSE_PASS_LIMITS 3

struct pulse {
    _Atomic int64_t at_ms;      /* when it began what it is at; 0: it waits for something to do */
    _Atomic(const char *) what; /* a literal */
    _Atomic int64_t headway_ms; /* when its pass began, or did or told something last; 0: it waits */
};

/* 'p' may be NULL. */
static inline void pulse_at(struct pulse *p, const char *what)
{
    if (!p)
        return;
    atomic_store_explicit(&p->what, what, memory_order_relaxed);
    atomic_store_explicit(&p->at_ms, time_monotonic_ms(), memory_order_release);
}

static inline void pulse_headway(struct pulse *p)
{
    if (p)
        atomic_store_explicit(&p->headway_ms, time_monotonic_ms(), memory_order_relaxed);
}

static inline void pulse_rest(struct pulse *p)
{
    atomic_store_explicit(&p->headway_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&p->at_ms, 0, memory_order_release);
}

#endif
