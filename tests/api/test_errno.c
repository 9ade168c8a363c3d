// SPDX-License-Identifier: Apache-2.0
//
// ENOMEM for what cannot be, errno untouched by everything that succeeds, free above all.
#include <larder/ctl.h>
#include <larder/larder.h>

#include <errno.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

START_TEST(test_errno__impossible_sizes_are_enomem) {
    static const size_t impossible[] = {(size_t)PTRDIFF_MAX + 1,
                                        (size_t)PTRDIFF_MAX + 4097,
                                        SIZE_MAX / 2 + 2,
                                        SIZE_MAX - 65536,
                                        SIZE_MAX - 8192,
                                        SIZE_MAX - 15,
                                        SIZE_MAX - 1,
                                        SIZE_MAX};
    for (unsigned i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        const size_t bytes = test_opaque(impossible[i]);
        errno = 0;
        EXPECT_PTR(larder_malloc(bytes), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
        errno = 0;
        EXPECT_PTR(larder_calloc(1, bytes), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
        errno = 0;
        EXPECT_PTR(larder_realloc(NULL, bytes), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
        errno = 0;
        EXPECT_PTR(larder_reallocarray(NULL, bytes, 1), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
    }
}
END_TEST

// Permitted sizes, but more than any machine has mapped: the end of the way, not of the check.
START_TEST(test_errno__more_than_the_address_space_is_enomem) {
    for (size_t bytes = (size_t)1 << 48; bytes <= (size_t)1 << 62; bytes *= 2) {
        errno = 0;
        EXPECT_PTR(larder_malloc(test_opaque(bytes)), ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
    }
    errno = 0;
    EXPECT_PTR(larder_malloc(test_opaque(PTRDIFF_MAX)), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM);
    void *const block = larder_malloc(100);
    EXPECT(block != NULL);
    larder_free(block);
}
END_TEST

START_TEST(test_errno__free_keeps_it) {
    // Up to 256 MiB, so that unmapping and returning memory is among what free does.
    for (size_t bytes = 1; bytes <= 256 * mib; bytes *= 2) {
        char *const block = larder_malloc(bytes);
        EXPECT(block != NULL);
        block[bytes / 2] = 1;
        errno = EXDEV;
        larder_free(block);
        EXPECT_INT(errno, ==, EXDEV);
    }
    errno = 0;
    larder_free(NULL);
    EXPECT_INT(errno, ==, 0);
}
END_TEST

START_TEST(test_errno__free_of_many_keeps_it) {
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = larder_malloc(test_rng_size(&rng, 20000));
    errno = EXDEV;
    for (unsigned i = 0; i < COUNT; i++) {
        larder_free(blocks[i]);
        EXPECT_INT(errno, ==, EXDEV);
    }
}
END_TEST

START_TEST(test_errno__success_keeps_it) {
    struct test_rng rng = {test_seed()};
    errno = EXDEV;
    for (unsigned i = 0; i < 20000; i++) {
        void *block = larder_malloc(test_rng_size(&rng, mib));
        EXPECT_INT(errno, ==, EXDEV);
        block = larder_realloc(block, 1 + test_rng_size(&rng, mib));
        EXPECT_INT(errno, ==, EXDEV);
        void *const zeroed = larder_calloc(1, test_rng_size(&rng, mib));
        EXPECT_INT(errno, ==, EXDEV);
        void *const aligned = larder_aligned_alloc(256, test_rng_size(&rng, mib));
        EXPECT_INT(errno, ==, EXDEV);
        larder_free(block);
        larder_free(zeroed);
        larder_free(aligned);
    }
    EXPECT_UINT(larder_good_size(100, 0), >=, 100);
    larder_release(SIZE_MAX);
    larder_thread_flush();
    EXPECT_INT(errno, ==, EXDEV);
}
END_TEST

START_TEST(test_errno__free_functions_accept_null) {
    larder_free(NULL);
    larder_cfree(NULL);
    larder_free_sized(NULL, 0);
    larder_free_sized(NULL, 100);
    larder_free_aligned_sized(NULL, 64, 128);
    void *const block = larder_malloc(100);
    EXPECT(block != NULL);
    larder_cfree(block);
}
END_TEST

// Also where the free was wrong, and a report with callers has been printed.
START_TEST(test_errno__a_report_keeps_it) {
    enum { ONLY_REPORT = 1 };
    EXPECT_INT(larder_option_set("on_error", ONLY_REPORT), ==, 0);
    void *block = larder_malloc(mib);
    errno = EXDEV;
    larder_free_sized(block, test_opaque(100));
    EXPECT_INT(errno, ==, EXDEV);
    block = larder_aligned_alloc(64, 100);
    larder_free_aligned_sized(block, 64, test_opaque(1000));
    EXPECT_INT(errno, ==, EXDEV);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("errno");
    test_add(suite, test_errno__impossible_sizes_are_enomem);
    test_add(suite, test_errno__more_than_the_address_space_is_enomem);
    test_add(suite, test_errno__free_keeps_it);
    test_add(suite, test_errno__free_of_many_keeps_it);
    test_add(suite, test_errno__success_keeps_it);
    test_add(suite, test_errno__free_functions_accept_null);
    test_add(suite, test_errno__a_report_keeps_it);
    return suite;
}
