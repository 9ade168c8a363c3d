// SPDX-License-Identifier: Apache-2.0
//
// larder_object_size(): from anywhere in a block to its end.
#include <larder/ctl.h>
#include <larder/larder.h>

#include <stdint.h>
#include <string.h>

#include "../support/support.h"
#include "api/start.h"
#include "base/config.h"
#include "conf/options.h"
#include "hard/hard.h"
#include "heap/window.h"
#include "prof/sample.h"

// `end`: usable bytes.
static void expect_from_everywhere(const char *block, size_t end) {
    EXPECT_UINT(larder_object_size(block), ==, end);
    for (size_t at = 1; at < end; at += 1 + at / 3)
        EXPECT_UINT(larder_object_size(block + at), ==, end - at);
    EXPECT_UINT(larder_object_size(block + end - 1), ==, 1);
}

START_TEST(test_object_size__small_blocks_of_all_sizes) {
    for (size_t size = 1; size <= 256 * 1024; size += 1 + size / 5) {
        char *const block = larder_malloc(size);
        expect_from_everywhere(block, larder_malloc_usable_size(block));
        larder_free(block);
    }
}
END_TEST

START_TEST(test_object_size__large_blocks) {
    for (size_t size = 300000; size <= 100000000; size *= 5) {
        char *const before = larder_malloc(size), *const block = larder_malloc(size);
        EXPECT(before != NULL && block != NULL);
        expect_from_everywhere(block, larder_malloc_usable_size(block));
        expect_from_everywhere(before, larder_malloc_usable_size(before));
        larder_free(before);
        EXPECT_UINT(larder_object_size(before + 100000), ==, 0);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_object_size__blocks_outside_the_window) {
    char *const block = larder_memalign(2 * lr_window.align, 300000);
    EXPECT(block != NULL);
    expect_from_everywhere(block, larder_malloc_usable_size(block));
    larder_free(block);
}
END_TEST

START_TEST(test_object_size__samples_and_guarded_blocks) {
    unsigned guards = 0;
    EXPECT_INT(larder_option_set("profile", 1), ==, 0);
    EXPECT_INT(larder_option_set("profile_interval", 1), ==, 0);
    EXPECT_INT(larder_option_set("guard_sample", 1), ==, 0);
    static char *blocks[400];
    for (unsigned i = 0; i < 400; i++) {
        blocks[i] = larder_malloc(100 + i);
        guards += lr_sample_bytes(blocks[i]) != 0;
        expect_from_everywhere(blocks[i], larder_malloc_usable_size(blocks[i]));
    }
    EXPECT_UINT(guards, >, 300);
    for (unsigned i = 0; i < 400; i++) {
        const bool sample = lr_sample_bytes(blocks[i]) != 0;
        larder_free(blocks[i]);
        if (sample)
            EXPECT_UINT(larder_object_size(blocks[i] + 50), ==, 0);
    }
}
END_TEST

START_TEST(test_object_size__what_is_no_block) {
    char local;
    static char global;
    char *const block = larder_malloc(1000);
    EXPECT_UINT(larder_object_size(NULL), ==, 0);
    EXPECT_UINT(larder_object_size(&local), ==, SIZE_MAX);
    EXPECT_UINT(larder_object_size(&global), ==, SIZE_MAX);
    EXPECT_UINT(larder_object_size(block + 300 * LR_KIB), ==, 0);
    larder_free(block);
}
END_TEST

START_TEST(test_object_size__hardened_it_is_exact) {
    EXPECT(lr_start());
    lr_hard_enable();
    EXPECT_UINT(larder_object_size(larder_malloc(0)), ==, 0);
    for (size_t size = 1; size <= 3000000; size += 1 + size / 5) {
        char *const block = larder_malloc(size);
        expect_from_everywhere(block, size);
        larder_free(block);
    }
    char *const far = larder_memalign(2 * lr_window.align, 300000);
    EXPECT_UINT(larder_object_size(far + 4096), >=, 300000 - 4096);
    larder_free(far);
}
END_TEST

START_TEST(test_object_size__hardened_what_is_no_block_is_reported) {
    EXPECT(lr_start());
    lr_hard_enable();
    EXPECT_INT(larder_option_set("on_error", LR_ON_ERROR_IGNORE), ==, 0);
    for (size_t size = 1; size <= 3000000; size *= 7) {
        char *const block = larder_malloc(size);
        larder_free(block);
        EXPECT_UINT(larder_object_size(block), ==, 0);
        EXPECT_UINT(larder_object_size(block + size / 2), ==, 0);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("object_size");
    test_add(suite, test_object_size__small_blocks_of_all_sizes);
    test_add(suite, test_object_size__large_blocks);
    test_add(suite, test_object_size__blocks_outside_the_window);
    test_add(suite, test_object_size__samples_and_guarded_blocks);
    test_add(suite, test_object_size__what_is_no_block);
    test_add(suite, test_object_size__hardened_it_is_exact);
    test_add(suite, test_object_size__hardened_what_is_no_block_is_reported);
    return suite;
}
