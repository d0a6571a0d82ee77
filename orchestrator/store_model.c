/* store_model.c - the rows of the model as rows of tables, both ways.
 *
 * What does not fit in columns (labels, adapters of a node, sections, ports of a circuit) has a table of its own and is
 * written when it differs from what the journal says it was.  Writing is idempotent: a row may stand in the journal
 * more than once, and what counts is what it is at the end. */
#include "attachment_json.h"
#include "json.h"
#include "store_columns.h"
#include "store_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ------------------------------------------------------------------------------------------------------
 */
struct entry { /* a row of the journal, once */
    enum model_kind kind;
    uint32_t index;
    size_t first; /* its first journal entry */
    const void *row, *before;
};

static bool is_live(const void *row)
{
    return ((const struct row *)row)->live;
}

static int write_labels(struct store *s, const struct entry *x, struct err *e)
{
    const struct node *n = x->row, *old = x->before;
    bool same = old->row.live && old->n_labels == n->n_labels && old->labels == n->labels;
    if (same)
        return 0;
    if (db_run(&s->db, e, "DELETE FROM node_labels WHERE node = ?1", "i", (int64_t)x->index) < 0)
        return -1;
    for (unsigned i = 0; i < n->n_labels; i++)
        if (db_run(&s->db, e, "INSERT INTO node_labels VALUES (?1, ?2, ?3, ?4)", "iitt", (int64_t)x->index, (int64_t)i,
                   n->labels[i].key, n->labels[i].value) < 0)
            return -1;
    return 0;
}

static int write_node_adapters(struct store *s, const struct entry *x, struct err *e)
{
    const struct node *n = x->row, *old = x->before;
    if (old->row.live && old->n_adapters == n->n_adapters &&
        !memcmp(old->adapters, n->adapters, n->n_adapters * sizeof *n->adapters))
        return 0;
    if (db_run(&s->db, e, "DELETE FROM node_adapters WHERE node = ?1", "i", (int64_t)x->index) < 0)
        return -1;
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (db_run(&s->db, e, "INSERT INTO node_adapters VALUES (?1, ?2, ?3)", "iii", (int64_t)x->index, (int64_t)i,
                   (int64_t)n->adapters[i]) < 0)
            return -1;
    return 0;
}

