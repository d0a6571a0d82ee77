/* model.h - the rack as the orchestrator knows it: nodes, adapters, ports, switches, links, circuits, attachments.
 *
 * A model is a set of flat tables; rows refer to each other by index (NONE: nothing), so that a model can be copied row
 * by row. Every change goes through model_edit_*(), which notes the row in the journal together with what it was: that
 * makes roll-back, storing and publishing the same three loops over the journal.  The core (this folder) has no thread
 * and no I/O; the time is a field of the model that the caller sets.  Not thread-safe: the writer owns its model,
 * readers get the published one under a lock (writer.h).
 *
 * Durable fields are stored with each commit; the others ("volatile") are what agents report, and start empty.
 *
 * Invariants (model_check): a port, link or section range belongs to at most one circuit / attachment; lists and totals
 * agree with the rows; a circuit has at least one attachment; what is reserved is what attachments hold. */
#ifndef MEMLANE_MODEL_H
#define MEMLANE_MODEL_H

#include "err.h"
#include "names.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NONE UINT32_MAX
#define PATH_SWITCHES_MAX 3
#define PATH_PORTS_MAX (2 + 2 * PATH_SWITCHES_MAX) /* ports of one leg, in order from the compute adapter's */
#define SECTION_BYTES (UINT64_C(1) << 40)
#define ADAPTER_PORT_GBPS 100u
#define BARRED_FOR_EVER UINT64_MAX

enum model_kind {
    MODEL_NODE,
    MODEL_ADAPTER,
    MODEL_PORT,
    MODEL_SWITCH,
    MODEL_LINK,
    MODEL_CIRCUIT,
    MODEL_ATTACHMENT,
    MODEL_BAN,
    MODEL_KINDS
};

enum node_state { NODE_NEW, NODE_READY, NODE_UNREACHABLE, NODE_FENCED, NODE_INCOMPATIBLE };
enum enrolment { ENROLMENT_APPROVED, ENROLMENT_WAITING, ENROLMENT_REFUSED };
enum link_state { LINK_UNKNOWN, LINK_UP, LINK_DOWN };
enum circuit_state { CIRCUIT_PLANNED, CIRCUIT_CONNECTING, CIRCUIT_UNVERIFIED, CIRCUIT_UP, CIRCUIT_CLOSING };
enum attachment_state { ATT_PENDING, ATT_ATTACHED, ATT_DETACHING, ATT_DETACHED, ATT_FAILED, ATT_STUCK, ATT_LOST };
enum attachment_goal { GOAL_PRESENT, GOAL_ABSENT };
/* The steps of an attach (DESIGN section 3). 'step' is the furthest ever published; undo goes back from there. */
enum step { STEP_RESERVED, STEP_LEND, STEP_CONNECT, STEP_MAP, STEP_ONLINE };

extern const char *const node_state_names[];
extern const char *const enrolment_names[];
extern const char *const link_state_names[];
extern const char *const circuit_state_names[];
struct circuit;
/* Its state for people: "closed" when it was joined before and is planned no more. */
const char *model_circuit_state(const struct circuit *c);
extern const char *const attachment_state_names[];
extern const char *const step_names[];

/* What is published of a circuit; each phase is done when observed (lifecycle.h). */
enum circuit_phase {
    PHASE_CLOSED,        /* nothing published, or all of it undone */
    PHASE_JOIN,          /* cross-connects */
    PHASE_CHANNELS,      /* both ends out of reset */
    PHASE_LEAVE_COMPUTE, /* the compute end back in reset */
    PHASE_LEAVE_MEMORY,  /* then the donor's */
    PHASE_CLEAR          /* then the cross-connects cleared */
};

struct row {
    bool live;                 /* false: a free slot; what it held stays readable until the slot is used again */
    uint32_t savepoint, batch; /* of the newest journal entry about it */
    uint32_t entry;            /* index of that entry, while savepoint is the present one */
    uint64_t changed;          /* the revision that changed it last; the ETag */
};

