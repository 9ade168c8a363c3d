// SPDX-License-Identifier: Apache-2.0
//
// Spans from the heap: their maps, alignment, zero pages, counts, and what is there when all of it
// was freed. Where a span goes is test_span_place.c's, resizing test_span_resize.c's; random steps
// against a page array are in tests/model/model_heap.c.
#include "heap/span_heap.h"

#include <string.h>

#include "../../support/crew.h"
#include "../../support/interval_set.h"
#include "base/bits.h"
#include "heap_test.h"

static const uint16_t no_offset = 0;

// The maps lead from each page of a small span to it, from the first one of a large span only.
static void expect_mapped(const struct span *span, uint16_t offset) {
    for (size_t i = 0; i < span->page_count; i++) {
        const size_t page = span->first_page + i;
        EXPECT(lr_page_in_window(page));
        EXPECT_UINT(lr_load_relaxed(lr_class_map(page)), ==, offset);
        EXPECT_PTR(lr_span_of_page(page), ==, offset != 0 || i == 0 ? span : NULL);
    }
}

START_TEST(test_span_heap__small_spans) {
    start_heap(LR_GIB);
    for (uint32_t pages = 1; pages < 64; pages += 3) {
        const uint16_t objects = (uint16_t)(pages * 17), offset = (uint16_t)(pages * 32);
        struct span *const span = lr_span_alloc_small(pages, objects, (uint8_t)pages, offset);
        EXPECT(span != NULL);
        EXPECT_UINT(span->page_count, ==, pages);
        EXPECT_UINT(span->object_count, ==, objects);
        EXPECT_UINT(span->free_objects, ==, objects);
        EXPECT_UINT(span->fresh, ==, 0);
        EXPECT_UINT(span->size_class, ==, pages);
        for (unsigned w = 0; w < (objects + 63u) / 64; w++)
            EXPECT_UINT(span->bits[w], ==, 0);
        // In one huge page, so that the rest of it can go back whole.
        EXPECT_UINT(span->first_page / LR_PAGES_PER_HUGE, ==,
                    (span->first_page + pages - 1) / LR_PAGES_PER_HUGE);
        expect_mapped(span, offset);
        memset(lr_span_start(span), 1, lr_span_bytes(span));
        if (pages % 2 == 0)
            continue;
        const uint32_t first = span->first_page;
        lr_span_free(span);
        for (size_t i = 0; i < pages; i++) {
            EXPECT_UINT(lr_load_relaxed(lr_class_map(first + i)), ==, 0);
            EXPECT_PTR(lr_span_of_page(first + i), ==, NULL);
        }
    }
}
END_TEST

START_TEST(test_span_heap__large_spans_are_aligned) {
    start_heap(64 * LR_GIB);
    for (size_t align = 1; align <= lr_window.align >> LR_PAGE_SHIFT; align *= 2) {
        for (size_t pages = 1; pages < 2000; pages = pages * 3 + 1) {
            struct span *const span = lr_span_alloc_large(pages, align);
            EXPECT(span != NULL);
            EXPECT_ALIGNED(lr_span_start(span), align << LR_PAGE_SHIFT);
            EXPECT_UINT(span->page_count, ==, pages);
            EXPECT_UINT(span->object_count, ==, 1);
            EXPECT_UINT(span->size_class, ==, 0);
            expect_mapped(span, no_offset);
            lr_span_start(span)[lr_span_bytes(span) - 1] = 1;
            if (pages % 3 == 0)
                lr_span_free(span);
        }
        expect_counts_add_up();
    }
}
END_TEST

START_TEST(test_span_heap__more_than_the_window_is_refused) {
    start_heap(LR_GIB);
    EXPECT_PTR(lr_span_alloc_large(LR_GIB >> LR_PAGE_SHIFT, 1), ==, NULL);
    EXPECT_PTR(lr_span_alloc_large(SIZE_MAX >> LR_PAGE_SHIFT, 1), ==, NULL);
    EXPECT_PTR(lr_span_alloc_large(((size_t)1 << 32) + 1, 1), ==, NULL); // not one page
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
}
END_TEST

