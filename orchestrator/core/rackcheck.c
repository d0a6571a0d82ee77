/* rackcheck.c - see rackcheck.h. */
#include "rackcheck.h"

#include "lifecycle_internal.h"

#include <inttypes.h>
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

/* What agents hold and nobody knows may lie where an attachment is.  What was adopted is listed until the next report.
 */
static void check_unowned_overlap(const struct model *m, uint32_t at, struct check *c)
{
    const struct attachment *a = model_attachment(m, at);
    const struct node *donor = model_node(m, a->donor), *borrower = model_node(m, a->compute_node);
    char object[192];
    object_of("attachment", a->id, object);
    for (unsigned i = 0; a->buffer_seen && i < donor->n_unowned; i++) {
        const struct unowned *u = &donor->unowned[i];
        if (!strcmp(u->kind, "buffer") && strcmp(u->id, a->id) != 0 &&
            !strcmp(u->adapter, model_adapter(m, a->memory_adapter)->name) &&
            overlap(u->effective_addr, u->size_bytes, a->effective_addr, a->size_bytes))
            check_note(c, CHECK_VIOLATED, object, "donor %s holds buffer %s of nobody in the same range as %s",
                       donor->name, u->id, a->id);
    }
    for (unsigned i = 0; i < borrower->n_unowned; i++) {
        const struct unowned *u = &borrower->unowned[i];
        if (!strcmp(u->kind, "segment") && strcmp(u->id, a->id) != 0 &&
            !strcmp(u->adapter, model_adapter(m, a->compute_adapter)->name) && u->section == a->section &&
            overlap(u->offset_bytes, u->size_bytes, a->offset_bytes, a->size_bytes))
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
/* What died with its lender or boot is lost, and known to be, though a silent borrower may keep it from being undone.
 * What is on its way back, and of which no block is online, may have been released in the past that a restored database
 * does not know. */
static bool should_be_there(const struct model *m, const struct attachment *a)
{
    const struct adapter *ma = model_adapter(m, a->memory_adapter);
    return a->buffer_seen && !a->release_published && !a->released && a->state != ATT_LOST &&
           (a->goal == GOAL_PRESENT || lifecycle_live(m, a)) &&
           !strcmp(a->donor_boot, model_node(m, a->donor)->boot_id) &&
           (!ma->lender_id[0] || !strcmp(a->lender_id, ma->lender_id));
}

/* NULL, or what does not add up in the donor's numbers.  A commit may fall between the look at the buffers and that at
 * the memory, and the next look is a heartbeat away: bytes that are not locked yet are no violation, but not ok. */
static const char *numbers_fault(const struct model *m, const struct node *n, uint64_t attached, uint64_t held,
                                 enum check_result *r, char buf[200])
{
    uint64_t taken = attached + model_unowned_bytes(n), lendable = model_lendable_bytes(n);
    *r = CHECK_VIOLATED;
    if (attached != n->lent_bytes) {
        snprintf(buf, 200, "it lends %" PRIu64 " bytes, its attachments are %" PRIu64, n->lent_bytes, attached);
        return buf;
    }
    if (lendable && lendable + taken + n->headroom_bytes != n->free_bytes + n->locked_bytes) {
        snprintf(buf, 200,
                 "%" PRIu64 " bytes lendable, %" PRIu64 " taken and %" PRIu64 " of head-room are not the %" PRIu64
                 " free and locked",
                 lendable, taken, n->headroom_bytes, n->free_bytes + n->locked_bytes);
        return buf;
    }
    *r = CHECK_UNKNOWN;
    for (unsigned i = 0; i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(m, n->adapters[i]);
        if (a->role == WIRE_MEMORY && !a->ok) /* what its lender holds is not known */
            return NULL;
    }
    if (held > n->locked_bytes) {
        snprintf(buf, 200, "it holds buffers of %" PRIu64 " bytes and has %" PRIu64 " locked", held, n->locked_bytes);
        return buf;
    }
    return NULL;
}

/* What a donor lends, as its attachments say. */
struct lent {
    uint64_t sum, held; /* of all; of those whose buffer it reports */
    uint64_t due, seen; /* of those whose buffer has to be there; of them, as reported */
    uint64_t unsaid;    /* of those that are due in a lender that does not answer */
};

static struct lent add_up(const struct model *m, uint32_t donor)
{
    struct lent l = { 0 };
    for (uint32_t k = 0; k < model_count(m, MODEL_ATTACHMENT); k++) {
        const struct attachment *a = model_attachment(m, k);
        if (!a || a->donor != donor)
            continue;
        l.sum += a->size_bytes;
        l.held += a->now_buffer ? a->size_bytes : 0;
        if (!should_be_there(m, a))
            continue;
        bool says = a->now_buffer || model_adapter(m, a->memory_adapter)->ok;
        *(says ? &l.due : &l.unsaid) += a->size_bytes;
        l.seen += a->now_buffer ? a->size_bytes : 0;
    }
    return l;
}

static void check_lent(const struct model *m, struct check *c)
{
    char object[192], buf[200];
    enum check_result r;
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++) {
        const struct node *n = model_node(m, i);
        if (!n)
            continue;
        struct lent l = add_up(m, i);
        object_of("node", n->name, object);
        bool silent = l.unsaid || (l.due && !tells(m, i));
        const char *fault = numbers_fault(m, n, l.sum, l.held + model_unowned_bytes(n), &r, buf);
        if (fault && r == CHECK_VIOLATED)
            check_note(c, r, object, "%s: %s", n->name, fault);
        else if (!silent && l.seen != l.due)
            check_note(c, CHECK_VIOLATED, object, "%s should hold buffers of %" PRIu64 " bytes and reports %" PRIu64,
                       n->name, l.due, l.seen);
        else if (silent)
            check_note(c, CHECK_UNKNOWN, object, "%s lends %" PRIu64 " bytes and %s does not report", n->name, l.sum,
                       tells(m, i) ? "its lender" : "it");
        else
            check_note(c, fault && tells(m, i) ? r : CHECK_OK, object, "%s: %s", n->name, fault ? fault : "");
    }
}

/* ---- 3: nothing is released that the borrower could reach ---------------------------------------------------------
 */
static bool let_go(const struct attachment *a)
{
    return a->release_published || a->released;
}

/* The section's register leads somewhere, and nothing is left in the section for which it may: an attachment keeps it
 * until its own release has proof, which is a register that is parked. */
static bool leads_to_released(const struct model *m, const struct attachment *a)
{
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    const struct section *s = &ca->sections[a->section];
    if (!let_go(a) || a->step < STEP_MAP || !tells(m, a->compute_node) || !ca->ok ||
        !model_section_leads(ca, a->section) || s->n_unowned)
        return false;
    for (uint32_t i = s->first_attachment; i != NONE; i = model_attachment(m, i)->section_next)
        if (model_attachment(m, i)->step >= STEP_MAP && !let_go(model_attachment(m, i)))
            return false;
    return true;
}

static void check_released(const struct model *m, struct check *c)
{
    char object[192];
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a)
            continue;
        const struct node *borrower = model_node(m, a->compute_node);
        object_of("attachment", a->id, object);
        if (lifecycle_fenced(m, a->compute_node)) /* whatever it said last, it is off */
            check_note(c, CHECK_OK, object, " ");
        else if (a->blocks_online && let_go(a))
            check_note(c, CHECK_VIOLATED, object, "%u blocks of %s are online on %s and its buffer was released",
                       a->blocks_online, a->id, borrower->name);
        else if (leads_to_released(m, a))
            check_note(c, CHECK_VIOLATED, object, "section %u of %s still leads to %s, whose buffer was released",
                       a->section, borrower->name, a->id);
        else if (a->blocks_online && a->state != ATT_LOST && !a->now_buffer && tells(m, a->donor) &&
                 model_adapter(m, a->memory_adapter)->ok)
            check_note(c, CHECK_VIOLATED, object, "%u blocks of %s are online on %s and the donor holds no buffer",
                       a->blocks_online, a->id, borrower->name);
        else if (a->step >= STEP_ONLINE && !tells(m, a->compute_node))
            check_note(c, CHECK_UNKNOWN, object, "compute node %s does not report", borrower->name);
        else
            check_note(c, CHECK_OK, object, " ");
    }
}

