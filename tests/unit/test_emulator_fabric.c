/* links: memlane-emulator-core */
/* test_emulator_fabric.c - cables, cross-connects and memory blocks of an emulated rack, with a stand-in for the
 * donors' memory. */
#include "blocks.h"
#include "box.h"
#include "donor.h"
#include "fabric.h"
#include "json.h"
#include "systree.h"
#include "unit_main.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARENA UINT64_C(0x7f1200000000)
#define BLOCK UINT64_C(0x10000000)
#define WINDOW UINT64_C(0x2000000000000)

/* c borrows; m1 and m2 lend; all of c's and the donors' ports 0 hang on a switch, ports 1 of c and m1 on one cable. */
static const char rack_text[] =
    "{\"name\":\"t\",\"nodes\":["
    "{\"name\":\"c\",\"memory_bytes\":1073741824,\"free_bytes\":536870912,\"block_bytes\":268435456,\"adapters\":["
    "{\"name\":\"afu0\",\"role\":\"compute\",\"ports\":2,\"window_addr\":\"0x0002000000000000\",\"window_bytes\":"
    "4398046511104}]},"
    "{\"name\":\"m1\",\"memory_bytes\":1073741824,\"free_bytes\":536870912,\"block_bytes\":268435456,\"adapters\":["
    "{\"name\":\"afu0\",\"role\":\"memory\",\"ports\":2}]},"
    "{\"name\":\"m2\",\"memory_bytes\":1073741824,\"free_bytes\":536870912,\"block_bytes\":268435456,\"adapters\":["
    "{\"name\":\"afu0\",\"role\":\"memory\",\"ports\":2}]}],"
    "\"switches\":[{\"name\":\"s\",\"kind\":\"circuit\",\"ports\":4,\"latency_ns\":30,\"managed_by\":\"c\"}],"
    "\"links\":[{\"a\":\"c/afu0/0\",\"b\":\"s/1\",\"latency_ns\":1,\"gbps\":100},"
    "{\"a\":\"m1/afu0/0\",\"b\":\"s/2\",\"latency_ns\":1,\"gbps\":100},"
    "{\"a\":\"m2/afu0/0\",\"b\":\"s/3\",\"latency_ns\":1,\"gbps\":100},"
    "{\"a\":\"c/afu0/1\",\"b\":\"m1/afu0/1\",\"latency_ns\":1,\"gbps\":100}]}";

static struct box *box;
static struct box_adapter *compute, *m1, *m2;
static struct box_switch *sw;
static struct err e;
static const struct box_adapter *reached; /* by the last transaction */

static int stand_in(const struct box_adapter *memory, uint64_t addr, void *data, size_t len, bool write)
{
    if (addr < ARENA || addr >= ARENA + BLOCK)
        return -1;
    reached = memory;
    if (!write)
        memset(data, memory == m1 ? 1 : 2, len);
    return 0;
}

static void power_up(struct box_adapter *a, bool donor)
{
    a->node->state->on = true;
    a->regs->channels = 3;
    if (donor) {
        a->regs->control = 1;
        ck_assert_int_eq(donor_attach(a, 0, &e), 0);
    }
}

static void setup(void)
{
    struct rack rack = { 0 };
    json_t *j = NULL;

    ck_assert_int_eq(json_parse(&j, rack_text, strlen(rack_text), &e), 0);
    ck_assert_msg(rack_decode(&rack, j, &e) == 0, "%s", e.detail);
    json_decref(j);
    ck_assert_msg(box_new(&box, &rack, NULL, false, &e) == 0, "%s", e.detail);
    box->memory = stand_in;
    compute = &box_node_find(box, "c")->adapters[0];
    m1 = &box_node_find(box, "m1")->adapters[0];
    m2 = &box_node_find(box, "m2")->adapters[0];
    sw = box_switch_find(box, "s");
    power_up(compute, false);
    power_up(m1, true);
    power_up(m2, true);
    compute->regs->section[0] = ARENA | 1;
}

static void teardown(void)
{
    donor_detach(m1);
    donor_detach(m2);
    box_free(box);
}

static enum fabric_result read_line(uint64_t offset)
{
    unsigned char line[ADAPTER_LINE_BYTES];

    reached = NULL;
    return fabric_transfer(compute, offset, line, sizeof line, false);
}

