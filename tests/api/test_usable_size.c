// SPDX-License-Identifier: Apache-2.0
//
// malloc_usable_size: at least the request, at most 12.5 % above it, and all of it writable
// without touching a neighbour.
#include <larder/larder.h>

#include "../support/support.h"

static const size_t kib = 1024;
static const size_t mib = 1024 * 1024;

START_TEST(test_usable_size__null_is_0) { EXPECT_UINT(larder_malloc_usable_size(NULL), ==, 0); }
END_TEST

START_TEST(test_usable_size__at_least_the_request) {
    for (size_t bytes = 0; bytes <= 300 * kib; bytes += bytes < 70000 ? 1 : 509) {
        void *const block = larder_malloc(bytes);
        EXPECT_UINT(larder_malloc_usable_size(block), >=, bytes);
        larder_free(block);
    }
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < 500; i++) {
        const size_t bytes = test_rng_size(&rng, 64 * mib);
        void *const block = larder_malloc(bytes);
        EXPECT_UINT(larder_malloc_usable_size(block), >=, bytes);
        larder_free(block);
    }
}
END_TEST

// 16-byte steps up to 128 bytes; above, the waste of a size class.
START_TEST(test_usable_size__internal_waste_is_bounded) {
    for (size_t bytes = 1; bytes <= 256 * kib; bytes++) {
        const size_t good = larder_good_size(bytes, 0);
        const size_t waste_max = good / 8 > 15 ? good / 8 : 15;
        EXPECT_UINT(good - bytes, <=, waste_max);
    }
}
END_TEST

// Neighbours are filled to their usable end; contents that run into each other show.
static void fill_group(size_t bytes) {
    enum { GROUP = 8 };
    void *blocks[GROUP];
    for (unsigned i = 0; i < GROUP; i++) {
        blocks[i] = larder_malloc(bytes);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], larder_malloc_usable_size(blocks[i]), i);
    }
    for (unsigned i = 0; i < GROUP; i++) {
        EXPECT_FILLED(blocks[i], larder_malloc_usable_size(blocks[i]), i);
        larder_free(blocks[i]);
    }
}

START_TEST(test_usable_size__writable_to_the_end) {
    for (size_t bytes = 0; bytes <= 9 * kib; bytes++)
        fill_group(bytes);
    for (size_t bytes = 9 * kib; bytes <= 300 * kib; bytes += 4093)
        fill_group(bytes);
    for (size_t bytes = mib; bytes <= 8 * mib; bytes += 1037 * kib)
        fill_group(bytes);
}
END_TEST

START_TEST(test_usable_size__constant_while_the_block_lives) {
    enum { COUNT = 400 };
    void *blocks[COUNT];
    size_t usable[COUNT];
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(test_rng_size(&rng, 2 * mib));
        usable[i] = larder_malloc_usable_size(blocks[i]);
    }
    for (unsigned i = 0; i < COUNT; i += 2)
        larder_free(blocks[i]);
    for (unsigned i = 1; i < COUNT; i += 2) {
        EXPECT_UINT(larder_malloc_usable_size(blocks[i]), ==, usable[i]);
        larder_free(blocks[i]);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("usable_size");
    test_add(suite, test_usable_size__null_is_0);
    test_add(suite, test_usable_size__at_least_the_request);
    test_add(suite, test_usable_size__internal_waste_is_bounded);
    test_add(suite, test_usable_size__writable_to_the_end);
    test_add(suite, test_usable_size__constant_while_the_block_lives);
    return suite;
}
