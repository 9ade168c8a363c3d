// SPDX-License-Identifier: Apache-2.0
//
// Every block of malloc, calloc and realloc is aligned to 16 bytes, whatever its size.
#include <larder/larder.h>

#include "../support/support.h"

enum { DEFAULT_ALIGNMENT = 16, LIVE = 512 };

static const size_t mib = 1024 * 1024;

// Blocks stay alive in groups, so that a size is served from several places of its span.
struct group {
    void *blocks[LIVE];
    unsigned count;
};

static void group_add(struct group *group, void *block) {
    EXPECT(block != NULL);
    EXPECT_ALIGNED(block, DEFAULT_ALIGNMENT);
    if (group->count == LIVE) {
        for (unsigned i = 0; i < LIVE; i++)
            larder_free(group->blocks[i]);
        group->count = 0;
    }
    group->blocks[group->count++] = block;
}

static void group_end(struct group *group) {
    for (unsigned i = 0; i < group->count; i++)
        larder_free(group->blocks[i]);
}

START_TEST(test_alignment__every_size_to_70000) {
    struct group group = {.count = 0};
    for (size_t bytes = 0; bytes <= 70000; bytes++)
        group_add(&group, larder_malloc(bytes));
    group_end(&group);
}
END_TEST

START_TEST(test_alignment__many_blocks_of_small_sizes) {
    struct group group = {.count = 0};
    for (size_t bytes = 0; bytes <= 64; bytes++) {
        for (unsigned i = 0; i < LIVE; i++)
            group_add(&group, larder_malloc(bytes));
    }
    group_end(&group);
}
END_TEST

START_TEST(test_alignment__random_sizes_to_64_mib) {
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < 2000; i++) {
        void *block = larder_malloc(test_rng_size(&rng, 64 * mib));
        EXPECT(block != NULL);
        EXPECT_ALIGNED(block, DEFAULT_ALIGNMENT);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_alignment__calloc_and_realloc) {
    struct test_rng rng = {test_seed()};
    struct group group = {.count = 0};
    for (unsigned i = 0; i < 5000; i++) {
        group_add(&group, larder_calloc(1 + test_rng_below(&rng, 9), test_rng_size(&rng, 9000)));
        void *block = larder_malloc(test_rng_size(&rng, 9000));
        group_add(&group, larder_realloc(block, 1 + test_rng_size(&rng, 300000)));
    }
    group_end(&group);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("alignment");
    test_add(suite, test_alignment__every_size_to_70000);
    test_add(suite, test_alignment__many_blocks_of_small_sizes);
    test_add(suite, test_alignment__random_sizes_to_64_mib);
    test_add(suite, test_alignment__calloc_and_realloc);
    return suite;
}