struct unowned {      /* what an agent holds that nobody here knows; the fields are as its label says */
    char kind[16];    /* "buffer", "segment" */
    char id[ID_SIZE]; /* may be empty */
    char detail[WIRE_TEXT];
    char adapter[NAME_SIZE];                                  /* of the node that reports it */
    char compute_node[NAME_SIZE], compute_adapter[NAME_SIZE]; /* buffers */
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    uint64_t effective_addr; /* buffers */
    char lender_id[ID_SIZE]; /* buffers */
    unsigned blocks_online, blocks_total;
    bool movable, touched;
    int numa_node;
    int64_t since_ms; /* model time of the first report */
};

struct node {
    struct row row;
    /* durable */
    char name[NAME_SIZE];
    char machine_id[ID_SIZE], boot_id[ID_SIZE];
    char fenced_boot_id[ID_SIZE];   /* refused from now on; empty: none */
    char previous_boot_id[ID_SIZE]; /* the boot before this one: it is over, and refused too */
    char version[32];
    bool cordoned;
    bool labels_set;          /* by an operator: a registration does not replace them any more */
    enum enrolment enrolment; /* only an approved node becomes ready */
    uint64_t headroom_bytes, memory_bytes, block_bytes;
    unsigned n_adapters, n_labels;
    uint32_t adapters[WIRE_MAX_ADAPTERS];
    struct wire_label *labels;         /* owned by the row; replaced, never changed in place (model_set_labels) */
    uint64_t free_bytes, locked_bytes; /* of the last report */
    enum node_state state; /* stored, so that the first event after a restart begins where the last one ended */
    /* volatile */
    char session[ID_SIZE];     /* empty: not registered since our start */
    uint64_t sequence;         /* of the last report in this session */
    uint64_t applied_revision; /* reported */
    bool reported;             /* a complete report came in this session and of this epoch */
    bool fenced_since_start;   /* the operator's word is not one that an old backup remembers */
    int64_t last_seen_ms;      /* monotonic: the last report, or the start of its boot, or ours */
    int64_t last_heard_ms;     /* monotonic: the last report or registration, or our start: whoever is heard is on */
    uint64_t desired_revision; /* revision that last changed its desired state */
    int64_t memory_event_ms;   /* monotonic: last node.memory, and what it said */
    uint64_t memory_event_free_bytes;
    char conflict[WIRE_TEXT];              /* another machine that claims to be this node; empty: none */
    bool conflict_adapters;                /* it has the machine id, and other adapters */
    char conflict_boot[ID_SIZE];           /* another boot that registers while this one still reports */
    int64_t conflict_ms, conflict_boot_ms; /* monotonic: when it was said last; since when */
    uint64_t ahead_epoch;                  /* that it obeyed, later than ours, while it waits for approval; 0: none */
    unsigned n_drives;
    char (*drives)[NAME_SIZE]; /* names of the switches that it can drive, as it registered; owned by the row, as the
                                  labels */
    unsigned n_findings;
    unsigned n_unowned;
    struct unowned *unowned;       /* owned by the row, as the labels */
    struct wire_finding *findings; /* owned by the row; replaced, never changed in place (model_set_findings) */
    /* derived, kept incrementally */
    uint64_t lent_bytes, borrowed_bytes; /* sizes of the attachments that hold or reserve */
    uint32_t n_lends, n_borrows;
    uint32_t first_lend, first_borrow; /* lists: attachment.lend_next, .borrow_next */
};

struct section {
    uint32_t circuit;          /* durable; the circuit that it is bound to; NONE: free */
    uint32_t first_attachment; /* derived; list by offset: attachment.section_next */
    bool used;                 /* durable; ever published: the desired state names it, mapped or parked */
    uint64_t base;             /* durable; the arena's base; 0: not known yet */
    uint64_t park_revision;    /* durable; the revision that published its parking; 0: not parked by us */
    uint64_t seen_value;       /* volatile; the register as reported */
    int64_t idle_since_ms;     /* volatile; it leads somewhere and is nobody's (adopt_idle.c); 0: it does not */
    uint32_t n_unowned; /* derived from the nodes' lists: buffers and segments of nobody in it; nothing is placed */
    /* durable; a range of it ended in quarantine or by fencing: not used again before both sides rebooted
     * (model_section_barred).  The boots are hashed; 0: not barred; BARRED_FOR_EVER: the compute side is forgotten. */
    uint64_t barred_compute_boot, barred_donor_boot;
    uint32_t barred_donor; /* node; NONE: forgotten, its boot fenced */
};

