#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void world_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
    _exit(3);
}

void world_tell(const struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->tell)
        return;
    va_start(args, format);
    printf("           ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void world_start(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->next_base = UINT64_C(1) << 44;
    for (unsigned i = 0; i < NODES; i++)
        w->machines[i] = (struct machine){ .power = true, .boot = 1, .lender = 1 };
}

static void drop_buffers(struct machine *m)
{
    for (size_t i = 0; i < m->n_buffers; i++)
        free(m->buffers[i].written);
    m->n_buffers = 0;
    memset(m->bases, 0, sizeof m->bases);
}

void world_done(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++)
        drop_buffers(&w->machines[i]);
}

void world_power(struct world *w, unsigned node, bool on)
{
    struct machine *m = &w->machines[node];
    if (m->power == on)
        return;
    m->power = on;
    world_tell(w, "n%u: power %s", node + 1, on ? "on" : "off");
    if (on) {
        m->boot++;
        m->lender++;
        return;
    }
    drop_buffers(m);
    memset(m->registers, 0, sizeof m->registers);
    memset(m->channels, 0, sizeof m->channels);
    memset(m->online, 0, sizeof m->online);
    m->n_segments = 0;
}

void world_kill_lender(struct world *w, unsigned node)
{
    struct machine *m = &w->machines[node];
    drop_buffers(m);
    m->lender++;
    world_tell(w, "n%u: its lender dies", node + 1);
}

/* ---- where an access ends -----------------------------------------------------------------------------------------
 */
struct end {
    const char *why; /* NULL: a buffer was reached */
    unsigned node;   /* the donor, where the way ends at one */
    struct buffer *buffer;
    size_t block; /* of the buffer */
};

static bool cable(const struct world *w, unsigned node, bool memory, unsigned port)
{
    return !w->machines[node].link_down[(memory ? 2 : 0) + port];
}

/* Over one port of the borrower. */
static struct end follow_port(const struct world *w, unsigned node, unsigned section, unsigned block, unsigned port)
{
    const struct machine *m = &w->machines[node];
    uint64_t value = m->registers[section];
    struct end end = { .node = NODES };
    if (m->adapter_error[0])
        return end.why = "the borrower's adapter does not answer", end;
    if (!(m->channels[0] & 1u << port))
        return end.why = "the borrower's channel is in reset", end;
    unsigned there = w->joins[node * 4 + port + 1];
    if (!there)
        return end.why = "the switch joins the port to nothing", end;
    end.node = (there - 1) / 4;
    unsigned end_port = (there - 1) % 4;
    const struct machine *d = &w->machines[end.node];
    if (end_port < 2)
        return end.why = "the way ends at a compute adapter", end;
    if (!cable(w, node, false, port) || !cable(w, end.node, true, end_port - 2))
        return end.why = "a cable is dead", end;
    if (!d->power)
        return end.why = "the donor has no power", end;
    if (d->adapter_error[1])
        return end.why = "the donor's adapter does not answer", end;
    if (!(d->channels[1] & 1u << (end_port - 2)))
        return end.why = "the donor's channel is in reset", end;
    uint64_t ea = (value & ~UINT64_C(0x3f)) + section * (UINT64_C(1) << 40) + block * BLOCK;
    for (size_t i = 0; i < d->n_buffers; i++) {
        const struct buffer *b = &d->buffers[i];
        if (ea < b->base + b->offset_bytes || ea >= b->base + b->offset_bytes + b->size_bytes)
            continue;
        end.buffer = (struct buffer *)b;
        end.block = (size_t)((ea - b->base - b->offset_bytes) / BLOCK);
        return end;
    }
    return end.why = "no buffer is there", end;
}

unsigned world_ports_of(uint64_t value)
{
    return (value & 3) == WIRE_NETID_BOTH ? 3 : (value & 3) == WIRE_NETID_PORT0 ? 1 : 2;
}

/* A bonded section spreads its accesses over both ports: both have to end in the same place. */
static struct end follow(const struct world *w, unsigned node, unsigned section, unsigned block)
{
    uint64_t value = w->machines[node].registers[section];
    struct end end = { .node = NODES }, other;
    if (value == 0 || wire_section_is_parked(value, section))
        return end.why = "the section is parked, or zero", end;
    unsigned ports = world_ports_of(value);
    end = follow_port(w, node, section, block, ports == 2 ? 1 : 0);
    if (ports != 3 || !end.buffer)
        return end;
    other = follow_port(w, node, section, block, 1);
    if (other.buffer && other.buffer != end.buffer)
        world_fail("n%u: the two ports of section %u lead to different places", node + 1, section);
    return other.buffer ? end : other;
}

