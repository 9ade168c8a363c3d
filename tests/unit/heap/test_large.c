// SPDX-License-Identifier: Apache-2.0
//
// Large blocks, in the window or outside it.
#include "heap/large.h"

#include <string.h>

#include "base/bits.h"
#include "heap/direct.h"
#include "heap_test.h"

static bool in_window(const void *block) { return lr_page_in_window(lr_page_of(block)); }

START_TEST(test_large__sizes_are_whole_pages) {
    start_heap(LR_GIB);
    for (size_t size = 0; size < 100 * LR_MIB; size = size * 2 + 8191) {
        bool zeroed = false;
        char *const block = lr_large_alloc(size, LR_PAGE_BYTES, &zeroed);
        EXPECT(block != NULL);
        EXPECT(in_window(block));
        const size_t bytes = lr_large_bytes(block);
        EXPECT_UINT(bytes, ==, lr_align_up(lr_max(size, 1), LR_PAGE_BYTES));
        if (zeroed)
            EXPECT_ZERO(block, bytes);
        memset(block, 1, bytes);
        EXPECT(lr_large_free(block));
        EXPECT_UINT(lr_large_bytes(block), ==, 0);
    }
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
}
END_TEST

START_TEST(test_large__alignment_decides_where) {
    start_heap(8 * LR_GIB);
    for (size_t align = LR_PAGE_BYTES; align <= 4 * lr_window.align; align *= 2) {
        bool zeroed = false;
        void *const block = lr_large_alloc(10000, align, &zeroed);
        EXPECT(block != NULL);
        EXPECT_ALIGNED(block, align);
        EXPECT_INT(in_window(block), ==, align <= lr_window.align);
        EXPECT_UINT(lr_direct_counts().blocks, ==, align <= lr_window.align ? 0 : 1);
        EXPECT_UINT(lr_large_bytes(block), >=, 10000);
        EXPECT(zeroed || in_window(block));
        EXPECT(lr_large_free(block));
    }
    EXPECT_UINT(lr_direct_counts().blocks, ==, 0);
}
END_TEST

START_TEST(test_large__what_is_no_large_block_is_refused) {
    bool zeroed;
    char other;
    start_heap(LR_GIB);
    char *const block = lr_large_alloc(LR_MIB, LR_PAGE_BYTES, &zeroed);
    char *const direct = lr_large_alloc(LR_MIB, 2 * LR_GIB, &zeroed);
    struct span *const small = lr_span_alloc_small(4, 32, 32, 1024);
    char *const not_blocks[] = {block + 1,
                                block + 16,
                                block + LR_PAGE_BYTES,
                                block - 1,
                                direct + LR_PAGE_BYTES,
                                lr_span_start(small),
                                &other,
                                NULL,
                                (char *)UINTPTR_MAX};
    for (size_t i = 0; i < sizeof not_blocks / sizeof *not_blocks; i++) {
        EXPECT_UINT(lr_large_bytes(not_blocks[i]), ==, 0);
        EXPECT(!lr_large_free(not_blocks[i]));
    }
    EXPECT(lr_large_free(block));
    EXPECT(!lr_large_free(block));
    EXPECT(lr_large_free(direct));
    EXPECT(!lr_large_free(direct));
}
END_TEST

START_TEST(test_large__resize_in_place) {
    bool zeroed;
    start_heap(LR_GIB);
    char *const block = lr_large_alloc(LR_MIB, LR_PAGE_BYTES, &zeroed);
    test_fill(block, LR_MIB, 1);
    EXPECT_PTR(block, ==, lr_large_resize(block, LR_MIB - 1)); // the same pages
    EXPECT_UINT(lr_large_bytes(block), ==, LR_MIB);
    EXPECT_PTR(block, ==, lr_large_resize(block, LR_MIB + 1));
    EXPECT_UINT(lr_large_bytes(block), ==, LR_MIB + LR_PAGE_BYTES);
    EXPECT_PTR(block, ==, lr_large_resize(block, LR_MIB / 2));
    EXPECT_UINT(lr_large_bytes(block), ==, LR_MIB / 2);
    EXPECT_FILLED(block, LR_MIB / 2, 1);
    void *const next = lr_large_alloc(LR_MIB, LR_PAGE_BYTES, &zeroed);
    EXPECT_PTR(next, ==, block + LR_MIB / 2);
    EXPECT_PTR(NULL, ==, lr_large_resize(block, LR_MIB));
    EXPECT_UINT(lr_large_bytes(block), ==, LR_MIB / 2);
}
END_TEST

START_TEST(test_large__full_window_is_not_the_end) {
    bool zeroed = false;
    start_heap(16 * LR_MIB);
    char *const big = lr_large_alloc(100 * LR_MIB, LR_PAGE_BYTES, &zeroed);
    EXPECT(big != NULL);
    EXPECT(!in_window(big));
    EXPECT(zeroed);
    EXPECT_ZERO(big, 100 * LR_MIB);
    char *blocks[64];
    unsigned count = 0, outside = 0;
    for (; count < 64; count++) {
        blocks[count] = lr_large_alloc(LR_MIB, LR_PAGE_BYTES, &zeroed);
        EXPECT(blocks[count] != NULL);
        test_fill(blocks[count], LR_MIB, count);
        outside += !in_window(blocks[count]);
    }
    EXPECT_UINT(outside, >, 0);
    EXPECT_UINT(outside, <, 64);
    EXPECT_UINT(lr_direct_counts().blocks, ==, outside + 1);
    for (unsigned i = 0; i < count; i++) {
        EXPECT_FILLED(blocks[i], LR_MIB, i);
        EXPECT(lr_large_free(blocks[i]));
    }
    EXPECT(lr_large_free(big));
    EXPECT_UINT(lr_direct_counts().bytes, ==, 0);
}
END_TEST

START_TEST(test_large__limit_is_the_end) {
    bool zeroed;
    start_heap(LR_GIB);
    EXPECT_INT(lr_option_set("heap_limit", 64 * LR_MIB), ==, 0);
    EXPECT_PTR(lr_large_alloc(65 * LR_MIB, LR_PAGE_BYTES, &zeroed), ==, NULL);
    EXPECT_PTR(lr_large_alloc(2 * LR_GIB, LR_PAGE_BYTES, &zeroed), ==, NULL); // nor outside
    EXPECT_UINT(lr_direct_counts().blocks, ==, 0);
    EXPECT(lr_large_alloc(63 * LR_MIB, LR_PAGE_BYTES, &zeroed) != NULL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("large");
    test_add(suite, test_large__sizes_are_whole_pages);
    test_add(suite, test_large__alignment_decides_where);
    test_add(suite, test_large__what_is_no_large_block_is_refused);
    test_add(suite, test_large__resize_in_place);
    test_add(suite, test_large__full_window_is_not_the_end);
    test_add(suite, test_large__limit_is_the_end);
    return suite;
}
