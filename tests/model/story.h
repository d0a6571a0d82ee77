/* story.h - a story is a list of steps; each means something whatever came before it, so that a story stays one when
 * steps are left out.  Running it ends the process with a message when anything is wrong (world_fail). */
#ifndef MEMLANE_MODEL_STORY_H
#define MEMLANE_MODEL_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct move {
    uint8_t what, a, b, c;
};

void story_make(struct move *steps, size_t n, uint64_t seed);
/* Runs it in an empty directory, heals everything at the end and waits for peace.  '*at' is the step under way. 'tell':
 * every step is printed, and under it what became of attachments, circuits, nodes and machines. */
void story_run(const struct move *steps, size_t n, const char *dir, volatile size_t *at, bool tell);
void story_print(const struct move *steps, size_t n);

#endif
