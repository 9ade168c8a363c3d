// SPDX-License-Identifier: Apache-2.0
//
// The reference itself: that it accepts what is right and notices what is wrong.
#include "../support/interval_set.h"
#include "../support/support.h"

#include <string.h>

enum { CAPACITY = 100 };

static char area[100000];

static struct test_interval_set empty_set(void) {
    static struct test_interval ranges[CAPACITY];
    return (struct test_interval_set){.ranges = ranges, .capacity = CAPACITY};
}

START_TEST(test_reference__disjoint_ranges_are_accepted) {
    struct test_interval_set set = empty_set();
    EXPECT(test_interval_add(&set, area + 100, 50));
    EXPECT(test_interval_add(&set, area + 150, 50)); // touches
    EXPECT(test_interval_add(&set, area + 50, 50));
    EXPECT(test_interval_add(&set, area, 0)); // counts as one byte
    EXPECT(test_interval_remove(&set, area + 100));
    EXPECT(test_interval_add(&set, area + 110, 30));
    EXPECT_UINT(set.count, ==, 4);
}
END_TEST

START_TEST(test_reference__overlaps_are_noticed) {
    struct test_interval_set set = empty_set();
    EXPECT(test_interval_add(&set, area + 100, 50));
    EXPECT(!test_interval_add(&set, area + 100, 50)); // the same
    EXPECT(!test_interval_add(&set, area + 149, 1));
    EXPECT(!test_interval_add(&set, area + 149, 0));
    EXPECT(!test_interval_add(&set, area + 120, 10)); // inside
    EXPECT(!test_interval_add(&set, area, 101));      // into it
    EXPECT(!test_interval_add(&set, area, 1000));     // around it
    EXPECT(!test_interval_remove(&set, area + 101));
    EXPECT_UINT(set.count, ==, 1);
}
END_TEST

START_TEST(test_reference__random_ranges_agree_with_a_byte_map) {
    static bool taken[2000];
    struct test_interval_set set = empty_set();
    struct test_rng rng = {test_seed()};
    for (unsigned round = 0; round < 20000; round++) {
        const size_t begin = test_rng_below(&rng, 1900);
        const size_t bytes = 1 + test_rng_below(&rng, 60);
        bool is_free = true;
        for (size_t i = begin; i < begin + bytes; i++)
            is_free = is_free && !taken[i];
        if (set.count == CAPACITY || test_rng_below(&rng, 3) == 0) {
            if (set.count == 0)
                continue;
            const struct test_interval range = set.ranges[test_rng_below(&rng, set.count)];
            const size_t at = range.begin - (uintptr_t)area;
            memset(taken + at, 0, range.end - range.begin);
            EXPECT(test_interval_remove(&set, area + at));
            continue;
        }
        EXPECT_INT(test_interval_add(&set, area + begin, bytes), ==, is_free);
        if (is_free)
            memset(taken + begin, 1, bytes);
    }
}
END_TEST

START_TEST(test_reference__every_changed_byte_is_noticed) {
    enum { BYTES = 77 };
    for (size_t at = 0; at < BYTES; at++) {
        test_fill(area, BYTES, 42);
        EXPECT_UINT(test_first_bad(area, BYTES, 42), ==, SIZE_MAX);
        area[at] = (char)(area[at] ^ 1);
        EXPECT_UINT(test_first_bad(area, BYTES, 42), ==, at);
        memset(area, 0, BYTES);
        EXPECT_UINT(test_first_nonzero(area, BYTES), ==, SIZE_MAX);
        area[at] = 1;
        EXPECT_UINT(test_first_nonzero(area, BYTES), ==, at);
    }
}
END_TEST

START_TEST(test_reference__other_contents_are_noticed) {
    test_fill(area, 10000, 1);
    EXPECT_UINT(test_first_bad(area, 10000, 2), !=, SIZE_MAX); // another block's
    memmove(area + 1, area, 9999);
    EXPECT_UINT(test_first_bad(area + 1, 9999, 1), ==, SIZE_MAX);
    EXPECT_UINT(test_first_bad(area, 9999, 1), !=, SIZE_MAX); // shifted
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("reference");
    test_add(suite, test_reference__disjoint_ranges_are_accepted);
    test_add(suite, test_reference__overlaps_are_noticed);
    test_add(suite, test_reference__random_ranges_agree_with_a_byte_map);
    test_add(suite, test_reference__every_changed_byte_is_noticed);
    test_add(suite, test_reference__other_contents_are_noticed);
    return suite;
}