/* ---- 4: attached is what both sides see ---------------------------------------------------------------------------
 */
static bool end_in_reset(const struct model *m, const struct leg *l, char buf[WIRE_TEXT])
{
    for (unsigned i = 0; i < l->n_ports; i += l->n_ports - 1) {
        const struct port *p = model_port(m, l->ports[i]);
        const struct adapter *a = model_adapter(m, p->adapter);
        if (!a->ok || (a->seen_channels >> p->number & 1))
            continue; /* of one that is not ok the way tells more */
        snprintf(buf, WIRE_TEXT, "port %u of %s/%s is in reset", p->number, model_node(m, a->node)->name, a->name);
        return true;
    }
    return false;
}

/* Its switches were read for the newest report of who drives them, which is one of now. */
static bool joins_told(const struct model *m, const struct sw *s)
{
    return s->seen && tells(m, model_find_node(m, s->managed_by));
}

static enum check_result look_at_joins(const struct model *m, const struct leg *l, char buf[WIRE_TEXT])
{
    enum check_result r = CHECK_OK;
    for (unsigned i = 1; i + 2 < l->n_ports; i += 2) {
        const struct port *a = model_port(m, l->ports[i]), *b = model_port(m, l->ports[i + 1]);
        const struct sw *s = model_switch(m, a->sw);
        if (!joins_told(m, s)) {
            snprintf(buf, WIRE_TEXT, "the joins of switch %s are not reported", s->name);
            r = CHECK_UNKNOWN;
        } else if (a->seen_peer != l->ports[i + 1]) {
            snprintf(buf, WIRE_TEXT, "switch %s does not join ports %u and %u", s->name, a->number, b->number);
            return CHECK_VIOLATED;
        }
    }
    return r;
}

