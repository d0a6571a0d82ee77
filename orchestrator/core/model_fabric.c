/* model_fabric.c - what there is: nodes with adapters and ports, and the declared cabling. */
#include "model_internal.h"
#include "rackfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding ------------------------------------------------------------------------------------------------------
 */
uint32_t model_find_node(const struct model *m, const char *name)
{
    return name_index_find(m, MODEL_NODE, name);
}

uint32_t model_find_switch(const struct model *m, const char *name)
{
    return name_index_find(m, MODEL_SWITCH, name);
}

uint32_t model_find_attachment(const struct model *m, const char *id)
{
    return name_index_find(m, MODEL_ATTACHMENT, id);
}

uint32_t model_find_circuit(const struct model *m, const char *id)
{
    return name_index_find(m, MODEL_CIRCUIT, id);
}

uint32_t model_find_adapter(const struct model *m, uint32_t node, const char *name)
{
    const struct node *n = model_node(m, node);
    for (unsigned i = 0; n && i < n->n_adapters; i++) {
        const struct adapter *a = model_adapter(m, n->adapters[i]);
        if (a && !strcmp(a->name, name))
            return n->adapters[i];
    }
    return NONE;
}

uint32_t model_find_port(const struct model *m, const struct port_name *name)
{
    if (name->adapter[0]) {
        const struct adapter *a =
            model_adapter(m, model_find_adapter(m, model_find_node(m, name->owner), name->adapter));
        return a && name->number < a->n_ports ? a->ports[name->number] : NONE;
    }
    const struct sw *s = model_switch(m, model_find_switch(m, name->owner));
    return s && name->number >= 1 && name->number <= s->n_ports ? s->first_port + name->number - 1 : NONE;
}

uint32_t model_find_link(const struct model *m, uint32_t port_a, uint32_t port_b)
{
    const struct port *p = model_port(m, port_a);
    return p && model_port_peer(m, port_a) == port_b ? p->link : NONE;
}

uint32_t model_find_pair_circuit(const struct model *m, uint32_t compute_adapter, uint32_t memory_adapter)
{
    const struct adapter *a = model_adapter(m, compute_adapter);
    for (unsigned i = 0; a && i < a->n_ports; i++) {
        const struct port *p = model_port(m, a->ports[i]);
        const struct circuit *c = p ? model_circuit(m, p->circuit) : NULL;
        if (c && c->compute == compute_adapter && c->memory == memory_adapter)
            return p->circuit;
    }
    return NONE;
}

char *model_port_name(const struct model *m, uint32_t port, char buf[PORT_NAME_SIZE])
{
    const struct port *p = model_port(m, port);
    const struct adapter *a = p ? model_adapter(m, p->adapter) : NULL;
    const struct sw *s = p ? model_switch(m, p->sw) : NULL;
    const struct node *n = a ? model_node(m, a->node) : NULL;
    if (n)
        snprintf(buf, PORT_NAME_SIZE, "%s/%s/%u", n->name, a->name, p->number);
    else
        snprintf(buf, PORT_NAME_SIZE, "%s/%u", s ? s->name : "?", p ? p->number : 0);
    return buf;
}

uint32_t model_port_peer(const struct model *m, uint32_t port)
{
    const struct port *p = model_port(m, port);
    const struct link *l = p ? model_link(m, p->link) : NULL;
    return !l ? NONE : l->a == port ? l->b : l->a;
}

static bool captured_error(const struct model *m, const struct port *p)
{
    const struct adapter *a = p ? model_adapter(m, p->adapter) : NULL;
    return a && a->error_capture;
}

static bool switch_off(const struct model *m, const struct port *p)
{
    const struct sw *s = p ? model_switch(m, p->sw) : NULL;
    return s && s->fenced;
}

