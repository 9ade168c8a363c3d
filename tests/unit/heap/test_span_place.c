// SPDX-License-Identifier: Apache-2.0
//
// Where a new span goes, and what happens when there is no place for it: the heap's choice among
// huge pages, the limit, the end of the window, and the last resorts before "out of memory".
#include "heap/span_heap.h"

#include <string.h>

#include "base/bits.h"
#include "heap/release.h"
#include "heap_test.h"

enum { WHOLE = LR_PAGES_PER_HUGE };

static size_t huge_of(const struct span *span) { return span->first_page / WHOLE; }

// A span that leaves `left` pages of a huge page of its own free.
static struct span *fill_all_but(size_t left) {
    struct span *const whole = lr_span_alloc_large(WHOLE, 1);
    EXPECT(whole != NULL);
    EXPECT_UINT(whole->first_page % WHOLE, ==, 0);
    EXPECT(lr_span_resize(whole, WHOLE - left));
    return whole;
}

START_TEST(test_span_place__the_fullest_huge_page_that_fits) {
    start_heap(LR_GIB);
    struct span *const left_40 = fill_all_but(40);
    struct span *const left_10 = fill_all_but(10);
    struct span *const left_20 = fill_all_but(20);
    EXPECT_UINT(huge_of(lr_span_alloc_large(11, 1)), ==, huge_of(left_20));
    EXPECT_UINT(huge_of(lr_span_alloc_large(8, 1)), ==, huge_of(left_20)); // 9 are left there
    EXPECT_UINT(huge_of(lr_span_alloc_large(8, 1)), ==, huge_of(left_10));
    EXPECT_UINT(huge_of(lr_span_alloc_large(3, 1)), ==, huge_of(left_40));
    EXPECT_UINT(huge_of(lr_span_alloc_large(2, 1)), ==, huge_of(left_10));
    EXPECT_UINT(huge_of(lr_span_alloc_large(1, 1)), ==, huge_of(left_20));
    expect_counts_add_up();
}
END_TEST

// Memory that is there is used before memory is touched anew.
START_TEST(test_span_place__resident_before_returned) {
    start_heap(LR_GIB);
    struct span *const partly_clean = fill_all_but(20);
    EXPECT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY) >= 20);
    struct span *const empty = lr_span_alloc_large(WHOLE, 1);
    struct span *const partly_dirty = fill_all_but(100);
    const size_t empty_huge = huge_of(empty);
    lr_span_free(empty);

    struct span *const first = lr_span_alloc_large(15, 1);
    EXPECT_UINT(huge_of(first), ==, huge_of(partly_dirty));
    struct span *const second = lr_span_alloc_large(90, 1); // only 85 are left there
    EXPECT_UINT(huge_of(second), ==, empty_huge);
    // The rest of both is taken; then what was returned but is partly used, then anything.
    EXPECT(lr_span_resize(first, 100));
    EXPECT(lr_span_resize(second, WHOLE));
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    EXPECT_UINT(huge_of(lr_span_alloc_large(15, 1)), ==, huge_of(partly_clean));
    const size_t fresh = huge_of(lr_span_alloc_large(15, 1));
    EXPECT(fresh != huge_of(partly_clean) && fresh != huge_of(partly_dirty) && fresh != empty_huge);
}
END_TEST

START_TEST(test_span_place__dirty_and_clean_runs_serve_one_large_block) {
    start_heap(LR_GIB);
    struct span *const all = lr_span_alloc_large(pool_pages() + 12 * WHOLE, 1);
    const size_t pages = pool_pages();
    EXPECT(lr_span_resize(all, pages)); // whatever the pool has more
    lr_span_free(all);
    EXPECT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY) >= pages);
    struct span *const dirty = lr_span_alloc_large(4 * WHOLE, 1);
    lr_span_free(dirty);
    // Neither the dirty run nor the clean one is long enough.
    struct span *const both = lr_span_alloc_large(pages, 1);
    EXPECT(both != NULL);
    EXPECT(!both->zeroed);
    EXPECT_UINT(pool_pages(), ==, pages);
}
END_TEST

static unsigned reclaims;
static struct span *hoard; // what the layers above would give back

static void give_hoard_back(void) {
    reclaims++;
    if (hoard != NULL)
        lr_span_free(hoard);
    hoard = NULL;
}

