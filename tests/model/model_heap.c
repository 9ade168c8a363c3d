// SPDX-License-Identifier: Apache-2.0
//
// Random spans against an array of pages: who has each page, and whether a free one holds memory.
// LARDER_TEST_SECONDS: how long each part runs (2 unless set).
#include "heap/span_heap.h"

#include <stdlib.h>
#include <string.h>

#include "../support/support.h"
#include "base/bits.h"
#include "conf/options.h"
#include "heap/pool.h"
#include "heap/release.h"
#include "os/os.h"

enum { WHOLE = LR_PAGES_PER_HUGE, PAGES_MOST = 1 << 16, SPANS = 400, STAMPS = 4 };

enum { DIRTY = 0, CLEAN = 1, FIRST_SPAN = 2 }; // above: the span of that number

static struct {
    uint16_t pages[PAGES_MOST]; // of the window; those beyond the pools are CLEAN
    size_t end;                 // behind the last pool
    struct span *spans[SPANS];
    size_t used, dirty, small, large, large_pages, peak;
} model;

static void start(size_t window_bytes) {
    lr_os_init();
    // The model knows which pages were touched; with huge pages the kernel touches others too.
    EXPECT_INT(setenv("LARDER_THP", "never", 1), ==, 0);
    EXPECT(lr_options_init());
    EXPECT(lr_window_init(window_bytes));
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    EXPECT_UINT(lr_window.bytes >> LR_PAGE_SHIFT, <=, PAGES_MOST);
    memset(&model, 0, sizeof model);
    for (size_t i = 0; i < PAGES_MOST; i++)
        model.pages[i] = CLEAN;
    model.end = lr_window.first_pool_page;
}

static uint64_t *word_at(size_t page, size_t offset) {
    return (uint64_t *)(void *)(lr_page_address(page) + offset);
}

// A few words of each page say whose it is.
static size_t stamp_offset(size_t page, unsigned i) {
    return (page * 2654435761u + i * 40503u) % (LR_PAGE_BYTES / 8) * 8;
}

static void stamp(size_t page, uint16_t owner) {
    for (unsigned i = 0; i < STAMPS; i++)
        *word_at(page, stamp_offset(page, i)) = (uint64_t)owner << 32 | page;
}

static void expect_stamped(size_t page, uint16_t owner) {
    for (unsigned i = 0; i < STAMPS; i++)
        EXPECT_UINT(*word_at(page, stamp_offset(page, i)), ==, (uint64_t)owner << 32 | page);
}

// All of a page that holds no memory reads as zero; where others stamped is enough to look.
static void expect_zero(size_t page) {
    for (unsigned i = 0; i < STAMPS; i++)
        EXPECT_UINT(*word_at(page, stamp_offset(page, i)), ==, 0);
}

static void note_all_returned(void) {
    for (size_t i = lr_window.first_pool_page; i < model.end; i++)
        model.pages[i] = model.pages[i] == DIRTY ? CLEAN : model.pages[i];
    model.dirty = 0;
}

// The heap may return everything before it gives up; nothing else changes what is dirty.
static void follow_failure(void) {
    if (lr_span_heap_counts().free_dirty_pages != model.dirty) {
        EXPECT_UINT(lr_span_heap_counts().free_dirty_pages, ==, 0);
        note_all_returned();
    }
}

// The same, if that was what made room for the span. That it is zero is looked at later.
static void follow_alloc(const struct span *span) {
    const size_t found = lr_span_heap_counts().free_dirty_pages;
    size_t expected = model.dirty;
    for (size_t i = 0; i < span->page_count; i++)
        expected -= model.pages[span->first_page + i] == DIRTY;
    if (found != expected || (found == 0 && span->zeroed)) {
        EXPECT_UINT(found, ==, 0);
        note_all_returned();
    }
}

static bool take(size_t first, size_t pages, uint16_t owner) {
    bool all_clean = true;
    for (size_t i = first; i < first + pages; i++) {
        EXPECT(model.pages[i] == DIRTY || model.pages[i] == CLEAN);
        all_clean &= model.pages[i] == CLEAN;
        if (model.pages[i] == CLEAN)
            expect_zero(i);
        model.dirty -= model.pages[i] == DIRTY;
        model.pages[i] = owner;
        stamp(i, owner);
    }
    model.used += pages;
    model.peak = lr_max(model.peak, model.used);
    return all_clean;
}

