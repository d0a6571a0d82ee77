/* peers.c - a table that is searched from its beginning: connections come and go some hundred times a second.
 */
#include "api/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    struct in6_addr addr;
    unsigned n;
    bool trusted;
};

struct peers {
    unsigned limit, total;
    size_t n_slots;
    struct peer *slots; /* as many as could ever be at once, and as many agents */
};

/* IPv4 as mapped IPv6. */
static struct in6_addr key_of(const struct sockaddr *from)
{
    struct in6_addr key;
    memset(&key, 0, sizeof key);
    if (from->sa_family == AF_INET6) {
        key = ((const struct sockaddr_in6 *)from)->sin6_addr;
    } else if (from->sa_family == AF_INET) {
        key.s6_addr[10] = key.s6_addr[11] = 0xff;
        memcpy(&key.s6_addr[12], &((const struct sockaddr_in *)from)->sin_addr, 4);
    }
    return key;
}

static bool loopback_key(const struct in6_addr *key)
{
    return IN6_IS_ADDR_LOOPBACK(key) || (IN6_IS_ADDR_V4MAPPED(key) && key->s6_addr[12] == 127);
}

bool peers_is_loopback(const struct sockaddr *from)
{
    struct in6_addr key = key_of(from);
    return from->sa_family == AF_UNIX || loopback_key(&key);
}

/* What counts as one: the address, or its /64. */
static struct in6_addr network_of(const struct in6_addr *key)
{
    struct in6_addr network = *key;
    if (!IN6_IS_ADDR_V4MAPPED(key) && !IN6_IS_ADDR_LOOPBACK(key) && !IN6_IS_ADDR_LINKLOCAL(key))
        memset(&network.s6_addr[8], 0, 8);
    return network;
}

static void format_key(const struct in6_addr *key, char *buf, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    bool four = IN6_IS_ADDR_V4MAPPED(key);
    const char *shown =
        four ? inet_ntop(AF_INET, &key->s6_addr[12], text, sizeof text) : inet_ntop(AF_INET6, key, text, sizeof text);
    snprintf(buf, size, "%s", shown ? shown : "");
}

void peers_format(const struct sockaddr *from, char *address, size_t address_size, char *network, size_t network_size)
{
    struct in6_addr key = key_of(from), of = network_of(&key);
    format_key(&key, address, address_size);
    format_key(&of, network, network_size);
    if (from->sa_family == AF_UNIX) {
        snprintf(address, address_size, "unix");
        snprintf(network, network_size, "unix");
    }
}

int peers_new(struct peers **out, unsigned limit, struct err *e)
{
    struct peers *p = calloc(1, sizeof *p);
    if (p)
        p->slots = calloc(2 * (size_t)limit, sizeof *p->slots);
    if (!p || !p->slots) {
        free(p);
        return err_set(e, ERR_UNAVAILABLE, "out of memory");
    }
    p->limit = limit;
    p->n_slots = 2 * (size_t)limit;
    *out = p;
    return 0;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    free(p->slots);
    free(p);
}

static struct peer *find(const struct peers *p, const struct in6_addr *key)
{
    for (size_t i = 0; i < p->n_slots; i++)
        if ((p->slots[i].n || p->slots[i].trusted) && memcmp(&p->slots[i].addr, key, sizeof *key) == 0)
            return &p->slots[i];
    return NULL;
}

static struct peer *find_or_make(struct peers *p, const struct in6_addr *key)
{
    struct peer *have = find(p, key);
    for (size_t i = 0; !have && i < p->n_slots; i++)
        if (!p->slots[i].n && !p->slots[i].trusted) {
            p->slots[i].addr = *key;
            return &p->slots[i];
        }
    return have;
}

/* Connections of strangers from the network of this address. */
static unsigned count_network(const struct peers *p, const struct in6_addr *key)
{
    struct in6_addr wanted = network_of(key);
    unsigned n = 0;
    for (size_t i = 0; i < p->n_slots; i++) {
        if (!p->slots[i].n || p->slots[i].trusted)
            continue;
        struct in6_addr have = network_of(&p->slots[i].addr);
        if (memcmp(&have, &wanted, sizeof have) == 0)
            n += p->slots[i].n;
    }
    return n;
}

bool peers_may_enter(const struct peers *p, const struct sockaddr *from)
{
    struct in6_addr key = key_of(from);
    const struct peer *peer = find(p, &key);
    if (p->total >= p->limit)
        return false;
    if (loopback_key(&key) || from->sa_family == AF_UNIX || (peer && peer->trusted))
        return true;
    return p->total < p->limit - p->limit / 4 && count_network(p, &key) < PEERS_PER_ADDRESS;
}

void peers_enter(struct peers *p, const struct sockaddr *from)
{
    struct in6_addr key = key_of(from);
    struct peer *peer = find_or_make(p, &key);
    p->total++;
    if (peer)
        peer->n++;
}

void peers_leave(struct peers *p, const struct sockaddr *from)
{
    struct in6_addr key = key_of(from);
    struct peer *peer = find(p, &key);
    p->total--;
    if (peer && peer->n)
        peer->n--;
}

void peers_trust(struct peers *p, const struct sockaddr *from)
{
    struct in6_addr key = key_of(from);
    struct peer *peer = find(p, &key);
    if (peer)
        peer->trusted = true;
}

unsigned peers_count(const struct peers *p)
{
    return p->total;
}