enum link_state model_link_state(const struct model *m, const struct link *l)
{
    const struct port *a = model_port(m, l->a), *b = model_port(m, l->b);
    if (l->down || (a && a->signal == WIRE_SIGNAL_DOWN) || (b && b->signal == WIRE_SIGNAL_DOWN))
        return LINK_DOWN;
    if (switch_off(m, a) || switch_off(m, b))
        return LINK_DOWN;
    if (captured_error(m, a) || captured_error(m, b))
        return LINK_DOWN;
    return (a && a->signal == WIRE_SIGNAL_UP) || (b && b->signal == WIRE_SIGNAL_UP) ? LINK_UP : LINK_UNKNOWN;
}

bool model_link_usable(const struct model *m, const struct link *l)
{
    return model_link_state(m, l) != LINK_DOWN;
}

/* ---- nodes and adapters -------------------------------------------------------------------------------------------
 */
int model_add_node(struct model *m, const char *name, uint32_t *out, struct err *e)
{
    if (!name_valid(name))
        return err_set(e, ERR_FIELD_INVALID, "'%.70s' is not a valid name", name);
    if (model_find_node(m, name) != NONE)
        return err_set(e, ERR_CONFLICT, "node %s is there already", name);
    if (model_find_switch(m, name) != NONE)
        return err_set(e, ERR_CONFLICT, "%s is the name of a switch", name);
    uint32_t i = model_add_row(m, MODEL_NODE);
    struct node *n = model_edit_node(m, i);
    snprintf(n->name, sizeof n->name, "%s", name);
    n->state = NODE_NEW;
    n->first_lend = n->first_borrow = NONE;
    name_index_add(m, MODEL_NODE, i);
    *out = i;
    return 0;
}

static unsigned sections_of(const struct wire_adapter *w)
{
    uint64_t n = (w->window_bytes + SECTION_BYTES - 1) / SECTION_BYTES;
    return w->role == WIRE_COMPUTE ? (unsigned)(n < WIRE_SECTIONS ? n : WIRE_SECTIONS) : 0;
}

static bool adapter_cabled(const struct model *m, const struct adapter *a)
{
    for (unsigned i = 0; i < a->n_ports; i++) {
        const struct port *p = model_port(m, a->ports[i]);
        if (p && p->link != NONE)
            return true;
    }
    return false;
}

void model_remove_adapter(struct model *m, uint32_t node, uint32_t adapter)
{
    const struct adapter *a = model_adapter(m, adapter);
    model_ban_sections(m, adapter);
    for (unsigned i = 0; i < a->n_ports; i++)
        model_remove_row(m, MODEL_PORT, a->ports[i]);
    model_remove_row(m, MODEL_ADAPTER, adapter);
    struct node *n = model_edit_node(m, node);
    unsigned k = 0;
    for (unsigned i = 0; i < n->n_adapters; i++)
        if (n->adapters[i] != adapter)
            n->adapters[k++] = n->adapters[i];
    n->n_adapters = k;
}

static void add_adapter(struct model *m, uint32_t node, const struct wire_adapter *w)
{
    uint32_t i = model_add_row(m, MODEL_ADAPTER), ports[WIRE_PORTS] = { NONE, NONE };
    for (unsigned k = 0; k < w->ports; k++) {
        ports[k] = model_add_row(m, MODEL_PORT);
        struct port *p = model_edit_port(m, ports[k]);
        p->adapter = i;
        p->sw = p->link = p->circuit = p->seen_peer = NONE;
        p->number = k;
    }
    struct adapter *a = model_edit_adapter(m, i);
    a->node = node;
    memcpy(a->name, w->name, sizeof a->name);
    a->role = w->role;
    a->n_ports = w->ports;
    memcpy(a->ports, ports, sizeof ports);
    a->window_addr = w->window_addr;
    a->window_bytes = w->window_bytes;
    a->n_sections = sections_of(w);
    for (unsigned k = 0; k < WIRE_SECTIONS; k++)
        a->sections[k].circuit = a->sections[k].first_attachment = a->sections[k].barred_donor = NONE;
    struct node *n = model_edit_node(m, node);
    n->adapters[n->n_adapters++] = i;
    model_apply_bans(m, i);
    model_count_unowned(m, i);
}

static bool listed(const struct wire_adapter *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i].name, name))
            return true;
    return false;
}

