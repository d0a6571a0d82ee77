/* server.h - the lender's socket and its connections: who may speak, how many at once, one message at a time.
 *
 * Peers are this user and root.  When all places are taken the connection that was silent longest is closed, so that
 * dead or greedy peers can't lock the agent out; a peer that does not read its answer is closed; nothing ever waits.
 * One thread. */
#ifndef MEMLANE_LENDER_SERVER_H
#define MEMLANE_LENDER_SERVER_H

#include "service.h"

#include <poll.h>

#define SERVER_CONNECTIONS 32
#define SERVER_POLLFDS (SERVER_CONNECTIONS + 1)

struct server {
    struct service *service; /* borrowed */
    int listen_fd;
    struct {
        int fd; /* -1: free */
        uint64_t last_use;
    } connections[SERVER_CONNECTIONS];
    uint64_t clock; /* counts uses */
};

/* 'listen_fd' is the server's from now on, and made non-blocking. */
MUST_CHECK int server_init(struct server *s, struct service *service, int listen_fd, struct err *e);
void server_done(struct server *s);
/* What to poll for; then what came of it. */
void server_poll(const struct server *s, struct pollfd fds[SERVER_POLLFDS]);
void server_handle(struct server *s, const struct pollfd fds[SERVER_POLLFDS]);

#endif
