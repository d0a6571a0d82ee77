/* ocxl_translate.h - address translation for an adapter whose emulator runs on another machine than the lender.
 *
 * The hardware asks the host's translation service where the lender's addresses lead; the emulator outside a virtual
 * machine asks this thread of the drop-in, over a connection of its own (linkproto.h), which reads /proc/self/pagemap.
 */
#ifndef MEMLANE_EMULATOR_OCXL_TRANSLATE_H
#define MEMLANE_EMULATOR_OCXL_TRANSLATE_H

#include "ocxl_call.h"

struct ocxl_translator;
/* Copies what it needs of 'afu'.  NULL: no thread could be made. */
struct ocxl_translator *ocxl_translator_start(const struct ocxl_afu *afu);
void ocxl_translator_stop(struct ocxl_translator *t); /* ignores NULL */

#endif
