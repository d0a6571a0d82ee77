#include "names.h"

#include "units.h"

#include <stdio.h>
#include <string.h>

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool letter_or_digit(char c)
{
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

bool name_valid(const char *name)
{
    size_t n = 0;
    if (!lower_or_digit(name[0]))
        return false;
    for (; name[n]; n++)
        if (n >= NAME_MAX_LEN || !(lower_or_digit(name[n]) || name[n] == '-'))
            return false;
    return true;
}

bool id_valid(const char *id)
{
    if (!letter_or_digit(id[0]))
        return false;
    for (size_t n = 0; id[n]; n++)
        if (n >= ID_SIZE - 1 || !(letter_or_digit(id[n]) || strchr("._-", id[n])))
            return false;
    return true;
}

bool label_key_valid(const char *key)
{
    return id_valid(key);
}

bool label_valid(const char *text)
{
    size_t n = 0;
    for (; text[n]; n++)
        if (n >= NAME_MAX_LEN || text[n] < 0x20 || text[n] > 0x7e)
            return false;
    return n > 0;
}

/* Copies the part before the next '/' (or the end) into 'out'; moves '*p' behind it. */
static bool take_part(const char **p, char *out, size_t size)
{
    size_t n = strcspn(*p, "/");
    if (n == 0 || n >= size)
        return false;
    memcpy(out, *p, n);
    out[n] = '\0';
    *p += n + ((*p)[n] == '/');
    return true;
}

static bool parse_number(const char *text, unsigned *out)
{
    struct err ignored;
    uint64_t v;
    if ((text[0] == '0' && text[1]) || units_parse_u64(text, &v, &ignored) < 0 || v > 65535)
        return false; /* "01" and "1" would be two names of one port */
    *out = (unsigned)v;
    return true;
}

int port_name_parse(const char *text, struct port_name *out, struct err *e)
{
    struct port_name p = { 0 };
    char second[NAME_SIZE], third[NAME_SIZE];
    const char *rest = text;
    size_t slashes = 0;
    for (const char *c = text; *c; c++)
        slashes += *c == '/';
    if (slashes < 1 || slashes > 2 || text[strlen(text) - 1] == '/' || !take_part(&rest, p.owner, sizeof p.owner) ||
        !take_part(&rest, second, sizeof second) || (slashes == 2 && !take_part(&rest, third, sizeof third)) ||
        !name_valid(p.owner))
        return err_set(e, ERR_FIELD_INVALID, "'%.80s' is not the name of a port: node/adapter/port or switch/port",
                       text);
    if (slashes == 2) {
        if (!name_valid(second) || !parse_number(third, &p.number))
            return err_set(e, ERR_FIELD_INVALID, "'%.80s' is not the name of an adapter's port", text);
        memcpy(p.adapter, second, sizeof p.adapter);
    } else if (!parse_number(second, &p.number) || p.number == 0) {
        return err_set(e, ERR_FIELD_INVALID, "'%.80s' is not the name of a switch's port: they count from 1", text);
    }
    *out = p;
    return 0;
}

char *port_name_format(const struct port_name *p, char buf[PORT_NAME_SIZE])
{
    if (p->adapter[0])
        snprintf(buf, PORT_NAME_SIZE, "%s/%s/%u", p->owner, p->adapter, p->number);
    else
        snprintf(buf, PORT_NAME_SIZE, "%s/%u", p->owner, p->number);
    return buf;
}
