/* model_internal.h - what the model_*.c files share; nobody else includes it. */
#ifndef MEMLANE_MODEL_INTERNAL_H
#define MEMLANE_MODEL_INTERNAL_H

#include "model.h"

/* Rows have 'struct row' as their first member. */
size_t model_row_size(enum model_kind kind);
struct row *model_row(const struct model *m, enum model_kind kind, uint32_t i); /* of any slot, free ones too */
struct row *model_edit_row(struct model *m, enum model_kind kind, uint32_t i, bool durable);
/* A free slot made live, zeroed and journaled. */
uint32_t model_add_row(struct model *m, enum model_kind kind);
/* 'n' consecutive new slots; the first one. */
uint32_t model_add_rows(struct model *m, enum model_kind kind, uint32_t n);
/* Frees the slot; what it held stays readable. */
void model_remove_row(struct model *m, enum model_kind kind, uint32_t i);
void model_ensure(struct table *t, enum model_kind kind, uint32_t n);

/* model_fabric.c */
void model_remove_link(struct model *m, uint32_t link);
/* link.state, when it is another; topology_version as needed. */
bool model_emit_link(struct model *m, uint32_t link, enum link_state before);
void model_remove_adapter(struct model *m, uint32_t node, uint32_t adapter); /* not cabled, in no circuit */

/* model_forget.c: the sections of an adapter that goes and that are not to be used again; and those of one that comes.
 */
void model_ban_sections(struct model *m, uint32_t adapter);
void model_apply_bans(struct model *m, uint32_t adapter);

/* model_unowned.c: of an adapter that has come. */
void model_count_unowned(struct model *m, uint32_t adapter);

/* model_changes.c */
void model_note_change(struct model *m, enum model_kind kind, uint32_t i);
void model_forget_changes(struct model *m); /* everything may have changed */

/* After a link went down or came back: emits circuit.danger for the circuit over it, when that changes. */
void model_danger_changed(struct model *m, uint32_t link);
/* model_lists.c: an attachment whose circuit, donor and compute node are in the row joins, and leaves, their lists. */
enum model_list { LIST_CIRCUIT, LIST_LENDS, LIST_BORROWS };
void model_list_attachment(struct model *m, uint32_t at);
void model_unlist_attachment(struct model *m, uint32_t at);

/* Never answers NULL: a model that is half changed cannot go on, so the process ends when memory runs out; what was
 * acknowledged is in the database. */
void *model_alloc(void *old, size_t size);

/* Names of nodes and switches (one name space), circuits and attachments. */
struct name_index;
struct name_index *name_index_new(void);
void name_index_free(struct name_index *ix);
void name_index_add(struct model *m, enum model_kind kind, uint32_t i); /* after the name is in the row */
void name_index_remove(struct model *m, enum model_kind kind, uint32_t i);
uint32_t name_index_find(const struct model *m, enum model_kind kind, const char *name);

/* Blocks shared by rows of several models (labels, findings): counted, never changed in place. */
void *shared_new(size_t size);
void *shared_retain(void *block); /* NULL stays NULL */
void shared_release(void *block);

#endif