static bool window_other(const struct adapter *a, const struct wire_adapter *w)
{
    return a->window_addr != w->window_addr || a->window_bytes != w->window_bytes;
}

/* What of a known adapter is another one's now; NULL: it is the same.  The window is what somebody wrote into a file,
 * and may be corrected until it is used. */
static const char *adapter_other(const struct adapter *a, const struct wire_adapter *w)
{
    if (a->role != w->role)
        return "role";
    if (a->n_ports != w->ports)
        return "number of ports";
    return a->n_circuits && window_other(a, w) ? "window" : NULL;
}

static bool correct_window(struct model *m, uint32_t adapter, const struct wire_adapter *w)
{
    if (!window_other(model_adapter(m, adapter), w))
        return false;
    struct adapter *x = model_edit_adapter(m, adapter);
    x->window_addr = w->window_addr;
    x->window_bytes = w->window_bytes;
    x->n_sections = sections_of(w);
    return true;
}

#define WAY_OUT "forget the node when it holds nothing, then it registers anew"

int model_check_adapters(const struct model *m, uint32_t node, const struct wire_adapter *list, size_t n, struct err *e)
{
    const struct node *nd = model_node(m, node);
    bool any_known = false;
    for (size_t i = 0; i < n; i++) {
        const struct adapter *a = model_adapter(m, model_find_adapter(m, node, list[i].name));
        const char *other = a ? adapter_other(a, &list[i]) : NULL;
        if (other)
            return err_field(e, ERR_IDENTITY_CONFLICT, "adapters",
                             "adapter %s of node %s has another %s than the one that the node is bound to; " WAY_OUT,
                             a->name, nd->name, other);
        any_known |= a != NULL;
    }
    if (n && nd->n_adapters && !any_known)
        return err_field(e, ERR_IDENTITY_CONFLICT, "adapters",
                         "node %s brings adapter %s and none that it is bound to, as %s; " WAY_OUT, nd->name,
                         list[0].name, model_adapter(m, nd->adapters[0])->name);
    return 0;
}

int model_set_adapters(struct model *m, uint32_t node, const struct wire_adapter *list, size_t n, struct err *e)
{
    const struct node *nd = model_node(m, node);
    bool changed = false;
    if (n > WIRE_MAX_ADAPTERS)
        return err_set(e, ERR_FIELD_INVALID, "more than %d adapters", WIRE_MAX_ADAPTERS);
    if (model_check_adapters(m, node, list, n, e) < 0)
        return -1;
    for (unsigned i = nd->n_adapters; i-- > 0;) { /* gone ones first: their places are needed */
        uint32_t at = nd->adapters[i];
        const struct adapter *a = model_adapter(m, at);
        if (listed(list, n, a->name))
            continue;
        if (!a->n_circuits && !adapter_cabled(m, a)) {
            model_remove_adapter(m, node, at);
            changed = true;
        } else {
            model_touch_adapter(m, at)->seen = false; /* it may come back; its cables and circuits are still there */
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i].ports < 1 || list[i].ports > WIRE_PORTS)
            return err_set(e, ERR_FIELD_INVALID, "adapter %s: from 1 to %d ports", list[i].name, WIRE_PORTS);
        uint32_t at = model_find_adapter(m, node, list[i].name);
        if (at != NONE) {
            changed |= correct_window(m, at, &list[i]);
            continue;
        }
        if (model_node(m, node)->n_adapters >= WIRE_MAX_ADAPTERS)
            return err_set(e, ERR_CONFLICT, "more than %d adapters, gone but cabled ones included", WIRE_MAX_ADAPTERS);
        add_adapter(m, node, &list[i]);
        changed = true;
    }
    m->topology_version += changed;
    m->cabling_version += changed;
    return 0;
}

/* A new shared block that holds the list; NULL for an empty one. */
static void *shared_list(const void *list, size_t size_bytes)
{
    void *block = size_bytes ? shared_new(size_bytes) : NULL;
    if (block)
        memcpy(block, list, size_bytes);
    return block;
}

