// SPDX-License-Identifier: Apache-2.0
//
// Free pages that go back to the system: the claims of the span heap, and release on top of them.
#include "heap/release.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../support/crew.h"
#include "base/bits.h"
#include "heap_test.h"

enum { WHOLE = LR_PAGES_PER_HUGE };

// Spans of every size, written full; every second one freed again.
enum { SPANS = 200 };
static struct span *spans[SPANS];

static size_t hole_bytes; // of those that were freed

// All memory of the heap was used before, so that all free pages are dirty; returns how many.
static size_t make_holes(void) {
    struct test_rng rng = {test_seed()};
    hole_bytes = 0;
    lr_span_free(lr_span_alloc_large(160 * WHOLE, 1));
    const size_t pool = pool_pages();
    for (unsigned i = 0; i < SPANS; i++) {
        spans[i] = lr_span_alloc_large(1 + test_rng_size(&rng, i % 10 == 0 ? 1500 : 90), 1);
        EXPECT(spans[i] != NULL);
        test_fill(lr_span_start(spans[i]), lr_span_bytes(spans[i]), i);
    }
    for (unsigned i = 0; i < SPANS; i += 2) {
        hole_bytes += lr_span_bytes(spans[i]);
        lr_span_free(spans[i]);
        spans[i] = NULL;
    }
    EXPECT_UINT(pool_pages(), ==, pool);
    return expect_counts_add_up().free_dirty_pages;
}

static void expect_used_spans_intact(void) {
    for (unsigned i = 0; i < SPANS; i++)
        if (spans[i] != NULL)
            EXPECT_FILLED(lr_span_start(spans[i]), lr_span_bytes(spans[i]), i);
}

START_TEST(test_release__claims_cover_all_dirty_pages_once) {
    static uint8_t claimed[1 << 16];
    struct claim_walk walk = {0};
    size_t first, pages, total = 0;
    start_heap(512 * LR_MIB);
    const size_t freed = make_holes();
    const size_t used = expect_counts_add_up().used_pages;
    while ((pages = lr_span_heap_claim_dirty(50, &walk, &first, &(size_t){0})) != 0) {
        EXPECT(pages <= 50 || (pages == WHOLE && first % WHOLE == 0));
        for (size_t i = first; i < first + pages; i++) {
            EXPECT_PTR(lr_span_of_page(i), ==, NULL);
            EXPECT_INT(claimed[i]++, ==, 0);
        }
        total += pages;
        EXPECT_UINT(lr_span_heap_counts().used_pages, ==, used + total); // nobody's to take
    }
    EXPECT_UINT(total, ==, freed);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    for (size_t i = 0; i < lr_load_relaxed(&lr_window.pages); i++)
        if (claimed[i] != 0)
            lr_span_heap_return_range(i, 1, i % 2 == 0);
    const struct span_heap_counts counts = expect_counts_add_up();
    EXPECT_UINT(counts.used_pages, ==, used);
    EXPECT_UINT(counts.free_dirty_pages, >, 0);
    EXPECT_UINT(counts.free_dirty_pages, <, freed);
}
END_TEST

START_TEST(test_release__whole_huge_pages_first) {
    struct claim_walk walk = {0};
    size_t first;
    start_heap(LR_GIB);
    struct span *const whole = lr_span_alloc_large(3 * WHOLE, 1);
    struct span *const part = lr_span_alloc_large(WHOLE - 1, 1);
    const size_t whole_first = whole->first_page;
    EXPECT(lr_span_resize(part, 1)); // a hole of 254 pages
    lr_span_free(whole);
    EXPECT_UINT(lr_span_heap_claim_dirty(1, &walk, &first, &(size_t){0}), ==, WHOLE);
    EXPECT_UINT(first, ==, whole_first + 2 * WHOLE); // from its end
    EXPECT_UINT(lr_span_heap_claim_dirty(10 * WHOLE, &walk, &first, &(size_t){0}), ==, 2 * WHOLE);
    EXPECT_UINT(first, ==, whole_first);
    EXPECT_UINT(lr_span_heap_claim_dirty(100, &walk, &first, &(size_t){0}), ==, 100);
    EXPECT_UINT(first, ==, part->first_page + 1u);
}
END_TEST