START_TEST(a_transaction_goes_where_the_switch_leads_be_it_the_wrong_donor)
{
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    ck_assert_int_eq(fabric_connect(box, sw, 1, 2, &e), 0);
    ck_assert_int_eq(read_line(0), FABRIC_OK);
    ck_assert_ptr_eq(reached, m1);
    ck_assert_int_eq(fabric_disconnect(box, sw, 2, 1, &e), 0);
    ck_assert_int_eq(fabric_connect(box, sw, 3, 1, &e), 0);
    ck_assert_int_eq(read_line(0), FABRIC_OK);
    ck_assert_ptr_eq(reached, m2);
    ck_assert_uint_eq(compute->regs->flits_received, 6);
}
END_TEST

START_TEST(a_dead_part_anywhere_kills_the_circuit)
{
    uint8_t *down = &box->link_down[0];

    ck_assert_int_eq(fabric_connect(box, sw, 1, 2, &e), 0);
    compute->regs->channels = 2;
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    compute->regs->channels = 3;
    m1->regs->channels = 2;
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    m1->regs->channels = 3;
    *down = 1;
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    *down = 0;
    m1->regs->control = 0;
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    m1->regs->control = 1;
    m1->node->state->on = false;
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    m1->node->state->on = true;
    *m1->error = 1;
    ck_assert_int_eq(read_line(0), FABRIC_DEAD);
    *m1->error = 0;
    ck_assert_int_eq(read_line(0), FABRIC_OK);
    ck_assert_uint_eq(compute->regs->error, ADAPTER_ERROR_TIMEOUT);
}
END_TEST

START_TEST(a_parked_section_and_an_address_beyond_the_buffer_are_not_translated)
{
    ck_assert_int_eq(fabric_connect(box, sw, 1, 2, &e), 0);
    ck_assert_int_eq(read_line(BLOCK), FABRIC_UNTRANSLATED);
    ck_assert_uint_eq(m1->n_faults, 1);
    ck_assert_uint_eq(m1->fault_addr, ARENA + BLOCK);
    compute->regs->section[0] = wire_section_parked(0);
    ck_assert_int_eq(read_line(0), FABRIC_UNTRANSLATED);
    ck_assert_int_eq(read_line(UINT64_C(9) << 40), FABRIC_NO_SECTION);
}
END_TEST

START_TEST(bonded_traffic_alternates_and_both_legs_must_end_at_one_donor)
{
    compute->regs->section[0] = ARENA | 3;
    ck_assert_int_eq(fabric_connect(box, sw, 1, 2, &e), 0);
    ck_assert_ptr_eq(fabric_target(compute, 3), m1);
    box->link_down[3] = 1;
    ck_assert_ptr_null(fabric_target(compute, 3));
    ck_assert_int_ne(read_line(0), read_line(128)); /* one leg lives */
    box->link_down[3] = 0;
    ck_assert_int_eq(fabric_disconnect(box, sw, 1, 2, &e), 0);
    ck_assert_int_eq(fabric_connect(box, sw, 1, 3, &e), 0);
    ck_assert_ptr_null(fabric_target(compute, 3));
}
END_TEST

START_TEST(a_switch_port_is_joined_to_one_other)
{
    ck_assert_int_eq(fabric_connect(box, sw, 1, 2, &e), 0);
    ck_assert_int_eq(fabric_connect(box, sw, 2, 1, &e), 0);
    ck_assert_int_eq(fabric_connect(box, sw, 1, 3, &e), -1);
    ck_assert_int_eq(e.code, ERR_BUSY);
    ck_assert_int_eq(fabric_connect(box, sw, 3, 3, &e), -1);
    ck_assert_int_eq(fabric_connect(box, sw, 0, 3, &e), -1);
    ck_assert_int_eq(fabric_connect(box, sw, 3, 5, &e), -1);
    ck_assert_int_eq(fabric_disconnect(box, sw, 1, 3, &e), 0); /* not joined: nothing to do */
    ck_assert_int_eq(sw->cross[0], 2);
}
END_TEST

START_TEST(a_port_has_light_while_cable_and_far_end_live)
{
    ck_assert(fabric_signal(box, sw->first_port));
    box->link_down[0] = 1;
    ck_assert(!fabric_signal(box, sw->first_port));
    box->link_down[0] = 0;
    compute->node->state->on = false;
    ck_assert(!fabric_signal(box, sw->first_port));
    ck_assert(!fabric_signal(box, sw->first_port + 3)); /* no cable */
}
END_TEST