int model_set_labels(struct model *m, uint32_t node, const struct wire_label *list, size_t n, struct err *e)
{
    if (n > WIRE_MAX_LABELS)
        return err_set(e, ERR_FIELD_INVALID, "more than %d labels", WIRE_MAX_LABELS);
    for (size_t i = 0; i < n; i++)
        if (!label_key_valid(list[i].key))
            return err_set(e, ERR_FIELD_INVALID, "'%s' is not a valid name of a label", list[i].key);
        else if (!label_valid(list[i].value))
            return err_set(e, ERR_FIELD_INVALID, "the value of label %s is not valid", list[i].key);
    const struct node *old = model_node(m, node);
    if (old->n_labels == n && (!n || !memcmp(old->labels, list, n * sizeof *list)))
        return 0;
    struct node *nd = model_edit_node(m, node);
    shared_release(nd->labels);
    nd->labels = shared_list(list, n * sizeof *list);
    nd->n_labels = (unsigned)n;
    return 0;
}

int model_set_findings(struct model *m, uint32_t node, const struct wire_finding *list, size_t n, struct err *e)
{
    if (n > WIRE_MAX_FINDINGS)
        return err_set(e, ERR_FIELD_INVALID, "more than %d findings", WIRE_MAX_FINDINGS);
    const struct node *old = model_node(m, node);
    if (old->n_findings == n && (!n || !memcmp(old->findings, list, n * sizeof *list)))
        return 0;
    struct node *nd = model_touch_node(m, node);
    shared_release(nd->findings);
    nd->findings = shared_list(list, n * sizeof *list);
    nd->n_findings = (unsigned)n;
    return 0;
}

void model_set_drives(struct model *m, uint32_t node, const char (*names)[NAME_SIZE], unsigned n)
{
    struct node *nd = model_touch_node(m, node);
    shared_release(nd->drives);
    nd->drives = shared_list(names, n * sizeof *names);
    nd->n_drives = n;
}

void model_set_node_state(struct model *m, uint32_t node, enum node_state state, const char *reason)
{
    const struct node *n = model_node(m, node);
    char object[NAME_SIZE + 8];
    if (n->state == state)
        return;
    snprintf(object, sizeof object, "node/%s", n->name);
    model_emit(m, "node.state", object, node_state_names[n->state], node_state_names[state], reason);
    model_edit_node(m, node)->state = state;
}

void model_remove_link(struct model *m, uint32_t link)
{
    const struct link *l = model_link(m, link);
    uint32_t ends[2] = { l->a, l->b };
    for (int i = 0; i < 2; i++)
        if (model_port(m, ends[i]))
            model_edit_port(m, ends[i])->link = NONE;
    model_remove_row(m, MODEL_LINK, link);
}

/* ---- declared cabling ---------------------------------------------------------------------------------------------
 */
static const struct rack_switch *declared_switch(const struct rack *r, const char *name)
{
    for (size_t i = 0; i < r->n_switches; i++)
        if (!strcmp(r->switches[i].name, name))
            return &r->switches[i];
    return NULL;
}

static bool switch_in_use(const struct model *m, const struct sw *s)
{
    for (unsigned i = 0; i < s->n_ports; i++)
        if (model_port(m, s->first_port + i)->circuit != NONE)
            return true;
    return false;
}

static void remove_switch(struct model *m, uint32_t at)
{
    struct sw s = *model_switch(m, at);
    for (unsigned i = 0; i < s.n_ports; i++) {
        const struct port *p = model_port(m, s.first_port + i);
        if (p->link != NONE)
            model_remove_link(m, p->link);
        model_remove_row(m, MODEL_PORT, s.first_port + i);
    }
    model_remove_row(m, MODEL_SWITCH, at);
}

static void add_switch(struct model *m, const struct rack_switch *d)
{
    uint32_t first = model_add_rows(m, MODEL_PORT, d->ports), at = model_add_row(m, MODEL_SWITCH);
    for (unsigned i = 0; i < d->ports; i++) {
        struct port *p = model_edit_port(m, first + i);
        p->adapter = p->link = p->circuit = p->seen_peer = NONE;
        p->sw = at;
        p->number = i + 1;
    }
    struct sw *s = model_edit_switch(m, at);
    memcpy(s->name, d->name, sizeof s->name);
    memcpy(s->managed_by, d->managed_by, sizeof s->managed_by);
    s->n_ports = d->ports;
    s->first_port = first;
    s->latency_ns = d->latency_ns;
    name_index_add(m, MODEL_SWITCH, at);
}

