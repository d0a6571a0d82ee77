/* simulate.c - `memlane simulate`: the orchestrator's own program does it, without a rack and without a connection. */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* memlaned beside this program, else the first in PATH. */
static void find_memlaned(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *slash = NULL;
    if (n > 0) {
        path[n] = '\0';
        slash = strrchr(path, '/');
    }
    if (slash && (size_t)(slash - path) + sizeof "/memlaned" <= PATH_MAX) {
        memcpy(slash, "/memlaned", sizeof "/memlaned");
        if (access(path, X_OK) == 0)
            return;
    }
    memcpy(path, "memlaned", sizeof "memlaned");
}

int cli_simulate(const char *output, int argc, char **argv)
{
    char path[PATH_MAX];
    size_t n = 0;
    char **words = calloc((size_t)argc + 5, sizeof *words);
    if (!words)
        return EXIT_FAILED;
    find_memlaned(path);
    words[n++] = (char *)"memlane simulate"; /* its usage and errors speak of this command */
    words[n++] = (char *)"--simulate";
    if (output) {
        words[n++] = (char *)"--output";
        words[n++] = (char *)output;
    }
    memcpy(words + n, argv, (size_t)argc * sizeof *words);
    execvp(path, words);
    fprintf(stderr, "error: cannot run memlaned: %s\nhint:  it is looked for beside this program, and in PATH\n",
            strerror(errno));
    free(words);
    return EXIT_FAILED;
}

/* Stands in the table of commands; main() never gets so far, since all words behind belong to memlaned. */
int command_simulate(struct cli *c UNUSED)
{
    return EXIT_USAGE;
}