/* The story did something to the donor, or to a cable, after these blocks came online. */
static bool excused(const struct world *w, unsigned node, const struct segment *s)
{
    const struct machine *m = &w->machines[node], *d = &w->machines[s->donor];
    unsigned ports = world_ports_of(m->registers[s->section]);
    bool cables = true;
    for (unsigned port = 0; port < 2; port++) {
        unsigned there = w->joins[node * 4 + port + 1];
        if (ports & 1u << port)
            cables = cables && cable(w, node, false, port) &&
                     (!there || cable(w, (there - 1) / 4, true, ((there - 1) % 4) & 1));
    }
    return !d->power || d->boot != s->donor_boot || d->lender != s->donor_lender || !cables || m->adapter_error[0] ||
           d->adapter_error[1];
}

static uint32_t hash_id(const char *id)
{
    uint32_t h = 2166136261u;
    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * 16777619u;
    return h;
}

static struct segment *owner_of(const struct world *w, unsigned node, unsigned section, unsigned block)
{
    const struct machine *m = &w->machines[node];
    for (size_t i = 0; i < m->n_segments; i++) {
        const struct segment *s = &m->segments[i];
        if (s->section == section && block * BLOCK >= s->offset_bytes &&
            block * BLOCK < s->offset_bytes + s->size_bytes && m->owner[section][block] == hash_id(s->id))
            return (struct segment *)s;
    }
    return NULL;
}

/* false: it fails, with an excuse. */
static bool check_block(const struct world *w, unsigned node, unsigned section, unsigned block, struct end *end)
{
    const struct segment *s = owner_of(w, node, section, block);
    if (!s)
        world_fail("n%u: block %u of section %u is online, and no label says whose it is", node + 1, block, section);
    *end = follow(w, node, section, block);
    if (end->buffer && strcmp(end->buffer->id, s->id) != 0)
        world_fail("n%u: %s is online, and reaches %s in n%u", node + 1, s->id, end->buffer->id, end->node + 1);
    if (end->buffer)
        return true;
    if (!excused(w, node, s))
        world_fail("n%u: %s is online, but %s", node + 1, s->id, end->why);
    return false;
}

void world_check(const struct world *w)
{
    struct end end;
    for (unsigned i = 0; i < SERVERS; i++)
        for (unsigned s = 0; w->machines[i].n_segments && s < SECTIONS; s++)
            for (unsigned b = 0; b < SECTION_BLOCKS; b++)
                if (w->machines[i].online[s][b])
                    check_block(w, i, s, b, &end);
}

static uint32_t mark_of(unsigned node, const char *id, unsigned block)
{
    return (hash_id(id) + node * 77 + block) | 1;
}

void world_use(struct world *w, unsigned node)
{
    struct machine *m = &w->machines[node];
    for (unsigned s = 0; m->n_segments && s < SECTIONS; s++)
        for (unsigned b = 0; b < SECTION_BLOCKS; b++) {
            struct end end;
            if (!m->online[s][b])
                continue;
            if (!check_block(w, node, s, b, &end)) {
                world_power(w, node, false);
                return;
            }
            uint32_t *there = &end.buffer->written[end.block];
            if (*there != m->wrote[s][b])
                world_fail("n%u: block %u of %s holds %x, %x was written", node + 1, b, end.buffer->id, *there,
                           m->wrote[s][b]);
            *there = m->wrote[s][b] = mark_of(node, end.buffer->id, b);
        }
}

/* ---- orders -------------------------------------------------------------------------------------------------------
 */
void world_set_register(struct world *w, unsigned node, unsigned section, uint64_t value)
{
    struct machine *m = &w->machines[node];
    if (m->registers[section] == value)
        return;
    for (unsigned b = 0; section < SECTIONS && b < SECTION_BLOCKS; b++)
        if (m->online[section][b])
            world_fail("n%u: section %u is changed while block %u is online", node + 1, section, b);
    m->registers[section] = value;
    world_tell(w, "n%u: section %u %s", node + 1, section,
               wire_section_is_parked(value, section) ? "parked" : "mapped");
}

