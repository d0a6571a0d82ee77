/* What the units promise to servers whose memory is lent, read from the files themselves. */
#include "unit_main.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>

#include <stdlib.h>
#include <string.h>

static char text[8192];

static void load(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, MEMLANE_SOURCE_DIR "/deploy/systemd/%s", name);
    FILE *f = fopen(path, "re");
    ck_assert_msg(f != NULL, "%s", path);
    text[0] = '\n';
    size_t n = fread(text + 1, 1, sizeof text - 2, f);
    text[n + 1] = '\0';
    fclose(f);
}

/* Whether the unit has this very line, or, without its end, one that begins so. */
static bool has(const char *line)
{
    char whole[128];
    snprintf(whole, sizeof whole, "\n%s", line);
    return strstr(text, whole) != NULL;
}

START_TEST(programs_that_open_an_adapter_may_write_below_sys)
{
    static const char *const units[] = { "memlane-lender@.service", "memlane-agent.service" };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        load(units[i]);
        ck_assert_msg(!has("ProtectKernelTunables=") && !has("ReadOnlyPaths="), "%s", units[i]);
        ck_assert_msg(!has("PrivateDevices=") && has("DeviceAllow=char-ocxl rw\n"), "%s", units[i]);
    }
}
END_TEST

START_TEST(nothing_stops_a_lender_by_force)
{
    load("memlane-lender@.service");
    ck_assert(has("RefuseManualStop=yes\n") && has("KillMode=process\n") && has("SendSIGKILL=no\n"));
    ck_assert(has("OOMScoreAdjust=-1000\n"));
    ck_assert(!has("KillSignal=") && !has("RuntimeMaxSec=") && !has("WatchdogSec=") && !has("PartOf="));
    ck_assert(!has("MemoryMax=") && !has("LimitAS=") && !has("LimitDATA=") && !has("LimitFSIZE=") && !has("LimitCPU="));
    load("memlane-lender@.socket");
    ck_assert(has("RefuseManualStop=yes\n") && !has("PartOf="));
}
END_TEST

START_TEST(a_lender_may_lock_what_it_lends_and_leaves_no_core)
{
    load("memlane-lender@.service");
    ck_assert(has("LimitMEMLOCK=infinity\n") && has("LimitCORE=0\n"));
}
END_TEST

START_TEST(an_agent_that_stops_takes_no_child_with_it)
{
    load("memlane-agent.service");
    ck_assert(has("KillMode=process\n") && has("RuntimeDirectoryPreserve=yes\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("systemd");
    TCase *tc = tcase_create("units");
    tcase_add_test(tc, programs_that_open_an_adapter_may_write_below_sys);
    tcase_add_test(tc, nothing_stops_a_lender_by_force);
    tcase_add_test(tc, a_lender_may_lock_what_it_lends_and_leaves_no_core);
    tcase_add_test(tc, an_agent_that_stops_takes_no_child_with_it);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
