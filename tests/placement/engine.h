/* engine.h - the engine under test: `memlaned --place-only`, one process a run, all lines in, all answers out. */
#ifndef REFERENCE_ENGINE_H
#define REFERENCE_ENGINE_H

#include <jansson.h>

struct engine {
    const char *program;
    const char *dir; /* for the files that go in and come out; one a process */
};

/* Array of one answer a line; NULL when the program failed (said on standard error).  The caller owns it. */
json_t *engine_answers(const struct engine *e, json_t *rack, json_t *lines);

#endif
