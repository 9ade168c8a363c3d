// SPDX-License-Identifier: Apache-2.0
//
// Power-of-two arithmetic against loops over the bits.
#include "base/bits.h"

#include "../../support/support.h"

enum { ROUNDS = 20000 };

static unsigned bits_set(size_t x) {
    unsigned count = 0;
    for (; x != 0; x >>= 1)
        count += x & 1;
    return count;
}

// Numbers of all magnitudes, and those next to powers of two.
static size_t some_number(struct test_rng *rng) {
    const size_t power = (size_t)1 << test_rng_below(rng, 64);
    switch (test_rng_below(rng, 4)) {
    case 0:
        return power;
    case 1:
        return power - 1;
    case 2:
        return power + 1;
    default:
        return test_rng_size(rng, SIZE_MAX);
    }
}

START_TEST(test_bits__is_pow2) {
    struct test_rng rng = {test_seed()};
    EXPECT(!lr_is_pow2(0));
    EXPECT(!lr_is_pow2(SIZE_MAX));
    for (unsigned i = 0; i < 64; i++)
        EXPECT(lr_is_pow2((size_t)1 << i));
    for (unsigned i = 0; i < ROUNDS; i++) {
        const size_t x = some_number(&rng);
        EXPECT_INT(lr_is_pow2(x), ==, bits_set(x) == 1);
    }
}
END_TEST

START_TEST(test_bits__alignment) {
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < ROUNDS; i++) {
        const size_t align = (size_t)1 << test_rng_below(&rng, 40);
        const size_t x = test_rng_size(&rng, SIZE_MAX / 2);
        const size_t down = lr_align_down(x, align);
        const size_t up = lr_align_up(x, align);
        EXPECT_UINT(down, ==, x / align * align);
        EXPECT_UINT(up % align, ==, 0);
        EXPECT_UINT(up, >=, x);
        EXPECT_UINT(up - x, <, align);
    }
    EXPECT_UINT(lr_align_up(0, 4096), ==, 0);
    EXPECT_UINT(lr_align_up(1, 4096), ==, 4096);
    EXPECT_UINT(lr_align_up(4096, 4096), ==, 4096);
    EXPECT_UINT(lr_align_down(4095, 4096), ==, 0);
}
END_TEST

START_TEST(test_bits__log2_floor) {
    struct test_rng rng = {test_seed()};
    EXPECT_UINT(lr_log2_floor(SIZE_MAX), ==, 63);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const size_t x = some_number(&rng) | 1;
        const unsigned log = lr_log2_floor(x);
        EXPECT_UINT(x >> log, ==, 1);
    }
}
END_TEST

START_TEST(test_bits__pow2_ceil) {
    struct test_rng rng = {test_seed()};
    const size_t largest = (size_t)1 << 63;
    EXPECT_UINT(lr_pow2_ceil(1), ==, 1);
    EXPECT_UINT(lr_pow2_ceil(largest), ==, largest);
    EXPECT_UINT(lr_pow2_ceil(largest - 1), ==, largest);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const size_t x = some_number(&rng) % largest + 1;
        const size_t power = lr_pow2_ceil(x);
        EXPECT_UINT(bits_set(power), ==, 1);
        EXPECT_UINT(power, >=, x);
        EXPECT_UINT(power / 2, <, x);
    }
}
END_TEST

START_TEST(test_bits__min_and_max) {
    EXPECT_UINT(lr_min(3, 7), ==, 3);
    EXPECT_UINT(lr_min(7, 3), ==, 3);
    EXPECT_UINT(lr_max(3, 7), ==, 7);
    EXPECT_UINT(lr_max(7, 3), ==, 7);
    EXPECT_UINT(lr_min(5, 5), ==, 5);
    EXPECT_UINT(lr_max(SIZE_MAX, 0), ==, SIZE_MAX);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("bits");
    test_add(suite, test_bits__is_pow2);
    test_add(suite, test_bits__alignment);
    test_add(suite, test_bits__log2_floor);
    test_add(suite, test_bits__pow2_ceil);
    test_add(suite, test_bits__min_and_max);
    return suite;
}
