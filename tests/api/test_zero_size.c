// SPDX-License-Identifier: Apache-2.0
//
// A request of 0 bytes gets a block of its own from every function of the family.
#include <larder/larder.h>

#include <errno.h>

#include "../support/interval_set.h"
#include "../support/support.h"

enum { COUNT = 1000 };

static void *zero_malloc(unsigned i) {
    (void)i;
    return larder_malloc(0);
}
static void *zero_calloc(unsigned i) { return larder_calloc(i % 2 == 0 ? 0 : 7, 0); }
static void *zero_calloc_count(unsigned i) { return larder_calloc(0, i); }
static void *zero_realloc(unsigned i) {
    (void)i;
    return larder_realloc(NULL, 0);
}
static void *zero_reallocarray(unsigned i) {
    return i % 2 == 0 ? larder_reallocarray(NULL, 0, 8) : larder_reallocarray(NULL, i, 0);
}
static void *zero_aligned_alloc(unsigned i) { return larder_aligned_alloc(1u << (i % 13), 0); }
static void *zero_memalign(unsigned i) { return larder_memalign(1u << (i % 13), 0); }
static void *zero_posix_memalign(unsigned i) {
    void *block = NULL;
    EXPECT_INT(larder_posix_memalign(&block, 8u << (i % 10), 0), ==, 0);
    return block;
}

static void *(*const functions[])(unsigned) = {
    zero_malloc,       zero_calloc,        zero_calloc_count, zero_realloc,
    zero_reallocarray, zero_aligned_alloc, zero_memalign,     zero_posix_memalign,
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

START_TEST(test_zero_size__unique_and_freeable) {
    static struct test_interval ranges[FUNCTIONS * COUNT];
    static void *blocks[FUNCTIONS * COUNT];
    struct test_interval_set live = {.ranges = ranges, .capacity = FUNCTIONS * COUNT};
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        for (unsigned i = 0; i < COUNT; i++) {
            void *const block = functions[f](i);
            EXPECT(block != NULL);
            EXPECT(test_interval_add(&live, block, larder_malloc_usable_size(block)));
            blocks[f * COUNT + i] = block;
        }
    }
    for (unsigned i = 0; i < FUNCTIONS * COUNT; i++)
        larder_free(blocks[i]);
}
END_TEST

START_TEST(test_zero_size__realloc_to_zero_frees) {
    // Each round takes 1 MiB; memory that was not freed would add up to 4 GiB.
    const size_t before = test_rss_bytes();
    for (unsigned i = 0; i < 4096; i++) {
        char *const block = larder_malloc(1024 * 1024);
        EXPECT(block != NULL);
        test_fill(block, 1024 * 1024, i);
        EXPECT_PTR(larder_realloc(block, 0), ==, NULL);
        if (i % 256 == 0)
            EXPECT_UINT(test_rss_bytes(), <, before + ((size_t)256 << 20));
    }
    EXPECT_UINT(test_rss_bytes(), <, before + ((size_t)256 << 20));
}
END_TEST

START_TEST(test_zero_size__realloc_to_zero_keeps_errno) {
    void *const block = larder_malloc(100);
    errno = EXDEV;
    EXPECT_PTR(larder_realloc(block, 0), ==, NULL);
    EXPECT_INT(errno, ==, EXDEV);
    void *const array = larder_malloc(100);
    EXPECT_PTR(larder_reallocarray(array, 0, 8), ==, NULL);
    EXPECT_INT(errno, ==, EXDEV);
}
END_TEST

START_TEST(test_zero_size__block_can_grow) {
    char *block = larder_malloc(0);
    block = larder_realloc(block, 5000);
    EXPECT(block != NULL);
    test_fill(block, 5000, 1);
    EXPECT_FILLED(block, 5000, 1);
    larder_free(block);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("zero_size");
    test_add(suite, test_zero_size__unique_and_freeable);
    test_add(suite, test_zero_size__realloc_to_zero_frees);
    test_add(suite, test_zero_size__realloc_to_zero_keeps_errno);
    test_add(suite, test_zero_size__block_can_grow);
    return suite;
}
