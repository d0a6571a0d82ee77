/* target.c - see target.h. */
#include "api/target.h"

#include <stdint.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Length of the well-formed UTF-8 sequence at 's' (RFC 3629: no surrogates, no overlong forms), 0 when it is none. */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
    static const struct {
        unsigned char lead_min, lead_max, second_min, second_max;
        size_t n;
    } forms[] = {
        { 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
        if (s[0] < forms[f].lead_min || s[0] > forms[f].lead_max)
            continue;
        if (forms[f].n > len || (forms[f].n > 1 && (s[1] < forms[f].second_min || s[1] > forms[f].second_max)))
            return 0;
        for (size_t k = 2; k < forms[f].n; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return forms[f].n;
    }
    return 0;
}

bool utf8_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence((const unsigned char *)s + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

/* Decodes [from, from + len) to 'to', NUL-terminated; answers the byte behind the NUL. */
static int decode(const char *from, size_t len, bool plus, char **to, struct err *e)
{
    char *out = *to;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_digit(from[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(from[i + 2]);
            if (high < 0 || low < 0)
                return err_set(e, ERR_BAD_REQUEST, "bad escape in the request target");
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return err_set(e, ERR_BAD_REQUEST, "control character in the request target");
        *out++ = (char)c;
    }
    if (!utf8_valid(*to, (size_t)(out - *to)))
        return err_set(e, ERR_BAD_REQUEST, "the request target is not valid UTF-8");
    *out++ = '\0';
    *to = out;
    return 0;
}

static int take_segment(struct target *t, const char *from, size_t len, char **text, struct err *e)
{
    const char *segment = *text;
    if (len == 0)
        return err_set(e, ERR_BAD_REQUEST, "empty segment in the path");
    if (t->n_segments == TARGET_SEGMENTS)
        return err_set(e, ERR_BAD_REQUEST, "more than %d segments in the path", TARGET_SEGMENTS);
    if (decode(from, len, false, text, e) < 0)
        return -1;
    if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
        return err_set(e, ERR_BAD_REQUEST, "dot segment in the path");
    t->segments[t->n_segments++] = segment;
    return 0;
}

static int take_path(struct target *t, const char *path, size_t len, char **text, struct err *e)
{
    if (len == 0 || path[0] != '/')
        return err_set(e, ERR_BAD_REQUEST, "the request target does not begin with a slash");
    if (len == 1)
        return 0;
    size_t start = 1;
    for (size_t i = 1; i <= len; i++) {
        if (i < len && path[i] != '/')
            continue;
        if (take_segment(t, path + start, i - start, text, e) < 0)
            return -1;
        start = i + 1;
    }
    return 0;
}

static int take_pair(struct target *t, const char *from, size_t len, char **text, struct err *e)
{
    const char *equals = memchr(from, '=', len);
    size_t name_len = equals ? (size_t)(equals - from) : len;
    if (len == 0)
        return 0;
    if (t->n_query == TARGET_QUERY)
        return err_set(e, ERR_BAD_REQUEST, "more than %d query parameters", TARGET_QUERY);
    const char *name = *text;
    if (decode(from, name_len, true, text, e) < 0)
        return -1;
    const char *value = *text;
    const char *value_from = equals ? equals + 1 : from + len;
    if (decode(value_from, (size_t)(from + len - value_from), true, text, e) < 0)
        return -1;
    for (unsigned i = 0; i < t->n_query; i++)
        if (strcmp(t->query[i].name, name) == 0)
            return err_set(e, ERR_BAD_REQUEST, "query parameter %.60s is there twice", name);
    t->query[t->n_query].name = name;
    t->query[t->n_query++].value = value;
    return 0;
}

static int take_query(struct target *t, const char *query, size_t len, char **text, struct err *e)
{
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && query[i] != '&')
            continue;
        if (take_pair(t, query + start, i - start, text, e) < 0)
            return -1;
        start = i + 1;
    }
    return 0;
}

static int parse(struct target *t, struct err *e)
{
    /* Decoding never lengthens; the room besides is for one NUL for each segment, name and value. */
    char *text = t->text;
    size_t len = strlen(t->raw);
    const char *question = memchr(t->raw, '?', len);
    size_t path_len = question ? (size_t)(question - t->raw) : len;
    if (memchr(t->raw, '#', len))
        return err_set(e, ERR_BAD_REQUEST, "fragment in the request target");
    if (take_path(t, t->raw, path_len, &text, e) < 0)
        return -1;
    return question ? take_query(t, question + 1, len - path_len - 1, &text, e) : 0;
}

int target_parse(struct target *out, const char *uri, struct err *e)
{
    size_t len = strnlen(uri, TARGET_MAX);
    out->n_segments = out->n_query = 0;
    memcpy(out->raw, uri, len < TARGET_MAX ? len : TARGET_MAX - 1);
    out->raw[len < TARGET_MAX ? len : TARGET_MAX - 1] = '\0';
    if (len > TARGET_MAX - 2 * TARGET_QUERY - TARGET_SEGMENTS - 2)
        return err_set(e, ERR_HEADERS_TOO_LARGE, "the request target is too long");
    if (parse(out, e) < 0) {
        out->n_segments = out->n_query = 0;
        return -1;
    }
    return 0;
}

const char *target_query(const struct target *t, const char *name)
{
    for (unsigned i = 0; i < t->n_query; i++)
        if (strcmp(t->query[i].name, name) == 0)
            return t->query[i].value;
    return NULL;
}
