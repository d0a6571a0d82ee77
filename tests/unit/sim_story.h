/* sim_story.h - a simulated rack for each test: three servers and the manager of a switch, ready to borrow.  Include it
 * once in a test. */
#ifndef MEMLANE_SIM_STORY_H
#define MEMLANE_SIM_STORY_H

#include "sim_rack.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define GIB4 (UINT64_C(4) << 30)

static struct sim s;
static UNUSED struct err e;

static void setup(void)
{
    sim_star(&s, 3);
}

static void teardown(void)
{
    sim_done(&s);
}

static UNUSED const struct attachment *at(uint32_t i)
{
    return model_attachment(s.m, i);
}

static UNUSED uint32_t attached(size_t node, const char *donor)
{
    uint32_t a = sim_attach(&s, node, GIB4, donor);
    ck_assert_uint_ne(a, NONE);
    sim_settle(&s);
    ck_assert_int_eq(at(a)->state, ATT_ATTACHED);
    return a;
}

/* n2's lender dies under memory of n1, which boots anew. */
static UNUSED void end_in_quarantine(void)
{
    attached(0, "n2");
    sim_kill_lender(&s, 1);
    sim_settle(&s);
    sim_reboot(&s, 0);
    sim_settle(&s);
    sim_expect_nothing(&s);
}

static UNUSED uint32_t row(const char *name)
{
    return model_find_node(s.m, name);
}

#endif
