/* rackfile.c - see rackfile.h.
 *
 * Two passes: each object alone (tables of fields), then what binds them together (names, ports, managers) over sorted
 * arrays, so that a rack of 65,536 nodes loads in a second.  The line of a semantic error is found by walking the text
 * along the path of the field, only once there is an error. */
#include "rackfile.h"

#include "json.h"
#include "units.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RACK_FILE_MAX (256 * MIB)
#define RACK_BYTES_MAX (UINT64_C(1) << 56) /* of one node's memory: sums over a rack stay below 2^63 */
#define RACK_LATENCY_MAX (UINT64_C(1) << 40)
#define RACK_GBPS_MAX 1000000u
#define RACK_SWITCH_PORTS_MAX 65535u
#define PATH_MAX_LEN 160

PRINTF(2, 3) static void path_set(char buf[PATH_MAX_LEN], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, PATH_MAX_LEN, fmt, ap);
    va_end(ap);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_UNAVAILABLE, "out of memory");
}

/* ---- one object at a time -------------------------------------------------------------------------------------------
 */

static int decode_labels(struct rack_node *n, const json_t *j, const char *where, struct err *e)
{
    const char *key;
    json_t *value;
    char path[PATH_MAX_LEN];
    path_set(path, "%s.labels", where);
    if (json_object_size(j) > WIRE_MAX_LABELS)
        return err_field(e, ERR_FIELD_INVALID, path, "%s has more than %d entries", path, WIRE_MAX_LABELS);
    n->labels = calloc(json_object_size(j) + 1, sizeof *n->labels);
    if (!n->labels)
        return no_memory(e);
    json_object_foreach((json_t *)j, key, value)
    {
        struct wire_label *l = &n->labels[n->n_labels];
        path_set(path, "%s.labels.%.63s", where, key);
        if (!label_key_valid(key))
            return err_field(e, ERR_FIELD_INVALID, path,
                             "%s: a label's name is 1 to 39 letters, digits, '.', '_' or '-'", path);
        if (!json_is_string(value) || !label_valid(json_string_value(value)) ||
            json_string_length(value) != strlen(json_string_value(value)))
            return err_field(e, ERR_FIELD_INVALID, path, "%s has to be a string of 1 to 63 printable characters", path);
        snprintf(l->key, sizeof l->key, "%s", key);
        snprintf(l->value, sizeof l->value, "%s", json_string_value(value));
        n->n_labels++;
    }
    return 0;
}

static int check_window(const struct rack_node *n, const struct wire_adapter *a, bool has_addr, bool has_bytes,
                        const char *where, struct err *e)
{
    const uint64_t window_max = WIRE_SECTIONS * TIB;
    char path[PATH_MAX_LEN];
    path_set(path, "%s.%s", where, has_addr ? "window_addr" : "window_bytes");
    if (a->role == WIRE_MEMORY)
        return has_addr || has_bytes
                   ? err_field(e, ERR_FIELD_INVALID, path, "%s: only a compute adapter has a window", path)
                   : 0;
    if (!has_addr || !has_bytes) {
        path_set(path, "%s.%s", where, has_addr ? "window_bytes" : "window_addr");
        return err_field(e, ERR_FIELD_MISSING, path, "%s is missing", path);
    }
    if (a->window_addr % n->block_bytes || a->window_addr > UINT64_MAX - window_max)
        return err_field(e, ERR_FIELD_INVALID, path, "%s has to be a multiple of the node's block_bytes", path);
    path_set(path, "%s.window_bytes", where);
    if (a->window_bytes < n->block_bytes || a->window_bytes % n->block_bytes || a->window_bytes > window_max)
        return err_field(e, ERR_FIELD_INVALID, path, "%s has to be a multiple of block_bytes, at most %d TiB", path,
                         WIRE_SECTIONS);
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct wire_adapter *b = &n->adapters[i];
        if (b != a && b->role == WIRE_COMPUTE && a->window_addr < b->window_addr + b->window_bytes &&
            b->window_addr < a->window_addr + a->window_bytes)
            return err_field(e, ERR_FIELD_INVALID, where, "%s: its window overlaps that of %s", where, b->name);
    }
    return 0;
}

