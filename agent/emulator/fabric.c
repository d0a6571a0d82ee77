/* fabric.c - see fabric.h */
#include "fabric.h"

#include "trace.h"

#define WALK_MAX 16 /* cables in a row */
#define ROUND_TRIP_CYCLES 363

const char *fabric_result_name(enum fabric_result r)
{
    static const char *const names[] = { "ok", "no_section", "dead_circuit", "untranslated" };

    return names[r];
}

int fabric_walk(const struct box *b, int port)
{
    for (int hop = 0; hop < WALK_MAX; hop++) {
        const struct box_port *p = &b->ports[port];
        const struct box_port *far;
        int32_t partner;

        if (p->peer < 0 || b->link_down[p->link])
            return -1;
        far = &b->ports[p->peer];
        if (far->adapter)
            return p->peer;
        partner = far->sw->cross[far->number - 1];
        if (partner == 0)
            return -1;
        port = far->sw->first_port + partner - 1;
    }
    return -1;
}

static bool channel_up(const struct box_adapter *a, unsigned port)
{
    return port < a->spec->ports && a->node->state->on && !*a->error && (a->regs->channels & ADAPTER_CHANNEL_BIT(port));
}

struct box_adapter *fabric_peer(const struct box_adapter *compute, unsigned port)
{
    const struct box *b = compute->node->box;
    const struct box_port *end;
    int index;

    if (!channel_up(compute, port))
        return NULL;
    index = fabric_walk(b, compute->first_port + (int)port);
    if (index < 0)
        return NULL;
    end = &b->ports[index];
    if (end->adapter->spec->role != WIRE_MEMORY || !channel_up(end->adapter, end->number))
        return NULL;
    return end->adapter;
}

struct box_adapter *fabric_target(const struct box_adapter *compute, uint64_t netid)
{
    unsigned ports = adapter_netid_ports(netid);
    struct box_adapter *found = NULL;

    for (unsigned p = 0; p < 2; p++) {
        struct box_adapter *end;

        if (!(ports & 1u << p))
            continue;
        end = fabric_peer(compute, p);
        if (!end || (found && found != end))
            return NULL;
        found = end;
    }
    return found;
}

/* The port that the next transaction takes. */
static unsigned next_port(struct box_adapter *compute, uint64_t netid)
{
    unsigned ports = adapter_netid_ports(netid);

    if (ports == 3)
        return compute->next_leg++ & 1;
    return ports == 1 ? 0 : 1;
}

static void count(struct box_adapter *compute, uint64_t n, bool write)
{
    /* A command or an answer is one flit, 128 bytes of data are two more. */
    adapter_count(compute->regs, n * (write ? 3 : 1), n * (write ? 1 : 3), n, n * ROUND_TRIP_CYCLES);
}

enum fabric_result fabric_transfer(struct box_adapter *compute, uint64_t window_offset, void *data, size_t len,
                                   bool write)
{
    struct adapter_target t;
    struct box_adapter *memory;

    if (!adapter_translate(compute->regs, window_offset, &t)) {
        adapter_capture(compute->regs, ADAPTER_ERROR_SECTION, window_offset, 0);
        return FABRIC_NO_SECTION;
    }
    memory = fabric_peer(compute, next_port(compute, t.netid));
    if (!memory || !memory->donor || !(memory->regs->control & ADAPTER_CONTROL_ENABLE)) {
        adapter_capture(compute->regs, ADAPTER_ERROR_TIMEOUT, window_offset, t.effective_addr);
        return FABRIC_DEAD;
    }
    if (compute->node->box->memory(memory, t.effective_addr, data, len, write) < 0) {
        memory->fault_addr = t.effective_addr;
        memory->n_faults++;
        adapter_capture(memory->regs, ADAPTER_ERROR_TRANSLATION, t.effective_addr, 0);
        adapter_capture(compute->regs, ADAPTER_ERROR_TRANSLATION, window_offset, t.effective_addr);
        return FABRIC_UNTRANSLATED;
    }
    count(compute, 1, write);
    return FABRIC_OK;
}

void fabric_load(struct box_adapter *compute, uint64_t n_lines)
{
    count(compute, n_lines / 2, true);
    count(compute, n_lines - n_lines / 2, false);
}

bool fabric_signal(const struct box *b, int port)
{
    const struct box_port *p = &b->ports[port], *far;

    if (p->peer < 0 || b->link_down[p->link])
        return false;
    far = &b->ports[p->peer];
    return !far->adapter || far->adapter->node->state->on;
}

static int check_ports(const struct box_switch *s, unsigned port_a, unsigned port_b, struct err *e)
{
    if (port_a < 1 || port_b < 1 || port_a > s->spec->ports || port_b > s->spec->ports)
        return err_set(e, ERR_FIELD_INVALID, "%s has ports 1 to %u", s->spec->name, s->spec->ports);
    if (port_a == port_b)
        return err_set(e, ERR_FIELD_INVALID, "a port cannot be joined to itself");
    return 0;
}

int fabric_connect(struct box *b, struct box_switch *s, unsigned port_a, unsigned port_b, struct err *e)
{
    if (check_ports(s, port_a, port_b, e) < 0)
        return -1;
    if (s->cross[port_a - 1] == (int32_t)port_b)
        return 0;
    if (s->cross[port_a - 1] != 0 || s->cross[port_b - 1] != 0)
        return err_set(e, ERR_BUSY, "port %u of %s is in use", s->cross[port_a - 1] ? port_a : port_b, s->spec->name);
    s->cross[port_a - 1] = (int32_t)port_b;
    s->cross[port_b - 1] = (int32_t)port_a;
    trace_event(b->trace, s->spec->name, "", "connect", port_a, port_b, true);
    box_changed(b, NULL);
    return 0;
}

int fabric_disconnect(struct box *b, struct box_switch *s, unsigned port_a, unsigned port_b, struct err *e)
{
    if (check_ports(s, port_a, port_b, e) < 0)
        return -1;
    if (s->cross[port_a - 1] != (int32_t)port_b)
        return 0; /* not joined: nothing to do */
    s->cross[port_a - 1] = 0;
    s->cross[port_b - 1] = 0;
    trace_event(b->trace, s->spec->name, "", "disconnect", port_a, port_b, true);
    box_changed(b, NULL);
    return 0;
}

int fabric_link_set(struct box *b, int port_a, int port_b, bool up, struct err *e)
{
    if (b->ports[port_a].peer != port_b)
        return err_set(e, ERR_NOT_FOUND, "no cable joins these ports");
    b->link_down[b->ports[port_a].link] = !up;
    box_changed(b, NULL);
    return 0;
}