struct adapter {
    struct row row;
    uint32_t node;
    char name[NAME_SIZE];
    enum wire_role role;
    unsigned n_ports;
    uint32_t ports[WIRE_PORTS];
    uint64_t window_addr, window_bytes;
    struct section sections[WIRE_SECTIONS]; /* compute adapters */
    unsigned n_sections;                    /* that the window reaches */
    uint32_t n_circuits;                    /* derived */
    unsigned bonded_circuits;               /* derived: of them bonded */
    bool failed;                            /* durable: in error, as the last event about it says */
    /* volatile */
    bool seen, ok;
    char error[WIRE_TEXT];
    unsigned seen_channels, seen_settled;
    uint64_t error_capture;
    char lender_id[ID_SIZE]; /* that answered last in this boot */
    unsigned lenders_lost;   /* since our start */
    uint64_t flits_sent, flits_received, latency_cycles, latency_samples;
    bool emulated;
};

struct port {
    struct row row;
    uint32_t adapter, sw; /* one of them is NONE */
    unsigned number;      /* from 0 on adapters, from 1 on switches */
    uint32_t link;        /* derived; NONE: not cabled */
    uint32_t circuit;     /* derived; the circuit that uses or reserves it */
    /* durable */
    bool suspect; /* adapter ports: reset with traffic in flight; not used again before its adapter is reset */
    enum wire_signal signal; /* switch ports; as last reported, also over a restart */
    /* volatile */
    uint32_t seen_peer; /* switch ports: the port it is joined to, as reported; means something only if sw.seen */
};

struct sw {
    struct row row;
    char name[NAME_SIZE];
    unsigned n_ports;
    uint32_t first_port; /* its ports are rows first_port .. first_port + n_ports - 1, in order */
    uint64_t latency_ns;
    char managed_by[NAME_SIZE]; /* empty: nobody: joins cannot be made */
    bool fenced; /* durable; an operator's word that it is off and joins nothing, until it is read again */
    /* volatile */
    bool seen;            /* its joins were read for the manager's last report */
    int64_t last_seen_ms; /* monotonic: when they were read last, or our start */
};

struct link {
    struct row row;
    uint32_t a, b; /* ports */
    uint64_t latency_ns;
    unsigned gbps;
    bool down; /* durable: an operator took it out of use */
};

struct leg {
    unsigned n_ports;
    uint32_t ports[PATH_PORTS_MAX];
    uint64_t cost_ns;
};

struct circuit {
    struct row row;
    char id[ID_SIZE];
    uint32_t compute, memory; /* adapters */
    unsigned channels;        /* legs */
    struct leg legs[2];
    uint64_t cost_ns;       /* of the slower leg */
    unsigned reserved_gbps; /* derived; on each leg */
    uint32_t n_attachments; /* derived: that hold or reserve it */
    /* durable */
    enum circuit_phase phase;
    bool verified;     /* a touch moved the counters since it came up */
    uint64_t revision; /* that published its last opening or closing step */
    bool severed;      /* its donor was lost under live memory: the donor's ports stay in reset, it only ever closes */
    enum circuit_state state;
    /* volatile; since our start the donor's ports were known to carry nothing else: they may be put in reset */
    bool memory_end_known;
    /* derived */
    uint32_t first_attachment; /* list: attachment.circuit_next */
};

