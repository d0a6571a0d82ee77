/* converge.c - see converge.h.  One table of steps: first everything that is taken away, from the compute side to the
 * donor's, then everything that is made, from the donor's side to the compute node's.  Channels, sections and
 * cross-connects are here, buffers and segments in orders.c. */
#include "converge.h"

#include "faultpoint.h"
#include "log.h"
#include "orders.h"
#include "units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

unsigned converge_ports_of(uint64_t section_value)
{
    uint64_t netid = section_value & 3;
    if (netid == WIRE_NETID_BOTH)
        return 3;
    return netid == WIRE_NETID_PORT0 ? 1 : 2; /* bit 0 clear: port 1, zero too */
}

/* Logs what failed and asks for another pass. */
static void incomplete(struct node *n, const char *what, const struct err *e)
{
    n->incomplete = true;
    log_warn(what, "%s", e->detail);
}

static struct node_adapter *find_compute(struct node *n, const char *name)
{
    struct node_adapter *a = node_adapter(n, name);
    return a && a->config->wire.role == WIRE_COMPUTE ? a : NULL;
}

/* ---- sections -----------------------------------------------------------------------------------------------------
 */
/* Before a section that led somewhere is parked: what caches hold of it is written back, unless all that was in it was
 * quiesced already.  A late write-back to a parked section stops the machine. */
static int quiesce_section(struct node *n, const struct node_adapter *a, unsigned section, struct err *e)
{
    bool known = false, all = true;
    for (size_t i = 0; i < n->n_segments; i++)
        if (&n->adapters[n->segments[i].adapter] == a && n->segments[i].label.section == section) {
            known = true;
            all &= n->segments[i].quiesced;
        }
    if (known && all)
        return 0;
    pid_t wedged = children_wedged(&n->children);
    if (wedged)
        return err_set(e, ERR_BUSY, "process %d hangs in the kernel: nothing is quiesced before its end", (int)wedged);
    return n->platform.ops->quiesce(&n->platform, &n->children, a->config->wire.name, e);
}

static int write_section(struct node *n, struct node_adapter *a, unsigned section, uint64_t value, struct err *e)
{
    const struct afu_ops *ops = afu_ops(a->afu);
    uint64_t now;
    if (ops->read_section(a->afu, section, &now, e) < 0)
        return -1;
    if (now == value)
        return 0;
    if (segments_online_in(n, a, section))
        return err_set(e, ERR_BUSY, "section %u of %s is not changed: memory behind it is online", section,
                       a->config->wire.name);
    if (wire_section_is_parked(value, section) && now != 0 && quiesce_section(n, a, section, e) < 0)
        return -1;
    FAULT_POINT("%s.before", wire_section_is_parked(value, section) ? "park" : "map");
    if (ops->write_section(a->afu, section, value, e) < 0)
        return -1;
    FAULT_POINT("%s.after", wire_section_is_parked(value, section) ? "park" : "map");
    log_info("section.set", "adapter=%s section=%u value=0x%" PRIx64, a->config->wire.name, section, value);
    return 0;
}

static void set_sections(struct node *n, const struct wire_desired *d, bool parked)
{
    for (size_t i = 0; i < d->n_sections; i++) {
        const struct wire_want_section *w = &d->sections[i];
        struct node_adapter *a = find_compute(n, w->adapter);
        struct err e = { 0 };
        if (w->parked != parked)
            continue;
        if (!a || w->section >= WIRE_SECTIONS || wire_section_is_parked(w->value, w->section) != parked ||
            w->value == 0)
            (void)!err_set(&e, ERR_FIELD_INVALID, "order for section %u of %s makes no sense", w->section, w->adapter);
        else if (write_section(n, a, w->section, w->value, &e) == 0)
            continue;
        incomplete(n, "section.refused", &e);
    }
}

static void sections_park(struct node *n, const struct wire_desired *d)
{
    set_sections(n, d, true);
}

static void sections_map(struct node *n, const struct wire_desired *d)
{
    set_sections(n, d, false);
}

static bool wanted_mapped(const struct wire_desired *d, const char *adapter, unsigned section)
{
    for (size_t i = 0; i < d->n_sections; i++)
        if (!d->sections[i].parked && d->sections[i].section == section && strcmp(d->sections[i].adapter, adapter) == 0)
            return true;
    return false;
}

/* One section before a channel leaves reset: what nobody uses leads nowhere.  Zero is a way out of port 1
 * (hardware.md); memory behind it says that the adapter was reset under that memory, which would now reach what is
 * somebody else's. */
