// SPDX-License-Identifier: Apache-2.0
// operator new and the delete with size and alignment. Compiled with -fexceptions: what a
// new_handler throws unwinds through these frames, as does std::bad_alloc.
#include "api/cxx.h"

#include <larder/larder.h>

#include "api/cxx_runtime.h"
#include "api/override.h"
#include "base/attr.h"
#include "base/bits.h"
#include "cache/thread_cache.h"

#ifndef __EXCEPTIONS
#error "this file has to be compiled with -fexceptions"
#endif

// Repeats the whole allocation each time: a handler may have freed memory into any of the tiers.
static LR_NOINLINE void *new_slow(size_t size) {
    for (;;) {
        void *block = larder_malloc(size);
        if (LR_LIKELY(block != NULL)) {
            return block;
        }
        if (!lr_cxx_run_new_handler()) {
            lr_cxx_throw_bad_alloc(size);
        }
    }
}

// The fast path of malloc, in line, so that a hit needs no stack frame and no call.
void *lr_cxx_new(size_t size) {
    void *block;
    if (LR_LIKELY(lr_alloc_fast(size, &block))) {
        return block;
    }
    return new_slow(size);
}

void *lr_cxx_new_aligned(size_t size, size_t alignment) {
    // No handler can make memory for an alignment that does not exist.
    if (LR_UNLIKELY(!lr_is_pow2(alignment))) {
        lr_cxx_throw_bad_alloc(size);
    }
    for (;;) {
        void *block = larder_aligned_alloc(alignment, size);
        if (LR_LIKELY(block != NULL)) {
            return block;
        }
        if (!lr_cxx_run_new_handler()) {
            lr_cxx_throw_bad_alloc(size);
        }
    }
}

void lr_cxx_delete_aligned_sized(void *block, size_t size, size_t alignment) {
    larder_free_aligned_sized(block, alignment, size);
}

LR_CXX_OVERRIDES_OF_CXX(LR_OVERRIDE_CXX)