START_TEST(test_release__returned_pages_are_zero_and_gone) {
    start_heap(512 * LR_MIB);
    const size_t freed = make_holes();
    const struct span_heap_counts before = expect_counts_add_up();
    const size_t rss = test_rss_bytes();
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, freed);
    const struct span_heap_counts after = expect_counts_add_up();
    EXPECT_UINT(after.used_pages, ==, before.used_pages);
    EXPECT_UINT(after.free_dirty_pages, ==, 0);
    EXPECT_UINT(after.free_clean_pages, ==, before.free_clean_pages + freed);
    if (!TEST_UNDER_TSAN) // whose shadow stays
        EXPECT_UINT(test_rss_bytes() + hole_bytes - LR_MIB, <=, rss);
    for (size_t page = lr_window.first_pool_page; page < lr_load_relaxed(&lr_window.pages);) {
        const struct span *const span = lr_span_of_page(page);
        if (span == NULL)
            EXPECT_ZERO(lr_page_address(page), LR_PAGE_BYTES);
        page += span == NULL ? 1 : span->page_count;
    }
    expect_used_spans_intact();
    const struct release_counts counts = lr_release_counts();
    EXPECT_UINT(counts.pages, ==, freed);
    EXPECT_UINT(counts.calls, >, 0);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, 0);
    EXPECT_UINT(lr_release_counts().pages, ==, freed);
}
END_TEST

START_TEST(test_release__as_much_as_asked) {
    start_heap(512 * LR_MIB);
    size_t left = make_holes();
    for (size_t asked = 1; left > 0; asked = asked * 2 + 1) {
        const size_t released = lr_release_pages(asked, LR_BREAK_ANY);
        EXPECT_UINT(released, >=, asked < left ? asked : left);
        EXPECT_UINT(released, <, asked + WHOLE);
        left -= released;
        EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, left);
    }
    EXPECT_UINT(lr_release_pages(0, LR_BREAK_ANY), ==, 0);
    expect_used_spans_intact();
}
END_TEST

// Pages that hold no memory cannot come back, though they lie in the same huge page.
START_TEST(test_release__only_what_was_resident_is_counted) {
    start_heap(LR_GIB);
    lr_span_free(lr_span_alloc_large(40, 1));
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 40);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, 40);
    EXPECT_UINT(lr_release_counts().pages, ==, 40);
}
END_TEST

// The kernel refuses locked memory: it stays dirty and usable, and the call ends. (System calls,
// because sanitizers make mlock() do nothing.)
START_TEST(test_release__locked_memory_stays) {
    start_heap(LR_GIB);
    struct span *const span = lr_span_alloc_large(WHOLE, 1);
    memset(lr_span_start(span), 1, lr_span_bytes(span));
    if (syscall(SYS_mlock, lr_span_start(span), lr_span_bytes(span)) != 0) {
        TEST_SKIP("not allowed to lock memory");
    }
    const uint32_t first = span->first_page;
    lr_span_free(span);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, 0);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, WHOLE);
    EXPECT_INT(lr_page_address(first)[0], ==, 1);
    EXPECT_INT(syscall(SYS_munlock, lr_page_address(first), LR_HUGE_BYTES), ==, 0);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, WHOLE);
    EXPECT_INT(lr_page_address(first)[0], ==, 0);
}
END_TEST

// ---- Release while others take, fill and free ----

enum { THREADS = 3, HELD = 30, ROUNDS = 3000 };

struct race {
    atomic_uint ended;
    atomic_uint released; // pages
};

static void use_spans(struct test_worker *worker) {
    struct span *held[HELD] = {NULL};
    struct race *const race = worker->shared;
    struct test_rng rng = {worker->seed};
    if (worker->index == 0) {
        while (atomic_load(&race->ended) < worker->count - 1)
            atomic_fetch_add(&race->released, (unsigned)lr_release_pages(
                                                  1 + test_rng_size(&rng, 5000), LR_BREAK_ANY));
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned at = (unsigned)test_rng_below(&rng, HELD);
        if (held[at] != NULL) {
            EXPECT_FILLED(lr_span_start(held[at]), lr_span_bytes(held[at]), at + worker->seed);
            lr_span_free(held[at]);
            held[at] = NULL;
            continue;
        }
        held[at] = lr_span_alloc_large(1 + test_rng_size(&rng, 30), 1);
        EXPECT(held[at] != NULL);
        if (held[at]->zeroed)
            EXPECT_ZERO(lr_span_start(held[at]), lr_span_bytes(held[at]));
        test_fill(lr_span_start(held[at]), lr_span_bytes(held[at]), at + worker->seed);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i] != NULL)
            lr_span_free(held[i]);
    atomic_fetch_add(&race->ended, 1);
}

START_TEST(test_release__while_others_use_the_heap) {
    static struct race race;
    start_heap(8 * LR_GIB);
    test_crew_run(THREADS, use_spans, &race);
    EXPECT_UINT(race.released, >, 0);
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    EXPECT_UINT(expect_counts_add_up().free_clean_pages, ==, pool_pages());
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("release");
    test_add(suite, test_release__claims_cover_all_dirty_pages_once);
    test_add(suite, test_release__whole_huge_pages_first);
    test_add(suite, test_release__returned_pages_are_zero_and_gone);
    test_add(suite, test_release__as_much_as_asked);
    test_add(suite, test_release__only_what_was_resident_is_counted);
    test_add(suite, test_release__locked_memory_stays);
    test_add(suite, test_release__while_others_use_the_heap);
    return suite;
}
