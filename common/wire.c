/* wire.c - registration and its answer, section registers, cursors.  See wire.h. */
#include "wire_table.h"

#include "units.h"

#include <stdio.h>
#include <string.h>

#define SECTION_SHIFT 40
#define PARKED_BASE UINT64_C(0x4000000000000000) /* no process can map there */
#define NETID_MASK UINT64_C(0x3f)

uint64_t wire_section_value(uint64_t base, unsigned section, uint64_t netid)
{
    return (base - ((uint64_t)section << SECTION_SHIFT)) | netid;
}

uint64_t wire_section_base(uint64_t value, unsigned section)
{
    return (value & ~NETID_MASK) + ((uint64_t)section << SECTION_SHIFT);
}

uint64_t wire_section_parked(unsigned section)
{
    return wire_section_value(PARKED_BASE, section, WIRE_NETID_PORT0);
}

bool wire_section_is_parked(uint64_t value, unsigned section)
{
    return (value & ~NETID_MASK) == wire_section_value(PARKED_BASE, section, 0);
}

static const char *const role_names[] = { "compute", "memory", NULL };
static const char *const severity_names[] = { "info", "warning", "error", NULL };

static const struct wire_member adapter_members[] = {
    WIRE_MEMBER(wire_adapter, name, NAME),
    WIRE_MEMBER(wire_adapter, role, ENUM, .names = role_names),
    WIRE_MEMBER(wire_adapter, ports, U32, .min = 1, .max = WIRE_PORTS),
    WIRE_MEMBER(wire_adapter, window_addr, ADDR),
    WIRE_MEMBER(wire_adapter, window_bytes, U64),
};
static const struct wire_table adapter_table = WIRE_TABLE(wire_adapter, adapter_members);

static const struct wire_member finding_members[] = {
    WIRE_MEMBER(wire_finding, code, STRING),
    WIRE_MEMBER(wire_finding, severity, ENUM, .names = severity_names),
    WIRE_MEMBER(wire_finding, detail, STRING),
    WIRE_MEMBER(wire_finding, advice, STRING),
};
const struct wire_table wire_finding_table = WIRE_TABLE(wire_finding, finding_members);

static const struct wire_member registration_members[] = {
    WIRE_MEMBER(wire_registration, name, NAME),
    WIRE_MEMBER(wire_registration, machine_id, ID),
    WIRE_MEMBER(wire_registration, boot_id, ID),
    WIRE_MEMBER(wire_registration, version, STRING),
    WIRE_MEMBER(wire_registration, protocol_min, U32),
    WIRE_MEMBER(wire_registration, protocol_max, U32),
    WIRE_MEMBER(wire_registration, known_epoch, U64, .max = WIRE_NUMBER_MAX),
    WIRE_MEMBER(wire_registration, known_instance, ID, .optional = true),
    WIRE_MEMBER(wire_registration, known_revision, U64, .optional = true, .max = WIRE_NUMBER_MAX),
    WIRE_MEMBER(wire_registration, memory_bytes, U64),
    WIRE_MEMBER(wire_registration, free_bytes, U64),
    WIRE_MEMBER(wire_registration, locked_bytes, U64),
    WIRE_MEMBER(wire_registration, block_bytes, U64),
};
static const struct wire_table registration_table = WIRE_TABLE(wire_registration, registration_members);

static const struct wire_member registered_members[] = {
    WIRE_MEMBER(wire_registered, session, ID),
    WIRE_MEMBER(wire_registered, epoch, U64, .max = WIRE_NUMBER_MAX),
    WIRE_MEMBER(wire_registered, instance, ID),
    WIRE_MEMBER(wire_registered, protocol, U32),
    WIRE_MEMBER(wire_registered, credential, STRING, .optional = true),
    WIRE_MEMBER(wire_registered, heartbeat_ms, U32, .min = 1),
    WIRE_MEMBER(wire_registered, poll_wait_s, U32),
};
static const struct wire_table registered_table = WIRE_TABLE(wire_registered, registered_members);

/* Labels are an object, so that no key comes twice: {"rack_unit": "12"}. */
static json_t *labels_encode(const struct wire_registration *r)
{
    json_t *labels = json_object();
    for (unsigned i = 0; labels && i < r->n_labels; i++)
        if (json_object_set_new(labels, r->labels[i].key, wire_text(r->labels[i].value)) < 0) {
            json_decref(labels);
            return NULL;
        }
    return labels;
}

static int labels_decode(struct wire_registration *r, const json_t *labels, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)labels, key, value)
    {
        const char *text = json_string_value(value);
        if (r->n_labels == WIRE_MAX_LABELS)
            return err_field(e, ERR_FIELD_INVALID, "labels", "more than %d labels", WIRE_MAX_LABELS);
        if (!label_key_valid(key) || !text || strlen(text) != json_string_length(value) || !label_valid(text))
            return err_field(e, ERR_FIELD_INVALID, "labels", "a label is not 1 to 63 printable characters");
        struct wire_label *l = &r->labels[r->n_labels++];
        snprintf(l->key, sizeof l->key, "%s", key);
        snprintf(l->value, sizeof l->value, "%s", text);
    }
    return 0;
}

