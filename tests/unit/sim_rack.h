/* sim_rack.h - a rack of simulated agents around the real core: for tests of the life cycle, single-threaded, own
 * clock.
 *
 * Each agent holds its own "hardware" (buffers, registers, channels, blocks, cross-connects), acts on the real desired
 * state and makes the real reports.  Before a buffer goes, and before a register changes, the simulation checks what a
 * server would die of; a violation fails the test at once. */
#ifndef MEMLANE_SIM_RACK_H
#define MEMLANE_SIM_RACK_H

#include "core/desired.h"
#include "core/lifecycle.h"
#include "core/model.h"
#include "core/observed.h"

#define SIM_NODES_MAX 10
#define SIM_OBJECTS_MAX 256
#define SIM_BLOCK (UINT64_C(256) << 20)

struct sim_buffer {
    char id[ID_SIZE], peer[NAME_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes, base;
};

struct sim_segment {
    char id[ID_SIZE];
    unsigned section;
    uint64_t offset_bytes, size_bytes;
    unsigned online;
    bool quiesced;
    unsigned tried; /* attempt that failed, + 1 */
    enum wire_want tried_want;
};

struct sim_node {
    char name[NAME_SIZE];
    unsigned boot, lender, session;
    uint64_t sequence, revision;
    bool alive;          /* agent runs */
    bool acts_not;       /* it hears its orders, and reports that it is at their revision, but does nothing */
    bool refuse_offline; /* blocks answer EBUSY */
    bool fail_lend;
    bool fail_online;   /* one block refuses, after half of them came online */
    bool refuse_online; /* none comes online */
    bool slow_online;   /* one block in a round */
    bool touches_not;   /* its report says of no segment that a touch got through */
    bool names_nothing; /* its report lists no segment */
    bool commits;       /* what it shall lend is not complete yet: 'committing_bytes' of it are */
    uint64_t committing_bytes;
    const char *memory_error; /* its memory adapter is reported as not ok; NULL: it is ok */
    uint64_t captured[2];     /* error that afu0 (compute), afu1 (memory) captured */
    size_t n_buffers, n_segments;
    struct sim_buffer buffers[SIM_OBJECTS_MAX];
    struct sim_segment segments[SIM_OBJECTS_MAX];
    uint64_t registers[WIRE_SECTIONS];
    unsigned channels[2]; /* of afu0 (compute), afu1 (memory) */
    uint64_t next_base;
    struct sim_arena {
        char peer[NAME_SIZE];
        unsigned section;
        uint64_t base;
    } arenas[64];
    size_t n_arenas;
    uint64_t unlocked_bytes; /* of what it lends: its report says less of locked memory */
    unsigned joins[64];      /* the manager only: port -> port, 0: none */
    bool tells_signals;      /* the manager only: every port's, 'dark_port' (0: none) has none */
    unsigned dark_port;
};

struct sim {
    struct model *m;
    struct topology *t;
    size_t n_nodes; /* the last one manages switch "ocs1" when there is one */
    bool has_switch;
    struct sim_node nodes[SIM_NODES_MAX];
    unsigned next_id;
    int64_t clock_ms;
};

/* 'n_nodes' servers with afu0 (compute) and afu1 (memory), both ports on a circuit switch. */
void sim_star(struct sim *s, size_t n_servers);
void sim_done(struct sim *s);
void sim_begin(struct sim *s);                 /* a transaction */
void sim_commit(struct sim *s);                /* with model_check() */
extern void (*sim_on_commit)(struct model *m); /* unless NULL: called before the journal is forgotten */
void sim_register(struct sim *s, size_t node);
/* Somebody else registers, with the adapters of a server; -1 when that is refused. */
int sim_claim(struct sim *s, const char *name, const char *machine, const char *boot, struct err *e);
/* A node's own machine registers in its present boot, with these adapters. */
int sim_claim_with(struct sim *s, size_t node, const struct wire_adapter *adapters, size_t n, struct err *e);
/* One round of one agent: reads its desired state, acts, reports.  'report' false: the report is lost. */
void sim_agent(struct sim *s, size_t node, bool report);
/* A report that the test made up; -1 when it is refused.  Fills in the session, and the next sequence number and the
 * node's boot where they are not given. */
int sim_report(struct sim *s, size_t node, struct wire_observed *o, struct err *e);
void sim_settle(struct sim *s); /* rounds until nothing moves any more */
/* Its cables and "ocs1", which 'manager' drives, as PUT /v1/topology declares them; -1 when that is refused. */
int sim_cable(struct sim *s, const char *manager, struct err *e);
void sim_power_off(struct sim *s, size_t node); /* everything it had is gone, and it says nothing */
void sim_reboot(struct sim *s, size_t node);    /* off, and on again with a new boot */
int sim_fence(struct sim *s, size_t node, const char *boot_id, struct err *e); /* as lifecycle_fence() */
void sim_kill_lender(struct sim *s, size_t node);
uint32_t sim_attach(struct sim *s, size_t node, uint64_t size_bytes, const char *donor); /* NONE when refused */
void sim_detach(struct sim *s, uint32_t attachment);
void sim_pass(struct sim *s, int64_t ms); /* time */
void sim_expect_nothing(struct sim *s);   /* no buffer, block, mapped register, channel, join is left */

#endif
