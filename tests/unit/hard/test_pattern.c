// SPDX-License-Identifier: Apache-2.0
#include "hard_test.h"

#include "hard/random.h"

START_TEST(test_pattern__first_nonzero_finds_each_byte) {
    static char bytes[300];
    for (size_t length = 0; length < 260; length++) {
        EXPECT_UINT(lr_first_nonzero(bytes + 3, length), ==, length);
        bytes[3 + length] = 1; // behind the end
        EXPECT_UINT(lr_first_nonzero(bytes + 3, length), ==, length);
        bytes[3 + length] = 0;
        for (size_t at = 0; at < length; at += 1 + at / 16) {
            bytes[3 + at] = (char)0x80;
            EXPECT_UINT(lr_first_nonzero(bytes + 3, length), ==, at);
            bytes[3 + at] = 0;
        }
    }
}
END_TEST

START_TEST(test_pattern__canaries_differ_by_block_and_begin_with_zero) {
    lr_os_random(&lr_canary_key, sizeof lr_canary_key);
    static char bytes[64];
    const uint64_t one = lr_canary(bytes), other = lr_canary(bytes + 16);
    EXPECT_UINT(one, !=, other);
    EXPECT_UINT(one & 0xff, ==, 0);
    EXPECT_UINT(one, !=, 0);
}
END_TEST

START_TEST(test_pattern__random_numbers_fill_their_range) {
    static struct lr_random random;
    enum { RANGE = 100, DRAWS = 100000 };
    unsigned seen[RANGE] = {0};
    for (unsigned i = 0; i < DRAWS; i++) {
        const unsigned number = lr_random_below(&random, RANGE);
        EXPECT_UINT(number, <, RANGE);
        seen[number]++;
    }
    // Expected 1,000 each with a deviation of 31; ten deviations never happen.
    for (unsigned i = 0; i < RANGE; i++) {
        EXPECT_UINT(seen[i], >, 690);
        EXPECT_UINT(seen[i], <, 1310);
    }
    EXPECT_UINT(lr_random_below(&random, 1), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("pattern");
    test_add(suite, test_pattern__first_nonzero_finds_each_byte);
    test_add(suite, test_pattern__canaries_differ_by_block_and_begin_with_zero);
    test_add(suite, test_pattern__random_numbers_fill_their_range);
    return suite;
}