static int decode_adapter(struct rack_node *n, const json_t *j, const char *where, struct err *e)
{
    static const char *const roles[] = { "compute", "memory", NULL };
    struct wire_adapter *a = &n->adapters[n->n_adapters];
    int role = 0;
    bool has_addr, has_bytes;
    a->ports = WIRE_PORTS;
    const struct json_field fields[] = {
        { "name", JSON_KIND_NAME, .required = true, .out = a->name },
        { "role", JSON_KIND_ENUM, .required = true, .out = &role, .names = roles },
        { "ports", JSON_KIND_U32, .required = false, .out = &a->ports, .min = 1, .max = WIRE_PORTS },
        { "window_addr", JSON_KIND_ADDR, .required = false, .out = &a->window_addr, .present = &has_addr },
        { "window_bytes", JSON_KIND_U64, .required = false, .out = &a->window_bytes, .present = &has_bytes },
    };
    if (json_decode(j, fields, ARRAY_LEN(fields), where, e) < 0)
        return -1;
    a->role = (enum wire_role)role;
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (!strcmp(n->adapters[i].name, a->name))
            return err_field(e, ERR_FIELD_INVALID, where, "%s: a second adapter '%s'", where, a->name);
    if (check_window(n, a, has_addr, has_bytes, where, e) < 0)
        return -1;
    n->n_adapters++;
    return 0;
}

static int check_memory(const struct rack_node *n, const char *where, struct err *e)
{
    char path[PATH_MAX_LEN];
    if (n->block_bytes & (n->block_bytes - 1)) {
        path_set(path, "%s.block_bytes", where);
        return err_field(e, ERR_FIELD_INVALID, path, "%s has to be a power of two", path);
    }
    if (n->free_bytes > n->memory_bytes) {
        path_set(path, "%s.free_bytes", where);
        return err_field(e, ERR_FIELD_INVALID, path, "%s is more than memory_bytes", path);
    }
    return 0;
}

static int decode_node(struct rack_node *n, const json_t *j, const char *where, struct err *e)
{
    const json_t *labels = NULL, *adapters = NULL;
    const struct json_field fields[] = {
        { "name", JSON_KIND_NAME, .required = true, .out = n->name },
        { "memory_bytes", JSON_KIND_U64, .required = true, .out = &n->memory_bytes, .max = RACK_BYTES_MAX },
        { "free_bytes", JSON_KIND_U64, .required = true, .out = &n->free_bytes, .max = RACK_BYTES_MAX },
        { "block_bytes", JSON_KIND_U64, .required = true, .out = &n->block_bytes, .min = 4096, .max = TIB },
        { "headroom_bytes", JSON_KIND_U64, .required = false, .out = &n->headroom_bytes, .max = RACK_BYTES_MAX },
        { "labels", JSON_KIND_OBJECT, .required = false, .out = &labels },
        { "adapters", JSON_KIND_ARRAY, .required = true, .out = &adapters, .max = WIRE_MAX_ADAPTERS },
    };
    char path[PATH_MAX_LEN];
    const json_t *a;
    size_t i;
    if (json_decode(j, fields, ARRAY_LEN(fields), where, e) < 0 || check_memory(n, where, e) < 0 ||
        (labels && decode_labels(n, labels, where, e) < 0))
        return -1;
    n->adapters = calloc(json_array_size(adapters) + 1, sizeof *n->adapters);
    if (!n->adapters)
        return no_memory(e);
    json_array_foreach((json_t *)adapters, i, a)
    {
        path_set(path, "%s.adapters[%zu]", where, i);
        if (decode_adapter(n, a, path, e) < 0)
            return -1;
    }
    return 0;
}

static int decode_switch(struct rack_switch *s, const json_t *j, const char *where, struct err *e)
{
    static const char *const kinds[] = { "circuit", NULL };
    int kind = 0;
    const struct json_field fields[] = {
        { "name", JSON_KIND_NAME, .required = true, .out = s->name },
        { "kind", JSON_KIND_ENUM, .required = true, .out = &kind, .names = kinds },
        { "ports", JSON_KIND_U32, .required = true, .out = &s->ports, .min = 1, .max = RACK_SWITCH_PORTS_MAX },
        { "latency_ns", JSON_KIND_U64, .required = true, .out = &s->latency_ns, .max = RACK_LATENCY_MAX },
        { "managed_by", JSON_KIND_NAME, .required = false, .out = s->managed_by },
    };
    return json_decode(j, fields, ARRAY_LEN(fields), where, e);
}

static int decode_end(struct port_name *out, const char *text, const char *where, const char *name, struct err *e)
{
    char path[PATH_MAX_LEN];
    struct err why;
    path_set(path, "%s.%s", where, name);
    if (port_name_parse(text, out, &why) < 0)
        return err_field(e, ERR_FIELD_INVALID, path, "%s: %.180s", path, why.detail);
    return 0;
}

