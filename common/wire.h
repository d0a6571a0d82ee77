/* wire.h - what orchestrator and agents tell each other: registration, desired state, observed state, as C and as JSON.
 *
 * Registration: POST /v1/agents/register.  Desired: GET /v1/agents/{name}/desired.  Observed: PUT
 * /v1/agents/{name}/observed. All three are full snapshots.  Absence from the desired state is never an order.  JSON
 * field names are the C names below; addresses and register values are strings "0x...".  Every list is bounded
 * (WIRE_MAX_*), so that a peer cannot make the other side grow.  Pure: no I/O; thread-safe. */
#ifndef MEMLANE_WIRE_H
#define MEMLANE_WIRE_H

#include "err.h"
#include "names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PROTOCOL_MIN 1
#define WIRE_PROTOCOL_MAX 1

#define WIRE_SECTIONS 8 /* section registers of an adapter (hardware.md) */
#define WIRE_PORTS 2    /* ports of an adapter */
#define WIRE_MAX_ADAPTERS 16
#define WIRE_MAX_LABELS 16
#define WIRE_MAX_FINDINGS 32
#define WIRE_MAX_OBJECTS 8192 /* buffers, segments, ... in one snapshot */
#define WIRE_TEXT 200         /* a reason or detail, with the NUL */

enum wire_role { WIRE_COMPUTE, WIRE_MEMORY };                               /* "compute", "memory" */
enum wire_want { WIRE_CREATE, WIRE_KEEP, WIRE_ABSENT };                     /* "create", "keep", "absent" */
enum wire_severity { WIRE_INFO, WIRE_WARNING, WIRE_ERROR };                 /* "info", "warning", "error" */
enum wire_signal { WIRE_SIGNAL_UNKNOWN, WIRE_SIGNAL_UP, WIRE_SIGNAL_DOWN }; /* "unknown", "up", "down" */

/* The section registers' values (hardware.md): 'base' is the arena's, its low six bits zero. */
#define WIRE_NETID_PORT0 UINT64_C(1)
#define WIRE_NETID_PORT1 UINT64_C(2) /* bit 0 clear selects port 1 */
#define WIRE_NETID_BOTH UINT64_C(3)
uint64_t wire_section_value(uint64_t base, unsigned section, uint64_t netid);
uint64_t wire_section_base(uint64_t value, unsigned section); /* of such a value */
uint64_t wire_section_parked(unsigned section);
bool wire_section_is_parked(uint64_t value, unsigned section); /* whatever its netid */

/* ---- registration -------------------------------------------------------------------------------------------------
 */
struct wire_adapter {
    char name[NAME_SIZE];
    enum wire_role role;
    unsigned ports;
    uint64_t window_addr, window_bytes; /* compute adapters only; 0 otherwise */
};

struct wire_label {
    char key[NAME_SIZE], value[NAME_SIZE];
};

struct wire_finding {
    char code[NAME_SIZE]; /* stable: "auto_online_policy" */
    enum wire_severity severity;
    char detail[WIRE_TEXT]; /* what is so */
    char advice[WIRE_TEXT]; /* what to do about it */
};

/* The highest epoch and revision that anybody is told: a browser and jansson hold it exactly.  Both are counted up by
 * one, and 2,500 commits a second take 100,000 years to get there.  What leaps is what an agent claims to know; how far
 * beyond its own numbers an orchestrator believes it: in 12 years at that rate, or with a start each second for 100. */
#define WIRE_NUMBER_MAX ((UINT64_C(1) << 53) - 1)
#define WIRE_REVISIONS_AHEAD (UINT64_C(1) << 40)
#define WIRE_EPOCHS_AHEAD (UINT64_C(1) << 32)

struct wire_registration {
    char name[NAME_SIZE];
    char machine_id[ID_SIZE], boot_id[ID_SIZE];
    char version[32];
    unsigned protocol_min, protocol_max;
    uint64_t known_epoch;         /* 0: none yet */
    char known_instance[ID_SIZE]; /* empty: none yet */
    uint64_t known_revision;      /* of the newest orders that it obeyed in that epoch; 0: not known (any more) */
    uint64_t memory_bytes, free_bytes, locked_bytes, block_bytes;
    unsigned n_adapters, n_labels, n_findings, n_switches;
    struct wire_adapter adapters[WIRE_MAX_ADAPTERS];
    struct wire_label labels[WIRE_MAX_LABELS];
    struct wire_finding findings[WIRE_MAX_FINDINGS];
    char switches[WIRE_MAX_ADAPTERS][NAME_SIZE]; /* circuit switches that this agent can drive */
};

struct wire_registered { /* the answer */
    char session[ID_SIZE];
    uint64_t epoch;
    char instance[ID_SIZE];
    unsigned protocol;
    char credential[96]; /* only when a join token was used; empty otherwise */
    unsigned heartbeat_ms, poll_wait_s;
};

/* ---- desired ------------------------------------------------------------------------------------------------------
 */
/* 'attempt' grows when something that failed is to be tried again; an agent tries a failed object once per attempt. */
struct wire_want_buffer { /* "buffers" */
    char id[ID_SIZE];
    enum wire_want want;
    unsigned attempt;
    char adapter[NAME_SIZE];                                  /* the donor's memory adapter */
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE]; /* the arena is that of (compute adapter, section) */
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    char lender_id[ID_SIZE]; /* incarnation of a keep; empty for create */
};

