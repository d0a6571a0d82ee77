#include "log.h"

#include "units.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define REPEATS_PER_SECOND 10
#define REPEAT_SLOTS 64

static struct {
    pthread_mutex_t lock;
    enum log_level level;
    bool json;
    struct repeat {
        char event[48];
        enum log_level level;
        int64_t since_ms;
        unsigned n, dropped;
    } repeats[REPEAT_SLOTS];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_LEVEL_INFO };

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const int syslog_priority[] = { 3, 4, 6, 7 };

void log_set_level(enum log_level level)
{
    pthread_mutex_lock(&state.lock);
    state.level = level;
    pthread_mutex_unlock(&state.lock);
}

void log_set_json(bool json)
{
    pthread_mutex_lock(&state.lock);
    state.json = json;
    pthread_mutex_unlock(&state.lock);
}

bool log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
        if (!strcmp(name, level_names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

static struct repeat *repeat_slot(const char *event, enum log_level level)
{
    unsigned h = 5381 + (unsigned)level;
    for (const char *p = event; *p; p++)
        h = h * 33 + (unsigned char)*p;
    return &state.repeats[h % REPEAT_SLOTS];
}

/* Whether this line is to be written; '*dropped' is what was kept back of this event before it. */
static bool admit(enum log_level level, const char *event, unsigned *dropped)
{
    struct repeat *r = repeat_slot(event, level);
    int64_t now = time_monotonic_ms();
    *dropped = 0;
    if (r->level != level || strncmp(r->event, event, sizeof r->event - 1) || now - r->since_ms >= 1000) {
        *dropped = r->level == level && !strncmp(r->event, event, sizeof r->event - 1) ? r->dropped : 0;
        snprintf(r->event, sizeof r->event, "%s", event);
        r->level = level;
        r->since_ms = now;
        r->n = 0;
        r->dropped = 0;
    }
    if (r->n < REPEATS_PER_SECOND) {
        r->n++;
        return true;
    }
    r->dropped++;
    return false;
}

/* A JSON string without its quotes; what is no printable ASCII is escaped or replaced.  By hand, because the lender
 * logs too, and links no JSON library. */
static void json_escape(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            out[n++] = '\\';
        out[n++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    out[n] = '\0';
}

static size_t format_json(char *line, size_t size, enum log_level level, const char *event, const char *text)
{
    char at[UNITS_TIME_MAX], name[64], message[LINE_MAX_BYTES - 64];
    json_escape(name, sizeof name, event);
    json_escape(message, sizeof message, text);
    int n = snprintf(line, size, "{\"at\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"message\":\"%s\"}",
                     units_format_time(time_wall_ms(), at), level_names[level], name, message);
    return n < 0 ? 0 : (size_t)n;
}

static void emit(enum log_level level, const char *event, const char *text)
{
    char line[LINE_MAX_BYTES + 96];
    size_t n;
    if (state.json) {
        n = format_json(line, sizeof line - 1, level, event, text);
    } else {
        int k = snprintf(line, sizeof line - 1, "<%d>%s %s", syslog_priority[level], event, text);
        n = k < 0 ? 0 : (size_t)k;
    }
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    /* Nobody is left to tell of a failure.  A journal that hangs, behind a socket, costs lines, never the program. */
    ssize_t ignored = send(STDERR_FILENO, line, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (ignored < 0 && errno == ENOTSOCK)
        ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    char text[LINE_MAX_BYTES];
    unsigned dropped = 0;
    pthread_mutex_lock(&state.lock);
    if (level <= state.level && admit(level, event, &dropped)) {
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        if (dropped && n >= 0 && (size_t)n < sizeof text)
            snprintf(text + n, sizeof text - (size_t)n, " repeats_dropped=%u", dropped);
        for (char *p = text; *p; p++)
            if ((unsigned char)*p < 0x20)
                *p = ' ';
        emit(level, event, text);
    }
    pthread_mutex_unlock(&state.lock);
}
