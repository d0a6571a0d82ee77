#include "wire_table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int wire_set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new_nocheck(object, key, value);
}

json_t *wire_text(const char *text)
{
    size_t len = strlen(text);
    bool clean = true;
    for (size_t i = 0; i < len && clean; i++)
        clean = (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
    json_t *j = clean ? json_stringn(text, len) : NULL; /* NULL too for what is no UTF-8 */
    if (j)
        return j;
    CLEANUP(cleanup_free) char *copy = strdup(text);
    if (!copy)
        return NULL;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)copy[i] < 0x20 || (unsigned char)copy[i] >= 0x7f)
            copy[i] = '?';
    return json_stringn_nocheck(copy, len);
}

static bool left_out(const struct wire_member *m, const void *p)
{
    if (!m->optional)
        return false;
    if (m->kind == JSON_KIND_STRING || m->kind == JSON_KIND_NAME || m->kind == JSON_KIND_ID)
        return !*(const char *)p;
    return m->kind == JSON_KIND_U32 && *(const unsigned *)p == UINT32_MAX;
}

static json_t *encode_member(const struct wire_member *m, const void *p)
{
    switch (m->kind) {
    case JSON_KIND_NAME:
    case JSON_KIND_ID:
    case JSON_KIND_STRING:
        return wire_text(p);
    case JSON_KIND_U64:
        return json_u64(*(const uint64_t *)p);
    case JSON_KIND_U32:
        return json_integer((json_int_t) * (const unsigned *)p);
    case JSON_KIND_BOOL:
        return json_boolean(*(const bool *)p);
    case JSON_KIND_ADDR:
        return json_addr(*(const uint64_t *)p);
    case JSON_KIND_ENUM:
        return json_string_nocheck(m->names[*(const int *)p]);
    case JSON_KIND_OBJECT:
    case JSON_KIND_ARRAY:
        break;
    }
    assert(!"no such kind in a table");
    return NULL;
}

json_t *wire_table_encode(const struct wire_table *t, const void *base)
{
    json_t *object = json_object();
    if (!object)
        return NULL;
    for (size_t i = 0; i < t->n_members; i++) {
        const struct wire_member *m = &t->members[i];
        const void *p = (const char *)base + m->offset;
        if (!left_out(m, p) && wire_set(object, m->name, encode_member(m, p)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *wire_table_encode_list(const struct wire_table *t, const void *base, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++)
        if (json_array_append_new(array, wire_table_encode(t, (const char *)base + i * t->struct_size)) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

int wire_table_decode(const struct wire_table *t, void *base, const struct json_field *extra, size_t n_extra,
                      const json_t *object, const char *where, struct err *e)
{
    struct json_field fields[WIRE_MEMBERS_MAX];
    assert(t->n_members + n_extra <= WIRE_MEMBERS_MAX);
    for (size_t i = 0; i < t->n_members; i++) {
        const struct wire_member *m = &t->members[i];
        fields[i] = (struct json_field){ .name = m->name,
                                         .kind = m->kind,
                                         .required = !m->optional,
                                         .out = (char *)base + m->offset,
                                         .size = m->size,
                                         .min = m->min,
                                         .max = m->max,
                                         .names = m->names };
    }
    for (size_t i = 0; i < n_extra; i++)
        fields[t->n_members + i] = extra[i];
    return json_decode(object, fields, t->n_members + n_extra, where, e);
}

static int decode_into(const struct wire_table *t, char *out, size_t n, const json_t *array, const char *where,
                       struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", where, i);
        if (wire_table_decode(t, out + i * t->struct_size, NULL, 0, json_array_get(array, i), path, e) < 0)
            return -1;
    }
    return 0;
}

static int check_length(const json_t *array, size_t max, const char *where, struct err *e)
{
    if (json_array_size(array) > max)
        return err_field(e, ERR_FIELD_INVALID, where, "%s has more than %zu elements", where, max);
    return 0;
}

int wire_table_decode_list(const struct wire_table *t, void **out, size_t *n, size_t max, const json_t *array,
                           const char *where, struct err *e)
{
    size_t count = json_array_size(array); /* 0 for NULL */
    if (check_length(array, max, where, e) < 0)
        return -1;
    CLEANUP(cleanup_free) char *list = NULL;
    if (count && !(list = calloc(count, t->struct_size)))
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (decode_into(t, list, count, array, where, e) < 0)
        return -1;
    *out = TAKE(list);
    *n = count;
    return 0;
}

int wire_table_decode_fixed(const struct wire_table *t, void *out, unsigned *n, size_t max, const json_t *array,
                            const char *where, struct err *e)
{
    size_t count = json_array_size(array);
    if (check_length(array, max, where, e) < 0 || decode_into(t, out, count, array, where, e) < 0)
        return -1;
    *n = (unsigned)count;
    return 0;
}
