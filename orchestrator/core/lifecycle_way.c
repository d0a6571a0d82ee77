/* lifecycle_way.c - when borrowed memory may be brought online, or taken offline.
 *
 * To bring it online the agent touches it; to take it offline the kernel reads every page of it that is in use.  Over a
 * way that does not answer that is a machine check, and the borrower's server is down.  So 'online' is published over a
 * way that is well, and turned back when a part of it is known to be dead.  The undo of 'online' is published while the
 * donor says that its half is well, and taken back likewise; until then the detach waits, and says for what.  Where
 * that is only feared (a donor that is silent, an error that was captured once), an operator's retry is the word that
 * it is well.  Memory that answers again is taken offline by itself. */
#include "lifecycle_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum state { ALIVE, UNSURE, DEAD };
enum { PART_SECTION, PART_PORT, PART_ADAPTER, PART_SHIFT = 30 }; /* above its index */

/* The worst that is known of a way, of which part, and in words. */
struct way {
    enum state state;
    uint32_t part; /* 0: none */
    char why[WIRE_TEXT];
};

PRINTF(4, 5) static void worse(struct way *way, enum state state, uint32_t part, const char *format, ...)
{
    va_list args;
    if (state <= way->state)
        return;
    way->state = state;
    way->part = part;
    va_start(args, format);
    vsnprintf(way->why, sizeof way->why, format, args);
    va_end(args);
}

static void look_at_port(const struct model *m, uint32_t port, struct way *way)
{
    const struct port *p = model_port(m, port);
    const struct sw *s = model_switch(m, p->sw);
    uint32_t part = PART_PORT << PART_SHIFT | port;
    char name[PORT_NAME_SIZE];
    if (!s)
        return;
    if (s->fenced)
        worse(way, DEAD, part, "switch %s is off", s->name);
    if (p->signal != WIRE_SIGNAL_DOWN)
        return;
    bool read = s->seen && lifecycle_fresh(m, model_find_node(m, s->managed_by), 0);
    worse(way, read ? DEAD : UNSURE, part, "port %s %s no signal", model_port_name(m, port, name),
          read ? "has" : "had");
}

/* As its node said last; a node that just registered said nothing yet. */
static void look_at_adapter(const struct model *m, uint32_t adapter, struct way *way)
{
    const struct adapter *x = model_adapter(m, adapter);
    const char *node = model_node(m, x->node)->name;
    uint32_t part = (uint32_t)PART_ADAPTER << PART_SHIFT | adapter;
    bool fresh = lifecycle_fresh(m, x->node, 0);
    if (!x->ok && (x->seen || fresh))
        worse(way, DEAD, part, "adapter %s/%s: %.80s", node, x->name, x->seen ? x->error : "it is not reported");
    else if (x->ok && x->error_capture)
        worse(way, UNSURE, part, "adapter %s/%s captured error 0x%" PRIx64, node, x->name, x->error_capture);
    else if (!fresh)
        worse(way, UNSURE, part, "node %s does not report", node);
}

/* A card that was reset under it has forgotten where the section leads. */
static void look_at_section(const struct model *m, const struct attachment *a, struct way *way)
{
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    const struct section *s = &ca->sections[a->section];
    bool parked;
    uint64_t want = lifecycle_section_value(m, ca, a->section, &parked);
    if (a->step == STEP_ONLINE && !parked && ca->ok && s->seen_value != want)
        worse(way, DEAD, (uint32_t)PART_SECTION << PART_SHIFT | (a->section + 1),
              "section %u of adapter %s/%s is 0x%" PRIx64 ", and does not lead to it", a->section,
              model_node(m, ca->node)->name, ca->name, s->seen_value);
}

/* From the donor to the borrower. */
static struct way look(const struct model *m, const struct attachment *a)
{
    const struct circuit *c = model_circuit(m, a->circuit);
    struct way way = { .state = ALIVE };
    look_at_adapter(m, a->memory_adapter, &way);
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 0; i < c->legs[k].n_ports; i++)
            look_at_port(m, c->legs[k].ports[i], &way);
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    bool fresh =
        lifecycle_fresh(m, a->compute_node, 0); /* else nobody acts on it yet; and it looks at its own end first */
    if (fresh || (ca->seen && !ca->ok))
        look_at_adapter(m, a->compute_adapter, &way);
    if (fresh)
        look_at_section(m, a, &way);
    return way;
}

/* ---- online -------------------------------------------------------------------------------------------------------
 */
