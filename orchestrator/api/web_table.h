/* web_table.h - the dashboard's files, built in.  The web folder's build writes the table; a path may be there twice,
 * the compressed row first. */
#ifndef MEMLANE_WEB_TABLE_H
#define MEMLANE_WEB_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct web_file {
    const char *path; /* "/", "/assets/app-1a2b3c.js" */
    const char *type; /* Content-Type */
    const char *etag; /* with its quotes */
    bool gzip;        /* 'data' is compressed */
    const unsigned char *data;
    size_t size;
};

extern const struct web_file web_files[];
extern const size_t web_n_files;

#endif