static void give(size_t first, size_t pages, uint16_t owner) {
    for (size_t i = first; i < first + pages; i++) {
        EXPECT_UINT(model.pages[i], ==, owner);
        expect_stamped(i, owner);
        model.pages[i] = DIRTY;
    }
    model.used -= pages;
    model.dirty += pages;
}

static bool is_free(size_t page) { return model.pages[page] < FIRST_SPAN; }

// True if the request fits into the free pages of one huge page, or into free whole ones. (With
// room for every alignment, which the heap does not search for exactly.)
static bool must_fit(size_t pages, size_t align) {
    const size_t wanted = pages + align - 1;
    const size_t whole = (pages + WHOLE - 1) / WHOLE + lr_max(align / WHOLE, 1) - 1;
    size_t run = 0;
    for (size_t i = lr_window.first_pool_page; i < lr_window.end_pool_page; i++) {
        const bool starts_huge = i % WHOLE == 0;
        run = is_free(i) ? run + 1 : 0;
        const size_t in_huge = lr_min(run, i % WHOLE + 1);
        if (wanted < WHOLE && in_huge >= wanted)
            return true;
        if (!starts_huge && (i + 1) % WHOLE == 0 && run / WHOLE >= whole)
            return true;
    }
    return false;
}

static void alloc_span(struct test_rng *rng, unsigned number) {
    const uint16_t owner = (uint16_t)(FIRST_SPAN + number);
    const bool large = test_rng_below(rng, 2) == 0;
    const size_t pages = 1 + test_rng_size(rng, large ? 1500 : 120);
    const size_t align = (size_t)1 << (large ? test_rng_below(rng, 12) : 0);
    struct span *const span =
        large ? lr_span_alloc_large(pages, align) : lr_span_alloc_small((uint32_t)pages, 77, 3, 96);
    model.end = lr_max(model.end, lr_load_relaxed(&lr_window.pages));
    if (span == NULL) {
        follow_failure();
        EXPECT(!must_fit(pages, align));
        return;
    }
    EXPECT_UINT(span->page_count, ==, pages);
    EXPECT_UINT(span->first_page % align, ==, 0);
    EXPECT_UINT(span->first_page, >=, lr_window.first_pool_page);
    EXPECT_UINT(span->first_page + pages, <=, model.end);
    EXPECT(large || span->first_page % WHOLE + pages <= WHOLE);
    follow_alloc(span);
    EXPECT_INT(take(span->first_page, pages, owner), ==, span->zeroed);
    model.spans[number] = span;
    model.small += !large;
    model.large += large;
    model.large_pages += large ? pages : 0;
}

static void free_span(unsigned number) {
    struct span *const span = model.spans[number];
    give(span->first_page, span->page_count, (uint16_t)(FIRST_SPAN + number));
    model.small -= span->size_class != 0;
    model.large -= span->size_class == 0;
    model.large_pages -= span->size_class == 0 ? span->page_count : 0;
    model.spans[number] = NULL;
    lr_span_free(span);
}

static void resize_span(struct test_rng *rng, unsigned number) {
    struct span *const span = model.spans[number];
    const uint16_t owner = (uint16_t)(FIRST_SPAN + number);
    const size_t old = span->page_count, first = span->first_page;
    const size_t pages = 1 + test_rng_size(rng, test_rng_below(rng, 2) == 0 ? old : 2000);
    bool room = true;
    for (size_t i = first + old; i < first + pages; i++)
        room = room && i < model.end && is_free(i);
    EXPECT_INT(lr_span_resize(span, pages), ==, room);
    if (!room)
        return;
    if (pages > old)
        take(first + old, pages - old, owner);
    else
        give(first + pages, old - pages, owner);
    model.large_pages += pages - old;
}

// Claims what the heap offers and returns it clean or as it was.
static void claim_some(struct test_rng *rng) {
    struct claim_walk walk = {0};
    size_t first, dirty = 0;
    const size_t most = 1 + test_rng_size(rng, 3000);
    const size_t pages = lr_span_heap_claim_dirty(most, &walk, &first, &dirty);
    EXPECT_INT(pages == 0, ==, model.dirty == 0);
    EXPECT_UINT(pages, <=, lr_max(most, WHOLE));
    if (pages == 0)
        return;
    size_t expected = 0;
    for (size_t i = first; i < first + pages; i++) {
        EXPECT(is_free(i));
        expected += model.pages[i] == DIRTY;
    }
    EXPECT_UINT(dirty, ==, expected);
    const bool purge = test_rng_below(rng, 4) != 0;
    if (purge)
        EXPECT(lr_os_purge(lr_page_address(first), pages << LR_PAGE_SHIFT));
    lr_span_heap_return_range(first, pages, purge);
    for (size_t i = first; i < first + pages; i++)
        model.pages[i] = purge ? CLEAN : DIRTY;
    model.dirty -= purge ? expected : 0;
    model.dirty += purge ? 0 : pages - expected;
}

