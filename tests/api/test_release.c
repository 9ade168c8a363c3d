// SPDX-License-Identifier: Apache-2.0
//
// larder_release, malloc_trim and larder_thread_flush: memory really goes back, the results are
// honest, and what the program still holds is untouched.
#include <larder/ctl.h>
#include <larder/larder.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { LARGE_COUNT = 64 };

// 64 MiB, touched, then free. The scavenger would do its share of what the tests ask for.
static void fill_and_free(void) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    char *blocks[LARGE_COUNT];
    for (unsigned i = 0; i < LARGE_COUNT; i++) {
        blocks[i] = larder_malloc(mib);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], mib, i);
    }
    for (unsigned i = 0; i < LARGE_COUNT; i++)
        larder_free(blocks[i]);
}

START_TEST(test_release__all_goes_back) {
    fill_and_free();
    const size_t before = test_rss_bytes();
    EXPECT_UINT(before, >, 60 * mib);
    const size_t said = larder_release(SIZE_MAX);
    const size_t after = test_rss_bytes();
    EXPECT_UINT(said, >=, 60 * mib);
    EXPECT_UINT(after, <, before - 60 * mib);
    EXPECT_UINT(larder_release(SIZE_MAX), <, mib); // nothing left
}
END_TEST

START_TEST(test_release__only_as_much_as_asked) {
    fill_and_free();
    const size_t said = larder_release(8 * mib);
    EXPECT_UINT(said, >=, 8 * mib);
    EXPECT_UINT(said, <=, 16 * mib);
    EXPECT_UINT(larder_release(0), ==, 0);
    EXPECT_UINT(larder_release(SIZE_MAX), >=, 40 * mib);
}
END_TEST

START_TEST(test_release__live_blocks_stay) {
    enum { COUNT = 20000 };
    static char *blocks[COUNT];
    struct test_rng rng = {test_seed()};
    static size_t sizes[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        sizes[i] = 1 + test_rng_below(&rng, 6000);
        blocks[i] = larder_malloc(sizes[i]);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 50 != 0)
            larder_free(blocks[i]);
    }
    larder_thread_flush();
    EXPECT_UINT(larder_release(SIZE_MAX), >, 0);
    for (unsigned i = 0; i < COUNT; i += 50) {
        EXPECT_FILLED(blocks[i], sizes[i], i);
        larder_free(blocks[i]);
    }
}
END_TEST

START_TEST(test_release__memory_can_be_taken_again) {
    for (unsigned round = 0; round < 5; round++) {
        fill_and_free();
        EXPECT_UINT(larder_release(SIZE_MAX), >=, 60 * mib);
    }
}
END_TEST

START_TEST(test_release__malloc_trim_is_honest) {
    fill_and_free();
    const size_t before = test_rss_bytes();
    EXPECT_INT(larder_malloc_trim(0), ==, 1);
    EXPECT_UINT(test_rss_bytes(), <, before - 60 * mib);
    EXPECT_INT(larder_malloc_trim(0), ==, 0);
}
END_TEST

START_TEST(test_release__malloc_trim_keeps_the_pad) {
    fill_and_free();
    const size_t before = test_rss_bytes();
    EXPECT_INT(larder_malloc_trim(32 * mib), ==, 1);
    const size_t padded = test_rss_bytes();
    EXPECT_UINT(padded, <, before - 24 * mib);
    EXPECT_INT(larder_malloc_trim(0), ==, 1);
    EXPECT_UINT(test_rss_bytes(), <, padded - 24 * mib);
}
END_TEST

START_TEST(test_release__thread_flush_says_what_it_gave) {
    enum { COUNT = 200, BYTES = 1000 };
    char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(BYTES);
        EXPECT(blocks[i] != NULL);
    }
    larder_thread_flush();
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
    // Some of them are cached, all of them at most (and a few bytes of other sizes).
    const size_t given = larder_thread_flush();
    EXPECT_UINT(given, >=, BYTES);
    EXPECT_UINT(given, <=, (size_t)COUNT * larder_good_size(BYTES, 0) + 65536);
    EXPECT_UINT(larder_thread_flush(), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("release");
    if (!TEST_UNDER_TSAN) { // its shadow memory drowns the figures
        test_add(suite, test_release__all_goes_back);
        test_add(suite, test_release__malloc_trim_is_honest);
        test_add(suite, test_release__malloc_trim_keeps_the_pad);
    }
    test_add(suite, test_release__only_as_much_as_asked);
    test_add(suite, test_release__live_blocks_stay);
    test_add(suite, test_release__memory_can_be_taken_again);
    test_add(suite, test_release__thread_flush_says_what_it_gave);
    return suite;
}
