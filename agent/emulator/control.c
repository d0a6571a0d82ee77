/* control.c - see control.h.  A command is a row of the table at the end: its words, and a function that fills an
 * object. */
#include "control.h"

#include "blocks.h"
#include "donor.h"
#include "fabric.h"
#include "json.h"
#include "power.h"
#include "segments.h"
#include "status.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 6
#define LOAD_TICK_MS 100

struct control {
    struct emulator *em;
    struct listener listener;
    struct loop_timer load;
};

const char control_help[] =
    "  link A B up|down                     the cable between two ports (node/adapter/port or switch/port)\n"
    "  block NODE N ok|ebusy|enomem|hang|wedge  what the kernel answers when memory block N changes\n"
    "  power NODE on|off                    the machine, its processes, registers and memory\n"
    "  adapter NODE/ADAPTER ok|error        whether the card answers\n"
    "  slow NODE MS                         every answer of the node's hardware and files comes later\n"
    "  peek NODE ADDRESS                    128 bytes of borrowed memory\n"
    "  poke NODE ADDRESS HEX                writes up to 128 bytes of borrowed memory\n"
    "  writeback NODE ADDRESS               a cache line that is written back late, whatever its block's state\n"
    "  load NODE ID BYTES_PER_S             traffic on an attachment, for the counters; 0 ends it\n"
    "  register NODE/ADAPTER OFFSET [VALUE] looks at, or plants, a register without side effects\n"
    "  status                               everything, as JSON\n";

static int set(json_t *out, const char *key, json_t *value, struct err *e)
{
    return json_object_set_new(out, key, value) < 0 ? err_set(e, ERR_INTERNAL, "out of memory") : 0;
}

/* ---- arguments ---- */
static struct box_node *node_arg(struct emulator *em, const char *name, struct err *e)
{
    struct box_node *n = box_node_find(em->box, name);

    if (!n && err_set(e, ERR_NODE_UNKNOWN, "there is no node %.64s", name) < 0)
        return NULL;
    return n;
}

static struct box_adapter *adapter_arg(struct emulator *em, char *name, struct err *e)
{
    char *slash = strchr(name, '/');
    struct box_adapter *a = NULL;
    struct box_node *n;

    if (slash)
        *slash = '\0';
    n = node_arg(em, name, e);
    if (!n)
        return NULL;
    a = slash ? box_adapter_find(n, slash + 1) : NULL;
    if (!a && err_set(e, ERR_NOT_FOUND, "there is no adapter %.64s on %.64s", slash ? slash + 1 : "", name) < 0)
        return NULL;
    return a;
}

