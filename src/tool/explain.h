// SPDX-License-Identifier: Apache-2.0
// How the figures of a heap add up to the resident memory of its process.
#ifndef LARDER_TOOL_EXPLAIN_H
#define LARDER_TOOL_EXPLAIN_H

#include "tool/page.h"
#include "tool/proc.h"

void lr_explain_text(struct lr_print *p, const struct page_view *view,
                     const struct proc_memory *memory);
// The members of a JSON object, without its braces.
void lr_explain_json(struct lr_print *p, const struct proc_memory *memory);

#endif
