// SPDX-License-Identifier: Apache-2.0
// What operator new needs of the program's C++ runtime (libstdc++, or libc++ with libc++abi),
// found at run time: Larder links none, and most programs that preload it have none.
//
// All of this is for requests that have failed. Any thread; may take the dynamic loader's lock and
// allocate, so no lock of Larder may be held.
#ifndef LARDER_API_CXX_RUNTIME_H
#define LARDER_API_CXX_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

// True if the program has set a new_handler.
LR_COLD bool lr_cxx_has_new_handler(void);

// Calls the new_handler; false if there is none. What the handler throws passes through.
LR_COLD bool lr_cxx_run_new_handler(void);

// Throws std::bad_alloc for a request of `size` bytes. In a process without a C++ runtime, where
// nothing could catch it: one line on stderr, then abort().
LR_COLD _Noreturn void lr_cxx_throw_bad_alloc(size_t size);

// The definition of `name` that Larder's own stands in front of; NULL if there is none.
LR_COLD void *lr_cxx_next(const char *name);

#endif
