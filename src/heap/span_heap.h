// SPDX-License-Identifier: Apache-2.0
// The central span heap: gives out and takes back runs of pages. One lock; no system call while it
// is held.
#ifndef LARDER_HEAP_SPAN_HEAP_H
#define LARDER_HEAP_SPAN_HEAP_H

#include "heap/span.h"
#include "sync/lock.h"

struct span_heap_counts {
    size_t used_pages;       // in spans
    size_t claimed_pages;    // of them, those on their way to the system
    size_t free_dirty_pages; // free and resident
    size_t free_clean_pages; // free, returned or never touched
    // Since lr_span_heap_take_recent() was last called:
    size_t peak_used_pages;  // highest used_pages
    size_t peak_large_pages; // highest large_pages
    size_t taken_pages;      // taken by spans
    size_t taken_clean;      // of them, those that were clean
    size_t large_clean;      // of these, those for large blocks
    size_t large_taken;      // pages taken by large blocks
    size_t small_spans;
    size_t large_spans;
    size_t large_pages;
    size_t huge_partial; // huge pages with used and free pages
    size_t huge_full;
};

extern struct lr_lock lr_span_heap_lock;
extern struct lr_lock lr_pool_lock;

// A span of `page_count` pages for `object_count` objects of `size_class`, with class map and span
// map set to `bin_offset` and the span. NULL: out of memory or over the limit.
struct span *lr_span_alloc_small(uint32_t page_count, uint16_t object_count, uint8_t size_class,
                                 uint16_t bin_offset);
// A large block of `page_count` pages at a multiple of `align_pages` (power of two).
struct span *lr_span_alloc_large(size_t page_count, size_t align_pages);
void lr_span_free(struct span *span);

// Its first half, for a small span that others look at under a lock of its owner; to be followed by
// lr_span_free_private().
void lr_span_unmap(const struct span *span);

// A span in no map, whose maker has `record_bytes` behind its descriptor, which are zero. Class 0
// counts as a large block. `clean` says that all its pages read as zero and hold no memory.
struct span *lr_span_alloc_private(size_t page_count, size_t align_pages, uint8_t size_class,
                                   size_t record_bytes);
void lr_span_free_private(struct span *span, bool clean);

// Changes a large span's length in place; growing needs the pages behind it to be free.
bool lr_span_resize(struct span *span, size_t page_count);

// True if the rest of the window has no room for a new pool of `pages`: then, and only then, large
// blocks are mapped outside it.
bool lr_span_heap_window_full(size_t pages);
// True if blocks may hold `pages` more under LARDER_HEAP_LIMIT, those outside the window counted.
bool lr_span_heap_may_hold(size_t pages);

struct span_heap_counts lr_span_heap_counts(void);
// The same; what is counted since the last call begins anew.
struct span_heap_counts lr_span_heap_take_recent(void);

// Called with no lock held when memory ran out, before the last try: gives cached blocks back.
void lr_span_heap_set_reclaim(void (*reclaim)(void));

// ---- For release.c ----

// A huge page that is backed whole and loses a part is backed by small pages until it is empty,
// which costs the program TLB misses, and a fault for each of them. Which ones may?
enum lr_breaks {
    LR_BREAK_ANY,
    LR_BREAK_SPARSE, // those of which half is free
    LR_BREAK_NONE,
};

struct claim_walk {
    uint32_t at; // huge page to look at next; 0 to begin
    enum lr_breaks breaks;
};

// Claims a dirty free range of at most `most` pages: whole huge pages first, then holes in partly
// used ones. 0 pages when there is none left.
// The range counts as in use until lr_span_heap_return_range(). *dirty: how many of the pages hold
// memory; in an empty huge page some may be clean already.
size_t lr_span_heap_claim_dirty(size_t most, struct claim_walk *walk, size_t *first_page,
                                size_t *dirty);
// Before a claimed range is returned: true if its huge page has been backed whole so far, and the
// kernel has to be told not to do that again.
bool lr_span_heap_splits(size_t first_page, size_t pages);
void lr_span_heap_return_range(size_t first_page, size_t pages, bool clean);

#endif
