// SPDX-License-Identifier: Apache-2.0
// Compile-time limits. Everything that can be derived from another number is an expression.
#ifndef LARDER_BASE_CONFIG_H
#define LARDER_BASE_CONFIG_H

#include <assert.h>
#include <stddef.h>

enum {
    LR_PAGE_SHIFT =
        13, // our page; 8 KiB halves the maps against 4 KiB and wastes little at span tails
    LR_HUGE_SHIFT = 21, // x86-64's and aarch64's (4 KiB granule) transparent huge page
    LR_PAGES_PER_HUGE = 1 << (LR_HUGE_SHIFT - LR_PAGE_SHIFT),
    LR_MIN_ALIGN = 16, // max_align_t on x86-64 and aarch64; glibc's promise for every size
    LR_SMALL_SHIFT = 18,
    LR_FAST_SHIFT = 11,
    LR_CLASS_COUNT = 97, // class 0 is "no class": large blocks and pages that are not ours
};

#define LR_PAGE_BYTES ((size_t)1 << LR_PAGE_SHIFT)
#define LR_HUGE_BYTES ((size_t)1 << LR_HUGE_SHIFT)
#define LR_SMALL_MAX ((size_t)1 << LR_SMALL_SHIFT) // largest thread-cached block
#define LR_FAST_MAX ((size_t)1 << LR_FAST_SHIFT)   // largest request in the fast path's table

#define LR_KIB ((size_t)1 << 10)
#define LR_MIB ((size_t)1 << 20)
#define LR_GIB ((size_t)1 << 30)

static_assert(sizeof(void *) == 8, "the address window and the page map assume 64-bit pointers");
static_assert(LR_PAGES_PER_HUGE == 256, "a huge page's bitmaps are four 64-bit words");

#endif
