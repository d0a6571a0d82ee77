/* test_emulator_vm.c - agent/emulator/vm.h: DIMMs for buffers, with a QEMU that is none and a lender that is this
 * process. */
/* links: memlane-emulator-vm */
#include "vm.h"

#include "donor.h"
#include "fake_qemu.h"
#include "json.h"
#include "power.h"
#include "unit_main.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SIZE UINT64_C(0x8000000)
#define WINDOW_BYTES (UINT64_C(4) << 30)

static const char rack_text[] =
    "{\"name\":\"t\",\"nodes\":["
    "{\"name\":\"c\",\"memory_bytes\":1073741824,\"free_bytes\":536870912,\"block_bytes\":134217728,\"adapters\":["
    "{\"name\":\"afu0\",\"role\":\"compute\",\"ports\":2,\"window_addr\":\"0x100000000\",\"window_bytes\":"
    "4294967296}]},"
    "{\"name\":\"m\",\"memory_bytes\":1073741824,\"free_bytes\":536870912,\"block_bytes\":134217728,\"adapters\":["
    "{\"name\":\"afu0\",\"role\":\"memory\",\"ports\":2}]}],"
    "\"switches\":[],"
    "\"links\":[{\"a\":\"c/afu0/0\",\"b\":\"m/afu0/0\",\"latency_ns\":1,\"gbps\":100}]}";

static struct emulator em;
static struct box_adapter *compute, *memory;
static char *buffer; /* what the lender has mapped */
static unsigned n_on, n_off;

/* ---- power.h, as far as it concerns the machine ---- */
int power_on(struct emulator *emulator, struct box_node *n, struct err *e)
{
    (void)emulator;
    (void)e;
    n->state->on = true;
    n_on++;
    return 0;
}

void power_off(struct emulator *emulator, struct box_node *n, const char *why)
{
    (void)emulator;
    (void)why;
    n->state->on = false;
    n_off++;
    vm_power_off(n->vm);
}

/* ---- */
static void make_box(void)
{
    struct rack rack = { 0 };
    struct err e = { 0 };
    json_t *j = NULL;

    ck_assert_int_eq(json_parse(&j, rack_text, strlen(rack_text), &e), 0);
    ck_assert_msg(rack_decode(&rack, j, &e) == 0, "%s", e.detail);
    json_decref(j);
    ck_assert_msg(box_new(&em.box, &rack, NULL, false, &e) == 0, "%s", e.detail);
    compute = &box_node_find(em.box, "c")->adapters[0];
    memory = &box_node_find(em.box, "m")->adapters[0];
    memory->node->state->on = true;
    compute->regs->channels = memory->regs->channels = 3;
    memory->regs->control = 1;
    snprintf(memory->node->buffers, sizeof memory->node->buffers, "%s/buffers", qemu.dir);
    ck_assert_int_eq(mkdir(memory->node->buffers, 0700), 0);
    ck_assert_int_eq(donor_attach(memory, getpid(), &e), 0);
}

/* Maps 'size' bytes of the file of a buffer, from 'file_offset' on, at 'addr'. */
static void map_file(const char *id, char *addr, uint64_t size, uint64_t file_offset)
{
    char path[160];
    snprintf(path, sizeof path, "%s/buffers/%s", qemu.dir, id);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(fd, (off_t)SIZE), 0);
    ck_assert_ptr_eq(
        mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, (off_t)file_offset), addr);
    close(fd);
}

