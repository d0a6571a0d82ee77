/* render.c - small things that every command prints the same way. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_cleanup(json_t **j)
{
    if (*j)
        json_decref(*j);
}

int cli_print_json(const json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
    return EXIT_DONE;
}

const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

char *size_of(const json_t *object, const char *name, char buf[UNITS_SIZE_MAX])
{
    return units_format_size(number_of(object, name), buf);
}

char *joined(const json_t *array, const char *separator)
{
    char *text = NULL;
    size_t len = 0, i;
    const json_t *one;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    json_array_foreach(array, i, one)
        fprintf(out, "%s%s", i ? separator : "", json_is_string(one) ? json_string_value(one) : "?");
    fclose(out);
    return text;
}

char *path_text(const json_t *path)
{
    char *text = NULL;
    size_t len = 0, i;
    const json_t *leg;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    json_array_foreach(path, i, leg)
    {
        CLEANUP(cleanup_free) char *ports = joined(leg, " > ");
        fprintf(out, "%s%s", i ? " | " : "", ports ? ports : "");
    }
    fclose(out);
    return text;
}

char *short_id(const char *id, char buf[SHORT_ID + 1])
{
    snprintf(buf, SHORT_ID + 1, "%s", id);
    return buf;
}