struct wire_want_section { /* "sections" of compute adapters; what is not listed is left alone */
    char adapter[NAME_SIZE];
    unsigned section;
    bool parked;
    uint64_t value; /* the register's value, parked too */
};

struct wire_want_channel { /* "channels", of both roles */
    char adapter[NAME_SIZE];
    unsigned port;
    bool up; /* false: in reset */
};

struct wire_want_crossconnect { /* "crossconnects" */
    char name[NAME_SIZE];       /* the switch: "switch" in JSON */
    unsigned port_a, port_b;    /* from 1 */
    bool connected;
};

struct wire_want_segment { /* "segments" */
    char id[ID_SIZE];
    enum wire_want want;
    unsigned attempt;
    char adapter[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
};

struct wire_desired {
    uint64_t epoch, revision; /* JSON also has "cursor": "EPOCH.REVISION" */
    char instance[ID_SIZE];
    size_t n_buffers, n_sections, n_channels, n_crossconnects, n_segments;
    struct wire_want_buffer *buffers;
    struct wire_want_section *sections;
    struct wire_want_channel *channels;
    struct wire_want_crossconnect *crossconnects;
    struct wire_want_segment *segments;
};

/* ---- observed: all that exists on the node, whoever wanted it -----------------------------------------------------
 */
struct wire_seen_adapter { /* "adapters" */
    char name[NAME_SIZE];
    bool ok;                          /* can be opened and read; for a memory adapter: by its lender */
    char error[WIRE_TEXT];            /* why not */
    unsigned channels;                /* bit p: channel p is out of reset */
    unsigned settled;                 /* bit p: and has had its settle time */
    uint64_t sections[WIRE_SECTIONS]; /* register values, compute adapters */
    uint64_t error_capture;
    char lender_id[ID_SIZE]; /* memory adapters: the lender's start id; empty: no lender */
    uint64_t flits_sent, flits_received, latency_cycles, latency_samples; /* running totals since the agent's start */
    bool emulated;
};

struct wire_seen_buffer { /* "buffers": what the lenders hold, and create orders that failed (present false) */
    char id[ID_SIZE];
    bool present;
    unsigned attempt;      /* of the order that failed */
    char error[WIRE_TEXT]; /* why it failed; empty otherwise */
    char adapter[NAME_SIZE], compute_node[NAME_SIZE], compute_adapter[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes, effective_addr;
    char lender_id[ID_SIZE]; /* empty: it is held, but no memory to use: it failed, or its release did */
};

struct wire_seen_segment { /* "segments": ranges of memory blocks in the adapters' windows */
    char id[ID_SIZE];      /* empty: nobody's, no label says */
    char adapter[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    unsigned blocks_total, blocks_online; /* in the range */
    bool movable;                         /* every online block is in zone Movable */
    bool touched;                         /* a touch moved the adapter's counters */
    bool quiesced;                        /* no block online, and quiesce ran since the last one went offline */
    int numa_node;                        /* -1: unknown */
    unsigned attempt;                     /* of the order that 'error' is about */
    char error[WIRE_TEXT];                /* the blocks that refuse and why; empty otherwise */
};

struct wire_seen_pair { /* "crossconnects" */
    char name[NAME_SIZE];
    unsigned port_a, port_b; /* port_a < port_b */
};

struct wire_seen_signal { /* "signals" */
    char name[NAME_SIZE];
    unsigned port;
    enum wire_signal signal;
};

struct wire_observed {
    char session[ID_SIZE];
    uint64_t sequence;
    char boot_id[ID_SIZE], instance[ID_SIZE];
    uint64_t epoch, revision; /* of the desired state that this report is the result of */
    uint64_t memory_bytes, free_bytes, locked_bytes;
    bool switches_ok; /* every switch of this node answered */
    size_t n_adapters, n_buffers, n_segments, n_pairs, n_signals, n_findings;
    struct wire_seen_adapter *adapters;
    struct wire_seen_buffer *buffers;
    struct wire_seen_segment *segments;
    struct wire_seen_pair *pairs;
    struct wire_seen_signal *signals;
    struct wire_finding *findings;
};

/* Encoders answer a new reference, NULL when memory ran out.  Decoders are strict; what they fill owns its lists:
 * *_done(). */
json_t *wire_registration_encode(const struct wire_registration *r);
MUST_CHECK int wire_registration_decode(struct wire_registration *out, const json_t *j, struct err *e);
json_t *wire_registered_encode(const struct wire_registered *r);
MUST_CHECK int wire_registered_decode(struct wire_registered *out, const json_t *j, struct err *e);
json_t *wire_desired_encode(const struct wire_desired *d);
MUST_CHECK int wire_desired_decode(struct wire_desired *out, const json_t *j, struct err *e);
void wire_desired_done(struct wire_desired *d); /* frees the lists; zeroes; for CLEANUP too */
json_t *wire_observed_encode(const struct wire_observed *o);
MUST_CHECK int wire_observed_decode(struct wire_observed *out, const json_t *j, struct err *e);
void wire_observed_done(struct wire_observed *o);

#define WIRE_CURSOR_MAX 44
char *wire_cursor_format(uint64_t epoch, uint64_t revision, char buf[WIRE_CURSOR_MAX]);
MUST_CHECK int wire_cursor_parse(const char *text, uint64_t *epoch, uint64_t *revision, struct err *e);

#endif
