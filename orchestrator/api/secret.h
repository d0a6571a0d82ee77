/* secret.h - random secrets and their SHA-256 (GnuTLS).  A secret is stored and looked up by its hash only.
 * Thread-safe. */
#ifndef MEMLANE_SECRET_H
#define MEMLANE_SECRET_H

#include "err.h"
#include "store.h"

#include <stddef.h>

#define SECRET_SIZE 72 /* "ml_" and 64 hex digits */

/* 'out' gets 'prefix' and 2 * n_bytes hex digits. */
MUST_CHECK int secret_new(const char *prefix, size_t n_bytes, char *out, size_t size, struct err *e);
MUST_CHECK int secret_hash(const void *data, size_t len, char out[HASH_SIZE], struct err *e);
bool secret_equal(const char *a, const char *b, size_t len); /* in constant time */

#endif
