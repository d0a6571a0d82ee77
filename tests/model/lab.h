/* lab.h - the real decision and life-cycle code, its database, a network that loses, repeats and delays, and simulated
 * agents on the hardware of world.h.  One thread, its own clock. */
#ifndef MEMLANE_MODEL_LAB_H
#define MEMLANE_MODEL_LAB_H

#include "core/adopt.h"
#include "core/desired.h"
#include "core/lifecycle.h"
#include "core/model.h"
#include "core/observed.h"
#include "store.h"
#include "world.h"

#define IN_FLIGHT 24

struct agent {
    bool alive, registered;
    unsigned sessions;
    char session[ID_SIZE];
    uint64_t sequence;
    uint64_t epoch, revision; /* of the desired state that was carried out last */
    bool has_orders;          /* fetched, not carried out yet */
    struct wire_desired orders;
    bool refuse_offline, fail_online, fail_lend, fail_release, hang;
    struct failed_lend {
        char id[ID_SIZE];
        unsigned attempt;
        bool release;
    } failed[OBJECTS];
    size_t n_failed;
};

struct letter { /* a report on its way */
    unsigned node;
    struct wire_observed report;
};

struct promise { /* a request that was acknowledged */
    char id[ID_SIZE];
    char told[16]; /* the state that the last event told */
    bool over;
};

struct book { /* what was told of whom */
    struct promise *promises;
    size_t n_promises, cap_promises;
    size_t first_open; /* those before it are over */
    char node_told[NODES][16];
    struct {
        char id[ID_SIZE], told[16];
    } circuits[64];
    unsigned n_circuits;
};

struct lab {
    struct world world;
    struct agent agents[NODES];
    struct letter letters[IN_FLIGHT];
    size_t n_letters;
    struct model *m;
    struct topology *t;
    struct store *store;
    char db[128], backup[128];
    int64_t clock_ms;
    struct book book;
    struct book book_of_backup; /* as it was when the backup was made */
    bool has_backup;
    bool restored;       /* since then agents have to be careful: what they are told may be wrong */
    uint64_t last_epoch; /* that any agent may know */
    unsigned counts[16]; /* of attachment states told, of restarts, reboots, fences */
    unsigned restores, forgotten;
    unsigned n_cabled; /* NODES once the rack is declared */
    struct {
        bool dead[NODES][2];         /* afu0, afu1: did not answer, in the last report of this session */
        bool dark[SWITCH_PORTS + 1]; /* no signal at the port; 0 is none */
    } heard;                         /* by this orchestrator */
};

void lab_start(struct lab *r, const char *dir);
void lab_done(struct lab *r);
void lab_print_counts(const struct lab *r);
void lab_begin(struct lab *r); /* a transaction */
void lab_commit(struct lab *r);
void lab_check_file(const struct lab *r); /* the database is the model, and `memlane check` finds it in order */
void lab_restart(struct lab *r);          /* the orchestrator is killed, and starts again from its database */
void lab_pass(struct lab *r, int64_t ms);
void lab_cable(struct lab *r); /* declares the cables of the nodes that are known */
void lab_backup(struct lab *r);
/* The orchestrator starts from the backup, whatever happened since; those who answer report, and an operator adopts. */
void lab_restore(struct lab *r);
void lab_adopt(struct lab *r);                        /* an operator's word: what is there is taken over */
uint32_t lab_row(const struct lab *r, unsigned node); /* NONE: not known */
unsigned lab_node(const char *name);                  /* the machine of that name */

void agent_register(struct lab *r, unsigned node);
void agent_fetch(struct lab *r, unsigned node);
/* Carries out at most 'limit' of the orders that were fetched, in the agent's order. */
void agent_act(struct lab *r, unsigned node, unsigned limit);
void agent_send(struct lab *r, unsigned node); /* into the network */
void agent_kill(struct lab *r, unsigned node);
void lab_deliver(struct lab *r, size_t letter, bool keep); /* 'keep': it will come once more */
void lab_drop(struct lab *r, size_t letter);
void agent_round(struct lab *r, unsigned node); /* all of it, without loss */

#endif
