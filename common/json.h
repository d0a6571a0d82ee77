/* json.h - strict JSON: text in with limits, objects decoded by tables of fields, hex addresses.
 *
 * Everything that comes from outside is decoded by a table: a field that the table does not name, a missing required
 * one, a wrong type or a value out of range is an error that names the field ("adapters[1].role").  Thread-safe. */
#ifndef MEMLANE_JSON_H
#define MEMLANE_JSON_H

#include "err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 32
#define JSON_BODY_MAX (1u << 20)

/* Parses one JSON value (object or array): UTF-8, no duplicate keys, at most JSON_DEPTH_MAX deep, nothing behind it.
 * Errors say line and column.  The caller owns '*out'. */
MUST_CHECK int json_parse(json_t **out, const char *text, size_t len, struct err *e);
/* Reads a file of at most 'max' bytes and parses it; errors begin with the path and the line. */
MUST_CHECK int json_parse_file(json_t **out, const char *path, size_t max, struct err *e);
void json_freep(json_t **j); /* for CLEANUP */

enum json_kind {
    JSON_KIND_STRING, /* out: char[size]; 'max' unused: too long is an error; no control characters */
    JSON_KIND_NAME,   /* out: char[NAME_SIZE], name_valid() */
    JSON_KIND_ID,     /* out: char[ID_SIZE], id_valid() */
    JSON_KIND_U64,    /* out: uint64_t; min..max (max 0: 2^63 - 1) */
    JSON_KIND_U32,    /* out: unsigned; min..max (max 0: UINT32_MAX) */
    JSON_KIND_BOOL,   /* out: bool */
    JSON_KIND_ADDR,   /* out: uint64_t, from "0x..." */
    JSON_KIND_ENUM,   /* out: int; 'names': NULL-terminated list, the index is the value */
    JSON_KIND_OBJECT, /* out: const json_t *, borrowed */
    JSON_KIND_ARRAY,  /* out: const json_t *, borrowed; at most 'max' elements (0: no limit) */
};

struct json_field {
    const char *name;
    enum json_kind kind;
    bool required;
    void *out;   /* unchanged when the field is absent */
    size_t size; /* of a string's buffer */
    uint64_t min, max;
    const char *const *names; /* JSON_KIND_ENUM */
    bool *present;            /* optional: set to whether the field was there */
    enum err_code code;       /* for a bad value; 0: ERR_FIELD_INVALID */
};

/* 'where' is the path of the object ("" at the top; "links[3]"), for messages. */
MUST_CHECK int json_decode(const json_t *object, const struct json_field *fields, size_t n_fields, const char *where,
                           struct err *e);

json_t *json_addr(uint64_t addr);   /* a new string "0x..." */
json_t *json_u64(uint64_t v);       /* a new integer; saturates at 2^63 - 1 */
json_t *json_time(int64_t unix_ms); /* a new string, RFC 3339 */
/* Compact text, the caller frees; NULL when memory ran out, now or since this thread's last json_starved(): a member
 * may be missing then. */
char *json_text(const json_t *j);
/* Whether memory ran out for JSON in this thread since it was asked last. */
bool json_starved(void);
/* Says so of other memory that a part of an answer needed; that part may be NULL then. */
void json_starve(void);

#endif
