/* rackcheck.c - see rackcheck.h. */
#include "rackcheck.h"

#include "lifecycle_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GRACE_MS 660000 /* what nobody owns is collected after ten minutes, and that takes a moment */

const char *const check_result_names[] = { "ok", "unknown", "violated", NULL };

void check_note(struct check *c, enum check_result r, const char *object, const char *fmt, ...)
{
    c->n_checked++;
    c->n_unknown += r == CHECK_UNKNOWN;
    c->n_violated += r == CHECK_VIOLATED;
    if (r == CHECK_OK)
        return;
    if (r > c->result) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(c->detail, sizeof c->detail, fmt, ap);
        va_end(ap);
        c->result = r;
    }
    if (c->n_objects < CHECK_OBJECTS_MAX)
        snprintf(c->objects[c->n_objects++], sizeof c->objects[0], "%s", object);
}

static const char *object_of(const char *kind, const char *name, char buf[192])
{
    snprintf(buf, 192, "%s/%s", kind, name);
    return buf;
}

/* The node's last report is one of now: its session lives, and it has taken up the newest orders. */
static bool tells(const struct model *m, uint32_t node)
{
    const struct node *n = model_node(m, node);
    return n && lifecycle_fresh(m, node, n->desired_revision);
}

/* ---- 1: nothing is given twice ------------------------------------------------------------------------------------
 */
static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

/* What agents hold and nobody knows may lie where an attachment is. */
static void check_unowned_overlap(const struct model *m, uint32_t at, struct check *c)
{
    const struct attachment *a = model_attachment(m, at);
    const struct node *donor = model_node(m, a->donor), *borrower = model_node(m, a->compute_node);
    char object[192];
    object_of("attachment", a->id, object);
    for (unsigned i = 0; a->buffer_seen && i < donor->n_unowned; i++) {
        const struct unowned *u = &donor->unowned[i];
        if (!strcmp(u->kind, "buffer") && !strcmp(u->adapter, model_adapter(m, a->memory_adapter)->name) &&
            overlap(u->effective_addr, u->size_bytes, a->effective_addr, a->size_bytes))
            check_note(c, CHECK_VIOLATED, object, "donor %s holds buffer %s of nobody in the same range as %s",
                       donor->name, u->id, a->id);
    }
    for (unsigned i = 0; i < borrower->n_unowned; i++) {
        const struct unowned *u = &borrower->unowned[i];
        if (!strcmp(u->kind, "segment") && !strcmp(u->adapter, model_adapter(m, a->compute_adapter)->name) &&
            u->section == a->section && overlap(u->offset_bytes, u->size_bytes, a->offset_bytes, a->size_bytes))
            check_note(c, CHECK_VIOLATED, object, "compute node %s has blocks of nobody in the range of %s",
                       borrower->name, a->id);
    }
}

static void check_buffers_overlap(const struct model *m, uint32_t at, struct check *c)
{
    const struct attachment *a = model_attachment(m, at);
    char object[192];
    for (uint32_t i = at + 1; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *b = model_attachment(m, i);
        if (b && b->memory_adapter == a->memory_adapter && a->buffer_seen && b->buffer_seen && !a->released &&
            !b->released && overlap(a->effective_addr, a->size_bytes, b->effective_addr, b->size_bytes))
            check_note(c, CHECK_VIOLATED, object_of("attachment", a->id, object),
                       "the buffers of %s and %s overlap on donor %s", a->id, b->id, model_node(m, a->donor)->name);
    }
}

static void check_given_once(const struct model *m, struct check *c)
{
    struct err e;
    bool good = model_check(m, &e) == 0;
    check_note(c, good ? CHECK_OK : CHECK_VIOLATED, "orchestrator", "%s", good ? "" : e.detail);
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        if (!model_attachment(m, i))
            continue;
        check_note(c, CHECK_OK, "", " ");
        check_buffers_overlap(m, i, c);
        check_unowned_overlap(m, i, c);
    }
}

/* ---- 2: what donors report is what is lent ------------------------------------------------------------------------
 */
static bool should_be_there(const struct attachment *a)
{
    return a->buffer_seen && !a->release_published && !a->released && a->state != ATT_LOST;
}

