#include "request.h"

#include <string.h>

static int set_number(json_t *body, const char *field, const char *option, const char *text)
{
    struct err e = { 0 };
    uint64_t value;
    if (!text)
        return EXIT_DONE;
    if (units_parse_u64(text, &value, &e) < 0 || value > INT64_MAX)
        return cli_usage("--%s takes a whole number, not \"%.40s\"", option, text);
    json_object_set_new(body, field, json_integer((json_int_t)value));
    return EXIT_DONE;
}

static void set_text(json_t *body, const char *field, const char *text)
{
    if (text)
        json_object_set_new(body, field, json_string(text));
}

static json_t *avoid_list(const struct cli_options *o)
{
    json_t *list = json_array();
    for (const char *const *p = o->avoid; *p; p++)
        json_array_append_new(list, json_string(*p));
    return list;
}

int request_body(struct cli *c, json_t **out)
{
    const struct cli_options *o = &c->options;
    struct err e = { 0 };
    uint64_t size_bytes;
    if (units_parse_size(c->operands[1], &size_bytes, &e) < 0)
        return cli_usage("%s", e.detail);
    CLEANUP(json_cleanup) json_t *body = json_object();
    set_text(body, "compute_node", c->operands[0]);
    json_object_set_new(body, "size_bytes", json_integer((json_int_t)size_bytes));
    set_text(body, "donor", o->donor);
    set_text(body, "policy", o->policy);
    set_text(body, "anti_affinity", o->anti_affinity);
    if (o->avoid[0])
        json_object_set_new(body, "avoid", avoid_list(o));
    int rc = set_number(body, "channels", "channels", o->channels);
    if (rc == EXIT_DONE)
        rc = set_number(body, "max_cost_ns", "max-cost", o->max_cost);
    if (rc == EXIT_DONE)
        rc = set_number(body, "bandwidth_gbps", "bandwidth", o->bandwidth);
    if (rc == EXIT_DONE)
        *out = TAKE(body);
    return rc;
}