void world_set_channel(struct world *w, unsigned node, bool memory, unsigned port, bool up)
{
    struct machine *m = &w->machines[node];
    unsigned bit = 1u << port;
    if (((m->channels[memory] & bit) != 0) == up)
        return;
    for (unsigned s = 0; !memory && s < WIRE_SECTIONS; s++) {
        uint64_t value = m->registers[s];
        if (up && !value)
            m->registers[s] = wire_section_parked(s); /* the agent sees to that, always */
        else if (!up && value && !wire_section_is_parked(value, s) && (world_ports_of(value) & bit))
            world_fail("n%u: channel %u is reset while section %u uses it", node + 1, port, s);
    }
    world_tell(w, "n%u: afu%d/%u %s reset", node + 1, memory, port, up ? "out of" : "in");
    m->channels[memory] = up ? m->channels[memory] | bit : m->channels[memory] & ~bit;
}

void world_join(struct world *w, unsigned a, unsigned b, bool connected)
{
    if (connected && w->joins[a] == b)
        return;
    if (connected && (w->joins[a] || w->joins[b]))
        world_fail("port %u or %u of the switch is joined already", a, b);
    if (!connected && w->joins[a] != b)
        return;
    world_tell(w, "ocs1: %u and %u %s", a, b, connected ? "joined" : "parted");
    w->joins[a] = connected ? b : 0;
    w->joins[b] = connected ? a : 0;
}

bool world_lend(struct world *w, unsigned node, const struct wire_want_buffer *o, unsigned peer)
{
    struct machine *m = &w->machines[node];
    uint64_t *base = &m->bases[peer][o->section];
    if (!*base) {
        *base = w->next_base;
        w->next_base += UINT64_C(1) << 40;
    }
    for (size_t i = 0; i < m->n_buffers; i++) {
        const struct buffer *b = &m->buffers[i];
        if (!strcmp(b->id, o->id))
            return true;
        if (b->base == *base && b->offset_bytes < o->offset_bytes + o->size_bytes &&
            o->offset_bytes < b->offset_bytes + b->size_bytes)
            world_fail("n%u is told to lend %s over %s", node + 1, o->id, b->id);
    }
    if (m->n_buffers == OBJECTS)
        return false;
    struct buffer *b = &m->buffers[m->n_buffers++];
    *b = (struct buffer){ .peer = peer,
                          .section = o->section,
                          .offset_bytes = o->offset_bytes,
                          .size_bytes = o->size_bytes,
                          .base = *base,
                          .written = calloc((size_t)(o->size_bytes / BLOCK), sizeof *b->written) };
    memcpy(b->id, o->id, sizeof b->id);
    world_tell(w, "n%u: lends %s to n%u, section %u", node + 1, b->id, peer + 1, b->section);
    return true;
}

void world_release(struct world *w, unsigned node, const char *id, bool kept)
{
    struct machine *m = &w->machines[node];
    size_t at = 0;
    while (at < m->n_buffers && strcmp(m->buffers[at].id, id) != 0)
        at++;
    if (at == m->n_buffers)
        return;
    for (unsigned i = 0; i < SERVERS; i++) {
        const struct segment *s = world_segment(w, i, id);
        if (s && world_blocks_online(w, i, s))
            world_fail("n%u releases %s while %u blocks of it are online on n%u", node + 1, id,
                       world_blocks_online(w, i, s), i + 1);
    }
    const struct buffer *b = &m->buffers[at];
    const struct machine *c = &w->machines[b->peer];
    bool others = kept;
    for (size_t i = 0; i < m->n_buffers; i++)
        others |= i != at && m->buffers[i].base == b->base;
    uint64_t value = c->registers[b->section];
    if (!others && value && !wire_section_is_parked(value, b->section) &&
        value == wire_section_value(b->base, b->section, value & 0x3f))
        world_fail("n%u releases %s while section %u of n%u still leads there", node + 1, id, b->section, b->peer + 1);
    world_tell(w, "n%u: releases %s", node + 1, id);
    free(b->written);
    m->buffers[at] = m->buffers[--m->n_buffers];
}

/* ---- blocks -------------------------------------------------------------------------------------------------------
 */
struct segment *world_segment(struct world *w, unsigned node, const char *id)
{
    struct machine *m = &w->machines[node];
    for (size_t i = 0; i < m->n_segments; i++)
        if (!strcmp(m->segments[i].id, id))
            return &m->segments[i];
    return NULL;
}

struct segment *world_label(struct world *w, unsigned node, const struct wire_want_segment *o)
{
    struct machine *m = &w->machines[node];
    struct segment *s = world_segment(w, node, o->id);
    if (s)
        return s;
    if (m->n_segments == OBJECTS)
        world_fail("n%u: too many segments", node + 1);
    s = &m->segments[m->n_segments++];
    *s = (struct segment){
        .section = o->section, .offset_bytes = o->offset_bytes, .size_bytes = o->size_bytes, .movable = true
    };
    memcpy(s->id, o->id, sizeof s->id);
    return s;
}