START_TEST(blocks_answer_as_linux_does)
{
    struct box_node *n = compute->node;
    uint64_t number = WINDOW / BLOCK;
    struct block b;

    ck_assert_int_eq(blocks_change(n, number, BLOCKS_ON_MOVABLE), -ENODEV);
    ck_assert_int_eq(blocks_probe(n, WINDOW + 1), -EINVAL);
    ck_assert_int_eq(blocks_probe(n, UINT64_C(1) << 62), -ERANGE);
    ck_assert_int_eq(blocks_probe(n, 0), -EEXIST);
    ck_assert_int_eq(blocks_probe(n, WINDOW), 0);
    ck_assert_int_eq(blocks_probe(n, WINDOW), -EEXIST);
    ck_assert_int_eq(blocks_change(n, number, BLOCKS_OFF), -EINVAL);
    ck_assert_int_eq(blocks_change(n, number, BLOCKS_ON_MOVABLE), 0);
    ck_assert_int_eq(blocks_change(n, number, BLOCKS_ON_MOVABLE), -EINVAL);
    ck_assert(blocks_get(n, number, &b) && b.movable);
    ck_assert_uint_eq(blocks_online_bytes(compute), BLOCK);
    ck_assert_int_eq(blocks_change(n, 0, BLOCKS_OFF), -EBUSY);
    ck_assert(blocks_set_fault(n, number, BLOCKS_ENOMEM));
    ck_assert_int_eq(blocks_change(n, number, BLOCKS_OFF), -ENOMEM);
    ck_assert(blocks_set_fault(n, number, BLOCKS_HANG));
    ck_assert_int_eq(blocks_change(n, number, BLOCKS_OFF), BLOCKS_HANGS);
    ck_assert(blocks_set_fault(n, number, BLOCKS_OK));
    ck_assert_int_eq(blocks_change(n, number, BLOCKS_OFF), 0);
    ck_assert_uint_eq(compute->n_online, 0);
    n->state->auto_online = BLOCKS_ON;
    ck_assert_int_eq(blocks_probe(n, WINDOW + BLOCK), 0);
    ck_assert(blocks_get(n, number + 1, &b) && b.state == BLOCKS_ONLINE && !b.movable);
    blocks_reboot(n);
    ck_assert(!blocks_exists(n, number) && compute->n_online == 0);
}
END_TEST

START_TEST(the_tree_lists_every_name_once_and_finds_it_again)
{
    struct systree_entry entry;
    uint64_t at = 0, ino = SYSTREE_ROOT;
    static const char *const path[] = { "c", "sys", "devices", "system", "memory" };
    unsigned n_blocks = 0;
    int error;

    ck_assert_int_eq(blocks_probe(compute->node, WINDOW + 7 * BLOCK), 0);
    for (size_t i = 0; i < ARRAY_LEN(path); i++) {
        ino = systree_lookup(box, ino, path[i], &error);
        ck_assert_msg(ino != 0, "%s", path[i]);
    }
    while (systree_next(box, ino, &at, &entry)) {
        ck_assert_uint_eq(systree_lookup(box, ino, entry.name, &error), entry.ino);
        n_blocks += strncmp(entry.name, "memory", 6) == 0;
    }
    ck_assert_uint_eq(n_blocks, 5); /* four local ones, and the probed one */
    ck_assert_uint_eq(systree_lookup(box, ino, "memory00", &error), 0);
    ck_assert_uint_eq(systree_lookup(box, ino, "memory4", &error), 0);
    compute->node->state->on = false;
    ck_assert_uint_eq(systree_lookup(box, ino, "memory0", &error), 0);
    ck_assert_int_eq(error, EIO);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("emulator_fabric");
    TCase *t = tcase_create("fabric");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_transaction_goes_where_the_switch_leads_be_it_the_wrong_donor);
    tcase_add_test(t, a_dead_part_anywhere_kills_the_circuit);
    tcase_add_test(t, a_parked_section_and_an_address_beyond_the_buffer_are_not_translated);
    tcase_add_test(t, bonded_traffic_alternates_and_both_legs_must_end_at_one_donor);
    tcase_add_test(t, a_switch_port_is_joined_to_one_other);
    tcase_add_test(t, a_port_has_light_while_cable_and_far_end_live);
    tcase_add_test(t, blocks_answer_as_linux_does);
    tcase_add_test(t, the_tree_lists_every_name_once_and_finds_it_again);
    suite_add_tcase(s, t);
    return unit_main(s);
}
