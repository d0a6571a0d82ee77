/* agent_fixture.h - a temporary directory with files in it, for the agent's tests. */
#ifndef MEMLANE_TESTS_AGENT_FIXTURE_H
#define MEMLANE_TESTS_AGENT_FIXTURE_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char fixture_dir[64];

static inline void fixture_make(void)
{
    strcpy(fixture_dir, "/tmp/memlane-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture_dir));
}

/* Writes a file below the directory, and the directories that it needs. */
static inline void fixture_put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", fixture_dir, path);
    for (char *p = full + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(full, 0700);
            *p = '/';
        }
    FILE *f = fopen(full, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void fixture_remove(void)
{
    nftw(fixture_dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
