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

static void print_line(const json_t *j)
{
    json_dumpf(j, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
}

/* RFC 4180: in quotes what holds a separator, a quote or a line end. */
static void print_csv_cell(const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text) {
        if (!json_is_null(value))
            json_dumpf(value, stdout, JSON_ENCODE_ANY);
    } else if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stdout);
    } else {
        putchar('"');
        for (; *text; text++)
            printf(*text == '"' ? "\"\"" : "%c", *text);
        putchar('"');
    }
}

/* The first one names the columns. */
static void print_csv(const json_t *items)
{
    const json_t *first = json_array_get(items, 0), *item;
    const char *key;
    json_t *value;
    size_t i;
    bool any = false;
    json_object_foreach((json_t *)first, key, value) if (!json_is_object(value) && !json_is_array(value))
    {
        printf("%s%s", any ? "," : "", key);
        any = true;
    }
    if (any)
        putchar('\n');
    json_array_foreach(items, i, item)
    {
        any = false;
        json_object_foreach((json_t *)first, key, value) if (!json_is_object(value) && !json_is_array(value))
        {
            if (any)
                putchar(',');
            print_csv_cell(json_object_get(item, key));
            any = true;
        }
        putchar('\n');
    }
}

int cli_print_json(const struct cli *c, const json_t *j)
{
    const json_t *items = json_object_get(j, "items"), *item;
    size_t i;
    if (c->format == CLI_CSV) {
        CLEANUP(json_cleanup) json_t *one = items ? NULL : json_pack("[O]", j);
        print_csv(items ? items : one);
    } else if (c->format == CLI_JSONL && items) {
        json_array_foreach(items, i, item) print_line(item);
    } else if (c->format == CLI_JSONL) {
        print_line(j);
    } else {
        json_dumpf(j, stdout, JSON_INDENT(2));
        putchar('\n');
    }
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
