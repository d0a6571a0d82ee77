#include "config.h"

#include "names.h"
#include "units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    const char *key, *value; /* in 'text' */
    unsigned line;
};

struct section {
    const char *kind, *name; /* in 'text'; name NULL when it has none */
    size_t first, n;         /* its entries */
};

struct config {
    char *path, *text;
    struct section *sections;
    struct entry *entries;
    size_t n_sections, n_entries;
};

static int line_error(const struct config *c, unsigned line, struct err *e, const char *what, const char *which)
{
    return err_set(e, ERR_FIELD_INVALID, "%s:%u: %s%s%.64s", c->path, line, what, *which ? ": " : "", which);
}

static bool same_name(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static const struct section *find_section(const struct config *c, const char *kind, const char *name)
{
    for (size_t i = 0; i < c->n_sections; i++)
        if (!strcmp(c->sections[i].kind, kind) && same_name(c->sections[i].name, name))
            return &c->sections[i];
    return NULL;
}

static const struct entry *find_entry(const struct config *c, const struct section *s, const char *key)
{
    for (size_t i = 0; s && i < s->n; i++)
        if (!strcmp(c->entries[s->first + i].key, key))
            return &c->entries[s->first + i];
    return NULL;
}

static bool is_known(const struct config_key *known, size_t n_known, const struct section *s, const char *key)
{
    for (size_t i = 0; i < n_known; i++)
        if (!strcmp(known[i].section, s->kind) && known[i].named == !!s->name && (!key || !strcmp(known[i].key, key)))
            return true;
    return false;
}

static bool is_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r';
}

static char *trim(char *text)
{
    while (is_space(*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && is_space(end[-1]))
        *--end = '\0';
    return text;
}

static void cut_comment(char *line)
{
    for (char *p = line; *p; p++)
        if ((*p == ';' || *p == '#') && (p == line || is_space(p[-1]))) {
            *p = '\0';
            return;
        }
}

static int add_section(struct config *c, char *line, unsigned number, const struct config_key *known, size_t n_known,
                       struct err *e)
{
    size_t len = strlen(line);
    if (line[len - 1] != ']')
        return line_error(c, number, e, "a section without ]", line);
    line[len - 1] = '\0';
    char *kind = trim(line + 1), *name = strpbrk(kind, " \t");
    if (name) {
        *name = '\0';
        name = trim(name + 1);
    }
    struct section s = { .kind = kind, .name = name, .first = c->n_entries };
    if (!is_known(known, n_known, &s, NULL))
        return line_error(c, number, e, "unknown section", kind);
    if (name && !name_valid(name))
        return line_error(c, number, e, "not a valid name", name);
    if (find_section(c, kind, name))
        return line_error(c, number, e, "this section is there twice", name ? name : kind);
    c->sections[c->n_sections++] = s;
    return 0;
}

static int add_entry(struct config *c, char *line, unsigned number, const struct config_key *known, size_t n_known,
                     struct err *e)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return line_error(c, number, e, "neither [section] nor key=value", line);
    *equals = '\0';
    char *key = trim(line), *value = trim(equals + 1);
    if (!c->n_sections)
        return line_error(c, number, e, "a key before the first section", key);
    struct section *s = &c->sections[c->n_sections - 1];
    if (!is_known(known, n_known, s, key))
        return line_error(c, number, e, "unknown key", key);
    if (find_entry(c, s, key))
        return line_error(c, number, e, "this key is there twice", key);
    c->entries[c->n_entries++] = (struct entry){ .key = key, .value = value, .line = number };
    s->n++;
    return 0;
}

static int parse_lines(struct config *c, const struct config_key *known, size_t n_known, struct err *e)
{
    unsigned number = 0;
    for (char *next = c->text; next;) {
        char *line = next;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        cut_comment(line);
        line = trim(line);
        if (!*line)
            continue;
        int rc = *line == '[' ? add_section(c, line, number, known, n_known, e)
                              : add_entry(c, line, number, known, n_known, e);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int config_parse(struct config **out, const char *text, size_t len, const char *path, const struct config_key *known,
                 size_t n_known, struct err *e)
{
    if (memchr(text, '\0', len) || len > CONFIG_FILE_MAX)
        return err_set(e, ERR_FIELD_INVALID, "%s: not a configuration file", path);
    size_t n_lines = 1;
    for (size_t i = 0; i < len; i++)
        n_lines += text[i] == '\n';
    CLEANUP(config_freep) struct config *c = calloc(1, sizeof *c);
    if (!c || !(c->path = strdup(path)) || !(c->text = strndup(text, len)) ||
        !(c->sections = calloc(n_lines, sizeof *c->sections)) || !(c->entries = calloc(n_lines, sizeof *c->entries)))
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    if (parse_lines(c, known, n_known, e) < 0)
        return -1;
    *out = TAKE(c);
    return 0;
}

static void close_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

int config_load(struct config **out, const char *path, const struct config_key *known, size_t n_known, struct err *e)
{
    CLEANUP(close_file) FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(e, ERR_IO, "cannot open %s", path);
    CLEANUP(cleanup_free) char *text = malloc(CONFIG_FILE_MAX + 1);
    if (!text)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    size_t len = fread(text, 1, CONFIG_FILE_MAX + 1, f);
    if (ferror(f))
        return err_errno(e, ERR_IO, "cannot read %s", path);
    return config_parse(out, text, len, path, known, n_known, e);
}

void config_free(struct config *c)
{
    if (!c)
        return;
    free(c->path);
    free(c->text);
    free(c->sections);
    free(c->entries);
    free(c);
}

void config_freep(struct config **c)
{
    config_free(*c);
}

const char *config_name(const struct config *c, const char *section, size_t i)
{
    for (size_t k = 0; k < c->n_sections; k++)
        if (c->sections[k].name && !strcmp(c->sections[k].kind, section) && !i--)
            return c->sections[k].name;
    return NULL;
}

const char *config_get(const struct config *c, const char *section, const char *name, const char *key,
                       const char *fallback)
{
    const struct entry *entry = find_entry(c, find_section(c, section, name), key);
    return entry ? entry->value : fallback;
}

int config_error(const struct config *c, const char *section, const char *name, const char *key, const char *what,
                 struct err *e)
{
    const struct entry *entry = find_entry(c, find_section(c, section, name), key);
    return err_set(e, ERR_FIELD_INVALID, "%s:%u: %s: %s", c->path, entry ? entry->line : 0, key, what);
}

int config_u64(const struct config *c, const char *section, const char *name, const char *key, uint64_t min,
               uint64_t max, uint64_t *out, struct err *e)
{
    const char *text = config_get(c, section, name, key, NULL);
    uint64_t value;
    if (!text)
        return 0;
    if (units_parse_u64(text, &value, e) < 0)
        return config_error(c, section, name, key, "not a number", e);
    if (value < min || value > max)
        return config_error(c, section, name, key, "out of range", e);
    *out = value;
    return 0;
}

int config_addr(const struct config *c, const char *section, const char *name, const char *key, uint64_t *out,
                struct err *e)
{
    const char *text = config_get(c, section, name, key, NULL);
    if (text && units_parse_addr(text, out, e) < 0)
        return config_error(c, section, name, key, "not an address (0x...)", e);
    return 0;
}

int config_size(const struct config *c, const char *section, const char *name, const char *key, uint64_t *out,
                struct err *e)
{
    const char *text = config_get(c, section, name, key, NULL);
    if (text && units_parse_size(text, out, e) < 0)
        return config_error(c, section, name, key, "not a size", e);
    return 0;
}