/* Whether bytes travel: ends, joins, and the way between them as lifecycle_way.c knows it.  What is only feared of it,
 * and what a silent manager would have to say, is not known. */
static enum check_result look_at_circuit(const struct model *m, uint32_t at, char buf[WIRE_TEXT])
{
    const struct circuit *c = model_circuit(m, model_attachment(m, at)->circuit);
    enum check_result r = CHECK_OK;
    char why[WIRE_TEXT];
    for (unsigned k = 0; k < c->channels; k++) {
        if (end_in_reset(m, &c->legs[k], buf))
            return CHECK_VIOLATED;
        enum check_result joins = look_at_joins(m, &c->legs[k], buf);
        if (joins == CHECK_VIOLATED)
            return joins;
        r = joins > r ? joins : r;
    }
    bool dead = lifecycle_way_dead(m, at, why);
    if (dead || (why[0] && r == CHECK_OK))
        memcpy(buf, why, sizeof why);
    return dead ? CHECK_VIOLATED : why[0] ? CHECK_UNKNOWN : r;
}

static enum check_result look_at_attached(const struct model *m, uint32_t at, char buf[WIRE_TEXT])
{
    const struct attachment *a = model_attachment(m, at);
    const struct adapter *ca = model_adapter(m, a->compute_adapter);
    bool parked;
    uint64_t want = lifecycle_section_value(m, ca, a->section, &parked);
    if (!a->now_buffer)
        snprintf(buf, WIRE_TEXT, "the donor does not report its buffer");
    else if (!a->now_segment || a->blocks_online != a->blocks_total || !a->blocks_total)
        snprintf(buf, WIRE_TEXT, "%u of %u blocks are online", a->blocks_online, a->blocks_total);
    else if (!a->now_movable)
        snprintf(buf, WIRE_TEXT, "a block is not in zone Movable");
    else if (ca->ok && (parked || ca->sections[a->section].seen_value != want))
        snprintf(buf, WIRE_TEXT, "section %u holds 0x%" PRIx64 ", not 0x%" PRIx64, a->section,
                 ca->sections[a->section].seen_value, want);
    else
        return look_at_circuit(m, at, buf);
    return CHECK_VIOLATED;
}

static void check_attached(const struct model *m, struct check *c)
{
    char object[192], buf[WIRE_TEXT];
    for (uint32_t i = 0; i < model_count(m, MODEL_ATTACHMENT); i++) {
        const struct attachment *a = model_attachment(m, i);
        if (!a || a->state != ATT_ATTACHED) /* what is in quarantine is lost, and known to be */
            continue;
        object_of("attachment", a->id, object);
        uint32_t silent = !tells(m, a->compute_node) ? a->compute_node : !tells(m, a->donor) ? a->donor : NONE;
        if (silent != NONE) {
            check_note(c, CHECK_UNKNOWN, object, "node %s does not report", model_node(m, silent)->name);
            continue;
        }
        buf[0] = '\0';
        enum check_result r = look_at_attached(m, i, buf);
        check_note(c, r, object, "%s: %s", a->id, buf);
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
    if (lifecycle_fenced(m, a->node) || model_node(m, a->node)->enrolment != ENROLMENT_APPROVED)
        return; /* it is off; or it was given no order yet */
    if (!tells(m, a->node) || !a->ok) {
        check_note(c, CHECK_UNKNOWN, object, "the registers of %s/%s are not reported", node, a->name);
        return;
    }
    for (unsigned k = 0; a->role == WIRE_COMPUTE && k < a->n_sections; k++) {
        uint64_t value = a->sections[k].seen_value;
        bool leads = model_section_leads(a, k) && a->sections[k].first_attachment == NONE;
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
    object_of("switch", s->name, object);
    if (s->fenced || !s->managed_by[0])
        return; /* it is off, or nobody can have joined anything */
    if (!joins_told(m, s)) {
        check_note(c, CHECK_UNKNOWN, object, "the joins of switch %s are not reported", s->name);
        return;
    }
    for (unsigned i = 0; i < s->n_ports; i++) {
        const struct port *p = model_port(m, s->first_port + i);
        bool alone = p->seen_peer != NONE && p->circuit == NONE;
        check_note(c, alone ? CHECK_VIOLATED : CHECK_OK, object, "switch %s joins port %u and no circuit uses it",
                   s->name, p->number);
    }
}

static void check_owned(const struct model *m, struct check *c)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_NODE); i++)
        if (model_node(m, i))
            check_unowned(m, i, c);
    for (uint32_t i = 0; i < model_count(m, MODEL_ADAPTER); i++)
        if (model_adapter(m, i))
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
