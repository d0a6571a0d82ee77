/* wire_observed.c - observed state as JSON.  See wire.h. */
#include "wire_table.h"

#include "units.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT_MAX 65535
#define CHANNEL_BITS ((1u << WIRE_PORTS) - 1)

static const char *const signal_names[] = { "unknown", "up", "down", NULL };

static const struct wire_member adapter_members[] = {
    WIRE_MEMBER(wire_seen_adapter, name, NAME),
    WIRE_MEMBER(wire_seen_adapter, ok, BOOL),
    WIRE_MEMBER(wire_seen_adapter, error, STRING, .optional = true),
    WIRE_MEMBER(wire_seen_adapter, channels, U32, .max = CHANNEL_BITS),
    WIRE_MEMBER(wire_seen_adapter, settled, U32, .max = CHANNEL_BITS),
    WIRE_MEMBER(wire_seen_adapter, error_capture, ADDR),
    WIRE_MEMBER(wire_seen_adapter, lender_id, ID, .optional = true),
    WIRE_MEMBER(wire_seen_adapter, flits_sent, U64),
    WIRE_MEMBER(wire_seen_adapter, flits_received, U64),
    WIRE_MEMBER(wire_seen_adapter, latency_cycles, U64),
    WIRE_MEMBER(wire_seen_adapter, latency_samples, U64),
    WIRE_MEMBER(wire_seen_adapter, emulated, BOOL),
};
static const struct wire_table adapter_table = WIRE_TABLE(wire_seen_adapter, adapter_members);

static const struct wire_member buffer_members[] = {
    WIRE_MEMBER(wire_seen_buffer, id, ID),
    WIRE_MEMBER(wire_seen_buffer, present, BOOL),
    WIRE_MEMBER(wire_seen_buffer, attempt, U32),
    WIRE_MEMBER(wire_seen_buffer, error, STRING, .optional = true),
    WIRE_MEMBER(wire_seen_buffer, adapter, NAME),
    WIRE_MEMBER(wire_seen_buffer, compute_node, NAME),
    WIRE_MEMBER(wire_seen_buffer, compute_adapter, NAME),
    WIRE_MEMBER(wire_seen_buffer, section, U32, .max = WIRE_SECTIONS - 1),
    WIRE_MEMBER(wire_seen_buffer, offset_bytes, U64),
    WIRE_MEMBER(wire_seen_buffer, size_bytes, U64),
    WIRE_MEMBER(wire_seen_buffer, effective_addr, ADDR),
    WIRE_MEMBER(wire_seen_buffer, lender_id, ID, .optional = true),
};

static const struct wire_member segment_members[] = {
    WIRE_MEMBER(wire_seen_segment, id, ID, .optional = true),
    WIRE_MEMBER(wire_seen_segment, adapter, NAME),
    WIRE_MEMBER(wire_seen_segment, section, U32, .max = WIRE_SECTIONS - 1),
    WIRE_MEMBER(wire_seen_segment, offset_bytes, U64),
    WIRE_MEMBER(wire_seen_segment, size_bytes, U64),
    WIRE_MEMBER(wire_seen_segment, blocks_total, U32),
    WIRE_MEMBER(wire_seen_segment, blocks_online, U32),
    WIRE_MEMBER(wire_seen_segment, movable, BOOL),
    WIRE_MEMBER(wire_seen_segment, touched, BOOL),
    WIRE_MEMBER(wire_seen_segment, quiesced, BOOL),
    /* An int: -1 is UINT32_MAX, which is left out. */
    WIRE_MEMBER(wire_seen_segment, numa_node, U32, .optional = true, .max = INT_MAX),
    WIRE_MEMBER(wire_seen_segment, attempt, U32),
    WIRE_MEMBER(wire_seen_segment, error, STRING, .optional = true),
};

static const struct wire_member pair_members[] = {
    { .name = "switch", .kind = JSON_KIND_NAME, .offset = offsetof(struct wire_seen_pair, name), .size = NAME_SIZE },
    WIRE_MEMBER(wire_seen_pair, port_a, U32, .min = 1, .max = PORT_MAX),
    WIRE_MEMBER(wire_seen_pair, port_b, U32, .min = 1, .max = PORT_MAX),
};

