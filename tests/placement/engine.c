#include "engine.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_S 120

extern char **environ;

struct files {
    char rack[512], in[512], out[512];
};

static int write_lines(const char *path, const json_t *lines)
{
    FILE *f = fopen(path, "w");
    size_t i;
    json_t *line;
    if (!f)
        return -1;
    json_array_foreach((json_t *)lines, i, line)
    {
        json_dumpf(line, f, JSON_COMPACT);
        fputc('\n', f);
    }
    return fclose(f);
}

static json_t *read_lines(const char *path)
{
    FILE *f = fopen(path, "r");
    json_t *answers = json_array(), *j;
    char *line = NULL;
    size_t size = 0;
    while (f && getline(&line, &size, f) > 0) {
        j = json_loads(line, 0, NULL);
        json_array_append_new(answers, j ? j : json_string(line));
    }
    free(line);
    if (f)
        fclose(f);
    return answers;
}

/* A child that hangs is killed by its own alarm: timers survive exec. */
static int run(const struct engine *e, const struct files *f)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        int in = open(f->in, O_RDONLY), out = open(f->out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        alarm(DEADLINE_S);
        if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0)
            _exit(126);
        execl(e->program, e->program, "--place-only", f->rack, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

json_t *engine_answers(const struct engine *e, json_t *rack, json_t *lines)
{
    struct files f;
    snprintf(f.rack, sizeof f.rack, "%s/rack.json", e->dir);
    snprintf(f.in, sizeof f.in, "%s/requests.jsonl", e->dir);
    snprintf(f.out, sizeof f.out, "%s/answers.jsonl", e->dir);
    if (json_dump_file(rack, f.rack, JSON_COMPACT) < 0 || write_lines(f.in, lines) < 0) {
        perror(e->dir);
        return NULL;
    }
    int rc = run(e, &f);
    if (rc == 0)
        return read_lines(f.out);
    fprintf(stderr, "%s --place-only %s ended with %d\n", e->program, f.rack, rc);
    return NULL;
}
