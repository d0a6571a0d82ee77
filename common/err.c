#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
    const char *title;
} table[ERR_N] = {
    [ERR_OK] = { "ok", 200, "OK" },
    [ERR_INTERNAL] = { "internal", 500, "Internal error" },
    [ERR_IO] = { "io", 500, "A system call failed" },
    [ERR_BODY_INVALID] = { "body_invalid", 400, "The body is not valid JSON" },
    [ERR_FIELD_UNKNOWN] = { "field_unknown", 422, "Unknown field" },
    [ERR_FIELD_MISSING] = { "field_missing", 422, "A required field is missing" },
    [ERR_FIELD_INVALID] = { "field_invalid", 422, "A field has an invalid value" },
    [ERR_SIZE_INVALID] = { "size_invalid", 422, "Invalid size" },
    [ERR_NODE_UNKNOWN] = { "node_unknown", 404, "Unknown node" },
    [ERR_BODY_NODE_UNKNOWN] = { "node_unknown", 422, "Unknown node" },
    [ERR_NOT_FOUND] = { "not_found", 404, "Not found" },
    [ERR_EVENTS_GONE] = { "events_gone", 410, "The events asked for have left the log" },
    [ERR_METHOD] = { "method_not_allowed", 405, "Method not allowed" },
    [ERR_NO_DONOR] = { "no_donor", 409, "No donor can serve this request" },
    [ERR_CONFLICT] = { "conflict", 409, "The present state forbids this" },
    [ERR_TOO_LATE] = { "too_late", 409, "Too late to cancel" },
    [ERR_IDENTITY_CONFLICT] = { "identity_conflict", 409, "This name belongs to another machine" },
    [ERR_SESSION_STALE] = { "session_stale", 409, "An older session or sequence number" },
    [ERR_PROTOCOL] = { "protocol_unsupported", 409, "No common protocol version" },
    [ERR_UNAUTHENTICATED] = { "unauthenticated", 401, "Sign in first" },
    [ERR_FORBIDDEN] = { "forbidden", 403, "Not allowed" },
    [ERR_PRECONDITION] = { "precondition_failed", 412, "It has changed since you read it" },
    [ERR_PRECONDITION_REQUIRED] = { "precondition_required", 428, "If-Match is required" },
    [ERR_KEY_REUSED] = { "idempotency_key_reused", 422, "This Idempotency-Key was used with another body" },
    [ERR_TOO_LARGE] = { "body_too_large", 413, "The body is too large" },
    [ERR_HEADERS_TOO_LARGE] = { "headers_too_large", 431, "The headers are too large" },
    [ERR_BAD_REQUEST] = { "bad_request", 400, "Malformed request" },
    [ERR_TOO_MANY] = { "too_many_requests", 429, "Too many at once" },
    [ERR_UNAVAILABLE] = { "unavailable", 503, "Not available now" },
    [ERR_RECOVERING] = { "recovering", 503, "An old database: an operator has to adopt first" },
    [ERR_STORAGE] = { "storage_failed", 503, "The database could not commit" },
    [ERR_STORAGE_FULL] = { "storage_full", 507, "The disk is full" },
    [ERR_HARDWARE] = { "hardware", 502, "The hardware refused" },
    [ERR_BUSY] = { "busy", 409, "In use" },
    [ERR_TIMEOUT] = { "timeout", 504, "It took too long" },
    [ERR_UNREACHABLE] = { "unreachable", 502, "A peer cannot be reached" },
};

static void fill(struct err *e, enum err_code code, const char *field, int os_errno, const char *fmt, va_list ap)
{
    char detail[sizeof e->detail]; /* 'fmt' may print what 'e' holds */
    int n = vsnprintf(detail, sizeof detail, fmt, ap);
    if (os_errno && n >= 0 && (size_t)n < sizeof detail)
        snprintf(detail + n, sizeof detail - (size_t)n, ": %s", strerror(os_errno));
    e->code = code;
    e->os_errno = os_errno;
    snprintf(e->field, sizeof e->field, "%s", field);
    memcpy(e->detail, detail, sizeof detail);
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, "", 0, fmt, ap);
    va_end(ap);
    return -1;
}

int err_field(struct err *e, enum err_code code, const char *field, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, field, 0, fmt, ap);
    va_end(ap);
    return -1;
}

int err_errno(struct err *e, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, "", saved, fmt, ap);
    va_end(ap);
    return -1;
}

void err_clear(struct err *e)
{
    memset(e, 0, sizeof *e);
}

const char *err_name(enum err_code code)
{
    return code < ERR_N ? table[code].name : "internal";
}

const char *err_title(enum err_code code)
{
    return code < ERR_N ? table[code].title : "Internal error";
}

int err_http_status(enum err_code code)
{
    return code < ERR_N ? table[code].status : 500;
}

bool err_by_name(const char *name, enum err_code *out)
{
    for (int c = 0; c < ERR_N; c++)
        if (!strcmp(table[c].name, name)) {
            *out = (enum err_code)c;
            return true;
        }
    return false;
}