static const struct wire_member signal_members[] = {
    { .name = "switch", .kind = JSON_KIND_NAME, .offset = offsetof(struct wire_seen_signal, name), .size = NAME_SIZE },
    WIRE_MEMBER(wire_seen_signal, port, U32, .min = 1, .max = PORT_MAX),
    WIRE_MEMBER(wire_seen_signal, signal, ENUM, .names = signal_names),
};

static const struct wire_member observed_members[] = {
    WIRE_MEMBER(wire_observed, session, ID),
    WIRE_MEMBER(wire_observed, sequence, U64),
    WIRE_MEMBER(wire_observed, boot_id, ID),
    WIRE_MEMBER(wire_observed, instance, ID, .optional = true), /* none before the first desired state */
    WIRE_MEMBER(wire_observed, epoch, U64),
    WIRE_MEMBER(wire_observed, revision, U64),
    WIRE_MEMBER(wire_observed, memory_bytes, U64),
    WIRE_MEMBER(wire_observed, free_bytes, U64),
    WIRE_MEMBER(wire_observed, locked_bytes, U64),
    WIRE_MEMBER(wire_observed, switches_ok, BOOL),
};
static const struct wire_table observed_table = WIRE_TABLE(wire_observed, observed_members);

/* The lists that a table alone describes; adapters and findings are apart. */
static const struct list {
    const char *name;
    size_t list_offset, n_offset;
    struct wire_table table;
} lists[] = {
#define LIST(type, json_name, member, table_members)                                                                   \
    {                                                                                                                  \
        json_name, offsetof(struct wire_observed, member), offsetof(struct wire_observed, n_##member),                 \
            WIRE_TABLE(type, table_members)                                                                            \
    }
    LIST(wire_seen_buffer, "buffers", buffers, buffer_members),
    LIST(wire_seen_segment, "segments", segments, segment_members),
    LIST(wire_seen_pair, "crossconnects", pairs, pair_members),
    LIST(wire_seen_signal, "signals", signals, signal_members),
#undef LIST
};

static void **list_at(struct wire_observed *o, const struct list *l)
{
    return (void **)((char *)o + l->list_offset);
}

static size_t *n_at(struct wire_observed *o, const struct list *l)
{
    return (size_t *)((char *)o + l->n_offset);
}

static json_t *adapter_encode(const struct wire_seen_adapter *a)
{
    json_t *j = wire_table_encode(&adapter_table, a), *sections = json_array();
    int rc = j && sections ? 0 : -1;
    for (unsigned s = 0; s < WIRE_SECTIONS && !rc; s++)
        rc = json_array_append_new(sections, json_addr(a->sections[s]));
    if (!rc)
        rc = json_object_set_nocheck(j, "sections", sections);
    json_decref(sections);
    if (rc < 0) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static json_t *adapters_encode(const struct wire_observed *o)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < o->n_adapters; i++)
        if (json_array_append_new(array, adapter_encode(&o->adapters[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static int sections_decode(struct wire_seen_adapter *a, const json_t *sections, const char *where, struct err *e)
{
    if (json_array_size(sections) != WIRE_SECTIONS)
        return err_field(e, ERR_FIELD_INVALID, where, "%s.sections has not %d elements", where, WIRE_SECTIONS);
    for (unsigned s = 0; s < WIRE_SECTIONS; s++) {
        const json_t *value = json_array_get(sections, s);
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value) || units_parse_addr(text, &a->sections[s], e) < 0)
            return err_field(e, ERR_FIELD_INVALID, where, "%s.sections[%u] is not an address", where, s);
    }
    return 0;
}

static int adapters_decode(struct wire_observed *o, const json_t *array, struct err *e)
{
    size_t n = json_array_size(array);
    if (n && !(o->adapters = calloc(n, sizeof *o->adapters)))
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    o->n_adapters = n;
    for (size_t i = 0; i < n; i++) {
        char where[32];
        const json_t *sections = NULL;
        const struct json_field extra = {
            .name = "sections", .kind = JSON_KIND_ARRAY, .required = true, .out = &sections, .max = WIRE_SECTIONS
        };
        snprintf(where, sizeof where, "adapters[%zu]", i);
        if (wire_table_decode(&adapter_table, &o->adapters[i], &extra, 1, json_array_get(array, i), where, e) < 0 ||
            sections_decode(&o->adapters[i], sections, where, e) < 0)
            return -1;
    }
    return 0;
}

json_t *wire_observed_encode(const struct wire_observed *observed)
{
    struct wire_observed *o = (struct wire_observed *)observed; /* only read */
    json_t *j = wire_table_encode(&observed_table, o);
    if (!j)
        return NULL;
    int rc = wire_set(j, "adapters", adapters_encode(o));
    if (!rc)
        rc = wire_set(j, "findings", wire_table_encode_list(&wire_finding_table, o->findings, o->n_findings));
    for (size_t i = 0; i < ARRAY_LEN(lists) && !rc; i++)
        rc = wire_set(j, lists[i].name,
                      wire_table_encode_list(&lists[i].table, *list_at(o, &lists[i]), *n_at(o, &lists[i])));
    if (rc < 0) {
        json_decref(j);
        return NULL;
    }
    return j;
}

void wire_observed_done(struct wire_observed *o)
{
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        free(*list_at(o, &lists[i]));
    free(o->adapters);
    free(o->findings);
    memset(o, 0, sizeof *o);
}

/* What a table alone cannot say: defaults, and members that depend on each other. */
static int check(struct wire_observed *o, const json_t *segments, struct err *e)
{
    for (size_t i = 0; i < o->n_segments; i++) {
        struct wire_seen_segment *s = &o->segments[i];
        if (!json_object_get(json_array_get(segments, i), "numa_node"))
            s->numa_node = -1;
        if (s->blocks_online > s->blocks_total)
            return err_field(e, ERR_FIELD_INVALID, "blocks_online", "segments[%zu] has more blocks online than it has",
                             i);
    }
    for (size_t i = 0; i < o->n_pairs; i++)
        if (o->pairs[i].port_a >= o->pairs[i].port_b)
            return err_field(e, ERR_FIELD_INVALID, "port_a", "crossconnects[%zu]: port_a is not below port_b", i);
    return 0;
}

int wire_observed_decode(struct wire_observed *out, const json_t *j, struct err *e)
{
    CLEANUP(wire_observed_done) struct wire_observed o;
    memset(&o, 0, sizeof o);
    const json_t *adapters = NULL, *findings = NULL, *arrays[ARRAY_LEN(lists)] = { NULL };
    struct json_field extra[ARRAY_LEN(lists) + 2];
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        extra[i] = (struct json_field){
            .name = lists[i].name, .kind = JSON_KIND_ARRAY, .required = true, .out = &arrays[i], .max = WIRE_MAX_OBJECTS
        };
    extra[ARRAY_LEN(lists)] = (struct json_field){
        .name = "adapters", .kind = JSON_KIND_ARRAY, .required = true, .out = &adapters, .max = WIRE_MAX_ADAPTERS
    };
    extra[ARRAY_LEN(lists) + 1] =
        (struct json_field){ .name = "findings", .kind = JSON_KIND_ARRAY, .out = &findings, .max = WIRE_MAX_FINDINGS };
    if (wire_table_decode(&observed_table, &o, extra, ARRAY_LEN(extra), j, "", e) < 0 ||
        adapters_decode(&o, adapters, e) < 0 ||
        wire_table_decode_list(&wire_finding_table, (void **)&o.findings, &o.n_findings, WIRE_MAX_FINDINGS, findings,
                               "findings", e) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (wire_table_decode_list(&lists[i].table, list_at(&o, &lists[i]), n_at(&o, &lists[i]), WIRE_MAX_OBJECTS,
                                   arrays[i], lists[i].name, e) < 0)
            return -1;
    if (check(&o, arrays[1], e) < 0)
        return -1;
    *out = o;
    memset(&o, 0, sizeof o);
    return 0;
}
