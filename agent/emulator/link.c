/* link.c - see link.h */
#include "link.h"

#include "donor.h"
#include "linkproto.h"
#include "log.h"
#include "trace.h"
#include "vm.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct client {
    struct conn *conn;
    struct box_adapter *adapter; /* NULL before HELLO */
    bool attached, translates;
    int fd; /* the connection's, known also when it is closed already */
    struct client *next;
};

struct link {
    struct box *box;
    struct listener listener, tcp;
    struct client *clients;
};

static void trace_adapter(const struct box_adapter *a, const char *op, uint64_t offset, uint64_t value, bool ok)
{
    trace_event(a->node->box->trace, a->node->spec->name, a->spec->name, op, offset, value, ok);
}

static struct client *client_of(struct conn *c)
{
    struct link *k = c->owner;
    struct client *cl = c->user;

    if (cl)
        return cl;
    cl = calloc(1, sizeof *cl);
    if (!cl)
        return NULL;
    cl->conn = c;
    cl->fd = c->source.fd;
    cl->next = k->clients;
    k->clients = cl;
    c->user = cl;
    return cl;
}

static void client_closed(struct conn *c)
{
    struct link *k = c->owner;
    struct client *cl = c->user;

    if (!cl)
        return;
    for (struct client **at = &k->clients; *at; at = &(*at)->next)
        if (*at == cl) {
            *at = cl->next;
            break;
        }
    if (cl->translates) {
        if (cl->adapter->translator_fd == cl->fd)
            cl->adapter->translator_fd = 0;
    } else if (cl->adapter) {
        cl->adapter->n_open--;
        trace_adapter(cl->adapter, "close", 0, cl->attached, true);
    }
    if (cl->attached) {
        donor_detach(cl->adapter);
        box_changed(k->box, NULL);
    }
    free(cl);
    c->user = NULL;
}

static int32_t find_adapter(struct client *cl, struct link *k, const struct link_request *r, const char *names)
{
    char node[LINK_NAME_BYTES], adapter[LINK_NAME_BYTES];
    struct box_adapter *a;
    struct box_node *n;

    if (r->value != LINK_MAGIC || r->offset != LINK_VERSION || cl->adapter)
        return LINK_INVALID_ARGS;
    snprintf(node, sizeof node, "%.63s", names);
    snprintf(adapter, sizeof adapter, "%.63s", names + LINK_NAME_BYTES);
    n = box_node_find(k->box, node);
    a = n ? box_adapter_find(n, adapter) : NULL;
    if (!a || !n->state->on || (!n->vm && cl->conn->remote)) /* a machine's neighbours are none of its business */
        return LINK_NO_DEV;
    if (*a->error)
        return LINK_INTERNAL_ERROR;
    cl->adapter = a;
    return LINK_OK;
}

static int32_t hello(struct client *cl, struct link *k, const struct link_request *r, const char *names,
                     struct link_answer *out)
{
    int32_t rc = find_adapter(cl, k, r, names);
    struct box_adapter *a = cl->adapter;

    if (rc != LINK_OK)
        return rc;
    cl->translates = r->op == LINK_TRANSLATOR;
    if (cl->translates) {
        a->translator_fd = cl->fd;
        return LINK_OK;
    }
    a->n_open++;
    trace_adapter(a, "open", 0, (uint64_t)cl->conn->pid, true);
    out->value = a->spec->role == WIRE_MEMORY;
    out->more = LINK_MMIO_BYTES;
    return LINK_OK;
}

