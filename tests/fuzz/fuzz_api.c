/* fuzz_api.c - the pure front of the API against arbitrary bytes: a request line's target and header lines, one a line.
 *
 * clang -fsanitize=fuzzer,address with orchestrator/api/{gate,router,target}.c and common/. */
#include "api/gate.h"
#include "api/router.h"
#include "api/target.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct route table[] = {
    { "GET", "/", ACCESS_OPEN, NULL, "" },
    { "GET", "/v1/nodes/{name}", ACCESS_VIEWER, NULL, "" },
    { "POST", "/v1/attachments/{id}/{action}", ACCESS_OPERATOR, NULL, "" },
};

static void feed_header(struct gate *g, char *line)
{
    char *colon = strchr(line, ':');
    if (colon)
        *colon = '\0';
    gate_header(g, line, colon ? colon + 1 : NULL);
}

static void check_target(const char *uri)
{
    struct target t;
    struct match m;
    struct err e;
    if (target_parse(&t, uri, &e) < 0) {
        if (t.n_segments || t.n_query)
            abort();
        return;
    }
    for (unsigned i = 0; i < t.n_segments; i++)
        if (!utf8_valid(t.segments[i], strlen(t.segments[i])))
            abort();
    router_match(&m, table, ARRAY_LEN(table), "GET", &t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *rest = text, *line;
    struct gate g;
    struct err e;
    bool framing, first = true;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    gate_init(&g);
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (first)
            check_target(line);
        else
            feed_header(&g, line);
        first = false;
    }
    if (gate_check(&g, "GET", "HTTP/1.1", &framing, &e) == 0 && (g.n_host > 1 || g.bad_length))
        abort();
    free(text);
    return 0;
}
