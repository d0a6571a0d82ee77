/* trace.h - DIR/trace.jsonl: every register access and every event a checker needs to judge it, one JSON object a line.
 *
 * Each line is one write(2) with O_APPEND, at once: what is in the trace has happened, also after kill -9.  The
 * sequence number lives in the state file and goes on after a restart.  A file that reached its limit becomes PATH.1,
 * and what was there goes: a rack that stands for weeks fills no disk. */
#ifndef MEMLANE_EMULATOR_TRACE_H
#define MEMLANE_EMULATOR_TRACE_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct trace;
#define TRACE_MAX_BYTES (UINT64_C(256) << 20)
/* 'seq' is borrowed: the number of the last line.  'fresh' empties the file. */
MUST_CHECK int trace_new(struct trace **out, const char *path, uint64_t *seq, bool fresh, uint64_t max_bytes,
                         struct err *e);
void trace_free(struct trace *t); /* ignores NULL */
/* Ignores a NULL trace (unit tests). */
void trace_event(struct trace *t, const char *node, const char *adapter, const char *op, uint64_t offset,
                 uint64_t value, bool ok);

#endif
