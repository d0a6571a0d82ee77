#include "args.h"

#include <stdio.h>
#include <string.h>

static const struct arg_option *find_long(const struct arg_option *o, size_t n, const char *name, size_t len,
                                          bool *negated)
{
    *negated = false;
    for (size_t i = 0; i < n; i++)
        if (strlen(o[i].name) == len && !strncmp(o[i].name, name, len))
            return &o[i];
    if (len <= 3 || strncmp(name, "no-", 3))
        return NULL;
    *negated = true;
    for (size_t i = 0; i < n; i++)
        if (o[i].flag && strlen(o[i].name) == len - 3 && !strncmp(o[i].name, name + 3, len - 3))
            return &o[i];
    return NULL;
}

static const struct arg_option *find_letter(const struct arg_option *o, size_t n, char letter)
{
    for (size_t i = 0; i < n; i++)
        if (o[i].letter == letter)
            return &o[i];
    return NULL;
}

static int set_value(const struct arg_option *o, const char *text, struct err *e)
{
    if (o->value) {
        *o->value = text;
        return 0;
    }
    for (size_t i = 0; i < o->list_max; i++)
        if (!o->list[i]) {
            o->list[i] = text;
            return 0;
        }
    return err_set(e, ERR_FIELD_INVALID, "--%s is given more than %zu times", o->name, o->list_max);
}

/* A word before argv[i] says the opposite of the flag. */
static bool contradicted(char **argv, int i, const char *name, bool negated)
{
    char opposite[64];
    snprintf(opposite, sizeof opposite, "--%s%s", negated ? "" : "no-", name);
    while (i-- > 0)
        if (!strcmp(argv[i], opposite))
            return true;
    return false;
}

/* Takes the option at argv[*i], and its value where that is the next word. */
static int take_option(int argc, char **argv, int *i, const struct arg_option *options, size_t n, struct err *e)
{
    const char *word = argv[*i], *value = NULL;
    const struct arg_option *o;
    bool negated = false;
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        o = find_long(options, n, word + 2, len, &negated);
        if (word[2 + len] == '=')
            value = word + 3 + len;
    } else {
        o = find_letter(options, n, word[1]);
        if (word[2])
            value = word + 2;
    }
    if (!o)
        return err_set(e, ERR_FIELD_UNKNOWN, "there is no option %.60s", word);
    if (o->flag) {
        if (value)
            return err_set(e, ERR_FIELD_INVALID, "the option --%s takes no value", o->name);
        if (contradicted(argv, *i, o->name, negated))
            return err_set(e, ERR_FIELD_INVALID, "--%s and --no-%s contradict each other", o->name, o->name);
        *o->flag = !negated;
        return 0;
    }
    if (!value) {
        if (*i + 1 >= argc)
            return err_set(e, ERR_FIELD_MISSING, "the option --%s needs a value", o->name);
        value = argv[++*i];
    }
    return set_value(o, value, e);
}

int args_parse(int argc, char **argv, const struct arg_option *options, size_t n_options, const char **operands,
               size_t max, size_t *n, struct err *e)
{
    bool only_operands = false;
    *n = 0;
    for (int i = 0; i < argc; i++) {
        if (!only_operands && !strcmp(argv[i], "--")) {
            only_operands = true;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            if (take_option(argc, argv, &i, options, n_options, e) < 0)
                return -1;
        } else if (*n >= max) {
            return err_set(e, ERR_FIELD_INVALID, "one word too many: \"%.60s\"", argv[i]);
        } else {
            operands[(*n)++] = argv[i];
        }
    }
    return 0;
}