static int write_sections(struct store *s, const struct entry *x, struct err *e)
{
    const struct adapter *a = x->row, *old = x->before;
    for (unsigned i = 0; i < WIRE_SECTIONS; i++) {
        const struct section *n = &a->sections[i], *o = &old->sections[i];
        bool empty = !n->used && !n->base && !n->park_revision && !n->barred_compute_boot;
        if (old->row.live && n->used == o->used && n->base == o->base && n->park_revision == o->park_revision &&
            n->barred_compute_boot == o->barred_compute_boot && n->barred_donor_boot == o->barred_donor_boot &&
            n->barred_donor == o->barred_donor)
            continue;
        int rc = empty ? db_run(&s->db, e, "DELETE FROM sections WHERE adapter = ?1 AND section = ?2", "ii",
                                (int64_t)x->index, (int64_t)i)
                       : db_run(&s->db, e, "INSERT OR REPLACE INTO sections VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                                "iiiiiiii", (int64_t)x->index, (int64_t)i, (int64_t)n->used, (int64_t)n->base,
                                (int64_t)n->park_revision, (int64_t)n->barred_compute_boot,
                                n->barred_donor == NONE ? (int64_t)-1 : (int64_t)n->barred_donor,
                                (int64_t)n->barred_donor_boot);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int write_legs(struct store *s, const struct entry *x, struct err *e)
{
    const struct circuit *c = x->row, *old = x->before;
    if (old->row.live && !memcmp(c->legs, old->legs, sizeof c->legs))
        return 0;
    if (db_run(&s->db, e, "DELETE FROM circuit_ports WHERE circuit = ?1", "i", (int64_t)x->index) < 0)
        return -1;
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 0; i < c->legs[k].n_ports; i++)
            if (db_run(&s->db, e, "INSERT INTO circuit_ports VALUES (?1, ?2, ?3, ?4)", "iiii", (int64_t)x->index,
                       (int64_t)k, (int64_t)i, (int64_t)c->legs[k].ports[i]) < 0)
                return -1;
    return 0;
}

static int upsert_row(struct store *s, const struct entry *x, struct err *e)
{
    CLEANUP(db_resetp) sqlite3_stmt *stmt = db_keep(&s->db, s->row_sql->upsert[x->kind], e);
    if (!stmt)
        return -1;
    int rc = row_bind(stmt, x->kind, x->index, x->row);
    if (rc != SQLITE_OK)
        return db_error(&s->db, rc, "bind", e);
    if (db_step(&s->db, stmt, e) < 0)
        return -1;
    switch (x->kind) {
    case MODEL_NODE:
        return write_labels(s, x, e) < 0 ? -1 : write_node_adapters(s, x, e);
    case MODEL_ADAPTER:
        return write_sections(s, x, e);
    case MODEL_CIRCUIT:
        return write_legs(s, x, e);
    default:
        return 0;
    }
}

static int remove_row(struct store *s, const struct entry *x, struct err *e)
{
    int64_t slot = x->index;
    int rc = 0;
    if (x->kind == MODEL_NODE) {
        rc = db_run(&s->db, e, "DELETE FROM node_labels WHERE node = ?1", "i", slot);
        if (rc == 0)
            rc = db_run(&s->db, e, "DELETE FROM node_adapters WHERE node = ?1", "i", slot);
    } else if (x->kind == MODEL_ADAPTER) {
        rc = db_run(&s->db, e, "DELETE FROM sections WHERE adapter = ?1", "i", slot);
        if (rc == 0)
            rc = db_run(&s->db, e, "DELETE FROM node_adapters WHERE adapter = ?1", "i", slot);
    } else if (x->kind == MODEL_CIRCUIT) {
        rc = db_run(&s->db, e, "DELETE FROM circuit_ports WHERE circuit = ?1", "i", slot);
    }
    return rc < 0 ? -1 : db_run(&s->db, e, s->row_sql->remove[x->kind], "i", slot);
}

/* The attachment is over: what it was at its end goes to the history. */
static int write_ended(struct store *s, const struct model *m, const struct attachment *a, struct err *e)
{
    CLEANUP(json_freep) json_t *j = attachment_json(m, a);
    CLEANUP(cleanup_free) char *text = j ? json_text(j) : NULL;
    if (!text)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    return db_run(&s->db, e,
                  "INSERT INTO ended_attachments (id, state, compute_node, donor, ended_ms, json)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET state = excluded.state,"
                  " ended_ms = excluded.ended_ms, json = excluded.json",
                  "ttttit", a->id, attachment_state_names[a->state],
                  json_string_value(json_object_get(j, "compute_node")), json_string_value(json_object_get(j, "donor")),
                  m->wall_ms, text);
}

static int by_row(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Every durable row of the journal once, with what it was at first; '*out' is the caller's. */
static int changed_rows(const struct model *m, struct entry **out, size_t *n, struct err *e)
{
    CLEANUP(cleanup_free) struct entry *list = calloc(m->n_journal + 1, sizeof *list);
    if (!list)
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    size_t have = 0, kept = 0;
    for (size_t i = 0; i < m->n_journal; i++) {
        const struct journal_entry *j = &m->journal[i];
        if (!j->durable)
            continue;
        const char *rows = m->tables[j->kind].rows;
        list[have++] = (struct entry){ .kind = j->kind,
                                       .index = j->index,
                                       .first = i,
                                       .row = rows + (size_t)j->index * row_size(j->kind),
                                       .before = j->before };
    }
    qsort(list, have, sizeof *list, by_row);
    for (size_t i = 0; i < have; i++)
        if (!kept || list[kept - 1].kind != list[i].kind || list[kept - 1].index != list[i].index)
            list[kept++] = list[i];
    *out = TAKE(list);
    *n = kept;
    return 0;
}

int store_write_rows(struct store *s, const struct model *m, struct err *e)
{
    CLEANUP(cleanup_free) struct entry *list = NULL;
    size_t n = 0;
    if (changed_rows(m, &list, &n, e) < 0)
        return -1;
    /* What goes makes room first: unique indexes are checked at once.  A link that changes its ends goes, too. */
    for (size_t i = 0; i < n; i++) {
        const struct entry *x = &list[i];
        if (x->kind == MODEL_ATTACHMENT && !is_live(x->row) && write_ended(s, m, x->row, e) < 0)
            return -1;
        if ((!is_live(x->row) || x->kind == MODEL_LINK) && remove_row(s, x, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < n; i++)
        if (is_live(list[i].row) && upsert_row(s, &list[i], e) < 0)
            return -1;
    return 0;
}

/* ---- loading ------------------------------------------------------------------------------------------------------
 */
static int load_node_adapters(struct store *s, uint32_t slot, struct node *n, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt =
        db_query(&s->db, e, "SELECT adapter FROM node_adapters WHERE node = ?1 ORDER BY position", "i", (int64_t)slot);
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&s->db, stmt, e)) == 1) {
        if (n->n_adapters == WIRE_MAX_ADAPTERS)
            return err_set(e, ERR_STORAGE, "the database is damaged: node %s has too many adapters", n->name);
        n->adapters[n->n_adapters++] = (uint32_t)sqlite3_column_int64(stmt, 0);
    }
    return rc;
}

static int load_labels(struct store *s, struct model *m, uint32_t slot, struct err *e)
{
    struct wire_label labels[WIRE_MAX_LABELS];
    size_t n = 0;
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt =
        db_query(&s->db, e, "SELECT key, value FROM node_labels WHERE node = ?1 ORDER BY position", "i", (int64_t)slot);
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&s->db, stmt, e)) == 1) {
        if (n == WIRE_MAX_LABELS)
            return err_set(e, ERR_STORAGE, "the database is damaged: too many labels");
        if (db_text(stmt, 0, labels[n].key, sizeof labels[n].key, e) < 0 ||
            db_text(stmt, 1, labels[n].value, sizeof labels[n].value, e) < 0)
            return -1;
        n++;
    }
    if (rc < 0 || n == 0)
        return rc;
    m->revision = model_node(m, slot)->row.changed; /* editing notes the revision */
    return model_set_labels(m, slot, labels, n, e);
}