static int word_arg(const char *word, const char *const *names, int n, struct err *e)
{
    for (int i = 0; i < n; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    return err_set(e, ERR_FIELD_INVALID, "%.40s is not known here", word);
}

static int port_arg(struct emulator *em, const char *text, struct err *e)
{
    struct port_name name;
    int port;

    if (port_name_parse(text, &name, e) < 0)
        return -1;
    port = box_port_find(em->box, &name);
    return port >= 0 ? port : err_set(e, ERR_NOT_FOUND, "there is no port %.100s", text);
}

/* ---- commands ---- */
static int cmd_link(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    static const char *const states[] = { "down", "up" };
    int port_a = port_arg(em, words[1], e), port_b, up;

    (void)n;
    (void)out;
    if (port_a < 0 || (port_b = port_arg(em, words[2], e)) < 0 || (up = word_arg(words[3], states, 2, e)) < 0)
        return -1;
    return fabric_link_set(em->box, port_a, port_b, up, e);
}

/* Says which blocks there could be. */
static int no_such_block(const struct box_node *node, uint64_t number, struct err *e)
{
    char windows[120] = "it has no window";

    for (unsigned i = 0, len = 0; i < node->n_adapters && len < sizeof windows; i++) {
        const struct box_adapter *a = &node->adapters[i];
        uint64_t first = a->n_blocks ? blocks_number(a, 0) : 0;

        if (a->n_blocks)
            len += (unsigned)snprintf(windows + len, sizeof windows - len, "%sblocks %llu to %llu",
                                      len ? ", " : "its windows hold ", (unsigned long long)first,
                                      (unsigned long long)(first + a->n_blocks - 1));
    }
    return err_set(e, ERR_NOT_FOUND, "%.64s cannot borrow a memory block %llu: %s", node->spec->name,
                   (unsigned long long)number, windows);
}

static int cmd_block(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    static const char *const faults[] = { "ok", "ebusy", "enomem", "hang", "wedge" };
    struct box_node *node = node_arg(em, words[1], e);
    uint64_t number;
    int fault;

    (void)n;
    (void)out;
    if (!node || units_parse_u64(words[2], &number, e) < 0 ||
        (fault = word_arg(words[3], faults, ARRAY_LEN(faults), e)) < 0)
        return -1;
    if (!blocks_set_fault(node, number, (enum blocks_fault)fault))
        return no_such_block(node, number, e);
    sysmem_retry(em->sysmem);
    return 0;
}

static int cmd_power(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    static const char *const states[] = { "off", "on" };
    struct box_node *node = node_arg(em, words[1], e);
    int on;

    (void)n;
    if (!node || (on = word_arg(words[2], states, 2, e)) < 0)
        return -1;
    if (on && node->vm)
        return err_set(e, ERR_CONFLICT, "%s is a virtual machine: start it", words[1]);
    if (!on)
        power_off(em, node, "ctl");
    else if (power_on(em, node, e) < 0)
        return -1;
    return set(out, "boot_id", json_string(node->state->boot_id), e);
}

static int cmd_adapter(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    static const char *const states[] = { "ok", "error" };
    struct box_adapter *a = adapter_arg(em, words[1], e);
    int error;

    (void)n;
    (void)out;
    if (!a || (error = word_arg(words[2], states, 2, e)) < 0)
        return -1;
    *a->error = (uint8_t)error;
    box_changed(em->box, NULL);
    return 0;
}

static int cmd_slow(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    struct box_node *node = node_arg(em, words[1], e);
    uint64_t ms;

    (void)n;
    (void)out;
    if (!node || units_parse_u64(words[2], &ms, e) < 0)
        return -1;
    if (ms > 600000)
        return err_set(e, ERR_FIELD_INVALID, "at most 600000 ms");
    node->slow_ms = (unsigned)ms;
    return 0;
}

/* Borrowed address -> adapter; the block has to be online, or the kernel would never send anything. */
static struct box_adapter *address_arg(struct box_node *node, const char *text, bool online, uint64_t *offset,
                                       struct err *e)
{
    struct box_adapter *a;
    struct block b;
    uint64_t addr;
    int rc = 0;

    if (units_parse_addr(text, &addr, e) < 0)
        return NULL;
    a = box_window_find(node, addr);
    if (!node->state->on)
        rc = err_set(e, ERR_UNAVAILABLE, "%s is off", node->spec->name);
    else if (!a)
        rc = err_set(e, ERR_FIELD_INVALID, "0x%llx is in no window", (unsigned long long)addr);
    else if (online && !node->vm && (!blocks_get(node, addr / node->spec->block_bytes, &b) || b.state != BLOCKS_ONLINE))
        rc = err_set(e, ERR_CONFLICT, "the memory block of 0x%llx is not online", (unsigned long long)addr);
    if (rc < 0)
        return NULL;
    *offset = addr - a->spec->window_addr;
    return a;
}

/* A transaction as the machine makes it: when nobody answers, the node is fenced. */
static int transact(struct emulator *em, struct box_adapter *a, uint64_t offset, void *data, size_t len, bool write,
                    struct err *e)
{
    enum fabric_result r = fabric_transfer(a, offset, data, len, write);
    bool parked =
        r == FABRIC_UNTRANSLATED &&
        wire_section_is_parked(a->regs->section[offset >> ADAPTER_SECTION_SHIFT & 7], (unsigned)(offset >> 40 & 7));

    if (r == FABRIC_OK)
        return 0;
    if (r == FABRIC_DEAD || parked)
        power_off(em, a->node, parked ? "a transaction reached a parked section" : "a transaction was not answered");
    return err_set(e, ERR_HARDWARE, "%s%s", parked ? "parked" : fabric_result_name(r),
                   r == FABRIC_DEAD || parked ? ": the node is fenced" : "");
}

static int line_hex(const unsigned char *line, size_t len, json_t *out, struct err *e)
{
    char hex[2 * ADAPTER_LINE_BYTES + 1];

    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", line[i]);
    return set(out, "data", json_string(hex), e);
}

static int cmd_peek(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    struct box_node *node = node_arg(em, words[1], e);
    unsigned char line[ADAPTER_LINE_BYTES];
    struct box_adapter *a;
    uint64_t offset;

    (void)n;
    if (!node || !(a = address_arg(node, words[2], true, &offset, e)))
        return -1;
    if (offset % sizeof line != 0)
        return err_set(e, ERR_FIELD_INVALID, "transactions are 128 bytes, aligned to 128 bytes");
    if (transact(em, a, offset, line, sizeof line, false, e) < 0)
        return -1;
    return line_hex(line, sizeof line, out, e);
}

static int parse_hex_bytes(const char *hex, unsigned char *out, size_t max, size_t *len, struct err *e)
{
    size_t digits = strlen(hex);

    if (digits == 0 || digits % 2 != 0 || digits / 2 > max)
        return err_set(e, ERR_FIELD_INVALID, "1 to %zu bytes as hex digits", max);
    for (size_t i = 0; i < digits; i += 2) {
        unsigned byte;
        int end = 0;

        if (sscanf(hex + i, "%2x%n", &byte, &end) != 1 || end != 2)
            return err_set(e, ERR_FIELD_INVALID, "not hex digits");
        out[i / 2] = (unsigned char)byte;
    }
    *len = digits / 2;
    return 0;
}

static int cmd_poke(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    struct box_node *node = node_arg(em, words[1], e);
    unsigned char data[ADAPTER_LINE_BYTES];
    struct box_adapter *a;
    uint64_t offset;
    size_t len = 0;

    (void)n;
    (void)out;
    if (!node || !(a = address_arg(node, words[2], true, &offset, e)) ||
        parse_hex_bytes(words[3], data, sizeof data, &len, e) < 0)
        return -1;
    if (offset / sizeof data != (offset + len - 1) / sizeof data)
        return err_set(e, ERR_FIELD_INVALID, "it crosses a line of 128 bytes");
    return transact(em, a, offset, data, len, true, e);
}

/* What was in the cache when its block went offline: the line's own bytes, so that a way that still works hurts nobody.
 */
static int cmd_writeback(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    struct box_node *node = node_arg(em, words[1], e);
    unsigned char line[ADAPTER_LINE_BYTES];
    struct box_adapter *a;
    uint64_t offset;

    (void)n;
    (void)out;
    if (!node || !(a = address_arg(node, words[2], false, &offset, e)))
        return -1;
    offset -= offset % sizeof line;
    if (transact(em, a, offset, line, sizeof line, false, e) < 0)
        return -1;
    return transact(em, a, offset, line, sizeof line, true, e);
}

static int cmd_load(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    struct box_node *node = node_arg(em, words[1], e);
    struct box_adapter *a;
    struct segment *s;
    uint64_t rate;

    (void)n;
    (void)out;
    if (!node || units_parse_size(words[3], &rate, e) < 0)
        return -1;
    s = segments_find(node, words[2], &a);
    if (!s)
        return err_set(e, ERR_NOT_FOUND, "%s has no segment %.40s", node->spec->name, words[2]);
    s->load_bytes_per_s = rate;
    if (!em->control->load.armed)
        loop_after(em->loop, &em->control->load, LOAD_TICK_MS);
    return 0;
}

static bool load_adapter(struct box_adapter *a)
{
    bool any = false;

    for (struct segment *s = a->segments; s; s = s->next) {
        uint64_t bytes = s->load_bytes_per_s / (1000 / LOAD_TICK_MS) + s->load_rest;

        any = any || s->load_bytes_per_s > 0;
        fabric_load(a, bytes / ADAPTER_LINE_BYTES);
        s->load_rest = bytes % ADAPTER_LINE_BYTES;
    }
    return any;
}

static void load_tick(struct loop_timer *t)
{
    struct control *c = (struct control *)((char *)t - offsetof(struct control, load));
    bool any = false;

    for (size_t i = 0; i < c->em->box->n_nodes; i++) {
        struct box_node *n = &c->em->box->nodes[i];

        if (n->traffic_cut || n->machine_check)
            power_off(c->em, n,
                      n->machine_check ? "pages were moved off memory that does not answer" : "traffic was cut off");
        n->traffic_cut = n->machine_check = false;
        for (unsigned k = 0; k < n->n_adapters; k++)
            any = load_adapter(&n->adapters[k]) || any;
    }
    if (any)
        loop_after(c->em->loop, t, LOAD_TICK_MS);
}

/* Not at once: somebody is in the middle of an answer to this node. */
static void machine_check(void *arg, struct box_node *n)
{
    struct control *c = arg;

    n->machine_check = true;
    if (!c->load.armed)
        loop_after(c->em->loop, &c->load, 0);
}

static int cmd_register(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    struct box_adapter *a = adapter_arg(em, words[1], e);
    struct adapter copy;
    uint64_t offset, value;

    if (!a || units_parse_addr(words[2], &offset, e) < 0)
        return -1;
    if (n > 3) {
        if (units_parse_addr(words[3], &value, e) < 0)
            return -1;
        if (!adapter_plant(a->regs, offset, value))
            return err_set(e, ERR_FIELD_INVALID, "nothing can be planted at 0x%llx", (unsigned long long)offset);
        trace_event(em->trace, a->node->spec->name, a->spec->name, "plant", offset, value, true);
        box_changed(em->box, a);
    }
    copy = *a->regs; /* so that nothing clears or pops */
    if (!adapter_read(&copy, offset, &value))
        return err_set(e, ERR_FIELD_INVALID, "no register at 0x%llx", (unsigned long long)offset);
    return set(out, "value", json_addr(value), e);
}

static int cmd_status(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    (void)words;
    (void)n;
    if (json_object_set_new(out, "hanging_writes", json_integer(sysmem_hanging(em->sysmem))) < 0)
        return err_set(e, ERR_INTERNAL, "out of memory");
    return status_fill(em->box, out, e);
}

static const struct command {
    const char *name;
    int min, max; /* words, the name included */
    int (*run)(struct emulator *em, char **words, int n, json_t *out, struct err *e);
} commands[] = {
    { "link", 4, 4, cmd_link },         { "block", 4, 4, cmd_block },         { "power", 3, 3, cmd_power },
    { "adapter", 3, 3, cmd_adapter },   { "slow", 3, 3, cmd_slow },           { "peek", 3, 3, cmd_peek },
    { "poke", 4, 4, cmd_poke },         { "writeback", 3, 3, cmd_writeback }, { "load", 4, 4, cmd_load },
    { "register", 3, 4, cmd_register }, { "status", 1, 1, cmd_status },
};

static int run_words(struct emulator *em, char **words, int n, json_t *out, struct err *e)
{
    for (size_t i = 0; n > 0 && i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, words[0]) != 0)
            continue;
        if (n < commands[i].min || n > commands[i].max)
            return err_set(e, ERR_BAD_REQUEST, "wrong number of arguments for %s", words[0]);
        return commands[i].run(em, words, n, out, e);
    }
    return err_set(e, ERR_BAD_REQUEST, "unknown command");
}