static int decode_link(struct rack_link *l, const json_t *j, const char *where, struct err *e)
{
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
    const struct json_field fields[] = {
        { "a", JSON_KIND_STRING, .required = true, .out = a, .size = sizeof a },
        { "b", JSON_KIND_STRING, .required = true, .out = b, .size = sizeof b },
        { "latency_ns", JSON_KIND_U64, .required = true, .out = &l->latency_ns, .max = RACK_LATENCY_MAX },
        { "gbps", JSON_KIND_U32, .required = true, .out = &l->gbps, .min = 1, .max = RACK_GBPS_MAX },
    };
    if (json_decode(j, fields, ARRAY_LEN(fields), where, e) < 0)
        return -1;
    return decode_end(&l->a, a, where, "a", e) < 0 ? -1 : decode_end(&l->b, b, where, "b", e);
}

static int decode_nodes(struct rack *r, const json_t *list, struct err *e)
{
    char where[PATH_MAX_LEN];
    r->nodes = calloc(json_array_size(list) + 1, sizeof *r->nodes);
    if (!r->nodes)
        return no_memory(e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        path_set(where, "nodes[%zu]", i);
        r->n_nodes++; /* before it is whole, so that rack_done() frees its lists */
        if (decode_node(&r->nodes[i], json_array_get(list, i), where, e) < 0)
            return -1;
    }
    return 0;
}

static int decode_switches(struct rack *r, const json_t *list, struct err *e)
{
    char where[PATH_MAX_LEN];
    r->switches = calloc(json_array_size(list) + 1, sizeof *r->switches);
    if (!r->switches)
        return no_memory(e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        path_set(where, "switches[%zu]", i);
        if (decode_switch(&r->switches[i], json_array_get(list, i), where, e) < 0)
            return -1;
        r->n_switches++;
    }
    return 0;
}

static int decode_links(struct rack *r, const json_t *list, struct err *e)
{
    char where[PATH_MAX_LEN];
    r->links = calloc(json_array_size(list) + 1, sizeof *r->links);
    if (!r->links)
        return no_memory(e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        path_set(where, "links[%zu]", i);
        if (decode_link(&r->links[i], json_array_get(list, i), where, e) < 0)
            return -1;
        r->n_links++;
    }
    return 0;
}

/* ---- all together ---------------------------------------------------------------------------------------------------
 */

struct owner { /* a node or a switch, by name */
    const char *name;
    const struct rack_node *node;
    const struct rack_switch *sw;
};

static int owner_compare(const void *a, const void *b)
{
    return strcmp(((const struct owner *)a)->name, ((const struct owner *)b)->name);
}

static const struct owner *owner_find(const struct owner *list, size_t n, const char *name)
{
    struct owner key = { .name = name };
    return bsearch(&key, list, n, sizeof *list, owner_compare);
}

static struct owner *owners_sorted(const struct rack *r)
{
    size_t n = 0;
    struct owner *list = calloc(r->n_nodes + r->n_switches + 1, sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < r->n_nodes; i++)
        list[n++] = (struct owner){ .name = r->nodes[i].name, .node = &r->nodes[i] };
    for (size_t i = 0; i < r->n_switches; i++)
        list[n++] = (struct owner){ .name = r->switches[i].name, .sw = &r->switches[i] };
    qsort(list, n, sizeof *list, owner_compare);
    return list;
}

static void owner_path(const struct rack *r, const struct owner *o, char path[PATH_MAX_LEN])
{
    if (o->node)
        path_set(path, "nodes[%zu].name", (size_t)(o->node - r->nodes));
    else
        path_set(path, "switches[%zu].name", (size_t)(o->sw - r->switches));
}

static int check_owners(const struct rack *r, const struct owner *list, struct err *e)
{
    char path[PATH_MAX_LEN];
    for (size_t i = 1; i < r->n_nodes + r->n_switches; i++)
        if (!strcmp(list[i - 1].name, list[i].name)) {
            bool later = list[i].sw && (list[i - 1].node || list[i - 1].sw < list[i].sw);
            later = later || (list[i].node && list[i - 1].node && list[i - 1].node < list[i].node);
            owner_path(r, &list[later ? i : i - 1], path);
            return err_field(e, ERR_FIELD_INVALID, path, "%s: '%s' is a node's or switch's name already", path,
                             list[i].name);
        }
    return 0;
}

