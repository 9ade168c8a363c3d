// SPDX-License-Identifier: Apache-2.0
//
// Blocks outside the window, each with a mapping of its own.
#include "heap/direct.h"

#include <string.h>

#include "../../support/crew.h"
#include "heap/meta.h"
#include "heap_test.h"

START_TEST(test_direct__aligned_beyond_the_window) {
    start_heap(LR_GIB);
    EXPECT_UINT(lr_window.align, <, 4 * LR_GIB);
    for (size_t align = LR_PAGE_BYTES; align <= 4 * LR_GIB; align *= 4) {
        for (size_t bytes = 1; bytes <= LR_MIB; bytes *= 37) {
            char *const block = lr_direct_alloc(bytes, align);
            EXPECT(block != NULL);
            EXPECT_ALIGNED(block, align);
            const size_t usable = lr_direct_bytes(block);
            EXPECT_UINT(usable, >=, bytes);
            EXPECT_UINT(usable - bytes, <, lr_os_page_bytes());
            EXPECT_ZERO(block, usable);
            memset(block, 1, usable);
            EXPECT(lr_direct_free(block));
        }
    }
}
END_TEST

START_TEST(test_direct__memory_goes_back_at_once) {
    start_heap(LR_GIB);
    void *const warm = lr_direct_alloc(1, 8192); // commits metadata
    const size_t before = test_virtual_bytes();
    void *const block = lr_direct_alloc(64 * LR_MIB, 4 * LR_GIB);
    EXPECT(block != NULL);
    EXPECT_UINT(test_virtual_bytes(), ==, before + 64 * LR_MIB);
    EXPECT(lr_direct_free(block));
    EXPECT_UINT(test_virtual_bytes(), ==, before);
    EXPECT(lr_direct_free(warm));
}
END_TEST

START_TEST(test_direct__only_starts_of_blocks_are_known) {
    char other;
    start_heap(LR_GIB);
    EXPECT(!lr_direct_free(&other)); // there are none at all
    EXPECT_UINT(lr_direct_bytes(&other), ==, 0);
    char *const block = lr_direct_alloc(100000, 8192);
    char *const not_blocks[] = {block + 16, block + 8192, block - 1, &other, NULL};
    for (size_t i = 0; i < sizeof not_blocks / sizeof *not_blocks; i++) {
        EXPECT_UINT(lr_direct_bytes(not_blocks[i]), ==, 0);
        EXPECT(!lr_direct_free(not_blocks[i]));
    }
    EXPECT_UINT(lr_direct_bytes(block), >=, 100000);
    EXPECT(lr_direct_free(block));
    EXPECT_UINT(lr_direct_bytes(block), ==, 0);
    EXPECT(!lr_direct_free(block));
}
END_TEST

START_TEST(test_direct__counts) {
    enum { BLOCKS = 600 }; // more than there are buckets
    static void *blocks[BLOCKS];
    size_t bytes = 0;
    start_heap(LR_GIB);
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = lr_direct_alloc(1 + i * 1000, 65536);
        EXPECT(blocks[i] != NULL);
        bytes += lr_direct_bytes(blocks[i]);
        EXPECT_UINT(lr_direct_counts().blocks, ==, i + 1);
        EXPECT_UINT(lr_direct_counts().bytes, ==, bytes);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        const unsigned at = i * 7 % BLOCKS; // from the middle of the chains, too
        bytes -= lr_direct_bytes(blocks[at]);
        EXPECT(lr_direct_free(blocks[at]));
        EXPECT_UINT(lr_direct_counts().blocks, ==, BLOCKS - 1 - i);
        EXPECT_UINT(lr_direct_counts().bytes, ==, bytes);
    }
}
END_TEST

START_TEST(test_direct__refusal_leaves_nothing_behind) {
    start_heap(LR_GIB);
    EXPECT_PTR(lr_direct_alloc((size_t)1 << 60, 8192), ==, NULL);
    const size_t used = lr_meta_used_bytes();
    for (unsigned i = 0; i < 100; i++)
        EXPECT_PTR(lr_direct_alloc((size_t)1 << 60, 8192), ==, NULL);
    EXPECT_UINT(lr_meta_used_bytes(), ==, used);
    EXPECT_UINT(lr_direct_counts().blocks, ==, 0);
}
END_TEST

enum { THREADS = 4, HELD = 16, ROUNDS = 800 };

static void use_blocks(struct test_worker *worker) {
    void *held[HELD] = {NULL};
    struct test_rng rng = {worker->seed};
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned at = (unsigned)test_rng_below(&rng, HELD);
        if (held[at] != NULL) {
            const size_t bytes = lr_direct_bytes(held[at]);
            EXPECT_FILLED(held[at], bytes, worker->seed + at);
            EXPECT(lr_direct_free(held[at]));
            held[at] = NULL;
            continue;
        }
        held[at] = lr_direct_alloc(1 + test_rng_size(&rng, 100000), 65536);
        EXPECT(held[at] != NULL);
        test_fill(held[at], lr_direct_bytes(held[at]), worker->seed + at);
    }
    for (unsigned i = 0; i < HELD; i++)
        EXPECT(held[i] == NULL || lr_direct_free(held[i]));
}

START_TEST(test_direct__threads) {
    start_heap(LR_GIB);
    test_crew_run(THREADS, use_blocks, NULL);
    EXPECT_UINT(lr_direct_counts().blocks, ==, 0);
    EXPECT_UINT(lr_direct_counts().bytes, ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("direct");
    test_add(suite, test_direct__aligned_beyond_the_window);
    test_add(suite, test_direct__memory_goes_back_at_once);
    test_add(suite, test_direct__only_starts_of_blocks_are_known);
    test_add(suite, test_direct__counts);
    test_add(suite, test_direct__refusal_leaves_nothing_behind);
    test_add(suite, test_direct__threads);
    return suite;
}