static int park_section(struct node *n, struct node_adapter *a, unsigned section, const struct wire_desired *d,
                        struct err *e)
{
    const struct afu_ops *ops = afu_ops(a->afu);
    const char *name = a->config->wire.name;
    uint64_t now;
    if (ops->read_section(a->afu, section, &now, e) < 0)
        return -1;
    if (wire_section_is_parked(now, section) || (now != 0 && wanted_mapped(d, name, section)))
        return 0;
    bool online = segments_online_in(n, a, section);
    if (online && now == 0)
        return err_set(e, ERR_BUSY,
                       "%s was reset under memory that is online behind section %u: its channels stay in reset, and "
                       "only a reboot of this server helps",
                       name, section);
    if (online)
        return 0;
    if (now != 0 && quiesce_section(n, a, section, e) < 0)
        return -1;
    return ops->write_section(a->afu, section, wire_section_parked(section), e);
}

static int park_idle(struct node *n, struct node_adapter *a, const struct wire_desired *d, struct err *e)
{
    for (unsigned s = 0; s < WIRE_SECTIONS; s++)
        if (park_section(n, a, s, d, e) < 0)
            return -1;
    return 0;
}

/* ---- channels -----------------------------------------------------------------------------------------------------
 */
/* May the compute adapter's port go into reset? */
static int check_unused(struct node_adapter *a, unsigned port, struct err *e)
{
    for (unsigned s = 0; s < WIRE_SECTIONS; s++) {
        uint64_t now;
        if (afu_ops(a->afu)->read_section(a->afu, s, &now, e) < 0)
            return -1;
        if (!wire_section_is_parked(now, s) && converge_ports_of(now) & 1u << port)
            return err_set(e, ERR_BUSY, "channel %u of %s is not reset: section %u uses it", port, a->config->wire.name,
                           s);
    }
    return 0;
}

static int set_channel(struct node *n, struct node_adapter *a, const struct wire_want_channel *w,
                       const struct wire_desired *d, struct err *e)
{
    const struct afu_ops *ops = afu_ops(a->afu);
    bool compute = a->config->wire.role == WIRE_COMPUTE;
    unsigned channels;
    int rc = ops->channels(a->afu, &channels, e);
    if (rc < 0 && w->up && !compute && e->code == ERR_UNREACHABLE) {
        ops->start(a->afu);
        err_clear(e);
        rc = ops->channels(a->afu, &channels, e);
    }
    if (rc < 0)
        return -1;
    if (((channels >> w->port) & 1) == w->up)
        return 0;
    if (compute && (w->up ? park_idle(n, a, d, e) : check_unused(a, w->port, e)) < 0)
        return -1;
    a->touched = true;
    FAULT_POINT("%s.before", w->up ? "up" : "down");
    if (ops->set_channel(a->afu, w->port, w->up, e) < 0)
        return -1;
    FAULT_POINT("%s.after", w->up ? "up" : "down");
    int64_t settle_ns = (int64_t)n->config->settle_ms * 1000000;
    a->settled_at_ns[w->port] = w->up ? time_monotonic_ns() + settle_ns : 0;
    log_info("channel.set", "adapter=%s port=%u up=%d", w->adapter, w->port, w->up);
    return 0;
}

static void set_channels(struct node *n, const struct wire_desired *d, bool up)
{
    for (size_t i = 0; i < d->n_channels; i++) {
        const struct wire_want_channel *w = &d->channels[i];
        struct node_adapter *a = node_adapter(n, w->adapter);
        struct err e = { 0 };
        if (w->up != up)
            continue;
        if (!a || w->port >= a->config->wire.ports)
            (void)!err_set(&e, ERR_FIELD_INVALID, "order for channel %u of %s: there is none", w->port, w->adapter);
        else if (set_channel(n, a, w, d, &e) == 0)
            continue;
        incomplete(n, "channel.refused", &e);
    }
}

static void channels_down(struct node *n, const struct wire_desired *d)
{
    set_channels(n, d, false);
}

static void channels_up(struct node *n, const struct wire_desired *d)
{
    set_channels(n, d, true);
}

/* ---- cross-connects -----------------------------------------------------------------------------------------------
 */
static bool has_pair(const struct crossconnect_pair *pairs, size_t n_pairs, unsigned a, unsigned b)
{
    for (size_t i = 0; i < n_pairs; i++)
        if ((pairs[i].a == a && pairs[i].b == b) || (pairs[i].a == b && pairs[i].b == a))
            return true;
    return false;
}

