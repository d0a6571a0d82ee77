/* wire: what goes in comes out, and what a peer should not send is refused. */
#include "json.h"
#include "unit_main.h"
#include "wire.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct err e;

static void put(char *out, const char *text)
{
    memcpy(out, text, strlen(text) + 1);
}

static struct wire_registration *registration(void)
{
    static struct wire_registration r;
    memset(&r, 0, sizeof r);
    put(r.name, "n1");
    put(r.machine_id, "0123456789abcdef0123456789abcdef");
    put(r.boot_id, "b1");
    put(r.version, "0.1.0");
    r.protocol_min = WIRE_PROTOCOL_MIN;
    r.protocol_max = WIRE_PROTOCOL_MAX;
    r.memory_bytes = UINT64_C(1) << 40;
    r.free_bytes = 1234567;
    r.block_bytes = UINT64_C(1) << 28;
    r.n_adapters = 2;
    r.adapters[0] = (struct wire_adapter){ "afu0", WIRE_COMPUTE, 2, UINT64_C(0x2000000000000), UINT64_C(4) << 40 };
    r.adapters[1] = (struct wire_adapter){ "afu1", WIRE_MEMORY, 1, 0, 0 };
    r.n_labels = 2;
    put(r.labels[0].key, "rack_unit");
    put(r.labels[0].value, "12");
    put(r.labels[1].key, "feed");
    put(r.labels[1].value, "a b");
    r.n_findings = 1;
    put(r.findings[0].code, "auto_online_policy");
    r.findings[0].severity = WIRE_WARNING;
    put(r.findings[0].detail, "blocks come online by themselves");
    put(r.findings[0].advice, "echo offline > \"auto_online_blocks\"");
    r.n_switches = 1;
    put(r.switches[0], "ocs1");
    return &r;
}

static struct wire_want_buffer want_buffers[] = {
    { "a1", WIRE_CREATE, 3, "afu1", "n2", "afu0", 7, UINT64_C(1) << 39, UINT64_C(1) << 30, "" },
    { "a2", WIRE_KEEP, 0, "afu1", "n2", "afu0", 0, 0, UINT64_C(1) << 30, "L-1" },
};
static struct wire_want_section want_sections[] = { { "afu0", 1, true, UINT64_C(0x3fffff0000000001) } };
static struct wire_want_channel want_channels[] = { { "afu0", 1, true }, { "afu0", 0, false } };
static struct wire_want_crossconnect want_crossconnects[] = { { "ocs1", 1, 48, true } };
static struct wire_want_segment want_segments[] = { { "a1", WIRE_ABSENT, 0, "afu0", 2, 0, UINT64_C(1) << 30 } };

static struct wire_desired desired(void)
{
    return (struct wire_desired){ .epoch = 4,
                                  .revision = 99,
                                  .instance = "i1",
                                  .n_buffers = 2,
                                  .buffers = want_buffers,
                                  .n_sections = 1,
                                  .sections = want_sections,
                                  .n_channels = 2,
                                  .channels = want_channels,
                                  .n_crossconnects = 1,
                                  .crossconnects = want_crossconnects,
                                  .n_segments = 1,
                                  .segments = want_segments };
}

static struct wire_seen_adapter seen_adapters[] = {
    { .name = "afu0",
      .ok = true,
      .channels = 3,
      .settled = 1,
      .sections = { 0, UINT64_MAX, 2, 3, 4, 5, 6, UINT64_C(0x8000000000000000) },
      .error_capture = UINT64_MAX,
      .flits_sent = INT64_MAX,
      .emulated = true },
    { .name = "afu1", .ok = false, .error = "cannot open", .lender_id = "L1" },
};
static struct wire_seen_buffer seen_buffers[] = {
    { "a1", true, 0, "", "afu1", "n2", "afu0", 3, 4096, 8192, UINT64_C(0x7f0000000000), "L1" },
    { "a2", false, 2, "no memory", "afu1", "n2", "afu0", 3, 0, 4096, 0, "" },
};
static struct wire_seen_segment seen_segments[] = {
    { "a3", "afu0", 1, 0, UINT64_C(1) << 30, 4, 3, true, true, false, 2, 0, "" },
    { "", "afu0", 1, 0, UINT64_C(1) << 30, 4, 0, false, false, true, -1, 1, "memory7: busy" },
};
static struct wire_seen_pair seen_pairs[] = { { "ocs1", 1, 2 } };
static struct wire_seen_signal seen_signals[] = { { "ocs1", 1, WIRE_SIGNAL_UP }, { "ocs1", 2, WIRE_SIGNAL_DOWN } };
static struct wire_finding seen_findings[] = { { "low_memory", WIRE_ERROR, "little", "buy" } };

