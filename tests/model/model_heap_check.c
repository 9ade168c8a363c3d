// SPDX-License-Identifier: Apache-2.0
//
// The walker of support/heap_check.h finds what is planted, and nothing where nothing is.
#include <larder/larder.h>

#include <string.h>

#include "../support/heap_check.h"
#include "../support/support.h"
#include "cache/thread_cache.h"
#include "conf/options.h"
#include "heap/huge_page.h"
#include "heap/span_heap.h"
#include "heap/window.h"

enum { COUNT = 3000 };
static void *blocks[COUNT];

static void use_heap(void) {
    struct test_rng rng = {test_seed()};
    static void *large;            // one at least is there whatever the seed
    larder_free(larder_malloc(1)); // reads the options
    if (large == NULL)
        large = larder_malloc(1000000);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = larder_malloc(test_rng_size(&rng, i % 50 == 0 ? 3000000 : 20000));
    for (unsigned i = 0; i < COUNT; i += 1 + (unsigned)test_rng_below(&rng, 3)) {
        larder_free(blocks[i]);
        blocks[i] = NULL;
    }
}

START_TEST(test_heap_check__finds_nothing_in_a_sound_heap) {
    for (unsigned round = 0; round < 5; round++) {
        use_heap();
        EXPECT(test_heap_fault() == NULL);
        larder_thread_flush();
        larder_release(SIZE_MAX);
        EXPECT(test_heap_fault() == NULL);
        for (unsigned i = 0; i < COUNT; i++)
            larder_free(blocks[i]);
        EXPECT(test_heap_fault() == NULL);
    }
}
END_TEST

// A span of small blocks with free and used objects among those handed out before.
static struct span *some_small_span(void) {
    for (size_t page = lr_window.first_pool_page; page < lr_window.pages; page++) {
        struct span *const span = lr_span_of_page(page);
        if (span != NULL && span->size_class != 0 && span->fresh > 1)
            return span;
    }
    EXPECT(!"a small span");
    return NULL;
}

static struct span *some_large_span(void) {
    for (size_t page = lr_window.first_pool_page; page < lr_window.pages; page++) {
        struct span *const span = lr_span_of_page(page);
        if (span != NULL && span->size_class == 0 && span->page_count > 1)
            return span;
    }
    EXPECT(!"a large span");
    return NULL;
}

// Plants `change`, expects to be told so, and takes it back by `undo`.
#define EXPECT_FOUND(text, change, undo)                                                           \
    do {                                                                                           \
        EXPECT(test_heap_fault() == NULL);                                                         \
        change;                                                                                    \
        const char *const fault_ = test_heap_fault();                                              \
        undo;                                                                                      \
        EXPECT(fault_ != NULL && strcmp(fault_, text) == 0);                                       \
    } while (0)

START_TEST(test_heap_check__finds_what_is_planted_in_spans) {
    use_heap();
    struct span *const span = some_small_span();
    EXPECT_FOUND("free_objects of a span", span->free_objects++, span->free_objects--);
    EXPECT_FOUND("free_objects of a span", span->bits[0] ^= 1, span->bits[0] ^= 1);
    EXPECT_FOUND("a span is not as its class says", span->page_count++, span->page_count--);
    EXPECT_FOUND("a span does not begin where its first page is", span->first_page--,
                 span->first_page++);
    atomic_u16 *const entry = lr_class_map(span->first_page);
    EXPECT_FOUND("the class map differs from the span", (*entry)++, (*entry)--);
    atomic_u32 *const at = &lr_window.span_map[span->first_page + span->page_count - 1];
    const uint32_t id = *at;
    EXPECT_FOUND("a page of a span leads to another one", *at = 0, *at = id);
    struct span *const large = some_large_span();
    EXPECT_FOUND("a span begins inside a large block",
                 lr_window.span_map[large->first_page + 1] = id,
                 lr_window.span_map[large->first_page + 1] = 0);
}
END_TEST

START_TEST(test_heap_check__finds_what_is_planted_in_huge_pages) {
    use_heap();
    const struct span *const span = some_small_span();
    struct huge_page *const huge = &lr_window.huge_pages[span->first_page / LR_PAGES_PER_HUGE];
    const unsigned i = span->first_page % LR_PAGES_PER_HUGE;
    const uint64_t bit = (uint64_t)1 << (i % 64);
    EXPECT_FOUND("used_count of a huge page", huge->used[i / 64] ^= bit, huge->used[i / 64] ^= bit);
    EXPECT_FOUND("a page is used and clean", huge->clean[i / 64] ^= bit,
                 huge->clean[i / 64] ^= bit);
    EXPECT_FOUND("clean_count of a huge page", huge->clean_count++, huge->clean_count--);
    EXPECT_FOUND("longest run of a huge page", huge->longest++, huge->longest--);
    const uint8_t state = huge->state;
    EXPECT_FOUND("state of a huge page", huge->state = HUGE_FREE, huge->state = state);
}
END_TEST

START_TEST(test_heap_check__finds_what_is_planted_in_bins) {
    larder_free(larder_malloc(100));
    void *const lowest = larder_malloc(100), *const next = larder_malloc(100);
    larder_free(lowest);
    larder_free(next);
    struct bin *const bin = &lr_load_relaxed(&lr_thread_cache)->bins[lr_class_of(100)];
    EXPECT_UINT(bin->top - bin->base, >=, 2);
    void *const kept = bin->top[-1];
    EXPECT_FOUND("a bin holds an object twice", bin->top[-1] = bin->top[-2], bin->top[-1] = kept);
    EXPECT_FOUND("a bin holds an object that is not handed out", bin->top[-1] = (char *)kept + 16,
                 bin->top[-1] = kept);
    EXPECT_FOUND("a bin holds what is no block of its class", bin->top[-1] = bin,
                 bin->top[-1] = kept);
    EXPECT_FOUND("a bin holds more than it can", bin->top += 100000, bin->top -= 100000);
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("heap_check");
    test_add(suite, test_heap_check__finds_nothing_in_a_sound_heap);
    test_add(suite, test_heap_check__finds_what_is_planted_in_spans);
    test_add(suite, test_heap_check__finds_what_is_planted_in_huge_pages);
    test_add(suite, test_heap_check__finds_what_is_planted_in_bins);
    return suite;
}
