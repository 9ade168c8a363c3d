// SPDX-License-Identifier: Apache-2.0
#include "block.h"

#include <larder/larder.h>

struct test_block *test_block_new(struct test_rng *rng, size_t largest_bytes) {
    const size_t bytes = sizeof(struct test_block) + test_rng_size(rng, largest_bytes);
    struct test_block *block;
    switch (test_rng_below(rng, 8)) {
    case 0:
        block = larder_calloc(1, bytes);
        EXPECT(block != NULL);
        EXPECT_ZERO(block, bytes);
        break;
    case 1:
        block = larder_aligned_alloc((size_t)16 << test_rng_below(rng, 13), bytes);
        break;
    case 2:
        block = larder_realloc(larder_malloc(1 + test_rng_size(rng, 100000)), bytes);
        break;
    default:
        block = larder_malloc(bytes);
    }
    EXPECT(block != NULL);
    EXPECT_ALIGNED(block, 16);
    block->bytes = bytes;
    block->seed = test_rng_next(rng);
    test_fill(block->contents, bytes - sizeof *block, block->seed);
    return block;
}

void test_block_delete(struct test_block *block) {
    if (block == NULL)
        return;
    EXPECT_UINT(larder_malloc_usable_size(block), >=, block->bytes);
    EXPECT_FILLED(block->contents, block->bytes - sizeof *block, block->seed);
    larder_free(block);
}