static void release_all(void) {
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, model.dirty);
    EXPECT_UINT(lr_span_heap_counts().free_dirty_pages, ==, 0);
    note_all_returned();
}

static void expect_counts(void) {
    const struct span_heap_counts counts = lr_span_heap_counts();
    EXPECT_UINT(counts.used_pages, ==, model.used);
    EXPECT_UINT(counts.free_dirty_pages, ==, model.dirty);
    EXPECT_UINT(counts.free_clean_pages, ==,
                model.end - lr_window.first_pool_page - model.used - model.dirty);
    EXPECT_UINT(counts.small_spans, ==, model.small);
    EXPECT_UINT(counts.large_spans, ==, model.large);
    EXPECT_UINT(counts.large_pages, ==, model.large_pages);
}

// Every page and every huge page.
static void expect_all(void) {
    size_t partial = 0, full = 0, used = 0;
    for (size_t page = lr_window.first_pool_page; page < model.end; page++) {
        const struct span *const span = lr_span_of_page(page);
        if (is_free(page)) {
            EXPECT_PTR(span, ==, NULL);
        } else {
            const struct span *const owner = model.spans[model.pages[page] - FIRST_SPAN];
            const bool known = owner->size_class != 0 || page == owner->first_page;
            EXPECT_PTR(span, ==, known ? owner : NULL);
        }
        used += !is_free(page);
        if ((page + 1) % WHOLE == 0) {
            partial += used > 0 && used < WHOLE;
            full += used == WHOLE;
            used = 0;
        }
    }
    const struct span_heap_counts counts = lr_span_heap_counts();
    EXPECT_UINT(counts.huge_partial, ==, partial);
    EXPECT_UINT(counts.huge_full, ==, full);
}

static void take_peak(void) {
    EXPECT_UINT(lr_span_heap_take_recent().peak_used_pages, ==, model.peak);
    model.peak = model.used;
}

static void step(struct test_rng *rng, uint64_t number) {
    const unsigned at = (unsigned)test_rng_below(rng, SPANS);
    const uint64_t choice = test_rng_below(rng, 16);
    if (choice == 0)
        claim_some(rng);
    else if (model.spans[at] == NULL)
        alloc_span(rng, at);
    else if (choice < 6 && model.spans[at]->size_class == 0)
        resize_span(rng, at);
    else
        free_span(at);
    if (number % 1000 == 0)
        release_all();
    if (number % 77 == 0)
        take_peak();
    expect_counts();
    if (number % 256 == 0)
        expect_all();
}

static void run(size_t window_bytes) {
    struct test_rng rng = {test_seed()};
    start(window_bytes);
    const uint64_t end = test_now_ms() + 1000 * test_env_u64("LARDER_TEST_SECONDS", 2);
    for (uint64_t number = 1; test_now_ms() < end; number++)
        step(&rng, number);
    for (unsigned i = 0; i < SPANS; i++)
        if (model.spans[i] != NULL)
            free_span(i);
    release_all();
    expect_counts();
    expect_all();
    // Everything has joined again: all pools are one free run.
    const size_t all = model.end - lr_window.first_pool_page;
    EXPECT(lr_span_alloc_large(all, 1) != NULL);
    EXPECT_UINT(lr_load_relaxed(&lr_window.pages), ==, model.end);
}

START_TEST(test_heap__in_a_large_window) { run(512 * LR_MIB); }
END_TEST

START_TEST(test_heap__in_a_window_that_is_mostly_full) { run(128 * LR_MIB); }
END_TEST

START_TEST(test_heap__in_a_window_of_a_few_huge_pages) { run(16 * LR_MIB); }
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("heap");
    const unsigned seconds = (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2) + 60;
    test_add_limit(suite, test_heap__in_a_large_window, seconds);
    test_add_limit(suite, test_heap__in_a_window_that_is_mostly_full, seconds);
    test_add_limit(suite, test_heap__in_a_window_of_a_few_huge_pages, seconds);
    return suite;
}
