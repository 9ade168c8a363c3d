// SPDX-License-Identifier: Apache-2.0
//
// free_sized and free_aligned_sized give back what malloc, calloc, realloc and aligned_alloc gave:
// the memory is used again, and nothing else is disturbed.
#include <larder/larder.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

START_TEST(test_sized_free__every_size) {
    for (size_t bytes = 0; bytes <= 70000; bytes++)
        larder_free_sized(larder_malloc(bytes), bytes);
    for (size_t bytes = 70000; bytes <= 8 * mib; bytes += 4099)
        larder_free_sized(larder_malloc(bytes), bytes);
}
END_TEST

START_TEST(test_sized_free__every_alignment) {
    for (size_t alignment = 1; alignment <= 4 * mib; alignment *= 2) {
        for (size_t bytes = 0; bytes <= 300000; bytes += 1 + bytes / 2)
            larder_free_aligned_sized(larder_aligned_alloc(alignment, bytes), alignment, bytes);
    }
}
END_TEST

START_TEST(test_sized_free__calloc_and_realloc_sizes) {
    for (size_t count = 0; count <= 300; count++) {
        larder_free_sized(larder_calloc(count, 24), count * 24);
        void *block = larder_malloc(100);
        block = larder_realloc(block, 1 + count * 100);
        larder_free_sized(block, 1 + count * 100);
        block = larder_reallocarray(NULL, 1 + count, 1000);
        larder_free_sized(block, (1 + count) * 1000);
    }
}
END_TEST

// Blocks live side by side; a block that went to the wrong class would be handed out as larger or
// smaller than it is, and the contents would collide.
START_TEST(test_sized_free__recycles_into_the_right_class) {
    enum { COUNT = 3000, ROUNDS = 30 };
    static char *blocks[COUNT];
    static size_t sizes[COUNT], alignments[COUNT];
    struct test_rng rng = {test_seed()};
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            if (blocks[i] != NULL && test_rng_below(&rng, 2) == 0)
                continue;
            if (blocks[i] != NULL) {
                EXPECT_FILLED(blocks[i], sizes[i], i);
                if (alignments[i] == 0)
                    larder_free_sized(blocks[i], sizes[i]);
                else
                    larder_free_aligned_sized(blocks[i], alignments[i], sizes[i]);
            }
            sizes[i] = test_rng_size(&rng, 40000);
            alignments[i] = test_rng_below(&rng, 2) == 0 ? 0 : 1u << test_rng_below(&rng, 13);
            blocks[i] = alignments[i] == 0 ? larder_malloc(sizes[i])
                                           : larder_aligned_alloc(alignments[i], sizes[i]);
            EXPECT(blocks[i] != NULL);
            test_fill(blocks[i], sizes[i], i);
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_FILLED(blocks[i], sizes[i], i);
        larder_free(blocks[i]);
    }
}
END_TEST

START_TEST(test_sized_free__memory_is_used_again) {
    const size_t before = test_rss_bytes();
    for (unsigned i = 0; i < 20000; i++) {
        const size_t bytes = 1000 + i % 300000;
        char *const block = larder_malloc(bytes);
        EXPECT(block != NULL);
        for (size_t at = 0; at < bytes; at += 4096)
            block[at] = 1;
        larder_free_sized(block, bytes);
    }
    EXPECT_UINT(test_rss_bytes(), <, before + 512 * mib);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("sized_free");
    test_add(suite, test_sized_free__every_size);
    test_add(suite, test_sized_free__every_alignment);
    test_add(suite, test_sized_free__calloc_and_realloc_sizes);
    test_add(suite, test_sized_free__recycles_into_the_right_class);
    test_add(suite, test_sized_free__memory_is_used_again);
    return suite;
}
