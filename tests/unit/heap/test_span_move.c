// SPDX-License-Identifier: Apache-2.0
//
// Large spans that grow by moving their pages elsewhere.
#include "heap/span_heap.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "heap/release.h"
#include "heap_test.h"

enum { WHOLE = LR_PAGES_PER_HUGE };

static struct span *make(size_t pages) {
    struct span *const span = lr_span_alloc_large(pages, 1);
    EXPECT(span != NULL);
    return span;
}

static void fill(struct span *span, size_t bytes) { test_fill(lr_span_start(span), bytes, bytes); }

// Mappings of the process that lie in the window.
static int mappings(void) {
    FILE *const maps = fopen("/proc/self/maps", "re");
    EXPECT(maps != NULL);
    const size_t low = (size_t)lr_window.base;
    int count = 0;
    char line[512];
    while (fgets(line, sizeof line, maps) != NULL) {
        size_t from;
        if (sscanf(line, "%zx-", &from) == 1)
            count += from >= low && from < low + lr_window.bytes;
    }
    fclose(maps);
    return count;
}

START_TEST(test_span_move__contents_come_along) {
    start_heap(LR_GIB);
    for (size_t pages = 64; pages < 10 * WHOLE; pages += 117) {
        struct span *span = make(pages);
        const size_t bytes = lr_span_bytes(span);
        char *const before = lr_span_start(span);
        fill(span, bytes);
        const size_t page = span->first_page;
        span = lr_span_move(span, pages + 33);
        EXPECT(span != NULL);
        EXPECT_PTR(lr_span_start(span), !=, before);
        EXPECT_FILLED(lr_span_start(span), bytes, bytes);
        EXPECT_UINT(span->page_count, ==, pages + 33);
        EXPECT(lr_span_of_page(span->first_page) == span);
        EXPECT(lr_span_of_page(page) == NULL);
        for (size_t i = 0; i < bytes; i += LR_PAGE_BYTES)
            EXPECT_INT(before[i], ==, 0);
        memset(lr_span_start(span), 7, lr_span_bytes(span));
        lr_span_free(span);
        const struct span_heap_counts counts = expect_counts_add_up();
        EXPECT_UINT(counts.used_pages, ==, 0);
        EXPECT_UINT(counts.large_spans, ==, 0);
        EXPECT_UINT(counts.large_pages, ==, 0);
    }
}
END_TEST

START_TEST(test_span_move__again_and_again_in_one_mapping_a_block) {
    enum { BLOCKS = 8 };
    start_heap(LR_GIB);
    struct span *spans[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        spans[i] = make(WHOLE);
        fill(spans[i], LR_HUGE_BYTES);
    }
    lr_span_free(make(60 * WHOLE)); // the pool is there
    const int before = mappings();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            EXPECT(!lr_span_resize(spans[i], spans[i]->page_count + 1) || round == 0);
            spans[i] = lr_span_move(spans[i], spans[i]->page_count + 10);
            EXPECT(spans[i] != NULL);
            EXPECT_FILLED(lr_span_start(spans[i]), LR_HUGE_BYTES, LR_HUGE_BYTES);
        }
    }
    EXPECT_INT(mappings(), <=, before + 2 * BLOCKS);
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT(lr_span_resize(spans[i], WHOLE));
        EXPECT_FILLED(lr_span_start(spans[i]), LR_HUGE_BYTES, LR_HUGE_BYTES);
        lr_span_free(spans[i]);
    }
    EXPECT_INT(mappings(), <=, before + 1);
    expect_counts_add_up();
}
END_TEST

START_TEST(test_span_move__pages_left_behind_are_clean) {
    start_heap(LR_GIB);
    struct span *span = make(4 * WHOLE);
    memset(lr_span_start(span), 1, lr_span_bytes(span));
    span = lr_span_move(span, 5 * WHOLE);
    EXPECT(span != NULL);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    lr_span_free(span);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    EXPECT_UINT(lr_release_pages(SIZE_MAX), ==, 0);
}
END_TEST

START_TEST(test_span_move__small_ones_are_left_to_be_copied) {
    start_heap(LR_GIB);
    struct span *const span = make(2);
    EXPECT(lr_span_move(span, 3) == NULL);
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 2);
    lr_span_free(span);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("span_move");
    test_add(suite, test_span_move__contents_come_along);
    test_add(suite, test_span_move__again_and_again_in_one_mapping_a_block);
    test_add(suite, test_span_move__pages_left_behind_are_clean);
    test_add(suite, test_span_move__small_ones_are_left_to_be_copied);
    return suite;
}