static int load_adapter_parts(struct store *s, uint32_t slot, struct adapter *a, struct err *e)
{
    for (unsigned i = 0; i < WIRE_PORTS; i++)
        a->ports[i] = NONE;
    for (unsigned i = 0; i < WIRE_SECTIONS; i++)
        a->sections[i].circuit = a->sections[i].first_attachment = a->sections[i].barred_donor = NONE;
    CLEANUP(db_resetp)
    sqlite3_stmt *ports = db_query(&s->db, e, "SELECT slot, number FROM ports WHERE adapter = ?1", "i", (int64_t)slot);
    int rc = ports ? 0 : -1;
    while (ports && (rc = db_step(&s->db, ports, e)) == 1) {
        int64_t number = sqlite3_column_int64(ports, 1);
        if (number < 0 || number >= WIRE_PORTS || number >= a->n_ports)
            return err_set(e, ERR_STORAGE, "the database is damaged: adapter %s has no port %" PRId64, a->name, number);
        a->ports[number] = (uint32_t)sqlite3_column_int64(ports, 0);
    }
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = rc < 0
                             ? NULL
                             : db_query(&s->db, e,
                                        "SELECT section, used, base, park_revision, barred_compute_boot, barred_donor,"
                                        " barred_donor_boot FROM sections WHERE adapter = ?1",
                                        "i", (int64_t)slot);
    rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&s->db, stmt, e)) == 1) {
        struct section *x = &a->sections[sqlite3_column_int(stmt, 0) % WIRE_SECTIONS];
        x->used = sqlite3_column_int(stmt, 1) != 0;
        x->base = (uint64_t)sqlite3_column_int64(stmt, 2);
        x->park_revision = (uint64_t)sqlite3_column_int64(stmt, 3);
        x->barred_compute_boot = (uint64_t)sqlite3_column_int64(stmt, 4);
        x->barred_donor = sqlite3_column_int64(stmt, 5) < 0 ? NONE : (uint32_t)sqlite3_column_int64(stmt, 5);
        x->barred_donor_boot = (uint64_t)sqlite3_column_int64(stmt, 6);
    }
    return rc;
}

