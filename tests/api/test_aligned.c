// SPDX-License-Identifier: Apache-2.0
//
// posix_memalign, aligned_alloc, memalign, valloc and pvalloc: every power of two from 1 byte to
// 64 MiB, all sizes of interest, and blocks that behave like any other afterwards.
#include <larder/larder.h>

#include <unistd.h>

#include "../support/interval_set.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;
static const size_t alignment_max = (size_t)64 << 20;

static const size_t sizes[] = {0,    1,    8,     16,    17,     100,    1000,    4095,
                               4096, 4097, 30000, 65536, 262144, 262145, 1000000, 5000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

typedef void *aligned_function(size_t alignment, size_t bytes);

static void *by_aligned_alloc(size_t alignment, size_t bytes) {
    return larder_aligned_alloc(alignment, bytes);
}
static void *by_memalign(size_t alignment, size_t bytes) {
    return larder_memalign(alignment, bytes);
}
static void *by_posix_memalign(size_t alignment, size_t bytes) {
    void *block = NULL;
    const size_t least = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    EXPECT_INT(larder_posix_memalign(&block, least, bytes), ==, 0);
    return block;
}

// Two blocks of each kind at a time; their ends are written so that an overlap shows.
static void expect_aligned_pair(aligned_function *function, size_t alignment, size_t bytes) {
    char *blocks[2];
    for (unsigned i = 0; i < 2; i++) {
        blocks[i] = function(alignment, bytes);
        EXPECT(blocks[i] != NULL);
        EXPECT_ALIGNED(blocks[i], alignment);
        EXPECT_ALIGNED(blocks[i], 16);
        EXPECT_UINT(larder_malloc_usable_size(blocks[i]), >=, bytes);
        test_fill(blocks[i], bytes, i);
    }
    for (unsigned i = 0; i < 2; i++) {
        EXPECT_FILLED(blocks[i], bytes, i);
        larder_free(blocks[i]);
    }
}

static void expect_aligned_everywhere(aligned_function *function) {
    for (size_t alignment = 1; alignment <= alignment_max; alignment *= 2) {
        for (unsigned i = 0; i < SIZES; i++)
            expect_aligned_pair(function, alignment, sizes[i]);
    }
}

START_TEST(test_aligned__aligned_alloc) { expect_aligned_everywhere(by_aligned_alloc); }
END_TEST

START_TEST(test_aligned__memalign) { expect_aligned_everywhere(by_memalign); }
END_TEST

START_TEST(test_aligned__posix_memalign) { expect_aligned_everywhere(by_posix_memalign); }
END_TEST

// The whole usable size belongs to the block, also where the alignment made it larger.
START_TEST(test_aligned__usable_size_is_writable) {
    enum { COUNT = 16 };
    for (size_t alignment = 32; alignment <= mib; alignment *= 2) {
        char *blocks[COUNT];
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = larder_memalign(alignment, alignment / 2 + i);
            EXPECT(blocks[i] != NULL);
            test_fill(blocks[i], larder_malloc_usable_size(blocks[i]), i);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            EXPECT_FILLED(blocks[i], larder_malloc_usable_size(blocks[i]), i);
            larder_free(blocks[i]);
        }
    }
}
END_TEST

START_TEST(test_aligned__many_live_blocks_do_not_overlap) {
    enum { COUNT = 4000 };
    static void *blocks[COUNT];
    static struct test_interval ranges[COUNT];
    struct test_interval_set live = {.ranges = ranges, .capacity = COUNT};
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < COUNT; i++) {
        const size_t alignment = (size_t)1 << test_rng_below(&rng, 17);
        blocks[i] = larder_aligned_alloc(alignment, test_rng_size(&rng, 100000));
        EXPECT(blocks[i] != NULL);
        EXPECT_ALIGNED(blocks[i], alignment);
        EXPECT(test_interval_add(&live, blocks[i], larder_malloc_usable_size(blocks[i])));
    }
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
}
END_TEST

START_TEST(test_aligned__realloc_keeps_the_contents) {
    for (size_t alignment = 16; alignment <= 4 * mib; alignment *= 4) {
        char *block = larder_aligned_alloc(alignment, 3000);
        EXPECT(block != NULL);
        test_fill(block, 3000, alignment);
        block = larder_realloc(block, 50000);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, 3000, alignment);
        block = larder_realloc(block, 10);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, 8, alignment);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_aligned__valloc_and_pvalloc_use_pages) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < SIZES; i++) {
        char *const block = larder_valloc(sizes[i]);
        EXPECT(block != NULL);
        EXPECT_ALIGNED(block, page);
        EXPECT_UINT(larder_malloc_usable_size(block), >=, sizes[i]);
        char *const pages = larder_pvalloc(sizes[i]);
        EXPECT(pages != NULL);
        EXPECT_ALIGNED(pages, page);
        const size_t rounded = (sizes[i] + page - 1) / page * page;
        EXPECT_UINT(larder_malloc_usable_size(pages), >=, rounded);
        test_fill(pages, rounded, i);
        EXPECT_FILLED(pages, rounded, i);
        larder_free(block);
        larder_free(pages);
    }
}
END_TEST

START_TEST(test_aligned__memory_is_used_again) {
    // 64 MiB each time; what a free lost would add up to 32 GiB of touched memory.
    const size_t before = test_rss_bytes();
    for (unsigned i = 0; i < 512; i++) {
        char *const block = larder_aligned_alloc(16 * mib, 64 * mib);
        EXPECT(block != NULL);
        for (size_t at = 0; at < 64 * mib; at += 65536)
            block[at] = 1;
        larder_free(block);
    }
    EXPECT_UINT(test_rss_bytes(), <, before + 512 * mib);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("aligned");
    test_add(suite, test_aligned__aligned_alloc);
    test_add(suite, test_aligned__memalign);
    test_add(suite, test_aligned__posix_memalign);
    test_add(suite, test_aligned__usable_size_is_writable);
    test_add(suite, test_aligned__many_live_blocks_do_not_overlap);
    test_add(suite, test_aligned__realloc_keeps_the_contents);
    test_add(suite, test_aligned__valloc_and_pvalloc_use_pages);
    test_add(suite, test_aligned__memory_is_used_again);
    return suite;
}
