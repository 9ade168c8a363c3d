// SPDX-License-Identifier: Apache-2.0
//
// A heap of the test's own: a window and its tiers without the API above them, so that nothing
// else uses it and no thread runs in the background.
#ifndef LARDER_TESTS_HEAP_TEST_H
#define LARDER_TESTS_HEAP_TEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../../support/support.h"
#include "conf/options.h"
#include "heap/pool.h"
#include "heap/span_heap.h"
#include "heap/thp.h"
#include "heap/window.h"
#include "os/os.h"

// `thp` is LARDER_THP. `window_bytes` 0: as large as in a program.
static inline void start_heap_with(const char *thp, size_t window_bytes) {
    lr_os_init();
    EXPECT_INT(setenv("LARDER_THP", thp, 1), ==, 0);
    EXPECT(lr_options_init());
    EXPECT(lr_window_init(window_bytes));
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
}

// Without huge pages: a page that was never touched is clean.
static inline void start_heap(size_t window_bytes) { start_heap_with("never", window_bytes); }

// Shows the heap a huge page that is resident: larger blocks are touched all over from now on.
static inline void find_larger_filled(void) {
    static char huge[LR_HUGE_BYTES] __attribute__((aligned(LR_HUGE_BYTES)));
    memset(huge, 1, sizeof huge);
    for (unsigned kind = LR_THP_LARGER; kind <= LR_THP_BUFFERS; kind++) {
        lr_thp_look_at(kind, huge, sizeof huge);
        EXPECT(lr_thp_filled(kind));
    }
}

static inline size_t pool_pages(void) { return lr_pool_bytes() >> LR_PAGE_SHIFT; }

// What holds whenever no other thread uses the heap.
static inline struct span_heap_counts expect_counts_add_up(void) {
    const struct span_heap_counts counts = lr_span_heap_counts();
    EXPECT_UINT(counts.used_pages + counts.free_dirty_pages + counts.free_clean_pages, ==,
                pool_pages());
    EXPECT_UINT(counts.large_pages, <=, counts.used_pages);
    EXPECT_UINT(counts.peak_used_pages, >=, counts.used_pages);
    EXPECT_UINT((counts.huge_partial + counts.huge_full) * LR_PAGES_PER_HUGE, >=,
                counts.used_pages);
    return counts;
}

// Lets the kernel refuse to make more than `bytes` more of memory writable; SIZE_MAX lifts it.
// Unlike RLIMIT_AS this limit does not count address space that is only reserved.
static inline void limit_memory(size_t bytes) {
    struct rlimit limit;
    EXPECT_INT(getrlimit(RLIMIT_DATA, &limit), ==, 0);
    limit.rlim_cur = limit.rlim_max;
    if (bytes != SIZE_MAX) {
        // Field 6 of statm, data and stack, is what the limit counts, and a little more.
        size_t fields[6] = {0};
        FILE *const statm = fopen("/proc/self/statm", "r");
        EXPECT(statm != NULL);
        for (unsigned i = 0; i < 6; i++)
            EXPECT_INT(fscanf(statm, "%zu", &fields[i]), ==, 1);
        fclose(statm);
        limit.rlim_cur = fields[5] * lr_os_page_bytes() + bytes;
    }
    EXPECT_INT(setrlimit(RLIMIT_DATA, &limit), ==, 0);
}

#endif