static int set_pair(struct node *n, struct node_switch *s, const struct wire_want_crossconnect *w, struct err *e)
{
    FAULT_POINT("%s.before", w->connected ? "join" : "part");
    pulse_at(&n->pulse, "a circuit switch");
    if ((w->connected ? crossconnect_connect : crossconnect_disconnect)(s->x, w->port_a, w->port_b, e) < 0)
        return -1;
    pulse_headway(&n->pulse);
    FAULT_POINT("%s.after", w->connected ? "join" : "part");
    log_info("crossconnect.set", "switch=%s ports=%u,%u connected=%d", w->name, w->port_a, w->port_b, w->connected);
    return 0;
}

/* Brings one switch's pairs to what is ordered; only those of 'connected' are looked at.  A pair that is refused is no
 * reason to leave the others as they are; a switch that does not answer is. */
static void set_switch(struct node *n, struct node_switch *s, const struct wire_desired *d, bool connected)
{
    CLEANUP(cleanup_free) struct crossconnect_pair *pairs = NULL;
    size_t n_pairs = 0;
    bool read = false;
    for (size_t i = 0; i < d->n_crossconnects; i++) {
        const struct wire_want_crossconnect *w = &d->crossconnects[i];
        struct err e = { 0 };
        if (w->connected != connected || strcmp(w->name, s->config->name) != 0)
            continue;
        bool listed = read || crossconnect_list(s->x, &pairs, &n_pairs, &e) == 0;
        read = true;
        if (listed && (has_pair(pairs, n_pairs, w->port_a, w->port_b) == connected || set_pair(n, s, w, &e) == 0))
            continue;
        incomplete(n, "crossconnect.refused", &e);
        if (!listed || e.code == ERR_TIMEOUT || e.code == ERR_UNREACHABLE)
            return;
    }
}

static void set_switches(struct node *n, const struct wire_desired *d, bool connected)
{
    for (unsigned i = 0; i < n->n_switches; i++)
        set_switch(n, &n->switches[i], d, connected);
}

static void crossconnects_clear(struct node *n, const struct wire_desired *d)
{
    set_switches(n, d, false);
}

static void crossconnects_make(struct node *n, const struct wire_desired *d)
{
    set_switches(n, d, true);
}

/* ---- the pass -----------------------------------------------------------------------------------------------------
 */
static void name_ordered(struct node *n, const char *adapter)
{
    struct node_adapter *a = find_compute(n, adapter);
    if (a)
        a->ordered = true;
}

/* Compute adapters that the orchestrator has a word on: observe() reads them after each pass. */
static void note_ordered(struct node *n, const struct wire_desired *d)
{
    for (unsigned i = 0; i < n->n_adapters; i++)
        n->adapters[i].ordered = false;
    for (size_t i = 0; i < d->n_channels; i++)
        name_ordered(n, d->channels[i].adapter);
    for (size_t i = 0; i < d->n_sections; i++)
        name_ordered(n, d->sections[i].adapter);
    for (size_t i = 0; i < d->n_segments; i++)
        name_ordered(n, d->segments[i].adapter);
}

static const struct {
    const char *name;
    void (*run)(struct node *n, const struct wire_desired *d);
} steps[] = {
    { "segments.absent", orders_segments_absent },
    { "sections.park", sections_park },
    { "channels.down", channels_down },
    { "crossconnects.clear", crossconnects_clear },
    { "buffers.absent", orders_buffers_absent },
    { "buffers.create", orders_buffers_create },
    { "crossconnects.make", crossconnects_make },
    { "channels.up", channels_up },
    { "sections.map", sections_map },
    { "segments.create", orders_segments_create },
};

static void claim(struct node *n, const struct wire_desired *d)
{
    if (n->epoch != d->epoch || strcmp(n->instance, d->instance) != 0)
        n->revision = 0;
    n->epoch = d->epoch;
    memcpy(n->instance, d->instance, sizeof n->instance);
    if (!n->stray[0] && !n->unsure)
        n->revision = d->revision;
}

void converge_apply(struct node *n, const struct wire_desired *d)
{
    n->incomplete = n->unsure = false;
    note_ordered(n, d);
    orders_begin(n, d);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int64_t start = time_monotonic_ns();
        pulse_at(&n->pulse, steps[i].name);
        steps[i].run(n, d);
        int64_t us = (time_monotonic_ns() - start) / 1000;
        if (us > 200)
            log_debug("converge.step", "step=%s us=%" PRId64, steps[i].name, us);
    }
    segments_drop_idle(n);
    claim(n, d);
}
