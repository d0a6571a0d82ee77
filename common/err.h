/* err.h - one error type for every fallible function of Memlane.
 *
 * A fallible function returns 0 or -1 and fills the caller's 'struct err', its last parameter; outputs change only on
 * success.  The first error goes up untouched and is logged once, at the edge that handles it.  One table (err.c) maps
 * a code to its stable name in JSON, its HTTP status and its title.  Thread-safe: no state. */
#ifndef MEMLANE_ERR_H
#define MEMLANE_ERR_H

#include "compiler.h"

#include <stdbool.h>

/* Keep in step with the table in err.c and the catalogue in schema/openapi.yaml. */
enum err_code {
    ERR_OK = 0,
    ERR_INTERNAL,          /* our own fault, or memory ran out */
    ERR_IO,                /* a system call failed: os_errno */
    ERR_BODY_INVALID,      /* JSON that cannot be read */
    ERR_FIELD_UNKNOWN,     /* a field that nobody knows */
    ERR_FIELD_MISSING,     /* a required field is not there */
    ERR_FIELD_INVALID,     /* a field has the wrong type or value */
    ERR_SIZE_INVALID,      /* size_bytes is zero, negative, no number, or beyond a section */
    ERR_NODE_UNKNOWN,      /* 404; in a body it is ERR_BODY_NODE_UNKNOWN */
    ERR_BODY_NODE_UNKNOWN, /* a body names a node that nobody registered */
    ERR_NOT_FOUND,         /* no such resource */
    ERR_EVENTS_GONE,       /* what is asked for has left the event log: read everything anew */
    ERR_METHOD,            /* method not allowed here */
    ERR_NO_DONOR,          /* placement found nobody */
    ERR_CONFLICT,          /* the state forbids it */
    ERR_TOO_LATE,          /* cancel after the point of no return */
    ERR_IDENTITY_CONFLICT, /* a name is bound to another machine */
    ERR_SESSION_STALE,     /* an older session or sequence of an agent */
    ERR_PROTOCOL,          /* no common protocol version */
    ERR_UNAUTHENTICATED,   /* no or wrong credential */
    ERR_FORBIDDEN,         /* right credential, not allowed */
    ERR_PRECONDITION,      /* If-Match is stale */
    ERR_PRECONDITION_REQUIRED,
    ERR_KEY_REUSED, /* Idempotency-Key with another body */
    ERR_TOO_LARGE,  /* body over the limit */
    ERR_HEADERS_TOO_LARGE,
    ERR_BAD_REQUEST, /* malformed HTTP */
    ERR_TOO_MANY,    /* a limit is reached; try again */
    ERR_UNAVAILABLE, /* not ready */
    ERR_RECOVERING,  /* an old database: nothing changes until an operator adopts */
    ERR_STORAGE,     /* the database could not commit */
    ERR_STORAGE_FULL,
    ERR_HARDWARE, /* an adapter, a switch or the kernel refused */
    ERR_BUSY,     /* a block, port or lock is in use */
    ERR_TIMEOUT,
    ERR_UNREACHABLE, /* a peer cannot be reached */
    ERR_N
};

struct err {
    enum err_code code;
    int os_errno;     /* 0 unless a system call failed */
    char field[64];   /* the field that was wrong, or empty */
    char detail[256]; /* one line fit for the API client: what failed, on what; no advice, no period */
};

/* Each fills 'e' and returns -1, so that "return err_set(...)" reads well. */
MUST_CHECK int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
MUST_CHECK int err_field(struct err *e, enum err_code code, const char *field, const char *fmt, ...) PRINTF(4, 5);
/* Appends ": strerror(errno)" of the errno at the call. */
MUST_CHECK int err_errno(struct err *e, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
void err_clear(struct err *e);

const char *err_name(enum err_code code);  /* stable, as in JSON: "no_donor" */
const char *err_title(enum err_code code); /* for people */
int err_http_status(enum err_code code);
bool err_by_name(const char *name, enum err_code *out); /* false when unknown */

#endif
