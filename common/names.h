/* names.h - the forms of names (DESIGN section 12): nodes, switches, adapters, ports, ids.  Pure and thread-safe. */
#ifndef MEMLANE_NAMES_H
#define MEMLANE_NAMES_H

#include "err.h"

#include <stdbool.h>

#define NAME_MAX_LEN 63
#define NAME_SIZE 64       /* with the NUL */
#define PORT_NAME_SIZE 144 /* node/adapter/port */
/* ids of attachments, circuits, sessions, boots, lenders: at most 39 characters of [A-Za-z0-9._-] */
#define ID_SIZE 40

bool name_valid(const char *name);     /* [a-z0-9][a-z0-9-]{0,62} */
bool id_valid(const char *id);         /* [A-Za-z0-9][A-Za-z0-9._-]{0,38} */
bool label_key_valid(const char *key); /* a label's name: as an id */
bool label_valid(const char *text);    /* its value: printable ASCII, 1 to 63 characters */

/* "n1/afu0/1": node, adapter and a port that counts from 0; or "ocs1/7": a switch and a port that counts from 1. */
struct port_name {
    char owner[NAME_SIZE];   /* node or switch */
    char adapter[NAME_SIZE]; /* empty for a port of a switch */
    unsigned number;
};
MUST_CHECK int port_name_parse(const char *text, struct port_name *out, struct err *e);
char *port_name_format(const struct port_name *p, char buf[PORT_NAME_SIZE]);

#endif