START_TEST(test_span_heap__counts_follow) {
    start_heap(LR_GIB);
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
    struct span *const small = lr_span_alloc_small(8, 100, 3, 96);
    struct span *const part = lr_span_alloc_large(100, 1);
    struct span *const whole = lr_span_alloc_large(3 * LR_PAGES_PER_HUGE, 1);
    struct span_heap_counts counts = expect_counts_add_up();
    EXPECT_UINT(counts.used_pages, ==, 8 + 100 + 3 * LR_PAGES_PER_HUGE);
    EXPECT_UINT(counts.free_dirty_pages, ==, 0); // nothing was used before
    EXPECT_UINT(counts.small_spans, ==, 1);
    EXPECT_UINT(counts.large_spans, ==, 2);
    EXPECT_UINT(counts.large_pages, ==, 100 + 3 * LR_PAGES_PER_HUGE);
    EXPECT_UINT(counts.huge_full, ==, 3);
    EXPECT_UINT(counts.huge_partial, ==, 1);
    lr_span_free(part);
    lr_span_free(whole);
    counts = expect_counts_add_up();
    EXPECT_UINT(counts.used_pages, ==, 8);
    EXPECT_UINT(counts.free_dirty_pages, ==, 100 + 3 * LR_PAGES_PER_HUGE);
    EXPECT_UINT(counts.large_spans + counts.large_pages, ==, 0);
    EXPECT_UINT(counts.huge_full, ==, 0);
    lr_span_free(small);
    counts = expect_counts_add_up();
    EXPECT_UINT(counts.used_pages + counts.small_spans + counts.huge_partial, ==, 0);
}
END_TEST

START_TEST(test_span_heap__peak_since_it_was_taken) {
    start_heap(LR_GIB);
    struct span *const first = lr_span_alloc_large(500, 1);
    struct span *const second = lr_span_alloc_large(300, 1);
    lr_span_free(second);
    EXPECT_UINT(lr_span_heap_take_recent().peak_used_pages, ==, 800);
    EXPECT_UINT(lr_span_heap_take_recent().peak_used_pages, ==, 500);
    EXPECT(lr_span_resize(first, 600));
    EXPECT(lr_span_resize(first, 1));
    EXPECT_UINT(lr_span_heap_take_recent().peak_used_pages, ==, 600);
    lr_span_free(first);
    EXPECT_UINT(lr_span_heap_take_recent().peak_used_pages, ==, 1);
    EXPECT_UINT(lr_span_heap_take_recent().peak_used_pages, ==, 0);
}
END_TEST

// "Zeroed" spares calloc its memset: it may never be said of pages that were written to.
START_TEST(test_span_heap__zeroed_pages_are_zero) {
    enum { SPANS = 64, STEPS = 4000 };
    struct span *spans[SPANS] = {NULL};
    struct test_rng rng = {test_seed()};
    unsigned zeroed = 0, others = 0;
    start_heap(LR_GIB);
    for (unsigned step = 0; step < STEPS; step++) {
        struct span **const at = &spans[test_rng_below(&rng, SPANS)];
        if (*at != NULL) {
            lr_span_free(*at);
            *at = NULL;
            continue;
        }
        const size_t pages = 1 + test_rng_size(&rng, 599);
        *at = test_rng_below(&rng, 2) == 0 || pages > 255
                  ? lr_span_alloc_large(pages, 1)
                  : lr_span_alloc_small((uint32_t)pages, 10, 5, 160);
        EXPECT(*at != NULL);
        zeroed += (*at)->zeroed;
        others += !(*at)->zeroed;
        if ((*at)->zeroed)
            EXPECT_ZERO(lr_span_start(*at), lr_span_bytes(*at));
        memset(lr_span_start(*at), 0x5a, lr_span_bytes(*at));
        if (step % 64 == 0) { // some of it becomes clean
            struct claim_walk walk = {0};
            size_t first;
            const size_t count = lr_span_heap_claim_dirty(1000, &walk, &first, &(size_t){0});
            if (count != 0)
                lr_span_heap_return_range(
                    first, count, lr_os_purge(lr_page_address(first), count << LR_PAGE_SHIFT));
        }
    }
    EXPECT_UINT(zeroed, >, 0);
    EXPECT_UINT(others, >, 0);
}
END_TEST

