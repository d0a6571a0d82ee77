/* writer.h - the one writer: every change of the rack goes through its thread.
 *
 * It owns the working model, the topology and the store.  A command is queued from any thread; the writer takes a
 * batch, gives each command a savepoint and its turn, advances the life cycle, commits once, publishes (published
 * model, desired-state waiters, events) and only then tells each command how it went: nobody sees what is not
 * committed.  A failed commit fails every command of its batch and rolls the working model back. */
#ifndef MEMLANE_WRITER_H
#define MEMLANE_WRITER_H

#include "core/model.h"
#include "core/topology.h"
#include "events.h"
#include "store.h"

struct writer;

struct change { /* what a command may use while it is applied; writer thread */
    struct model *model;
    struct topology *topology;
    struct store *store;
    struct writer *writer;
};

struct command {
    /* Changes the model, or fails and leaves all as it was (the writer rolls back anyway).  Must not block. */
    int (*apply)(struct command *c, struct change *ch, struct err *e);
    /* After commit, or failure; on the writer thread; the command is the callee's to free from here on.  Must not
     * block. */
    void (*done)(struct command *c, int rc, const struct err *e);
    struct audit audit; /* written with the change when action is not empty and apply succeeded; actor is always set */
    bool read_only;     /* changes nothing: no commit needed for its answer */
    bool recovery;      /* allowed while recovering */
    uint64_t revision;  /* set before done(): of the commit */
    struct command *next;
};

struct writer_options {
    double time_scale;     /* 1.0 */
    bool check_invariants; /* model_check() before every commit: tests */
    size_t queue_max;      /* commands; 0: 4096 */
};

MUST_CHECK int writer_start(struct writer **out, struct store *s, struct events *ev, const struct writer_options *o,
                            struct err *e);
void writer_stop(struct writer *w); /* after the last submit; finishes the queue, ends the thread; ignores NULL */
/* ERR_TOO_MANY when the queue is full: then done() is not called. */
MUST_CHECK int writer_submit(struct writer *w, struct command *c, struct err *e);

/* The published model, equal to the last commit.  Keep the lock short: no I/O, no wait. */
const struct model *writer_read_lock(struct writer *w);
void writer_read_unlock(struct writer *w);
uint64_t writer_published_revision(struct writer *w);
uint64_t writer_published_event(struct writer *w); /* last event id: "as_of" */
uint64_t writer_epoch(struct writer *w);
const char *writer_instance(struct writer *w);
bool writer_read_only(struct writer *w); /* the disk is full or fails: changes answer 503 / 507; it tries by itself */
/* The database is an old one: it was restored from a backup, or an agent knows a higher epoch or a later revision.
 * Until an operator adopts (a command with 'recovery' that calls store_raise_epoch()), every change is refused, and
 * nothing follows from what agents report. */
bool writer_recovering(struct writer *w, uint64_t *known_epoch);
void writer_set_recovering(struct writer *w, uint64_t known_epoch, uint64_t known_revision);
uint64_t writer_known_revision(struct writer *w); /* the latest that an agent told of */
uint64_t writer_start_revision(struct writer *w); /* what the file had when we started, or when it was adopted */

/* Called on the writer thread after each publication; must not block (it wakes what waits in the API). */
void writer_on_publish(struct writer *w, void (*wake)(void *arg), void *arg);

/* For a watchdog: grows with each turn of the writer's thread; whether something waits for its next one. */
uint64_t writer_turns(struct writer *w);
bool writer_busy(struct writer *w);

struct writer_metrics {
    uint64_t commits, commands, batches_failed;
    uint64_t commit_ns_total, commit_ns_max;
};
void writer_read_metrics(struct writer *w, struct writer_metrics *out);

#endif
