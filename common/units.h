/* units.h - numbers, sizes, addresses and times as text, strictly: the whole string has to be one.
 * Pure and thread-safe. */
#ifndef MEMLANE_UNITS_H
#define MEMLANE_UNITS_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

MUST_CHECK int units_parse_u64(const char *text, uint64_t *out, struct err *e);  /* decimal digits only */
MUST_CHECK int units_parse_hex(const char *text, uint64_t *out, struct err *e);  /* with or without 0x */
MUST_CHECK int units_parse_addr(const char *text, uint64_t *out, struct err *e); /* "0x..." required */
/* "4096", "256MiB", "16G", "1.5TiB"; K, M, G, T are binary; the result is a whole number of bytes, at most 2^63 - 1. */
MUST_CHECK int units_parse_size(const char *text, uint64_t *out, struct err *e);
/* "0,2-5": sets these bits of 'mask' (at least 'n_bits' long; clear before). */
MUST_CHECK int units_parse_set(const char *text, unsigned long *mask, unsigned n_bits, struct err *e);
MUST_CHECK int units_parse_double(const char *text, double *out, struct err *e); /* finite only */

#define UNITS_SIZE_MAX 24 /* "1023.5 GiB" and the like */
#define UNITS_ADDR_MAX 20 /* "0x" and 16 digits */
#define UNITS_TIME_MAX 32 /* "2026-01-02T03:04:05.678Z" */
/* Each returns 'buf'. */
char *units_format_size(uint64_t bytes, char buf[UNITS_SIZE_MAX]);  /* at most one decimal: "1.5 TiB" */
char *units_format_addr(uint64_t addr, char buf[UNITS_ADDR_MAX]);   /* "0x2000000000000" */
char *units_format_time(int64_t unix_ms, char buf[UNITS_TIME_MAX]); /* RFC 3339, UTC, milliseconds */

/* Round up to a multiple of 'unit' (> 0); UINT64_MAX when that overflows. */
uint64_t units_round_up(uint64_t value, uint64_t unit);

int64_t time_wall_ms(void);      /* Unix time */
int64_t time_monotonic_ms(void); /* for every deadline */
int64_t time_monotonic_ns(void);

#endif
