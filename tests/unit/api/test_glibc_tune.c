// SPDX-License-Identifier: Apache-2.0
//
// What mallopt and malloc_trim do to Larder's own state; tests/api looks at them from outside.
#include <larder/ctl.h>
#include <larder/larder.h>

#include "../../support/support.h"
#include "base/config.h"
#include "conf/options.h"
#include "heap/span_heap.h"

static uint64_t scavenger(void) {
    uint64_t mode;
    EXPECT_INT(larder_option_get("scavenger", &mode), ==, 0);
    return mode;
}

// Check runs each test in a process of its own, so the options are at their defaults.
START_TEST(test_glibc_tune__trim_threshold_turns_the_scavenger_off_and_on) {
    const uint64_t modes[] = {LR_SCAVENGER_THREAD, LR_SCAVENGER_INLINE};
    for (unsigned i = 0; i < 2; i++) {
        EXPECT_INT(larder_option_set("scavenger", modes[i]), ==, 0);
        EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, -1), ==, 1);
        EXPECT_UINT(scavenger(), ==, LR_SCAVENGER_OFF);
        EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, -1), ==, 1); // again: nothing is forgotten
        EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, 128 * 1024), ==, 1);
        EXPECT_UINT(scavenger(), ==, modes[i]);
    }
}
END_TEST

START_TEST(test_glibc_tune__trim_threshold_leaves_the_operators_choice) {
    EXPECT_INT(larder_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, 0), ==, 1);
    EXPECT_UINT(scavenger(), ==, LR_SCAVENGER_OFF);
    EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, -1), ==, 1);
    EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, 4096), ==, 1);
    EXPECT_UINT(scavenger(), ==, LR_SCAVENGER_OFF);

    // A choice made after the -1 stands as well.
    EXPECT_INT(larder_option_set("scavenger", LR_SCAVENGER_THREAD), ==, 0);
    EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, -1), ==, 1);
    EXPECT_INT(larder_option_set("scavenger", LR_SCAVENGER_INLINE), ==, 0);
    EXPECT_INT(larder_mallopt(M_TRIM_THRESHOLD, 4096), ==, 1);
    EXPECT_UINT(scavenger(), ==, LR_SCAVENGER_INLINE);
}
END_TEST

START_TEST(test_glibc_tune__limits_are_those_of_glibc) {
    static const struct {
        int parameter, value, answer;
    } cases[] = {
        {M_MXFAST, 0, 1},
        {M_MXFAST, 160, 1},
        {M_MXFAST, 161, 0},
        {M_MMAP_THRESHOLD, 0, 1},
        {M_MMAP_THRESHOLD, 32 << 20, 1},
        {M_MMAP_THRESHOLD, (32 << 20) + 1, 0},
        {M_MMAP_THRESHOLD, -1, 0},
        {M_TOP_PAD, -1, 1},
        {M_MMAP_MAX, 0, 1},
        {M_ARENA_MAX, 1, 1},
        {M_ARENA_TEST, 0, 1},
        {M_PERTURB, 255, 1},
        {M_CHECK_ACTION, 7, 1},
        {M_NLBLKS, 1, 1},
        {M_GRAIN, 1, 1},
        {M_KEEP, 1, 1},
        {0, 1, 0},
        {-9, 1, 0},
        {5, 1, 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (larder_mallopt(cases[i].parameter, cases[i].value) != cases[i].answer)
            test_fail(__FILE__, __LINE__, "mallopt(%d, %d) is not %d", cases[i].parameter,
                      cases[i].value, cases[i].answer);
    }
}
END_TEST

static size_t free_bytes(void) { return lr_span_heap_counts().free_dirty_pages * LR_PAGE_BYTES; }

START_TEST(test_glibc_tune__trim_keeps_the_pad) {
    const size_t block_bytes = 24 * LR_MIB, pad = 8 * LR_MIB;
    EXPECT_INT(larder_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    larder_malloc_trim(0);
    void *const block = larder_malloc(block_bytes);
    EXPECT(block != NULL);
    test_fill(block, block_bytes, 1);
    larder_free(block);

    const size_t before = free_bytes();
    EXPECT_UINT(before, >=, block_bytes);
    EXPECT_INT(larder_malloc_trim(before), ==, 0);
    EXPECT_INT(larder_malloc_trim(SIZE_MAX), ==, 0);
    EXPECT_UINT(free_bytes(), ==, before);
    EXPECT_INT(larder_malloc_trim(pad), ==, 1);
    EXPECT_UINT(free_bytes(), <=, pad);
    EXPECT_UINT(free_bytes(), >, pad - LR_HUGE_BYTES); // whole huge pages go
    EXPECT_INT(larder_malloc_trim(pad), ==, 0);
    EXPECT_INT(larder_malloc_trim(0), ==, 1);
    EXPECT_UINT(free_bytes(), ==, 0);
    EXPECT_INT(larder_malloc_trim(0), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("glibc_tune");
    test_add(suite, test_glibc_tune__trim_threshold_turns_the_scavenger_off_and_on);
    test_add(suite, test_glibc_tune__trim_threshold_leaves_the_operators_choice);
    test_add(suite, test_glibc_tune__limits_are_those_of_glibc);
    test_add(suite, test_glibc_tune__trim_keeps_the_pad);
    return suite;
}
