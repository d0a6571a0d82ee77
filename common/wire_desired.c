/* wire_desired.c - desired state as JSON.  See wire.h. */
#include "wire_table.h"

#include <stdlib.h>
#include <string.h>

#define PORT_MAX 65535

static const char *const want_names[] = { "create", "keep", "absent", NULL };

static const struct wire_member buffer_members[] = {
    WIRE_MEMBER(wire_want_buffer, id, ID),
    WIRE_MEMBER(wire_want_buffer, want, ENUM, .names = want_names),
    WIRE_MEMBER(wire_want_buffer, attempt, U32),
    WIRE_MEMBER(wire_want_buffer, adapter, NAME),
    WIRE_MEMBER(wire_want_buffer, compute_node, NAME),
    WIRE_MEMBER(wire_want_buffer, compute_adapter, NAME),
    WIRE_MEMBER(wire_want_buffer, section, U32, .max = WIRE_SECTIONS - 1),
    WIRE_MEMBER(wire_want_buffer, offset_bytes, U64),
    WIRE_MEMBER(wire_want_buffer, size_bytes, U64),
    WIRE_MEMBER(wire_want_buffer, lender_id, ID, .optional = true),
};

static const struct wire_member section_members[] = {
    WIRE_MEMBER(wire_want_section, adapter, NAME),
    WIRE_MEMBER(wire_want_section, section, U32, .max = WIRE_SECTIONS - 1),
    WIRE_MEMBER(wire_want_section, parked, BOOL),
    WIRE_MEMBER(wire_want_section, value, ADDR),
};

static const struct wire_member channel_members[] = {
    WIRE_MEMBER(wire_want_channel, adapter, NAME),
    WIRE_MEMBER(wire_want_channel, port, U32, .max = WIRE_PORTS - 1),
    WIRE_MEMBER(wire_want_channel, up, BOOL),
};

static const struct wire_member crossconnect_members[] = {
    { .name = "switch",
      .kind = JSON_KIND_NAME,
      .offset = offsetof(struct wire_want_crossconnect, name),
      .size = NAME_SIZE },
    WIRE_MEMBER(wire_want_crossconnect, port_a, U32, .min = 1, .max = PORT_MAX),
    WIRE_MEMBER(wire_want_crossconnect, port_b, U32, .min = 1, .max = PORT_MAX),
    WIRE_MEMBER(wire_want_crossconnect, connected, BOOL),
};

static const struct wire_member segment_members[] = {
    WIRE_MEMBER(wire_want_segment, id, ID),
    WIRE_MEMBER(wire_want_segment, want, ENUM, .names = want_names),
    WIRE_MEMBER(wire_want_segment, attempt, U32),
    WIRE_MEMBER(wire_want_segment, adapter, NAME),
    WIRE_MEMBER(wire_want_segment, section, U32, .max = WIRE_SECTIONS - 1),
    WIRE_MEMBER(wire_want_segment, offset_bytes, U64),
    WIRE_MEMBER(wire_want_segment, size_bytes, U64),
};

static const struct wire_member desired_members[] = {
    WIRE_MEMBER(wire_desired, epoch, U64, .max = WIRE_NUMBER_MAX),
    WIRE_MEMBER(wire_desired, revision, U64, .max = WIRE_NUMBER_MAX),
    WIRE_MEMBER(wire_desired, instance, ID),
};
static const struct wire_table desired_table = WIRE_TABLE(wire_desired, desired_members);

/* The lists of the snapshot: where they are in 'struct wire_desired', and of what. */
static const struct list {
    const char *name;
    size_t list_offset, n_offset;
    struct wire_table table;
} lists[] = {
#define LIST(type, member, table_members)                                                                              \
    {                                                                                                                  \
#member, offsetof(struct wire_desired, member), offsetof(struct wire_desired, n_##member),                     \
            WIRE_TABLE(type, table_members)                                                                            \
    }
    LIST(wire_want_buffer, buffers, buffer_members),
    LIST(wire_want_section, sections, section_members),
    LIST(wire_want_channel, channels, channel_members),
    LIST(wire_want_crossconnect, crossconnects, crossconnect_members),
    LIST(wire_want_segment, segments, segment_members),
#undef LIST
};

static void **list_at(struct wire_desired *d, const struct list *l)
{
    return (void **)((char *)d + l->list_offset);
}

static size_t *n_at(struct wire_desired *d, const struct list *l)
{
    return (size_t *)((char *)d + l->n_offset);
}

json_t *wire_desired_encode(const struct wire_desired *desired)
{
    struct wire_desired *d = (struct wire_desired *)desired; /* only read */
    char cursor[WIRE_CURSOR_MAX];
    json_t *j = wire_table_encode(&desired_table, d);
    if (!j)
        return NULL;
    int rc = wire_set(j, "cursor", json_string(wire_cursor_format(d->epoch, d->revision, cursor)));
    for (size_t i = 0; i < ARRAY_LEN(lists) && !rc; i++)
        rc = wire_set(j, lists[i].name,
                      wire_table_encode_list(&lists[i].table, *list_at(d, &lists[i]), *n_at(d, &lists[i])));
    if (rc < 0) {
        json_decref(j);
        return NULL;
    }
    return j;
}

void wire_desired_done(struct wire_desired *d)
{
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        free(*list_at(d, &lists[i]));
    memset(d, 0, sizeof *d);
}

static int cursor_agrees(const struct wire_desired *d, const char *cursor, struct err *e)
{
    uint64_t epoch, revision;
    if (wire_cursor_parse(cursor, &epoch, &revision, e) < 0)
        return err_field(e, ERR_FIELD_INVALID, "cursor", "the cursor is not EPOCH.REVISION");
    if (epoch != d->epoch || revision != d->revision)
        return err_field(e, ERR_FIELD_INVALID, "cursor", "the cursor does not agree with epoch and revision");
    return 0;
}

int wire_desired_decode(struct wire_desired *out, const json_t *j, struct err *e)
{
    CLEANUP(wire_desired_done) struct wire_desired d;
    memset(&d, 0, sizeof d);
    char cursor[WIRE_CURSOR_MAX] = "";
    const json_t *arrays[ARRAY_LEN(lists)] = { NULL };
    struct json_field extra[ARRAY_LEN(lists) + 1];
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        extra[i] = (struct json_field){
            .name = lists[i].name, .kind = JSON_KIND_ARRAY, .required = true, .out = &arrays[i], .max = WIRE_MAX_OBJECTS
        };
    extra[ARRAY_LEN(lists)] = (struct json_field){
        .name = "cursor", .kind = JSON_KIND_STRING, .required = true, .out = cursor, .size = sizeof cursor
    };
    if (wire_table_decode(&desired_table, &d, extra, ARRAY_LEN(extra), j, "", e) < 0 ||
        cursor_agrees(&d, cursor, e) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (wire_table_decode_list(&lists[i].table, list_at(&d, &lists[i]), n_at(&d, &lists[i]), WIRE_MAX_OBJECTS,
                                   arrays[i], lists[i].name, e) < 0)
            return -1;
    *out = d;
    memset(&d, 0, sizeof d);
    return 0;
}
