/* store_same.h - same_as_file(): the model, and what a restart would make of the database, are equal in all that is
 * durable. */
#ifndef MEMLANE_STORE_SAME_H
#define MEMLANE_STORE_SAME_H

#include "model_same.h"
#include "store_fixture.h"

static void same_as_file(const struct model *m)
{
    struct model *twin;
    char buf[120];
    ck_assert_int_eq(model_new(&twin, &e), 0);
    ck_assert_msg(store_load(store, twin, &e) == 0, "%s", e.detail);
    ck_assert_msg(model_check(twin, &e) == 0, "%s", e.detail);
    const char *other = model_difference(m, twin, buf);
    ck_assert_msg(!other, "the model and the file differ in %s", other ? other : "");
    ck_assert_uint_eq(m->topology_version, twin->topology_version);
    model_free(twin);
}

#endif
