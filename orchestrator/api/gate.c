/* gate.c - counts while headers come, judges at the end; see gate.h. */
#include "api/gate.h"

#include "units.h"

#include <string.h>
#include <strings.h>

void gate_init(struct gate *g)
{
    memset(g, 0, sizeof *g);
}

static bool token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool name_ok(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!token_char((unsigned char)*c))
            return false;
    return *name != '\0';
}

static bool value_ok(const char *value)
{
    for (const unsigned char *c = (const unsigned char *)value; *c; c++)
        if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

static void take_length(struct gate *g, const char *value)
{
    struct err ignored;
    g->n_length++;
    if (units_parse_u64(value, &g->length, &ignored) < 0)
        g->bad_length = true;
}

static void take_encoding(struct gate *g, const char *value)
{
    g->n_encoding++;
    g->chunked = strcasecmp(value, "chunked") == 0;
    if (!g->chunked)
        g->bad_encoding = true;
}

void gate_header(struct gate *g, const char *name, const char *value)
{
    static const struct {
        const char *name;
        size_t offset;
    } counted[] = {
        { "Host", offsetof(struct gate, n_host) },
        { "Authorization", offsetof(struct gate, n_authorization) },
        { "Cookie", offsetof(struct gate, n_cookie) },
        { "Origin", offsetof(struct gate, n_origin) },
        { "Idempotency-Key", offsetof(struct gate, n_key) },
        { "If-Match", offsetof(struct gate, n_match) },
    };
    const char *text = value ? value : "";
    g->n_headers++;
    g->header_bytes += strlen(name) + strlen(text) + 4;
    g->bad_name |= !name_ok(name);
    g->bad_value |= !value_ok(text);
    if (strcasecmp(name, "Content-Length") == 0)
        take_length(g, text);
    else if (strcasecmp(name, "Transfer-Encoding") == 0)
        take_encoding(g, text);
    else if (strcasecmp(name, "Content-Encoding") == 0)
        g->coded |= strcasecmp(text, "identity") != 0;
    for (size_t i = 0; i < ARRAY_LEN(counted); i++)
        if (strcasecmp(name, counted[i].name) == 0)
            ++*(unsigned *)((char *)g + counted[i].offset);
}

static int check_framing(const struct gate *g, struct err *e)
{
    if (g->n_length > 1)
        return err_set(e, ERR_BAD_REQUEST, "more than one Content-Length");
    if (g->n_length && g->n_encoding)
        return err_set(e, ERR_BAD_REQUEST, "Content-Length together with Transfer-Encoding");
    if (g->bad_length)
        return err_set(e, ERR_BAD_REQUEST, "Content-Length is not a number");
    if (g->bad_encoding || g->n_encoding > 1)
        return err_set(e, ERR_BAD_REQUEST, "unknown Transfer-Encoding");
    if (g->bad_name || g->bad_value)
        return err_set(e, ERR_BAD_REQUEST, "malformed header");
    return 0;
}

static int check_once(unsigned n, const char *name, struct err *e)
{
    return n > 1 ? err_set(e, ERR_BAD_REQUEST, "more than one %s header", name) : 0;
}

static bool method_known(const char *method)
{
    static const char *const methods[] = { "GET",   "HEAD",   "POST",   "PUT",
                                           "PATCH", "DELETE", "OPTIONS" /* 405, with Allow */ };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return false;
}

static int check_rest(const struct gate *g, const char *method, const char *version, struct err *e)
{
    if (!method_known(method))
        return err_set(e, ERR_METHOD, "method %.20s", name_ok(method) ? method : "unreadable");
    if (g->n_headers > GATE_HEADERS_MAX || g->header_bytes > GATE_HEADER_BYTES_MAX)
        return err_set(e, ERR_HEADERS_TOO_LARGE, "more than %d headers or %u bytes of them", GATE_HEADERS_MAX,
                       GATE_HEADER_BYTES_MAX);
    if (g->n_host == 0 && strcmp(version, "HTTP/1.0") != 0)
        return err_set(e, ERR_BAD_REQUEST, "no Host header");
    if (g->coded)
        return err_set(e, ERR_BAD_REQUEST, "no Content-Encoding is known here: send the body as it is");
    if (check_once(g->n_authorization, "Authorization", e) < 0 || check_once(g->n_cookie, "Cookie", e) < 0 ||
        check_once(g->n_origin, "Origin", e) < 0 || check_once(g->n_key, "Idempotency-Key", e) < 0)
        return -1;
    return check_once(g->n_match, "If-Match", e);
}

int gate_check(const struct gate *g, const char *method, const char *version, bool *framing, struct err *e)
{
    *framing = true;
    if (check_framing(g, e) < 0 || check_once(g->n_host, "Host", e) < 0)
        return -1;
    *framing = false;
    return check_rest(g, method, version, e);
}