START_TEST(test_span_heap__what_was_freed_is_there_for_any_size) {
    enum { SPANS = 300 };
    static struct span *spans[SPANS];
    struct test_rng rng = {test_seed()};
    start_heap(LR_GIB);
    for (unsigned i = 0; i < SPANS; i++)
        spans[i] = lr_span_alloc_large(1 + test_rng_size(&rng, 700), 1);
    for (unsigned i = SPANS; i-- > 1;) { // in another order
        const unsigned other = (unsigned)test_rng_below(&rng, i + 1);
        struct span *const swapped = spans[i];
        spans[i] = spans[other];
        spans[other] = swapped;
    }
    for (unsigned i = 0; i < SPANS; i++)
        lr_span_free(spans[i]);
    const size_t pages = pool_pages();
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
    // All neighbours were joined: one span gets everything, with no pool added.
    struct span *const all = lr_span_alloc_large(pages, 1);
    EXPECT(all != NULL);
    EXPECT_UINT(pool_pages(), ==, pages);
    lr_span_free(all);
}
END_TEST

START_TEST(test_span_heap__a_descriptor_serves_the_next_span) {
    start_heap(LR_GIB);
    struct span *span = lr_span_alloc_large(10, 1);
    struct span *const first = span;
    for (unsigned i = 0; i < 1000; i++) {
        lr_span_free(span);
        span = i % 2 == 0 ? lr_span_alloc_small(2, 50, 1, 32) : lr_span_alloc_large(10, 1);
        EXPECT_PTR(span, ==, first);
    }
}
END_TEST

enum { THREADS = 4, HELD = 40, ROUNDS = 6000 };

struct held {
    struct span *span;
    uint64_t seed;
};

static void use_spans(struct test_worker *worker) {
    struct held held[HELD] = {{0}};
    struct test_rng rng = {worker->seed};
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct held *const at = &held[test_rng_below(&rng, HELD)];
        if (at->span != NULL) {
            EXPECT_FILLED(lr_span_start(at->span), 4096, at->seed);
            const size_t end = lr_span_bytes(at->span) - 64;
            EXPECT_FILLED(lr_span_start(at->span) + end, 64, at->seed + 1);
            lr_span_free(at->span);
            at->span = NULL;
            continue;
        }
        const size_t pages = 1 + test_rng_size(&rng, i % 50 == 0 ? 1000 : 60);
        at->seed = test_rng_next(&rng);
        at->span = pages > 60 || i % 3 == 0 ? lr_span_alloc_large(pages, 1)
                                            : lr_span_alloc_small((uint32_t)pages, 9, 2, 64);
        EXPECT(at->span != NULL);
        test_fill(lr_span_start(at->span), 4096, at->seed);
        test_fill(lr_span_start(at->span) + lr_span_bytes(at->span) - 64, 64, at->seed + 1);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i].span != NULL)
            lr_span_free(held[i].span);
}

START_TEST(test_span_heap__threads_do_not_get_each_others_pages) {
    start_heap(8 * LR_GIB);
    test_crew_run(THREADS, use_spans, NULL);
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
    struct span *const all = lr_span_alloc_large(pool_pages(), 1);
    EXPECT(all != NULL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("span_heap");
    test_add(suite, test_span_heap__small_spans);
    test_add(suite, test_span_heap__large_spans_are_aligned);
    test_add(suite, test_span_heap__more_than_the_window_is_refused);
    test_add(suite, test_span_heap__counts_follow);
    test_add(suite, test_span_heap__peak_since_it_was_taken);
    test_add(suite, test_span_heap__zeroed_pages_are_zero);
    test_add(suite, test_span_heap__what_was_freed_is_there_for_any_size);
    test_add(suite, test_span_heap__a_descriptor_serves_the_next_span);
    test_add(suite, test_span_heap__threads_do_not_get_each_others_pages);
    return suite;
}