static struct wire_observed observed(void)
{
    return (struct wire_observed){ .session = "s1",
                                   .sequence = 17,
                                   .boot_id = "b1",
                                   .instance = "i1",
                                   .epoch = 4,
                                   .revision = 98,
                                   .memory_bytes = 5,
                                   .free_bytes = 4,
                                   .locked_bytes = 3,
                                   .switches_ok = true,
                                   .n_adapters = 2,
                                   .adapters = seen_adapters,
                                   .n_buffers = 2,
                                   .buffers = seen_buffers,
                                   .n_segments = 2,
                                   .segments = seen_segments,
                                   .n_pairs = 1,
                                   .pairs = seen_pairs,
                                   .n_signals = 2,
                                   .signals = seen_signals,
                                   .n_findings = 1,
                                   .findings = seen_findings };
}

/* Through text, as it travels. */
static json_t *travelled(json_t *sent)
{
    json_t *received = NULL;
    ck_assert_ptr_nonnull(sent);
    char *text = json_text(sent);
    ck_assert_ptr_nonnull(text);
    ck_assert_msg(json_parse(&received, text, strlen(text), &e) == 0, "%s", e.detail);
    free(text);
    json_decref(sent);
    return received;
}

START_TEST(a_registration_comes_back_as_it_went)
{
    static struct wire_registration out;
    json_t *j = travelled(wire_registration_encode(registration()));
    ck_assert_msg(wire_registration_decode(&out, j, &e) == 0, "%s", e.detail);
    ck_assert_mem_eq(&out, registration(), sizeof out);
    json_decref(j);
}
END_TEST

START_TEST(the_answer_to_a_registration_comes_back)
{
    struct wire_registered in = { .session = "s1",
                                  .epoch = 3,
                                  .instance = "i1",
                                  .protocol = 1,
                                  .heartbeat_ms = 1000,
                                  .poll_wait_s = 30 },
                           out;
    json_t *j = travelled(wire_registered_encode(&in));
    ck_assert_ptr_null(json_object_get(j, "credential"));
    ck_assert_int_eq(wire_registered_decode(&out, j, &e), 0);
    ck_assert_mem_eq(&out, &in, sizeof out);
    json_decref(j);
    put(in.credential, "secret");
    j = travelled(wire_registered_encode(&in));
    ck_assert_int_eq(wire_registered_decode(&out, j, &e), 0);
    ck_assert_str_eq(out.credential, "secret");
    json_decref(j);
}
END_TEST

START_TEST(desired_state_comes_back_as_it_went)
{
    struct wire_desired in = desired(), out;
    json_t *j = travelled(wire_desired_encode(&in));
    ck_assert_str_eq(json_string_value(json_object_get(j, "cursor")), "4.99");
    ck_assert_msg(wire_desired_decode(&out, j, &e) == 0, "%s", e.detail);
    ck_assert_uint_eq(out.epoch, 4);
    ck_assert_uint_eq(out.revision, 99);
    ck_assert_uint_eq(out.n_buffers, 2);
    ck_assert_mem_eq(out.buffers, want_buffers, sizeof want_buffers);
    ck_assert_mem_eq(out.sections, want_sections, sizeof want_sections);
    ck_assert_mem_eq(out.channels, want_channels, sizeof want_channels);
    ck_assert_mem_eq(out.crossconnects, want_crossconnects, sizeof want_crossconnects);
    ck_assert_mem_eq(out.segments, want_segments, sizeof want_segments);
    wire_desired_done(&out);
    ck_assert_ptr_null(out.buffers);
    json_decref(j);
}
END_TEST

START_TEST(observed_state_comes_back_as_it_went)
{
    struct wire_observed in = observed(), out;
    json_t *j = travelled(wire_observed_encode(&in));
    ck_assert_msg(wire_observed_decode(&out, j, &e) == 0, "%s", e.detail);
    ck_assert_str_eq(out.session, "s1");
    ck_assert(out.switches_ok);
    ck_assert_uint_eq(out.n_segments, 2);
    ck_assert_mem_eq(out.adapters, seen_adapters, sizeof seen_adapters);
    ck_assert_mem_eq(out.buffers, seen_buffers, sizeof seen_buffers);
    ck_assert_mem_eq(out.segments, seen_segments, sizeof seen_segments);
    ck_assert_mem_eq(out.pairs, seen_pairs, sizeof seen_pairs);
    ck_assert_mem_eq(out.signals, seen_signals, sizeof seen_signals);
    ck_assert_mem_eq(out.findings, seen_findings, sizeof seen_findings);
    wire_observed_done(&out);
    json_decref(j);
}
END_TEST

