/* store_fixture.h - a database of its own for each test of the store, and a simulated rack that is kept in it. */
#ifndef MEMLANE_STORE_FIXTURE_H
#define MEMLANE_STORE_FIXTURE_H

#include "orchestrator/store_internal.h"
#include "sim_rack.h"
#include "units.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[112];
static struct store *store;
static struct err e;

static void open_store(void)
{
    ck_assert_msg(store_open(&store, path, &e) == 0, "%s", e.detail);
}

static void UNUSED setup(void)
{
    /* in memory where there is one: the first test alone makes a thousand commits */
    snprintf(dir, sizeof dir, "%s/memlane-test-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/rack.db", dir);
    open_store();
}

static void UNUSED teardown(void)
{
    char command[128];
    store_close(store);
    store = NULL;
    sim_on_commit = NULL;
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static void UNUSED expect_error(int rc, enum err_code code, const char *part)
{
    ck_assert_int_eq(rc, -1);
    ck_assert_msg(e.code == code, "%s: %s", err_name(e.code), e.detail);
    ck_assert_msg(strstr(e.detail, part) != NULL, "%s", e.detail);
}

static void UNUSED commit(struct model *m)
{
    uint64_t before = store_last_event(store);
    m->revision = store_revision(store) + 1;
    ck_assert_msg(store_begin(store, &e) == 0 && store_commit(store, m, &e) == 0, "%s", e.detail);
    for (size_t i = 0; i < m->n_events; i++)
        ck_assert_uint_eq(m->events[i].id, before + 1 + i);
}

/* Stores each commit of a simulated rack; the revisions are the rack's. */
static void UNUSED on_commit(struct model *m)
{
    ck_assert_msg(store_begin(store, &e) == 0 && store_commit(store, m, &e) == 0, "%s", e.detail);
}

#endif
