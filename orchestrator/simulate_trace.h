/* simulate_trace.h - the requests that a simulation replays: from a file, or made from a seed.
 *
 * The file is CSV, plain or compressed with gzip, one request a line; the first line names the columns
 * vmId,tenantId,cores,ram,vmTypeId,starttime,endtime.  Times are days; 'endtime' may be "inf"; 'ram' is in units that
 * the caller scales.  Requests that began before t = 0 are left out, and counted. */
#ifndef MEMLANE_SIMULATE_TRACE_H
#define MEMLANE_SIMULATE_TRACE_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

struct trace_request {
    uint64_t vm_id, number;           /* number: its place in the file */
    double ram, start_days, end_days; /* end: INFINITY when it never ends */
};

struct trace {
    size_t n, n_before;             /* 'n_before': left out */
    struct trace_request *requests; /* by start; equal ones as in the file */
};

/* "-" is standard input.  Errors name file, line and column: "FILE:7: ram: 'x' is not a number". */
MUST_CHECK int trace_read(struct trace *out, const char *path, struct err *e);

/* The same seed gives the same requests on every machine.  Shaped like what clouds publish: arrivals with a daily
 * rhythm, sizes of a few classes up to 256, half of the lives below half an hour and a tenth longer than a day. */
MUST_CHECK int trace_generate(struct trace *out, uint64_t seed, size_t n, double days, struct err *e);
void trace_done(struct trace *t); /* frees; zeroes; for CLEANUP too */

/* A small generator of numbers (splitmix64), for whoever needs the same ones everywhere. */
uint64_t trace_random(uint64_t *state);

#endif