static int check_managers(const struct rack *r, const struct owner *list, struct err *e)
{
    char path[PATH_MAX_LEN];
    for (size_t i = 0; i < r->n_switches; i++) {
        const struct rack_switch *s = &r->switches[i];
        const struct owner *o = s->managed_by[0] ? owner_find(list, r->n_nodes + r->n_switches, s->managed_by) : NULL;
        path_set(path, "switches[%zu].managed_by", i);
        if (s->managed_by[0] && (!o || !o->node))
            return err_field(e, ERR_FIELD_INVALID, path, "%s: there is no node '%s'", path, s->managed_by);
    }
    return 0;
}

static bool node_has_port(const struct rack_node *n, const struct port_name *p)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (!strcmp(n->adapters[i].name, p->adapter))
            return p->number < n->adapters[i].ports;
    return false;
}

/* 'whole': the nodes are known, so their ports are checked as well. */
static int check_end(const struct rack *r, const struct owner *list, bool whole, const struct port_name *p,
                     const char *path, struct err *e)
{
    char name[PORT_NAME_SIZE];
    const struct owner *o = owner_find(list, r->n_nodes + r->n_switches, p->owner);
    bool ok;
    if (p->adapter[0])
        ok = whole ? o && o->node && node_has_port(o->node, p) : !o && p->number < WIRE_PORTS;
    else
        ok = o && o->sw && p->number >= 1 && p->number <= o->sw->ports;
    return ok ? 0 : err_field(e, ERR_FIELD_INVALID, path, "%s: there is no port '%s'", path, port_name_format(p, name));
}

struct end { /* of a link */
    const struct port_name *port;
    size_t link;
    bool b;
};

static int end_compare_port(const struct end *x, const struct end *y)
{
    int c = strcmp(x->port->owner, y->port->owner);
    c = c ? c : strcmp(x->port->adapter, y->port->adapter);
    return c ? c : (x->port->number > y->port->number) - (x->port->number < y->port->number);
}

static int end_compare(const void *a, const void *b)
{
    const struct end *x = a, *y = b;
    int c = end_compare_port(x, y);
    return c ? c : x->link != y->link ? (x->link > y->link) - (x->link < y->link) : x->b - y->b;
}

static int check_cabled_once(const struct rack *r, struct err *e)
{
    char path[PATH_MAX_LEN], name[PORT_NAME_SIZE];
    CLEANUP(cleanup_free) struct end *ends = calloc(2 * r->n_links + 1, sizeof *ends);
    if (!ends)
        return no_memory(e);
    for (size_t i = 0; i < r->n_links; i++) {
        ends[2 * i] = (struct end){ &r->links[i].a, i, false };
        ends[2 * i + 1] = (struct end){ &r->links[i].b, i, true };
    }
    qsort(ends, 2 * r->n_links, sizeof *ends, end_compare);
    for (size_t i = 1; i < 2 * r->n_links; i++)
        if (end_compare_port(&ends[i - 1], &ends[i]) == 0) {
            path_set(path, "links[%zu].%s", ends[i].link, ends[i].b ? "b" : "a");
            return err_field(e, ERR_FIELD_INVALID, path, "%s: port '%s' has a cable already (links[%zu])", path,
                             port_name_format(ends[i].port, name), ends[i - 1].link);
        }
    return 0;
}

static int check_together(const struct rack *r, bool whole, struct err *e)
{
    char path[PATH_MAX_LEN];
    CLEANUP(cleanup_free) struct owner *list = owners_sorted(r);
    if (!list)
        return no_memory(e);
    if (check_owners(r, list, e) < 0 || (whole && check_managers(r, list, e) < 0))
        return -1;
    for (size_t i = 0; i < r->n_links; i++) {
        path_set(path, "links[%zu].a", i);
        if (check_end(r, list, whole, &r->links[i].a, path, e) < 0)
            return -1;
        path_set(path, "links[%zu].b", i);
        if (check_end(r, list, whole, &r->links[i].b, path, e) < 0)
            return -1;
    }
    return check_cabled_once(r, e);
}

static int decode(struct rack *r, const json_t *j, bool whole, struct err *e)
{
    const json_t *nodes = NULL, *switches = NULL, *links = NULL;
    const struct json_field fields[] = {
        { "switches", JSON_KIND_ARRAY, .required = true, .out = &switches },
        { "links", JSON_KIND_ARRAY, .required = true, .out = &links },
        { "nodes", JSON_KIND_ARRAY, .required = true, .out = &nodes },
        { "name", JSON_KIND_NAME, .required = false, .out = r->name },
    };
    if (json_decode(j, fields, whole ? ARRAY_LEN(fields) : 2, "", e) < 0 || (nodes && decode_nodes(r, nodes, e) < 0) ||
        decode_switches(r, switches, e) < 0 || decode_links(r, links, e) < 0)
        return -1;
    return check_together(r, whole, e);
}

