/* config.h - small INI files, read strictly: "[section]" or "[section name]", "key=value", comments with ';' or '#'.
 *
 * The caller names every section and key that may occur; anything else, a key that comes twice, a section that comes
 * twice or a line that is neither is an error with file and line.  A comment begins at the start of a line, or behind
 * white space. (Own reader: the packaged libinih cuts lines at 200 and sections at 50 characters, silently, and reports
 * no empty section.) Reads the file once, in config_load(); thread-safe after that. */
#ifndef MEMLANE_CONFIG_H
#define MEMLANE_CONFIG_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_FILE_MAX (256u << 10)

struct config_key {
    const char *section; /* "agent" */
    bool named;          /* "[adapter afu0]": has a name, name_valid(), and may occur once for each */
    const char *key;
};

struct config;
/* Only a key that the caller listed is accepted.  '*out' is the caller's. */
MUST_CHECK int config_load(struct config **out, const char *path, const struct config_key *known, size_t n_known,
                           struct err *e);
/* The same from text; 'path' is for messages only. */
MUST_CHECK int config_parse(struct config **out, const char *text, size_t len, const char *path,
                            const struct config_key *known, size_t n_known, struct err *e);
void config_free(struct config *c); /* ignores NULL */
void config_freep(struct config **c);

/* The name of the i-th "[section NAME]" of the file, in its order; NULL when there are no more. */
const char *config_name(const struct config *c, const char *section, size_t i);
/* The value, or 'fallback' when the key is not there; lives as long as 'c'.  'name' is NULL for a section without. */
const char *config_get(const struct config *c, const char *section, const char *name, const char *key,
                       const char *fallback);
/* Numbers; '*out' is unchanged when the key is not there; errors name file, line and key. */
MUST_CHECK int config_u64(const struct config *c, const char *section, const char *name, const char *key, uint64_t min,
                          uint64_t max, uint64_t *out, struct err *e);
MUST_CHECK int config_addr(const struct config *c, const char *section, const char *name, const char *key,
                           uint64_t *out, struct err *e);
MUST_CHECK int config_size(const struct config *c, const char *section, const char *name, const char *key,
                           uint64_t *out, struct err *e);
/* An error about a value: "FILE:LINE: KEY: what"; always -1. */
MUST_CHECK int config_error(const struct config *c, const char *section, const char *name, const char *key,
                            const char *what, struct err *e);

#endif
