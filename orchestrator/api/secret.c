/* secret.c - see secret.h. */
#include "api/secret.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#define RANDOM_MAX 32

static void to_hex(const unsigned char *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

int secret_new(const char *prefix, size_t n_bytes, char *out, size_t size, struct err *e)
{
    unsigned char bytes[RANDOM_MAX];
    size_t prefix_len = strlen(prefix);
    if (n_bytes > sizeof bytes || prefix_len + 2 * n_bytes + 1 > size)
        return err_set(e, ERR_INTERNAL, "secret does not fit");
    int rc = gnutls_rnd(GNUTLS_RND_KEY, bytes, n_bytes);
    if (rc < 0)
        return err_set(e, ERR_INTERNAL, "no random numbers: %s", gnutls_strerror(rc));
    memcpy(out, prefix, prefix_len);
    to_hex(bytes, n_bytes, out + prefix_len);
    gnutls_memset(bytes, 0, sizeof bytes);
    return 0;
}

int secret_hash(const void *data, size_t len, char out[HASH_SIZE], struct err *e)
{
    unsigned char digest[32];
    int rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, digest);
    if (rc < 0) /* once more: who calls must not be taken for a stranger because memory is short */
        rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, digest);
    if (rc < 0)
        return err_set(e, rc == GNUTLS_E_MEMORY_ERROR ? ERR_UNAVAILABLE : ERR_INTERNAL, "SHA-256: %s",
                       gnutls_strerror(rc));
    to_hex(digest, sizeof digest, out);
    return 0;
}

bool secret_equal(const char *a, const char *b, size_t len)
{
    return gnutls_memcmp(a, b, len) == 0;
}
