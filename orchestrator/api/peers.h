/* peers.h - how many connections each address has, so that none can take them all.
 *
 * A stranger gets PEERS_PER_ADDRESS; the last quarter of all connections is kept for addresses that agents signed in
 * from, and for loopback.  Whoever has one IPv6 address has the 2^64 of its network: strangers of a /64 count as one,
 * but for link-local addresses, which are one network on every link.  Trust is of an address alone.  HTTP thread only,
 * but for start and stop. */
#ifndef MEMLANE_PEERS_H
#define MEMLANE_PEERS_H

#include "err.h"

#include <sys/socket.h>

#define PEERS_PER_ADDRESS 64

struct peers;

MUST_CHECK int peers_new(struct peers **out, unsigned limit, struct err *e);
void peers_free(struct peers *p); /* ignores NULL */
bool peers_may_enter(const struct peers *p, const struct sockaddr *from);
void peers_enter(struct peers *p, const struct sockaddr *from);
void peers_leave(struct peers *p, const struct sockaddr *from);
void peers_trust(struct peers *p, const struct sockaddr *from); /* an agent's */
unsigned peers_count(const struct peers *p);
bool peers_is_loopback(const struct sockaddr *from);
/* The address without port, and the network that counts as one with it. */
void peers_format(const struct sockaddr *from, char *address, size_t address_size, char *network, size_t network_size);

#endif
