/* model_same.h - model_difference(): what of the durable fields is another in two models.
 *
 * The fields are named here once more, and not taken from the table of columns: one that is forgotten there, or is
 * changed as if it were volatile, is what has to be found. */
#ifndef MEMLANE_MODEL_SAME_H
#define MEMLANE_MODEL_SAME_H

#include "core/model.h"

#include <stdio.h>
#include <string.h>

/* Each answers the first field that differs, or NULL. */
#define SAME(field)                                                                                                    \
    if (a->field != b->field)                                                                                          \
    return #field
#define SAME_TEXT(field)                                                                                               \
    if (strcmp(a->field, b->field) != 0)                                                                               \
    return #field

/* Not free_bytes and locked_bytes: a heartbeat that changes only them is no commit. */
static const char *node_other(const struct node *a, const struct node *b)
{
    SAME_TEXT(name);
    SAME_TEXT(machine_id);
    SAME_TEXT(boot_id);
    SAME_TEXT(fenced_boot_id);
    SAME_TEXT(previous_boot_id);
    SAME_TEXT(version);
    SAME(state);
    SAME(cordoned);
    SAME(labels_set);
    SAME(enrolment);
    SAME(headroom_bytes);
    SAME(memory_bytes);
    SAME(block_bytes);
    SAME(lent_bytes);
    SAME(borrowed_bytes);
    SAME(n_lends);
    SAME(n_borrows);
    SAME(n_adapters);
    SAME(n_labels);
    for (unsigned i = 0; i < a->n_adapters; i++)
        SAME(adapters[i]);
    for (unsigned i = 0; i < a->n_labels; i++) {
        SAME_TEXT(labels[i].key);
        SAME_TEXT(labels[i].value);
    }
    return NULL;
}

static const char *adapter_other(const struct adapter *a, const struct adapter *b)
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
    SAME(failed);
    for (unsigned i = 0; i < WIRE_SECTIONS; i++) {
        SAME(sections[i].used);
        SAME(sections[i].base);
        SAME(sections[i].park_revision);
        SAME(sections[i].circuit);
        SAME(sections[i].first_attachment);
        SAME(sections[i].barred_compute_boot);
        SAME(sections[i].barred_donor_boot);
        SAME(sections[i].barred_donor);
    }
    return NULL;
}

static const char *port_other(const struct port *a, const struct port *b)
{
    SAME(adapter);
    SAME(sw);
    SAME(number);
    SAME(link);
    SAME(circuit);
    SAME(suspect);
    SAME(signal);
    return NULL;
}

static const char *switch_other(const struct sw *a, const struct sw *b)
{
    SAME_TEXT(name);
    SAME(n_ports);
    SAME(first_port);
    SAME(latency_ns);
    SAME_TEXT(managed_by);
    SAME(fenced);
    return NULL;
}

static const char *link_other(const struct link *a, const struct link *b)
{
    SAME(a);
    SAME(b);
    SAME(latency_ns);
    SAME(gbps);
    SAME(down);
    return NULL;
}

static const char *circuit_other(const struct circuit *a, const struct circuit *b)
{
    SAME_TEXT(id);
    SAME(compute);
    SAME(memory);
    SAME(channels);
    SAME(cost_ns);
    SAME(state);
    SAME(phase);
    SAME(verified);
    SAME(severed);
    SAME(revision);
    SAME(reserved_gbps);
    SAME(n_attachments);
    for (unsigned k = 0; k < a->channels; k++) {
        SAME(legs[k].n_ports);
        SAME(legs[k].cost_ns);
        for (unsigned i = 0; i < a->legs[k].n_ports; i++)
            SAME(legs[k].ports[i]);
    }
    return NULL;
}

static const char *attachment_other(const struct attachment *a, const struct attachment *b)
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
    SAME(barring);
    SAME_TEXT(lender_id);
    SAME_TEXT(donor_boot);
    SAME_TEXT(compute_boot);
    SAME(effective_addr);
    SAME(physical_addr);
    SAME(ending);
    SAME(tombstone_revision);
    SAME_TEXT(reason);
    SAME(section_next);
    return NULL;
}

static const char *ban_other(const struct ban *a, const struct ban *b)
{
    SAME_TEXT(boot_id);
    SAME_TEXT(node);
    SAME_TEXT(adapter);
    SAME(sections);
    return NULL;
}

#undef SAME
#undef SAME_TEXT

#define SAME_ROWS(kind, word, reader, differs)                                                                         \
    for (uint32_t i = 0; i < model_count(x, kind) || i < model_count(y, kind); i++) {                                  \
        const struct word *a = reader(x, i), *b = reader(y, i);                                                        \
        const char *other = !a != !b                           ? "there at all"                                        \
                            : !a                               ? NULL                                                  \
                            : a->row.changed != b->row.changed ? "row.changed"                                         \
                                                               : differs(a, b);                                        \
        if (other) {                                                                                                   \
            snprintf(buf, 120, #word " %u: %s", i, other);                                                             \
            return buf;                                                                                                \
        }                                                                                                              \
    }
/* NULL: none; else the first, in words. */
static const char *model_difference(const struct model *x, const struct model *y, char buf[120])
{
    SAME_ROWS(MODEL_NODE, node, model_node, node_other);
    SAME_ROWS(MODEL_ADAPTER, adapter, model_adapter, adapter_other);
    SAME_ROWS(MODEL_PORT, port, model_port, port_other);
    SAME_ROWS(MODEL_SWITCH, sw, model_switch, switch_other);
    SAME_ROWS(MODEL_LINK, link, model_link, link_other);
    SAME_ROWS(MODEL_CIRCUIT, circuit, model_circuit, circuit_other);
    SAME_ROWS(MODEL_ATTACHMENT, attachment, model_attachment, attachment_other);
    SAME_ROWS(MODEL_BAN, ban, model_ban, ban_other);
    return x->next_circuit == y->next_circuit ? NULL : "next_circuit";
}

#endif
