#include "store_columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum column_type {
    COL_U64,
    COL_U32,
    COL_REF, /* uint32_t; NONE is NULL */
    COL_BOOL,
    COL_NAME, /* an enum as one of 'names' */
    COL_TEXT,
};

struct column {
    const char *name;
    enum column_type type;
    size_t offset, size;
    const char *const *names;
    int since; /* the migration that brought it; 0: the one that made the table */
};

static const char *const role_names[] = { "compute", "memory", NULL };
static const char *const goal_names[] = { "present", "absent", NULL };

#define COL_FULL(name_, type_, row_, field_, names_, since_)                                                           \
    {                                                                                                                  \
        name_, type_, offsetof(struct row_, field_), sizeof(((struct row_ *)0)->field_), names_, since_                \
    }
#define COL(type_, row_, field_) COL_FULL(#field_, type_, row_, field_, NULL, 0)
#define COL_AS(name_, type_, row_, field_) COL_FULL(name_, type_, row_, field_, NULL, 0)
#define COL_OF(row_, field_, names_) COL_FULL(#field_, COL_NAME, row_, field_, names_, 0)
#define COL_SINCE(since_, type_, row_, field_) COL_FULL(#field_, type_, row_, field_, NULL, since_)
#define COL_OF_SINCE(since_, row_, field_, names_) COL_FULL(#field_, COL_NAME, row_, field_, names_, since_)

static const struct column node_columns[] = {
    COL_AS("changed", COL_U64, node, row.changed),
    COL(COL_TEXT, node, name),
    COL(COL_TEXT, node, machine_id),
    COL(COL_TEXT, node, boot_id),
    COL(COL_TEXT, node, fenced_boot_id),
    COL_SINCE(4, COL_TEXT, node, previous_boot_id),
    COL_OF_SINCE(4, node, state, node_state_names),
    COL(COL_TEXT, node, version),
    COL(COL_BOOL, node, cordoned),
    COL(COL_U64, node, headroom_bytes),
    COL(COL_U64, node, memory_bytes),
    COL(COL_U64, node, block_bytes),
    COL(COL_U64, node, free_bytes),
    COL(COL_U64, node, locked_bytes),
    COL_OF(node, enrolment, enrolment_names),
    COL_SINCE(6, COL_BOOL, node, labels_set),
};

static const struct column adapter_columns[] = {
    COL_AS("changed", COL_U64, adapter, row.changed),
    COL(COL_REF, adapter, node),
    COL(COL_TEXT, adapter, name),
    COL_OF(adapter, role, role_names),
    COL(COL_U32, adapter, n_ports),
    COL(COL_U64, adapter, window_addr),
    COL(COL_U64, adapter, window_bytes),
    COL(COL_U32, adapter, n_sections),
    COL_SINCE(4, COL_BOOL, adapter, failed),
};

static const struct column port_columns[] = {
    COL_AS("changed", COL_U64, port, row.changed), COL(COL_REF, port, adapter),
    COL_AS("switch", COL_REF, port, sw),           COL(COL_U32, port, number),
    COL_SINCE(4, COL_BOOL, port, suspect),         COL_SINCE(4, COL_U32, port, signal),
};

static const struct column switch_columns[] = {
    COL_AS("changed", COL_U64, sw, row.changed),
    COL(COL_TEXT, sw, name),
    COL(COL_U32, sw, n_ports),
    COL(COL_U32, sw, first_port),
    COL(COL_U64, sw, latency_ns),
    COL(COL_TEXT, sw, managed_by),
    COL_SINCE(5, COL_BOOL, sw, fenced),
};

static const struct column link_columns[] = {
    COL_AS("changed", COL_U64, link, row.changed),
    COL(COL_REF, link, a),
    COL(COL_REF, link, b),
    COL(COL_U64, link, latency_ns),
    COL(COL_U32, link, gbps),
    COL(COL_BOOL, link, down),
};

