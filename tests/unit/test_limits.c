/* test_limits.c - every time limit of the agent is written down: what it is called, and what happens when it is over.
 */
#include <check.h>
#include <dirent.h>
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

/* Each "#define NAME_MS value" of the file has its NAME_MS in the table. */
static unsigned check_file(const char *path, const char *table)
{
    char *text = read_file(path), name[64];
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, "#define ")) != NULL; at++) {
        if (sscanf(at, "#define %63[A-Z0-9_] ", name) != 1)
            continue;
        size_t len = strlen(name);
        if (len < 4 || strcmp(name + len - 3, "_MS") != 0)
            continue;
        ck_assert_msg(strstr(table, name) != NULL, "%s: %s is not in the manual's table of time limits", path, name);
        n++;
    }
    free(text);
    return n;
}

START_TEST(every_limit_of_the_agent_is_in_its_manual)
{
    char *manual = read_file(MEMLANE_SOURCE_DIR "/deploy/man/memlane-agent.8");
    const char *table = strstr(manual, ".Sh TIME LIMITS");
    unsigned n = 0;
    DIR *dir = opendir(MEMLANE_SOURCE_DIR "/agent");
    ck_assert_ptr_nonnull(table);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        const char *dot = strrchr(d->d_name, '.');
        char path[1024];
        if (!dot || d->d_name[0] == '.' || (strcmp(dot, ".c") != 0 && strcmp(dot, ".h") != 0))
            continue;
        snprintf(path, sizeof path, MEMLANE_SOURCE_DIR "/agent/%s", d->d_name);
        n += check_file(path, table);
    }
    closedir(dir);
    free(manual);
    ck_assert_uint_gt(n, 30);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *t = tcase_create("limits");
    tcase_add_test(t, every_limit_of_the_agent_is_in_its_manual);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
