// SPDX-License-Identifier: Apache-2.0
//
// Blocks with verified contents.
#ifndef LARDER_TESTS_STRESS_BLOCK_H
#define LARDER_TESTS_STRESS_BLOCK_H

#include "../support/support.h"

// It carries its size, with this header, and the seed that its contents follow from.
struct test_block {
    size_t bytes;
    uint64_t seed;
    char contents[];
};

// One by any call of the API; a small size is likelier than a large one.
struct test_block *test_block_new(struct test_rng *rng, size_t largest_bytes);
// Verifies and frees it; NULL is allowed.
void test_block_delete(struct test_block *block);

#endif
