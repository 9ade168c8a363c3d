// SPDX-License-Identifier: Apache-2.0
//
// Blocks outside the window that change their length, and blocks that leave the window to grow.
#include "heap/direct.h"

#include <string.h>

#include "heap/large.h"
#include "heap_test.h"

START_TEST(test_direct_resize__contents_stay) {
    start_heap(LR_GIB);
    char *block = lr_direct_alloc(LR_MIB, LR_PAGE_BYTES);
    EXPECT(block != NULL);
    test_fill(block, LR_MIB, 1);
    for (size_t mib = 1; mib <= 300; mib += 13) {
        block = lr_direct_resize(block, mib * LR_MIB + 5);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, LR_MIB, 1);
        EXPECT_UINT(lr_direct_bytes(block), >=, mib * LR_MIB + 5);
        EXPECT_UINT(lr_direct_counts().bytes, ==, lr_direct_bytes(block));
        EXPECT_UINT(lr_direct_counts().blocks, ==, 1);
        block[mib * LR_MIB + 4] = 1;
    }
    block = lr_direct_resize(block, LR_MIB);
    EXPECT_UINT(lr_direct_bytes(block), ==, LR_MIB);
    EXPECT_FILLED(block, LR_MIB, 1);
    EXPECT(lr_direct_free(block));
    EXPECT_UINT(lr_direct_counts().bytes, ==, 0);
}
END_TEST

START_TEST(test_direct_resize__refusals_change_nothing) {
    start_heap(LR_GIB);
    char other;
    EXPECT_PTR(lr_direct_resize(&other, 100), ==, NULL); // there are none at all
    char *const block = lr_direct_alloc(LR_MIB, LR_PAGE_BYTES);
    test_fill(block, LR_MIB, 2);
    EXPECT_PTR(lr_direct_resize(block + 4096, 100), ==, NULL);
    EXPECT_PTR(lr_direct_resize(block, (size_t)1 << 60), ==, NULL);
    EXPECT_UINT(lr_direct_bytes(block), ==, LR_MIB);
    EXPECT_FILLED(block, LR_MIB, 2);
    EXPECT(lr_direct_free(block));
}
END_TEST

// Blocks behind each other, so that none can grow in place.
START_TEST(test_direct_resize__large_blocks_leave_the_window) {
    enum { BLOCKS = 4 };
    start_heap(LR_GIB);
    char *blocks[BLOCKS];
    bool zeroed;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = lr_large_alloc(LR_LARGE_MOVE_OUT, LR_PAGE_BYTES, &zeroed);
        test_fill(blocks[i], LR_LARGE_MOVE_OUT, (uint64_t)i);
    }
    for (int i = 0; i < BLOCKS - 1; i++) {
        blocks[i] = lr_large_resize(blocks[i], 2 * LR_LARGE_MOVE_OUT);
        EXPECT(blocks[i] != NULL);
        EXPECT_UINT(lr_direct_counts().blocks, ==, (size_t)i + 1);
        blocks[i] = lr_large_resize(blocks[i], 3 * LR_LARGE_MOVE_OUT);
        EXPECT(blocks[i] != NULL);
        memset(blocks[i] + LR_LARGE_MOVE_OUT, 3, 2 * LR_LARGE_MOVE_OUT);
    }
    EXPECT_UINT(expect_counts_add_up().large_spans, ==, 1);
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT_FILLED(blocks[i], LR_LARGE_MOVE_OUT, (uint64_t)i);
        EXPECT(lr_large_free(blocks[i]));
    }
    EXPECT_UINT(lr_direct_counts().blocks, ==, 0);
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
}
END_TEST

// The limit is one on pages of the window.
START_TEST(test_direct_resize__under_a_heap_limit_they_stay) {
    start_heap(LR_GIB);
    EXPECT_INT(lr_option_set("heap_limit", 512 * LR_MIB), ==, 0);
    bool zeroed;
    char *const block = lr_large_alloc(LR_LARGE_MOVE_OUT, LR_PAGE_BYTES, &zeroed);
    char *const next = lr_large_alloc(LR_MIB, LR_PAGE_BYTES, &zeroed);
    EXPECT_PTR(lr_large_resize(block, 2 * LR_LARGE_MOVE_OUT), ==, NULL);
    EXPECT(lr_large_free(block));
    EXPECT(lr_large_free(next));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("direct_resize");
    test_add(suite, test_direct_resize__contents_stay);
    test_add(suite, test_direct_resize__refusals_change_nothing);
    test_add(suite, test_direct_resize__large_blocks_leave_the_window);
    test_add(suite, test_direct_resize__under_a_heap_limit_they_stay);
    return suite;
}