/* Nobody drives the switch any more: another node may take it over, even in use. */
static bool manager_is_off(const struct model *m, const struct sw *s)
{
    const struct node *n = model_node(m, model_find_node(m, s->managed_by));
    return !n || n->state == NODE_FENCED;
}

static int declare_switch(struct model *m, const struct rack_switch *d, struct err *e)
{
    if (model_find_node(m, d->name) != NONE)
        return err_set(e, ERR_FIELD_INVALID, "switch %s has the name of a node", d->name);
    if (d->managed_by[0] && model_find_node(m, d->managed_by) == NONE)
        return err_set(e, ERR_BODY_NODE_UNKNOWN, "switch %s is managed by %s, which no agent has registered", d->name,
                       d->managed_by);
    uint32_t at = model_find_switch(m, d->name);
    const struct sw *s = model_switch(m, at);
    if (s && s->n_ports != d->ports) {
        if (switch_in_use(m, s))
            return err_set(e, ERR_CONFLICT, "switch %s changes its number of ports, but circuits use it", d->name);
        remove_switch(m, at);
        s = NULL;
    }
    if (!s) {
        add_switch(m, d);
    } else if (s->latency_ns != d->latency_ns || strcmp(s->managed_by, d->managed_by) != 0) {
        bool moves = strcmp(s->managed_by, d->managed_by) != 0;
        if (moves && switch_in_use(m, s) && !manager_is_off(m, s))
            return err_set(e, ERR_CONFLICT, "switch %s changes its manager, but circuits use it, and %s is not fenced",
                           d->name, s->managed_by);
        struct sw *x = model_edit_switch(m, at);
        x->seen = x->seen && !moves; /* whoever drives it now reads it first */
        x->latency_ns = d->latency_ns;
        memcpy(x->managed_by, d->managed_by, sizeof x->managed_by);
    }
    return 0;
}

static int drop_switches(struct model *m, const struct rack *r, struct err *e)
{
    for (uint32_t i = 0; i < model_count(m, MODEL_SWITCH); i++) {
        const struct sw *s = model_switch(m, i);
        if (!s || declared_switch(r, s->name))
            continue;
        if (switch_in_use(m, s))
            return err_set(e, ERR_CONFLICT, "switch %s is in use by a circuit", s->name);
        remove_switch(m, i);
    }
    return 0;
}

static int resolve_port(const struct model *m, const struct port_name *name, size_t link, uint32_t *out, struct err *e)
{
    char text[PORT_NAME_SIZE], field[64];
    *out = model_find_port(m, name);
    if (*out != NONE)
        return 0;
    port_name_format(name, text);
    snprintf(field, sizeof field, "links[%zu]", link);
    if (name->adapter[0] && model_find_node(m, name->owner) == NONE)
        return err_field(e, ERR_BODY_NODE_UNKNOWN, field, "%s names port %s, but no agent has registered node %s",
                         field, text, name->owner);
    return err_field(e, ERR_FIELD_INVALID, field, "%s names port %s, which does not exist", field, text);
}

struct cable {
    uint32_t a, b, old; /* old: an existing link between the same ports */
};

/* Every link that is declared no more goes, unless a circuit uses it; ports are free for new ones then. */
static int drop_links(struct model *m, const struct cable *cables, size_t n, struct err *e)
{
    uint32_t count = model_count(m, MODEL_LINK);
    CLEANUP(cleanup_free) bool *keep = model_alloc(NULL, count + 1);
    memset(keep, 0, count + 1);
    for (size_t i = 0; i < n; i++)
        if (cables[i].old != NONE)
            keep[cables[i].old] = true;
    for (uint32_t i = 0; i < count; i++) {
        const struct link *l = model_link(m, i);
        char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE];
        if (!l || keep[i])
            continue;
        if (model_port(m, l->a)->circuit != NONE)
            return err_set(e, ERR_CONFLICT, "the link from %s to %s is in use by a circuit",
                           model_port_name(m, l->a, a), model_port_name(m, l->b, b));
        model_remove_link(m, i);
    }
    return 0;
}

