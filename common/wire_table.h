/* wire_table.h - one table describes a struct of wire.h in both directions: member, JSON name, kind, limits.
 *
 * Private to wire*.c.  Encoding never fails for what a struct holds, but for want of memory: text that is no clean
 * UTF-8 is cleaned.  Decoding goes through json_decode(), so it is as strict as that.  Pure. */
#ifndef MEMLANE_WIRE_TABLE_H
#define MEMLANE_WIRE_TABLE_H

#include "json.h"
#include "wire.h"

struct wire_member {
    const char *name;
    enum json_kind kind; /* none of OBJECT and ARRAY */
    size_t offset, size; /* of the member */
    bool optional;       /* may be absent; an empty text, and an UINT32_MAX, is left out */
    uint64_t min, max;
    const char *const *names; /* JSON_KIND_ENUM */
};

#define WIRE_MEMBER(type, member, json_kind, ...)                                                                      \
    {                                                                                                                  \
        .name = #member, .kind = JSON_KIND_##json_kind, .offset = offsetof(struct type, member),                       \
        .size = sizeof(((struct type *)0)->member), __VA_ARGS__                                                        \
    }

struct wire_table {
    const struct wire_member *members;
    size_t n_members;
    size_t struct_size;
};
#define WIRE_TABLE(type, array)                                                                                        \
    {                                                                                                                  \
        .members = (array), .n_members = ARRAY_LEN(array), .struct_size = sizeof(struct type)                          \
    }
#define WIRE_MEMBERS_MAX 24

/* A new object with the members of 'base'; NULL when memory ran out. */
json_t *wire_table_encode(const struct wire_table *t, const void *base);
/* A new array of 'n' structs in a row. */
json_t *wire_table_encode_list(const struct wire_table *t, const void *base, size_t n);
/* Sets 'key' of 'object'; takes 'value', which may be NULL (memory ran out); -1 when it could not. */
MUST_CHECK int wire_set(json_t *object, const char *key, json_t *value);
/* A new string, cleaned where the text is no UTF-8 or has control characters. */
json_t *wire_text(const char *text);

/* Decodes into 'base', which the caller zeroed; 'extra' are fields besides the table's (lists).  On error 'base' is
 * garbage. */
MUST_CHECK int wire_table_decode(const struct wire_table *t, void *base, const struct json_field *extra, size_t n_extra,
                                 const json_t *object, const char *where, struct err *e);
/* Decodes an array (NULL: empty) of at most 'max' objects into '*out', a new array, NULL when empty; free() it. */
MUST_CHECK int wire_table_decode_list(const struct wire_table *t, void **out, size_t *n, size_t max,
                                      const json_t *array, const char *where, struct err *e);
/* The same into an array of the caller's that has room for 'max'. */
MUST_CHECK int wire_table_decode_fixed(const struct wire_table *t, void *out, unsigned *n, size_t max,
                                       const json_t *array, const char *where, struct err *e);

extern const struct wire_table wire_finding_table;

#endif