static void check_lent(const struct model *m, struct check *c)
{
    char object[192];
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        uint64_t sum = 0, seen = 0, due = 0;
        if (!n)
            continue;
        for (uint32_t k = 0; k < model_count(m, MODEL_ATTACHMENT); k++) {
            const struct attachment *a = model_attachment(m, k);
            if (!a || a->donor != i)
                continue;
            sum += a->size_bytes;
            due += should_be_there(a) ? a->size_bytes : 0;
            seen += should_be_there(a) && a->now_buffer ? a->size_bytes : 0;
        }
        object_of("node", n->name, object);
        if (sum != n->lent_bytes)
            check_note(c, CHECK_VIOLATED, object, "%s lends %llu bytes, its attachments are %llu", n->name,
                       (unsigned long long)n->lent_bytes, (unsigned long long)sum);
        else if (due && !tells(m, i))
            check_note(c, CHECK_UNKNOWN, object, "%s lends %llu bytes and does not report", n->name,
                       (unsigned long long)due);
        else
            check_note(c, seen == due ? CHECK_OK : CHECK_VIOLATED, object,
                       "%s should hold buffers of %llu bytes and reports %llu", n->name, (unsigned long long)due,
                       (unsigned long long)seen);
    }
}

/* ---- 3: nothing is released that the borrower could reach ---------------------------------------------------------
 */
static void check_released(const struct model *m, struct check *c)
{
    char object[192];
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a)
            continue;
        const struct node *borrower = model_node(m, a->compute_node);
        object_of("attachment", a->id, object);
        bool let_go = a->release_published || a->released;
        if (a->blocks_online && let_go && !lifecycle_fenced(m, a->compute_node))
            check_note(c, CHECK_VIOLATED, object, "%u blocks of %s are online on %s and its buffer was released",
                       a->blocks_online, a->id, borrower->name);
        else if (a->blocks_online && a->state != ATT_LOST && !a->now_buffer && tells(m, a->donor) &&
                 model_adapter(m, a->memory_adapter)->ok)
            check_note(c, CHECK_VIOLATED, object, "%u blocks of %s are online on %s and the donor holds no buffer",
                       a->blocks_online, a->id, borrower->name);
        else if (a->step >= STEP_ONLINE && !tells(m, a->compute_node) && !lifecycle_fenced(m, a->compute_node))
            check_note(c, CHECK_UNKNOWN, object, "compute node %s does not report", borrower->name);
        else
            check_note(c, CHECK_OK, object, " ");
    }
}

/* ---- 4: attached is what both sides see ---------------------------------------------------------------------------
 */
/* NULL, or what is missing of the circuit's way. */
static const char *circuit_fault(const struct model *m, const struct circuit *c, char buf[160])
{
    for (unsigned k = 0; k < c->channels; k++) {
        const struct leg *l = &c->legs[k];
        for (unsigned i = 0; i < l->n_ports; i += l->n_ports - 1) {
            const struct port *p = model_port(m, l->ports[i]);
            const struct adapter *a = model_adapter(m, p->adapter);
            if (a->ok && (a->seen_channels >> p->number & 1))
                continue;
            snprintf(buf, 160, "port %u of %s/%s is in reset", p->number, model_node(m, a->node)->name, a->name);
            return buf;
        }
        for (unsigned i = 1; i + 2 < l->n_ports; i += 2) {
            const struct sw *s = model_switch(m, model_port(m, l->ports[i])->sw);
            uint32_t manager = model_find_node(m, s->managed_by);
            if (!tells(m, manager) || model_port(m, l->ports[i])->seen_peer == l->ports[i + 1])
                continue;
            snprintf(buf, 160, "switch %s does not join ports %u and %u", s->name, model_port(m, l->ports[i])->number,
                     model_port(m, l->ports[i + 1])->number);
            return buf;
        }
    }
    return NULL;
}

static const char *attached_fault(const struct model *m, const struct attachment *a, char buf[160])
{
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    bool parked;
    uint64_t want = lifecycle_section_value(m, ca, a->section, &parked);
    if (!a->now_buffer)
        return "the donor does not report its buffer";
    if (!a->now_segment || a->blocks_online != a->blocks_total || !a->blocks_total) {
        snprintf(buf, 160, "%u of %u blocks are online", a->blocks_online, a->blocks_total);
        return buf;
    }
    if (!a->now_movable)
        return "a block is not in zone Movable";
    if (parked || ca->sections[a->section].seen_value != want) {
        snprintf(buf, 160, "section %u holds 0x%llx, not 0x%llx", a->section,
                 (unsigned long long)ca->sections[a->section].seen_value, (unsigned long long)want);
        return buf;
    }
    return circuit_fault(m, model_circuit(m, a->circuit), buf);
}

