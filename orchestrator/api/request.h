/* request.h - one HTTP request from head to answer, as routes see it.  Hides the HTTP library.
 *
 * A route runs on the HTTP thread and does one of three things: it fills the answer (reply_*), it parks the request
 * (request_change, request_history, request_wait), or both fail and it answers with the error.  A parked request
 * belongs to whom it was given to; when that is done, 'next' runs on the HTTP thread with the outcome in 'rc' and
 * 'err', and again does one of the three. */
#ifndef MEMLANE_REQUEST_H
#define MEMLANE_REQUEST_H

#include "api/api.h"
#include "api/auth.h"
#include "api/history.h"
#include "api/router.h"
#include "api/waits.h"
#include "json.h"

#define REQUEST_ID_SIZE 40
#define REPLY_HEADERS 12

struct stream; /* stream.h */

struct reply {
    int status;       /* 0: none yet */
    const char *type; /* of the body */
    const char *body;
    size_t len;
    char *owned; /* what 'body' points to when the reply frees it */
    int fd;      /* -1, or a file that is the body */
    struct stream *stream;
    char etag_base[160]; /* "<id>-<rev>": http.c adds the hash of the body */

    unsigned n_headers;
    struct {
        const char *name; /* a literal */
        char *value;      /* owned */
    } headers[REPLY_HEADERS];
};

struct request {
    struct api *api;
    void *connection; /* of the library */
    int phase;        /* http.c */
    char method[8];
    struct target target;
    struct match match;
    char id[REQUEST_ID_SIZE];
    char remote[64], network[64]; /* of one who calls: the address; what they may have many addresses of (peers.h) */
    bool signed_in, by_cookie;
    bool starved;         /* memory ran out for JSON in another thread: the answer would lack something */
    struct token who;     /* when signed in */
    const char *if_match; /* header, NULL when absent */
    json_t *body;         /* NULL without one */
    char *text;           /* of the body (http_body.h) */
    size_t n_text, cap_text;
    struct reply reply;
    /* while parked */
    int (*apply)(struct request *rq, struct change *ch, struct err *e); /* writer thread */
    void (*query)(struct request *rq, struct store_reader *r);          /* history worker; sets rc, err, answer */
    bool (*ready)(struct request *rq, const struct model *m);           /* waiting room */
    void (*committed)(struct request *rq); /* writer thread, after the commit; NULL: nothing to do */
    void (*next)(struct request *rq);      /* HTTP thread */
    int rc;
    struct err err;
    struct command command;
    struct job job;
    struct waiter waiter;
    struct request *peer; /* the next of those who wait for the same (checks.h) */
    /* the route's own */
    json_t *answer; /* freed with the request */
    json_t *extra;  /* members for a problem document; freed with the request */
    void *data;
    void (*data_free)(void *data);
    char object[ID_SIZE]; /* an id that apply found or made */
    int64_t deadline_ms;  /* monotonic */
    uint64_t number;      /* a cursor, a revision, ... */
    unsigned limit;
    bool flag;
};

const char *request_header(const struct request *rq, const char *name); /* NULL when absent */
const char *request_query(const struct request *rq, const char *name);
/* limit=, bounded; wait= in seconds, at most 60; after= and the like. */
MUST_CHECK int request_number(const struct request *rq, const char *name, uint64_t max, uint64_t *inout, struct err *e);
#define LIST_LIMIT 100
#define LIST_LIMIT_MAX 1000
MUST_CHECK int request_limit(const struct request *rq, unsigned *out, struct err *e);
/* ERR_FIELD_UNKNOWN when the query names anything that its route does not take. */
MUST_CHECK int request_check_query(const struct request *rq, struct err *e);
/* cursor=: '*out' gets what follows 'prefix' ("node."), so that a list takes only what it gave; NULL without a cursor.
 */
MUST_CHECK int request_cursor(const struct request *rq, const char *prefix, const char **out, struct err *e);
/* If-Match against "<id>-<rev>": ERR_PRECONDITION, or ERR_PRECONDITION_REQUIRED when it is 'required' and absent. */
MUST_CHECK int request_if_match(const struct request *rq, const char *etag_base, bool required, struct err *e);

/* Parking.  Each answers the request with the error when it cannot. */
void request_change(struct request *rq, const char *action, const char *object,
                    int (*apply)(struct request *rq, struct change *ch, struct err *e),
                    void (*next)(struct request *rq));
void request_history(struct request *rq, void (*query)(struct request *rq, struct store_reader *r),
                     void (*next)(struct request *rq));
void request_wait(struct request *rq, bool (*ready)(struct request *rq, const struct model *m), int64_t deadline_ms,
                  void (*next)(struct request *rq));
/* For the audit row of request_change(): JSON text without secrets. */
void request_audit_detail(struct request *rq, const json_t *detail);

/* Answers.  'j' and 'body' are taken over. */
void reply_json(struct request *rq, int status, json_t *j);
void reply_text(struct request *rq, int status, const char *type, char *body, size_t len);
void reply_static(struct request *rq, int status, const char *type, const void *body, size_t len);
void reply_empty(struct request *rq, int status);
void reply_file(struct request *rq, const char *type, int fd);
void reply_stream(struct request *rq, struct stream *s);
void reply_err(struct request *rq, const struct err *e); /* a problem document; members of rq->extra are added */
void reply_header(struct request *rq, const char *name, const char *fmt, ...) PRINTF(3, 4);
void reply_etag(struct request *rq, const char *id, uint64_t rev);
/* A short list that is made whole each time: the page of it that limit= and cursor= ask for. */
void reply_page(struct request *rq, json_t *items, uint64_t as_of);
/* {"items", "next_cursor", "as_of"}, the Link header; 'next' NULL: the end. */
void reply_list(struct request *rq, json_t *items, const char *next, uint64_t as_of);
void reply_done(struct reply *r); /* frees */

json_t *json_safe(const char *text);    /* a new string; bytes that are no UTF-8 become '?' */
json_t *json_or_null(const char *text); /* null for NULL and "" */

#endif
