/* log.h - the log: one event a line on standard error, "<N>event key=value ...", as journald takes it.
 *
 * error = a human acts, warn = we coped, info = a state changed, debug = off by default.  A line that repeats (same
 * level and event) more than 10 times a second is counted and summed up instead.  Never log a token or what memory
 * holds. Thread-safe: one write a line; a socket that is full (the journal's) takes
 * no line, and stops nobody. */
#ifndef MEMLANE_LOG_H
#define MEMLANE_LOG_H

#include "compiler.h"
#include "err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level); /* default info; the only global of the project */
void log_set_json(bool json);             /* one JSON object a line instead */
MUST_CHECK bool log_level_parse(const char *name, enum log_level *out);
void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);

#define log_error(event, ...) log_write(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_write(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

#endif
