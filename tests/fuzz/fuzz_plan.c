/* What a person gives to memlaned offline.  The first byte says which: t: a trace (CSV); r: a rack file, which, when it
 * is accepted, has to make a model without a fault; anything else: lines of --place-only, after which every invariant
 * holds (offline_place_only() checks none, so the answers are read: one line each). */
#include "core/model.h"
#include "json.h"
#include "offline.h"
#include "offline_rack.h"
#include "simulate_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pair[] =
    "{\"name\":\"p\",\"nodes\":["
    "{\"name\":\"a\",\"memory_bytes\":1099511627776,\"free_bytes\":1099511627776,\"block_bytes\":268435456,"
    "\"adapters\":["
    "{\"name\":\"c\",\"role\":\"compute\",\"window_addr\":\"0x0002000000000000\",\"window_bytes\":4398046511104}]},"
    "{\"name\":\"b\",\"memory_bytes\":1099511627776,\"free_bytes\":1099511627776,\"block_bytes\":268435456,"
    "\"adapters\":["
    "{\"name\":\"m\",\"role\":\"memory\"}]}],\"switches\":[],\"links\":["
    "{\"a\":\"a/c/0\",\"b\":\"b/m/0\",\"latency_ns\":1,\"gbps\":100},"
    "{\"a\":\"a/c/1\",\"b\":\"b/m/1\",\"latency_ns\":1,\"gbps\":100}]}";

/* A file in memory, and its name. */
static int file_of(const void *data, size_t size, char path[64])
{
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static void trace(const uint8_t *data, size_t size)
{
    char path[64];
    struct trace t = { 0 };
    struct err e = { 0 };
    int fd = file_of(data, size, path);
    if (trace_read(&t, path, &e) < 0 ? !e.detail[0] : t.n == 0)
        abort();
    for (size_t i = 1; i < t.n; i++)
        if (t.requests[i].start_days < t.requests[i - 1].start_days)
            abort();
    trace_done(&t);
    close(fd);
}

static void rack(const uint8_t *data, size_t size)
{
    struct rack r = { 0 };
    struct model *m = NULL;
    struct topology *t = NULL;
    struct err e = { 0 };
    json_t *j = NULL;
    if (json_parse(&j, (const char *)data, size, &e) == 0 && rack_decode(&r, j, &e) == 0) {
        if (offline_rack(&m, &t, &r, "fuzz", &e) < 0 || model_check(m, &e) < 0 || topology_refresh(t, m, &e) < 0)
            abort();
        topology_free(t);
        model_free(m);
    }
    rack_done(&r);
    json_decref(j);
}

static void lines(const uint8_t *data, size_t size)
{
    char path[64], *text = NULL;
    size_t len = 0;
    int fd = file_of(pair, sizeof pair - 1, path);
    FILE *in = fmemopen((void *)data, size, "r"), *out = open_memstream(&text, &len);
    if (!in || !out || offline_place_only(path, in, out) < 0)
        abort();
    fclose(in);
    fclose(out);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct err e;
        json_t *j = NULL;
        if (json_parse(&j, line, (size_t)(end - line), &e) < 0)
            abort();
        json_decref(j);
    }
    free(text);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] == 't')
        trace(data + 1, size - 1);
    else if (data[0] == 'r')
        rack(data + 1, size - 1);
    else
        lines(data + 1, size - 1);
    return 0;
}
