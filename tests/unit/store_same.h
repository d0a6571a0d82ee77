/* store_same.h - same_as_file(): the model, and what a restart would make of the database, are equal in all that is
 * durable. */
#ifndef MEMLANE_STORE_SAME_H
#define MEMLANE_STORE_SAME_H

#include "store_fixture.h"

#define SAME(field) ck_assert_uint_eq((uint64_t)a->field, (uint64_t)b->field)
#define SAME_TEXT(field) ck_assert_str_eq(a->field, b->field)

static void same_node(const struct node *a, const struct node *b)
{
    SAME_TEXT(name);
    SAME_TEXT(machine_id);
    SAME_TEXT(boot_id);
    SAME_TEXT(fenced_boot_id);
    SAME_TEXT(version);
    SAME(cordoned);
    SAME(labels_set);
    SAME(enrolment);
    SAME(headroom_bytes);
    SAME(memory_bytes);
    SAME(block_bytes);
    /* not free_bytes and locked_bytes: a heartbeat that changes only them is no commit */
    SAME(lent_bytes);
    SAME(borrowed_bytes);
    SAME(n_adapters);
    SAME(n_labels);
    ck_assert_mem_eq(a->adapters, b->adapters, a->n_adapters * sizeof *a->adapters);
    for (unsigned i = 0; i < a->n_labels; i++) {
        SAME_TEXT(labels[i].key);
        SAME_TEXT(labels[i].value);
    }
}

static void same_adapter(const struct adapter *a, const struct adapter *b)
{
    SAME_TEXT(name);
    SAME(node);
    SAME(role);
    SAME(n_ports);
    SAME(ports[0]);
    SAME(ports[1]);
    SAME(window_addr);
    SAME(window_bytes);
    SAME(n_sections);
    SAME(n_circuits);
    for (unsigned i = 0; i < WIRE_SECTIONS; i++) {
        SAME(sections[i].used);
        SAME(sections[i].base);
        SAME(sections[i].park_revision);
        SAME(sections[i].circuit);
        SAME(sections[i].first_attachment);
    }
}

static void same_circuit(const struct circuit *a, const struct circuit *b)
{
    SAME_TEXT(id);
    SAME(compute);
    SAME(memory);
    SAME(channels);
    SAME(cost_ns);
    SAME(phase);
    SAME(verified);
    SAME(revision);
    SAME(n_attachments);
    ck_assert_mem_eq(a->legs, b->legs, sizeof a->legs);
}

static void same_attachment(const struct attachment *a, const struct attachment *b)
{
    SAME_TEXT(id);
    SAME(compute_node);
    SAME(donor);
    SAME(size_bytes);
    SAME(requested_bytes);
    SAME(channels);
    SAME(bandwidth_gbps);
    SAME(created_ms);
    SAME(updated_ms);
    SAME(circuit);
    SAME(section);
    SAME(offset_bytes);
    SAME(compute_adapter);
    SAME(memory_adapter);
    SAME(cost_ns);
    SAME(state);
    SAME(goal);
    SAME(step);
    SAME(undoing);
    SAME(revision);
    SAME(attempt);
    SAME(buffer_seen);
    SAME(segment_seen);
    SAME(compute_gone);
    SAME(section_released);
    SAME(release_published);
    SAME(released);
    SAME(quarantined);
    SAME_TEXT(lender_id);
    SAME_TEXT(donor_boot);
    SAME_TEXT(compute_boot);
    SAME(effective_addr);
    SAME(physical_addr);
    SAME(ending);
    SAME(tombstone_revision);
    SAME_TEXT(reason);
    SAME(section_next);
}

#define SAME_ROWS(kind, reader, same)                                                                                  \
    for (uint32_t i = 0; i < model_count(m, kind) || i < model_count(twin, kind); i++) {                               \
        ck_assert_int_eq(reader(m, i) != NULL, reader(twin, i) != NULL);                                               \
        if (reader(m, i)) {                                                                                            \
            ck_assert_uint_eq(reader(m, i)->row.changed, reader(twin, i)->row.changed);                                \
            same(reader(m, i), reader(twin, i));                                                                       \
        }                                                                                                              \
    }

static void same_switch(const struct sw *a, const struct sw *b)
{
    SAME_TEXT(name);
    SAME(n_ports);
    SAME(first_port);
    SAME(latency_ns);
    SAME_TEXT(managed_by);
}

static void same_port(const struct port *a, const struct port *b)
{
    SAME(adapter);
    SAME(sw);
    SAME(number);
    SAME(link);
    SAME(circuit);
}

static void same_link(const struct link *a, const struct link *b)
{
    SAME(a);
    SAME(b);
    SAME(latency_ns);
    SAME(gbps);
    SAME(down);
}

static void same_as_file(const struct model *m)
{
    struct model *twin;
    ck_assert_int_eq(model_new(&twin, &e), 0);
    ck_assert_msg(store_load(store, twin, &e) == 0, "%s", e.detail);
    ck_assert_msg(model_check(twin, &e) == 0, "%s", e.detail);
    SAME_ROWS(MODEL_NODE, model_node, same_node);
    SAME_ROWS(MODEL_ADAPTER, model_adapter, same_adapter);
    SAME_ROWS(MODEL_PORT, model_port, same_port);
    SAME_ROWS(MODEL_SWITCH, model_switch, same_switch);
    SAME_ROWS(MODEL_LINK, model_link, same_link);
    SAME_ROWS(MODEL_CIRCUIT, model_circuit, same_circuit);
    SAME_ROWS(MODEL_ATTACHMENT, model_attachment, same_attachment);
    ck_assert_uint_eq(m->topology_version, twin->topology_version);
    ck_assert_uint_eq(m->next_circuit, twin->next_circuit);
    model_free(twin);
}

#endif