/* The address space behind the window is the lender's alone, as in an arena. */
static void lend(const char *id)
{
    buffer = mmap(NULL, WINDOW_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(buffer, MAP_FAILED);
    map_file(id, buffer, SIZE, 0);
}

/* Section 0 leads to the buffer, which is then 'offset' into the window. */
static void lead(uint64_t offset)
{
    compute->regs->section[0] = ((uint64_t)(uintptr_t)buffer - offset) | 1;
}

static void lead_to_start(void)
{
    lead(0);
}

static void park(void)
{
    compute->regs->section[0] = wire_section_parked(0) | 1;
}

static void begin(const char *window)
{
    struct err e = { 0 };
    char option[320];

    qemu_setup();
    em = (struct emulator){ .loop = qemu.loop };
    n_on = n_off = 0;
    make_box();
    lend("a1");
    snprintf(option, sizeof option, "c,qmp=%s%s%s%s", qemu.path, window ? ",window=" : "", window ? qemu.dir : "",
             window ? window : "");
    ck_assert_msg(vm_add(&em, option, &e) == 0, "%s", e.detail);
}

static void setup(void)
{
    begin(NULL);
}

static void setup_window(void)
{
    begin("/buffers/a1");
}

static void teardown(void)
{
    vms_free(&em);
    munmap(buffer, WINDOW_BYTES);
    donor_detach(memory);
    box_free(em.box);
    qemu_teardown();
}

static void come_up(const char *devices)
{
    char text[600];
    qemu_negotiate();
    qemu_hear("query-memory-devices");
    snprintf(text, sizeof text, "{\"return\": [%s], \"id\": \"devices\"}\n", devices);
    qemu_say(text);
}

static void plugged(const char *name)
{
    char text[200];
    snprintf(text, sizeof text, "{\"return\": {}, \"id\": \"buffer%s\"}\n{\"return\": {}, \"id\": \"dimm%s\"}\n", name,
             name);
    qemu_say(text);
}

static void script_plug(void)
{
    come_up("");
    qemu_hear("\"mem-path\":\"/dev/shm/memlane-test-");
    qemu_hear(
        "\"id\":\"dimm0.m.a1\",\"memdev\":\"buffer0.m.a1\",\"node\":1,\"addr\":4831838208}"); /* WINDOW + offset */
    plugged("0.m.a1");
    qemu_act(park);
    qemu_hear("device_del");
    qemu_say("{\"return\": {}, \"id\": \"unplug\"}\n{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": "
             "\"dimm0.m.a1\"}}\n");
    qemu_hear("\"object-del\",\"id\":\"drop\",\"arguments\":{\"id\":\"buffer0.m.a1\"}");
}

START_TEST(a_buffer_behind_a_section_is_a_dimm_until_the_section_is_parked)
{
    lead(UINT64_C(0x20000000));
    qemu_run(script_plug);
    ck_assert_uint_eq(n_on, 1);
}
END_TEST

static void script_refused(void)
{
    come_up("");
    qemu_hear("object-add");
    qemu_hear("device_add");
    qemu_say("{\"return\": {}, \"id\": \"buffer0.m.a1\"}\n"
             "{\"error\": {\"desc\": \"no slot\"}, \"id\": \"dimm0.m.a1\"}\n");
    qemu_hear("\"object-del\",\"id\":\"drop\",\"arguments\":{\"id\":\"buffer0.m.a1\"}");
    qemu_hear("\"id\":\"buffer1.m.a1\"");
    qemu_hear("\"id\":\"dimm1.m.a1\"");
}

START_TEST(a_refused_dimm_leaves_no_memory_behind_and_is_tried_again)
{
    lead(0);
    qemu_run(script_refused);
}
END_TEST

#define TAKEN                                                                                                          \
    "{\"type\": \"dimm\", \"data\": {\"id\": \"dimm7.m.a1\", \"addr\": 4294967296, \"size\": 134217728, \"node\": 1}}"

static void script_taken_up(void)
{
    come_up(TAKEN ", {\"type\": \"dimm\", \"data\": {\"id\": \"of-somebody\", \"addr\": 4294967296, \"size\": 1}}, 3");
    poll(NULL, 0, 200); /* some ticks, in which nothing is plugged a second time */
    qemu_act(park);
    qemu_hear("\"device_del\",\"id\":\"unplug\",\"arguments\":{\"id\":\"dimm7.m.a1\"}");
    qemu_say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"dimm7.m.a1\"}}\n");
    qemu_hear("\"id\":\"buffer7.m.a1\"");
    qemu_act(lead_to_start);
    qemu_hear("\"id\":\"buffer8.m.a1\"");
}

START_TEST(a_dimm_that_an_earlier_emulator_plugged_is_taken_up)
{
    lead(0);
    qemu_run(script_taken_up);
}
END_TEST

static void script_gone(void)
{
    come_up(TAKEN);
    qemu_hear("device_del");
}

