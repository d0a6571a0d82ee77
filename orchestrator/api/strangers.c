/* strangers.c - see strangers.h. */
#include "api/strangers.h"

#include <stddef.h>
#include <sys/socket.h>

void strangers_init(struct strangers *s)
{
    s->first = NULL;
    s->last = &s->first;
}

void strangers_add(struct strangers *s, struct stranger *x)
{
    x->next = NULL;
    x->link = s->last;
    *s->last = x;
    s->last = &x->next;
}

void strangers_remove(struct strangers *s, struct stranger *x)
{
    if (!x->link)
        return;
    *x->link = x->next;
    if (x->next)
        x->next->link = x->link;
    else
        s->last = x->link;
    x->link = NULL;
}

void strangers_evict(struct strangers *s)
{
    struct stranger *oldest = s->first;
    if (!oldest)
        return;
    strangers_remove(s, oldest);
    shutdown(oldest->fd, SHUT_RDWR); /* the library sees the end of the stream and closes it */
}