/* A process that was killed may still be attached when its successor asks: its end is in the queue behind us. */
static void drop_dead_holder(struct link *k, struct box_adapter *a)
{
    char byte;

    for (struct client *cl = k->clients; cl; cl = cl->next)
        if (cl->adapter == a && cl->attached) {
            if (recv(cl->conn->source.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
                conn_close(cl->conn);
            return;
        }
}

static int32_t attach(struct client *cl, struct link *k)
{
    struct box_adapter *a = cl->adapter;
    struct err e = { 0 };

    if (cl->attached)
        return LINK_ALREADY_DONE;
    if (a->spec->role != WIRE_MEMORY)
        return LINK_OK; /* allowed, and of no use: a compute adapter masters nothing */
    if (a->donor)
        drop_dead_holder(k, a);
    if (a->donor)
        return LINK_NO_MORE_CONTEXTS;
    if (donor_attach(a, a->node->vm ? 0 : cl->conn->pid, &e) < 0)
        return LINK_NO_MEM;
    cl->attached = true;
    trace_adapter(a, "attach", 0, (uint64_t)cl->conn->pid, true);
    box_changed(k->box, NULL);
    return LINK_OK;
}

static int32_t read_register(struct box_adapter *a, uint64_t offset, uint64_t *value)
{
    if (a->node->vm && offset == ADAPTER_FLITS_SENT && a->spec->role == WIRE_COMPUTE)
        vm_count(a);
    bool ok = !*a->error && adapter_read(a->regs, offset, value);

    trace_adapter(a, "read", offset, ok ? *value : 0, ok);
    return ok ? LINK_OK : *a->error ? LINK_INTERNAL_ERROR : LINK_OUT_OF_BOUNDS;
}

/* A virtual machine's window cannot lead just anywhere. */
static bool may_write(struct box_adapter *a, uint64_t offset, uint64_t value)
{
    uint64_t section = (offset - ADAPTER_SECTION0) / 8;

    return a->spec->role != WIRE_COMPUTE || offset < ADAPTER_SECTION0 || section >= ADAPTER_SECTIONS ||
           vm_allows(a, (unsigned)section, value);
}

static int32_t write_register(struct box_adapter *a, uint64_t offset, uint64_t value)
{
    bool ok = !*a->error && (!a->node->vm || may_write(a, offset, value)) && adapter_write(a->regs, offset, value);

    trace_adapter(a, "write", offset, value, ok);
    if (ok && offset < ADAPTER_STATUS) /* sections, channels, control */
        box_changed(a->node->box, a);
    return ok ? LINK_OK : *a->error || a->node->vm ? LINK_INTERNAL_ERROR : LINK_OUT_OF_BOUNDS;
}

static int32_t take_event(struct box_adapter *a, struct link_answer *out)
{
    out->value = a->fault_addr;
    out->more = a->n_faults;
    a->n_faults = 0;
    return LINK_OK;
}

static int32_t serve(struct client *cl, struct link *k, const struct link_request *r, struct link_answer *out)
{
    if (!cl->adapter)
        return LINK_NO_CONTEXT;
    switch (r->op) {
    case LINK_ATTACH:
        return attach(cl, k);
    case LINK_READ:
        return read_register(cl->adapter, r->offset, &out->value);
    case LINK_WRITE:
        return write_register(cl->adapter, r->offset, r->value);
    case LINK_EVENT:
        return take_event(cl->adapter, out);
    default:
        return LINK_INVALID_ARGS;
    }
}

static ssize_t client_input(struct conn *c, const char *data, size_t len)
{
    struct link *k = c->owner;
    struct client *cl = client_of(c);
    struct link_request r;
    struct link_answer answer = { 0 };
    size_t need = sizeof r;
    unsigned delay_ms;

    if (!cl)
        return -1;
    if (len < sizeof r)
        return 0;
    memcpy(&r, data, sizeof r);
    r.op = le32toh(r.op);
    r.offset = le64toh(r.offset);
    r.value = le64toh(r.value);
    bool first = r.op == LINK_HELLO || r.op == LINK_TRANSLATOR;

    if (first)
        need += 2 * LINK_NAME_BYTES;
    if (len < need || (cl->adapter && !conn_waited(c, cl->adapter->node->slow_ms)))
        return 0;
    if (cl->adapter && cl->adapter->node->vm && (delay_ms = vm_delay_ms(cl->adapter->node->vm)) > 0) {
        c->resumed = false;
        return conn_waited(c, delay_ms) ? -1 : 0;
    }
    answer.status = first ? hello(cl, k, &r, data + sizeof r, &answer) : serve(cl, k, &r, &answer);
    answer.status = (int32_t)htole32((uint32_t)answer.status);
    answer.tag = r.tag; /* as it came */
    answer.value = htole64(answer.value);
    answer.more = htole64(answer.more);
    conn_send(c, &answer, sizeof answer);
    return (ssize_t)need;
}

static const struct conn_ops client_ops = { client_input, client_closed };

int link_new(struct link **out, struct box *b, struct loop *l, const char *path, struct err *e)
{
    CLEANUP(cleanup_free) struct link *k = calloc(1, sizeof *k);

    if (!k)
        return err_set(e, ERR_INTERNAL, "out of memory");
    k->box = b;
    k->tcp.source.fd = -1;
    if (listener_open(&k->listener, l, path, &client_ops, k, e) < 0)
        return -1;
    *out = TAKE(k);
    return 0;
}

int link_listen_tcp(struct link *k, struct loop *l, uint16_t *port, struct err *e)
{
    return listener_open_tcp(&k->tcp, l, port, &client_ops, k, e);
}

void link_free(struct link *k)
{
    if (!k)
        return;
    while (k->clients)
        conn_close(k->clients->conn);
    listener_close(&k->listener);
    listener_close(&k->tcp);
    free(k);
}

void link_drop_node(struct link *k, struct box_node *n, void (*each)(void *arg, pid_t pid), void *arg)
{
    for (struct client *cl = k->clients, *next; cl; cl = next) {
        next = cl->next;
        if (!cl->adapter || cl->adapter->node != n)
            continue;
        each(arg, cl->conn->pid);
        conn_close(cl->conn);
    }
}