struct attachment {
    struct row row;
    /* durable, from the request */
    char id[ID_SIZE];
    uint32_t compute_node, donor; /* nodes */
    uint64_t size_bytes, requested_bytes;
    unsigned channels, bandwidth_gbps;
    int64_t created_ms, updated_ms; /* Unix time */
    /* durable, the reservation */
    uint32_t circuit; /* NONE once given back */
    unsigned section; /* of the circuit's compute adapter */
    uint64_t offset_bytes;
    uint32_t compute_adapter, memory_adapter;
    uint64_t cost_ns;
    /* durable, the life cycle */
    enum attachment_state state;
    enum attachment_goal goal;
    enum step step;                 /* furthest ever published */
    enum step undoing;              /* goal absent: the step whose undo is published now; step + 1 before the first */
    uint64_t revision;              /* that published the present step or undo */
    unsigned attempt;               /* raised by retry */
    bool buffer_seen, segment_seen; /* observed once: published as keep */
    bool compute_gone;              /* proof: no block of the range online, in the borrower's current boot */
    bool section_released;          /* proof: section parked or kept by others */
    bool release_published;         /* point of no return: the donor may let the buffer go */
    bool released;                  /* the donor reported the buffer gone */
    bool quarantined;               /* the donor's half is gone under a live borrower: nothing is touched */
    bool barring;                   /* was in quarantine or ended by fencing: its range is barred when it ends */
    char lender_id[ID_SIZE], donor_boot[ID_SIZE], compute_boot[ID_SIZE]; /* incarnations */
    uint64_t effective_addr, physical_addr;
    enum attachment_state ending; /* goal absent: what it will be: detached, failed or lost */
    uint64_t tombstone_revision;  /* that published the segment's absence; 0: not yet */
    char reason[WIRE_TEXT];       /* why it failed, is stuck, was lost */
    /* volatile: the last reports of donor and compute node */
    bool now_buffer;  /* there, and the one that we know */
    bool now_id_held; /* the lender has something by this id, whatever it is */
    bool now_segment, now_movable, now_quiesced, now_touched;
    bool now_overlapped; /* blocks that are online in its range are reported under another name, or none */
    uint64_t now_effective_addr;
    char now_lender_id[ID_SIZE];
    unsigned buffer_fault_attempt, segment_fault_attempt;
    char buffer_fault[WIRE_TEXT], segment_fault[WIRE_TEXT]; /* empty: none */
    /* volatile */
    unsigned blocks_online, blocks_total, blocks_before; /* before: as of the report before */
    int numa_node;                                       /* -1: unknown */
    int64_t progress_ms;                                 /* monotonic: last progress, for the 120 s limit */
    int64_t retry_at_ms;                                 /* monotonic: next retry of a stuck undo; 0: none */
    unsigned retries;
    uint32_t held_by; /* goal absent: not taken offline yet, this part of the way to it (lifecycle_way.c) does not
                         answer or may not; 0: none */
    bool insisted;    /* held, and an operator says that it answers */
    uint64_t no_more_revision; /* goal absent: from it on, the compute node is told to bring nothing online */
    /* derived */
    uint32_t section_next; /* next in its section, by offset */
    uint32_t circuit_next, circuit_prev, lend_next, lend_prev, borrow_next, borrow_prev;
};

/* Refused for ever, though its node may be forgotten (model_forget.c).  Durable; never removed. */
struct ban {
    struct row row;
    char boot_id[ID_SIZE]; /* a boot that was fenced; empty in a ban of sections */
    char node[NAME_SIZE];
    char adapter[NAME_SIZE]; /* whose sections; empty in the ban of a boot */
    unsigned sections;       /* bit set */
};

struct table {
    void *rows;
    uint32_t n, cap; /* slots, live and free */
    uint32_t n_live;
    uint32_t free_hint; /* no free slot below this one */
};

struct model_event {
    uint64_t id; /* given at commit */
    int64_t at_ms;
    char type[40];    /* "attachment.state", "node.state", ... */
    char object[192]; /* "attachment/ID", "node/NAME", "link/A B", "circuit/ID", "topology" */
    char from[32], to[32];
    char reason[WIRE_TEXT];
    char actor[96]; /* "system", "token:NAME", "agent:NAME" */
};

struct journal_entry {
    enum model_kind kind;
    uint32_t index;
    bool durable; /* false: only what agents report changed; published, but not stored */
    void *before; /* copy of the row as it was at the savepoint; live false when the slot was free */
};

struct model_changes { /* model_changes.c */
    uint32_t *ring;
    uint32_t size;
    uint64_t begin, end; /* positions that are still in the ring */
};

