/* compare.h - is an answer of the engine the reference's?  And: the shortest lines that still show a difference. */
#ifndef REFERENCE_COMPARE_H
#define REFERENCE_COMPARE_H

#include "engine.h"

#include <stdbool.h>
#include <stddef.h>

#define WHY_SIZE 600

/* False: 'why' says what differs.  A request larger than a section "never fits": that each donor is refused, and that
 * the line is refused as `size_invalid`, are both taken for right. */
bool answers_agree(const json_t *engine, const json_t *reference, char why[WHY_SIZE]);

/* Answers of the reference, from a rack without load. */
json_t *reference_answers(json_t *rack, const json_t *lines);

/* Index of the first line that both answer differently, -1 when there is none, -2 when either can't be asked. */
int first_difference(const struct engine *e, json_t *rack, json_t *lines, char why[WHY_SIZE]);

/* Drops lines, cables and nodes from both (in place) while a difference remains. */
void shrink(const struct engine *e, json_t *rack, json_t *lines);

#endif