static const struct column circuit_columns[] = {
    COL_AS("changed", COL_U64, circuit, row.changed),
    COL(COL_TEXT, circuit, id),
    COL(COL_REF, circuit, compute),
    COL(COL_REF, circuit, memory),
    COL(COL_U32, circuit, channels),
    COL(COL_U64, circuit, cost_ns),
    COL_AS("leg0_cost_ns", COL_U64, circuit, legs[0].cost_ns),
    COL_AS("leg1_cost_ns", COL_U64, circuit, legs[1].cost_ns),
    COL(COL_U32, circuit, phase),
    COL(COL_BOOL, circuit, verified),
    COL(COL_U64, circuit, revision),
    COL_SINCE(4, COL_BOOL, circuit, severed),
    COL_OF_SINCE(4, circuit, state, circuit_state_names),
};

static const struct column attachment_columns[] = {
    COL_AS("changed", COL_U64, attachment, row.changed),
    COL(COL_TEXT, attachment, id),
    COL(COL_REF, attachment, compute_node),
    COL(COL_REF, attachment, donor),
    COL(COL_U64, attachment, size_bytes),
    COL(COL_U64, attachment, requested_bytes),
    COL(COL_U32, attachment, channels),
    COL(COL_U32, attachment, bandwidth_gbps),
    COL(COL_U64, attachment, created_ms),
    COL(COL_U64, attachment, updated_ms),
    COL(COL_REF, attachment, circuit),
    COL(COL_U32, attachment, section),
    COL(COL_U64, attachment, offset_bytes),
    COL(COL_REF, attachment, compute_adapter),
    COL(COL_REF, attachment, memory_adapter),
    COL(COL_U64, attachment, cost_ns),
    COL_OF(attachment, state, attachment_state_names),
    COL_OF(attachment, goal, goal_names),
    COL(COL_U32, attachment, step),
    COL(COL_U32, attachment, undoing),
    COL(COL_U64, attachment, revision),
    COL(COL_U32, attachment, attempt),
    COL(COL_BOOL, attachment, buffer_seen),
    COL(COL_BOOL, attachment, segment_seen),
    COL(COL_BOOL, attachment, compute_gone),
    COL(COL_BOOL, attachment, section_released),
    COL(COL_BOOL, attachment, release_published),
    COL(COL_BOOL, attachment, released),
    COL(COL_BOOL, attachment, quarantined),
    COL_SINCE(4, COL_BOOL, attachment, barring),
    COL(COL_TEXT, attachment, lender_id),
    COL(COL_TEXT, attachment, donor_boot),
    COL(COL_TEXT, attachment, compute_boot),
    COL(COL_U64, attachment, effective_addr),
    COL(COL_U64, attachment, physical_addr),
    COL_OF(attachment, ending, attachment_state_names),
    COL(COL_U64, attachment, tombstone_revision),
    COL(COL_TEXT, attachment, reason),
};

static const struct column ban_columns[] = {
    COL_AS("changed", COL_U64, ban, row.changed),
    COL(COL_TEXT, ban, boot_id),
    COL(COL_TEXT, ban, node),
    COL(COL_TEXT, ban, adapter),
    COL(COL_U32, ban, sections),
};

static const struct kind {
    const char *table;
    size_t row_size;
    const struct column *columns;
    unsigned n_columns;
} kinds[MODEL_KINDS] = {
    [MODEL_NODE] = { "nodes", sizeof(struct node), node_columns, ARRAY_LEN(node_columns) },
    [MODEL_ADAPTER] = { "adapters", sizeof(struct adapter), adapter_columns, ARRAY_LEN(adapter_columns) },
    [MODEL_PORT] = { "ports", sizeof(struct port), port_columns, ARRAY_LEN(port_columns) },
    [MODEL_SWITCH] = { "switches", sizeof(struct sw), switch_columns, ARRAY_LEN(switch_columns) },
    [MODEL_LINK] = { "links", sizeof(struct link), link_columns, ARRAY_LEN(link_columns) },
    [MODEL_CIRCUIT] = { "circuits", sizeof(struct circuit), circuit_columns, ARRAY_LEN(circuit_columns) },
    [MODEL_ATTACHMENT] = { "attachments", sizeof(struct attachment), attachment_columns,
                           ARRAY_LEN(attachment_columns) },
    [MODEL_BAN] = { "bans", sizeof(struct ban), ban_columns, ARRAY_LEN(ban_columns) },
};

/* ---- generated SQL ------------------------------------------------------------------------------------------------
 */