bool lifecycle_may_online(const struct model *m, uint32_t at)
{
    return look(m, model_attachment(m, at)).state == ALIVE;
}

bool lifecycle_way_dead(const struct model *m, uint32_t at, char why[WIRE_TEXT])
{
    struct way way = look(m, model_attachment(m, at));
    snprintf(why, WIRE_TEXT, "%s", way.why);
    return way.state == DEAD;
}

/* ---- offline ------------------------------------------------------------------------------------------------------
 */

/* No block of it is online, and none comes: there is nothing to read. */
static bool nothing_online(const struct model *m, const struct attachment *a)
{
    return lifecycle_fresh(m, a->compute_node, a->revision) && lifecycle_told_offline(m, a);
}

static bool may_offline(const struct model *m, const struct attachment *a, struct way *way)
{
    if (lifecycle_fenced(m, a->compute_node) || nothing_online(m, a))
        return true;
    *way = look(m, a);
    return way->state == ALIVE || (way->state == UNSURE && a->insisted);
}

/* What it failed or was lost by says more than what its undo waits for, until it is stuck at that. */
static bool may_say(const struct attachment *a)
{
    return a->state == ATT_STUCK || (a->ending == ATT_DETACHED && a->state != ATT_LOST);
}

static void make_reason(char reason[WIRE_TEXT], const struct way *way)
{
    snprintf(reason, WIRE_TEXT, "not taken offline, which would read it: %.150s", way->why);
}

/* The reason follows what is said of the part; that it waits for the part is told once. */
static void hold(struct model *m, uint32_t at, const struct way *way)
{
    const struct attachment *a = model_attachment(m, at);
    char reason[WIRE_TEXT], object[ID_SIZE + 16];
    bool told = a->held_by == way->part;
    make_reason(reason, way);
    if (told && (!may_say(a) || !strcmp(a->reason, reason)))
        return;
    struct attachment *x = model_edit_attachment(m, at);
    if (!x->held_by) /* it brings nothing online meanwhile, and says so */
        lifecycle_wake(m, x->compute_node);
    x->held_by = way->part;
    x->insisted = false;
    x->retry_at_ms = 0;
    if (may_say(x))
        lifecycle_set_reason(x, reason);
    snprintf(object, sizeof object, "attachment/%s", x->id);
    if (!told)
        model_emit(m, "attachment.step", object, "hold", step_names[STEP_ONLINE], reason);
}

bool lifecycle_may_offline(struct model *m, uint32_t at)
{
    struct way way;
    if (may_offline(m, model_attachment(m, at), &way))
        return true;
    hold(m, at, &way);
    return false;
}

void lifecycle_stick_held(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    struct way way;
    char reason[WIRE_TEXT];
    if (a->state == ATT_LOST || may_offline(m, a, &way))
        return;
    struct attachment *x = model_edit_attachment(m, at);
    make_reason(reason, &way);
    lifecycle_set_reason(x, reason);
    lifecycle_set_state(m, x, ATT_STUCK);
}

void lifecycle_let_go(struct model *m, uint32_t at)
{
    struct attachment *x = model_edit_attachment(m, at);
    if (x->held_by && may_say(x))
        x->reason[0] = '\0';
    x->held_by = 0;
}

void lifecycle_unpublish_offline(struct model *m, uint32_t at)
{
    struct attachment *x = model_edit_attachment(m, at);
    x->undoing = x->step + 1;
    x->tombstone_revision = 0;
    x->revision = m->revision;
    x->attempt++; /* what it came to is no answer to the next order */
    lifecycle_wake(m, x->compute_node);
}

bool lifecycle_withdraw_offline(struct model *m, uint32_t at)
{
    const struct attachment *a = model_attachment(m, at);
    /* Else none came online since it was told to bring none, by its answer to that; what a node has not said may be. */
    bool any = a->blocks_online || a->now_overlapped || !lifecycle_fresh(m, a->compute_node, a->no_more_revision);
    if (!any)
        return false;
    struct way way = look(m, a);
    if (way.state != DEAD)
        return false;
    lifecycle_unpublish_offline(m, at);
    hold(m, at, &way);
    return true;
}

int lifecycle_insist(struct model *m, uint32_t at, struct err *e)
{
    const struct attachment *a = model_attachment(m, at);
    if (!a->held_by)
        return 0;
    struct way way = look(m, a);
    if (way.state == DEAD)
        return err_set(e, ERR_CONFLICT, "attachment %s is not taken offline, which would read it: %.100s", a->id,
                       way.why);
    model_edit_attachment(m, at)->insisted = true;
    return 0;
}
