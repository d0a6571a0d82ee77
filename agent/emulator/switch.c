/* switch.c - see switch.h */
#include "switch.h"

#include "fabric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    struct conn *conn;
    struct peer *next;
};

struct one_switch {
    struct switches *all;
    struct box_switch *sw;
    struct listener listener;
    struct peer *peers;
};

struct switches {
    struct box *box;
    size_t n;
    struct one_switch *items;
};

static void answer(struct conn *c, const char *text)
{
    conn_send(c, text, strlen(text));
}

static void answer_result(struct conn *c, int rc, const struct err *e)
{
    char line[400];

    if (rc == 0) {
        answer(c, "ok\n");
        return;
    }
    snprintf(line, sizeof line, "error %s %s\n", err_name(e->code), e->detail);
    answer(c, line);
}

static void list(struct conn *c, const struct box_switch *sw)
{
    char line[64];

    for (unsigned p = 1; p <= sw->spec->ports; p++)
        if (sw->cross[p - 1] > (int32_t)p) {
            snprintf(line, sizeof line, "pair %u %d\n", p, (int)sw->cross[p - 1]);
            answer(c, line);
        }
    answer(c, "ok\n");
}

static void signals(struct conn *c, const struct box *b, const struct box_switch *sw)
{
    char line[64];

    for (unsigned p = 1; p <= sw->spec->ports; p++) {
        snprintf(line, sizeof line, "port %u %s\n", p, fabric_signal(b, sw->first_port + (int)p - 1) ? "up" : "down");
        answer(c, line);
    }
    answer(c, "ok\n");
}

static void serve(struct conn *c, struct one_switch *s, const char *line)
{
    struct box *b = s->all->box;
    struct err e = { 0 };
    unsigned port_a, port_b;
    char rest;

    if (sscanf(line, "connect %5u %5u %c", &port_a, &port_b, &rest) == 2)
        answer_result(c, fabric_connect(b, s->sw, port_a, port_b, &e), &e);
    else if (sscanf(line, "disconnect %5u %5u %c", &port_a, &port_b, &rest) == 2)
        answer_result(c, fabric_disconnect(b, s->sw, port_a, port_b, &e), &e);
    else if (strcmp(line, "list") == 0)
        list(c, s->sw);
    else if (strcmp(line, "signal") == 0)
        signals(c, b, s->sw);
    else
        answer(c, "error bad_request connect A B, disconnect A B, list or signal\n");
}

static bool remember(struct one_switch *s, struct conn *c)
{
    struct peer *p;

    if (c->user)
        return true;
    p = calloc(1, sizeof *p);
    if (!p)
        return false;
    p->conn = c;
    p->next = s->peers;
    s->peers = p;
    c->user = p;
    return true;
}

static void peer_closed(struct conn *c)
{
    struct one_switch *s = c->owner;

    for (struct peer **at = &s->peers; *at; at = &(*at)->next)
        if ((*at)->conn == c) {
            struct peer *p = *at;

            *at = p->next;
            free(p);
            return;
        }
}

static ssize_t peer_input(struct conn *c, const char *data, size_t len)
{
    struct one_switch *s = c->owner;
    const struct box_node *manager = box_node_find(s->all->box, s->sw->spec->managed_by);
    const char *end = memchr(data, '\n', len);
    char line[128];

    if (!remember(s, c))
        return -1;
    if (!end)
        return len >= sizeof line ? -1 : 0;
    if ((size_t)(end - data) >= sizeof line)
        return -1;
    if (manager && !manager->state->on)
        return -1; /* its management network is down with it */
    if (manager && !conn_waited(c, manager->slow_ms))
        return 0;
    memcpy(line, data, (size_t)(end - data));
    line[end - data] = '\0';
    serve(c, s, line);
    return end - data + 1;
}

static const struct conn_ops peer_ops = { peer_input, peer_closed };

static void switches_freep(struct switches **s)
{
    switches_free(*s);
}

int switches_new(struct switches **out, struct box *b, struct loop *l, struct err *e)
{
    CLEANUP(switches_freep) struct switches *s = calloc(1, sizeof *s);
    char path[PATH_MAX + NAME_SIZE + 32];

    if (!s || !(s->items = calloc(b->n_switches + 1, sizeof *s->items))) {
        free(TAKE(s));
        return err_set(e, ERR_INTERNAL, "out of memory");
    }
    s->box = b;
    for (; s->n < b->n_switches; s->n++) {
        struct one_switch *o = &s->items[s->n];

        o->all = s;
        o->sw = &b->switches[s->n];
        snprintf(path, sizeof path, "%s/switches/%s.sock", b->dir, o->sw->spec->name);
        if (listener_open(&o->listener, l, path, &peer_ops, o, e) < 0)
            return -1;
    }
    *out = TAKE(s);
    return 0;
}

void switches_free(struct switches *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        while (s->items[i].peers)
            conn_close(s->items[i].peers->conn);
        listener_close(&s->items[i].listener);
    }
    free(s->items);
    free(s);
}

void switches_drop_node(struct switches *s, const struct box_node *n, void (*each)(void *arg, pid_t pid), void *arg)
{
    for (size_t i = 0; i < s->n; i++) {
        struct one_switch *o = &s->items[i];

        if (strcmp(o->sw->spec->managed_by, n->spec->name) != 0)
            continue;
        while (o->peers) {
            each(arg, o->peers->conn->pid);
            conn_close(o->peers->conn);
        }
    }
}