static char *make_sql(const struct kind *k, const char *form)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    for (; *form; form++) {
        if (*form == 'T') {
            fputs(k->table, f);
        } else if (*form == 'S') {
            fprintf(f, ", ?%u", k->n_columns + 2);
        } else if (*form == 'N' || *form == 'V' || *form == 'U') { /* names, values, updates */
            for (unsigned i = 0; i < k->n_columns; i++)
                if (*form == 'N')
                    fprintf(f, ", %s", k->columns[i].name);
                else if (*form == 'V')
                    fprintf(f, ", ?%u", i + 2);
                else
                    fprintf(f, "%s%s = excluded.%s", i ? ", " : "", k->columns[i].name, k->columns[i].name);
        } else {
            fputc(*form, f);
        }
    }
    bool failed = ferror(f);
    if (fclose(f) || failed) {
        free(text);
        return NULL;
    }
    return text;
}

int row_sql_new(struct row_sql **out, struct err *e)
{
    struct row_sql *sql = calloc(1, sizeof *sql);
    if (!sql)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    for (int k = 0; k < MODEL_KINDS; k++) { /* keywords in lower case: capitals are the places to fill */
        sql->select[k] = make_sql(&kinds[k], "select slotN, sum from T order by slot");
        sql->upsert[k] =
            make_sql(&kinds[k],
                     "insert into T (slotN, sum) values (?1VS) on conflict (slot) do update set U, sum = excluded.sum");
        sql->remove[k] = make_sql(&kinds[k], "delete from T where slot = ?1");
        if (!sql->select[k] || !sql->upsert[k] || !sql->remove[k]) {
            row_sql_free(sql);
            return err_set(e, ERR_UNAVAILABLE, "out of memory");
        }
    }
    *out = sql;
    return 0;
}

void row_sql_free(struct row_sql *sql)
{
    if (!sql)
        return;
    for (int k = 0; k < MODEL_KINDS; k++) {
        free(sql->select[k]);
        free(sql->upsert[k]);
        free(sql->remove[k]);
    }
    free(sql);
}

/* ---- one value ----------------------------------------------------------------------------------------------------
 */
static int bind_column(sqlite3_stmt *stmt, int at, const struct column *c, const void *row)
{
    const char *p = (const char *)row + c->offset;
    uint64_t u64;
    uint32_t u32;
    switch (c->type) {
    case COL_U64:
        memcpy(&u64, p, sizeof u64);
        return sqlite3_bind_int64(stmt, at, (int64_t)u64);
    case COL_BOOL:
        return sqlite3_bind_int(stmt, at, *(const bool *)p);
    case COL_TEXT:
        return sqlite3_bind_text(stmt, at, p, -1, SQLITE_STATIC);
    default:
        memcpy(&u32, p, sizeof u32);
        if (c->type == COL_NAME)
            return sqlite3_bind_text(stmt, at, c->names[u32], -1, SQLITE_STATIC);
        if (c->type == COL_REF && u32 == NONE)
            return sqlite3_bind_null(stmt, at);
        return sqlite3_bind_int64(stmt, at, u32);
    }
}

static int damaged(const struct column *c, struct err *e)
{
    return err_set(e, ERR_STORAGE, "the database is damaged: column %s has an impossible value", c->name);
}

static int read_column(sqlite3_stmt *stmt, int at, const struct column *c, void *row, struct err *e)
{
    char *p = (char *)row + c->offset;
    if (c->type == COL_TEXT)
        return db_text(stmt, at, p, c->size, e);
    int64_t v = sqlite3_column_int64(stmt, at);
    uint32_t u32 = (uint32_t)v;
    if (c->type == COL_NAME) {
        const char *text = (const char *)sqlite3_column_text(stmt, at);
        for (u32 = 0; c->names[u32] && text && strcmp(c->names[u32], text);)
            u32++;
        if (!text || !c->names[u32])
            return damaged(c, e);
    } else if (c->type == COL_REF && sqlite3_column_type(stmt, at) == SQLITE_NULL) {
        u32 = NONE;
    } else if (c->type != COL_U64 && (v < 0 || v >= UINT32_MAX)) {
        return damaged(c, e);
    }
    if (c->type == COL_U64)
        memcpy(p, &v, sizeof v);
    else if (c->type == COL_BOOL)
        *(bool *)p = v != 0;
    else
        memcpy(p, &u32, sizeof u32);
    return 0;
}

/* ---- sums ---------------------------------------------------------------------------------------------------------
 */