START_TEST(a_dimm_whose_buffer_has_gone_meanwhile_is_unplugged)
{
    char path[160];
    snprintf(path, sizeof path, "%s/buffers/a1", qemu.dir);
    ck_assert_int_eq(unlink(path), 0);
    lead(0);
    qemu_run(script_gone);
}
END_TEST

static void script_reset(void)
{
    come_up("");
    qemu_hear("object-add");
    qemu_hear("device_add");
    plugged("0.m.a1");
    qemu_say("{\"event\": \"RESET\", \"data\": {\"guest\": true}}\n");
    qemu_hear("query-memory-devices"); /* and no quit */
}

START_TEST(a_reset_is_a_loss_of_power_for_the_adapters_only)
{
    lead(0);
    qemu_run(script_reset);
    ck_assert_uint_eq(n_off, 1);
    ck_assert_uint_eq(n_on, 2);
    ck_assert(compute->node->state->on);
}
END_TEST

static void script_end(void)
{
    come_up("");
    qemu_hear("object-add");
    qemu_hear("device_add");
    qemu_say("{\"return\": {}, \"id\": \"dimm0");
    qemu_hang_up();
    come_up(""); /* another machine: it has no DIMM yet */
    qemu_hear("\"id\":\"buffer1.m.a1\"");
}

START_TEST(a_machine_that_ends_in_an_answer_is_off_and_the_next_begins_empty)
{
    lead(0);
    qemu_run(script_end);
    ck_assert_uint_eq(n_off, 1);
    ck_assert_uint_eq(n_on, 2);
}
END_TEST

static void script_up(void)
{
    come_up(TAKEN);
    poll(NULL, 0, 100);
}

/* The QEMU is this process, too. */
START_TEST(what_the_machine_touched_is_traffic)
{
    lead(0);
    qemu_run(script_up);
    vm_count(compute);
    compute->regs->flits_sent = 0;
    vm_count(compute);
    ck_assert_uint_eq(compute->regs->flits_sent, 0);
    memset(buffer + (16 << 20), 1, 5 * 4096);
    vm_count(compute);
    ck_assert_uint_ge(compute->regs->flits_sent, 5 * 4096 / 64);
}
END_TEST

START_TEST(a_section_leads_only_to_the_windows_own_file_in_one_piece)
{
    uint64_t value = (uint64_t)(uintptr_t)buffer | 1;
    compute->node->state->on = true;
    ck_assert(vm_allows(compute, 0, value));
    map_file("a1", buffer + SIZE / 2, SIZE / 2, SIZE / 4); /* the right file, but not contiguous */
    ck_assert(!vm_allows(compute, 0, value));
    map_file("a1", buffer + SIZE / 2, SIZE / 2, SIZE / 2);
    ck_assert(vm_allows(compute, 0, value));
    ck_assert(!vm_allows(compute, 0, value + 4096));   /* shifted by a page */
    map_file("a2", buffer + SIZE / 2, 4096, SIZE / 2); /* a page of another file */
    ck_assert(!vm_allows(compute, 0, value));
    ck_assert(vm_allows(compute, 0, wire_section_parked(0) | 1));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("emulator_vm");
    TCase *tc = tcase_create("vm");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 40);
    tcase_add_test(tc, a_buffer_behind_a_section_is_a_dimm_until_the_section_is_parked);
    tcase_add_test(tc, a_refused_dimm_leaves_no_memory_behind_and_is_tried_again);
    tcase_add_test(tc, a_dimm_that_an_earlier_emulator_plugged_is_taken_up);
    tcase_add_test(tc, a_dimm_whose_buffer_has_gone_meanwhile_is_unplugged);
    tcase_add_test(tc, a_reset_is_a_loss_of_power_for_the_adapters_only);
    tcase_add_test(tc, a_machine_that_ends_in_an_answer_is_off_and_the_next_begins_empty);
    tcase_add_test(tc, what_the_machine_touched_is_traffic);
    suite_add_tcase(suite, tc);
    tc = tcase_create("window");
    tcase_add_checked_fixture(tc, setup_window, teardown);
    tcase_add_test(tc, a_section_leads_only_to_the_windows_own_file_in_one_piece);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
