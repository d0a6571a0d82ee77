#include "json.h"

#include "names.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHERE_MAX 160

/* jansson drops characters, and callers drop members, when an allocation fails; so it is noted here, and the whole of
 * what was read or built is given up. */
static _Thread_local bool starved;

static void *noting_malloc(size_t size)
{
    void *p = malloc(size);
    if (!p)
        starved = true;
    return p;
}

__attribute__((constructor)) static void note_failures(void)
{
    json_set_alloc_funcs(noting_malloc, free);
}

bool json_starved(void)
{
    bool was = starved;
    starved = false;
    return was;
}

void json_starve(void)
{
    starved = true;
}

void json_freep(json_t **j)
{
    json_decref(*j);
    *j = NULL;
}

/* Depth is counted before parsing, so that nesting costs neither stack nor memory. */
static bool too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* jansson refuses a text with an integer beyond 2^63 - 1 as a whole; its field should be named instead.  Makes each
 * such integer a real number in place, which no field takes; decode_number() calls it too large. */
static void spoil_huge_integers(char *text, size_t len)
{
    static const char limit[] = "9223372036854775807", real[] = "1e300";
    bool in_string = false;
    for (size_t i = 0, n; i < len; i += n) {
        char before = i ? text[i - 1] : ' ';
        n = 1;
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string && text[i] == '\\')
            n = 2;
        if (in_string || text[i] < '0' || text[i] > '9')
            continue;
        while (i + n < len && text[i + n] >= '0' && text[i + n] <= '9')
            n++;
        bool whole = before != '.' && before != 'e' && before != 'E' && before != '+' &&
                     !(i + n < len && (text[i + n] == '.' || text[i + n] == 'e' || text[i + n] == 'E'));
        if (whole && (n >= sizeof limit || (n == sizeof limit - 1 && memcmp(text + i, limit, n) > 0))) {
            memset(text + i, ' ', n);
            memcpy(text + i, real, sizeof real - 1);
        }
    }
}

static json_t *load_with_huge_integers(const char *text, size_t len, json_error_t *why)
{
    CLEANUP(cleanup_free) char *copy = noting_malloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    spoil_huge_integers(copy, len);
    return json_loadb(copy, len, JSON_REJECT_DUPLICATES, why);
}

int json_parse(json_t **out, const char *text, size_t len, struct err *e)
{
    json_error_t why;
    if (too_deep(text, len))
        return err_set(e, ERR_BODY_INVALID, "nested more than %d deep", JSON_DEPTH_MAX);
    (void)json_starved();
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!j && json_error_code(&why) == json_error_numeric_overflow)
        j = load_with_huge_integers(text, len, &why);
    if (json_starved()) {
        json_decref(j);
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    if (!j)
        return err_set(e, ERR_BODY_INVALID, "line %d, column %d: %.120s", why.line, why.column, why.text);
    *out = j;
    return 0;
}

static int read_all(const char *path, size_t max, char **out, size_t *len, struct err *e)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_IO, "%.150s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%.150s is not a file", path);
    if ((uint64_t)st.st_size > max)
        return err_set(e, ERR_TOO_LARGE, "%.150s is larger than %zu bytes", path, max);
    CLEANUP(cleanup_free) char *text = malloc((size_t)st.st_size + 1);
    if (!text)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    size_t n = 0;
    while (n < (size_t)st.st_size) {
        ssize_t k = read(fd, text + n, (size_t)st.st_size - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, ERR_IO, "%.150s", path);
        if (k == 0)
            break;
        n += (size_t)k;
    }
    *out = TAKE(text);
    *len = n;
    return 0;
}

int json_parse_file(json_t **out, const char *path, size_t max, struct err *e)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t len = 0;
    struct err inner;
    if (read_all(path, max, &text, &len, e) < 0)
        return -1;
    if (json_parse(out, text, len, &inner) < 0)
        return err_set(e, inner.code, "%.100s: %.140s", path, inner.detail);
    return 0;
}