static int decode_new(struct rack *out, const json_t *j, bool whole, struct err *e)
{
    CLEANUP(rack_done) struct rack r = { 0 };
    if (decode(&r, j, whole, e) < 0)
        return -1;
    *out = r;
    memset(&r, 0, sizeof r);
    return 0;
}

int rack_decode(struct rack *out, const json_t *j, struct err *e)
{
    return decode_new(out, j, true, e);
}

int rack_decode_cabling(struct rack *out, const json_t *j, struct err *e)
{
    return decode_new(out, j, false, e);
}

void rack_done(struct rack *r)
{
    for (size_t i = 0; r->nodes && i < r->n_nodes; i++) {
        free(r->nodes[i].labels);
        free(r->nodes[i].adapters);
    }
    free(r->nodes);
    free(r->switches);
    free(r->links);
    memset(r, 0, sizeof *r);
}

/* ---- the line of a field: a walk over text that is known to be valid JSON
 * ---------------------------------------------- */

struct walk {
    const char *p;
    unsigned line;
};

static void walk_space(struct walk *w)
{
    for (; *w->p && (isspace((unsigned char)*w->p) || *w->p == ',' || *w->p == ':'); w->p++)
        w->line += *w->p == '\n';
}

static void walk_string(struct walk *w)
{
    for (w->p++; *w->p && *w->p != '"'; w->p++)
        if (*w->p == '\\' && w->p[1])
            w->p++;
    w->p += *w->p == '"';
}

static void walk_value(struct walk *w)
{
    unsigned depth = 0;
    walk_space(w);
    do {
        if (*w->p == '"') {
            walk_string(w);
        } else if (*w->p == '{' || *w->p == '[') {
            depth++;
            w->p++;
        } else if (*w->p == '}' || *w->p == ']') {
            depth--;
            w->p++;
        } else {
            w->p += strcspn(w->p, ",:{}[] \t\r\n\"");
        }
        if (depth)
            walk_space(w);
    } while (depth && *w->p);
}

/* Into member 'key' (of 'len' bytes) of the object at hand; false when it has none: 'w' stays at the object. */
static bool walk_into_member(struct walk *w, const char *key, size_t len)
{
    struct walk v = *w;
    v.p++;
    for (walk_space(&v); *v.p == '"'; walk_space(&v)) {
        const char *name = v.p + 1;
        walk_string(&v);
        bool found = (size_t)(v.p - 1 - name) == len && !memcmp(name, key, len);
        walk_space(&v);
        if (found) {
            *w = v;
            return true;
        }
        walk_value(&v);
    }
    return false;
}

static bool walk_into_element(struct walk *w, size_t index)
{
    struct walk v = *w;
    v.p++;
    for (walk_space(&v); *v.p && *v.p != ']'; walk_space(&v)) {
        if (index-- == 0) {
            *w = v;
            return true;
        }
        walk_value(&v);
    }
    return false;
}

static unsigned line_of(const char *text, const char *path)
{
    struct walk w = { text, 1 };
    walk_space(&w);
    while (*path) {
        bool found = false;
        size_t n = strcspn(path, ".[");
        if (*path == '[') {
            size_t index = 0;
            for (path++; isdigit((unsigned char)*path); path++)
                index = index * 10 + (size_t)(*path - '0');
            path += *path == ']';
            found = *w.p == '[' && walk_into_element(&w, index);
        } else {
            found = *w.p == '{' && walk_into_member(&w, path, n);
            path += n;
        }
        path += *path == '.';
        if (!found)
            break;
    }
    return w.line;
}

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    if (f && getdelim(&text, &size, '\0', f) < 0) {
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    return text;
}

int rack_load(struct rack *out, const char *path, struct err *e)
{
    CLEANUP(json_freep) json_t *j = NULL;
    struct err why;
    if (json_parse_file(&j, path, RACK_FILE_MAX, e) < 0)
        return -1;
    if (rack_decode(out, j, &why) == 0)
        return 0;
    CLEANUP(cleanup_free) char *text = read_text(path);
    return err_field(e, why.code, why.field, "%.80s: line %u: %.150s", path, text ? line_of(text, why.field) : 0,
                     why.detail);
}
