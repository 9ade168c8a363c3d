// SPDX-License-Identifier: Apache-2.0
// Who called: return addresses of the calling thread, from malloc.
//
// Takes no lock, neither ours nor the loader's, and does not allocate. Each frame is found by the
// compiler's tables (cfi.h); where there are none, as for code made at run time, by the frame
// pointer. What lies on the stack is read only where a page of it is known to be mapped.
#ifndef LARDER_PROF_UNWIND_H
#define LARDER_PROF_UNWIND_H

#include <stddef.h>

#include "os/os.h"

enum { LR_UNWIND_MOST = 100 };

// Fills pcs[0..n), the innermost first, beginning in the caller; at most `most`.
unsigned lr_unwind(size_t *pcs, unsigned most);
// The same of code that a signal interrupted.
unsigned lr_unwind_from(const struct lr_os_registers *from, size_t *pcs, unsigned most);

#endif
