/* gate.h - what a request's head must look like before any route sees it.
 *
 * libmicrohttpd is lenient: it accepts two Host headers, two lengths, a length with chunks.  A proxy in front might
 * read such a request differently, so all of it is refused here.  Pure: feed every header, then ask. */
#ifndef MEMLANE_GATE_H
#define MEMLANE_GATE_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

#define GATE_HEADERS_MAX 64
#define GATE_HEADER_BYTES_MAX (16u << 10)

struct gate {
    unsigned n_headers;
    size_t header_bytes;
    unsigned n_host, n_length, n_authorization, n_encoding, n_cookie, n_origin, n_key, n_match;
    bool bad_name, bad_value, bad_length, bad_encoding, chunked, coded;
    uint64_t length; /* Content-Length; 0 without one */
};

void gate_init(struct gate *g);
void gate_header(struct gate *g, const char *name, const char *value); /* value NULL: empty */
/* '*framing' says that where the body ends is in doubt: answer and close. */
MUST_CHECK int gate_check(const struct gate *g, const char *method, const char *version, bool *framing, struct err *e);

#endif