static int add_link(struct model *m, const struct rack_link *d, const struct cable *c, size_t index, struct err *e)
{
    char name[PORT_NAME_SIZE], field[64];
    snprintf(field, sizeof field, "links[%zu]", index);
    uint32_t ends[2] = { c->a, c->b }, at = c->old;
    if (at == NONE) {
        for (int i = 0; i < 2; i++)
            if (c->a == c->b || model_port(m, ends[i])->link != NONE)
                return err_field(e, ERR_FIELD_INVALID, field, "%s: port %s is cabled twice", field,
                                 model_port_name(m, ends[i], name));
        at = model_add_row(m, MODEL_LINK);
        for (int i = 0; i < 2; i++)
            model_edit_port(m, ends[i])->link = at;
        struct link *l = model_edit_link(m, at);
        l->a = c->a;
        l->b = c->b;
    } else if (model_link(m, at)->latency_ns == d->latency_ns && model_link(m, at)->gbps == d->gbps) {
        return 0;
    }
    struct link *l = model_edit_link(m, at);
    l->latency_ns = d->latency_ns;
    l->gbps = d->gbps;
    return 0;
}

int model_declare(struct model *m, const struct rack *r, struct err *e)
{
    if (drop_switches(m, r, e) < 0)
        return -1;
    for (size_t i = 0; i < r->n_switches; i++)
        if (declare_switch(m, &r->switches[i], e) < 0)
            return -1;
    CLEANUP(cleanup_free) struct cable *cables = model_alloc(NULL, (r->n_links + 1) * sizeof *cables);
    for (size_t i = 0; i < r->n_links; i++) {
        if (resolve_port(m, &r->links[i].a, i, &cables[i].a, e) < 0 ||
            resolve_port(m, &r->links[i].b, i, &cables[i].b, e) < 0)
            return -1;
        cables[i].old = model_find_link(m, cables[i].a, cables[i].b);
    }
    if (drop_links(m, cables, r->n_links, e) < 0)
        return -1;
    for (size_t i = 0; i < r->n_links; i++)
        if (add_link(m, &r->links[i], &cables[i], i, e) < 0)
            return -1;
    m->topology_version++;
    m->cabling_version++;
    return 0;
}

void model_set_link_down(struct model *m, uint32_t link, bool down)
{
    const struct link *l = model_link(m, link);
    if (l->down == down)
        return;
    enum link_state before = model_link_state(m, l);
    model_edit_link(m, link)->down = down;
    model_link_changed(m, link, before);
}

bool model_emit_link(struct model *m, uint32_t link, enum link_state before)
{
    const struct link *l = model_link(m, link);
    enum link_state now = model_link_state(m, l);
    char a[PORT_NAME_SIZE], b[PORT_NAME_SIZE], object[192];
    if (now == before)
        return false;
    if ((now == LINK_DOWN) != (before == LINK_DOWN))
        m->topology_version++;
    snprintf(object, sizeof object, "link/%.90s %.90s", model_port_name(m, l->a, a), model_port_name(m, l->b, b));
    bool off = switch_off(m, model_port(m, l->a)) || switch_off(m, model_port(m, l->b));
    bool captured = captured_error(m, model_port(m, l->a)) || captured_error(m, model_port(m, l->b));
    model_emit(m, "link.state", object, link_state_names[before], link_state_names[now],
               l->down    ? "operator"
               : off      ? "the switch was fenced"
               : captured ? "error capture"
                          : "signal");
    return true;
}

void model_link_changed(struct model *m, uint32_t link, enum link_state before)
{
    bool is_down = model_link_state(m, model_link(m, link)) == LINK_DOWN;
    if (model_emit_link(m, link, before) && is_down != (before == LINK_DOWN))
        model_danger_changed(m, link);
}
