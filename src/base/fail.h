// SPDX-License-Identifier: Apache-2.0
// Assertions and the end of the process, without allocation or stdio.
#ifndef LARDER_BASE_FAIL_H
#define LARDER_BASE_FAIL_H

#include "base/attr.h"

// One line "larder: <text>" on stderr, then abort(). For broken internal invariants only.
LR_COLD LR_NOINLINE _Noreturn void lr_fatal(const char *text, const char *file, int line);

// Always on, for places off the fast path where going on would corrupt memory.
#define LR_CHECK(x) (LR_LIKELY(x) ? (void)0 : lr_fatal("check failed: " #x, __FILE__, __LINE__))

// Checked builds only; the expression is compiled in every build so that it cannot rot.
#define LR_ASSERT(x) (LARDER_CHECKED ? LR_CHECK(x) : (void)sizeof(!(x)))

#endif
