/* Whatever a peer sends as registration, answer, desired or observed state: no crash, no leak, and what is accepted
 * comes back the same when it is sent on. */
#include "json.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(json_t *again, const json_t *first)
{
    if (!again || !json_equal(again, first))
        abort();
    json_decref(again);
}

static void desired(const json_t *j)
{
    struct wire_desired a, b;
    struct err e;
    if (wire_desired_decode(&a, j, &e) < 0)
        return;
    json_t *text = wire_desired_encode(&a);
    if (!text || wire_desired_decode(&b, text, &e) < 0)
        abort();
    same(wire_desired_encode(&b), text);
    json_decref(text);
    wire_desired_done(&a);
    wire_desired_done(&b);
}

static void observed(const json_t *j)
{
    struct wire_observed a, b;
    struct err e;
    if (wire_observed_decode(&a, j, &e) < 0)
        return;
    json_t *text = wire_observed_encode(&a);
    if (!text || wire_observed_decode(&b, text, &e) < 0)
        abort();
    same(wire_observed_encode(&b), text);
    json_decref(text);
    wire_observed_done(&a);
    wire_observed_done(&b);
}

static void registration(const json_t *j)
{
    static struct wire_registration r;
    struct wire_registered answer;
    struct err e;
    if (wire_registration_decode(&r, j, &e) == 0)
        json_decref(wire_registration_encode(&r));
    if (wire_registered_decode(&answer, j, &e) == 0)
        json_decref(wire_registered_encode(&answer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    json_t *j = NULL;
    if (json_parse(&j, (const char *)data, size, &e) < 0)
        return 0;
    registration(j);
    desired(j);
    observed(j);
    json_decref(j);
    return 0;
}