static json_t *switches_encode(const struct wire_registration *r)
{
    json_t *switches = json_array();
    for (unsigned i = 0; switches && i < r->n_switches; i++)
        if (json_array_append_new(switches, json_string(r->switches[i])) < 0) {
            json_decref(switches);
            return NULL;
        }
    return switches;
}

static int switches_decode(struct wire_registration *r, const json_t *switches, struct err *e)
{
    size_t i;
    const json_t *value;
    json_array_foreach(switches, i, value)
    {
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value) || !name_valid(text))
            return err_field(e, ERR_FIELD_INVALID, "switches", "switches[%zu] is not a name", i);
        for (unsigned k = 0; k < r->n_switches; k++)
            if (!strcmp(r->switches[k], text))
                return err_field(e, ERR_FIELD_INVALID, "switches", "switch %s is there twice", text);
        snprintf(r->switches[r->n_switches++], NAME_SIZE, "%s", text);
    }
    return 0;
}

json_t *wire_registration_encode(const struct wire_registration *r)
{
    json_t *j = wire_table_encode(&registration_table, r);
    if (!j)
        return NULL;
    if (wire_set(j, "adapters", wire_table_encode_list(&adapter_table, r->adapters, r->n_adapters)) < 0 ||
        wire_set(j, "labels", labels_encode(r)) < 0 ||
        wire_set(j, "findings", wire_table_encode_list(&wire_finding_table, r->findings, r->n_findings)) < 0 ||
        wire_set(j, "switches", switches_encode(r)) < 0) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static int adapters_differ(const struct wire_registration *r, struct err *e)
{
    for (unsigned i = 0; i < r->n_adapters; i++)
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(r->adapters[i].name, r->adapters[k].name))
                return err_field(e, ERR_FIELD_INVALID, "adapters", "adapter %s is there twice", r->adapters[i].name);
    return 0;
}

int wire_registration_decode(struct wire_registration *out, const json_t *j, struct err *e)
{
    struct wire_registration r;
    memset(&r, 0, sizeof r);
    const json_t *adapters = NULL, *labels = NULL, *findings = NULL, *switches = NULL;
    const struct json_field lists[] = {
        { .name = "adapters", .kind = JSON_KIND_ARRAY, .required = true, .out = &adapters, .max = WIRE_MAX_ADAPTERS },
        { .name = "labels", .kind = JSON_KIND_OBJECT, .out = &labels },
        { .name = "findings", .kind = JSON_KIND_ARRAY, .out = &findings, .max = WIRE_MAX_FINDINGS },
        { .name = "switches", .kind = JSON_KIND_ARRAY, .out = &switches, .max = WIRE_MAX_ADAPTERS },
    };
    if (wire_table_decode(&registration_table, &r, lists, ARRAY_LEN(lists), j, "", e) < 0 ||
        wire_table_decode_fixed(&adapter_table, r.adapters, &r.n_adapters, WIRE_MAX_ADAPTERS, adapters, "adapters", e) <
            0 ||
        adapters_differ(&r, e) < 0 || labels_decode(&r, labels, e) < 0 ||
        wire_table_decode_fixed(&wire_finding_table, r.findings, &r.n_findings, WIRE_MAX_FINDINGS, findings, "findings",
                                e) < 0 ||
        switches_decode(&r, switches, e) < 0)
        return -1;
    *out = r;
    return 0;
}

json_t *wire_registered_encode(const struct wire_registered *r)
{
    return wire_table_encode(&registered_table, r);
}

int wire_registered_decode(struct wire_registered *out, const json_t *j, struct err *e)
{
    struct wire_registered r;
    memset(&r, 0, sizeof r);
    if (wire_table_decode(&registered_table, &r, NULL, 0, j, "", e) < 0)
        return -1;
    *out = r;
    return 0;
}

char *wire_cursor_format(uint64_t epoch, uint64_t revision, char buf[WIRE_CURSOR_MAX])
{
    snprintf(buf, WIRE_CURSOR_MAX, "%llu.%llu", (unsigned long long)epoch, (unsigned long long)revision);
    return buf;
}

int wire_cursor_parse(const char *text, uint64_t *epoch, uint64_t *revision, struct err *e)
{
    char head[WIRE_CURSOR_MAX];
    const char *dot = strchr(text, '.');
    uint64_t ep, rev;
    if (!dot || (size_t)(dot - text) >= sizeof head)
        return err_set(e, ERR_FIELD_INVALID, "a cursor is EPOCH.REVISION");
    memcpy(head, text, (size_t)(dot - text));
    head[dot - text] = '\0';
    if (units_parse_u64(head, &ep, e) < 0 || units_parse_u64(dot + 1, &rev, e) < 0)
        return -1;
    *epoch = ep;
    *revision = rev;
    return 0;
}