START_TEST(test_span_place__full_window) {
    start_heap(16 * LR_MIB);
    lr_span_heap_set_reclaim(give_hoard_back);
    const size_t room = lr_window.end_pool_page - lr_window.first_pool_page;
    EXPECT(!lr_span_heap_window_full(room));
    EXPECT(lr_span_heap_window_full(room + 1));
    hoard = lr_span_alloc_large(room / 2, 1);
    EXPECT_UINT(reclaims, ==, 0);
    struct span *const rest = lr_span_alloc_large(room - room / 2, 1);
    EXPECT(rest != NULL);
    EXPECT(lr_span_heap_window_full(WHOLE));
    EXPECT_UINT(reclaims, ==, 0);
    // Nothing is left but what the layers above hold back.
    struct span *const last = lr_span_alloc_large(room / 4, 1);
    EXPECT(last != NULL);
    EXPECT_UINT(reclaims, ==, 1);
    EXPECT_PTR(lr_span_alloc_large(room / 2, 1), ==, NULL);
    EXPECT_UINT(reclaims, ==, 2);
    expect_counts_add_up();
    // Not the end: what is freed is there again.
    lr_span_free(rest);
    lr_span_free(last);
    EXPECT(lr_span_alloc_large(room, 1) != NULL);
}
END_TEST

// Pieces of both kinds side by side, too many for one request to join them as they are.
START_TEST(test_span_place__last_resort_joins_all_free_memory) {
    start_heap(16 * LR_MIB);
    const size_t room = lr_window.end_pool_page - lr_window.first_pool_page;
    const size_t count = room / WHOLE;
    struct span *spans[8];
    EXPECT_UINT(count, <=, 8);
    for (size_t i = 0; i < count; i++)
        spans[i] = lr_span_alloc_large(WHOLE, 1);
    for (size_t i = 0; i < count; i += 2) {
        memset(lr_span_start(spans[i]), 1, lr_span_bytes(spans[i]));
        lr_span_free(spans[i]);
    }
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, (count + 1) / 2 * WHOLE);
    for (size_t i = 1; i < count; i += 2)
        lr_span_free(spans[i]);
    struct span *const all = lr_span_alloc_large(room, 1);
    EXPECT(all != NULL);
    EXPECT(all->zeroed); // all of it had to be returned
    EXPECT_ZERO(lr_span_start(all), lr_span_bytes(all));
}
END_TEST

START_TEST(test_span_place__heap_limit) {
    start_heap(LR_GIB);
    lr_span_heap_set_reclaim(give_hoard_back);
    const size_t limit_pages = 40 * WHOLE;
    EXPECT_INT(lr_option_set("heap_limit", limit_pages << LR_PAGE_SHIFT), ==, 0);
    EXPECT_PTR(lr_span_alloc_large(limit_pages + 1, 1), ==, NULL);
    EXPECT(!lr_span_heap_may_hold(limit_pages + 1));
    EXPECT(lr_span_heap_may_hold(limit_pages));
    struct span *const most = lr_span_alloc_large(limit_pages - 10, 1);
    EXPECT(most != NULL);
    EXPECT_PTR(lr_span_alloc_small(11, 5, 1, 32), ==, NULL);
    struct span *const rest = lr_span_alloc_small(10, 5, 1, 32);
    EXPECT(rest != NULL);
    EXPECT(!lr_span_resize(most, limit_pages - 9));
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, limit_pages);
    // Free memory counts until it is returned: the limit is one of resident bytes.
    EXPECT(lr_span_resize(most, limit_pages / 2));
    lr_span_free(rest);
    for (unsigned i = 0; i < 20; i++) {
        struct span *const span = lr_span_alloc_large(WHOLE, 1);
        EXPECT(span != NULL);
        const struct span_heap_counts counts = expect_counts_add_up();
        EXPECT_UINT(counts.used_pages + counts.free_dirty_pages, <=, limit_pages);
    }
    EXPECT_PTR(lr_span_alloc_large(WHOLE, 1), ==, NULL);
    EXPECT_INT(lr_option_set("heap_limit", 0), ==, 0);
    EXPECT(lr_span_alloc_large(limit_pages, 1) != NULL);
}
END_TEST

START_TEST(test_span_place__reclaim_is_asked_at_the_limit) {
    start_heap(LR_GIB);
    lr_span_heap_set_reclaim(give_hoard_back);
    EXPECT_INT(lr_option_set("heap_limit", 8 * LR_HUGE_BYTES), ==, 0);
    hoard = lr_span_alloc_large(6 * WHOLE, 1);
    EXPECT_UINT(reclaims, ==, 0);
    EXPECT(lr_span_alloc_large(5 * WHOLE, 1) != NULL);
    EXPECT_UINT(reclaims, ==, 1);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("span_place");
    test_add(suite, test_span_place__the_fullest_huge_page_that_fits);
    test_add(suite, test_span_place__resident_before_returned);
    test_add(suite, test_span_place__dirty_and_clean_runs_serve_one_large_block);
    test_add(suite, test_span_place__full_window);
    test_add(suite, test_span_place__last_resort_joins_all_free_memory);
    test_add(suite, test_span_place__heap_limit);
    test_add(suite, test_span_place__reclaim_is_asked_at_the_limit);
    return suite;
}