struct index_set { /* of slots of one table */
    uint32_t *items, n, cap;
    bool *member;
    uint32_t n_member;
};

struct model {
    struct table tables[MODEL_KINDS];
    /* durable */
    uint64_t
        topology_version;  /* raised by every change of cabling, adapters or link state; a roll-back keeps it raised */
    uint64_t next_circuit; /* numbers for ids */
    /* not stored; raised by every change of what is cabled to what, not by the state of a link.  A roll-back of such a
     * change raises both versions once more: what somebody made in between is of no use. */
    uint64_t cabling_version;
    /* set by the caller before each change */
    uint64_t revision; /* of the transaction under way: the one that its commit will have */
    uint64_t epoch;    /* the orchestrator's; reports of another one prove nothing */
    int64_t now_ms;    /* monotonic, scaled */
    int64_t wall_ms;
    bool recovering;   /* an old database: reports are taken, nothing follows from them (store.h) */
    char actor[96];    /* for the events */
    double time_scale; /* every time limit is multiplied by it */
    /* the transaction under way */
    struct journal_entry *journal;
    size_t n_journal, cap_journal;
    struct model_event *events;
    size_t n_events, cap_events;
    size_t mark_journal, mark_events; /* of the savepoint: model_savepoint() */
    uint32_t savepoint, batch;        /* running numbers */
    uint64_t mark_next_circuit, batch_next_circuit;
    uint64_t mark_topology, batch_topology, mark_cabling, batch_cabling;
    struct model_changes changes;
    struct name_index *names; /* nodes, switches, adapters, attachments, circuits by name */
    struct index_set due;     /* circuits that lifecycle_advance() has to look at; a roll-back leaves it as it is */
    int64_t scan_at_ms;       /* lifecycle_tick(): when every clock is looked at again */
    int64_t compare_at_ms;    /* and when everything is held against what was reported last */
};

MUST_CHECK int model_new(struct model **out, struct err *e);
void model_free(struct model *m); /* ignores NULL */

/* Reading: NULL when the index is NONE or the slot is free. */
const struct node *model_node(const struct model *m, uint32_t i);
const struct adapter *model_adapter(const struct model *m, uint32_t i);
const struct port *model_port(const struct model *m, uint32_t i);
const struct sw *model_switch(const struct model *m, uint32_t i);
const struct link *model_link(const struct model *m, uint32_t i);
const struct circuit *model_circuit(const struct model *m, uint32_t i);
const struct attachment *model_attachment(const struct model *m, uint32_t i);
const struct ban *model_ban(const struct model *m, uint32_t i);
uint32_t model_count(const struct model *m, enum model_kind kind); /* slots: for (i = 0; i < count; i++) skip NULLs */

/* Writing: the row, noted in the journal.  A pointer is good until the next model_add_*() of that kind.  They end the
 * process (ERR_INTERNAL is not recoverable half way through a change) when memory runs out: see model_reserve(). */
struct node *model_edit_node(struct model *m, uint32_t i);
struct adapter *model_edit_adapter(struct model *m, uint32_t i);
struct port *model_edit_port(struct model *m, uint32_t i);
struct sw *model_edit_switch(struct model *m, uint32_t i);
struct link *model_edit_link(struct model *m, uint32_t i);
struct circuit *model_edit_circuit(struct model *m, uint32_t i);
struct attachment *model_edit_attachment(struct model *m, uint32_t i);
struct ban *model_edit_ban(struct model *m, uint32_t i);

/* Volatile changes: journaled, published and rolled back like the others, but they need no commit (heartbeats).
 * A row may stand in the journal more than once (once a savepoint): storing has to be idempotent. */
struct node *model_touch_node(struct model *m, uint32_t i);
struct adapter *model_touch_adapter(struct model *m, uint32_t i);
struct port *model_touch_port(struct model *m, uint32_t i);
struct sw *model_touch_switch(struct model *m, uint32_t i);
struct circuit *model_touch_circuit(struct model *m, uint32_t i);
struct attachment *model_touch_attachment(struct model *m, uint32_t i);

