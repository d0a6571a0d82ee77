/* rack.h - a rack and what is reserved in it, as the brute-force reference sees it.
 *
 * Plain arrays, indices instead of pointers, nothing derived but what is written here: the reference is meant to be
 * read beside the design, not to be fast.  Knows nothing of the engine.  Allocation failures end the program: this is a
 * test. Not thread-safe. */
#ifndef REFERENCE_RACK_H
#define REFERENCE_RACK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIB (UINT64_C(1) << 40)
#define MAX_SWITCHES_ON_PATH 3
#define MAX_PATH_PORTS (2 + 2 * MAX_SWITCHES_ON_PATH)
#define ADAPTER_PORT_GBPS 100
#define NONE (-1)

struct port {
    char name[200];
    int adapter; /* NONE: a switch's */
    int sw;      /* NONE: an adapter's */
    int link;    /* NONE: not cabled */
};

struct link {
    int a, b; /* ports */
    uint64_t latency_ns;
    uint64_t gbps;
    bool down;
};

struct sw { /* only its cabled ports are known */
    const char *name;
    uint64_t latency_ns;
    int *ports;
    int n_ports;
};

struct adapter {
    const char *name;
    int node;
    bool compute;
    int ports[2], n_ports;
    uint64_t window_bytes;
};

struct node {
    const char *name;
    uint64_t free_bytes, headroom_bytes, block_bytes;
    const json_t *labels; /* may be NULL */
    bool cordoned, ready;
};

struct path {
    int ports[MAX_PATH_PORTS], n_ports; /* from the compute adapter's port to the memory adapter's */
    uint64_t cost_ns;
};

struct circuit {
    int compute, memory; /* adapters */
    int channels;
    struct path legs[2];
};

struct attachment {
    bool live; /* else: a request that reserved nothing, or gave it back */
    int compute_node, donor, circuit;
    int section;
    uint64_t offset_bytes, size_bytes;
    uint64_t leg_gbps; /* reserved on each leg */
};

struct rack {
    json_t *json;
    struct node *nodes;
    struct adapter *adapters;
    struct sw *switches;
    struct port *ports;
    struct link *links;
    struct circuit *circuits;       /* live while an attachment uses it */
    struct attachment *attachments; /* one for each placement request, in order */
    int n_nodes, n_adapters, n_switches, n_ports, n_links, n_circuits, n_attachments;
};

/* NULL when 'json' is no rack file; says why.  Takes a reference of its own. */
struct rack *rack_new(json_t *json, const char **why);
void rack_free(struct rack *r);

int rack_node(const struct rack *r, const char *name);                  /* or NONE */
int rack_link(const struct rack *r, const char *port, const char *far); /* either order; or NONE */
int rack_far_end(const struct rack *r, int port);                       /* other end of its cable; or NONE */

bool circuit_live(const struct rack *r, int circuit);
void rack_busy_ports(const struct rack *r, bool *busy); /* one entry a port: in a live circuit */
int rack_circuit(const struct rack *r, int compute_adapter,
                 int memory_adapter);                         /* the live one that joins them, or NONE */
uint64_t circuit_leg_gbps(const struct rack *r, int circuit); /* reserved on each of its legs */
int circuit_attachments(const struct rack *r, int circuit);
uint64_t node_lent_bytes(const struct rack *r, int node);

void *grown(void *items, int n, size_t size); /* room for one more behind 'n' items, zeroed */

#endif