static const char *path_of(const char *where, const char *name, char buf[WHERE_MAX])
{
    snprintf(buf, WHERE_MAX, "%s%s%s", where, *where ? "." : "", name);
    return buf;
}

static const char *kind_words(enum json_kind kind)
{
    switch (kind) {
    case JSON_KIND_STRING:
        return "a string";
    case JSON_KIND_NAME:
        return "a name: [a-z0-9][a-z0-9-]{0,62}";
    case JSON_KIND_ID:
        return "an id";
    case JSON_KIND_U64:
    case JSON_KIND_U32:
        return "a whole number";
    case JSON_KIND_BOOL:
        return "true or false";
    case JSON_KIND_ADDR:
        return "an address such as \"0x1000\"";
    case JSON_KIND_ENUM:
        return "a string";
    case JSON_KIND_OBJECT:
        return "an object";
    case JSON_KIND_ARRAY:
        return "a list";
    }
    return "something else";
}

static int bad(const struct json_field *f, const char *where, struct err *e)
{
    char path[WHERE_MAX];
    path_of(where, f->name, path);
    return err_field(e, f->code ? f->code : ERR_FIELD_INVALID, path, "%s has to be %s", path, kind_words(f->kind));
}

/* Also U+0080 to U+009F, which a terminal takes for the beginning of a command. */
static bool control_at(const char *s)
{
    unsigned char c = (unsigned char)s[0];
    return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

static int decode_string(const struct json_field *f, const json_t *v, const char *where, struct err *e)
{
    char path[WHERE_MAX];
    size_t size = f->kind == JSON_KIND_NAME ? NAME_SIZE : f->kind == JSON_KIND_ID ? ID_SIZE : f->size;
    if (!json_is_string(v))
        return bad(f, where, e);
    const char *s = json_string_value(v);
    size_t n = json_string_length(v);
    path_of(where, f->name, path);
    if (n >= size)
        return err_field(e, f->code ? f->code : ERR_FIELD_INVALID, path, "%s is longer than %zu characters", path,
                         size - 1);
    for (size_t i = 0; i < n; i++)
        if (control_at(s + i))
            return err_field(e, f->code ? f->code : ERR_FIELD_INVALID, path, "%s has a control character", path);
    if ((f->kind == JSON_KIND_NAME && !name_valid(s)) || (f->kind == JSON_KIND_ID && !id_valid(s)))
        return bad(f, where, e);
    memcpy(f->out, s, n + 1);
    return 0;
}

static int decode_number(const struct json_field *f, const json_t *v, const char *where, struct err *e)
{
    char path[WHERE_MAX];
    uint64_t max = f->max ? f->max : f->kind == JSON_KIND_U32 ? UINT32_MAX : INT64_MAX;
    bool huge = json_is_real(v) && fabs(json_real_value(v)) > (double)INT64_MAX; /* see spoil_huge_integers() */
    if (!json_is_integer(v) && !huge)
        return bad(f, where, e);
    json_int_t n = json_integer_value(v);
    if (huge || n < 0 || (uint64_t)n < f->min || (uint64_t)n > max) {
        path_of(where, f->name, path);
        return err_field(e, f->code ? f->code : ERR_FIELD_INVALID, path, "%s has to be from %llu to %llu", path,
                         (unsigned long long)f->min, (unsigned long long)max);
    }
    if (f->kind == JSON_KIND_U32)
        *(unsigned *)f->out = (unsigned)n;
    else
        *(uint64_t *)f->out = (uint64_t)n;
    return 0;
}

static int decode_enum(const struct json_field *f, const json_t *v, const char *where, struct err *e)
{
    char path[WHERE_MAX], list[120] = "";
    if (!json_is_string(v))
        return bad(f, where, e);
    for (int i = 0; f->names[i]; i++) {
        size_t n = strlen(list);
        if (!strcmp(f->names[i], json_string_value(v))) {
            *(int *)f->out = i;
            return 0;
        }
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", f->names[i]);
    }
    path_of(where, f->name, path);
    return err_field(e, f->code ? f->code : ERR_FIELD_INVALID, path, "%s has to be one of: %s", path, list);
}

static int decode_list(const struct json_field *f, const json_t *v, const char *where, struct err *e)
{
    char path[WHERE_MAX];
    if (!json_is_array(v))
        return bad(f, where, e);
    if (f->max && json_array_size(v) > f->max) {
        path_of(where, f->name, path);
        return err_field(e, f->code ? f->code : ERR_FIELD_INVALID, path, "%s has more than %llu entries", path,
                         (unsigned long long)f->max);
    }
    *(const json_t **)f->out = v;
    return 0;
}

static int decode_one(const struct json_field *f, const json_t *v, const char *where, struct err *e)
{
    struct err ignored;
    switch (f->kind) {
    case JSON_KIND_STRING:
    case JSON_KIND_NAME:
    case JSON_KIND_ID:
        return decode_string(f, v, where, e);
    case JSON_KIND_U64:
    case JSON_KIND_U32:
        return decode_number(f, v, where, e);
    case JSON_KIND_BOOL:
        if (!json_is_boolean(v))
            return bad(f, where, e);
        *(bool *)f->out = json_is_true(v);
        return 0;
    case JSON_KIND_ADDR:
        if (!json_is_string(v) || units_parse_addr(json_string_value(v), f->out, &ignored) < 0)
            return bad(f, where, e);
        return 0;
    case JSON_KIND_ENUM:
        return decode_enum(f, v, where, e);
    case JSON_KIND_OBJECT:
        if (!json_is_object(v))
            return bad(f, where, e);
        *(const json_t **)f->out = v;
        return 0;
    case JSON_KIND_ARRAY:
        return decode_list(f, v, where, e);
    }
    return bad(f, where, e);
}

static bool field_known(const struct json_field *fields, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(fields[i].name, name))
            return true;
    return false;
}