START_TEST(text_that_is_no_clean_utf8_is_cleaned)
{
    struct wire_finding f = { "odd", WIRE_INFO, "a\nb\xff", "" };
    struct wire_observed in = { .session = "s1", .boot_id = "b1", .n_findings = 1, .findings = &f }, out;
    json_t *j = travelled(wire_observed_encode(&in));
    ck_assert_msg(wire_observed_decode(&out, j, &e) == 0, "%s", e.detail);
    ck_assert_str_eq(out.findings[0].detail, "a?b?");
    wire_observed_done(&out);
    json_decref(j);
}
END_TEST

/* One change each to a valid message, by path: "buffers.0.size_bytes" = JSON text; NULL takes the member out. */
struct change {
    const char *path, *json;
};

static void apply(json_t *root, const struct change *c)
{
    char path[128], *save = NULL;
    snprintf(path, sizeof path, "%s", c->path);
    json_t *at = root;
    char *part = strtok_r(path, ".", &save);
    for (char *next; (next = strtok_r(NULL, ".", &save)); part = next)
        at = json_is_array(at) ? json_array_get(at, (size_t)(part[0] - '0')) : json_object_get(at, part);
    json_t *value = c->json ? json_loads(c->json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    ck_assert_ptr_nonnull(at);
    if (c->json)
        ck_assert_ptr_nonnull(value);
    if (!value)
        json_object_del(at, part);
    else if (json_is_array(at))
        json_array_set_new(at, (size_t)(part[0] - '0'), value);
    else
        json_object_set_new(at, part, value);
}

START_TEST(hostile_desired_states_are_refused)
{
    static const struct change bad[] = {
        { "epoch", NULL },
        { "epoch", "-1" },
        { "epoch", "4.0" },
        { "revision", "\"99\"" },
        { "cursor", "\"4.98\"" },
        { "cursor", "\"4\"" },
        { "instance", "\"../x\"" },
        { "surprise", "1" },
        { "buffers", NULL },
        { "buffers", "{}" },
        { "buffers.0", "7" },
        { "buffers.0.id", "\"\"" },
        { "buffers.0.id", "\"a/b\"" },
        { "buffers.0.id", "\"0123456789012345678901234567890123456789\"" },
        { "buffers.0.want", "\"destroy\"" },
        { "buffers.0.section", "8" },
        { "buffers.0.size_bytes", "-4096" },
        { "buffers.0.adapter", "\"AFU\"" },
        { "buffers.0.extra", "null" },
        { "sections.0.value", "12" },
        { "sections.0.value", "\"0x\"" },
        { "sections.0.value", "\"0x10000000000000000\"" },
        { "sections.0.parked", "1" },
        { "channels.0.port", "2" },
        { "crossconnects.0.port_a", "0" },
        { "crossconnects.0.port_a", "65536" },
        { "crossconnects.0.switch", NULL },
        { "segments.0.attempt", "4294967296" },
    };
    struct wire_desired in = desired(), out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *j = travelled(wire_desired_encode(&in));
        apply(j, &bad[i]);
        memset(&out, 0x55, sizeof out);
        struct wire_desired before = out;
        ck_assert_msg(wire_desired_decode(&out, j, &e) == -1, "%s = %s passed", bad[i].path, bad[i].json);
        ck_assert_mem_eq(&out, &before, sizeof out); /* outputs change only on success */
        json_decref(j);
    }
}
END_TEST

START_TEST(hostile_observed_states_are_refused)
{
    static const struct change bad[] = {
        { "session", NULL },
        { "sequence", "9223372036854775808.0" },
        { "switches_ok", "0" },
        { "adapters.0.channels", "4" },
        { "adapters.0.sections", "[\"0x0\"]" },
        { "adapters.0.sections.3", "3" },
        { "adapters.0.sections.3", "\"0xg\"" },
        { "adapters.0.sections", NULL },
        { "adapters.1.error", "\"a\\u0007b\"" },
        { "buffers.0.effective_addr", "\"7f\"" },
        { "segments.0.blocks_online", "5" },
        { "segments.0.numa_node", "-1" },
        { "segments.0.numa_node", "4294967295" },
        { "crossconnects.0.port_b", "1" },
        { "signals.0.signal", "\"maybe\"" },
        { "findings.0.severity", "\"fatal\"" },
        { "pairs", "[]" },
    };
    struct wire_observed in = observed(), out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *j = travelled(wire_observed_encode(&in));
        apply(j, &bad[i]);
        ck_assert_msg(wire_observed_decode(&out, j, &e) == -1, "%s = %s passed", bad[i].path, bad[i].json);
        json_decref(j);
    }
}
END_TEST

