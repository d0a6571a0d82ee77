#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int parse_digits(const char *text, unsigned base, uint64_t *out)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; text[n]; n++) {
        unsigned char c = (unsigned char)text[n];
        unsigned digit = isdigit(c) ? c - (unsigned)'0' : isxdigit(c) ? (unsigned)tolower(c) - 'a' + 10 : 99;
        if (digit >= base || v > (UINT64_MAX - digit) / base)
            return -1;
        v = v * base + digit;
    }
    if (n == 0)
        return -1;
    *out = v;
    return 0;
}

int units_parse_u64(const char *text, uint64_t *out, struct err *e)
{
    if (parse_digits(text, 10, out) < 0)
        return err_set(e, ERR_FIELD_INVALID, "'%.40s' is not a whole number", text);
    return 0;
}

int units_parse_hex(const char *text, uint64_t *out, struct err *e)
{
    const char *digits = !strncmp(text, "0x", 2) ? text + 2 : text;
    if (parse_digits(digits, 16, out) < 0)
        return err_set(e, ERR_FIELD_INVALID, "'%.40s' is not a hexadecimal number", text);
    return 0;
}

int units_parse_addr(const char *text, uint64_t *out, struct err *e)
{
    if (strncmp(text, "0x", 2) != 0 || parse_digits(text + 2, 16, out) < 0)
        return err_set(e, ERR_FIELD_INVALID, "'%.40s' is not an address: 0x and up to 16 hexadecimal digits", text);
    return 0;
}

/* The factor of a unit ("", "B", "K", "KB", "KiB", ...), 0 when it is none. */
static uint64_t size_unit(const char *unit)
{
    static const char letters[] = "KMGTP";
    if (!unit[0] || !strcasecmp(unit, "b"))
        return 1;
    const char *at = strchr(letters, toupper((unsigned char)unit[0]));
    if (!at || (unit[1] && strcasecmp(unit + 1, "ib") != 0 && strcasecmp(unit + 1, "b") != 0))
        return 0;
    return UINT64_C(1) << (10 * (at - letters + 1));
}

static int bad_size(const char *text, struct err *e)
{
    return err_set(e, ERR_SIZE_INVALID, "'%.40s' is not a size such as 256MiB, 16GiB or 1.5TiB", text);
}

static int too_large(const char *text, struct err *e)
{
    return err_set(e, ERR_SIZE_INVALID, "'%.40s' is more than 2^63 - 1 bytes", text);
}

int units_parse_size(const char *text, uint64_t *out, struct err *e)
{
    char whole[24] = "", fraction[16] = "";
    size_t n = strspn(text, "0123456789"), m = 0;
    const char *rest = text + n;
    if (*rest == '.') {
        m = strspn(rest + 1, "0123456789");
        if (m == 0 || m > 9)
            return bad_size(text, e);
        memcpy(fraction, rest + 1, m);
        rest += 1 + m;
    }
    while (*rest == ' ')
        rest++;
    uint64_t unit = size_unit(rest), v, f = 0, scale = 1;
    if (n == 0 || !unit)
        return bad_size(text, e);
    memcpy(whole, text, n < sizeof whole ? n : 0);
    if (n >= sizeof whole || parse_digits(whole, 10, &v) < 0)
        return too_large(text, e);
    if (m && parse_digits(fraction, 10, &f) < 0)
        return bad_size(text, e);
    for (size_t i = 0; i < m; i++)
        scale *= 10;
    unsigned __int128 bytes = (unsigned __int128)v * unit + (unsigned __int128)f * unit / scale;
    if ((unsigned __int128)f * unit % scale)
        return bad_size(text, e);
    if (bytes > INT64_MAX)
        return too_large(text, e);
    *out = (uint64_t)bytes;
    return 0;
}

/* The number at '*at', which moves on behind it. */
static int take_index(const char **at, unsigned n_bits, unsigned *out)
{
    unsigned v = 0;
    if (**at < '0' || **at > '9')
        return -1;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        v = 10 * v + (unsigned)(**at - '0');
        if (v >= n_bits)
            return -1;
    }
    *out = v;
    return 0;
}

int units_parse_set(const char *text, unsigned long *mask, unsigned n_bits, struct err *e)
{
    const unsigned bits = 8 * sizeof *mask;
    const char *at = text;
    for (;;) {
        unsigned first, last;
        if (take_index(&at, n_bits, &first) < 0)
            break;
        last = first;
        if (*at == '-' && (at++, take_index(&at, n_bits, &last) < 0 || last < first))
            break;
        for (unsigned i = first; i <= last; i++)
            mask[i / bits] |= 1UL << i % bits;
        if (*at == '\0')
            return 0;
        if (*at++ != ',')
            break;
    }
    return err_set(e, ERR_FIELD_INVALID, "'%.40s' is no list of numbers below %u such as 0,2-5", text, n_bits);
}

int units_parse_double(const char *text, double *out, struct err *e)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(v))
        return err_set(e, ERR_FIELD_INVALID, "'%.40s' is not a number", text);
    *out = v;
    return 0;
}

char *units_format_size(uint64_t bytes, char buf[UNITS_SIZE_MAX])
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned i = 0;
    uint64_t unit = 1;
    while (i + 1 < sizeof names / sizeof names[0] && bytes / unit >= 1024) {
        unit <<= 10;
        i++;
    }
    unsigned __int128 tenths = ((unsigned __int128)bytes * 10 + unit / 2) / unit;
    if (tenths % 10)
        snprintf(buf, UNITS_SIZE_MAX, "%" PRIu64 ".%u %s", (uint64_t)(tenths / 10), (unsigned)(tenths % 10), names[i]);
    else
        snprintf(buf, UNITS_SIZE_MAX, "%" PRIu64 " %s", (uint64_t)(tenths / 10), names[i]);
    return buf;
}

char *units_format_addr(uint64_t addr, char buf[UNITS_ADDR_MAX])
{
    snprintf(buf, UNITS_ADDR_MAX, "0x%" PRIx64, addr);
    return buf;
}

char *units_format_time(int64_t unix_ms, char buf[UNITS_TIME_MAX])
{
    struct tm tm;
    int64_t s = unix_ms / 1000;
    int ms = (int)(unix_ms % 1000);
    if (ms < 0) {
        ms += 1000;
        s--;
    }
    time_t t = (time_t)s;
    char date[24];
    if (!gmtime_r(&t, &tm) || !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm))
        snprintf(date, sizeof date, "1970-01-01T00:00:00");
    snprintf(buf, UNITS_TIME_MAX, "%s.%03dZ", date, ms);
    return buf;
}

uint64_t units_round_up(uint64_t value, uint64_t unit)
{
    uint64_t rest = value % unit;
    if (!rest)
        return value;
    return value > UINT64_MAX - (unit - rest) ? UINT64_MAX : value + (unit - rest);
}

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t time_wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

int64_t time_monotonic_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t time_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}
