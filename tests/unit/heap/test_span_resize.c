// SPDX-License-Identifier: Apache-2.0
//
// Large spans that grow and shrink where they are.
#include "heap/span_heap.h"

#include <string.h>

#include "base/bits.h"
#include "heap_test.h"

enum { WHOLE = LR_PAGES_PER_HUGE };

static struct span *make(size_t pages) {
    struct span *const span = lr_span_alloc_large(pages, 1);
    EXPECT(span != NULL);
    return span;
}

static void fill(struct span *span, uint64_t seed) {
    test_fill(lr_span_start(span), lr_span_bytes(span), seed);
}

START_TEST(test_span_resize__grows_into_free_pages_behind) {
    start_heap(LR_GIB);
    struct span *const span = make(10);
    const uint32_t first = span->first_page;
    fill(span, 1);
    for (size_t pages = 11; pages < WHOLE; pages += 30) {
        EXPECT(lr_span_resize(span, pages));
        EXPECT_UINT(span->page_count, ==, pages);
        EXPECT_UINT(span->first_page, ==, first);
        EXPECT_FILLED(lr_span_start(span), 10 << LR_PAGE_SHIFT, 1);
        const struct span_heap_counts counts = expect_counts_add_up();
        EXPECT_UINT(counts.used_pages, ==, pages);
        EXPECT_UINT(counts.large_pages, ==, pages);
        EXPECT_UINT(counts.large_spans, ==, 1);
    }
    memset(lr_span_start(span), 2, lr_span_bytes(span));
}
END_TEST

START_TEST(test_span_resize__used_pages_behind_refuse) {
    start_heap(LR_GIB);
    struct span *const span = make(10);
    struct span *const next = make(5);
    EXPECT_UINT(next->first_page, ==, span->first_page + 10);
    fill(next, 2);
    const struct span_heap_counts before = expect_counts_add_up();
    EXPECT(!lr_span_resize(span, 11));
    EXPECT(!lr_span_resize(span, 100 * WHOLE));
    EXPECT_UINT(span->page_count, ==, 10);
    const struct span_heap_counts after = expect_counts_add_up();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
    EXPECT_FILLED(lr_span_start(next), lr_span_bytes(next), 2);
    lr_span_free(next);
    EXPECT(lr_span_resize(span, 15));
}
END_TEST

START_TEST(test_span_resize__crosses_huge_pages) {
    start_heap(LR_GIB);
    struct span *const far = make(40 * WHOLE);
    lr_span_free(far);
    struct span *const span = make(WHOLE - 3);
    const size_t steps[] = {WHOLE,          WHOLE + 1, 3 * WHOLE + 17,
                            3 * WHOLE + 18, 4 * WHOLE, 10 * WHOLE + 5};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        EXPECT(lr_span_resize(span, steps[i]));
        EXPECT_UINT(expect_counts_add_up().used_pages, ==, steps[i]);
        lr_span_start(span)[lr_span_bytes(span) - 1] = 1;
    }
    // And what it takes in between is nobody else's.
    struct span *const other = make(100);
    EXPECT(other->first_page >= span->first_page + span->page_count ||
           other->first_page + 100 <= span->first_page);
}
END_TEST

START_TEST(test_span_resize__not_beyond_the_pools) {
    start_heap(LR_GIB);
    struct span *const span = make(1);
    const size_t most = lr_load_relaxed(&lr_window.pages) - span->first_page;
    EXPECT(!lr_span_resize(span, most + 1));
    EXPECT(lr_span_resize(span, most));
    EXPECT_UINT(expect_counts_add_up().free_clean_pages, ==, pool_pages() - most);
}
END_TEST

START_TEST(test_span_resize__shrinking_gives_pages_back) {
    start_heap(LR_GIB);
    struct span *const span = make(3 * WHOLE);
    fill(span, 4);
    const size_t sizes[] = {2 * WHOLE + 1, 2 * WHOLE, 2 * WHOLE - 1, 17, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        EXPECT(lr_span_resize(span, sizes[i]));
        EXPECT_FILLED(lr_span_start(span), sizes[i] << LR_PAGE_SHIFT, 4);
        const struct span_heap_counts counts = expect_counts_add_up();
        EXPECT_UINT(counts.used_pages, ==, sizes[i]);
        EXPECT_UINT(counts.free_dirty_pages, ==, 3 * WHOLE - sizes[i]);
    }
    struct span *const next = make(WHOLE - 1); // right behind the page that is left
    EXPECT_UINT(next->first_page, ==, span->first_page + 1);
    EXPECT(!next->zeroed);
    EXPECT(lr_span_resize(span, 1)); // no change
}
END_TEST

// Grown pages may be clean or dirty, and in runs of both kinds.
START_TEST(test_span_resize__grows_over_clean_and_dirty_runs) {
    start_heap(LR_GIB);
    struct span *const all = make(8 * WHOLE);
    const uint32_t first = all->first_page;
    memset(lr_span_start(all), 1, lr_span_bytes(all));
    lr_span_free(all);
    // The last four of the eight become clean.
    struct claim_walk walk = {0};
    size_t claimed;
    EXPECT_UINT(lr_span_heap_claim_dirty(4 * WHOLE, &walk, &claimed, &(size_t){0}), ==, 4 * WHOLE);
    EXPECT_UINT(claimed, ==, first + 4 * WHOLE);
    EXPECT(lr_os_purge(lr_page_address(claimed), 4 * LR_HUGE_BYTES));
    lr_span_heap_return_range(claimed, 4 * WHOLE, true);
    struct span *const span = make(WHOLE / 2);
    EXPECT_UINT(span->first_page, ==, first);
    EXPECT(lr_span_resize(span, 8 * WHOLE - 1));
    const struct span_heap_counts counts = expect_counts_add_up();
    EXPECT_UINT(counts.free_dirty_pages, ==, 0);
    EXPECT_ZERO(lr_page_address(first + 4 * WHOLE), LR_HUGE_BYTES);
}
END_TEST

// Pages that are on their way back to the system are nobody's to grow into.
START_TEST(test_span_resize__claimed_pages_refuse) {
    start_heap(LR_GIB);
    struct span *const span = make(2 * WHOLE);
    EXPECT(lr_span_resize(span, 10));
    struct claim_walk walk = {0};
    size_t first, total = 0, pages;
    struct {
        size_t first, pages;
    } claims[8];
    unsigned count = 0;
    while ((pages = lr_span_heap_claim_dirty(SIZE_MAX, &walk, &first, &(size_t){0})) != 0) {
        claims[count].first = first;
        claims[count++].pages = pages;
        total += pages;
    }
    EXPECT_UINT(total, ==, 2 * WHOLE - 10);
    EXPECT(!lr_span_resize(span, 11));
    for (unsigned i = 0; i < count; i++)
        lr_span_heap_return_range(claims[i].first, claims[i].pages, false);
    EXPECT(lr_span_resize(span, 11));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("span_resize");
    test_add(suite, test_span_resize__grows_into_free_pages_behind);
    test_add(suite, test_span_resize__used_pages_behind_refuse);
    test_add(suite, test_span_resize__crosses_huge_pages);
    test_add(suite, test_span_resize__not_beyond_the_pools);
    test_add(suite, test_span_resize__shrinking_gives_pages_back);
    test_add(suite, test_span_resize__grows_over_clean_and_dirty_runs);
    test_add(suite, test_span_resize__claimed_pages_refuse);
    return suite;
}