static void check_attached(const struct model *m, struct check *c)
{
    char object[192], buf[160];
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a || a->state != ATT_ATTACHED)
            continue;
        object_of("attachment", a->id, object);
        uint32_t silent = !tells(m, a->compute_node) ? a->compute_node : !tells(m, a->donor) ? a->donor : NONE;
        if (silent != NONE) {
            check_note(c, CHECK_UNKNOWN, object, "node %s does not report", model_node(m, silent)->name);
            continue;
        }
        const char *fault = attached_fault(m, a, buf);
        check_note(c, fault ? CHECK_VIOLATED : CHECK_OK, object, "%s: %s", a->id, fault ? fault : "");
    }
}

/* ---- 5: nothing is without an owner -------------------------------------------------------------------------------
 */
static void check_unowned(const struct model *m, uint32_t node, struct check *c)
{
    const struct node *n = model_node(m, node);
    char object[192];
    for (unsigned i = 0; i < n->n_unowned; i++) {
        const struct unowned *u = &n->unowned[i];
        int64_t age_ms = m->now_ms - u->since_ms;
        uint32_t borrower = model_find_node(m, u->compute_node); /* while it is silent there is no proof */
        bool due = age_ms > lifecycle_scaled(m, GRACE_MS) && u->id[0] && !strcmp(u->kind, "buffer") &&
                   borrower != NONE && tells(m, borrower);
        snprintf(object, sizeof object, "node/%s %s %s", n->name, u->kind, u->id);
        check_note(c, due ? CHECK_VIOLATED : CHECK_UNKNOWN, object,
                   "%s holds %s %s (%llu bytes) without an owner for %lld s", n->name, u->kind, u->id,
                   (unsigned long long)u->size_bytes, (long long)(age_ms / 1000));
    }
}

static void check_registers(const struct model *m, uint32_t adapter, struct check *c)
{
    const struct adapter *a = model_adapter(m, adapter);
    const char *node = model_node(m, a->node)->name;
    char object[192];
    snprintf(object, sizeof object, "adapter/%s/%s", node, a->name);
    for (unsigned k = 0; a->role == WIRE_COMPUTE && k < a->n_sections; k++) {
        uint64_t value = a->sections[k].seen_value;
        bool leads = value && !wire_section_is_parked(value, k) && a->sections[k].first_attachment == NONE;
        check_note(c, leads ? CHECK_VIOLATED : CHECK_OK, object, "section %u of %s/%s holds 0x%llx and is nobody's", k,
                   node, a->name, (unsigned long long)value);
    }
    for (unsigned p = 0; p < a->n_ports; p++) {
        bool up = (a->seen_channels >> p & 1) && model_port(m, a->ports[p])->circuit == NONE;
        check_note(c, up ? CHECK_VIOLATED : CHECK_OK, object, "port %u of %s/%s is out of reset and in no circuit", p,
                   node, a->name);
    }
}

static void check_joins(const struct model *m, uint32_t sw, struct check *c)
{
    const struct sw *s = model_switch(m, sw);
    char object[192];
    if (!tells(m, model_find_node(m, s->managed_by)))
        return;
    for (unsigned i = 0; i < s->n_ports; i++) {
        const struct port *p = model_port(m, s->first_port + i);
        bool alone = p->seen_peer != NONE && p->circuit == NONE;
        check_note(c, alone ? CHECK_VIOLATED : CHECK_OK, object_of("switch", s->name, object),
                   "switch %s joins port %u and no circuit uses it", s->name, p->number);
    }
}

static void check_owned(const struct model *m, struct check *c)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i))
            check_unowned(m, i, c);
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++)
        if (model_adapter(m, i) && model_adapter(m, i)->ok && tells(m, model_adapter(m, i)->node))
            check_registers(m, i, c);
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++)
        if (model_switch(m, i))
            check_joins(m, i, c);
}

void rackcheck(const struct model *m, struct check out[RACKCHECK_N])
{
    static const struct {
        const char *name;
        void (*run)(const struct model *m, struct check *c);
    } all[RACKCHECK_N] = {
        { "given_once", check_given_once },        { "lent_is_held", check_lent },
        { "released_with_proof", check_released }, { "attached_is_seen", check_attached },
        { "nothing_unowned", check_owned },
    };
    for (unsigned i = 0; i < RACKCHECK_N; i++) {
        memset(&out[i], 0, sizeof out[i]);
        out[i].invariant = i + 1;
        out[i].name = all[i].name;
        all[i].run(m, &out[i]);
    }
}