bool world_range_used(const struct world *w, unsigned node, const struct wire_want_segment *o)
{
    const struct machine *m = &w->machines[node];
    unsigned first = (unsigned)(o->offset_bytes / BLOCK);
    for (unsigned b = first; b < first + o->size_bytes / BLOCK; b++)
        if (m->online[o->section][b] && m->owner[o->section][b] != hash_id(o->id))
            return true;
    return false;
}

unsigned world_blocks_online(const struct world *w, unsigned node, const struct segment *s)
{
    const struct machine *m = &w->machines[node];
    unsigned n = 0, first = (unsigned)(s->offset_bytes / BLOCK);
    for (unsigned b = first; b < first + s->size_bytes / BLOCK; b++)
        n += m->online[s->section][b] && m->owner[s->section][b] == hash_id(s->id);
    return n;
}

void world_online(struct world *w, unsigned node, struct segment *s, unsigned blocks)
{
    struct machine *m = &w->machines[node];
    unsigned first = (unsigned)(s->offset_bytes / BLOCK), n = (unsigned)(s->size_bytes / BLOCK);
    if (first + n > SECTION_BLOCKS)
        world_fail("n%u: %s lies beyond what is looked at", node + 1, s->id);
    for (unsigned b = first; b < first + n && b < first + blocks; b++) {
        struct end end = follow(w, node, s->section, b);
        if (m->online[s->section][b] && m->owner[s->section][b] == hash_id(s->id))
            continue;
        if (m->online[s->section][b])
            world_fail("n%u is told to bring %s online over the blocks of another", node + 1, s->id);
        if (!end.buffer) { /* the touch of the first block kills the machine, unless it is the story's doing */
            if (end.node == NODES)
                world_fail("n%u onlines %s, but %s", node + 1, s->id, end.why);
            world_power(w, node, false);
            return;
        }
        if (strcmp(end.buffer->id, s->id) != 0)
            world_fail("n%u onlines %s, and reaches %s", node + 1, s->id, end.buffer->id);
        uint32_t found = end.buffer->written[end.block];
        if (found && found != mark_of(node, s->id, b))
            world_fail("n%u onlines %s, and finds what another wrote there", node + 1, s->id);
        s->donor = end.node;
        s->donor_boot = w->machines[end.node].boot;
        s->donor_lender = w->machines[end.node].lender;
        m->online[s->section][b] = true;
        m->owner[s->section][b] = hash_id(s->id);
        m->wrote[s->section][b] = found;
    }
    s->quiesced = false;
    world_tell(w, "n%u: %s online, %u blocks", node + 1, s->id, blocks < n ? blocks : n);
}

void world_offline(struct world *w, unsigned node, struct segment *s, unsigned keep)
{
    struct machine *m = &w->machines[node];
    unsigned first = (unsigned)(s->offset_bytes / BLOCK), n = (unsigned)(s->size_bytes / BLOCK);
    for (unsigned b = first + n; b-- > first + keep;) {
        struct end end;
        if (m->online[s->section][b] && m->owner[s->section][b] != hash_id(s->id))
            world_fail("n%u takes blocks of another offline with %s", node + 1, s->id);
        if (m->online[s->section][b] && !check_block(w, node, s->section, b, &end)) {
            world_power(w, node, false); /* pages are read while they are moved */
            return;
        }
        m->online[s->section][b] = false;
    }
    world_tell(w, "n%u: %s offline but for %u blocks", node + 1, s->id, world_blocks_online(w, node, s));
}

void world_check_empty(const struct world *w)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        const struct machine *m = &w->machines[i];
        if (m->n_buffers)
            world_fail("n%u still lends %s", i + 1, m->buffers[0].id);
        for (size_t k = 0; k < m->n_segments; k++)
            if (world_blocks_online(w, i, &m->segments[k]))
                world_fail("n%u still has blocks of %s online", i + 1, m->segments[k].id);
        for (unsigned s = 0; s < WIRE_SECTIONS; s++)
            if (m->registers[s] && !wire_section_is_parked(m->registers[s], s))
                world_fail("n%u: section %u is still mapped", i + 1, s);
        if (m->channels[0] | m->channels[1])
            world_fail("n%u: a channel is still out of reset", i + 1);
    }
    for (unsigned p = 1; p <= SWITCH_PORTS; p++)
        if (w->joins[p])
            world_fail("port %u of the switch is still joined", p);
}