START_TEST(hostile_registrations_are_refused)
{
    static const struct change bad[] = {
        { "name", "\"N1\"" },
        { "machine_id", "\"\"" },
        { "version", "\"0123456789012345678901234567890123456789\"" },
        { "protocol_min", "\"1\"" },
        { "known_epoch", "9007199254740992" },
        { "known_epoch", "9223372036854775807" },
        { "known_epoch", "-1" },
        { "known_revision", "9007199254740992" },
        { "known_revision", "9223372036854775807" },
        { "adapters.0.ports", "0" },
        { "adapters.0.ports", "3" },
        { "adapters.0.role", "\"both\"" },
        { "adapters.1.name", "\"afu0\"" }, /* twice */
        { "labels", "[]" },
        { "labels.feed", "7" },
        { "labels.feed", "\"\"" },
        { "labels.feed", "\"a\\u0000b\"" },
        { "switches", "[\"ocs1\",\"ocs1\"]" },
        { "switches.0", "\"ocs1\\u0000x\"" },
        { "switches.0", "null" },
    };
    static struct wire_registration out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *j = travelled(wire_registration_encode(registration()));
        apply(j, &bad[i]);
        ck_assert_msg(wire_registration_decode(&out, j, &e) == -1, "%s = %s passed", bad[i].path, bad[i].json);
        json_decref(j);
    }
    json_t *array = json_array();
    ck_assert_int_eq(wire_registration_decode(&out, array, &e), -1);
    json_decref(array);
}
END_TEST

START_TEST(lists_are_bounded)
{
    struct wire_desired in = desired(), out;
    struct wire_want_channel *many = calloc(WIRE_MAX_OBJECTS + 1, sizeof *many);
    ck_assert_ptr_nonnull(many);
    for (size_t i = 0; i <= WIRE_MAX_OBJECTS; i++)
        many[i] = want_channels[0];
    in.channels = many;
    for (in.n_channels = WIRE_MAX_OBJECTS; in.n_channels <= WIRE_MAX_OBJECTS + 1; in.n_channels++) {
        json_t *j = wire_desired_encode(&in);
        int rc = wire_desired_decode(&out, j, &e);
        ck_assert_int_eq(rc, in.n_channels <= WIRE_MAX_OBJECTS ? 0 : -1);
        if (!rc)
            wire_desired_done(&out);
        json_decref(j);
    }
    free(many);
}
END_TEST

START_TEST(section_values_are_those_of_the_hardware)
{
    /* ea = ra + (reg & ~0x3f): section bits of ra are not stripped */
    uint64_t base = UINT64_C(0x7f0000000000);
    for (unsigned n = 0; n < WIRE_SECTIONS; n++) {
        uint64_t ra = ((uint64_t)n << 40) + 0x1000;
        uint64_t reg = wire_section_value(base, n, WIRE_NETID_BOTH);
        ck_assert_uint_eq(ra + (reg & ~UINT64_C(0x3f)), base + 0x1000);
        ck_assert_uint_eq(reg & 0x3f, 3);
        ck_assert(!wire_section_is_parked(reg, n));
        ck_assert(wire_section_is_parked(wire_section_parked(n), n));
        ck_assert(wire_section_is_parked(wire_section_parked(n) ^ WIRE_NETID_BOTH, n));
        ck_assert(!wire_section_is_parked(wire_section_parked(n), (n + 1) % WIRE_SECTIONS));
        ck_assert(!wire_section_is_parked(0, n));
    }
    ck_assert_uint_eq(wire_section_parked(1) & ~UINT64_C(0x3f), UINT64_C(0x3fffff0000000000));
}
END_TEST

START_TEST(cursors_are_strict)
{
    static const char *const bad[] = { "",      ".",    "1",    "1.",   ".1",
                                       "1.2.3", "1.-2", " 1.2", "1.2 ", "18446744073709551616.1",
                                       "a.b" };
    char text[WIRE_CURSOR_MAX];
    uint64_t epoch = 0, revision = 0;
    ck_assert_str_eq(wire_cursor_format(UINT64_MAX, UINT64_MAX, text), "18446744073709551615.18446744073709551615");
    ck_assert_int_eq(wire_cursor_parse(text, &epoch, &revision, &e), 0);
    ck_assert(epoch == UINT64_MAX && revision == UINT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(wire_cursor_parse(bad[i], &epoch, &revision, &e) == -1, "'%s' passed", bad[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *tc = tcase_create("wire");
    tcase_add_test(tc, a_registration_comes_back_as_it_went);
    tcase_add_test(tc, the_answer_to_a_registration_comes_back);
    tcase_add_test(tc, desired_state_comes_back_as_it_went);
    tcase_add_test(tc, observed_state_comes_back_as_it_went);
    tcase_add_test(tc, text_that_is_no_clean_utf8_is_cleaned);
    tcase_add_test(tc, hostile_desired_states_are_refused);
    tcase_add_test(tc, hostile_observed_states_are_refused);
    tcase_add_test(tc, hostile_registrations_are_refused);
    tcase_add_test(tc, lists_are_bounded);
    tcase_add_test(tc, section_values_are_those_of_the_hardware);
    tcase_add_test(tc, cursors_are_strict);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