uint64_t sum_bytes(uint64_t sum, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ p[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return sum;
}

uint64_t sum_u64(uint64_t sum, uint64_t value)
{
    return sum_bytes(sum, &value, sizeof value);
}

uint64_t sum_text(uint64_t sum, const char *text)
{
    return sum_bytes(sum, text, strlen(text) + 1);
}

static uint64_t sum_column(uint64_t sum, const struct column *c, const void *row)
{
    const char *p = (const char *)row + c->offset;
    uint64_t u64 = 0;
    if (c->type == COL_TEXT)
        return sum_text(sum, p);
    if (c->type == COL_BOOL)
        u64 = *(const bool *)p;
    else
        memcpy(&u64, p, c->type == COL_U64 ? sizeof u64 : sizeof(uint32_t));
    return sum_u64(sum, u64);
}

#define BARS_SINCE 4

static uint64_t sum_section(uint64_t sum, const struct section *s, int version)
{
    sum = sum_u64(sum_u64(sum_u64(sum, s->used), s->base), s->park_revision);
    if (version < BARS_SINCE)
        return sum;
    return sum_u64(sum_u64(sum_u64(sum, s->barred_compute_boot), s->barred_donor), s->barred_donor_boot);
}

/* What has a table of its own. */
static uint64_t sum_parts(uint64_t sum, enum model_kind kind, const void *row, int version)
{
    const struct node *n = row;
    const struct adapter *a = row;
    const struct circuit *c = row;
    if (kind == MODEL_NODE) {
        for (unsigned i = 0; i < n->n_labels; i++)
            sum = sum_text(sum_text(sum, n->labels[i].key), n->labels[i].value);
        for (unsigned i = 0; i < n->n_adapters; i++)
            sum = sum_u64(sum, n->adapters[i]);
    } else if (kind == MODEL_ADAPTER) {
        for (unsigned i = 0; i < WIRE_SECTIONS; i++)
            sum = sum_section(sum, &a->sections[i], version);
    } else if (kind == MODEL_CIRCUIT) {
        for (unsigned k = 0; k < c->channels && k < 2; k++)
            for (unsigned i = 0; i < c->legs[k].n_ports; i++)
                sum = sum_u64(sum, (uint64_t)k << 32 | c->legs[k].ports[i]);
    }
    return sum;
}

uint64_t row_sum(enum model_kind kind, uint32_t slot, const void *row, int version)
{
    uint64_t sum = sum_u64(SUM_START, (uint64_t)kind << 32 | slot);
    for (unsigned i = 0; i < kinds[kind].n_columns; i++)
        if (kinds[kind].columns[i].since <= version)
            sum = sum_column(sum, &kinds[kind].columns[i], row);
    sum = sum_parts(sum, kind, row, version);
    return sum ? sum : 1;
}

int row_check(sqlite3_stmt *stmt, enum model_kind kind, uint32_t slot, const void *row, int version, struct err *e)
{
    uint64_t stored = (uint64_t)sqlite3_column_int64(stmt, (int)kinds[kind].n_columns + 1);
    if (!stored || stored == row_sum(kind, slot, row, version))
        return 0;
    return err_set(e, ERR_STORAGE, "the database is damaged: row %u of table %s is not what was written", slot,
                   kinds[kind].table);
}

int row_bind(sqlite3_stmt *stmt, enum model_kind kind, uint32_t slot, const void *row)
{
    int rc = sqlite3_bind_int64(stmt, 1, slot);
    for (unsigned i = 0; i < kinds[kind].n_columns && rc == SQLITE_OK; i++)
        rc = bind_column(stmt, (int)i + 2, &kinds[kind].columns[i], row);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, (int)kinds[kind].n_columns + 2,
                                (int64_t)row_sum(kind, slot, row, store_n_migrations));
    return rc;
}

int row_read(sqlite3_stmt *stmt, enum model_kind kind, void *row, struct err *e)
{
    for (unsigned i = 0; i < kinds[kind].n_columns; i++)
        if (read_column(stmt, (int)i + 1, &kinds[kind].columns[i], row, e) < 0)
            return -1;
    return 0;
}

const char *row_table(enum model_kind kind)
{
    return kinds[kind].table;
}

size_t row_size(enum model_kind kind)
{
    return kinds[kind].row_size;
}