static int check_unknown(const json_t *object, const struct json_field *fields, size_t n, const char *where,
                         struct err *e)
{
    const char *key;
    json_t *value;
    char path[WHERE_MAX];
    json_object_foreach((json_t *)object, key, value) if (!field_known(fields, n, key))
    {
        path_of(where, key, path);
        return err_field(e, ERR_FIELD_UNKNOWN, path, "%.100s is not a known field", path);
    }
    return 0;
}

int json_decode(const json_t *object, const struct json_field *fields, size_t n_fields, const char *where,
                struct err *e)
{
    char path[WHERE_MAX];
    if (!json_is_object(object))
        return err_field(e, ERR_FIELD_INVALID, where, "%s has to be an object", *where ? where : "the body");
    size_t n_seen = 0;
    for (size_t i = 0; i < n_fields; i++) {
        const struct json_field *f = &fields[i];
        const json_t *v = json_object_get(object, f->name);
        if (f->present)
            *f->present = v != NULL;
        n_seen += v != NULL;
        if (v && decode_one(f, v, where, e) < 0)
            return -1;
        if (!v && f->required) {
            path_of(where, f->name, path);
            return err_field(e, ERR_FIELD_MISSING, path, "%s is missing", path);
        }
    }
    return n_seen == json_object_size(object) ? 0 : check_unknown(object, fields, n_fields, where, e);
}

json_t *json_addr(uint64_t addr)
{
    char buf[UNITS_ADDR_MAX];
    return json_string(units_format_addr(addr, buf));
}

json_t *json_u64(uint64_t v)
{
    return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

json_t *json_time(int64_t unix_ms)
{
    char buf[UNITS_TIME_MAX];
    return json_string(units_format_time(unix_ms, buf));
}

char *json_text(const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);
    if (!json_starved())
        return text;
    free(text);
    return NULL;
}