/* Finding, NONE when there is none. */
uint32_t model_find_node(const struct model *m, const char *name);
uint32_t model_find_switch(const struct model *m, const char *name);
uint32_t model_find_adapter(const struct model *m, uint32_t node, const char *name);
uint32_t model_find_port(const struct model *m, const struct port_name *name);
uint32_t model_find_link(const struct model *m, uint32_t port_a, uint32_t port_b); /* either order */
uint32_t model_find_attachment(const struct model *m, const char *id);
uint32_t model_find_circuit(const struct model *m, const char *id);
uint32_t model_find_pair_circuit(const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter);

char *model_port_name(const struct model *m, uint32_t port, char buf[PORT_NAME_SIZE]);
uint32_t model_port_peer(const struct model *m, uint32_t port); /* the port at the other end of its cable, or NONE */
/* Down: an operator said so, a switch sees no signal, or the adapter at one of its ends captured an error. */
enum link_state model_link_state(const struct model *m, const struct link *l);
bool model_link_usable(const struct model *m, const struct link *l);
/* A circuit is in danger while one of its links is down, or the adapter at one of its ends is in error. */
bool model_circuit_in_danger(const struct model *m, const struct circuit *c);
/* The first of its links that is down, or the next behind 'after'; NONE. */
uint32_t model_circuit_broken(const struct model *m, const struct circuit *c, uint32_t after);
/* Attachments over a circuit, one after the other: the first for NONE; NONE at the end. */
uint32_t model_circuit_next(const struct model *m, uint32_t circuit, uint32_t attachment);
bool model_port_free(const struct port *p); /* in no circuit, and not suspect */
/* A range of the section ended in quarantine or by fencing, and one of its sides is still in that boot. */
bool model_section_barred(const struct model *m, uint32_t adapter, unsigned section);
/* By its register, as reported last, it leads to some donor. */
bool model_section_leads(const struct adapter *a, unsigned section);
/* May be led to a donor: bound to no circuit, not barred, nothing of nobody is in it, and it leads to none already
 * (left by an old database that was restored, or by hand). */
bool model_section_free(const struct model *m, uint32_t adapter, unsigned section);
void model_bar_section(struct model *m, uint32_t attachment); /* the range of this attachment, on both sides */
uint64_t model_capacity_bytes(const struct node *n);
/* What is left of the capacity by attachments, and by buffers that the lender holds for nobody we know. */
uint64_t model_lendable_bytes(const struct node *n);
uint64_t model_unowned_bytes(const struct node *n); /* of buffers that its lenders hold for nobody we know */

/* Changes of structure.  Each checks completely before it changes anything. */
MUST_CHECK int model_add_node(struct model *m, const char *name, uint32_t *out, struct err *e);
/* The adapters that a node registers with: one may be missing (a card that failed at boot), one may be added, but a
 * known one has the role and ports that it had, and its window while circuits use it, and where some are known one of
 * them is there.  ERR_IDENTITY_CONFLICT, of field "adapters": they are another machine's. */
MUST_CHECK int model_check_adapters(const struct model *m, uint32_t node, const struct wire_adapter *list, size_t n,
                                    struct err *e);
MUST_CHECK int model_set_adapters(struct model *m, uint32_t node, const struct wire_adapter *list, size_t n,
                                  struct err *e); /* refuses as model_check_adapters() does */
MUST_CHECK int model_set_labels(struct model *m, uint32_t node, const struct wire_label *list, size_t n, struct err *e);
MUST_CHECK int model_set_findings(struct model *m, uint32_t node, const struct wire_finding *list, size_t n,
                                  struct err *e);
/* The switches that it can drive, declared or not yet: 'n' names. */
void model_set_drives(struct model *m, uint32_t node, const char (*names)[NAME_SIZE], unsigned n);
/* Sets the state and emits node.state when it is another. */
void model_set_node_state(struct model *m, uint32_t node, enum node_state state, const char *reason);
MUST_CHECK int model_set_unowned(struct model *m, uint32_t node, const struct unowned *list, size_t n, struct err *e);
/* ERR_CONFLICT while it holds anything, or its boot, not fenced, keeps sections of others out of use. */
MUST_CHECK int model_forget_node(struct model *m, uint32_t node, struct err *e);
void model_ban_boot(struct model *m, uint32_t node); /* its present one is refused for ever, by whatever name */
bool model_boot_banned(const struct model *m, const char *boot_id);
struct rack;
/* Replaces the declared cabling (switches, links).  Refuses to drop what a circuit uses, ports named twice, missing
 * nodes. */
