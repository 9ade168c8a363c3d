// SPDX-License-Identifier: Apache-2.0
//
// The tiers up to the caches, without the API above them and without a thread in the background.
#ifndef LARDER_TESTS_CACHE_TEST_H
#define LARDER_TESTS_CACHE_TEST_H

#include "../heap/heap_test.h"
#include "cache/central.h"
#include "cache/size_class.h"
#include "cache/thread_cache.h"
#include "cache/thread_state.h"
#include "cache/transfer.h"

static inline void start_tiers_with(const char *thp, size_t window_bytes) {
    start_heap_with(thp, window_bytes);
    lr_size_class_init();
    lr_thread_state_init();
    lr_span_heap_set_reclaim(lr_transfer_flush_all);
}

static inline void start_tiers(size_t window_bytes) { start_tiers_with("never", window_bytes); }

static inline size_t central_free_objects(unsigned size_class) {
    return lr_central_counts(size_class).free_objects;
}

// Nothing is left above the span heap: each object came back exactly once.
static inline void expect_all_returned(void) {
    lr_transfer_flush_all();
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        EXPECT_UINT(lr_transfer_objects(c), ==, 0);
        EXPECT_UINT(lr_central_counts(c).spans, ==, 0);
        EXPECT_UINT(lr_central_counts(c).free_objects, ==, 0);
    }
    EXPECT_UINT(lr_span_heap_counts().small_spans, ==, 0);
}

#endif
