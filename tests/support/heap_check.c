// SPDX-License-Identifier: Apache-2.0
#include "heap_check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/central.h"
#include "cache/thread_cache.h"
#include "heap/huge_page.h"
#include "heap/span_heap.h"
#include "heap/window.h"

struct totals {
    size_t spans[LR_CLASS_COUNT];
    size_t free_objects[LR_CLASS_COUNT];
    size_t span_pages;
    size_t large_pages;
    size_t large_spans;
    size_t used_pages; // by the bitmaps
    size_t clean_pages;
};

static struct huge_page *huge_of(size_t page) {
    return &lr_window.huge_pages[page / LR_PAGES_PER_HUGE];
}

static bool bit(const uint64_t *bits, size_t i) { return (bits[i / 64] >> (i % 64) & 1) != 0; }

static bool is_used(size_t page) { return bit(huge_of(page)->used, page % LR_PAGES_PER_HUGE); }

static unsigned count_bits(const uint64_t *words, size_t count) {
    unsigned bits = 0;
    for (size_t i = 0; i < count; i++)
        bits += (unsigned)__builtin_popcountl(words[i]);
    return bits;
}

static unsigned longest_free(const struct huge_page *huge) {
    unsigned longest = 0, run = 0;
    for (size_t i = 0; i < LR_PAGES_PER_HUGE; i++) {
        run = bit(huge->used, i) ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static const char *check_huge(size_t number, struct totals *totals) {
    const struct huge_page *huge = &lr_window.huge_pages[number];
    const unsigned used = count_bits(huge->used, 4), clean = count_bits(huge->clean, 4);
    for (unsigned w = 0; w < 4; w++)
        if ((huge->used[w] & huge->clean[w]) != 0)
            return "a page is used and clean";
    if (used != huge->used_count)
        return "used_count of a huge page";
    if (clean != huge->clean_count)
        return "clean_count of a huge page";
    if (longest_free(huge) != huge->longest)
        return "longest run of a huge page";
    if (huge->state != HUGE_NONE && huge->state != (used == 0                   ? HUGE_FREE
                                                    : used == LR_PAGES_PER_HUGE ? HUGE_FULL
                                                                                : HUGE_PARTIAL))
        return "state of a huge page";
    if (huge->state != HUGE_NONE) {
        totals->used_pages += used;
        totals->clean_pages += clean;
    }
    return NULL;
}

static const char *check_small(const struct span *span, struct totals *totals) {
    const unsigned c = span->size_class;
    if (c >= LR_CLASS_COUNT || span->page_count != lr_classes[c].pages ||
        span->object_count != lr_classes[c].objects)
        return "a span is not as its class says";
    for (size_t i = 0; i < span->page_count; i++) {
        const size_t page = span->first_page + i;
        if (lr_span_of_page(page) != span)
            return "a page of a span leads to another one";
        if (lr_load_relaxed(lr_class_map(page)) != lr_bin_offset(c))
            return "the class map differs from the span";
        if (!is_used(page))
            return "a page of a span is free";
    }
    if (span->fresh > span->object_count)
        return "more objects were handed out than there are";
    unsigned recycled = 0;
    for (size_t i = 0; i < span->object_count; i++) {
        if (i >= span->fresh && bit(span->bits, i))
            return "an object that was never handed out came back";
        recycled += bit(span->bits, i);
    }
    if (recycled + span->object_count - span->fresh != span->free_objects)
        return "free_objects of a span";
    totals->spans[c]++;
    totals->free_objects[c] += span->free_objects;
    return NULL;
}

static const char *check_large(const struct span *span, struct totals *totals) {
    for (size_t i = 0; i < span->page_count; i++) {
        const size_t page = span->first_page + i;
        if (!is_used(page))
            return "a page of a large block is free";
        if (lr_load_relaxed(lr_class_map(page)) != 0)
            return "a page of a large block has a size class";
        if (i > 0 && lr_span_of_page(page) != NULL)
            return "a span begins inside a large block";
    }
    totals->large_spans++;
    totals->large_pages += span->page_count;
    return NULL;
}

static const char *check_pages(struct totals *totals) {
    const size_t end = lr_load_relaxed(&lr_window.pages);
    const char *fault = NULL;
    for (size_t page = lr_window.first_pool_page; page < end && fault == NULL;) {
        const struct span *span = lr_span_of_page(page);
        if (span == NULL) {
            if (lr_load_relaxed(lr_class_map(page)) != 0)
                return "a page without a span has a size class";
            if (is_used(page))
                return "a used page has no span";
            page++;
            continue;
        }
        if (span->first_page != page)
            return "a span does not begin where its first page is";
        fault = span->size_class != 0 ? check_small(span, totals) : check_large(span, totals);
        totals->span_pages += span->page_count;
        page += span->page_count;
    }
    return fault;
}

// The bins of the calling thread hold objects that are handed out, each once.
static const char *check_bins(void) {
    const struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const struct bin *bin = &cache->bins[c];
        if (bin->top < bin->base || bin->top > bin->limit)
            return "a bin holds more than it can";
        for (void **at = bin->base; at < bin->top; at++) {
            const size_t page = lr_page_of(*at);
            const struct span *span = lr_page_in_window(page) ? lr_span_of_page(page) : NULL;
            if (span == NULL || span->size_class != c)
                return "a bin holds what is no block of its class";
            const size_t offset = (size_t)((char *)*at - lr_span_start(span));
            const size_t i = offset / lr_classes[c].bytes;
            if (i * lr_classes[c].bytes != offset || i >= span->fresh || bit(span->bits, i))
                return "a bin holds an object that is not handed out";
            for (void **other = bin->base; other < at; other++)
                if (*other == *at)
                    return "a bin holds an object twice";
        }
    }
    return NULL;
}

const char *test_heap_fault(void) {
    struct totals totals = {0};
    const size_t end = lr_load_relaxed(&lr_window.pages) / LR_PAGES_PER_HUGE;
    if (end == 0)
        return NULL; // no pool yet
    const char *fault = NULL;
    for (size_t i = lr_window.first_pool_page / LR_PAGES_PER_HUGE; i < end; i++)
        if ((fault = check_huge(i, &totals)) != NULL)
            return fault;
    if ((fault = check_pages(&totals)) != NULL || (fault = check_bins()) != NULL)
        return fault;
    const struct span_heap_counts counts = lr_span_heap_counts();
    if (totals.span_pages != totals.used_pages || counts.used_pages != totals.used_pages)
        return "used pages differ between spans, bitmaps and counts";
    if (counts.free_clean_pages != totals.clean_pages)
        return "clean pages differ between bitmaps and counts";
    if (counts.large_pages != totals.large_pages || counts.large_spans != totals.large_spans)
        return "large blocks differ between spans and counts";
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const struct central_counts central = lr_central_counts(c);
        if (central.spans != totals.spans[c])
            return "spans of a central list";
        if (central.free_objects != totals.free_objects[c])
            return "free objects of a central list";
    }
    return NULL;
}
