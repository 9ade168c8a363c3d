// SPDX-License-Identifier: Apache-2.0
//
// calloc gives zeroes up to the usable size, also where the memory was used before, and refuses
// products that overflow.
#include <larder/ctl.h>
#include <larder/larder.h>

#include <errno.h>

#include "../support/support.h"

static const size_t kib = 1024;
static const size_t mib = 1024 * 1024;

// Sizes of every tier: thread cached, several pages, straight from the span heap, huge pages.
static const size_t tier_bytes[] = {
    1,       8,       16,      24,      48,     100,        1000,
    4000,    8192,    20000,   65536,   100000, 256 * 1024, 256 * 1024 + 1,
    1000000, 2097152, 5000000, 33554432};
enum { TIERS = sizeof tier_bytes / sizeof tier_bytes[0] };

static void expect_zeroed_block(size_t count, size_t bytes) {
    char *const block = larder_calloc(count, bytes);
    EXPECT(block != NULL);
    EXPECT_ZERO(block, larder_malloc_usable_size(block));
    test_fill(block, larder_malloc_usable_size(block), count); // dirt for the next one
    larder_free(block);
}

START_TEST(test_calloc__fresh_and_recycled_memory) {
    for (unsigned tier = 0; tier < TIERS; tier++) {
        for (unsigned round = 0; round < 5; round++)
            expect_zeroed_block(1, tier_bytes[tier]);
    }
}
END_TEST

START_TEST(test_calloc__recycled_by_malloc_and_free) {
    enum { COUNT = 64 };
    for (unsigned tier = 0; tier < TIERS; tier++) {
        const unsigned count = tier_bytes[tier] > mib ? 4 : COUNT;
        char *blocks[COUNT];
        for (unsigned i = 0; i < count; i++) {
            blocks[i] = larder_malloc(tier_bytes[tier]);
            EXPECT(blocks[i] != NULL);
            test_fill(blocks[i], larder_malloc_usable_size(blocks[i]), i);
        }
        for (unsigned i = 0; i < count; i++)
            larder_free(blocks[i]);
        for (unsigned i = 0; i < count; i++) {
            blocks[i] = larder_calloc(1, tier_bytes[tier]);
            EXPECT(blocks[i] != NULL);
            EXPECT_ZERO(blocks[i], larder_malloc_usable_size(blocks[i]));
        }
        for (unsigned i = 0; i < count; i++)
            larder_free(blocks[i]);
    }
}
END_TEST

// Memory that was given back may or may not have been zeroed: calloc must know which.
START_TEST(test_calloc__after_release_to_the_system) {
    for (unsigned round = 0; round < 4; round++) {
        char *const dirty = larder_malloc(16 * mib);
        EXPECT(dirty != NULL);
        test_fill(dirty, 16 * mib, round);
        larder_free(dirty);
        if (round % 2 == 0)
            larder_release(4 * mib);
        for (unsigned tier = 0; tier < TIERS; tier++)
            expect_zeroed_block(1, tier_bytes[tier]);
        larder_release(SIZE_MAX);
        for (unsigned tier = 0; tier < TIERS; tier++)
            expect_zeroed_block(1, tier_bytes[tier]);
    }
}
END_TEST

START_TEST(test_calloc__count_times_size) {
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < 3000; i++) {
        const size_t count = 1 + test_rng_below(&rng, 1000);
        const size_t bytes = 1 + test_rng_size(&rng, 2 * kib);
        expect_zeroed_block(count, bytes);
    }
}
END_TEST

// As other allocators do it: programs use what malloc_usable_size() adds, or have realloc() add it.
static void expect_zero_to_the_end(void) {
    for (size_t bytes = 0; bytes <= 40 * kib; bytes += 1 + bytes / 7) {
        for (unsigned round = 0; round < 5; round++)
            expect_zeroed_block(1, bytes);
    }
}

START_TEST(test_calloc__zero_to_the_usable_end) { expect_zero_to_the_end(); }
END_TEST

START_TEST(test_calloc__zero_to_the_usable_end_of_samples) {
    EXPECT_INT(larder_option_set("profile_interval", 2000), ==, 0);
    EXPECT_INT(larder_option_set("profile", 1), ==, 0);
    expect_zero_to_the_end();
    EXPECT_INT(larder_option_set("profile", 0), ==, 0);
    EXPECT_INT(larder_option_set("guard_sample", 2000), ==, 0);
    expect_zero_to_the_end();
    EXPECT_INT(larder_option_set("guard_sample", 0), ==, 0);
}
END_TEST

START_TEST(test_calloc__neighbours_stay) {
    char *const left = larder_malloc(500);
    char *const middle = larder_malloc(500);
    char *const right = larder_malloc(500);
    test_fill(left, larder_malloc_usable_size(left), 1);
    test_fill(middle, larder_malloc_usable_size(middle), 2);
    test_fill(right, larder_malloc_usable_size(right), 3);
    larder_free(middle);
    char *const zeroed = larder_calloc(1, 500);
    EXPECT_ZERO(zeroed, 500);
    EXPECT_FILLED(left, larder_malloc_usable_size(left), 1);
    EXPECT_FILLED(right, larder_malloc_usable_size(right), 3);
    larder_free(left);
    larder_free(zeroed);
    larder_free(right);
}
END_TEST

static void expect_overflow(size_t count, size_t bytes) {
    errno = 0;
    EXPECT_PTR(larder_calloc(test_opaque(count), test_opaque(bytes)), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM);
}

START_TEST(test_calloc__overflow_is_enomem) {
    const size_t root = (size_t)1 << 32;
    expect_overflow(SIZE_MAX, SIZE_MAX);
    expect_overflow(SIZE_MAX, 2);
    expect_overflow(2, SIZE_MAX);
    expect_overflow(root, root); // wraps to 0
    expect_overflow(root + 1, root);
    expect_overflow(SIZE_MAX / 2 + 1, 2); // wraps to 0
    expect_overflow(SIZE_MAX / 3 + 1, 3);
    expect_overflow(SIZE_MAX / 16 + 2, 16); // wraps to 16
    expect_overflow(1, (size_t)PTRDIFF_MAX + 1);
    expect_overflow(2, (size_t)PTRDIFF_MAX / 2 + 1);
    expect_zeroed_block(1, 64); // and the heap goes on
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("calloc");
    test_add(suite, test_calloc__fresh_and_recycled_memory);
    test_add(suite, test_calloc__recycled_by_malloc_and_free);
    test_add(suite, test_calloc__after_release_to_the_system);
    test_add(suite, test_calloc__count_times_size);
    test_add(suite, test_calloc__zero_to_the_usable_end);
    test_add(suite, test_calloc__zero_to_the_usable_end_of_samples);
    test_add(suite, test_calloc__neighbours_stay);
    test_add(suite, test_calloc__overflow_is_enomem);
    return suite;
}
