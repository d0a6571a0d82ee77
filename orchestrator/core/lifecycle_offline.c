/* lifecycle_offline.c - when borrowed memory may be taken offline.
 *
 * To take it offline the kernel reads every page of it that is in use.  Over a way that does not answer that read is a
 * machine check, and the borrower's server is down.  So the undo of 'online' is published while the donor says that its
 * half is well, and taken back when a part of the way is known to be dead; until then the detach waits, and says for
 * what.  Where that is only feared (a donor that is silent, an error that was captured once), an operator's retry is
 * the word that it is well.  Memory that answers again is taken offline by itself. */
#include "lifecycle_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum way { WAY_ALIVE, WAY_UNSURE, WAY_DEAD };

PRINTF(3, 4) static enum way say(enum way way, char why[WIRE_TEXT], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, WIRE_TEXT, format, args);
    va_end(args);
    return way;
}

static enum way look_at_port(const struct model *m, uint32_t port, char why[WIRE_TEXT])
{
    const struct port *p = model_port(m, port);
    const struct sw *s = model_switch(m, p->sw);
    char name[PORT_NAME_SIZE];
    if (!s)
        return WAY_ALIVE;
    if (s->fenced)
        return say(WAY_DEAD, why, "switch %s is off", s->name);
    if (p->signal != WIRE_SIGNAL_DOWN)
        return WAY_ALIVE;
    bool read = s->seen && lifecycle_fresh(m, model_find_node(m, s->managed_by), 0);
    return say(read ? WAY_DEAD : WAY_UNSURE, why, "port %s %s no signal", model_port_name(m, port, name),
               read ? "has" : "had");
}

/* As its node said last; a node that just registered said nothing yet. */
static enum way look_at_adapter(const struct model *m, uint32_t adapter, char why[WIRE_TEXT])
{
    const struct adapter *x = model_adapter(m, adapter);
    const char *node = model_node(m, x->node)->name;
    bool fresh = lifecycle_fresh(m, x->node, 0);
    if (!x->ok && (x->seen || fresh))
        return say(WAY_DEAD, why, "adapter %s/%s: %.80s", node, x->name, x->seen ? x->error : "it is not reported");
    if (x->ok && x->error_capture)
        return say(WAY_UNSURE, why, "adapter %s/%s captured error 0x%" PRIx64, node, x->name, x->error_capture);
    return fresh ? WAY_ALIVE : say(WAY_UNSURE, why, "node %s does not report", node);
}

static void worse(enum way *way, char why[WIRE_TEXT], enum way other, const char *other_why)
{
    if (other <= *way)
        return;
    *way = other;
    snprintf(why, WIRE_TEXT, "%s", other_why);
}

/* The worst that is known of its parts, from the donor to the borrower. */
static enum way look(const struct model *m, const struct attachment *a, char why[WIRE_TEXT])
{
    const struct circuit *c = model_circuit(m, a->circuit);
    char other[WIRE_TEXT] = "";
    enum way way = look_at_adapter(m, a->memory_adapter, why);
    for (unsigned k = 0; k < c->channels; k++)
        for (unsigned i = 0; i < c->legs[k].n_ports; i++)
            worse(&way, why, look_at_port(m, c->legs[k].ports[i], other), other);
    if (lifecycle_fresh(m, a->compute_node, 0)) /* else nobody acts on it yet; and it looks at its own end first */
        worse(&way, why, look_at_adapter(m, a->compute_adapter, other), other);
    return way;
}

/* No block of it is online, and none comes: there is nothing to read. */
static bool nothing_online(const struct model *m, const struct attachment *a)
{
    return lifecycle_fresh(m, a->compute_node, a->revision) && !a->blocks_online && !a->now_overlapped;
}

bool lifecycle_may_offline(const struct model *m, uint32_t at, char why[WIRE_TEXT])
{
    const struct attachment *a = model_attachment(m, at);
    if (lifecycle_fenced(m, a->compute_node) || nothing_online(m, a))
        return true;
    enum way way = look(m, a, why);
    return way == WAY_ALIVE || (way == WAY_UNSURE && a->insisted);
}

/* What it failed or was lost by says more than what its undo waits for, until it is stuck at that. */
static bool may_say(const struct attachment *a)
{
    return a->state == ATT_STUCK || (a->ending == ATT_DETACHED && a->state != ATT_LOST);
}

static void make_reason(char reason[WIRE_TEXT], const char *why)
{
    snprintf(reason, WIRE_TEXT, "not taken offline, which would read it: %.150s", why);
}

void lifecycle_hold(struct model *m, uint32_t at, const char *why)
{
    const struct attachment *a = model_attachment(m, at);
    char reason[WIRE_TEXT], object[ID_SIZE + 16];
    make_reason(reason, why);
    if (a->held && (!may_say(a) || !strcmp(a->reason, reason)))
        return;
    struct attachment *x = model_edit_attachment(m, at);
    if (!x->held) /* it brings nothing online meanwhile, and says so */
        lifecycle_wake(m, x->compute_node);
    x->held = true;
    x->insisted = false;
    x->retry_at_ms = 0;
    if (may_say(x))
        lifecycle_set_reason(x, reason);
    snprintf(object, sizeof object, "attachment/%s", x->id);
    model_emit(m, "attachment.step", object, "hold", step_names[STEP_ONLINE], reason);
}

void lifecycle_stick_held(struct model *m, uint32_t at)
{
    char why[WIRE_TEXT], reason[WIRE_TEXT];
    if (model_attachment(m, at)->state == ATT_LOST || lifecycle_may_offline(m, at, why))
        return;
    struct attachment *x = model_edit_attachment(m, at);
    make_reason(reason, why);
    lifecycle_set_reason(x, reason);
    lifecycle_set_state(m, x, ATT_STUCK);
}

void lifecycle_let_go(struct model *m, uint32_t at)
{
    struct attachment *x = model_edit_attachment(m, at);
    if (x->held && may_say(x))
        x->reason[0] = '\0';
    x->held = false;
}

bool lifecycle_withdraw_offline(struct model *m, uint32_t at)
{
    char why[WIRE_TEXT];
    const struct attachment *a = model_attachment(m, at);
    bool any = a->blocks_online || a->now_overlapped; /* else none came online since it was told to bring none */
    if (!any || look(m, a, why) != WAY_DEAD)
        return false;
    struct attachment *x = model_edit_attachment(m, at);
    x->undoing = x->step + 1;
    x->tombstone_revision = 0;
    x->revision = m->revision;
    x->attempt++; /* what it came to is no answer to the next order */
    lifecycle_wake(m, x->compute_node);
    lifecycle_hold(m, at, why);
    return true;
}

int lifecycle_insist(struct model *m, uint32_t at, struct err *e)
{
    const struct attachment *a = model_attachment(m, at);
    char why[WIRE_TEXT];
    if (!a->held)
        return 0;
    if (look(m, a, why) == WAY_DEAD)
        return err_set(e, ERR_CONFLICT, "attachment %s is not taken offline, which would read it: %.100s", a->id, why);
    model_edit_attachment(m, at)->insisted = true;
    return 0;
}
