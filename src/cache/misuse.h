// SPDX-License-Identifier: Apache-2.0
// Reports of misuse by the program, and what follows them (LARDER_ON_ERROR).
#ifndef LARDER_CACHE_MISUSE_H
#define LARDER_CACHE_MISUSE_H

#include "base/attr.h"

#include <stddef.h>

enum lr_misuse {
    LR_MISUSE_FREE,    // freed twice, or not the start of a block
    LR_MISUSE_REALLOC, // the same, given to realloc()
    LR_MISUSE_USABLE,  // the same, given to malloc_usable_size()
};

struct lr_print;
// Who adds to each report where the program made the wrong call, in lines of its own. Once, at
// start; called with no lock held.
void lr_misuse_set_callers(void (*print)(struct lr_print *out));

// One line with the address, the size class of the page and the thread, the callers, then abort()
// or return, as LARDER_ON_ERROR says. No lock of Larder may be held.
LR_COLD LR_NOINLINE void lr_misuse_report(enum lr_misuse misuse, const void *pointer);
// The same with the text in between "larder: " and the thread.
LR_COLD LR_NOINLINE void lr_misuse_report_f(const char *format, ...) LR_PRINTF(1, 2);
LR_COLD LR_NOINLINE void lr_misuse_report_size(const void *pointer, size_t given, size_t actual);

#endif