static int load_legs(struct store *s, uint32_t slot, struct circuit *c, struct err *e)
{
    CLEANUP(db_resetp)
    sqlite3_stmt *stmt = db_query(
        &s->db, e, "SELECT leg, port FROM circuit_ports WHERE circuit = ?1 ORDER BY leg, position", "i", (int64_t)slot);
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&s->db, stmt, e)) == 1) {
        struct leg *leg = &c->legs[sqlite3_column_int(stmt, 0) % 2];
        if (leg->n_ports == PATH_PORTS_MAX)
            return err_set(e, ERR_STORAGE, "the database is damaged: circuit %s is too long", c->id);
        leg->ports[leg->n_ports++] = (uint32_t)sqlite3_column_int64(stmt, 1);
    }
    return rc;
}

static int load_row(struct store *s, struct model *m, enum model_kind kind, sqlite3_stmt *stmt, int version,
                    struct err *e)
{
    union any_row r;
    memset(&r, 0, sizeof r);
    int64_t slot = sqlite3_column_int64(stmt, 0);
    if (slot < 0 || slot >= NONE / 2)
        return err_set(e, ERR_STORAGE, "the database is damaged: slot %" PRId64 " of %s", slot, row_table(kind));
    if (row_read(stmt, kind, &r, e) < 0)
        return -1;
    int rc = 0;
    if (kind == MODEL_NODE)
        rc = load_node_adapters(s, (uint32_t)slot, &r.node, e);
    else if (kind == MODEL_ADAPTER)
        rc = load_adapter_parts(s, (uint32_t)slot, &r.adapter, e);
    else if (kind == MODEL_CIRCUIT)
        rc = load_legs(s, (uint32_t)slot, &r.circuit, e);
    else if (kind == MODEL_ATTACHMENT)
        r.attachment.numa_node = -1;
    if (rc < 0 || model_load_row(m, kind, (uint32_t)slot, &r, e) < 0)
        return -1;
    if (kind == MODEL_NODE && load_labels(s, m, (uint32_t)slot, e) < 0)
        return -1;
    const void *row = (const char *)m->tables[kind].rows + (size_t)slot * row_size(kind);
    return row_check(stmt, kind, (uint32_t)slot, row, version, e);
}

static int load_kind(struct store *s, struct model *m, enum model_kind kind, int version, struct err *e)
{
    CLEANUP(db_resetp) sqlite3_stmt *stmt = db_query(&s->db, e, s->row_sql->select[kind], "");
    int rc = stmt ? 0 : -1;
    while (stmt && (rc = db_step(&s->db, stmt, e)) == 1)
        if (load_row(s, m, kind, stmt, version, e) < 0)
            return -1;
    return rc;
}

static int load_rows(struct store *s, struct model *m, int version, struct err *e)
{
    for (int kind = 0; kind < MODEL_KINDS; kind++)
        if (load_kind(s, m, (enum model_kind)kind, version, e) < 0)
            return -1;
    return 0;
}

static int write_sums(struct store *s, const struct model *m, enum model_kind kind, struct err *e)
{
    for (uint32_t i = 0; i < model_count(m, kind); i++) {
        const void *row = (const char *)m->tables[kind].rows + (size_t)i * row_size(kind);
        CLEANUP(db_resetp) sqlite3_stmt *stmt = NULL;
        if (!is_live(row))
            continue;
        if (!(stmt = db_keep(&s->db, s->row_sql->upsert[kind], e)))
            return -1;
        int rc = row_bind(stmt, kind, i, row);
        if (rc != SQLITE_OK)
            return db_error(&s->db, rc, "bind", e);
        if (db_step(&s->db, stmt, e) < 0)
            return -1;
    }
    return 0;
}

static void model_freep(struct model **m)
{
    model_free(*m);
}

int store_sum_again(struct store *s, int version, struct err *e)
{
    CLEANUP(model_freep) struct model *m = NULL;
    if (model_new(&m, e) < 0 || load_rows(s, m, version, e) < 0)
        return -1;
    for (int kind = 0; kind < MODEL_KINDS; kind++)
        if (write_sums(s, m, (enum model_kind)kind, e) < 0)
            return -1;
    return 0;
}

int store_load(struct store *s, struct model *m, struct err *e)
{
    if (load_rows(s, m, store_n_migrations, e) < 0)
        return -1;
    m->topology_version = s->at.topology_version;
    m->next_circuit = s->at.next_circuit;
    m->revision = s->at.revision;
    return model_rebuild(m, e);
}
