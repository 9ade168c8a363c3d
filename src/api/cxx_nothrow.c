// SPDX-License-Identifier: Apache-2.0
// operator new with std::nothrow: NULL instead of an exception, also when the new_handler throws
// one. Catching needs the C++ runtime, so a failed request with a handler installed is handed to
// the runtime's own nothrow operator, which calls the plain one (ours) inside its try block.
//
// Part of the shared library only. In a static link there is one definition of each operator and
// nothing to hand over to; without this file the runtime's operators stay in place there and call
// ours, which is all that is needed.
#include <larder/larder.h>

#include "api/cxx.h"
#include "api/cxx_runtime.h"
#include "api/override.h"
#include "base/attr.h"
#include "cache/thread_cache.h"

#ifndef __EXCEPTIONS
#error "this file has to be compiled with -fexceptions"
#endif

static LR_NOINLINE void *nothrow_slow(size_t size, const void *tag) {
    void *block = larder_malloc(size);
    if (LR_LIKELY(block != NULL) || !lr_cxx_has_new_handler()) {
        return block;
    }
    void *(*operator_new)(size_t, const void *) =
        (void *(*)(size_t, const void *))lr_cxx_next("_ZnwmRKSt9nothrow_t");
    // Without a runtime that can catch, the handler is not called: its exception would leave an
    // operator that callers were compiled to believe throws nothing.
    return operator_new != NULL ? operator_new(size, tag) : NULL;
}

void *lr_cxx_new_nothrow(size_t size, const void *tag) {
    void *block;
    if (LR_LIKELY(lr_alloc_fast(size, &block))) {
        return block;
    }
    return nothrow_slow(size, tag);
}

void *lr_cxx_new_aligned_nothrow(size_t size, size_t alignment, const void *tag) {
    void *block = larder_aligned_alloc(alignment, size);
    if (LR_LIKELY(block != NULL) || !lr_cxx_has_new_handler()) {
        return block;
    }
    void *(*operator_new)(size_t, size_t, const void *) =
        (void *(*)(size_t, size_t, const void *))lr_cxx_next("_ZnwmSt11align_val_tRKSt9nothrow_t");
    return operator_new != NULL ? operator_new(size, alignment, tag) : NULL;
}

LR_CXX_OVERRIDES_OF_CXX_NOTHROW(LR_OVERRIDE_CXX)
