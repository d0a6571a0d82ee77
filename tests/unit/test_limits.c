/* test_limits.c - every time limit of the programs is written down: what it is called, and what happens when it is
 * over. */
#include "unit_main.h"

#include <check.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    ck_assert_msg(f != NULL, "cannot open %s", path);
    ck_assert_ptr_nonnull(text);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    ck_assert_uint_gt(n, 0);
    fclose(f);
    return text;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), len = strlen(end);
    return n > len && strcmp(text + n - len, end) == 0;
}

static bool is_named(const char *table, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = table; (at = strstr(at, name)) != NULL; at += len)
        if (strchr("(, ", at[-1]) && strchr("),", at[len]))
            return true;
    return false;
}

/* Each "#define NAME_MS value", or NAME_S, of the file has its name in the table. */
static unsigned check_file(const char *path, const char *table)
{
    char *text = read_file(path), name[64];
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, "#define ")) != NULL; at++) {
        if (sscanf(at, "#define %63[A-Z0-9_] ", name) != 1 || (!ends_with(name, "_MS") && !ends_with(name, "_S")))
            continue;
        ck_assert_msg(is_named(table, name), "%s: %s is not in the manual's table of time limits", path, name);
        n++;
    }
    free(text);
    return n;
}

static unsigned check_folder(const char *folder, const char *page)
{
    char path[1024];
    snprintf(path, sizeof path, MEMLANE_SOURCE_DIR "/deploy/man/%s", page);
    char *manual = read_file(path), *table = strstr(manual, "\n.Sh TIME LIMITS");
    ck_assert_msg(table != NULL, "%s has no table of time limits", page);
    char *end = strstr(table, "\n.El");
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    snprintf(path, sizeof path, MEMLANE_SOURCE_DIR "/%s", folder);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    unsigned n = 0;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.' || (!ends_with(d->d_name, ".c") && !ends_with(d->d_name, ".h")))
            continue;
        snprintf(path, sizeof path, MEMLANE_SOURCE_DIR "/%s/%s", folder, d->d_name);
        n += check_file(path, table);
    }
    closedir(dir);
    free(manual);
    return n;
}

START_TEST(every_limit_of_the_agent_is_in_its_manual)
{
    ck_assert_uint_gt(check_folder("agent", "memlane-agent.8"), 30);
}
END_TEST

START_TEST(every_limit_of_the_orchestrator_is_in_its_manual)
{
    ck_assert_uint_gt(check_folder("orchestrator", "memlaned.8"), 3);
    ck_assert_uint_gt(check_folder("orchestrator/api", "memlaned.8"), 10);
    ck_assert_uint_gt(check_folder("orchestrator/core", "memlaned.8"), 10);
}
END_TEST

START_TEST(every_limit_of_the_command_line_is_in_its_manual)
{
    ck_assert_uint_gt(check_folder("orchestrator/cli", "memlane.1"), 5);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *t = tcase_create("limits");
    tcase_add_test(t, every_limit_of_the_agent_is_in_its_manual);
    tcase_add_test(t, every_limit_of_the_orchestrator_is_in_its_manual);
    tcase_add_test(t, every_limit_of_the_command_line_is_in_its_manual);
    suite_add_tcase(s, t);
    return unit_main(s);
}
