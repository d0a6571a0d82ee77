/* offline.h - the core without a rack: placement requests from a rack file alone (memlaned --place-only). */
#ifndef MEMLANE_OFFLINE_H
#define MEMLANE_OFFLINE_H

#include <stdio.h>

/* Reads one JSON object a line and answers each with one:
 * - a placement request: answered like a preview; with "commit": true it is reserved, and the answer has "reserved": N,
 *   "section" and "offset_bytes"
 * - {"release": N}: gives back what the N-th placement request reserved (counted from 1, previews and bad ones too)
 * - {"link": ["A", "B"], "down": true|false}
 * - {"node": "N", "cordoned": true|false} and {"node": "N", "state": "ready"|"unreachable"}, or both at once
 *
 * A bad line is answered {"error": {"code", "detail", "field", "line"}}, changes nothing, and the next one is read.
 * Lines are counted from 1, empty ones too; they get no answer.
 * -1 when the rack file or a stream fails, said on standard error. */
int offline_place_only(const char *rack_path, FILE *in, FILE *out);

#endif
