// SPDX-License-Identifier: Apache-2.0
//
// larder_good_size is the usable size that the same request then gets.
#include <larder/larder.h>

#include <errno.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

START_TEST(test_good_size__equals_what_malloc_gives) {
    for (size_t bytes = 0; bytes <= 16 * mib; bytes += bytes < 70000 ? 1 : 8111) {
        void *const block = larder_malloc(bytes);
        EXPECT(block != NULL);
        EXPECT_UINT(larder_good_size(bytes, 0), ==, larder_malloc_usable_size(block));
        larder_free(block);
    }
}
END_TEST

START_TEST(test_good_size__equals_what_aligned_alloc_gives) {
    for (size_t alignment = 1; alignment <= 8 * mib; alignment *= 2) {
        for (size_t bytes = 0; bytes <= 6 * mib; bytes += 1 + bytes / 5) {
            void *const block = larder_aligned_alloc(alignment, bytes);
            EXPECT(block != NULL);
            EXPECT_UINT(larder_good_size(bytes, alignment), ==, larder_malloc_usable_size(block));
            larder_free(block);
        }
    }
}
END_TEST

START_TEST(test_good_size__is_a_fixed_point) {
    for (size_t bytes = 1; bytes <= 16 * mib; bytes += 1 + bytes / 50) {
        const size_t good = larder_good_size(bytes, 0);
        EXPECT_UINT(good, >=, bytes);
        EXPECT_UINT(larder_good_size(good, 0), ==, good);
    }
}
END_TEST

START_TEST(test_good_size__never_falls) {
    size_t last = 0;
    for (size_t bytes = 0; bytes <= 300000; bytes++) {
        const size_t good = larder_good_size(bytes, 0);
        EXPECT_UINT(good, >=, last);
        last = good;
    }
}
END_TEST

START_TEST(test_good_size__impossible_is_0) {
    errno = EXDEV;
    EXPECT_UINT(larder_good_size(test_opaque(SIZE_MAX), 0), ==, 0);
    EXPECT_UINT(larder_good_size(test_opaque((size_t)PTRDIFF_MAX + 1), 0), ==, 0);
    EXPECT_UINT(larder_good_size(test_opaque(SIZE_MAX - 4096), 4096), ==, 0);
    EXPECT_UINT(larder_good_size(100, 3), ==, 0);
    EXPECT_UINT(larder_good_size(100, 48), ==, 0);
    EXPECT_INT(errno, ==, EXDEV);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("good_size");
    test_add(suite, test_good_size__equals_what_malloc_gives);
    test_add(suite, test_good_size__equals_what_aligned_alloc_gives);
    test_add(suite, test_good_size__is_a_fixed_point);
    test_add(suite, test_good_size__never_falls);
    test_add(suite, test_good_size__impossible_is_0);
    return suite;
}
