/* client_internal.h - what client.c shares with client_stream.c, and with nobody else. */
#ifndef MEMLANE_CLIENT_INTERNAL_H
#define MEMLANE_CLIENT_INTERNAL_H

#include "client.h"

#include <curl/curl.h>
#include <stdatomic.h>

#define URL_MAX_LEN 2048

struct text {
    char *data;
    size_t len, cap;
};

struct client {
    CURL *easy;
    CURLM *multi;
    char base[URL_MAX_LEN]; /* "http://host:port", without a slash at its end */
    char *unix_path;        /* NULL: TCP */
    char *authorization;    /* "Authorization: Bearer ..." or NULL */
    char *ca_file, *user_agent;
    long connect_timeout_ms, stream_max_ms;
    size_t body_max;
    int save_fd; /* of client_save() under way; -1: keep the body */
    atomic_bool interrupted;
    char curl_error[CURL_ERROR_SIZE];
    struct text body; /* of the answer under way */
    bool too_large, no_memory;
    int save_errno;
};

bool text_append(struct text *t, const char *data, size_t len); /* false: out of memory */
void text_clear(struct text *t);
void text_done(struct text *t);

/* Puts the options that every request has into the easy handle, which was reset. */
void client_prepare(struct client *c);
MUST_CHECK int client_set_path(struct client *c, const char *path, struct err *e);
MUST_CHECK int client_add_header(struct curl_slist **list, const char *header, struct err *e);
void client_slist_freep(struct curl_slist **list); /* for CLEANUP */
/* Runs the transfer that the easy handle is set up for; -1 only when it was interrupted or could not run at all. */
MUST_CHECK int client_transfer(struct client *c, CURLcode *result, struct err *e);
/* What a failed transfer means; -1. */
MUST_CHECK int client_transfer_error(struct client *c, CURLcode code, struct err *e);
size_t client_on_body(char *data, size_t size, size_t n, void *arg); /* libcurl's write function; arg: the client */
void client_read_answer(struct client *c, struct client_answer *out);

#endif