static json_t *run_line(struct emulator *em, char *line)
{
    char *words[WORDS_MAX + 1], *save = NULL;
    json_t *out = json_object();
    struct err e = { 0 };
    int n = 0;

    for (char *word = strtok_r(line, " \r\t", &save); word && n <= WORDS_MAX; word = strtok_r(NULL, " \r\t", &save))
        words[n++] = word;
    if (!out)
        return NULL;
    if (n > WORDS_MAX || run_words(em, words, n, out, &e) < 0) {
        json_object_clear(out);
        json_object_set_new(out, "error", json_string(n > WORDS_MAX ? err_name(ERR_BAD_REQUEST) : err_name(e.code)));
        json_object_set_new(out, "detail", json_string(e.detail));
    } else {
        json_object_set_new(out, "ok", json_true());
    }
    return out;
}

static ssize_t control_input(struct conn *c, const char *data, size_t len)
{
    struct control *ctl = c->owner;
    const char *end = memchr(data, '\n', len);
    CLEANUP(json_freep) json_t *answer = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    char line[CONN_IN_MAX];

    if (!end)
        return 0;
    memcpy(line, data, (size_t)(end - data));
    line[end - data] = '\0';
    answer = run_line(ctl->em, line);
    text = answer ? json_text(answer) : NULL;
    if (!text)
        return -1;
    conn_send(c, text, strlen(text));
    conn_send(c, "\n", 1);
    return end - data + 1;
}

static const struct conn_ops control_ops = { control_input, NULL };

int control_new(struct control **out, struct emulator *em, const char *path, struct err *e)
{
    CLEANUP(cleanup_free) struct control *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_INTERNAL, "out of memory");
    c->em = em;
    c->load.fire = load_tick;
    if (listener_open(&c->listener, em->loop, path, &control_ops, c, e) < 0)
        return -1;
    em->box->machine_check = machine_check;
    em->box->machine_check_arg = c;
    *out = TAKE(c);
    return 0;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    c->em->box->machine_check = NULL;
    listener_close(&c->listener);
    loop_cancel(c->em->loop, &c->load);
    free(c);
}