MUST_CHECK int model_declare(struct model *m, const struct rack *cabling, struct err *e);

/* An operator takes a link out of use, or back; emits link.state when that changes something. */
void model_set_link_down(struct model *m, uint32_t link, bool down);
/* The operator's word on a switch, or its end: its links go down, or come back; what runs over it is due. */
void model_set_switch_fenced(struct model *m, uint32_t sw, bool fenced);
/* After a port's signal or its adapter's error capture changed: 'before' is the link's state before; emits link.state
 * and circuit.danger, and raises topology_version, as needed. */
void model_link_changed(struct model *m, uint32_t link, enum link_state before);
/* The adapter fails, or is well again: emits adapter.state, which says 'why' and whose memory is affected, and
 * circuit.danger, as needed. */
void model_set_adapter_failed(struct model *m, uint32_t adapter, bool failed, const char *why);
/* Who answered as the adapter's lender; "": nobody.  Another one than before: emits lender.lost with what that one had
 * lent. */
void model_set_lender(struct model *m, uint32_t adapter, const char *id);

/* Reservations: placement's answer made real.  A circuit that joins the pair already is used, else one is made. */
struct reservation {
    const char *id; /* of the attachment */
    uint32_t compute_node, donor, compute_adapter, memory_adapter;
    uint64_t size_bytes, requested_bytes, cost_ns;
    unsigned channels, bandwidth_gbps;
    struct leg legs[2];
    unsigned section;
    uint64_t offset_bytes;
    bool only_undone; /* nothing will be used over it: a suspect port is no obstacle */
};
MUST_CHECK int model_reserve(struct model *m, const struct reservation *r, uint32_t *out, struct err *e);
/* The attachment's range, memory and share of the circuit are free again, the row goes.  The last one takes the circuit
 * along. */
void model_release(struct model *m, uint32_t attachment);

/* Transactions.  savepoint / rollback enclose one request, commit ends the batch. */
void model_savepoint(struct model *m);
void model_rollback(struct model *m);       /* to the savepoint: rows, events */
void model_rollback_batch(struct model *m); /* all since the last model_commit_done(): its commit failed */
void model_commit_done(struct model *m);    /* forgets journal and events */
bool model_has_durable_changes(const struct model *m);
void model_emit(struct model *m, const char *type, const char *object, const char *from, const char *to,
                const char *reason); /* actor and time are the model's */
void model_emit_attachment(struct model *m, const struct attachment *a, const char *from, const char *to,
                           const char *reason);
/* Copies the rows of src's journal into dst, a model that was equal before this transaction. */
void model_publish(struct model *dst, const struct model *src);
/* Which nodes, adapters, ports, switches and links were edited or restored, in order, a row perhaps many times.
 * Positions only grow; from a position that is known no more, everything may have changed. */
uint64_t model_changes_end(const struct model *m);
bool model_changes_known(const struct model *m, uint64_t from);
enum model_kind model_change_at(const struct model *m, uint64_t at, uint32_t *index); /* at < end, and known */
/* Derived fields and indexes from the rows, after loading from the store. */
MUST_CHECK int model_rebuild(struct model *m, struct err *e);
/* For loading: puts a row at this very slot. */
MUST_CHECK int model_load_row(struct model *m, enum model_kind kind, uint32_t index, const void *row, struct err *e);

/* What lifecycle_advance() has to look at. */
void model_mark_due(struct model *m, uint32_t circuit);   /* NONE: nothing */
void model_mark_node_due(struct model *m, uint32_t node); /* every circuit that it lends, borrows or switches */
bool model_take_due(struct model *m, uint32_t *circuit);  /* takes one out; false: none */

/* The oracle: every invariant over the whole model.  -1 with the first violation. */
MUST_CHECK int model_check(const struct model *m, struct err *e);

#endif
