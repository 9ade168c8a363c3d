// SPDX-License-Identifier: Apache-2.0
//
// Which alignments and sizes the aligned functions refuse, with which code, and what they leave
// alone when they do.
#include <larder/larder.h>

#include <errno.h>
#include <unistd.h>

#include "../support/support.h"

static const size_t half_of_all = (size_t)1 << 63;

START_TEST(test_aligned_errors__posix_memalign_einval) {
    static const size_t bad[] = {0, 1, 2, 3, 4, 5, 7, 9, 12, 24, 40, 48, 100, 4095, SIZE_MAX};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *block = &block;
        errno = EXDEV;
        EXPECT_INT(larder_posix_memalign(&block, test_opaque(bad[i]), 100), ==, EINVAL);
        EXPECT_INT(errno, ==, EXDEV);
        EXPECT_PTR(block, ==, &block);
    }
}
END_TEST

START_TEST(test_aligned_errors__posix_memalign_enomem) {
    static const size_t impossible[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 4096, PTRDIFF_MAX,
                                        (size_t)PTRDIFF_MAX + 1};
    for (unsigned i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        for (size_t alignment = 8; alignment <= (size_t)1 << 30; alignment *= 8) {
            void *block = &block;
            errno = EXDEV;
            EXPECT_INT(larder_posix_memalign(&block, alignment, test_opaque(impossible[i])), ==,
                       ENOMEM);
            EXPECT_INT(errno, ==, ENOMEM); // POSIX leaves it open; glibc sets it
            EXPECT_PTR(block, ==, &block);
        }
    }
    void *block = &block;
    EXPECT_INT(larder_posix_memalign(&block, test_opaque(half_of_all), 100), ==, ENOMEM);
    EXPECT_PTR(block, ==, &block);
}
END_TEST

START_TEST(test_aligned_errors__posix_memalign_success_keeps_errno) {
    for (size_t alignment = 8; alignment <= (size_t)8 << 20; alignment *= 2) {
        void *block = NULL;
        errno = EXDEV;
        EXPECT_INT(larder_posix_memalign(&block, alignment, 1000), ==, 0);
        EXPECT_INT(errno, ==, EXDEV);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_aligned_errors__aligned_alloc_einval) {
    static const size_t bad[] = {0, 3, 5, 6, 7, 12, 24, 48, 100, 4095, 4097, SIZE_MAX};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        EXPECT_PTR(larder_aligned_alloc(test_opaque(bad[i]), 96), ==, NULL);
        EXPECT_INT(errno, ==, EINVAL);
    }
}
END_TEST

START_TEST(test_aligned_errors__aligned_alloc_takes_any_size) {
    for (size_t bytes = 1; bytes < 3000; bytes += 7) {
        void *const block = larder_aligned_alloc(1024, bytes);
        EXPECT(block != NULL);
        EXPECT_ALIGNED(block, 1024);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_aligned_errors__memalign_rounds_up) {
    for (size_t alignment = 0; alignment <= 5000; alignment++) {
        size_t power = 1;
        while (power < alignment)
            power *= 2;
        void *const block = larder_memalign(test_opaque(alignment), 10);
        EXPECT(block != NULL);
        EXPECT_ALIGNED(block, power);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_aligned_errors__memalign_above_half_the_address_space) {
    errno = 0;
    EXPECT_PTR(larder_memalign(test_opaque(half_of_all), SIZE_MAX), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM); // half is still a power of two
    errno = 0;
    EXPECT_PTR(larder_memalign(test_opaque(half_of_all + 1), 10), ==, NULL);
    EXPECT_INT(errno, ==, EINVAL);
    errno = 0;
    EXPECT_PTR(larder_memalign(test_opaque(SIZE_MAX), 10), ==, NULL);
    EXPECT_INT(errno, ==, EINVAL);
}
END_TEST

START_TEST(test_aligned_errors__sizes_that_overflow_are_enomem) {
    static const size_t impossible[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4096,
                                        (size_t)PTRDIFF_MAX + 1};
    for (unsigned i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        const size_t bytes = test_opaque(impossible[i]);
        for (size_t alignment = 1; alignment <= (size_t)1 << 40; alignment *= 16) {
            errno = 0;
            EXPECT_PTR(larder_aligned_alloc(alignment, bytes), ==, NULL);
            EXPECT_INT(errno, ==, ENOMEM);
            errno = 0;
            EXPECT_PTR(larder_memalign(alignment, bytes), ==, NULL);
            EXPECT_INT(errno, ==, ENOMEM);
        }
        errno = 0;
        EXPECT_PTR(larder_valloc(bytes), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
        errno = 0;
        EXPECT_PTR(larder_pvalloc(bytes), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
    }
}
END_TEST

START_TEST(test_aligned_errors__huge_alignment_of_small_block) {
    // More than the window may hold: a refusal is an answer, a misaligned block is not.
    for (size_t alignment = (size_t)128 << 20; alignment <= (size_t)1 << 47; alignment *= 2) {
        errno = 0;
        char *const block = larder_aligned_alloc(test_opaque(alignment), 100);
        if (block == NULL) {
            EXPECT_INT(errno, ==, ENOMEM);
            continue;
        }
        EXPECT_ALIGNED(block, alignment);
        test_fill(block, 100, 1);
        EXPECT_FILLED(block, 100, 1);
        larder_free(block);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("aligned_errors");
    test_add(suite, test_aligned_errors__posix_memalign_einval);
    test_add(suite, test_aligned_errors__posix_memalign_enomem);
    test_add(suite, test_aligned_errors__posix_memalign_success_keeps_errno);
    test_add(suite, test_aligned_errors__aligned_alloc_einval);
    test_add(suite, test_aligned_errors__aligned_alloc_takes_any_size);
    test_add(suite, test_aligned_errors__memalign_rounds_up);
    test_add(suite, test_aligned_errors__memalign_above_half_the_address_space);
    test_add(suite, test_aligned_errors__sizes_that_overflow_are_enomem);
    test_add(suite, test_aligned_errors__huge_alignment_of_small_block);
    return suite;
}
